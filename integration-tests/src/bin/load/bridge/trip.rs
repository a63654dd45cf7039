//! Clients that send a message, wait until it has arrived where it was meant to, and send the next.
//!
//! Never here: where that is, which is `fixture`.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::{
    http::{Connection, Message},
    push::Socket,
    stats::{Plan, Run, cpu_of},
};

/// What has not arrived after so long is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// A reader has at most this much to tell a client: only one message is under way.
pub(super) const ARRIVALS: usize = 4;

/// Where a client sees its messages arrive.
pub(super) enum Arrival<'a> {
    /// A reader of all clients' messages tells the numbers and when they came.
    Read(mpsc::Receiver<(u64, Instant)>),
    /// A frame on the client's own WebSocket, whose channel has this number.
    Frame { socket: &'a mut Socket, channel: usize, version: &'a mut u64 },
}

/// One client.
pub(super) struct Client<'a> {
    pub(super) request: Box<dyn Fn(u64) -> Vec<u8> + 'a>,
    pub(super) check: fn(&Message),
    pub(super) arrival: Arrival<'a>,
}

#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    lost: usize,
    wrong: usize,
}

/// Runs all clients for the time of the plan against the server `pid` at `address`; latencies are
/// from accepted to arrived, and 0 for what arrived before its sender was told.
pub(super) async fn run(plan: &Plan, address: &str, pid: u32, clients: Vec<Client<'_>>) -> Run {
    let mut connections = Vec::new();
    for _ in &clients {
        connections.push(Connection::open(address).await);
    }
    let cpu = cpu_of(pid);
    let start = Instant::now();
    let trips = clients.into_iter().zip(connections);
    let trips = trips.map(|(client, connection)| client.travel(connection, start, plan.time));
    let tallies = futures::future::join_all(trips).await;
    let elapsed = start.elapsed();
    let server_cpu = cpu_of(pid).saturating_sub(cpu);
    let lost = tallies.iter().map(|tally| tally.lost).sum();
    let wrong = tallies.iter().map(|tally| tally.wrong).sum();
    let latencies: Vec<_> = tallies.into_iter().flat_map(|tally| tally.latencies).collect();
    Run { operations: latencies.len(), lost, wrong, elapsed, server_cpu, latencies }
}

impl Client<'_> {
    async fn travel(mut self, mut connection: Connection, start: Instant, time: Duration) -> Tally {
        let mut tally = Tally::default();
        for number in 0.. {
            if start.elapsed() >= time {
                break;
            }
            let request = (self.request)(number);
            let accepted = async {
                (self.check)(&connection.exchange(&request).await);
                Instant::now()
            };
            let arrived = tokio::time::timeout(PATIENCE, self.arrival.wait(number));
            let (accepted, arrived) = futures::future::join(accepted, arrived).await;
            match arrived {
                Ok(Some(at)) => tally.latencies.push(at.saturating_duration_since(accepted)),
                Ok(None) => tally.wrong += 1,
                Err(_) => {
                    tally.lost += 1;
                    break;
                }
            }
        }
        tally
    }
}

impl Arrival<'_> {
    /// When the message of that number arrived; `None` if it was another one.
    async fn wait(&mut self, number: u64) -> Option<Instant> {
        match self {
            Self::Read(arrivals) => {
                let (arrived, at) = arrivals.recv().await?;
                (arrived == number).then_some(at)
            }
            Self::Frame { socket, channel, version } => {
                let text = socket.hear().await?;
                let at = Instant::now();
                let digits = text.rsplit("version").next().unwrap_or_default();
                let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
                let told = digits.parse().ok()?;
                socket.acknowledge(*channel, told).await;
                let is_newer = told > **version;
                **version = told;
                is_newer.then_some(at)
            }
        }
    }
}
