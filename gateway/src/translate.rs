//! How the body of one door looks at another: MDP frames and JSON.
//!
//! Never here: calling a door.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use buswire_bridge::Reply;
use buswire_mdp::Frames;
use buswire_message::{Message, Payload};
use bytes::Bytes;
use serde_json::{Value, json};

/// The type of an answer that is text but not JSON.
const TEXT: &str = "text/plain; charset=utf-8";
/// The type of an answer that is not even text.
const BINARY: &str = "application/octet-stream";

/// The body that an MDP service gets for a message: one frame, the payload's JSON text, or the bytes
/// themselves where the message carries bytes.
pub(crate) fn frames_of(message: &Message) -> Frames {
    let is_binary = message.headers.content_type.as_ref().is_some_and(|t| t.as_str() == BINARY);
    let bytes = is_binary.then(|| {
        let text: String = serde_json::from_slice(message.payload.as_bytes()).ok()?;
        STANDARD.decode(text).ok().map(Bytes::from)
    });
    Frames::from([bytes.flatten().unwrap_or_else(|| message.payload.as_bytes().clone())])
}

/// What an MDP service answered.
pub(crate) enum Answer {
    /// A body.
    Body(Reply),
    /// The failure form of command services: a frame `Error` and a short text (MDP §18).
    Failed(String),
}

/// Reads an answer: one frame of JSON is that JSON; one frame of text is a string; other bytes are a
/// string of base64; several frames are an array of these.
pub(crate) fn answer_of(frames: &Frames) -> Answer {
    if let (2, Some(first), Some(text)) = (frames.len(), frames.get(0), frames.get(1))
        && first.as_ref() == b"Error"
    {
        return Answer::Failed(String::from_utf8_lossy(text).chars().take(300).collect());
    }
    let Some(only) = frames.single() else {
        let all: Vec<Value> = frames.iter().map(|frame| json_of(frame).0).collect();
        return Answer::Body(reply(&json!(all), None));
    };
    // The text of a JSON answer is kept to the letter.
    if let Ok(payload) = Payload::parse(only) {
        return Answer::Body(Reply { payload, content_type: None });
    }
    let (value, content_type) = json_of(only);
    Answer::Body(reply(&value, content_type))
}

fn reply(value: &Value, content_type: Option<&str>) -> Reply {
    let payload = Payload::from_stored(Bytes::from(value.to_string()));
    Reply { payload, content_type: content_type.and_then(|name| name.parse().ok()) }
}

fn json_of(frame: &Bytes) -> (Value, Option<&'static str>) {
    if let Ok(value) = serde_json::from_slice::<Value>(frame)
        && !value.is_null()
    {
        return (value, None);
    }
    match std::str::from_utf8(frame) {
        Ok(text) => (Value::from(text), Some(TEXT)),
        Err(_) => (Value::from(STANDARD.encode(frame)), Some(BINARY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(frames: &[&'static [u8]]) -> (String, Option<String>) {
        match answer_of(&frames.iter().map(|frame| Bytes::from_static(frame)).collect()) {
            Answer::Body(reply) => (
                reply.payload.as_str().to_owned(),
                reply.content_type.map(|name| name.as_str().to_owned()),
            ),
            Answer::Failed(text) => (text, Some("failed".into())),
        }
    }

    #[test]
    fn frames_become_json() {
        let text = Some(TEXT.to_owned());
        let binary = Some(BINARY.to_owned());
        assert_eq!(answer(&[b"{\"n\": 1.0}"]), ("{\"n\": 1.0}".into(), None));
        assert_eq!(answer(&[b"hello"]), ("\"hello\"".into(), text.clone()));
        assert_eq!(answer(&[b"null"]), ("\"null\"".into(), text));
        assert_eq!(answer(&[b"\xff\xfe"]), ("\"//4=\"".into(), binary));
        assert_eq!(answer(&[b"1", b"x"]), ("[1,\"x\"]".into(), None));
        assert_eq!(answer(&[]), ("[]".into(), None));
        assert_eq!(answer(&[b"Error", b"exit 3"]), ("exit 3".into(), Some("failed".into())));
    }
}
