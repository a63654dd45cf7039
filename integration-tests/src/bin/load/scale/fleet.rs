//! Gateways that share a store, or one with its own, and what each process used.
//!
//! Never here: what they are asked to do.

use std::time::Duration;

use buswire_integration_tests::{Gateway, Single};

use super::redis::{Counters, Fsync, Redis};
use crate::stats::{cpu_of, resident_kib};

/// What seals the targets of capabilities: gateways that share a store share it.
const KEYS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// As many connections as the machine has files for.
const CONNECTIONS: &str = "300000";

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One gateway with the embedded store.
    Embedded,
    /// Gateways on one Redis.
    Redis { gateways: usize, fsync: Fsync },
}

impl Layout {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Embedded => "embedded".into(),
            Self::Redis { gateways, fsync } => format!("{gateways} × Redis, {}", fsync.name()),
        }
    }
}

/// Running gateways.
pub(crate) struct Fleet {
    gateways: Vec<Gateway>,
    redis: Option<Redis>,
}

impl Fleet {
    /// Starts them with more settings.
    pub(crate) fn start(layout: Layout, settings: &[(&str, &str)], file: &str) -> Self {
        let (count, redis) = match layout {
            Layout::Embedded => (1, None),
            Layout::Redis { gateways, fsync } => (gateways, Some(Redis::start(fsync))),
        };
        let mut fleet = Self { gateways: Vec::new(), redis };
        for _ in 0..count {
            fleet.add(settings, file);
        }
        fleet
    }

    /// Starts one more.
    pub(crate) fn add(&mut self, settings: &[(&str, &str)], file: &str) {
        let mut builder = Gateway::single(Single::OwnFleet)
            .file(file)
            .set("belay.keys", KEYS)
            .set("http.connections_max", CONNECTIONS)
            .set("simplepush.connections_max", CONNECTIONS);
        if let Some(redis) = &self.redis {
            builder = builder.set("store.url", &redis.url());
        }
        for (key, value) in settings {
            builder = builder.set(key, value);
        }
        self.gateways.push(builder.start());
    }

    /// The gateway that client `number` is at.
    pub(crate) fn at(&self, number: usize) -> &Gateway {
        &self.gateways[number % self.gateways.len()]
    }

    /// Where client `number` connects to.
    pub(crate) fn address(&self, number: usize) -> &str {
        &self.at(number).bound().http
    }

    pub(crate) fn gateways(&self) -> &[Gateway] {
        &self.gateways
    }

    pub(crate) const fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// What all have used so far.
    pub(crate) fn read(&self) -> Reading {
        let gateways = self.gateways.iter().map(|gateway| cpu_of(gateway.pid())).collect();
        let redis = self.redis.as_ref().map(Redis::counters).unwrap_or_default();
        Reading { gateways, redis }
    }

    /// Resident memory of all gateways in bytes.
    pub(crate) fn resident(&self) -> f64 {
        self.gateways.iter().map(|gateway| resident_kib(gateway.pid()) * 1024.0).sum()
    }

    /// Bytes that Redis has in use; none without it.
    pub(crate) fn stored(&self) -> f64 {
        self.redis.as_ref().map_or(0.0, |redis| redis.counters().memory)
    }
}

/// What processes had used at one time.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) gateways: Vec<Duration>,
    pub(crate) redis: Counters,
}

/// What they used between two readings; times in microseconds of a processor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used {
    pub(crate) gateways: Vec<f64>,
    pub(crate) redis: f64,
    pub(crate) received: f64,
    pub(crate) sent: f64,
    pub(crate) file: f64,
}

impl Used {
    pub(crate) fn between(before: &Reading, after: &Reading) -> Self {
        let micros =
            |after: Duration, before: Duration| after.saturating_sub(before).as_secs_f64() * 1e6;
        let each = after.gateways.iter().zip(&before.gateways);
        let (now, then) = (&after.redis, &before.redis);
        Self {
            gateways: each.map(|(after, before)| micros(*after, *before)).collect(),
            redis: micros(now.cpu, then.cpu),
            received: now.received - then.received,
            sent: now.sent - then.sent,
            file: now.file - then.file,
        }
    }

    /// Of all gateways together.
    pub(crate) fn gateway(&self) -> f64 {
        self.gateways.iter().sum()
    }
}
