//! The corpus of the fuzz targets, replayed.

use super::super::harness::{codec, operations};

fn replay(target: &str, play: fn(&[u8])) {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let run = std::panic::catch_unwind(|| play(&bytes));
        assert!(run.is_ok(), "{}", path.display());
        played += 1;
    }
    assert!(played > 50, "{played} files");
}

#[test]
fn every_message_of_the_corpus_decodes_or_is_refused() {
    // Rule: mdp §11.10 — no sequence of frames stops the broker
    replay("codec", codec);
}

#[test]
fn every_history_of_the_corpus_keeps_the_invariants() {
    // Rule: mdp §11.9 — no history of messages breaks the tables of the broker
    replay("operations", operations);
}
