//! What an owner of buses decides.
//!
//! Never here: the retention of one bus, which is stored and administered.

use std::{sync::Arc, time::Duration};

use buswire_message::Tracer;
use buswire_store::{OPERATIONS_MAX, VALUE_BYTES_MAX};

use crate::record::OVERHEAD_MAX;

/// What an owner of buses decides.
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// The public URL of messages without the id, `https://host/v2/message/`: what a scope's
    /// `messageURL` is compared with (Backplane §4.4).
    pub message_url_prefix: Arc<str>,
    /// The bounds.
    pub limits: BusLimits,
    /// Gives every message its place in a trace. With `None` a message keeps what it came with.
    pub tracer: Option<Tracer>,
}

/// The bounds of buses.
///
/// | field | default | why |
/// |---|---|---|
/// | `payload_bytes_max` | 1 MiB | the body limit of Backplane (§20) |
/// | `batch_messages_max` | 1000 | a batch is one record of the group commit |
/// | `batch_bytes_max` | 16 MiB | the same |
/// | `bus_messages_max` | 1 000 000 | about 700 bytes of memory each beside its record |
/// | `bus_bytes_max` | 1 GiB | records are in memory; each form that readers ask for once more |
/// | `waiters_max` | 100 000 | at most 1 KiB of memory each |
/// | `windows_max` | 10 000 | buses in memory; on overflow idle ones are dropped and read again |
/// | `sweep_interval` | 30 s | expired messages leave memory this late; reads never show them |
/// | `poll_interval` | 5 s | how long a lost hint may delay a message of another gateway |
/// | `in_doubt` | 10 s | how long a publish that was dropped under way keeps its places |
///
/// The worst case of memory is the number of loaded buses × `bus_bytes_max` × (1 + forms in use).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusLimits {
    /// The longest payload in bytes; larger ones are refused. At most 8 MiB less 8 KiB.
    pub payload_bytes_max: usize,
    /// The most messages of one `publish_all`; longer lists are refused. At most 4096.
    pub batch_messages_max: usize,
    /// The most bytes of one `publish_all`; larger lists are refused.
    pub batch_bytes_max: usize,
    /// The most live messages of one bus; more are refused.
    pub bus_messages_max: usize,
    /// The most bytes of live messages of one bus; more are refused.
    pub bus_bytes_max: usize,
    /// The most readers that wait at once; more are refused.
    pub waiters_max: usize,
    /// The most buses in memory. On overflow those that nobody uses are dropped.
    pub windows_max: usize,
    /// How often expired messages leave memory and the store.
    pub sweep_interval: Duration,
    /// How often windows are compared with the store, beside hints.
    pub poll_interval: Duration,
    /// How long a publish whose future was dropped may still turn out to have happened.
    pub in_doubt: Duration,
}

impl Default for BusLimits {
    fn default() -> Self {
        Self {
            payload_bytes_max: 1024 * 1024,
            batch_messages_max: 1000,
            batch_bytes_max: 16 * 1024 * 1024,
            bus_messages_max: 1_000_000,
            bus_bytes_max: 1024 * 1024 * 1024,
            waiters_max: 100_000,
            windows_max: 10_000,
            sweep_interval: Duration::from_secs(30),
            poll_interval: Duration::from_secs(5),
            in_doubt: Duration::from_secs(10),
        }
    }
}

impl BusLimits {
    /// The same limits, no greater than what a store takes.
    pub(crate) fn clamped(mut self) -> Self {
        self.payload_bytes_max = self.payload_bytes_max.min(VALUE_BYTES_MAX - OVERHEAD_MAX);
        self.batch_messages_max = self.batch_messages_max.clamp(1, OPERATIONS_MAX);
        self.sweep_interval = self.sweep_interval.max(Duration::from_millis(100));
        self.poll_interval = self.poll_interval.max(Duration::from_millis(100));
        self
    }
}
