//! The process itself: time to be ready, memory at rest, size.

use std::time::{Duration, Instant};

use buswire_integration_tests::{Gateway, binary};

use crate::stats::{Plan, median, resident_kib};

/// Time after which a process that nobody talks to is at rest.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn measure(plan: &Plan) {
    let (mut ready, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let start = Instant::now();
        let gateway = Gateway::spawn();
        ready.push(start.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(SETTLE);
        resident.push(resident_kib(gateway.pid()) / 1024.0);
    }
    let bytes = std::fs::metadata(binary()).unwrap().len();
    println!("the process; medians of {} rounds", plan.rounds);
    println!("ready with no data, ms        {:>8.1}", median(ready));
    println!("resident at rest, MiB         {:>8.1}", median(resident));
    println!("binary, MiB                   {:>8.1}", bytes as f64 / f64::from(1 << 20));
}
