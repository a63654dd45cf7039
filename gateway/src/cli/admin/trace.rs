//! `buswire trace`.

use std::{io::Write, time::Duration};

use buswire_message::TraceParent;
use buswire_proto::v1::{self, trace_service_client::TraceServiceClient};
use clap::Args;
use serde_json::{Value, json};

use super::{
    connection::{Connection, call},
    error::CliError,
    output::{self, Output},
};

/// How often `--follow` asks again.
const EVERY: Duration = Duration::from_millis(250);

/// Which trace to show.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The id of a message, of whichever hop
    id: String,
    /// Prints it again whenever something happened, until nothing is pending any more
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl TraceArgs {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), CliError> {
        let mut client = TraceServiceClient::new(self.connection.open().await?);
        let output = self.connection.output();
        let mut shown = String::new();
        loop {
            let request = call(v1::GetTraceRequest { id: self.id.clone() });
            let first = client.get_trace(request).await?.into_inner().first;
            let first = first.ok_or(CliError::Incomplete)?;
            let text = match output {
                Output::Json => format!("{}\n", hop_json(&first)),
                Output::Table(_) => Tree::of(&first, &self.id).lines.join("\n") + "\n",
            };
            if text != shown {
                if !shown.is_empty() && output != Output::Json {
                    writeln!(out)?;
                }
                out.write_all(text.as_bytes())?;
                out.flush()?;
                shown = text;
            }
            if !self.follow || !is_pending(&first) {
                return Ok(());
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

fn is_pending(hop: &v1::Hop) -> bool {
    hop.passages.iter().any(|passage| {
        passage.state() == v1::PassageState::Pending || passage.results.iter().any(is_pending)
    })
}

const fn state(passage: v1::PassageState) -> &'static str {
    match passage {
        v1::PassageState::Unspecified => "unknown",
        v1::PassageState::Pending => "pending",
        v1::PassageState::Delivered => "delivered",
        v1::PassageState::Dead => "dead letter",
        v1::PassageState::Skipped => "skipped: it came by this route",
        v1::PassageState::Passed => "passed",
    }
}

fn hop_json(hop: &v1::Hop) -> Value {
    let none = v1::Message::default();
    let message = hop.message.as_ref().unwrap_or(&none);
    let headers = message.headers.clone().unwrap_or_default();
    json!({
        "id": message.id,
        "bus": message.bus,
        "channel": message.channel,
        "type": message.r#type,
        "door": output::text(&headers.door),
        "traceparent": output::text(&headers.traceparent),
        "published_at": output::time(hop.published_at),
        "passages": hop.passages.iter().map(passage_json).collect::<Vec<_>>(),
    })
}

fn passage_json(passage: &v1::Passage) -> Value {
    let failure = |failure: &v1::DeliveryFailure| json!({"at": output::time(failure.at), "error": failure.error});
    json!({
        "route": passage.route,
        "sink": passage.sink,
        "state": state(passage.state()).split(':').next(),
        "ended_at": output::time(passage.ended_at),
        "attempts": passage.attempts,
        "failures": passage.failures.iter().map(failure).collect::<Vec<_>>(),
        "results": passage.results.iter().map(hop_json).collect::<Vec<_>>(),
    })
}

/// A trace as a tree of lines; times are after the first message.
struct Tree<'a> {
    lines: Vec<String>,
    asked: &'a str,
    start: i128,
}

impl<'a> Tree<'a> {
    fn of(first: &v1::Hop, asked: &'a str) -> Self {
        let start = millis(first.published_at).unwrap_or_default();
        let mut tree = Self { lines: Vec::new(), asked, start };
        let headers = first.message.as_ref().and_then(|message| message.headers.as_ref());
        let trace = headers.and_then(|headers| headers.traceparent.parse::<TraceParent>().ok());
        tree.lines.extend(trace.map(|trace| format!("trace {:032x}", trace.trace_id())));
        tree.hop(first, "", "");
        tree
    }

    /// `head` is in front of the line of the hop, `rest` in front of those below it.
    fn hop(&mut self, hop: &v1::Hop, head: &str, rest: &str) {
        let none = v1::Message::default();
        let message = hop.message.as_ref().unwrap_or(&none);
        let headers = message.headers.clone().unwrap_or_default();
        let v1::Message { id, bus, channel, r#type, .. } = message;
        let door = match headers.door.as_str() {
            "" => String::new(),
            door => format!(" by {door}"),
        };
        let mark = if self.asked == id { " *" } else { "" };
        let after = self.after(hop.published_at);
        self.lines.push(format!("{head}{id}{mark} {type} on {bus}/{channel}{door}{after}"));
        let last = hop.passages.len().saturating_sub(1);
        for (index, passage) in hop.passages.iter().enumerate() {
            let (branch, below) = if index == last { ("└ ", "  ") } else { ("├ ", "│ ") };
            self.passage(passage, &format!("{rest}{branch}"), &format!("{rest}{below}"));
        }
    }

    fn passage(&mut self, passage: &v1::Passage, head: &str, rest: &str) {
        let v1::Passage { route, sink, .. } = passage;
        let attempts = match passage.attempts {
            0 | 1 => String::new(),
            attempts => format!(" after {attempts} attempts"),
        };
        let (state, after) = (state(passage.state()), self.after(passage.ended_at));
        self.lines.push(format!("{head}{route} → {sink}: {state}{attempts}{after}"));
        let count = passage.failures.len() + passage.results.len();
        for (index, failure) in passage.failures.iter().enumerate() {
            let branch = if index + 1 == count { "└ " } else { "├ " };
            let after = self.after(failure.at);
            self.lines.push(format!("{rest}{branch}failed: {}{after}", failure.error));
        }
        for (index, result) in passage.results.iter().enumerate() {
            let is_last = index + 1 == passage.results.len();
            let (branch, below) = if is_last { ("└ ", "  ") } else { ("├ ", "│ ") };
            self.hop(result, &format!("{rest}{branch}"), &format!("{rest}{below}"));
        }
    }

    /// How long after the first message something was.
    fn after(&self, at: Option<prost_types::Timestamp>) -> String {
        match millis(at) {
            Some(at) if at != self.start => format!(" +{} ms", at - self.start),
            _ => String::new(),
        }
    }
}

fn millis(at: Option<prost_types::Timestamp>) -> Option<i128> {
    at.map(|at| i128::from(at.seconds) * 1000 + i128::from(at.nanos) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i32) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds: 1, nanos: millis * 1_000_000 }
    }

    fn hop(id: &str, door: &str, published: i32, passages: Vec<v1::Passage>) -> v1::Hop {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into();
        let headers = v1::Headers { door: door.into(), traceparent, ..v1::Headers::default() };
        let message = v1::Message {
            id: id.into(),
            bus: "a.example".into(),
            channel: "c".into(),
            r#type: "t".into(),
            headers: Some(headers),
            ..v1::Message::default()
        };
        v1::Hop { message: Some(message), published_at: Some(at(published)), passages }
    }

    #[test]
    fn a_trace_is_a_tree_with_times() {
        let failure = v1::DeliveryFailure { at: Some(at(5)), error: "it took too long".into() };
        let answer = v1::Passage {
            route: "ask".into(),
            sink: "mdp:echo".into(),
            state: v1::PassageState::Delivered.into(),
            ended_at: Some(at(210)),
            attempts: 2,
            failures: vec![failure],
            results: vec![hop("3", "", 208, Vec::new())],
        };
        let waiting = v1::Passage {
            route: "tell".into(),
            sink: "push:subscribers".into(),
            state: v1::PassageState::Pending.into(),
            ..v1::Passage::default()
        };
        let first = hop("1", "majordomo", 0, vec![answer, waiting]);
        assert!(is_pending(&first));
        let expected = [
            "trace 4bf92f3577b34da6a3ce929d0e0e4736",
            "1 t on a.example/c by majordomo",
            "├ ask → mdp:echo: delivered after 2 attempts +210 ms",
            "│ ├ failed: it took too long +5 ms",
            "│ └ 3 * t on a.example/c +208 ms",
            "└ tell → push:subscribers: pending",
        ];
        assert_eq!(Tree::of(&first, "3").lines, expected);
    }
}
