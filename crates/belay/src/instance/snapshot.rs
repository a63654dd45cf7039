//! The text of a snapshot (Belay §6.11).
//!
//! Never here: grants that are not in it, items.

use std::collections::BTreeMap;

use buswire_message::Secret;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::wire::{Bcap, BcapValue, CapId, InstanceId, WireLimits, decode_bare};

/// Why a text is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not JSON, or not an object with a `map`.
    #[error("the snapshot is no JSON object with a map")]
    Syntax,
    /// The instance that it was taken of has no valid id.
    #[error("the instance of the snapshot has no valid id")]
    Instance,
    /// An entry has no valid id, or is a malformed named grant or wrapper.
    #[error("an entry of the snapshot is malformed")]
    Entry,
}

/// What survives of an instance.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Whose capabilities it holds: the id that the instance had, then those that it had before.
    pub(super) instances: Vec<InstanceId>,
    pub(super) entries: Vec<(CapId, Entry)>,
}

/// What survives of one grant.
#[derive(Debug)]
pub(super) enum Entry {
    /// Granted by name; the arguments are a bcapJson array.
    Named { name: String, args: Secret<String> },
    /// A wrapper.
    Wrap { inner: Bcap },
    /// Of a kind that is not known here, kept as it is.
    Unknown { json: Secret<String> },
}

#[derive(Deserialize)]
struct Text {
    id: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    map: BTreeMap<String, Box<RawValue>>,
}

#[derive(Deserialize, Default)]
struct EntryText<'t> {
    #[serde(rename = "restoreName", borrow)]
    name: Option<&'t RawValue>,
    #[serde(rename = "restoreArgs", borrow)]
    args: Option<&'t RawValue>,
    #[serde(rename = "restoreCap", borrow)]
    cap: Option<&'t RawValue>,
}

impl Snapshot {
    /// Reads a snapshot; members that are not known are ignored.
    pub(super) fn parse(text: &str) -> Result<Self, SnapshotError> {
        let text: Text = serde_json::from_str(text).map_err(|_| SnapshotError::Syntax)?;
        let instances = text.id.iter().chain(&text.aliases).map(|id| InstanceId::parse(id));
        let instances = instances.collect::<Option<_>>().ok_or(SnapshotError::Instance)?;
        let entries = text.map.iter().map(|(cap, entry)| {
            Ok((CapId::parse(cap).ok_or(SnapshotError::Entry)?, Entry::parse(entry)?))
        });
        Ok(Self { instances, entries: entries.collect::<Result<_, _>>()? })
    }

    /// Writes one. The same entries give the same text.
    ///
    /// `aliases` is a member of ours beside those of the reference: without it an instance that gets
    /// a new id with each start would forget what it granted two starts ago.
    pub(super) fn write<'s>(
        instance: Option<&InstanceId>,
        aliases: &[InstanceId],
        entries: impl Iterator<Item = (&'s CapId, &'s Entry)>,
    ) -> Secret<String> {
        let mut members = vec!["\"v\":1".to_owned()];
        members.extend(instance.map(|id| format!("\"id\":{}", json(id.as_str()))));
        if !aliases.is_empty() {
            let aliases: Vec<_> = aliases.iter().map(|id| json(id.as_str())).collect();
            members.push(format!("\"aliases\":[{}]", aliases.join(",")));
        }
        let entries: BTreeMap<_, _> = entries.map(|(cap, entry)| (cap.expose(), entry)).collect();
        let entries: Vec<_> =
            entries.iter().map(|(cap, entry)| format!("{}:{}", json(cap), entry.write())).collect();
        members.push(format!("\"map\":{{{}}}", entries.join(",")));
        Secret::new(format!("{{{}}}", members.join(",")))
    }
}

