//! Which connections are taken: how many, how many from one address (SimplePush §16, §19.3).
//!
//! Never here: requests; `upgrade` answers them.

use std::{
    collections::hash_map::Entry,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use buswire_message::{Timestamp, TooOften};

use crate::{
    service::{Availability, PERIOD, Shared, SimplePush},
    table::lock,
};

/// A place among the open connections, given back when it is dropped.
pub(crate) struct OpenConnection {
    shared: Arc<Shared>,
    /// Where it comes from, if that is known.
    source: Option<IpAddr>,
    opened: Timestamp,
}

impl OpenConnection {
    /// The UAID that the client presented was not honoured: it may be guessing (§19.1).
    pub(crate) fn count_refused_uaid(&self, now: Timestamp) {
        if let Some(source) = self.source {
            // What counts is the next upgrade.
            let _counted = self.shared.refused_uaids.count(source, now);
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
        let metrics = &self.shared.metrics;
        metrics.connections.decrement(1);
        metrics.lifespan.record(self.shared.steady.now().saturating_since(self.opened));
        if let Some(source) = self.source.filter(|_| self.shared.limits_sources()) {
            let mut open = lock(&self.shared.open_by_source);
            if let Entry::Occupied(mut count) = open.entry(source) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

/// Why no connection is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// There are too many, or the server shuts down.
    Full,
    /// There are too many from this address, or its clients guess UAIDs.
    TooOften(TooOften),
}

impl SimplePush {
    /// Takes a place for a connection (§16, §19.3).
    pub(crate) fn admit(&self, source: Option<IpAddr>) -> Result<OpenConnection, NotAdmitted> {
        let admitted = self.try_admit(source);
        if admitted.is_err() {
            self.shared().metrics.refused.increment(1);
        }
        admitted
    }

    fn try_admit(&self, source: Option<IpAddr>) -> Result<OpenConnection, NotAdmitted> {
        let shared = self.shared();
        let opened = shared.steady.now();
        if let Some(source) = &source {
            shared.refused_uaids.check(source, opened).map_err(NotAdmitted::TooOften)?;
        }
        let max = self.config().limits.connections_max;
        let grow = |open: usize| (open < max).then_some(open + 1);
        if self.availability() != Availability::Serving
            || shared.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, grow).is_err()
        {
            return Err(NotAdmitted::Full);
        }
        shared.metrics.connects.increment(1);
        shared.metrics.connections.increment(1);
        let Some(from) = source.filter(|_| shared.limits_sources()) else {
            return Ok(OpenConnection { shared: Arc::clone(shared), source, opened });
        };
        let mut open = lock(&shared.open_by_source);
        let count = open.entry(from).or_default();
        *count += 1;
        let fits = *count <= self.config().limits.address_connections_max;
        drop(open);
        let connection = OpenConnection { shared: Arc::clone(shared), source, opened };
        // One too many gives its place back by being dropped here.
        if fits { Ok(connection) } else { Err(NotAdmitted::TooOften(TooOften(PERIOD))) }
    }
}
