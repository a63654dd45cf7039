//! The audit record: tracing events and counters (Belay §20.9).
//!
//! Never here: an id, a URL, a body, a target; handles and statuses only.

use std::{net::IpAddr, time::Duration};

use crate::{grants::Grant, method::Method, names::Handle};

/// The target of every audit event.
const TARGET: &str = "buswire::belay::audit";

/// Where an invocation came from, coarsely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// This process.
    InProcess,
    /// This machine.
    Loopback,
    /// A private or link-local address.
    Private,
    /// Any other address.
    Public,
    /// The listener did not say.
    Unknown,
}

impl Peer {
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(address) if address.is_loopback() => Self::Loopback,
            Some(IpAddr::V4(v4)) if v4.is_private() || v4.is_link_local() => Self::Private,
            Some(IpAddr::V6(v6)) if v6.is_unique_local() || v6.is_unicast_link_local() => {
                Self::Private
            }
            Some(_) => Self::Public,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::InProcess => "process",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Public => "public",
            Self::Unknown => "unknown",
        }
    }
}

pub(crate) fn granted(grant: &Grant, by: Option<&Handle>) {
    tracing::info!(
        target: TARGET,
        handle = %grant.handle,
        kind = %grant.kind,
        link = ?grant.link,
        by = by.map(Handle::as_str),
        "granted"
    );
    metrics::counter!("buswire_belay_grants_total").increment(1);
}

pub(crate) fn revoked(grant: &Grant) {
    tracing::info!(target: TARGET, handle = %grant.handle, kind = %grant.kind, "revoked");
    metrics::counter!("buswire_belay_revocations_total").increment(1);
}

pub(crate) fn changed(grant: &Grant, suspended: Option<bool>) {
    tracing::info!(target: TARGET, handle = %grant.handle, suspended, "changed");
}

pub(crate) struct Invoked<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) control: bool,
    pub(crate) method: Option<Method>,
    pub(crate) status: u16,
    /// In and out.
    pub(crate) bytes: [u64; 2],
    pub(crate) took: Duration,
    pub(crate) peer: Peer,
}

pub(crate) fn invoked(event: &Invoked<'_>) {
    let [bytes_in, bytes_out] = event.bytes;
    // Joining the chain costs an allocation for each level; not for events that nobody records.
    if tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        let above = event.grant.ancestors.iter().map(|ancestor| ancestor.handle.as_str());
        let chain = above.collect::<Vec<_>>().join(" ");
        tracing::info!(
            target: TARGET,
            handle = %event.grant.handle,
            chain,
            control = event.control,
            method = event.method.map(Method::as_str),
            status = event.status,
            bytes_in,
            bytes_out,
            took_ms = u64::try_from(event.took.as_millis()).unwrap_or(u64::MAX),
            peer = event.peer.as_str(),
            "invoked"
        );
    }
    // Kinds are what the program registered, so the label is bounded.
    metrics::counter!(
        "buswire_belay_invocations_total",
        "kind" => event.grant.kind.to_string(),
        "status" => event.status.to_string()
    )
    .increment(1);
}

pub(crate) fn not_found() {
    metrics::counter!("buswire_belay_not_found_total").increment(1);
}
