//! What is asked for: a grant, or an attenuated child.
//!
//! Closed records: a member that is not understood is refused (Belay §20.5). Never here: whether it
//! is given.

use crate::{
    limits::{Limits, LimitsError},
    names::{Kind, Label, NameError},
    target::TargetError,
    wire::{Bcap, BcapValue, DecodeError, Members, WireLimits, decode_bare},
};

/// Why a request is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not an object.
    #[error("the request is not an object")]
    NotAnObject,
    /// A member that does not exist.
    #[error("the request has a member that does not exist")]
    UnknownMember,
    /// A member that must be there is not.
    #[error("the member \"{0}\" is missing")]
    Missing(&'static str),
    /// A member has a value that it can't have.
    #[error("the member \"{0}\" has no such value")]
    BadMember(&'static str),
    /// The kind or the label is none.
    #[error("a name is not one")]
    Name(#[from] NameError),
    /// The limits are none.
    #[error("the limits are refused")]
    Limits(#[from] LimitsError),
    /// The target is not one of the kind.
    #[error("the target is refused")]
    Target(#[from] TargetError),
    /// A text is no JSON.
    #[error("not bcapJson")]
    Json(#[from] DecodeError),
}

/// Asks for a grant.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantRequest {
    /// The kind of operation.
    pub kind: Kind,
    /// What the operation is about; the kind says what it may be.
    pub target: BcapValue,
    /// What the capability may not do.
    pub limits: Limits,
    /// What people call it.
    pub label: Label,
    /// What its ids look like.
    pub form: IdForm,
}

/// What the ids of a grant look like (Belay §21.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IdForm {
    /// 43 characters of base64url, 256 random bits.
    #[default]
    Token,
    /// A UUID of version 4, 122 random bits: for clients that insist on it.
    Uuid,
}

impl IdForm {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Uuid => "uuid",
        }
    }

    /// Takes the word for it; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Token, Self::Uuid].into_iter().find(|form| form.as_str() == text)
    }
}

impl GrantRequest {
    /// Reads a request whose parts are texts, as the command line and gRPC have them. An empty text
    /// is an empty object.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub fn parse(
        kind: &str,
        target_json: &str,
        limits_json: &str,
        label: &str,
    ) -> Result<Self, RequestError> {
        Ok(Self {
            kind: kind.parse()?,
            target: object(target_json)?,
            limits: Limits::parse(&object(limits_json)?)?,
            label: label.parse()?,
            form: IdForm::default(),
        })
    }
}

fn object(json: &str) -> Result<BcapValue, RequestError> {
    if json.trim().is_empty() {
        return Ok(Members::new().into());
    }
    Ok(decode_bare(json, WireLimits::default())?)
}

/// Reads limits from a text of JSON; an empty text limits nothing.
///
/// # Errors
///
/// [`RequestError`].
pub fn parse_limits(json: &str) -> Result<Limits, RequestError> {
    Ok(Limits::parse(&object(json)?)?)
}

/// What a holder of a grantor asks for (Belay §20.5).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GrantorRequest {
    pub(crate) grant: GrantRequest,
    /// The grant that was made for the same request dies.
    pub(crate) regrant: bool,
    /// The grant does not hang below the grantor.
    pub(crate) detached: bool,
}

impl GrantorRequest {
    pub(crate) fn parse(value: &BcapValue) -> Result<Self, RequestError> {
        let members = closed(value, &["kind", "target", "limits", "label", "regrant", "detached"])?;
        let kind = members.get("kind").ok_or(RequestError::Missing("kind"))?;
        let kind = kind.as_str().ok_or(RequestError::BadMember("kind"))?.parse()?;
        let target = members.get("target").cloned().unwrap_or_else(|| Members::new().into());
        let (limits, label, form) = (limits(members)?, label(members)?, IdForm::default());
        let grant = GrantRequest { kind, target, limits, label, form };
        let (regrant, detached) = (flag(members, "regrant")?, flag(members, "detached")?);
        Ok(Self { grant, regrant, detached })
    }
}

/// What `/belay/wrap` is asked for (Belay §20.8).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WrapRequest {
    pub(crate) of: Bcap,
    pub(crate) limits: Limits,
    pub(crate) label: Label,
}

