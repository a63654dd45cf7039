//! How many connections come from one address.
//!
//! Never here: what is said of them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use crate::config::AddressLimit;

/// The open connections of a listener by address. Holds one entry for each address that has one, so at
/// most `connections_max`.
#[derive(Debug)]
pub(super) struct Addresses {
    limit: AddressLimit,
    open: Mutex<HashMap<IpAddr, u32>>,
}

/// A place among the connections of an address; dropping it gives it back.
#[derive(Debug)]
pub(super) struct AddressPlace(Option<(Arc<Addresses>, IpAddr)>);

impl Addresses {
    pub(super) fn new(limit: AddressLimit) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default() })
    }

    /// A place for a connection from `ip`; `None` if that address has as many as it may.
    pub(super) fn take(self: &Arc<Self>, ip: IpAddr) -> Option<AddressPlace> {
        let max = self.limit.connections_max;
        if max == 0 || self.limit.exempt.iter().any(|network| network.contains(ip)) {
            return Some(AddressPlace(None));
        }
        let who = one(ip);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(who).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(AddressPlace(Some((Arc::clone(self), who))))
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let Some((addresses, who)) = self.0.take() else { return };
        let mut open = addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&who) {
            *count -= 1;
            if *count == 0 {
                open.remove(&who);
            }
        }
    }
}

/// What counts as one address: with IPv6 a network of 64 bits, which is what one customer has at least.
fn one(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(connections_max: u32, exempt: &[&str]) -> Arc<Addresses> {
        let exempt = exempt.iter().map(|network| network.parse().unwrap()).collect();
        Addresses::new(AddressLimit { connections_max, exempt })
    }

    #[test]
    fn an_address_has_as_many_connections_as_it_may() {
        let addresses = addresses(2, &["10.0.0.0/8"]);
        let ip = |text: &str| text.parse().unwrap();
        let held: Vec<_> = (0..2).map(|_| addresses.take(ip("192.0.2.1")).unwrap()).collect();
        assert!(addresses.take(ip("192.0.2.1")).is_none());
        assert!(addresses.take(ip("::ffff:192.0.2.1")).is_none(), "the same address");
        assert!(addresses.take(ip("192.0.2.2")).is_some(), "another one");
        let proxied: Vec<_> = (0..9).map(|_| addresses.take(ip("10.1.2.3"))).collect();
        assert!(proxied.iter().all(Option::is_some), "a proxy stands for many");
        let six: Vec<_> = (1..=2).map(|n| addresses.take(ip(&format!("2001:db8::{n}")))).collect();
        assert!(addresses.take(ip("2001:db8::ffff:1")).is_none(), "the same customer");
        assert!(addresses.take(ip("2001:db8:0:1::1")).is_some());
        drop((held, six));
        assert!(addresses.take(ip("192.0.2.1")).is_some());
        assert!(addresses.open.lock().unwrap().is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn zero_is_no_limit() {
        let addresses = addresses(0, &[]);
        let held: Vec<_> = (0..99).map(|_| addresses.take("192.0.2.1".parse().unwrap())).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