impl Entry {
    fn parse(entry: &RawValue) -> Result<Self, SnapshotError> {
        let known: EntryText<'_> = serde_json::from_str(entry.get()).unwrap_or_default();
        let text = |json: &RawValue| {
            serde_json::from_str::<String>(json.get()).map_err(|_| SnapshotError::Entry)
        };
        if let Some(name) = known.name {
            let args = known.args.map_or("[]", RawValue::get);
            read_args(args).ok_or(SnapshotError::Entry)?;
            Ok(Self::Named { name: text(name)?, args: Secret::new(args.to_owned()) })
        } else if let Some(inner) = known.cap {
            Ok(Self::Wrap { inner: text(inner)?.into() })
        } else {
            Ok(Self::Unknown { json: Secret::new(entry.get().to_owned()) })
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Named { name, args } => {
                format!("{{\"restoreName\":{},\"restoreArgs\":{}}}", json(name), args.expose())
            }
            Self::Wrap { inner } => format!("{{\"restoreCap\":{}}}", json(inner.expose())),
            Self::Unknown { json } => json.expose().clone(),
        }
    }
}

/// The arguments of a named grant; `None` if the text is no bcapJson array.
pub(super) fn read_args(text: &str) -> Option<Vec<BcapValue>> {
    match decode_bare(text, WireLimits::default()) {
        Ok(BcapValue::Array(args)) => Some(args),
        Ok(_) | Err(_) => None,
    }
}

fn json(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: &str = "066401a1-00f3-4941-89df-5d74500654e4";

    fn rewritten(text: &str) -> String {
        let snapshot = Snapshot::parse(text).unwrap();
        let entries = snapshot.entries.iter().map(|(cap, entry)| (cap, entry));
        let (instance, aliases) = match snapshot.instances.split_first() {
            Some((instance, aliases)) => (Some(instance), aliases),
            None => (None, [].as_slice()),
        };
        Snapshot::write(instance, aliases, entries).expose().clone()
    }

    #[test]
    fn unknown_members_are_ignored_and_unknown_entries_kept() {
        // Rule: belay 6.11 — readers ignore unknown members and keep entries of unknown kind
        // Rule: belay 6.11 — a snapshot is written with "v": 1
        let text = format!(
            r#"{{"x":[1],"v":7,"map":{{"{CAP}":{{"restoreFuture":{{"@":"a","n":1e400}}}}}},"id":null}}"#
        );
        let expected =
            format!(r#"{{"v":1,"map":{{"{CAP}":{{"restoreFuture":{{"@":"a","n":1e400}}}}}}}}"#);
        assert_eq!(rewritten(&text), expected);
        assert_eq!(rewritten(&expected), expected);
        for entry in ["5", "null", "[]", "{}", "\"x\""] {
            let text = format!(r#"{{"v":1,"map":{{"{CAP}":{entry}}}}}"#);
            assert_eq!(rewritten(&text), text);
        }
    }

    #[test]
    fn ids_of_old_survive() {
        let id = "926c0c63-b02a-40a9-a19f-edb19190c143";
        let text = format!(r#"{{"v":1,"id":"https://a.example","aliases":["{id}"],"map":{{}}}}"#);
        assert_eq!(rewritten(&text), text);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        // Rule: belay 6.1 — a malformed snapshot is refused
        let entry = |entry: &str| format!(r#"{{"map":{{"{CAP}":{entry}}}}}"#);
        let cases = [
            (String::new(), SnapshotError::Syntax),
            ("{".to_owned(), SnapshotError::Syntax),
            ("[]".to_owned(), SnapshotError::Syntax),
            ("{}".to_owned(), SnapshotError::Syntax),
            (r#"{"map":[]}"#.to_owned(), SnapshotError::Syntax),
            (r#"{"id":5,"map":{}}"#.to_owned(), SnapshotError::Syntax),
            (r#"{"id":"bob","map":{}}"#.to_owned(), SnapshotError::Instance),
            (r#"{"aliases":["bob"],"map":{}}"#.to_owned(), SnapshotError::Instance),
            (r#"{"map":{"bob":{"restoreName":"n"}}}"#.to_owned(), SnapshotError::Entry),
            (entry(r#"{"restoreName":5}"#), SnapshotError::Entry),
            (entry(r#"{"restoreName":"n","restoreArgs":5}"#), SnapshotError::Entry),
            (entry(r#"{"restoreName":"n","restoreArgs":[{"@":5}]}"#), SnapshotError::Entry),
            (entry(r#"{"restoreCap":{"@":"x"}}"#), SnapshotError::Entry),
        ];
        for (text, error) in cases {
            assert_eq!(Snapshot::parse(&text).map(|_| ()), Err(error), "{text}");
        }
    }
}
