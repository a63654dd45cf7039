//! Room for as many connections as are allowed: each needs a file descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// What is open beside connections: listeners, the store, files that are read, ZeroMQ peers.
const OTHERS: u64 = 1024;

/// Raises the soft limit of the process as far as the hard one lets it, and says so if that is not
/// enough (SimplePush §16, MDP §15.2).
pub(super) fn make_room(config: &Config) {
    let needed = [
        config.http.limits.connections_max,
        config.admin.connections_max,
        config.ops.connections_max,
    ]
    .into_iter()
    .map(u64::from)
    .sum::<u64>()
        + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No limit is `None`.
    let Some(limit) = current.filter(|limit| *limit < needed) else { return };
    let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
    let limit = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => limit,
    };
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            "fewer file descriptors than connections: raise the limit (ulimit -n) or lower \
             http.connections_max"
        );
    }
}
