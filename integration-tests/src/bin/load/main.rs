//! The load tool: the built gateway against the least program that could do the same work.
//!
//! Each workload runs both in turns, A B A B …, and prints medians and ratios: machines differ, ratios
//! repeat. A run in which something was lost is void. Never here: a type of Buswire.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a tool for developers: it stops where something is wrong, and measures real time"
)]

mod bridge;
mod bus;
mod cap;
mod exchange;
mod floors;
mod growth;
mod http;
mod mdp;
mod nginx;
mod poll;
mod posts;
mod process;
mod push;
mod reads;
mod scale;
mod stats;
mod table;
mod waiters;

use stats::Plan;

const HELP: &str = "\
load WORKLOAD [--rounds N] [--seconds N] [--clients N]

  bus       all of Backplane beside floors and nginx with nchan if it is installed: posts of 1,
            16 and 256 publishers, one post to 1, 100 and 10000 long-poll readers from accepted to
            received, polling reads, memory of a waiting poller; or the part that is named:
            bus posts|delivery|reads|memory; [--clients N] in place of those numbers
  cap       capabilities over HTTP beside a server that only answers as much: bus.read of nothing
            and of ten messages, bus.publish and rpc.call, through chains of 1 and 8 levels; then
            bus.read with 1000 and [--grants N], or a million, live grants, memory, and the time in
            which their root is revoked; or the part that is named: cap calls|grants
  bridge    from accepted to arrived through a route, with 1, 10 and 1000 routes, and while it is
            watched, beside what either end does alone; or the part that is named:
            bridge bus|mdp|push|cap
  posts     durable posts over HTTP against a file with one fdatasync for whatever waits
  poll      one post to many long-poll readers against a server that only holds connections
  reads     reads that find nothing against a server that only answers
  mdp       requests through the broker beside a plain ZeroMQ proxy, a program that gives a
            worker one request at a time, and nats-server if it is installed; all of bodies of
            64 B and 1 KiB, 1 and 4 workers, 1 and 1000 in flight, or those that
            [--body N] [--workers N] [--in-flight N] name
  push      from PUT to WebSocket frame, flat out and at rising rates, beside a bare holder of
            sockets, one with a durable write, and nginx with nchan if it is installed;
            [--connects N]: connections a second; [--idle N]: memory of idle connections
  scale     what an operation costs each process with one gateway alone, one and three on a Redis (which
            must be installed): processor time, requests, bytes; three gateways against one, each with
            [--share N] or 15 % of a processor (root and control groups); what each further gateway costs;
            memory of connections, [--connections N] of a kind; and what it all comes to for many; or
            the part that is named: scale operations|ends|shares|fanout|idle|connections
  growth    the rate of an operation with so much and ten times as much there, of channels, buses,
            routes, grants, messages and user agents, and what one of them takes in memory; or
            what is named: growth channels|buses|routes|grants|messages|agents [--base N]
  waiters   memory of a read that waits, beyond its connection
  process   time to be ready, memory at rest, size of the binary
";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["posts", rest @ ..] => posts::compare(&Plan::parse(rest, 64)),
        ["poll", rest @ ..] => poll::compare(&Plan::parse(rest, 500)),
        ["reads", rest @ ..] => reads::compare(&Plan::parse(rest, 64)),
        ["bus", rest @ ..] => bus::measure(rest),
        ["bridge", rest @ ..] => bridge::measure(rest),
        ["cap", rest @ ..] => cap::measure(rest),
        ["mdp", rest @ ..] => mdp::compare(&Plan::parse(rest, 8), rest),
        ["push", rest @ ..] => push::measure(rest),
        ["scale", rest @ ..] => scale::measure(rest),
        ["growth", rest @ ..] => growth::measure(rest),
        ["waiters", rest @ ..] => waiters::measure(&Plan::parse(rest, 5000)),
        ["process", rest @ ..] => process::measure(&Plan::parse(rest, 1)),
        ["floor", "posts", file] => floors::posts(file),
        ["floor", "push", rest @ ..] => push::floor(rest.first().copied()),
        ["floor", "poll"] => floors::poll(),
        ["floor", "done"] => floors::done(),
        ["floor", "answer", length] => floors::answer(length),
        ["floor", "reads"] => floors::reads(),
        ["floor", "turns"] => floors::turns(),
        ["floor", "mdp"] => floors::mdp(),
        _ => print!("{HELP}"),
    }
}
