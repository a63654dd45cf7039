//! Random histories against the world of the harness.

use proptest::prelude::*;

use super::super::harness::{World, ops};
use super::*;

fn patient() -> CoreConfig {
    let policy = ServicePolicy { attempts_max: 1000, ..ServicePolicy::default() };
    CoreConfig {
        request_ttl: Duration::from_secs(24 * 3600),
        default_policy: policy,
        ..CoreConfig::default()
    }
}

fn tight() -> CoreConfig {
    let policy = ServicePolicy {
        attempts_max: 2,
        busy_timeout: Duration::from_secs(5),
        queue_max: 4,
        error_reply: None,
    };
    CoreConfig {
        request_ttl: Duration::from_secs(3),
        per_client_max: 3,
        held_bytes_max: 2600,
        services_max: 4,
        workers_max: 5,
        service_idle: Duration::from_secs(2),
        partial_bytes_max: 60,
        refusals_max: 2,
        default_policy: policy,
        ..CoreConfig::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_reach_their_request_once_and_as_long_as_a_worker_lives_always(ops in ops()) {
        // Rule: mdp §11.1 — no reply reaches another client or another request
        // Rule: mdp §8.9 — a request is kept until its final reply and handed out again
        let mut world = World::new(patient());
        for op in &ops {
            world.apply(op);
        }
        let unanswered = world.settle() as u64;
        let counters = world.core.counters().requests;
        prop_assert!(unanswered <= counters.lost + counters.dropped.total(), "{unanswered} {counters:?}");
    }

    #[test]
    fn every_bound_holds_under_any_history(ops in ops()) {
        // Rule: mdp §11.7 — every queue and table of the broker is bounded
        let mut world = World::new(tight());
        for op in &ops {
            world.apply(op);
        }
    }

    #[test]
    fn nothing_panics_after_stop(ops in ops(), at in 0usize..60) {
        let mut world = World::new(tight());
        for (number, op) in ops.iter().enumerate() {
            if number == at {
                world.stop();
            }
            world.apply(op);
        }
    }
}
