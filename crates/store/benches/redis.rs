//! Commits of one entry of 400 bytes on Redis by 64 tasks at once, against the floor: 64 connections
//! that send the same bytes and wait for the answer, as `redis-benchmark` does (which can't be given
//! them: arguments of a command line hold no zero bytes).
//!
//! Both by turns on one server, five rounds of each; what counts is the ratio of the medians, and what a
//! commit costs of processors, here and in the server, which is the same on a busy machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures real time, prints, and fails by panicking"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use buswire_message::{Clock, Timestamp};
use buswire_store::{
    Ack, Batch, LogName, Operation, Partition, Store,
    redis::{RedisAddress, RedisConfig, RedisStore},
    system::SystemClock,
};
use buswire_testkit::RedisServer;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const CLIENTS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const BODY: &[u8] = &[b'x'; 400];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for fsync in ["everysec", "always"] {
        let server = RedisServer::start(&["--appendfsync", fsync]);
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            floor.push(runtime.block_on(raw(&server)));
            ours.push(runtime.block_on(commits(&server)));
        }
        let median = |of: fn(&Round) -> f64, rounds: &[Round]| {
            let mut values: Vec<_> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        let rate = |rounds: &[Round]| median(|round| round.rate, rounds);
        println!("appendfsync {fsync}: ratio {:.2}", rate(&ours) / rate(&floor));
        for (name, rounds) in [("store", &ours), ("floor", &floor)] {
            let client = median(|round| round.client, rounds);
            let (rate, server) = (rate(rounds), median(|round| round.server, rounds));
            println!(
                "  {name}: {rate:.0} commits/s; CPU us each: here {client:.1}, server {server:.1}"
            );
        }
    }
}

/// What a round came to: commits per second, and microseconds of processors for each.
struct Round {
    rate: f64,
    client: f64,
    server: f64,
}

/// Seconds of processors that this process has used.
fn used_here() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time in hundredths of a second, after the name in brackets.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The same of the server.
fn used_there(server: &RedisServer) -> f64 {
    let info = server.cli(&["info", "cpu"]);
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or_default()
    };
    field("used_cpu_user") + field("used_cpu_sys")
}

/// Counts what `CLIENTS` tasks get done in a round.
async fn round(server: &RedisServer, mut tasks: JoinSet<u32>) -> Round {
    let (start, here, there) = (Instant::now(), used_here(), used_there(server));
    let mut done = 0.0;
    while let Some(count) = tasks.join_next().await {
        done += f64::from(count.unwrap());
    }
    let rate = done / start.elapsed().as_secs_f64();
    let micros = |seconds: f64| seconds * 1e6 / done;
    let client = micros(used_here() - here);
    Round { rate, client, server: micros(used_there(server) - there) }
}

async fn commits(server: &RedisServer) -> Round {
    let address = RedisAddress::parse(&server.url()).unwrap();
    let store = Arc::new(RedisStore::open(RedisConfig::new(address)).await.unwrap());
    let mut tasks = JoinSet::new();
    for _ in 0..CLIENTS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let (start, mut count) = (Instant::now(), 0);
            while start.elapsed() < ROUND {
                let batch = Batch::new(Partition::new("bus/v2/bench").unwrap());
                let batch = batch.then(Operation::Append {
                    log: LogName::new("messages").unwrap(),
                    dedupe: None,
                    body: Bytes::from_static(BODY),
                    expires: Timestamp::MAX,
                });
                store.commit(batch, Ack::Safe, SystemClock.now()).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let round = round(server, tasks).await;
    store.close().await;
    round
}

async fn raw(server: &RedisServer) -> Round {
    let address = RedisAddress::parse(&server.url()).unwrap();
    // Makes the store and loads the scripts.
    RedisStore::open(RedisConfig::new(address)).await.unwrap().close().await;
    let command = Arc::new(command(server));
    let mut tasks = JoinSet::new();
    for _ in 0..CLIENTS {
        let (command, port) = (Arc::clone(&command), server.port());
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut answer = [0; 1024];
            let (start, mut count) = (Instant::now(), 0);
            while start.elapsed() < ROUND {
                stream.write_all(&command).await.unwrap();
                // One answer is short enough to come at once.
                let length = stream.read(&mut answer).await.unwrap();
                assert!(answer.starts_with(b"*4\r\n") && length > 40, "the script failed");
                count += 1;
            }
            count
        });
    }
    round(server, tasks).await
}

/// The command that a commit sends, built by hand from the layout in `DESIGN.md`.
fn command(server: &RedisServer) -> Vec<u8> {
    let script = concat!(
        include_str!("../src/redis/scripts/common.lua"),
        "\n",
        include_str!("../src/redis/scripts/guard.lua"),
        "\n",
        include_str!("../src/redis/scripts/commit.lua"),
        "\n"
    );
    let name = server.cli(&["script", "load", script]);
    let run = server.cli(&["hget", "buswire:{00}:meta", "run"]);
    let number = |number: u64| number.to_be_bytes().to_vec();
    let text = |text: &str| text.as_bytes().to_vec();
    let base = |rest: &str| text(&format!("buswire:{{00}}:{rest}"));
    let path = "messages:bus/v2/bench";
    let expires = Timestamp::MAX.as_millis();
    let parts = [
        text("EVALSHA"),
        text(&name),
        text("6"),
        base("meta"),
        base("due"),
        base("r:bus/v2/bench"),
        base("k:bus/v2/bench"),
        base(&format!("l:{path}")),
        base(&format!("d:{path}")),
        text(&run),
        number(SystemClock.now().as_millis()),
        number(1),
        text("1"),
        text("PUBLISH"),
        base("hints"),
        text("bus/v2/bench"),
        text("0"),
        text(""),
        text("a"),
        text("1"),
        text(path),
        text(""),
        BODY.to_vec(),
        number(expires),
        text(&expires.to_string()),
    ];
    let mut command = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        command.extend(format!("${}\r\n", part.len()).into_bytes());
        command.extend(part);
        command.extend(b"\r\n");
    }
    command
}
