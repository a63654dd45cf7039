//! What `clients/README.md` tells a new user to do, done: its own commands and programs, on a free port.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    process::{Command, Stdio},
};

use buswire_integration_tests::{Broker, Running, binary, node_client, python_client, root};

/// A code block: its language and its lines.
type Block = (String, Vec<String>);

/// The code blocks of the section about the first steps.
fn blocks() -> Vec<Block> {
    let readme = fs::read_to_string(root().join("clients/README.md")).unwrap();
    let section = readme.split("\n## From nothing to an answer\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap();
    let block = |text: &str| {
        let (language, lines) = text.split_once('\n').expect("a block has lines");
        (language.to_owned(), lines.lines().map(str::to_owned).collect())
    };
    section.split("```").skip(1).step_by(2).map(block).collect()
}

/// A command of the README, with the port of the test's broker.
fn command(line: &str, port: &str) -> Command {
    let line = line.strip_prefix("$ ").expect("a command");
    let line = line.strip_prefix("PYTHONPATH=clients/python/src ").unwrap_or(line);
    let mut words: Vec<&str> = line.split(' ').collect();
    let options = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    words.splice(options..options, ["--port", port]);
    let mut command = match words[0] {
        "buswire" => Command::new(binary()),
        "python" => python_client(),
        "node" => node_client(),
        other => panic!("the test does not know the program {other}"),
    };
    command.args(&words[1..]).current_dir(root());
    command
}

/// What a program prints, without the last line's end.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn a_new_user_comes_from_nothing_to_an_answer() {
    // Rule: mdp §9.4 — the first steps of the documentation work as they stand
    let blocks = blocks();
    let of = |language: &str| -> Vec<&Vec<String>> {
        blocks.iter().filter(|(name, _)| name == language).map(|(_, lines)| lines).collect()
    };
    let [broker_block, service_block, request_block] = of("console")[..] else {
        panic!("a broker, a service, requests: {blocks:?}");
    };

    assert_eq!(broker_block[0], "$ buswire mdp broker");
    assert_eq!(broker_block[1..], ["tcp://127.0.0.1:5555", "Broker Started"]);
    let broker = Broker::spawn();

    let mut service = command(&service_block[0], broker.port());
    let _service = Running::start(service.stdout(Stdio::null()));

    let expected = printed(Command::new("ls").arg("clients").current_dir(root()));
    let mut answers = Vec::new();
    for line in request_block {
        answers.push(printed(&mut command(line, broker.port())));
    }
    for (language, mut program) in [("python", python_client()), ("js", node_client())] {
        let text = of(language)[0].join("\n").replace("5555", broker.port());
        match language {
            "python" => program.args(["-c", &text]),
            _ => program.args(["--input-type=module", "--eval", &text]),
        };
        answers.push(printed(&mut program));
    }
    assert_eq!(answers, vec![expected; 5], "buswire, python, node; programs of both");
}
