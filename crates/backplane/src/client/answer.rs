//! What servers answer, read leniently: published servers differ in details (Backplane §16).
//!
//! Never here: I/O, or a decision about what to ask next.

use buswire_message::Secret;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{
    error::{ClientError, OAuthCode, Refusal},
    poll::Position,
};

/// The function that padded answers are asked for under, as published server-side clients do.
pub(super) const CALLBACK: &str = "f";

const DESCRIPTION_CHARS_MAX: usize = 500;

/// A message of 2.0 as a reader gets it (Backplane §7.1). Members that are not known are ignored.
#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    /// Where it is; it ends with its id.
    #[serde(rename = "messageURL")]
    pub url: String,
    /// Who posted it.
    pub source: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its bus.
    pub bus: String,
    /// Its channel.
    pub channel: String,
    /// Whether it is kept for late readers. Some servers send a string; it is read like the boolean.
    #[serde(default, deserialize_with = "flag")]
    pub sticky: bool,
    /// When it expires, in the server's words; `None` before draft 15.
    #[serde(default)]
    pub expire: Option<String>,
    /// Its content, as the text that was received; `None` for clients without credentials.
    #[serde(default)]
    payload: Option<Box<RawValue>>,
}

impl Message {
    /// Its id: what the URL ends with.
    pub fn id(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// The JSON text of its payload.
    pub fn payload_text(&self) -> Option<&str> {
        self.payload.as_deref().map(RawValue::get)
    }

    /// Its payload as a `T`.
    ///
    /// # Errors
    ///
    /// If there is none, or it is no `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.payload_text().unwrap_or("null"))
    }
}

/// One answer to a read of 2.0.
#[derive(Debug, Clone)]
pub struct Page {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// From where to read on.
    pub next: Position,
    /// Whether there were more at that moment.
    pub more: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageBody {
    #[serde(rename = "nextURL")]
    next_url: String,
    messages: Vec<Message>,
    #[serde(default)]
    more_messages: bool,
}

impl Page {
    /// Reads a page that was asked for from `asked`.
    pub(super) fn read(body: &[u8], asked: &Position) -> Result<Self, ClientError> {
        let body: PageBody = json(body, "a page of messages")?;
        // A server without any message may name no position (Backplane §10.3).
        let next = Position::of_url(&body.next_url)
            .or_else(|| body.messages.last().map(|last| Position::after(last.id())))
            .unwrap_or_else(|| asked.clone());
        Ok(Self { messages: body.messages, next, more: body.more_messages })
    }
}

/// A message of 1.x with what the server adds to it (Backplane §6.1).
#[derive(Debug, Clone, Deserialize)]
pub struct Frame {
    /// Its id; reading `since` it gives what came later.
    pub id: String,
    /// Its channel.
    #[serde(rename = "channel_name")]
    pub channel: String,
    /// The message.
    pub message: FrameMessage,
}

/// The message within a frame of 1.x.
#[derive(Debug, Clone, Deserialize)]
pub struct FrameMessage {
    /// Who it says it is from: the poster sets it freely.
    pub source: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is kept for late readers.
    #[serde(default, deserialize_with = "flag")]
    pub sticky: bool,
    /// When it expires; shown under `/v1.3` only.
    #[serde(default)]
    pub expire: Option<String>,
    /// Its content, as the text that was received.
    pub payload: Box<RawValue>,
}

/// The answer to a token request.
#[derive(Debug, Deserialize)]
pub(super) struct TokenAnswer {
    #[serde(deserialize_with = "secret")]
    pub(super) access_token: Secret<String>,
    #[serde(default, deserialize_with = "seconds")]
    pub(super) expires_in: Option<u64>,
    #[serde(default)]
    pub(super) scope: String,
    #[serde(default, deserialize_with = "maybe_secret")]
    pub(super) refresh_token: Option<Secret<String>>,
}

/// Reads JSON; `expected` says what it should have been.
pub(super) fn json<T: DeserializeOwned>(
    body: &[u8],
    expected: &'static str,
) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|_| ClientError::Answer(expected))
}

/// The JSON within a padded answer; all of an answer that is not padded. Some servers put a comment
/// before it (Backplane §3.5).
pub(super) fn unpadded(body: &[u8]) -> &[u8] {
    let inner = || {
        let text = std::str::from_utf8(body).ok()?.trim();
        let text = match text.strip_prefix("/*") {
            Some(rest) => rest.split_once("*/")?.1.trim_start(),
            None => text,
        };
        let text = text.strip_prefix(CALLBACK)?.strip_prefix('(')?;
        text.trim_end_matches(';').strip_suffix(')')
    };
    inner().map_or(body, str::as_bytes)
}