impl WrapRequest {
    pub(crate) fn parse(value: &BcapValue) -> Result<Self, RequestError> {
        let members = closed(value, &["of", "limits", "label"])?;
        let of = members.get("of").ok_or(RequestError::Missing("of"))?;
        let of = of.as_cap().ok_or(RequestError::BadMember("of"))?.clone();
        Ok(Self { of, limits: limits(members)?, label: label(members)? })
    }
}

/// What is PUT to a control capability (Belay §20.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlRequest {
    pub(crate) label: Option<Label>,
    pub(crate) suspended: Option<bool>,
}

impl ControlRequest {
    pub(crate) fn parse(value: &BcapValue) -> Result<Self, RequestError> {
        let members = closed(value, &["label", "suspended"])?;
        let label = members.get("label").map(|_| label(members)).transpose()?;
        let suspended = members.get("suspended").map(|_| flag(members, "suspended")).transpose()?;
        Ok(Self { label, suspended })
    }
}

fn closed<'v>(value: &'v BcapValue, allowed: &[&str]) -> Result<&'v Members, RequestError> {
    let members = value.as_object().ok_or(RequestError::NotAnObject)?;
    if members.iter().all(|(name, _)| allowed.contains(&name)) {
        Ok(members)
    } else {
        Err(RequestError::UnknownMember)
    }
}

fn limits(members: &Members) -> Result<Limits, RequestError> {
    Ok(members.get("limits").map(Limits::parse).transpose()?.unwrap_or_default())
}

fn label(members: &Members) -> Result<Label, RequestError> {
    let Some(value) = members.get("label") else { return Ok(Label::default()) };
    Ok(value.as_str().ok_or(RequestError::BadMember("label"))?.parse()?)
}

fn flag(members: &Members, name: &'static str) -> Result<bool, RequestError> {
    let Some(value) = members.get(name) else { return Ok(false) };
    value.as_bool().ok_or(RequestError::BadMember(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grantor(json: &str) -> Result<GrantorRequest, RequestError> {
        GrantorRequest::parse(&decode_bare(json, WireLimits::default()).unwrap())
    }

    #[test]
    fn the_worked_request_is_read() {
        let request = grantor(
            r#"{"kind":"bus.publish","target":{"bus":"b1","channel":"orders"},
                "limits":{"types":["order/new"],"expires":"2030-01-01T00:00:00Z"},
                "label":"shop front","regrant":false}"#,
        )
        .unwrap();
        assert_eq!(request.grant.kind.as_str(), "bus.publish");
        assert_eq!(request.grant.label.as_str(), "shop front");
        assert!(!request.regrant && !request.detached);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        // Rule: belay 20.5 — unknown kinds or members are refused
        let cases = [
            ("[]", RequestError::NotAnObject),
            ("{}", RequestError::Missing("kind")),
            (r#"{"kind":"Bus"}"#, RequestError::Name(NameError::Kind)),
            (r#"{"kind":"bus.read","limit":{}}"#, RequestError::UnknownMember),
            (r#"{"kind":"bus.read","regrant":1}"#, RequestError::BadMember("regrant")),
            (
                r#"{"kind":"bus.read","limits":{"use":1}}"#,
                RequestError::Limits(LimitsError::UnknownMember),
            ),
        ];
        for (json, error) in cases {
            assert_eq!(grantor(json), Err(error), "{json}");
        }
        let parsed = GrantRequest::parse("bus.read", "", "", "").unwrap();
        assert_eq!(parsed.limits, Limits::default());
        assert!(GrantRequest::parse("bus.read", "{", "", "").is_err());
    }

    #[test]
    fn only_a_capability_can_be_wrapped() {
        let wrap =
            |json: &str| WrapRequest::parse(&decode_bare(json, WireLimits::default()).unwrap());
        assert!(wrap(r#"{"of":{"@":"https://gw.example/cap/x"},"limits":{"uses":3}}"#).is_ok());
        assert_eq!(wrap(r#"{"of":"https://x"}"#), Err(RequestError::BadMember("of")));
        assert_eq!(wrap("{}"), Err(RequestError::Missing("of")));
    }
}
