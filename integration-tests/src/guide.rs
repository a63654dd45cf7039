//! Pages of the documentation, done as they stand: a page, or a section of one, is a session of one
//! shell beside a gateway of its own.
//!
//! What is written for the ports of the defaults is done at the ports of the test. A fenced block is,
//! by its language:
//!
//! | language | is |
//! |---|---|
//! | `sh` | typed into the shell |
//! | `python`, `js`, `toml` | written to the file that is named behind the language, else run at once; `toml` configures the gateway |
//! | `rust` | a part of an example of a crate, line by line |
//! | `text` | what the block before it prints; `…` stands for anything within a line, alone for any lines |
//!
//! Others are for tests that look for them, as `html` for a browser.
//!
//! Never here: what a page says.

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    broker::root,
    gateway::{Gateway, GatewayBuilder, binary},
};

/// How long a session may take.
const SECONDS_MAX: &str = "50";

/// Begins the line that the shell prints after each block.
const MARK: &str = "@@ end of block";

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The language, and what stands behind it.
    pub language: String,
    /// The name of a file, or nothing.
    pub file: String,
    /// What is in it, each line with its end.
    pub text: String,
}

/// A page, or a section of one.
#[derive(Clone, Debug)]
pub struct Guide {
    title: String,
    text: String,
}

impl Guide {
    /// A page, by its path from the root of the repository.
    pub fn page(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap();
        Self { title: path.to_owned(), text }
    }

    /// The first words of it, or the path of the page.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether it has this text.
    pub fn says(&self, text: &str) -> bool {
        self.text.contains(text)
    }

    /// Its sections of the second level that have something to do.
    pub fn sections(&self) -> Vec<Self> {
        let sections = self.text.split("\n## ").skip(1);
        let section = |text: &str| Self {
            title: text.lines().next().unwrap_or_default().to_owned(),
            text: text.to_owned(),
        };
        sections.map(section).filter(|section| section.of("sh").next().is_some()).collect()
    }

    /// Its blocks, in order.
    pub fn blocks(&self) -> Vec<Block> {
        let fenced = self.text.split("\n```").skip(1).step_by(2);
        let block = |fenced: &str| {
            let (head, text) = fenced.split_once('\n').expect("a block has lines");
            let (language, file) = head.split_once(' ').unwrap_or((head, ""));
            Block { language: language.into(), file: file.into(), text: format!("{text}\n") }
        };
        fenced.map(block).collect()
    }

    /// The blocks of a language.
    pub fn of(&self, language: &str) -> impl Iterator<Item = Block> {
        let blocks = self.blocks().into_iter();
        let language = language.to_owned();
        blocks.filter(move |block| block.language == language)
    }

    /// Does everything that it says, and sees what it says that is to be seen.
    ///
    /// # Panics
    ///
    /// If something fails, prints something else than the page shows, or takes too long.
    pub fn follow(&self) {
        self.follow_with(Gateway::builder());
    }

    /// The same, with a gateway that is still to be started.
    ///
    /// # Panics
    ///
    /// As [`Guide::follow`].
    pub fn follow_with(&self, gateway: GatewayBuilder) {
        let settings: String = self.of("toml").map(|block| block.text).collect();
        self.follow_beside(&gateway.file(&settings).start());
    }

    /// The same, beside a gateway that is there.
    ///
    /// # Panics
    ///
    /// As [`Guide::follow`].
    pub fn follow_beside(&self, gateway: &Gateway) {
        let session = Session::new(gateway);
        let (script, shown) = session.script(self);
        let printed = session.run(&script);
        let blocks = printed.split(MARK);
        for (number, (shown, printed)) in shown.iter().zip(blocks).enumerate() {
            let is_shown =
                shown.as_ref().is_none_or(|shown| matches(&lines(shown), &lines(printed)));
            assert!(is_shown, "{}, block {number} prints\n{printed}", self.title);
        }
    }

