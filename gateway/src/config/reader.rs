//! Turns what the operator wrote into what the program uses, and collects every problem on the way.
//!
//! Never here: which settings there are.

use std::{collections::BTreeSet, fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use buswire_message::Secret;
use toml::Value;

use super::{
    layers::RawConfig,
    problem::{Problem, Source},
    schema::{self, Kind, Secrecy},
    value::{parse_size, parse_time, print_size, print_time},
};

/// Reads values by key. A value that can't be read becomes a problem, and the reader goes on.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    raw: &'a RawConfig,
    problems: Vec<Problem>,
    read: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    /// A reader that already knows of `problems`.
    pub(crate) fn new(raw: &'a RawConfig, problems: Vec<Problem>) -> Self {
        Self { raw, problems, read: BTreeSet::new() }
    }

    /// The problems, in the order of their keys, and which keys were read.
    pub(crate) fn finish(mut self) -> (Vec<Problem>, BTreeSet<&'static str>) {
        self.problems.sort_by(|a, b| a.key.cmp(&b.key));
        (self.problems, self.read)
    }

    /// Notes that the value of `key` is wrong.
    pub(crate) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let base = key.split('[').next().unwrap_or(key);
        let source = self.raw.values.get(base).map_or(Source::Default, |raw| raw.source.clone());
        self.problems.push(Problem::new(key, message, source));
    }

    /// The value of `key` as written, if there is one.
    pub(crate) fn raw(&mut self, key: &'static str) -> Option<&'a Value> {
        debug_assert!(schema::find(key).is_some(), "{key} is described");
        self.read.insert(key);
        self.raw.values.get(key).map(|raw| &raw.value)
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        convert: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.raw(key)?;
        match convert(value) {
            Ok(converted) => Some(converted),
            Err(message) => {
                let shown = schema::find(key).is_some_and(|it| it.secrecy == Secrecy::Shown);
                let message = if shown { format!("{value} {message}") } else { message };
                self.problem(key, message);
                None
            }
        }
    }

    /// A text that is parsed. `None` if it is not set or wrong.
    pub(crate) fn parsed<T>(&mut self, key: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.read(key, |value| text(value)?.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// A text that `check` accepts. `None` if it is not set or wrong.
    pub(crate) fn checked<T>(
        &mut self,
        key: &'static str,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(key, |value| check(text(value)?))
    }

    /// A text; empty if it is not set.
    pub(crate) fn text(&mut self, key: &'static str) -> String {
        self.checked(key, |text| Ok(text.to_owned())).unwrap_or_default()
    }

    /// A secret text that is not empty.
    pub(crate) fn secret(&mut self, key: &'static str) -> Option<Secret<String>> {
        self.checked(key, |text| {
            let printable = |c: char| c.is_ascii_graphic();
            if !text.is_empty() && text.chars().all(printable) {
                Ok(Secret::new(text.to_owned()))
            } else {
                Err("has one or more printable ASCII characters without spaces".to_owned())
            }
        })
    }

    /// A path that is not empty.
    pub(crate) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.checked(key, |text| {
            if text.is_empty() { Err("is no path".to_owned()) } else { Ok(PathBuf::from(text)) }
        })
    }

    /// Whether `word` is chosen of the words of a [`Kind::Choice`].
    pub(crate) fn chosen(&mut self, key: &'static str, word: &str) -> bool {
        let words = match schema::find(key).map(|setting| setting.kind) {
            Some(Kind::Choice(words)) => words,
            _ => &[],
        };
        let chosen = self.checked(key, |text| {
            let known = words.contains(&text).then(|| text == word);
            known.ok_or_else(|| format!("is not {}", words.join(" or ")))
        });
        chosen.unwrap_or_default()
    }

    /// `true` or `false`, if it is set.
    pub(crate) fn flag_if_set(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, |value| value.as_bool().ok_or_else(|| "is not true or false".to_owned()))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static str) -> bool {
        self.flag_if_set(key).unwrap_or_default()
    }

    /// A whole number within its bounds.
    pub(crate) fn count(&mut self, key: &'static str) -> u32 {
        let (min, max) = match schema::find(key).map(|setting| setting.kind) {
            Some(Kind::Count { min, max }) => (min, max),
            _ => (0, u32::MAX),
        };
        self.read(key, |value| {
            let number = value.as_integer().ok_or("is not a whole number")?;
            u32::try_from(number)
                .ok()
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| format!("is not from {min} to {max}"))
        })
        .unwrap_or_default()
    }

    /// A count of seconds, as the Backplane reference has them.
    pub(crate) fn seconds(&mut self, key: &'static str) -> Duration {
        Duration::from_secs(u64::from(self.count(key)))
    }

    /// A length of time within its bounds.
    pub(crate) fn time(&mut self, key: &'static str) -> Duration {
        let (min, max) = match schema::find(key).map(|setting| setting.kind) {
            Some(Kind::Time { min, max }) => (min, max),
            _ => (Duration::ZERO, Duration::MAX),
        };
        self.read(key, |value| {
            let Some(text) = value.as_str() else {
                return Err("has no unit: write \"10s\" or \"250ms\"".to_owned());
            };
            let time = parse_time(text)?;
            if (min..=max).contains(&time) {
                Ok(time)
            } else {
                Err(format!("is not from {} to {}", print_time(min), print_time(max)))
            }
        })
        .unwrap_or_default()
    }

    /// A number of bytes within its bounds.
    pub(crate) fn size(&mut self, key: &'static str) -> usize {
        let (min, max) = match schema::find(key).map(|setting| setting.kind) {
            Some(Kind::Size { min, max }) => (min, max),
            _ => (0, u64::MAX),
        };
        self.read(key, |value| {
            let bytes = match value {
                Value::Integer(number) => {
                    u64::try_from(*number).map_err(|_| "is less than nothing".to_owned())?
                }
                other => parse_size(text(other)?)?,
            };
            usize::try_from(bytes)
                .ok()
                .filter(|_| (min..=max).contains(&bytes))
                .ok_or_else(|| format!("is not from {} to {}", print_size(min), print_size(max)))
        })
        .unwrap_or_default()
    }

    /// A list of texts, each parsed; every wrong one is a problem.
    pub(crate) fn list<T>(&mut self, key: &'static str) -> Vec<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let items = self.read(key, |value| {
            value.as_array().cloned().ok_or_else(|| "is not a list of texts".to_owned())
        });
        let mut list = Vec::new();
        for (index, item) in items.unwrap_or_default().iter().enumerate() {
            let parsed =
                text(item).and_then(|text| text.parse().map_err(|error: T::Err| error.to_string()));
            match parsed {
                Ok(parsed) => list.push(parsed),
                Err(message) => self.problem(&format!("{key}[{index}]"), message),
            }
        }
        list
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "is not a text".to_owned())
}
