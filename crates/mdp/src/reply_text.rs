//! A reply as text for a terminal (mdp.md §18).

use std::fmt::Write;

use crate::Frames;

/// How a reply is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyFormat {
    /// Each frame followed by a newline; a single frame that ends in one gets no second.
    #[default]
    Text,
    /// One JSON array of strings; a frame that is no UTF-8 is `{"hex":"…"}`.
    Json,
    /// The bytes of the frames and nothing else.
    Raw,
    /// Each frame in hexadecimal, one a line.
    Hex,
}

/// Returns the bytes to print for a reply.
pub fn render_reply(reply: &Frames, format: ReplyFormat) -> Vec<u8> {
    match format {
        ReplyFormat::Text => {
            let single = reply.len() == 1;
            let mut bytes = Vec::with_capacity(reply.byte_len() + reply.len());
            for frame in reply {
                bytes.extend_from_slice(frame);
                if !(single && frame.ends_with(b"\n")) {
                    bytes.push(b'\n');
                }
            }
            bytes
        }
        ReplyFormat::Json => json(reply).into_bytes(),
        ReplyFormat::Raw => reply.iter().flat_map(|frame| frame.iter().copied()).collect(),
        ReplyFormat::Hex => {
            let lines = reply.iter().map(|frame| hex(frame) + "\n");
            lines.collect::<String>().into_bytes()
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn json(reply: &Frames) -> String {
    let mut text = String::from("[");
    for (at, frame) in reply.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        if let Ok(frame) = std::str::from_utf8(frame) {
            push_json_string(&mut text, frame);
        } else {
            text.push_str("{\"hex\":\"");
            text.push_str(&hex(frame));
            text.push_str("\"}");
        }
    }
    text.push_str("]\n");
    text
}

fn push_json_string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if u32::from(control) < 0x20 => {
                // Writing to a string does not fail.
                match write!(text, "\\u{:04x}", u32::from(control)) {
                    Ok(()) | Err(_) => {}
                }
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_prints_as_documented() {
        // Rule: mdp §18 — a reply frame is followed by a newline; a single one is not doubled
        let text = |frames: &Frames| render_reply(frames, ReplyFormat::Text);
        assert_eq!(text(&Frames::from(["README.md\nclient\n"])), b"README.md\nclient\n");
        assert_eq!(text(&Frames::from(["a\n", "b"])), b"a\n\nb\n");
        assert_eq!(text(&Frames::new()), b"");
        let odd = Frames::from([b"a\"\n\x01".to_vec(), vec![0xFF, 0x0A]]);
        assert_eq!(
            render_reply(&odd, ReplyFormat::Json),
            b"[\"a\\\"\\n\\u0001\",{\"hex\":\"FF0A\"}]\n"
        );
        assert_eq!(render_reply(&odd, ReplyFormat::Raw), b"a\"\n\x01\xFF\x0A");
        assert_eq!(render_reply(&odd, ReplyFormat::Hex), b"61220A01\nFF0A\n");
    }
}
