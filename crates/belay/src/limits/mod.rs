//! Limits: what a capability may not do, and how limits combine along a chain (Belay §20.8).
//!
//! Combination is intersection, so a child can never widen what its parent allows; `uses` and `rate`
//! are counted at every level separately and are therefore no part of [`Bounds`]. Unknown members are
//! refused: a restriction that is ignored would widen. Never here: counting, or the time.

mod parse;
mod pattern;
mod rate;

use std::{collections::BTreeSet, num::NonZeroU64};

use buswire_message::Timestamp;

pub use parse::LimitsError;
pub(crate) use parse::texts;
pub use pattern::NameSet;
pub(crate) use rate::Bucket;
pub use rate::Rate;

use crate::{
    method::MethodSet,
    wire::{BcapValue, Members},
};

/// What one grant was limited to, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    bounds: Bounds,
    uses: Option<NonZeroU64>,
    rate: Option<Rate>,
}

/// The limits that intersect along a chain: everything but `uses` and `rate`.
///
/// Operations get the intersection over the whole chain. A `None` limits nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Bounds {
    methods: Option<MethodSet>,
    read_only: bool,
    channels: Option<NameSet>,
    types: Option<BTreeSet<String>>,
    expires: Option<Timestamp>,
    not_before: Option<Timestamp>,
    max_bytes: Option<u64>,
}

impl Bounds {
    /// The methods that are left of those an item has; `reading` are those of its methods that change
    /// nothing.
    pub fn methods(&self, of_item: MethodSet, reading: MethodSet) -> MethodSet {
        let named = of_item.intersection(self.methods.unwrap_or(MethodSet::ALL));
        if self.read_only { named.intersection(reading) } else { named }
    }

    /// Whether a channel is within the limit.
    pub fn admits_channel(&self, channel: &str) -> bool {
        self.channels.as_ref().is_none_or(|channels| channels.admits(channel))
    }

    /// Whether a message type is within the limit.
    pub fn admits_type(&self, message_type: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(message_type))
    }

    /// Whether a message of this channel and type is within the limits.
    pub fn admits(&self, channel: &str, message_type: &str) -> bool {
        self.admits_channel(channel) && self.admits_type(message_type)
    }

    /// The channels, if they are limited.
    pub const fn channels(&self) -> Option<&NameSet> {
        self.channels.as_ref()
    }

    /// The message types, if they are limited.
    pub const fn types(&self) -> Option<&BTreeSet<String>> {
        self.types.as_ref()
    }

    /// The most bytes of a request body, if they are limited.
    pub const fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// When the capability ends.
    pub const fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// When the capability begins.
    pub const fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// Whether the capability has begun and not ended: it is alive from `notBefore` on, and while the
    /// time is before `expires`.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|begin| now >= begin) && self.expires.is_none_or(|end| now < end)
    }

    /// What may be reached and when, without how: the limits of a grantor that hold for what it
    /// grants.
    pub(crate) fn reach(&self) -> Self {
        Self { methods: None, read_only: false, max_bytes: None, ..self.clone() }
    }

    /// The limits that hold for what is reached through a capability by other methods than its own.
    pub(crate) fn through(&self) -> Self {
        Self { methods: None, ..self.clone() }
    }

    /// What both allow.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            methods: both(self.methods, other.methods, MethodSet::intersection),
            read_only: self.read_only || other.read_only,
            channels: both(self.channels.clone(), other.channels.clone(), |a, b| {
                a.intersection(&b)
            }),
            types: both(self.types.clone(), other.types.clone(), |a, b| &a & &b),
            expires: both(self.expires, other.expires, Ord::min),
            not_before: both(self.not_before, other.not_before, Ord::max),
            max_bytes: both(self.max_bytes, other.max_bytes, Ord::min),
        }
    }
}

impl Limits {
    /// Reads the `limits` of a request.
    ///
    /// # Errors
    ///
    /// [`LimitsError`] for an unknown member, a wrong type or a value out of its bounds.
    pub fn parse(value: &BcapValue) -> Result<Self, LimitsError> {
        parse::limits(value)
    }

    /// The limits as [`parse`](Self::parse) reads them.
    pub fn to_value(&self) -> BcapValue {
        let mut members = Members::new();
        let texts = |texts: Vec<String>| {
            BcapValue::from(texts.into_iter().map(BcapValue::from).collect::<Vec<_>>())
        };
        let Bounds { methods, read_only, channels, types, expires, not_before, max_bytes } =
            &self.bounds;
        if let Some(methods) = methods {
            members.set("methods", texts(methods.iter().map(|m| m.to_string()).collect()));
        }
        if *read_only {
            members.set("readOnly", true);
        }
        if let Some(channels) = channels {
            members.set("channels", texts(channels.to_texts()));
        }
        if let Some(types) = types {
            members.set("types", texts(types.iter().cloned().collect()));
        }
        if let Some(expires) = expires {
            members.set("expires", expires.to_string());
        }
        if let Some(not_before) = not_before {
            members.set("notBefore", not_before.to_string());
        }
        if let Some(uses) = self.uses {
            members.set("uses", uses.get());
        }
        if let Some(rate) = self.rate {
            let count = Members::new().with("count", u64::from(rate.count()));
            members.set("rate", count.with("per", u64::from(rate.per_secs())));
        }
        if let Some(max_bytes) = max_bytes {
            members.set("maxBytes", *max_bytes);
        }
        members.into()
    }

    /// The part that intersects along a chain.
    pub const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// How many invocations this level admits in all.
    pub const fn uses(&self) -> Option<NonZeroU64> {
        self.uses
    }

    /// How often this level admits one.
    pub const fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// The same limits within a ceiling, as a grantor sets one: what the request leaves open is taken
    /// from the ceiling.
    #[must_use]
    pub fn under(&self, ceiling: &Self) -> Self {
        Self {
            bounds: self.bounds.intersection(&ceiling.bounds),
            uses: both(self.uses, ceiling.uses, Ord::min),
            rate: both(self.rate, ceiling.rate, Rate::tighter),
        }
    }
}

impl From<Bounds> for Limits {
    fn from(bounds: Bounds) -> Self {
        Self { bounds, uses: None, rate: None }
    }
}

fn both<T>(a: Option<T>, b: Option<T>, combine: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(combine(a, b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests;
