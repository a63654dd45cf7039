//! The `since` parameter and the position that an answer gives back (Backplane §6.6, §10.3).

use buswire_message::{Cursor, MessageId};

/// What an answer names when there is nothing else to name: before every message.
pub(crate) const BEGINNING: &str = "1970-01-01T00:00:00.000Z-0000000000";

/// A `since` parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Since {
    /// From where to read.
    pub(crate) cursor: Cursor,
    /// The text, if it has the form of an id; it may be given back then.
    text: Option<Box<str>>,
}

impl Since {
    /// Reads the parameter; one that is absent, blank or malformed stands for the whole window.
    pub(crate) fn from_param(value: Option<&str>) -> Self {
        let text = value.filter(|text| has_form_of_id(text));
        let cursor = text.map_or(Cursor::Start, Cursor::parse_since);
        Self { cursor, text: text.map(Into::into) }
    }

    /// The position to name when nothing was returned: `examined` if there was something to examine,
    /// else what was asked for.
    pub(crate) fn position_after(&self, examined: Cursor) -> String {
        match examined.after() {
            Some(sequence) if examined != self.cursor => {
                MessageId::from_sequence(sequence).to_string()
            }
            _ => self.text.as_deref().unwrap_or(BEGINNING).to_owned(),
        }
    }
}

/// `^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z-[0-9A-Za-z]{1,32}$` (§4.3).
fn has_form_of_id(text: &str) -> bool {
    const FORM: &str = "0000-00-00T00:00:00.000Z-";
    let (length, bytes) = (FORM.len(), text.as_bytes());
    let fits = |(byte, form): (&u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        other => *byte == other,
    };
    (length + 1..=length + 32).contains(&bytes.len())
        && bytes.iter().zip(FORM.bytes()).all(fits)
        && bytes.iter().skip(length).all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_never_lost() {
        // Rule: backplane §10.3 — nextURL names the last id examined, else the request's since, else 1970
        let foreign = "2024-03-09T14:07:02.110Z-Vt5Gk2Lp0X";
        let since = Since::from_param(Some(foreign));
        assert_eq!(since.position_after(since.cursor), foreign);
        let later = Cursor::parse_since("2024-03-09T14:07:03.000Z-0000000000");
        assert_eq!(since.position_after(later), "2024-03-09T14:07:03.000Z-0000000000");
        for text in [None, Some(""), Some("garbage"), Some("2024-03-09T14:07:02.110Z-a\"b")] {
            let since = Since::from_param(text);
            assert_eq!(since.cursor, Cursor::Start);
            assert_eq!(since.position_after(Cursor::Start), BEGINNING);
        }
        let since = Since::from_param(Some(BEGINNING));
        assert_eq!(since.position_after(since.cursor), BEGINNING);
    }
}
