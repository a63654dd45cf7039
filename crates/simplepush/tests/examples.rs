//! Replays the worked examples of the specification (SimplePush §20), byte for byte.
//!
//! The files in `examples/` have one step a line:
//!
//! | line | step |
//! |---|---|
//! | `# text` | a comment |
//! | `C open` | device `C` opens a WebSocket |
//! | `C> text` | it sends `text`; `\t`, `\r`, `\n` and `\s` stand for white space |
//! | `C< text` | it receives exactly `text`; `$NAME` stands for what the server chooses, the same each time |
//! | `C quiet` | it receives nothing |
//! | `C close` | it closes the connection in the orderly way |
//! | `C closed 1008` | the server closes the connection with this code |
//! | `PUT path [form text \| as type text \| bare text]` | an application server sends this |
//! | `POST path` … | another method |
//! | `= 200 {}` | and is answered so; the body may be left out |
//! | `clock 5` | the clock moves by 5 seconds |
//! | `wait 60` | the same, and all timers fire that are due |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use support::{Device, Server};

/// What the server chose, by the name that stands for it.
#[derive(Default)]
struct Bindings(HashMap<String, String>);

impl Bindings {
    /// Splits a pattern at its names: literal, name, literal, …
    fn pieces(pattern: &str) -> Vec<(&str, Option<&str>)> {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while let Some((literal, after)) = rest.split_once('$') {
            let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
            let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
            pieces.push((literal, Some(&after[..end])));
            rest = &after[end..];
        }
        pieces.push((rest, None));
        pieces
    }

    fn fill(&self, pattern: &str) -> String {
        let value = |name: Option<&str>| match name {
            Some(name) => {
                self.0.get(name).cloned().unwrap_or_else(|| panic!("{name} is not known"))
            }
            None => String::new(),
        };
        let pieces = Self::pieces(pattern).into_iter();
        pieces.flat_map(|(literal, name)| [literal.to_owned(), value(name)]).collect()
    }

    fn expect(&mut self, pattern: &str, text: &str) {
        let mut rest = text;
        let pieces = Self::pieces(pattern);
        for (index, &(literal, name)) in pieces.iter().enumerate() {
            rest =
                rest.strip_prefix(literal).unwrap_or_else(|| panic!("{text}\nis not\n{pattern}"));
            let Some(name) = name else { continue };
            let next = pieces[index + 1].0;
            let stop = next.chars().next().unwrap_or('"');
            let end = rest.find(stop).unwrap_or(rest.len());
            let value = &rest[..end];
            let known = self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            assert_eq!(known, value, "{name} in {text}");
            rest = &rest[end..];
        }
        assert_eq!(rest, "", "{text}\nis not\n{pattern}");
    }
}

struct Replay {
    server: Server,
    devices: BTreeMap<String, Device>,
    bindings: Bindings,
    answer: Option<support::HttpReply>,
}

impl Replay {
    fn device(&mut self, name: &str) -> &mut Device {
        self.devices.get_mut(name).unwrap_or_else(|| panic!("{name} is not connected"))
    }

