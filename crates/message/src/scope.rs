//! The one filter language (Backplane §8).
//!
//! `bus:a channel:b type:x source:u sticky:true`: values of the same field are alternatives, all
//! fields that are present must match. Tokens, routes, subscriptions, capabilities and the command
//! line use it. Never here: who may use which bus.

use std::{fmt, str::FromStr};

use smallvec::SmallVec;
use url::Url;

use crate::{
    id::MessageId,
    name::{BusName, SourceUrl},
};

/// The field of a message that a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Who it is from.
    Source,
    /// Its type.
    Type,
    /// Its bus.
    Bus,
    /// Its channel.
    Channel,
    /// Whether it is sticky.
    Sticky,
    /// The URL at which it can be read.
    MessageUrl,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Source, Self::Type, Self::Bus, Self::Channel, Self::Sticky, Self::MessageUrl];

    /// The key in a scope's text; case matters (Backplane §8.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Type => "type",
            Self::Bus => "bus",
            Self::Channel => "channel",
            Self::Sticky => "sticky",
            Self::MessageUrl => "messageURL",
        }
    }

    fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == key)
    }
}

/// What a scope is compared with: the fields of one message.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The bus of the message.
    pub bus: &'a BusName,
    /// Its channel.
    pub channel: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// Its source.
    pub source: &'a str,
    /// Whether it is sticky.
    pub sticky: bool,
    /// The public URL of messages without the id, and the id. `None` for a message that has no id
    /// yet: no `messageURL` matches it.
    pub message_url: Option<(&'a str, MessageId)>,
}

impl Subject<'_> {
    fn has(&self, field: Field, value: &str) -> bool {
        match field {
            Field::Source => self.source == value,
            Field::Type => self.kind == value,
            Field::Channel => self.channel == value,
            Field::Sticky => value == if self.sticky { "true" } else { "false" },
            Field::Bus => bus_is(self.bus, value),
            Field::MessageUrl => self.message_url.is_some_and(|(prefix, id)| {
                value.strip_prefix(prefix).and_then(|rest| rest.parse().ok()) == Some(id)
            }),
        }
    }
}

/// Whether `value`, a bus name in its shortest form, names `bus`; without building a text.
fn bus_is(bus: &BusName, value: &str) -> bool {
    match bus.realm() {
        crate::Realm::V2 => bus.name() == value,
        crate::Realm::V1 => value.strip_prefix("v1/") == Some(bus.name()),
    }
}

type Values = SmallVec<[Box<str>; 1]>;

/// A filter of messages.
///
/// Fields and values keep the order in which they first appeared, values grouped by field
/// (Backplane §8.1); two scopes are equal if they print alike. The empty scope matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scope {
    fields: SmallVec<[(Field, Values); 3]>,
}

/// Why a text is not a scope: the kind of fault and the entry that has it.
///
/// The texts are those of Backplane §8.1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe())]
pub struct ScopeError {
    kind: ScopeParseErrorKind,
    entry: String,
}

/// What is wrong with a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeParseErrorKind {
    /// An entry without a colon or without a value.
    Malformed,
    /// A key that is not a field.
    UnknownField,
    /// A value that the field cannot have.
    InvalidValue,
    /// More than [`Scope::ENTRIES_MAX`] entries or [`Scope::BYTES_MAX`] bytes.
    TooLarge,
}

impl ScopeError {
    fn new(kind: ScopeParseErrorKind, entry: &str) -> Self {
        Self { kind, entry: entry.chars().take(200).collect() }
    }

    /// What is wrong.
    pub const fn kind(&self) -> ScopeParseErrorKind {
        self.kind
    }

    fn describe(&self) -> String {
        let entry = &self.entry;
        match self.kind {
            ScopeParseErrorKind::Malformed => {
                format!("Malformed scope, token: '{entry}' not in format: '<key>:<value>'")
            }
            ScopeParseErrorKind::UnknownField => {
                format!("invalid scope key / message field in token: {entry}")
            }
            ScopeParseErrorKind::InvalidValue => format!("invalid scope value in token: {entry}"),
            ScopeParseErrorKind::TooLarge => format!(
                "the scope has more than {} entries or {} bytes",
                Scope::ENTRIES_MAX,
                Scope::BYTES_MAX
            ),
        }
    }
}

impl Scope {
    /// The most entries that a scope may have (Backplane §5.4).
    pub const ENTRIES_MAX: usize = 1000;
    /// The most bytes that the text of a scope may have (Backplane §5.4).
    pub const BYTES_MAX: usize = 16 * 1024;

    /// The scope that matches every message.
    pub fn all() -> Self {
        Self::default()
    }

    /// The scope that matches the messages of one bus.
    pub fn bus(bus: &BusName) -> Self {
        Self::all().with(Field::Bus, &bus.to_string())
    }

    /// The scope that matches the messages of one channel.
    pub fn channel(bus: &BusName, channel: &crate::ChannelName) -> Self {
        Self::bus(bus).with(Field::Channel, channel.as_str())
    }

