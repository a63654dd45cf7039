//! One membership of a directory, and its row.
//!
//! It shows and is stored in one form, bcapJson. Never here: the store.

use buswire_message::{Entropy, Timestamp};
use buswire_store::StoreError;
use uuid::Uuid;

use crate::{
    names::Label,
    request::RequestError,
    wire::{Bcap, BcapValue, InstanceId, Members, WireLimits, decode_bare, encode_bare},
};

/// The most bytes of an icon: enough for a drawing or a picture of 64 pixels.
const ICON_BYTES_MAX: usize = 8 * 1024;
/// The most bytes of a capability.
const CAP_BYTES_MAX: usize = 2048;

/// A picture that shows without asking anybody else for it: `data:image/…`, or a path of the gateway.
#[derive(Clone)]
pub(super) struct Icon(String);

impl Icon {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let own = text.starts_with('/') && !text.starts_with("//") && !text.contains('\\');
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        let fits = text.len() <= ICON_BYTES_MAX && printable;
        (fits && (own || text.starts_with("data:image/"))).then(|| Self(text.to_owned()))
    }
}

/// Names a membership within its directory.
pub(super) struct MembershipId(Uuid);

impl MembershipId {
    fn mint(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Reads the one form that ids are given out in.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self).filter(|id| id.to_text() == text)
    }

    pub(super) fn to_text(&self) -> String {
        self.0.hyphenated().to_string()
    }
}

/// What makes a membership.
pub(super) struct NewMembership {
    pub(super) launch: Bcap,
    pub(super) control: Option<Bcap>,
    pub(super) name: Label,
    pub(super) icon: Option<Icon>,
    pub(super) section: Label,
}

/// What of a membership changes; what is `None` stays.
#[derive(Default)]
pub(super) struct Change {
    pub(super) name: Option<Label>,
    pub(super) icon: Option<Icon>,
    pub(super) section: Option<Label>,
    /// The instance as which it was opened just now.
    pub(super) instance: Option<InstanceId>,
}

/// A membership: somebody's place at a site, which its launch capability opens (Belay §13.1).
pub(super) struct Membership {
    pub(super) id: MembershipId,
    content: NewMembership,
    pub(super) created: Timestamp,
    /// As what it runs, or ran last.
    instance: Option<InstanceId>,
    opened: Option<Timestamp>,
}

impl NewMembership {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if it has not the right shape.
    pub(super) fn parse(members: &Members) -> Result<Self, RequestError> {
        let name = label(members, "name")?.ok_or(RequestError::Missing("name"))?;
        Ok(Self {
            launch: cap(members, "launch")?.ok_or(RequestError::Missing("launch"))?,
            control: cap(members, "control")?,
            name,
            icon: icon(members)?,
            section: label(members, "section")?.unwrap_or_default(),
        })
    }

    pub(super) fn admit(self, entropy: &dyn Entropy, now: Timestamp) -> Membership {
        let id = MembershipId::mint(entropy);
        Membership { id, content: self, created: now, instance: None, opened: None }
    }
}

impl Membership {
    pub(super) fn apply(&mut self, change: &Change, now: Timestamp) {
        let content = &mut self.content;
        content.name = change.name.clone().unwrap_or_else(|| content.name.clone());
        content.icon = change.icon.clone().or_else(|| content.icon.take());
        content.section = change.section.clone().unwrap_or_else(|| content.section.clone());
        if change.instance.is_some() {
            self.instance.clone_from(&change.instance);
            self.opened = Some(now);
        }
    }

    /// What its holder is shown.
    pub(super) fn to_value(&self) -> BcapValue {
        let NewMembership { launch, control, name, icon, section } = &self.content;
        Members::new()
            .with("id", self.id.to_text())
            .with("launch", launch.clone())
            .with("control", control.clone())
            .with("name", name.as_str())
            .with("icon", icon.as_ref().map(|icon| icon.0.as_str()))
            .with("section", section.as_str())
            .with("created", self.created.to_string())
            .with("instance", self.instance.as_ref().map(InstanceId::as_str))
            .with("opened", self.opened.map(|at| at.to_string()))
            .into()
    }

    pub(super) fn to_text(&self) -> Result<String, StoreError> {
        encode_bare(&self.to_value(), WireLimits::default())
            .map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// Reads what [`to_text`](Self::to_text) gave; `None` if it is something else.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let value = decode_bare(text, WireLimits::default()).ok()?;
        let members = value.as_object()?;
        let time = |name| members.get(name)?.as_str().map(Timestamp::parse)?.ok();
        Some(Self {
            id: MembershipId::parse(members.get("id")?.as_str()?)?,
            content: NewMembership::parse(members).ok()?,
            created: time("created")?,
            instance: members.get("instance")?.as_str().and_then(InstanceId::parse),
            opened: time("opened"),
        })
    }
}

/// The capability of a member, if it is there.
fn cap(members: &Members, name: &'static str) -> Result<Option<Bcap>, RequestError> {
    match members.get(name) {
        None | Some(BcapValue::Null) => Ok(None),
        Some(BcapValue::Cap(cap)) if cap.expose().len() <= CAP_BYTES_MAX => Ok(Some(cap.clone())),
        Some(_) => Err(RequestError::BadMember(name)),
    }
}

/// The label of a member, if it is there; a name is not empty.
pub(super) fn label(members: &Members, name: &'static str) -> Result<Option<Label>, RequestError> {
    let Some(value) = members.get(name) else { return Ok(None) };
    let text = value.as_str().filter(|text| name != "name" || !text.is_empty());
    Ok(Some(text.ok_or(RequestError::BadMember(name))?.parse()?))
}

/// The icon, if there is one.
pub(super) fn icon(members: &Members) -> Result<Option<Icon>, RequestError> {
    match members.get("icon") {
        None | Some(BcapValue::Null) => Ok(None),
        Some(value) => {
            let icon = value.as_str().and_then(Icon::parse);
            icon.map(Some).ok_or(RequestError::BadMember("icon"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icons_come_from_nowhere_else() {
        for good in ["data:image/svg+xml;base64,PHN2Zy8+", "/console/icon.png"] {
            assert!(Icon::parse(good).is_some(), "{good}");
        }
        let large = format!("data:image/png;base64,{}", "a".repeat(ICON_BYTES_MAX));
        for bad in ["https://x/i.png", "//x/i.png", "/\\x/i.png", "data:text/html,x", "", &large] {
            assert!(Icon::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn ids_have_one_form() {
        let id = MembershipId::mint(&buswire_testkit::SeededEntropy::new(1)).to_text();
        assert_eq!((id.len(), id.get(14..15)), (36, Some("4")));
        assert!(MembershipId::parse(&id).is_some());
        for other in [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), String::new()] {
            assert!(MembershipId::parse(&other).is_none(), "{other}");
        }
    }
}
