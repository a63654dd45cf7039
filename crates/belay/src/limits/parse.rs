//! Limits from bcapJson, failing closed.
//!
//! Never here: what the limits do.

use std::{collections::BTreeSet, num::NonZeroU64};

use buswire_message::{MessageType, Timestamp};

use crate::{
    limits::{Bounds, Limits, NameSet, Rate},
    method::{Method, MethodSet},
    wire::BcapValue,
};

/// The most channels or types that one grant may list; a chain can hold no more than 32 times as
/// many, which bounds what is stored and compared for every invocation.
pub(super) const LIST_MAX: usize = 64;

/// 2^53: above it, a number that went through a browser is not what was meant (Belay §4.3).
pub(super) const INTEGER_MAX: u64 = 1 << 53;

/// Why `limits` are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// Not an object.
    #[error("limits are an object")]
    NotAnObject,
    /// A member that does not exist. Ignoring it would widen the grant.
    #[error("there is no limit of that name")]
    UnknownMember,
    /// A member has a value that it can't have.
    #[error("the limit \"{0}\" has no such value")]
    BadMember(&'static str),
}

pub(super) fn limits(value: &BcapValue) -> Result<Limits, LimitsError> {
    let members = value.as_object().ok_or(LimitsError::NotAnObject)?;
    let mut limits = Limits::default();
    for (name, value) in members.iter() {
        member(&mut limits, name, value)?;
    }
    Ok(limits)
}

fn member(limits: &mut Limits, name: &str, value: &BcapValue) -> Result<(), LimitsError> {
    let Limits { bounds, uses, rate } = limits;
    let Bounds { methods, read_only, channels, types, expires, not_before, max_bytes } = bounds;
    match name {
        "methods" => *methods = Some(method_set(value).ok_or(bad("methods"))?),
        "readOnly" => *read_only = value.as_bool().ok_or(bad("readOnly"))?,
        "channels" => {
            let names = texts(value).and_then(NameSet::parse);
            *channels = Some(names.ok_or(bad("channels"))?);
        }
        "types" => *types = Some(message_types(value).ok_or(bad("types"))?),
        "expires" => *expires = Some(time(value).ok_or(bad("expires"))?),
        "notBefore" => *not_before = Some(time(value).ok_or(bad("notBefore"))?),
        "uses" => {
            *uses = Some(integer(value).and_then(NonZeroU64::new).ok_or(bad("uses"))?);
        }
        "rate" => *rate = Some(parse_rate(value).ok_or(bad("rate"))?),
        "maxBytes" => *max_bytes = Some(integer(value).ok_or(bad("maxBytes"))?),
        _ => return Err(LimitsError::UnknownMember),
    }
    Ok(())
}

const fn bad(member: &'static str) -> LimitsError {
    LimitsError::BadMember(member)
}

/// Reads an array of at most [`LIST_MAX`] strings.
pub(crate) fn texts(value: &BcapValue) -> Option<Vec<&str>> {
    let items = value.as_array().filter(|items| items.len() <= LIST_MAX)?;
    items.iter().map(BcapValue::as_str).collect()
}

fn method_set(value: &BcapValue) -> Option<MethodSet> {
    texts(value)?.into_iter().map(Method::parse).collect()
}

fn message_types(value: &BcapValue) -> Option<BTreeSet<String>> {
    let parse = |text: &str| text.parse::<MessageType>().ok().map(|name| name.as_str().to_owned());
    texts(value)?.into_iter().map(parse).collect()
}

fn time(value: &BcapValue) -> Option<Timestamp> {
    Timestamp::parse(value.as_str()?).ok()
}

fn integer(value: &BcapValue) -> Option<u64> {
    value.as_u64().filter(|number| *number <= INTEGER_MAX)
}

fn parse_rate(value: &BcapValue) -> Option<Rate> {
    let members = value.as_object().filter(|members| members.len() == 2)?;
    Rate::new(members.get("count")?.as_u64()?, members.get("per")?.as_u64()?)
}
