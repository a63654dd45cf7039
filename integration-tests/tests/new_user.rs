//! What the READMEs tell a new user to do, done: their own commands and programs, on a free port.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, process::Command};

use buswire_integration_tests::{Broker, Peer, binary, node_client, python_client, root};

/// A code block of the section about the first steps: its language and its text.
struct Block {
    language: String,
    text: String,
}

fn blocks(readme: &str) -> Vec<Block> {
    let readme = fs::read_to_string(root().join(readme)).unwrap();
    let section = readme.split("\n## From nothing to an answer\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap();
    let block = |fenced: &str| {
        let (language, text) = fenced.split_once('\n').expect("a language");
        Block { language: language.to_owned(), text: text.to_owned() }
    };
    section.split("```").skip(1).step_by(2).map(block).collect()
}

/// A command as it is written, but with the port of the test's broker.
fn command(line: &str, port: &str) -> Command {
    let line = line.strip_prefix("PYTHONPATH=clients/python/src ").unwrap_or(line);
    let mut words: Vec<&str> = line.split(' ').collect();
    let role = words.iter().position(|word| ["request", "cmd-service"].contains(word));
    let behind_name = role.expect("a request or a service") + 2;
    words.splice(behind_name..behind_name, ["--port", port]);
    let mut command = match words[0] {
        "buswire" => Command::new(binary()),
        "python" => python_client(),
        "node" => node_client(),
        other => panic!("the test does not know the program {other}"),
    };
    command.args(&words[1..]).current_dir(root());
    command
}

/// What a program prints.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Does a step of a console and sees what it shows; returns the service if it started one.
fn step(line: &str, shown: &str, broker: &Broker) -> Option<Peer> {
    if line == "buswire mdp broker" {
        assert_eq!(shown, format!("{}\nBroker Started", broker.endpoint));
        return None;
    }
    let mut command = command(line, broker.port());
    if line.contains(" cmd-service ") {
        let service = Peer::start(&mut command);
        shown.lines().for_each(|line| assert_eq!(service.line(), line));
        return Some(service);
    }
    assert_eq!(printed(&mut command).trim_end(), shown, "{line}");
    None
}

/// Does what a README says; returns the languages of its blocks in order.
fn follow(readme: &str) -> Vec<String> {
    let broker = Broker::spawn();
    let mut services = Vec::new();
    let mut done = Vec::new();
    for Block { language, text } in blocks(readme) {
        let text = text.replace("5555", broker.port());
        match &*language {
            "console" => {
                for lines in format!("\n{text}").split("\n$ ").skip(1) {
                    let (line, shown) = lines.split_once('\n').unwrap_or((lines, ""));
                    services.extend(step(line, shown.trim_end(), &broker));
                }
            }
            "python" => {
                let answer = printed(python_client().args(["-c", &text]));
                assert_eq!(answer, "/etc/hosts\n\n");
            }
            "js" => {
                let answer = printed(node_client().args(["--input-type=module", "--eval", &text]));
                assert_eq!(answer, "/etc/hosts\n\n");
            }
            // An example of the crate, tested there.
            other => assert_eq!(other, "rust"),
        }
        done.push(language);
    }
    done
}

#[test]
fn a_new_user_comes_from_nothing_to_an_answer() {
    // Rule: mdp §9.4 — the first steps of the documentation work as they stand
    let done = follow("clients/README.md");
    assert_eq!(done, ["console", "console", "console", "python", "js"]);
    let done = follow("crates/mdp/README.md");
    assert_eq!(done, ["console", "console", "rust"]);
}
