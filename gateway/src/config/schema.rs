//! What a setting is: its key, what it takes, its default and its one description.
//!
//! The default layer, the check of unknown keys and `docs/configuration.md` are all made from these
//! descriptions, so they can't disagree. Never here: values.

use std::time::Duration;

use super::{acme, door_settings, peers, relay, settings, telemetry};

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A path of the file system.
    Path,
    /// `HOST:PORT`.
    Address,
    /// An absolute `http:` or `https:` URL without a path.
    Url,
    /// A list of texts.
    Texts,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count {
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
    },
    /// A length of time with a unit.
    Time {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A number of bytes.
    Size {
        /// The least, in bytes.
        min: u64,
        /// The greatest, in bytes.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of tables, whose members are described in prose.
    Tables,
}

/// Whether a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// It may.
    Shown,
    /// It may not; it can also be read from the file that the variable `…_FILE` names.
    Hidden,
    /// It is a URL that may hold a password: shown without that, and otherwise like a hidden one.
    HiddenPassword,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Its key, with dots.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default as it would stand in the file; `None` if there is none.
    pub default: Option<&'static str>,
    /// Whether its value may be shown.
    pub secrecy: Secrecy,
    /// What it does, in Markdown.
    pub about: &'static str,
}

impl Setting {
    /// A setting with a default.
    pub(crate) const fn new(
        key: &'static str,
        kind: Kind,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self { key, kind, default: Some(default), secrecy: Secrecy::Shown, about }
    }

    /// A setting without a default.
    pub(crate) const fn unset(key: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { key, kind, default: None, secrecy: Secrecy::Shown, about }
    }

    /// The same setting with a value that is never shown.
    pub(crate) const fn hidden(mut self) -> Self {
        self.secrecy = Secrecy::Hidden;
        self
    }

    /// The same setting, a URL whose password is never shown.
    pub(crate) const fn hidden_password(mut self) -> Self {
        self.secrecy = Secrecy::HiddenPassword;
        self
    }

    /// The environment variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("BUSWIRE_{}", self.key.replace('.', "__").to_ascii_uppercase())
    }
}

/// A length of time between one that is never too short and a year.
pub(crate) const fn time(min_ms: u64, max_secs: u64) -> Kind {
    Kind::Time { min: Duration::from_millis(min_ms), max: Duration::from_secs(max_secs) }
}

/// A whole number.
pub(crate) const fn count(min: u32, max: u32) -> Kind {
    Kind::Count { min, max }
}

/// A number of bytes.
pub(crate) const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}

/// A group of settings with one heading in the reference.
pub(crate) struct Group {
    /// The heading.
    pub title: &'static str,
    /// What they have in common.
    pub about: &'static str,
    /// The settings, in the order of the reference.
    pub settings: &'static [Setting],
}

/// All groups, in the order of the reference.
pub(crate) const GROUPS: &[Group] = &[
    settings::PROCESS,
    settings::REDIS,
    settings::HTTP,
    acme::ACME,
    settings::ADMIN,
    settings::OPS,
    settings::LOG,
    telemetry::TELEMETRY,
    door_settings::BACKPLANE,
    door_settings::SIMPLEPUSH,
    door_settings::MDP,
    peers::PEERS,
    door_settings::TITANIC,
    door_settings::BELAY,
    relay::RELAY,
    door_settings::BRIDGE,
    settings::DECLARED,
];

/// All settings, in the order of the reference.
pub(crate) fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// The setting of `key`.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.key == key)
}

/// Whether `key` is what several settings begin with, as `http` or `http.tls`.
pub(crate) fn is_table(key: &str) -> bool {
    all().any(|setting| setting.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// The key that is most like `key`, if one is much like it.
pub(crate) fn similar(key: &str) -> Option<&'static str> {
    all()
        .map(|setting| (distance(key, setting.key), setting.key))
        .min()
        .filter(|&(distance, _)| distance <= 2 + key.len() / 8)
        .map(|(_, key)| key)
}

/// How many characters must be inserted, deleted or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal + usize::from(left != right);
            diagonal = *cell;
            *cell = replaced.min(diagonal + 1).min(before + 1);
            before = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_key_is_described_once_and_never_a_table_too() {
        let mut seen = BTreeSet::new();
        for setting in all() {
            assert!(seen.insert(setting.key), "{} is described twice", setting.key);
            assert!(!is_table(setting.key), "{} is a table too", setting.key);
            assert!(setting.about.ends_with('.'), "{} has no full sentence", setting.key);
        }
    }

    #[test]
    fn a_default_is_what_a_file_may_hold() {
        for setting in all() {
            let Some(default) = setting.default else { continue };
            let table: toml::Table = format!("it = {default}").parse().expect(setting.key);
            assert_eq!(table.len(), 1);
        }
    }

    #[test]
    fn a_misspelt_key_is_recognised() {
        assert_eq!(similar("http.listne"), Some("http.listen"));
        assert_eq!(similar("data-dir"), Some("data_dir"));
        assert_eq!(similar("completely.else"), None);
    }
}
