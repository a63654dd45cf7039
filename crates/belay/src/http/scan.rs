//! Blunts scanning for ids: how many 404 an address got in this second (Belay §21.6).
//!
//! Only ids that are not found are counted and refused; one that is alive is answered whatever else
//! its address does. Never here: a lock-out.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use buswire_message::Timestamp;

/// Addresses that are remembered in one second, 50 bytes each. More than that are not counted:
/// whoever has so many gains nothing from one more.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Scanners {
    most: u32,
    second: Mutex<Second>,
}

#[derive(Debug, Default)]
struct Second {
    number: u64,
    counts: BTreeMap<IpAddr, u32>,
}

impl Scanners {
    pub(super) fn new(most: u32) -> Self {
        Self { most, second: Mutex::default() }
    }

    /// Counts one 404; whether it is one too many. This machine scans nobody: a loopback address is a
    /// proxy that all clients come through, or a test.
    pub(super) fn is_over(&self, address: IpAddr, now: Timestamp) -> bool {
        if address.to_canonical().is_loopback() {
            return false;
        }
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.number != now.as_secs() {
            second.number = now.as_secs();
            second.counts.clear();
        }
        let known = second.counts.len();
        if let Some(count) = second.counts.get_mut(&address) {
            *count = count.saturating_add(1);
            return *count > self.most;
        }
        if known < ADDRESSES_MAX {
            second.counts.insert(address, 1);
        }
        self.most == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_in_a_second() {
        // Rule: belay 21.6 — answers 404 are limited per address and second
        let scanners = Scanners::new(2);
        let address = IpAddr::from([192, 0, 2, 1]);
        let at = |secs| Timestamp::from_secs(secs);
        let over: Vec<_> = (0..4).map(|_| scanners.is_over(address, at(5))).collect();
        assert_eq!(over, [false, false, true, true]);
        assert!(!scanners.is_over(IpAddr::from([192, 0, 2, 2]), at(5)));
        assert!(!scanners.is_over(address, at(6)));
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert!((0..9).all(|_| !scanners.is_over(loopback, at(5))));
    }
}