    async fn step(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "PUT" | "POST" | "GET" | "DELETE" | "OPTIONS" => {
                let request = request(word, &self.bindings.fill(rest));
                self.answer = Some(self.server.http(request).await);
            }
            "=" => {
                let answer = self.answer.take().expect("a request before");
                let (status, body) = rest.split_once(' ').unwrap_or((rest, ""));
                assert_eq!(answer.status.to_string(), status, "{answer:?}");
                assert!(body.is_empty() || body == answer.body, "{answer:?}");
            }
            "clock" => self.server.clock.advance(seconds(rest)),
            "wait" => self.server.advance(seconds(rest)).await,
            _ => self.device_step(word, rest).await,
        }
    }

    async fn device_step(&mut self, word: &str, rest: &str) {
        if let Some(name) = word.strip_suffix('>') {
            let mut text = self.bindings.fill(rest);
            for (from, to) in [("\\t", "\t"), ("\\r", "\r"), ("\\n", "\n"), ("\\s", " ")] {
                text = text.replace(from, to);
            }
            self.device(name).send(&text).await;
        } else if let Some(name) = word.strip_suffix('<') {
            let text = self.device(name).receive().await;
            self.bindings.expect(rest, &text);
        } else if rest == "open" {
            let device = self.server.device().await;
            self.devices.insert(word.to_owned(), device);
        } else if rest == "quiet" {
            self.device(word).settle().await;
        } else if rest == "close" {
            self.devices.remove(word).expect("a device").close().await;
        } else if let Some(code) = rest.strip_prefix("closed ") {
            let mut device = self.devices.remove(word).expect("a device");
            assert_eq!(device.closed().await.to_string(), code);
        } else {
            panic!("no such step: {word} {rest}");
        }
    }
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.parse().unwrap())
}

fn request(method: &str, rest: &str) -> String {
    let (path, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (kind, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (content_type, body) = match kind {
        "" => return format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"),
        "form" => ("Content-Type: application/x-www-form-urlencoded\r\n".to_owned(), rest),
        "bare" => (String::new(), rest),
        "as" => {
            let (content_type, body) = rest.split_once(' ').unwrap();
            (format!("Content-Type: {content_type}\r\n"), body)
        }
        _ => panic!("no such body: {kind}"),
    };
    let body = body.replace("\\r\\n", "\r\n").replace("<4097>", &"x".repeat(4097));
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\n{content_type}Content-Length: {length}\r\n\r\n{body}"
    )
}

async fn replay(script: &str) {
    let mut replay = Replay {
        server: Server::start().await,
        devices: BTreeMap::new(),
        bindings: Bindings::default(),
        answer: None,
    };
    for (number, line) in script.lines().enumerate() {
        let line = line.trim_start();
        if !line.is_empty() && !line.starts_with('#') {
            println!("{}: {line}", number + 1);
            replay.step(line).await;
        }
    }
}

macro_rules! examples {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            replay(include_str!(concat!("examples/", stringify!($name), ".txt"))).await;
        }
    )*};
}

// Rule: simplepush §20.1 — first contact, registration, push, ack
// Rule: simplepush §20.2 — UA away: stored, coalesced, delivered once at hello
// Rule: simplepush §20.3 — an old ack does not hide a newer version
// Rule: simplepush §20.4 — re-send without reconnect
// Rule: simplepush §20.5 — a UA that the server lost gets a new UAID
// Rule: simplepush §20.6 — a UA brings its own UAID
// Rule: simplepush §20.7 — bad UAIDs
// Rule: simplepush §20.8 — hello without channelIDs
// Rule: simplepush §20.9 — second hello
// Rule: simplepush §20.10 — messages before hello
// Rule: simplepush §20.11 — pings
// Rule: simplepush §20.12 — registration errors and idempotence
// Rule: simplepush §20.13 — unregister and afterwards
// Rule: simplepush §20.14 — two sockets, one UAID
// Rule: simplepush §20.15 — versionless and odd PUTs
// Rule: simplepush §20.16 — great numbers and JavaScript
// Rule: simplepush §20.17 — register replies carry their channelID
// Rule: simplepush §20.18 — pruning
// Rule: simplepush §20.21 — data is live only
// Rule: simplepush §20.22 — purge from a test tool
examples! {
    e01_first_contact
    e02_away
    e03_old_ack
    e04_resend
    e05_lost
    e06_own_uaid
    e07_bad_uaids
    e08_missing_list
    e09_second_hello
    e10_before_hello
    e11_pings
    e12_registration
    e13_unregister
    e14_two_sockets
    e15_odd_puts
    e16_great_numbers
    e17_pipelined
    e18_pruning
    e21_data
    e22_purge
}
