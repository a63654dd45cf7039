//! The broker core without sockets: requests through decode, dispatch, reply and encode.
#![allow(missing_docs, reason = "criterion's macros write undocumented functions")]

use std::hint::black_box;
use std::time::Duration;

use buswire_mdp::core::{BrokerCore, CoreConfig, Input, Output};
use buswire_mdp::wire::{Part, ToPeer, WireLimits, decode};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BODY: &[u8] = &[b'x'; 64];

/// A broker with some workers registered for one service.
struct Bench {
    core: BrokerCore,
    limits: WireLimits,
    parts: Vec<Part>,
}

impl Bench {
    fn new(workers: u8) -> Self {
        let core = BrokerCore::new(CoreConfig::default(), [7; 8]);
        let mut bench = Self { core, limits: WireLimits::default(), parts: Vec::new() };
        for worker in 0..workers {
            bench.receive(&[&[0, 1, 2, 3, worker], b"", b"MDPW01", b"\x01", b"echo"]);
        }
        bench
    }

    fn receive(&mut self, frames: &[&[u8]]) {
        let input = match decode(frames, &self.limits) {
            Ok(message) => Input::Received { message, user: None },
            Err(reason) => Input::Invalid(reason),
        };
        self.core.handle(Duration::from_millis(1), input);
    }

    /// Asks `requests` times and lets the workers answer until nothing is in hand.
    fn round(&mut self, requests: u32) {
        for number in 0..requests {
            let id = number.to_be_bytes();
            self.receive(&[&[0, 9, 9, 9, 9], &id, b"", b"MDPC01", b"echo", BODY]);
        }
        while let Some(output) = self.core.poll_output() {
            let Output::Send(_, message) = output else {
                continue;
            };
            let work = match &message.message {
                ToPeer::Request { address, .. } => {
                    Some((message.to.route.clone(), address.clone()))
                }
                _ => None,
            };
            message.write_to(&mut self.parts);
            black_box(&self.parts);
            self.parts.clear();
            if let Some((worker, address)) = work {
                let (worker, address) = (worker.as_slice(), address.as_slice());
                self.receive(&[worker, b"", b"MDPW01", b"\x03", address, b"", BODY]);
            }
        }
    }
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("core");
    for (name, workers, requests) in
        [("lock_step", 1, 1), ("in_flight_256", 4, 256), ("backlog_4096", 4, 4096)]
    {
        group.throughput(Throughput::Elements(u64::from(requests)));
        let mut bench = Bench::new(workers);
        group.bench_function(name, |bencher| bencher.iter(|| bench.round(requests)));
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
