//! The extensions of MMI (mdp.md §13.3).

use super::*;

fn extended() -> Stage {
    stage_with(CoreConfig { mmi_extensions: true, ..CoreConfig::default() })
}

#[test]
fn extensions_are_not_implemented_unless_switched_on() {
    // Rule: mdp §13.3 — anything not implemented, or switched off, stays 501
    let mut it = stage();
    for name in ["mmi.services", "mmi.workers", "mmi.stats", "mmi.filter"] {
        it.gets(&format!(r#"C | (empty) | "MDPC01" | "{name}" | "echo""#));
        it.says(&format!(r#"C | (empty) | "MDPC01" | "{name}" | "501""#));
    }
    let mut it = extended();
    it.gets(r#"C | (empty) | "MDPC01" | "mmi.filter" | "echo""#);
    it.says(r#"C | (empty) | "MDPC01" | "mmi.filter" | "501""#);
}

#[test]
fn services_with_workers_are_listed() {
    // Rule: mdp §13.3 — mmi.services answers 200 and one frame per service name
    let mut it = extended();
    it.gets(r#"C | "MDPC02" | 01 | "mmi.services""#);
    it.says(r#"C | "MDPC02" | 03 | "mmi.services" | "200""#);
    it.gets(READY);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "a""#);
    it.gets(r#"C | (empty) | "MDPC01" | "queued only""#);
    it.gets(r#"C | (empty) | "MDPC01" | "mmi.services""#);
    it.says(r#"C | (empty) | "MDPC01" | "mmi.services" | "200" | "a" | "echo""#);
}

#[test]
fn workers_are_counted_idle_and_busy() {
    // Rule: mdp §13.3 — mmi.workers answers 200, idle, busy; 404 without a worker
    let mut it = extended();
    it.gets(READY);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.gets(r#"0B | (empty) | "MDPW01" | 01 | "echo""#);
    it.gets(ASK);
    it.says(WORK);
    it.gets(r#"C | (empty) | "MDPC01" | "mmi.workers" | "echo""#);
    it.says(r#"C | (empty) | "MDPC01" | "mmi.workers" | "200" | "2" | "1""#);
    for absent in [r#" | "nobody""#, "", " | FF", " | (empty)"] {
        it.gets(&format!(r#"C | (empty) | "MDPC01" | "mmi.workers"{absent}"#));
        it.says(r#"C | (empty) | "MDPC01" | "mmi.workers" | "404""#);
    }
}

#[test]
fn statistics_are_a_json_object() {
    // Rule: mdp §13.3 — mmi.stats answers 200 and JSON
    let mut it = extended();
    it.gets(READY);
    it.gets(ASK);
    it.says(WORK);
    it.gets(r#"C | (empty) | "MDPC01" | "mmi.stats""#);
    let Some(Output::Send(_, message)) = it.core.poll_output() else { panic!("no answer") };
    let crate::wire::ToPeer::Reply { body, .. } = message.message else { panic!("no reply") };
    let expected = concat!(
        r#"{"services":1,"workers":{"idle":0,"busy":1},"queued":0,"requests":{"#,
        r#""accepted":1,"completed":0,"expired":0,"requeued":0,"lost":0,"dropped":0}}"#
    );
    assert_eq!(body, Frames::from(["200", expected]));
}
