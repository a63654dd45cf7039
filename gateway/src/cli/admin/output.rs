//! What commands write: tables for people, JSON for programs.
//!
//! Never here: what is written about.

use std::io::{self, Write};

use buswire_message::Timestamp;
use clap::ValueEnum;
use comfy_table::Table;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

/// How to write what a command found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON value in one line
    Json,
}

/// Something with named values, in the order of its columns.
struct Record<'a> {
    columns: &'a [&'a str],
    values: &'a [Value],
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, value) in self.columns.iter().zip(self.values) {
            map.serialize_entry(column, value)?;
        }
        map.end()
    }
}

impl Output {
    /// Writes many things with the same columns: a table, or one JSON array.
    pub(super) fn list(
        self,
        out: &mut dyn Write,
        columns: &[&str],
        rows: &[Vec<Value>],
    ) -> io::Result<()> {
        match self {
            Self::Json => {
                let records: Vec<_> =
                    rows.iter().map(|values| Record { columns, values }).collect();
                json(out, &records)
            }
            Self::Table => {
                let header = columns.iter().map(|name| name.replace('_', " ").to_uppercase());
                let body = rows.iter().map(|row| row.iter().map(cell).collect());
                table(out, std::iter::once(header.collect()).chain(body))
            }
        }
    }

    /// Writes one thing: a line for each column, or one JSON object.
    pub(super) fn one(
        self,
        out: &mut dyn Write,
        columns: &[&str],
        values: &[Value],
    ) -> io::Result<()> {
        match self {
            Self::Json => json(out, &Record { columns, values }),
            Self::Table => {
                let lines = columns.iter().zip(values);
                table(out, lines.map(|(name, value)| vec![name.replace('_', " "), cell(value)]))
            }
        }
    }

    /// Writes a sentence for people, or one JSON object.
    pub(super) fn done(
        self,
        out: &mut dyn Write,
        sentence: &str,
        columns: &[&str],
        values: &[Value],
    ) -> io::Result<()> {
        match self {
            Self::Json => json(out, &Record { columns, values }),
            Self::Table => writeln!(out, "{sentence}"),
        }
    }
}

/// Writes one JSON object in one line.
pub(super) fn object(out: &mut dyn Write, columns: &[&str], values: &[Value]) -> io::Result<()> {
    json(out, &Record { columns, values })
}

/// Writes one JSON value in one line and makes it visible at once.
pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// A time from the wire as `2024-03-09T14:05:21.337Z`; null if there is none.
pub(super) fn time(at: Option<prost_types::Timestamp>) -> Value {
    let text = at.and_then(|at| {
        let seconds = u64::try_from(at.seconds).ok()?;
        let millis = u64::try_from(at.nanos).ok()? / 1_000_000;
        Some(Timestamp::from_millis(seconds.saturating_mul(1000).saturating_add(millis)))
    });
    text.map_or(Value::Null, |at| Value::String(at.to_string()))
}

/// A text from the wire; null if it is empty.
pub(super) fn text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { Value::String(text.to_owned()) }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.replace(char::is_control, " "),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// Writes aligned columns, two spaces apart, without a frame, so that a line can be cut in pieces.
fn table(out: &mut dyn Write, rows: impl Iterator<Item = Vec<String>>) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    writeln!(out, "{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(write: impl Fn(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_aligned_columns() {
        let rows = [
            vec![json!("example.com"), json!(3), json!([])],
            vec![json!("a"), json!(null), json!(["x", "y"])],
        ];
        let columns = ["name", "live_messages", "owners"];
        assert_eq!(
            written(|out| Output::Table.list(out, &columns, &rows)),
            "NAME         LIVE MESSAGES  OWNERS\n\
             example.com  3              -\n\
             a            -              x, y\n"
        );
        assert_eq!(
            written(|out| Output::Table.list(out, &columns, &[])),
            "NAME  LIVE MESSAGES  OWNERS\n"
        );
    }

    #[test]
    fn json_keeps_the_order_of_columns() {
        let columns = ["name", "count"];
        let row = vec![json!("a\nb"), json!(3)];
        assert_eq!(
            written(|out| Output::Json.one(out, &columns, &row)),
            "{\"name\":\"a\\nb\",\"count\":3}\n"
        );
        assert_eq!(
            written(|out| Output::Json.list(out, &columns, std::slice::from_ref(&row))),
            "[{\"name\":\"a\\nb\",\"count\":3}]\n"
        );
        assert_eq!(written(|out| Output::Table.one(out, &columns, &row)), "name   a b\ncount  3\n");
    }
}