    /// Whether it matches everything.
    pub fn is_all(&self) -> bool {
        self.fields.is_empty()
    }

    /// The values of `field`; none if the scope does not look at it.
    pub fn values(&self, field: Field) -> impl Iterator<Item = &str> {
        let at = self.fields.iter().find(|(f, _)| *f == field);
        at.into_iter().flat_map(|(_, values)| values.iter().map(AsRef::as_ref))
    }

    /// Whether it looks at `field`.
    pub fn has(&self, field: Field) -> bool {
        self.fields.iter().any(|(f, _)| *f == field)
    }

    /// The buses it names; none means that it does not choose.
    pub fn buses(&self) -> impl Iterator<Item = BusName> + '_ {
        self.values(Field::Bus).filter_map(|value| value.parse().ok())
    }

    /// Adds one alternative value for `field`. The value must be one that parsing would take.
    #[must_use]
    pub fn with(mut self, field: Field, value: &str) -> Self {
        self.add(field, value);
        self
    }

    /// The same scope without `field`.
    #[must_use]
    pub fn without(mut self, field: Field) -> Self {
        self.fields.retain(|(f, _)| *f != field);
        self
    }

    fn add(&mut self, field: Field, value: &str) {
        if let Some((_, values)) = self.fields.iter_mut().find(|(f, _)| *f == field) {
            if !values.iter().any(|v| v.as_ref() == value) {
                values.push(value.into());
            }
        } else {
            self.fields.push((field, SmallVec::from_iter([value.into()])));
        }
    }

    /// Whether `subject` is in scope: for every field present, one of its values equals the
    /// message's, compared byte by byte (Backplane §8.2).
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.fields
            .iter()
            .all(|(field, values)| values.iter().any(|value| subject.has(*field, value)))
    }

    /// The scope that matches what both match; `None` if nothing can match both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let mut both = Self::default();
        for (field, values) in &self.fields {
            let kept: Values = match other.fields.iter().find(|(f, _)| f == field) {
                Some((_, theirs)) => {
                    values.iter().filter(|v| theirs.contains(v)).cloned().collect()
                }
                None => values.clone(),
            };
            if kept.is_empty() {
                return None;
            }
            both.fields.push((*field, kept));
        }
        both.fields.extend(other.fields.iter().filter(|(field, _)| !self.has(*field)).cloned());
        Some(both)
    }

    /// Narrows this scope as a refresh does (Backplane §8.5): fields that `requested` does not name
    /// stay, values of a field that both name must be among this scope's, other fields are added.
    ///
    /// # Errors
    ///
    /// The field that `requested` would widen.
    pub fn narrow(&self, requested: &Self) -> Result<Self, Field> {
        let mut narrowed = Self::default();
        for (field, values) in &self.fields {
            let asked = requested.fields.iter().find(|(f, _)| f == field).map(|(_, asked)| asked);
            if asked.is_some_and(|asked| asked.iter().any(|value| !values.contains(value))) {
                return Err(*field);
            }
            narrowed.fields.push((*field, asked.unwrap_or(values).clone()));
        }
        let added = requested.fields.iter().filter(|(field, _)| !self.has(*field));
        narrowed.fields.extend(added.cloned());
        Ok(narrowed)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        use ScopeParseErrorKind::{InvalidValue, Malformed, TooLarge, UnknownField};
        if text.len() > Self::BYTES_MAX {
            return Err(ScopeError::new(TooLarge, ""));
        }
        let mut scope = Self::default();
        for (count, entry) in text.split(' ').filter(|entry| !entry.is_empty()).enumerate() {
            if count >= Self::ENTRIES_MAX {
                return Err(ScopeError::new(TooLarge, ""));
            }
            let (key, value) = entry
                .split_once(':')
                .filter(|(_, value)| !value.is_empty())
                .ok_or_else(|| ScopeError::new(Malformed, entry))?;
            let field = Field::parse(key).ok_or_else(|| ScopeError::new(UnknownField, entry))?;
            let value =
                normal_value(field, value).ok_or_else(|| ScopeError::new(InvalidValue, entry))?;
            scope.add(field, &value);
        }
        Ok(scope)
    }
}

fn normal_value(field: Field, value: &str) -> Option<String> {
    match field {
        Field::Bus => value.parse::<BusName>().ok().map(|bus| bus.to_string()),
        Field::Source => value.parse::<SourceUrl>().ok().map(|source| source.to_string()),
        Field::MessageUrl => Url::parse(value).ok().filter(Url::has_host).map(|_| value.to_owned()),
        Field::Sticky => Some(value.to_ascii_lowercase()).filter(|v| v == "true" || v == "false"),
        Field::Type | Field::Channel => Some(value.to_owned()),
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self
            .fields
            .iter()
            .flat_map(|(field, values)| values.iter().map(move |value| (field, value)));
        for (count, (field, value)) in entries.enumerate() {
            let space = if count == 0 { "" } else { " " };
            write!(f, "{space}{}:{value}", field.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
