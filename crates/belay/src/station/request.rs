//! What a holder of a station asks for: closed records, one member each (Belay §20.5 in spirit).
//!
//! Never here: whether it is done.

use super::membership::{Change, MembershipId, NewMembership, icon, label};
use crate::{
    request::RequestError,
    target::closed,
    wire::{BcapValue, InstanceId, Members},
};

/// A change of a directory.
pub(super) enum StationRequest {
    /// Keep a membership.
    Add(NewMembership),
    /// Change what one is called, where it is shown, or when it was opened.
    Change(MembershipId, Change),
    /// Forget one.
    Remove(MembershipId),
}

impl StationRequest {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if it has not the right shape.
    pub(super) fn parse(data: &BcapValue) -> Result<Self, RequestError> {
        let members = data.as_object().ok_or(RequestError::NotAnObject)?;
        let only = members.iter().next().filter(|_| members.len() == 1);
        let (verb, argument) = only.ok_or(RequestError::UnknownMember)?;
        match verb {
            "add" => {
                let members = closed(argument, &["launch", "control", "name", "icon", "section"])?;
                NewMembership::parse(members).map(Self::Add)
            }
            "change" => {
                let members = closed(argument, &["id", "name", "icon", "section"])?;
                let (name, section) = (label(members, "name")?, label(members, "section")?);
                let change = Change { name, icon: icon(members)?, section, instance: None };
                Ok(Self::Change(id(members)?, change))
            }
            "opened" => {
                let members = closed(argument, &["id", "instance"])?;
                let instance = members.get("instance").and_then(BcapValue::as_str);
                let instance = instance.and_then(InstanceId::parse);
                let instance = Some(instance.ok_or(RequestError::BadMember("instance"))?);
                Ok(Self::Change(id(members)?, Change { instance, ..Change::default() }))
            }
            "remove" => Ok(Self::Remove(id(closed(argument, &["id"])?)?)),
            _ => Err(RequestError::UnknownMember),
        }
    }
}

fn id(members: &Members) -> Result<MembershipId, RequestError> {
    let text = members.get("id").ok_or(RequestError::Missing("id"))?.as_str();
    text.and_then(MembershipId::parse).ok_or(RequestError::BadMember("id"))
}
