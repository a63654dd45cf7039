//! The configuration in force, as it may be shown: by `buswire check-config` as a file, by the
//! administration setting by setting.
//!
//! Never here: the value of a secret.

use std::fmt::Write as _;

use toml::Value;

use super::{
    layers::{RawConfig, RawValue},
    problem::Source,
    schema::{self, Kind, Secrecy, Setting},
};

/// A setting in force, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    /// Its key.
    pub key: &'static str,
    /// Its value.
    pub value: ShownValue,
    /// Where it was written.
    pub source: Source,
}

/// What may be shown of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownValue {
    /// There is none.
    Unset,
    /// There is one that is never shown.
    Secret,
    /// The names of the tables of a list, which may hold secrets themselves.
    Names(String),
    /// All of it, as it would stand in the file; of a URL no password.
    Whole(String),
}

/// Every setting, in the order of the documentation.
pub(super) fn shown(raw: &RawConfig) -> Vec<ShownSetting> {
    schema::all().map(|setting| show(setting, raw.values.get(setting.key))).collect()
}

fn show(setting: &Setting, found: Option<&RawValue>) -> ShownSetting {
    let key = setting.key;
    let Some(RawValue { value, source }) = found else {
        return ShownSetting { key, value: ShownValue::Unset, source: Source::Default };
    };
    let value = match (setting.secrecy, setting.kind) {
        (Secrecy::Hidden, _) => ShownValue::Secret,
        // Sinks of routes may be capabilities, so only names are shown.
        (_, Kind::Tables) => ShownValue::Names(names(value)),
        (Secrecy::HiddenPassword, _) => ShownValue::Whole(without_password(value).to_string()),
        (Secrecy::Shown, _) => ShownValue::Whole(value.to_string()),
    };
    ShownSetting { key, value, source: source.clone() }
}

/// Prints every setting as a line of a file that has the same effect, with the source of the value.
pub(super) fn print(raw: &RawConfig) -> String {
    let mut out = String::new();
    for group in schema::GROUPS {
        // Writing to a String can't fail.
        let _written = writeln!(out, "# {}", group.title);
        for setting in group.settings {
            let ShownSetting { key, value, source } = show(setting, raw.values.get(setting.key));
            let _written = match value {
                ShownValue::Unset => writeln!(out, "# {key} is not set"),
                ShownValue::Secret => writeln!(out, "# {key} is set and not shown ({source})"),
                ShownValue::Names(names) => writeln!(out, "# {key}: {names} ({source})"),
                ShownValue::Whole(value) => writeln!(out, "{key} = {value} # {source}"),
            };
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn names(value: &Value) -> String {
    let tables = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> =
        tables.iter().filter_map(|table| table.get("name").and_then(Value::as_str)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// By hand: a URL with several hosts is none to the library, and its password must not show.
fn without_password(value: &Value) -> Value {
    let masked = value.as_str().and_then(|text| {
        let (scheme, rest) = text.split_once("://")?;
        let (user, rest) = rest.rsplit_once('@')?;
        let (user, _password) = user.split_once(':')?;
        Some(Value::String(format!("{scheme}://{user}:***@{rest}")))
    });
    masked.unwrap_or_else(|| value.clone())
}
