//! The error reply: the request repeated, with `status` and `error` (SimplePush §6.2).

use super::envelope::{Envelope, text_of};
use crate::error::ClientFault;

/// Bytes of a string that is repeated from a request too large to be repeated whole (R-ERR-2).
const MINIMAL_ECHO_MAX: usize = 256;

impl Envelope<'_> {
    /// The error reply to this message. All members are repeated if the request has at most
    /// `echo_bytes_max` bytes; of a larger one only type and channelID (R-ERR-2).
    pub(crate) fn failure(&self, fault: ClientFault, echo_bytes_max: usize) -> String {
        let mut out = match self.echo(echo_bytes_max).and_then(|text| text.strip_suffix('}')) {
            Some(open) => compact(open),
            None => self.minimal(),
        };
        if !self.is_bare() && out.len() > 1 {
            out.push(',');
        }
        push_error(fault.status(), &fault.to_string(), &mut out);
        out
    }

    fn minimal(&self) -> String {
        let mut out = String::from("{");
        let members = [("messageType", self.raw_type()), ("channelID", self.channel_id())];
        for (name, raw) in members {
            let Some(raw) = raw.filter(|raw| raw.get().len() <= MINIMAL_ECHO_MAX) else { continue };
            if text_of(raw).is_some() {
                if out.len() > 1 {
                    out.push(',');
                }
                out.push('"');
                out.push_str(name);
                out.push_str("\":");
                out.push_str(raw.get());
            }
        }
        out
    }
}

/// Appends `"status":…,"error":"…"}`. `error` is one of our own texts: it needs no escaping.
pub(super) fn push_error(status: u16, error: &str, out: &mut String) {
    debug_assert!(!error.contains(['"', '\\']), "our own texts have no quotes");
    out.push_str("\"status\":");
    out.push_str(&status.to_string());
    out.push_str(",\"error\":\"");
    out.push_str(error);
    out.push_str("\"}");
}

/// Drops insignificant white space from JSON text.
fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 80);
    let (mut in_string, mut escaped) = (false, false);
    for character in text.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else {
            in_string = character == '"';
            if matches!(character, ' ' | '\t' | '\r' | '\n') {
                continue;
            }
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str, fault: ClientFault, max: usize) -> String {
        Envelope::read(text, 32).unwrap().failure(fault, max)
    }

    #[test]
    fn the_request_is_repeated() {
        // Rule: simplepush §6.2 — the request repeated, plus status and error
        // Rule: simplepush R-ERR-1 — the text is in the member `error`
        assert_eq!(
            failure(
                "{\"messageType\":\"ack\",\"updates\":[{\"channelID\":\"x y\",\"version\":23}]}",
                ClientFault::NoHandshake,
                4096
            ),
            "{\"messageType\":\"ack\",\"updates\":[{\"channelID\":\"x y\",\"version\":23}],\"status\":401,\"error\":\"Command requires handshake\"}"
        );
        // Rule: simplepush R-JSON-5 — output is compact
        assert_eq!(
            failure(
                " {\n \"messageType\" : \"a \\\" b\" ,\"n\":-66000 }\n",
                ClientFault::UnsupportedType,
                4096
            ),
            "{\"messageType\":\"a \\\" b\",\"n\":-66000,\"status\":401,\"error\":\"Unsupported command type\"}"
        );
        assert_eq!(
            failure("{ }", ClientFault::TooManyPings, 4096),
            "{\"status\":401,\"error\":\"Client sent too many pings\"}"
        );
    }

    #[test]
    fn of_a_large_request_little_is_repeated() {
        // Rule: simplepush R-ERR-2 — of more than 4096 bytes only short strings are repeated
        let large = format!(
            "{{\"messageType\":\"register\",\"channelID\":\"bad\",\"x\":\"{}\"}}",
            "x".repeat(4096)
        );
        // Rule: simplepush R-ERR-3 — the channelID is always repeated when it was a string
        assert_eq!(
            failure(&large, ClientFault::InvalidFields, 4096),
            "{\"messageType\":\"register\",\"channelID\":\"bad\",\"status\":401,\"error\":\"Command contains one or more invalid fields\"}"
        );
        let long = format!("{{\"messageType\":7,\"channelID\":\"{}\"}}", "x".repeat(5000));
        assert_eq!(
            failure(&long, ClientFault::HeaderNotText, 4096),
            "{\"status\":401,\"error\":\"Invalid command header\"}"
        );
        assert_eq!(
            failure("{\"messageType\":\"x\",\"status\":200}", ClientFault::UnsupportedType, 4096),
            "{\"messageType\":\"x\",\"status\":401,\"error\":\"Unsupported command type\"}"
        );
    }
}
