//! Each command's help has an example, and the examples do what they say.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use buswire::cli::{Cli, Command as Parsed};
use clap::{CommandFactory as _, Parser as _};
use serde_json::Value;

use crate::common::{Gateway, PATIENCE, buswire};

/// A command of the tree and the example in its help.
struct Example {
    /// The words that name the command.
    path: String,
    words: Vec<String>,
    /// Whether it has commands below it, whose examples say more.
    is_group: bool,
}

/// The example of every command, in the order of the help.
fn examples() -> Vec<Example> {
    fn walk(command: &clap::Command, path: &str, found: &mut Vec<Example>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let line = help.strip_prefix("Example: ");
        let line = line.unwrap_or_else(|| panic!("the help of {path} has no example: {help:?}"));
        let is_group = command.has_subcommands();
        found.push(Example { path: path.to_owned(), words: words(line), is_group });
        for below in command.get_subcommands() {
            walk(below, format!("{path} {}", below.get_name()).trim_start(), found);
        }
    }
    let mut found = Vec::new();
    walk(&Cli::command(), "", &mut found);
    found
}

/// The words that a shell makes of a line, up to where it sends the output elsewhere.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" > ").next().unwrap();
    let script = format!("printf '%s\\n' {line}");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{line}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn every_command_has_an_example_that_parses() {
    let examples = examples();
    assert!(examples.len() > 90, "the tree of commands was walked: {}", examples.len());
    for Example { path, words, is_group } in examples {
        let mut matches = Cli::command()
            .try_get_matches_from(&words)
            .unwrap_or_else(|error| panic!("the example of {path}: {error}"));
        let mut path_parsed = Vec::new();
        while let Some((name, below)) = matches.remove_subcommand() {
            path_parsed.push(name);
            matches = below;
        }
        let parsed = path_parsed.join(" ");
        let is_its_own = if is_group { parsed.starts_with(&path) } else { parsed == path };
        assert!(is_its_own, "the example of {path} is one of it: {words:?}");
    }
}

/// What has no end, or does not ask a gateway.
const NOT_RUN: [&str; 4] = ["message tail", "cap audit", "audit tail", "push listen"];
/// What names something that no example makes: it must be missing, and nothing else be wrong.
const MISSING: [&str; 13] = [
    "client revoke-token",
    "client revoke-code",
    "owner end-sign-in",
    "owner delete-request",
    "owner delete-decision",
    "push notify",
    "push show",
    "push channels",
    "push drop",
    "push unsubscribe",
    "worker drain",
    "worker disconnect",
    "service call",
];
/// Verbs that end what others need, and so come last, in this order.
const ENDS: [&str; 5] = ["sign-out", "revoke-tokens", "revoke", "drop", "delete"];

/// Runs an example in this process against `gateway`. Returns what it printed, and how it ended.
async fn run(gateway: &Gateway, words: &[String]) -> (String, String, ExitCode) {
    let (noun, rest) = words.split_at(2);
    let at = format!("http://{}", gateway.address("admin"));
    let token = gateway.data_dir().join("admin.token").display().to_string();
    let at = ["--admin".to_owned(), at, "--token-file".to_owned(), token];
    let words: Vec<_> = noun.iter().chain(&at).chain(rest).collect();
    let Parsed::Admin(command) = Cli::try_parse_from(words).unwrap().command else {
        panic!("{noun:?} is not an administrator's");
    };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = command.execute(&mut out, &mut errors).await;
    (String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap(), code)
}

/// What later examples must name in place of the id that they show.
fn made(path: &str, out: &str) -> Option<(&'static str, String)> {
    let field = |name: &str| {
        let line = out.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    match path {
        "cap grant" => {
            let granted: Value = serde_json::from_str(out).unwrap();
            Some(("g_5b1c9e", granted["handle"].as_str().unwrap().to_owned()))
        }
        "grant create" => Some(("0197d3a2", field("id ")?)),
        "push inbound create" => Some(("ID", field("id ")?)),
        "message publish" => {
            Some(("2026-11-26T10:00:00.000Z-0000000000", out.trim_end().to_owned()))
        }
        _ => None,
    }
}

#[tokio::test]
async fn the_examples_of_administrators_do_what_they_say() {
    let gateway = Gateway::start(&[]);
    let password = gateway.directory.path().join("password.txt");
    fs::write(&password, "correct horse battery staple\n").unwrap();
    let mut names = BTreeMap::from([("password.txt", password.display().to_string())]);
    let mut examples = examples();
    examples.retain(|Example { path, words, is_group }| {
        let is_admin = matches!(Cli::try_parse_from(words).unwrap().command, Parsed::Admin(_));
        is_admin && !is_group && !NOT_RUN.contains(&path.as_str())
    });
    // A message is there before it is looked for among dead letters.
    let rank = |path: &str| {
        let verb = path.rsplit(' ').next().unwrap();
        let ends = ENDS.iter().position(|end| *end == verb).map(|place| place + 1);
        (ends, path.starts_with("dead-letter"))
    };
    examples.sort_by_key(|example| rank(&example.path));
    let _worker = Worker::start(&gateway).await;
    run(&gateway, &words("buswire bus create v1/shop.example")).await;
    let create_sink = words("buswire bus create archive.example");
    run(&gateway, &create_sink).await;
    let delete_sink = words("buswire bus delete archive.example");
    for Example { path, words, .. } in &examples {
        let words: Vec<_> =
            words.iter().map(|word| names.get(word.as_str()).unwrap_or(word).clone()).collect();
        match path.as_str() {
            "dead-letter list" => until_given_up(&gateway).await,
            // The sink is there again.
            "dead-letter replay" => drop(run(&gateway, &create_sink).await),
            _ => {}
        }
        let (out, errors, code) = run(&gateway, &words).await;
        if code != ExitCode::SUCCESS {
            let is_missing = ["there is no ", "no such ", "is not an endpoint of this server"]
                .iter()
                .any(|text| errors.contains(text));
            assert!(
                is_missing && MISSING.contains(&path.as_str()),
                "{path}: {errors}{}",
                gateway.log()
            );
        }
        names.extend(made(path, &out));
        if path == "route create" {
            // What the route is given becomes a dead letter.
            run(&gateway, &delete_sink).await;
        }
    }
    gateway.terminate();
}

/// Runs a command until it ends as it should.
async fn until(
    what: &str,
    gateway: &Gateway,
    command: &str,
    is_so: impl Fn(&str, ExitCode) -> bool,
) {
    let (deadline, words) = (Instant::now() + PATIENCE, words(command));
    loop {
        let (out, _, code) = run(gateway, &words).await;
        if is_so(&out, code) {
            return;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        // Only paces the question.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the route of the examples has given the message up.
async fn until_given_up(gateway: &Gateway) {
    let list = "buswire dead-letter list copy --output json";
    until("the dead letter", gateway, list, |out, _| out != "[]\n").await;
}

/// The service of the examples, which is killed when dropped.
struct Worker(Child);

impl Worker {
    async fn start(gateway: &Gateway) -> Self {
        let endpoint = gateway.ready["mdp"][0].as_str().unwrap();
        let mut command = buswire(&["mdp", "cmd-service", "echo", "--endpoint", endpoint]);
        let worker =
            Self(command.args(["--", "printf", "%s"]).stdout(Stdio::null()).spawn().unwrap());
        let is_there = |_: &str, code| code == ExitCode::SUCCESS;
        until("the worker", gateway, "buswire service show echo", is_there).await;
        worker
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}
