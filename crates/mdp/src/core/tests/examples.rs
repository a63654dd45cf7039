//! The worked examples of mdp.md §21, played line by line from `tests/examples`.

use super::*;

fn play(example: &str) {
    let mut it = stage();
    for line in example.lines().filter(|line| !line.starts_with('#')) {
        let (peer, rest) = line.split_at(1);
        match rest.split_at(3) {
            (" > ", message) => it.gets(message),
            (" < ", message) => it.says(message),
            other => panic!("{peer}: {other:?}"),
        }
    }
    it.silent();
}

#[test]
fn req_client_and_worker() {
    // Rule: mdp §21.1 — the example runs as written: MDP/0.1 with a REQ client
    play(include_str!("../../../tests/examples/21.1.txt"));
}

#[test]
fn two_requests_answered_out_of_order() {
    // Rule: mdp §21.2 — the example runs as written: correlated requests, answered out of order
    play(include_str!("../../../tests/examples/21.2.txt"));
}

#[test]
fn a_backbone_client_without_arguments() {
    // Rule: mdp §21.3 — the example runs as written: a Backbone client without arguments
    play(include_str!("../../../tests/examples/21.3.txt"));
}

#[test]
fn streaming() {
    // Rule: mdp §21.4 — the example runs as written: streaming in 0.2, bare and delimited, and towards 0.1
    play(include_str!("../../../tests/examples/21.4.txt"));
}

#[test]
fn mmi() {
    // Rule: mdp §21.5 — the example runs as written: MMI
    play(include_str!("../../../tests/examples/21.5.txt"));
}

#[test]
fn titanic() {
    // Rule: mdp §21.6 — the example runs as written: Titanic as the broker sees it
    play(include_str!("../../../tests/examples/21.6.txt"));
}

#[test]
fn a_restarted_broker() {
    // Rule: mdp §21.7 — the example runs as written: the broker restarted
    play(include_str!("../../../tests/examples/21.7.txt"));
}

#[test]
fn a_violation() {
    // Rule: mdp §21.8 — the example runs as written: a violation
    play(include_str!("../../../tests/examples/21.8.txt"));
}
