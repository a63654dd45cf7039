//! What goes wrong, in the log: about once a second and summed up, so that a flood of bad messages
//! is no flood of lines. Never in here: a body, a key, a peer's own words.

use crate::ClosedSet;
use crate::core::{Counters, Dropped, Farewell, LinkLoss, LinkNote, Tally};
use crate::wire::{Invalid, LINK_VERSION, Refusal};

/// What was reported already.
#[derive(Default)]
pub(super) struct Reporter {
    invalid: Tally<Invalid>,
    dropped: Tally<Dropped>,
    disconnects: Tally<Farewell>,
    expired: u64,
    lost: u64,
}

impl Reporter {
    /// Says what was counted since the last time.
    pub(super) fn report(&mut self, counters: &Counters) {
        let requests = &counters.requests;
        if let Some(reasons) = growth(&mut self.invalid, counters.invalid) {
            tracing::warn!(reasons, "messages were dropped that are none");
        }
        if let Some(reasons) = growth(&mut self.dropped, requests.dropped) {
            tracing::warn!(reasons, "requests were dropped");
        }
        if let Some(reasons) = growth(&mut self.disconnects, counters.disconnects) {
            tracing::info!(reasons, "workers were sent away");
        }
        let (expired, lost) = (requests.expired - self.expired, requests.lost - self.lost);
        if expired + lost > 0 {
            (self.expired, self.lost) = (requests.expired, requests.lost);
            tracing::warn!(expired, lost, "requests were given up");
        }
    }
}

/// Says what happened to links with other brokers.
pub(super) fn tell(note: &LinkNote) {
    match note {
        LinkNote::Up(gateway) => tracing::info!(%gateway, "a gateway's services can be reached"),
        LinkNote::Down(gateway, LinkLoss::Refused(Refusal::Stopped), 0) => {
            tracing::info!(%gateway, "a gateway stopped");
        }
        LinkNote::Down(gateway, why, in_hand) => {
            tracing::warn!(%gateway, ?why, in_hand, "a gateway's services can't be reached");
        }
        LinkNote::Version(theirs) => {
            let ours = LINK_VERSION;
            tracing::warn!(theirs, ours, "a gateway speaks another version of links");
        }
        LinkNote::Refused(why) => tracing::warn!(why = why.name(), "a gateway was not let in"),
        LinkNote::TooMany(most) => tracing::warn!(most, "there are more gateways than links"),
    }
}

/// Returns what grew, as `reason=count`, and takes the new counts over.
fn growth<K: ClosedSet>(before: &mut Tally<K>, now: Tally<K>) -> Option<String> {
    let grown: Vec<String> = now
        .iter()
        .map(|(member, count)| (member.name(), count - before.of(member)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name}={count}"))
        .collect();
    *before = now;
    (!grown.is_empty()).then(|| grown.join(" "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::{BrokerCore, CoreConfig, Input};

    #[test]
    fn only_what_grew_is_reported_and_once() {
        // Rule: mdp §6.1 — invalid messages are counted, and logged at most once a second
        let mut core = BrokerCore::new(CoreConfig::default(), [0; 8]);
        let mut reported = Tally::default();
        assert_eq!(growth(&mut reported, core.counters().invalid), None);
        for reason in [Invalid::Header, Invalid::Probe, Invalid::Header] {
            core.handle(Duration::ZERO, Input::Invalid(reason));
        }
        let said = growth(&mut reported, core.counters().invalid);
        assert_eq!(said.as_deref(), Some("probe=1 header=2"));
        assert_eq!(growth(&mut reported, core.counters().invalid), None);
    }
}