    /// Sees that every Rust block is a part of one of the examples.
    ///
    /// # Panics
    ///
    /// If there is none, or a line of it is not there.
    pub fn rust_is_of(&self, example: &str) {
        let example = fs::read_to_string(root().join(example)).unwrap();
        let mut blocks = self.of("rust").peekable();
        assert!(blocks.peek().is_some(), "{} has no Rust", self.title);
        for block in blocks {
            let text = block.text.trim();
            assert!(
                example.contains(text),
                "{} has what is not in the example:\n{text}",
                self.title
            );
        }
    }
}

/// The folder in which a session takes place, with the programs that a reader has at hand.
struct Session<'a> {
    gateway: &'a Gateway,
    folder: PathBuf,
}

impl<'a> Session<'a> {
    fn new(gateway: &'a Gateway) -> Self {
        let folder = gateway.path("session");
        let (programs, modules) = (folder.join("programs"), folder.join("node_modules"));
        for folder in [&programs, &modules] {
            fs::create_dir_all(folder).unwrap();
        }
        program(&programs, "buswire", &buswire(gateway));
        symlink(root().join("clients/js"), modules.join("buswire-backbone")).unwrap();
        let python = std::env::var("BUSWIRE_PYTHON").unwrap_or_else(|_| "python3".into());
        let packages = root().join("clients/python/src").display().to_string();
        program(&programs, "python", &format!("PYTHONPATH={packages} exec {python} -u \"$@\""));
        // `cargo run … --example NAME -- …` runs what is built: cargo build --examples --all-features.
        let test = std::env::current_exe().unwrap();
        let target = test.ancestors().nth(2).expect("a test is in a folder of the target folder");
        let examples = target.join("examples").display().to_string();
        let run = "while [ \"$1\" != --example ]; do shift; done; name=$2; shift 2; \
                   [ \"${1-}\" != -- ] || shift";
        program(&programs, "cargo", &format!("{run}; exec {examples}/$name \"$@\""));
        Self { gateway, folder }
    }

    /// What is written for the defaults, for this gateway.
    fn here(&self, text: &str) -> String {
        let bound = self.gateway.bound();
        let mdp = bound.mdp.trim_start_matches("tcp://");
        let data = self.gateway.path("data").display().to_string();
        replaced(
            text,
            &[
                ("127.0.0.1:8080", &bound.http),
                ("127.0.0.1:50051", &bound.admin),
                ("127.0.0.1:9090", &bound.ops),
                ("127.0.0.1:5555", mdp),
                ("5555", port(&self.gateway.bound().mdp)),
                ("./buswire-data", &data),
                ("buswire-data", &data),
            ],
        )
    }

    /// The script of a guide, and what each of its blocks must print.
    fn script(&self, guide: &Guide) -> (String, Vec<Option<String>>) {
        let mut script = String::from("set -eu\n");
        let mut shown: Vec<Option<String>> = Vec::new();
        for Block { language, file, text } in guide.blocks() {
            let text = self.here(&text);
            let run = match &*language {
                "sh" => text,
                "python" | "js" => {
                    let name = match &*file {
                        "" => format!("block-{}.{}", shown.len(), extension(&language)),
                        name => name.to_owned(),
                    };
                    fs::write(self.folder.join(&name), text).unwrap();
                    if !file.is_empty() {
                        continue;
                    }
                    let program = if language == "js" { "node" } else { "python" };
                    format!("{program} {name}\n")
                }
                "text" => {
                    if let Some(last) = shown.last_mut() {
                        *last = Some(text);
                    }
                    continue;
                }
                _ => continue,
            };
            writeln!(script, "{run}printf '%s\\n' '{MARK}'").unwrap();
            shown.push(None);
        }
        (script, shown)
    }

