//! What is generated of the command line: completions that shells take, manual pages that formatters take.

use std::{fs, path::Path, process::Command};

use crate::common::{output, stderr, stdout};

/// Runs a program that must succeed and have nothing to say on standard error.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {said}");
    stdout(&output)
}

#[test]
fn bash_completes_commands_and_options() {
    let script = output(&["completions", "bash"]);
    assert_eq!(script.status.code(), Some(0), "{}", stderr(&script));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("buswire.bash");
    fs::write(&file, &script.stdout).unwrap();
    for (line, expected) in [
        ("buswire bus cr", "create"),
        ("buswire dead-letter re", "replay"),
        ("buswire route create --si", "--sink"),
        ("buswire bus list --output j", "json"),
        ("buswire completions z", "zsh"),
    ] {
        // What bash does when somebody presses Tab at the end of `line`.
        let press_tab = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _buswire buswire \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let completed = succeed(Command::new("bash").args(["--norc", "-c", &press_tab]));
        assert_eq!(completed.trim(), expected, "{line}");
    }
}

#[test]
fn every_shell_gets_a_script() {
    for shell in ["elvish", "fish", "powershell", "zsh"] {
        let script = output(&["completions", shell]);
        assert_eq!(script.status.code(), Some(0), "{shell}: {}", stderr(&script));
        assert!(stdout(&script).contains("dead-letter"), "{shell}");
    }
    assert_eq!(output(&["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn every_command_has_a_page_that_mandoc_is_content_with() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let made = output(&["man", "--to", pages.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let names: Vec<_> = fs::read_dir(&pages).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(names.len() > 100, "{}", names.len());
    for page in ["buswire.1", "buswire-push-inbound-create.1", "buswire-mdp-titanic-reply.1"] {
        assert!(pages.join(page).exists(), "{page}");
    }
    // Less than an error is how clap_mangen spaces paragraphs.
    succeed(Command::new("mandoc").args(["-Tlint", "-Werror"]).args(&names));
    let shown =
        succeed(Command::new("mandoc").args(["-Tutf8"]).arg(pages.join("buswire-cap-grant.1")));
    let plain = without_overstrikes(&shown);
    assert!(
        plain.contains("EXAMPLE\n       buswire cap grant bus.publish --target '{\"bus\":"),
        "{plain}"
    );

    let file = Path::new("Cargo.toml").join("man1");
    let failed = output(&["man", "--to", file.to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).starts_with("buswire: --to Cargo.toml/man1: "), "{}", stderr(&failed));
}

/// What is left on paper when a printer strikes letters twice to make them bold or underlined.
fn without_overstrikes(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        if letter == '\u{8}' {
            plain.pop();
        } else {
            plain.push(letter);
        }
    }
    plain
}