/// The refusal in an answer, if it is one: by its status, or as a padded answer by its members.
pub(super) fn refusal(status: u16, body: &[u8]) -> Option<Refusal> {
    #[derive(Deserialize, Default)]
    struct Body {
        #[serde(rename = "ERR_MSG")]
        one: Option<String>,
        error: Option<String>,
        error_description: Option<String>,
    }
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    if (200..300).contains(&status) && body.error.is_none() {
        return None;
    }
    let code = body.error.as_deref().and_then(OAuthCode::parse);
    // The reference server sends some errors as a text in `error`, without a description.
    let words = body.error_description.or(body.one).or(body.error).unwrap_or_default();
    let description = words.chars().take(DESCRIPTION_CHARS_MAX).collect();
    Some(Refusal { status, code, description, retry_after: None })
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(flag) => Ok(flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(serde::de::Error::custom("neither true nor false")),
    }
}

/// A number, or a string that holds one, as a later line of the reference server sends it (§9.2).
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
        value => serde_json::from_value(value).map(Some).map_err(serde::de::Error::custom),
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

fn maybe_secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_of_every_server_is_taken_off() {
        // Rule: backplane §3.5 — a client reads padded answers with and without a semicolon or comment
        for body in ["f([1]);", "f([1])", "/**/f([1]);", "/* */ f([1]);\n", "[1]"] {
            assert_eq!(unpadded(body.as_bytes()), b"[1]", "{body}");
        }
    }

    #[test]
    fn refusals_of_every_server_are_read() {
        let read = |status, body: &str| refusal(status, body.as_bytes());
        assert_eq!(read(200, "[]"), None);
        assert_eq!(read(201, ""), None);
        // Rule: backplane §3.8 — a client reads errors of both generations
        let two = read(400, r#"{"error":"invalid_scope","error_description":"no"}"#).unwrap();
        assert_eq!((two.code, two.description.as_str()), (Some(OAuthCode::InvalidScope), "no"));
        let text = read(400, r#"{"error":"Missing message payload"}"#).unwrap();
        assert_eq!((text.code, text.description.as_str()), (None, "Missing message payload"));
        let one = read(401, r#"{"ERR_MSG":"Access denied."}"#).unwrap();
        assert_eq!(one.to_string(), "the server refused with 401: Access denied.");
        assert_eq!(read(502, "<html>").unwrap().description, "");
        // Rule: backplane §9.4 — a client tells a refused token by its words within the description
        for words in ["invalid token", "the expired token: x"] {
            let body = format!(r#"{{"error":"invalid_request","error_description":"{words}"}}"#);
            assert!(read(200, &body).unwrap().is_of_token(), "{words}");
        }
        assert!(!two.is_of_token());
    }

    #[test]
    fn messages_of_every_server_are_read() {
        // Rule: backplane §7.1 — a client takes sticky as a boolean and as a string
        let message = |sticky: &str| {
            let text = format!(
                r#"{{"messageURL":"https://a/v2/message/x-1","source":"https://s/","type":"t","bus":"b",
                "channel":"c","sticky":{sticky},"more":1,"payload":{{"n":12345678901234567890123}}}}"#
            );
            json::<Message>(text.as_bytes(), "a message").unwrap()
        };
        assert!(
            message("true").sticky && message("\"true\"").sticky && !message("\"false\"").sticky
        );
        let read = message("false");
        assert_eq!(read.id(), "x-1");
        assert_eq!(read.payload_text(), Some(r#"{"n":12345678901234567890123}"#));
    }

    #[test]
    fn token_answers_of_every_server_are_read() {
        // Rule: backplane §9.2 — a client reads expires_in as a number and as a string
        for (text, seconds) in [("3600", Some(3600)), ("\"3600\"", Some(3600)), ("null", None)] {
            let body = format!(r#"{{"access_token":"PCx","expires_in":{text},"bus":"b"}}"#);
            let answer: TokenAnswer = json(body.as_bytes(), "a token").unwrap();
            assert_eq!(
                (answer.expires_in, answer.access_token.expose().as_str()),
                (seconds, "PCx")
            );
            assert!(!format!("{answer:?}").contains("PCx"));
        }
    }
}