    /// Runs the script to its end; returns what it printed, errors too.
    fn run(&self, script: &str) -> String {
        let (file, output) = (self.folder.join("session.sh"), self.folder.join("output"));
        fs::write(&file, script).unwrap();
        let printed = File::create(&output).unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.folder.join("programs").display());
        let mut child = Command::new("timeout")
            .args([SECONDS_MAX, "sh"])
            .arg(&file)
            .current_dir(&self.folder)
            .env("PATH", path)
            .env("BUSWIRE_ADMIN", format!("http://{}", self.gateway.bound().admin))
            .env("BUSWIRE_ADMIN_TOKEN", self.gateway.admin_token())
            .env("GATEWAY_LOG", self.gateway.path("log"))
            .stdin(Stdio::null())
            .stdout(printed.try_clone().unwrap())
            .stderr(printed)
            .process_group(0)
            .spawn()
            .unwrap();
        let status = child.wait().unwrap();
        // What it left running: the group is still its own.
        let group = format!("-{}", child.id());
        Command::new("kill").args(["-TERM", "--", &group]).stderr(Stdio::null()).status().unwrap();
        let printed = fs::read_to_string(&output).unwrap();
        assert!(status.success(), "{status}:\n{printed}");
        printed
    }
}

/// The text with everything replaced once, never what was put there.
fn replaced(text: &str, pairs: &[(&str, &str)]) -> String {
    let (mut replaced, mut rest) = (String::new(), text.chars());
    loop {
        let found =
            pairs.iter().find_map(|(from, to)| Some((rest.as_str().strip_prefix(from)?, to)));
        if let Some((after, to)) = found {
            replaced.push_str(to);
            rest = after.chars();
        } else if let Some(next) = rest.next() {
            replaced.push(next);
        } else {
            return replaced;
        }
    }
}

fn port(endpoint: &str) -> &str {
    endpoint.rsplit(':').next().expect("an endpoint has a port")
}

/// `buswire`, whose defaults are the ports of the gateway, and free ones for another.
fn buswire(gateway: &Gateway) -> String {
    let (bound, binary) = (gateway.bound(), binary().display().to_string());
    let port = port(&bound.mdp);
    let push = format!("push listen --url ws://{}/push", bound.http);
    format!(
        r#"case "$1 ${{2-}}" in
'mdp request' | 'mdp cmd-service' | 'mdp mmi') words="$1 $2 --port {port}"; shift 2 ;;
'mdp titanic') words="$1 $2 $3 --port {port}"; shift 3 ;;
'push listen') words='{push}'; shift 2 ;;
'serve '*)
    words='serve'; shift
    for listener in http admin ops; do words="$words --set $listener.listen=127.0.0.1:0"; done
    words="$words --set mdp.listen=[\"tcp://127.0.0.1:0\"]" ;;
*) words= ;;
esac
exec {binary} $words "$@""#
    )
}

/// Writes a program that a session finds.
fn program(folder: &Path, name: &str, line: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn extension(language: &str) -> &str {
    match language {
        "js" => "mjs",
        _ => "py",
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.trim().lines().map(str::trim_end).collect()
}

/// Whether lines are as shown.
fn matches(shown: &[&str], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((&"…", rest)) => {
            matches(rest, lines)
                || lines.split_first().is_some_and(|(_, rest)| matches(shown, rest))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| line_matches(first, line) && matches(rest, others)),
    }
}

/// Whether a line is as shown.
fn line_matches(shown: &str, line: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_somewhere_is_not_replaced_again() {
        assert_eq!(replaced("a 80, 5", &[("80", "55"), ("5", "7")]), "a 55, 7");
    }

    #[test]
    fn what_a_page_shows_may_leave_things_out() {
        let is = |shown, printed| matches(&lines(shown), &lines(printed));
        assert!(is("one\ntwo", "one\ntwo\n"));
        assert!(is("o…\n…\nlast…!", "one\ntwo\nthree\nlast one!"));
        assert!(is("a…b…c", "a-b-b-c"));
        assert!(!is("one", "one\ntwo"));
        assert!(!is("one\n…", "two"));
        assert!(!is("a…c", "a-b"));
    }
}
