//! Who may register and call (mdp.md §14.2).

use super::*;

/// `echo*` belongs to alice, who may not call; anybody else may call `echo`.
fn guarded() -> Stage {
    let patterns = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let alice = Grant { register: patterns(&["echo*"]), call: Vec::new() };
    let others = Grant { register: Vec::new(), call: patterns(&["echo"]) };
    let access = Access { users: [("alice".into(), alice)].into(), others };
    stage_with(CoreConfig { access: Some(access), mmi_extensions: true, ..CoreConfig::default() })
}

fn gets_from(it: &mut Stage, user: &str, text: &str) {
    let message = decode(&frames(text), &WireLimits::default()).unwrap();
    it.input(Input::Received { message, user: Some(user.into()) });
}

#[test]
fn only_who_may_registers() {
    // Rule: mdp §14.2 — a worker whose user may not register for the service gets DISCONNECT
    let mut it = guarded();
    for user in ["bob", "Alice", ""] {
        gets_from(&mut it, user, READY);
        it.says(BYE);
        it.pass(ms(1000));
    }
    it.gets(READY);
    it.says(BYE);
    assert_eq!(it.core.counters().disconnects.of(Farewell::Forbidden), 4);
    gets_from(&mut it, "alice", r#"V | (empty) | "MDPW01" | 01 | "other""#);
    it.says(r#"V | (empty) | "MDPW01" | 05"#);
    gets_from(&mut it, "alice", READY);
    gets_from(&mut it, "alice", r#"V | (empty) | "MDPW01" | 01 | "echo.eu""#);
    it.silent();
    it.registered("echo", "200");
    it.registered("echo.eu", "200");
}

#[test]
fn only_who_may_calls_and_others_cost_nothing() {
    // Rule: mdp §14.2 — a request whose user may not call the service is dropped and counted
    let mut it = guarded();
    gets_from(&mut it, "alice", ASK);
    it.gets(r#"C | (empty) | "MDPC01" | "other" | "a""#);
    it.silent();
    assert_eq!(it.core.counters().requests.dropped.of(Dropped::Forbidden), 2);
    assert!(it.core.services(it.now).is_empty(), "what may not be called is not remembered");
    gets_from(&mut it, "bob", ASK);
    it.gets(ASK);
    assert_eq!(it.core.counters().requests.accepted, 2);
}

#[test]
fn the_list_of_services_shows_what_may_be_called() {
    let mut it = guarded();
    gets_from(&mut it, "alice", READY);
    gets_from(&mut it, "alice", r#"V | (empty) | "MDPW01" | 01 | "echo.eu""#);
    it.gets(r#"C | (empty) | "MDPC01" | "mmi.services""#);
    it.says(r#"C | (empty) | "MDPC01" | "mmi.services" | "200" | "echo""#);
    gets_from(&mut it, "alice", r#"C | (empty) | "MDPC01" | "mmi.services""#);
    it.says(r#"C | (empty) | "MDPC01" | "mmi.services" | "200""#);
}

#[test]
fn rules_can_be_replaced_while_the_broker_runs() {
    // Rule: mdp §14.2 — the rules are reloaded without a restart
    let mut it = guarded();
    it.input(Input::Access(None));
    it.gets(READY);
    it.gets(ASK);
    it.says(WORK);
    it.input(Input::Access(Some(Access::default())));
    it.gets(DONE);
    it.says(REPLY);
    it.gets(ASK);
    it.silent();
}

#[test]
fn patterns_are_names_or_their_beginning() {
    let covers =
        |pattern: &str, name: &str| pattern.parse::<NamePattern>().unwrap().covers(name.as_bytes());
    assert!(covers("echo", "echo") && !covers("echo", "echo.eu") && !covers("echo", "Echo"));
    assert!(covers("echo.*", "echo.eu") && !covers("echo.*", "echo"));
    assert!(covers("*", "anything"));
    assert!("".parse::<NamePattern>().is_err() && "\u{1}*".parse::<NamePattern>().is_err());
}
