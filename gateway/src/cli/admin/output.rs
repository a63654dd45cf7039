//! What commands write: tables for people, JSON for programs.
//!
//! Never here: what is written about.

use std::io::{self, Write};

use buswire_message::Timestamp;
use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Row, Table};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

use crate::cli::Screen;

/// How a person asks for what a command found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON value in one line
    Json,
}

/// How to write what a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// For people, on this screen.
    Table(Screen),
    /// For programs: one JSON value in one line.
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
            Self::Table(screen) => {
                let header = columns.iter().map(|name| label(&name.to_uppercase()));
                let body = rows.iter().map(|row| {
                    let cells = columns.iter().zip(row).map(|(column, value)| cell(column, value));
                    let mut row = Row::from(cells.collect::<Vec<_>>());
                    // A thing has one line; what does not fit is cut.
                    row.max_height(1);
                    row
                });
                table(
                    out,
                    screen,
                    std::iter::once(Row::from(header.collect::<Vec<_>>())).chain(body),
                )
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
            Self::Table(screen) => {
                let lines = columns.iter().zip(values);
                table(out, screen, lines.map(|(name, value)| vec![label(name), cell(name, value)]))
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
            Self::Table(_) => writeln!(out, "{sentence}"),
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

fn label(name: &str) -> Cell {
    Cell::new(name.replace('_', " ")).add_attribute(Attribute::Bold)
}

/// A value in its column. How things are is told by a colour too.
fn cell(column: &str, value: &Value) -> Cell {
    let cell = Cell::new(written(value));
    match (column, value.as_str()) {
        ("state", Some("running" | "live" | "good" | "active" | "idle")) => cell.fg(Color::Green),
        ("state", Some("paused" | "suspended" | "pending" | "draining")) => cell.fg(Color::Yellow),
        ("state", Some("blocked" | "revoked" | "void")) => cell.fg(Color::Red),
        _ => cell,
    }
}

fn written(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.replace(char::is_control, " "),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(written).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// Writes aligned columns, two spaces apart, without a frame, so that a line can be cut in pieces. If the
/// screen is narrower, every column but the first, which names the thing, gives way.
fn table(
    out: &mut dyn Write,
    screen: Screen,
    rows: impl Iterator<Item = impl Into<Row>>,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_truncation_indicator("…");
    // The screen knows better: the table may go somewhere else than to standard output.
    table.force_no_tty();
    if screen.colors {
        table.enforce_styling();
    }
    if let Some(width) = screen.width {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    writeln!(out, "{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Output = Output::Table(Screen { width: None, colors: false, progress: false });

    fn printed(write: impl Fn(&mut dyn Write) -> io::Result<()>) -> String {
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
            printed(|out| PLAIN.list(out, &columns, &rows)),
            "NAME         LIVE MESSAGES  OWNERS\n\
             example.com  3              -\n\
             a            -              x, y\n"
        );
        assert_eq!(printed(|out| PLAIN.list(out, &columns, &[])), "NAME  LIVE MESSAGES  OWNERS\n");
    }

    #[test]
    fn a_table_fits_the_screen() {
        let columns = ["name", "scope", "state"];
        let scope = "bus:shop.example channel:orders type:order/new";
        let rows = [vec![json!("a-rather-long-name"), json!(scope), json!("blocked")]];
        let on = |width, colors| Output::Table(Screen { width, colors, progress: false });
        let text = printed(|out| on(Some(48), false).list(out, &columns, &rows));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "one line for each thing: {text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 48), "{text}");
        assert!(lines[1].starts_with("a-rather-long-name  ") && lines[1].contains('…'), "{text}");
        let text = printed(|out| on(Some(48), false).one(out, &columns, &rows[0]));
        assert!(text.lines().all(|line| line.chars().count() <= 48), "{text}");
        assert!(!text.contains('…'), "one thing is shown whole: {text}");
        let text = printed(|out| on(None, false).list(out, &columns, &rows));
        assert!(text.contains(scope) && !text.contains('\u{1b}'), "{text}");
        let text = printed(|out| on(None, true).list(out, &columns, &rows));
        assert!(
            text.contains("\u{1b}[1mNAME") && text.contains("\u{1b}[38;5;9mblocked"),
            "{text:?}"
        );
    }

    #[test]
    fn json_keeps_the_order_of_columns() {
        let columns = ["name", "count"];
        let row = vec![json!("a\nb"), json!(3)];
        assert_eq!(
            printed(|out| Output::Json.one(out, &columns, &row)),
            "{\"name\":\"a\\nb\",\"count\":3}\n"
        );
        assert_eq!(
            printed(|out| Output::Json.list(out, &columns, std::slice::from_ref(&row))),
            "[{\"name\":\"a\\nb\",\"count\":3}]\n"
        );
        assert_eq!(printed(|out| PLAIN.one(out, &columns, &row)), "name   a b\ncount  3\n");
    }
}
