//! `buswire check-config`: the configuration in force as a file.
//!
//! Never here: the value of a secret.

use std::fmt::Write as _;

use toml::Value;

use super::{
    layers::{RawConfig, RawValue},
    schema::{self, Kind, Secrecy, Setting},
};

/// Prints every setting as a line of a file that has the same effect, with the source of the value.
pub(super) fn print(raw: &RawConfig) -> String {
    let mut out = String::new();
    for group in schema::GROUPS {
        // Writing to a String can't fail.
        let _written = writeln!(out, "# {}", group.title);
        for setting in group.settings {
            let line = match raw.values.get(setting.key) {
                None => format!("# {} is not set", setting.key),
                Some(value) => line(setting, value),
            };
            let _written = writeln!(out, "{line}");
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn line(setting: &Setting, RawValue { value, source }: &RawValue) -> String {
    let key = setting.key;
    match (setting.secrecy, setting.kind) {
        (Secrecy::Hidden, _) => format!("# {key} is set and not shown ({source})"),
        // Sinks of routes may be capabilities, so only names are shown.
        (_, Kind::Tables) => format!("# {key}: {} ({source})", names(value)),
        (Secrecy::HiddenPassword, _) => format!("{key} = {} # {source}", without_password(value)),
        (Secrecy::Shown, _) => format!("{key} = {value} # {source}"),
    }
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
