//! The messages of the relay as JSON texts (Belay §9, §22.4; `README.md` beside this file).
//!
//! Never here: what becomes of a message.

use buswire_message::Secret;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use crate::instance::{Failure, WireResult};

/// The longest method that is passed on, in bytes: the four, and what invoke handlers add (Belay §6.8).
const METHOD_MAX: usize = 32;
/// The longest error object that is looked at, in bytes. A longer one is a 500.
const FAILURE_MAX: usize = 4096;

/// What a frame sends. Not printed: it may hold capabilities.
pub(crate) enum FromPeer {
    Register {
        id: String,
        proof: Option<Secret<String>>,
    },
    Unregister {
        id: String,
    },
    Invoke {
        tx: u64,
        call: Call,
    },
    Response {
        tx: u64,
        result: WireResult,
    },
    Ping,
    Pong,
    Bye,
    /// Nothing that is known: it is ignored (Belay §9).
    Unknown,
}

/// An invocation on its way. The serialisation is a secret, and so may be the data.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) ser: Secret<String>,
    pub(crate) method: String,
    pub(crate) data: Option<String>,
}

impl Call {
    pub(crate) const fn is_sound(&self) -> bool {
        !self.method.is_empty() && self.method.len() <= METHOD_MAX
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("method", &self.method).finish_non_exhaustive()
    }
}

// Members are looked at one by one: a message with a strange member is not lost for it, and what
// nobody asks for costs no memory.
#[derive(Deserialize)]
struct Members<'a> {
    op: String,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    proof: Option<&'a RawValue>,
    #[serde(borrow, rename = "txId")]
    tx: Option<&'a RawValue>,
    #[serde(borrow)]
    ser: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn read<'a, T: Deserialize<'a>>(member: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(member?.get()).ok()
}

impl FromPeer {
    /// Reads a message, whatever it is.
    pub(crate) fn parse(text: &str) -> Self {
        let parsed = serde_json::from_str(text).ok();
        parsed.and_then(|members| Self::of(&members)).unwrap_or(Self::Unknown)
    }

    fn of(members: &Members<'_>) -> Option<Self> {
        Some(match members.op.as_str() {
            "register" => Self::Register {
                id: read(members.id)?,
                proof: match members.proof {
                    Some(proof) => Some(Secret::new(read(Some(proof))?)),
                    None => None,
                },
            },
            "unregister" => Self::Unregister { id: read(members.id)? },
            "invoke" => Self::Invoke {
                tx: read(members.tx)?,
                call: Call {
                    ser: Secret::new(read(members.ser)?),
                    method: read(members.method)?,
                    data: read::<Option<String>>(members.data).flatten(),
                },
            },
            "response" => Self::Response { tx: read(members.tx)?, result: result(members)? },
            "ping" => Self::Ping,
            "pong" => Self::Pong,
            "bye" => Self::Bye,
            _ => return None,
        })
    }
}

fn result(members: &Members<'_>) -> Option<WireResult> {
    match read::<String>(members.kind)?.as_str() {
        "success" => Some(Ok(read::<Option<String>>(members.data).flatten())),
        "failure" => {
            let data = members.data.filter(|data| data.get().len() <= FAILURE_MAX);
            Some(Err(Failure::from_json(&read(data).unwrap_or(Value::Null))))
        }
        _ => None,
    }
}

/// What the relay sends. Not printed: it may hold capabilities.
#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum ToPeer {
    Registered {
        id: String,
        #[serde(serialize_with = "in_clear")]
        resume: Secret<String>,
    },
    Refused {
        id: String,
        status: u16,
        message: &'static str,
    },
    Unregistered {
        id: String,
    },
    Invoke {
        #[serde(rename = "txId")]
        tx: u64,
        #[serde(flatten, serialize_with = "call_members")]
        call: Call,
    },
    Response {
        #[serde(rename = "txId")]
        tx: u64,
        #[serde(flatten, serialize_with = "answer_members")]
        result: WireResult,
    },
    Ping,
    Pong,
    Bye,
}

impl ToPeer {
    /// The text that goes over the WebSocket.
    pub(crate) fn encode(&self) -> String {
        // Serialising strings and numbers into memory can't fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// About how many bytes it holds while it waits.
    pub(crate) fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        100 + match self {
            Self::Invoke { call, .. } => call.ser.expose().len() + text(&call.data),
            Self::Response { result: Ok(data), .. } => text(data),
            Self::Response { result: Err(failure), .. } => failure.message().len(),
            Self::Registered { id, .. } | Self::Refused { id, .. } | Self::Unregistered { id } => {
                id.len()
            }
            Self::Ping | Self::Pong | Self::Bye => 0,
        }
    }
}

fn in_clear<S: Serializer>(secret: &Secret<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose())
}

fn call_members<S: Serializer>(call: &Call, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Members<'a> {
        ser: &'a str,
        method: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a str>,
    }
    let Call { ser, method, data } = call;
    Members { ser: ser.expose(), method, data: data.as_deref() }.serialize(to)
}

fn answer_members<S: Serializer>(result: &WireResult, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(tag = "type", rename_all = "lowercase")]
    enum Members<'a> {
        Success {
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a str>,
        },
        Failure {
            data: &'a Failure,
        },
    }
    match result {
        Ok(data) => Members::Success { data: data.as_deref() },
        Err(failure) => Members::Failure { data: failure },
    }
    .serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SER: &str =
        "urn:x-cap:926c0c63-b02a-40a9-a19f-edb19190c143:d859f7a0-4008-4c35-a99a-b7a23a5fc35d";

    fn invoke(data: Option<&str>) -> Call {
        Call {
            ser: Secret::new(SER.to_owned()),
            method: "POST".to_owned(),
            data: data.map(str::to_owned),
        }
    }

    #[test]
    fn messages_are_written_as_the_tunnel_has_them() {
        // Rule: belay 22.4 — the relay's messages are JSON texts of the shapes of the tunnel
        // Rule: belay 9 — absent data is really absent
        let cases = [
            (ToPeer::Ping, r#"{"op":"ping"}"#.to_owned()),
            (
                ToPeer::Registered { id: "x".into(), resume: Secret::new("t".into()) },
                r#"{"op":"registered","id":"x","resume":"t"}"#.to_owned(),
            ),
            (
                ToPeer::Invoke { tx: 1000, call: invoke(Some(r#"{"value":21}"#)) },
                format!(
                    r#"{{"op":"invoke","txId":1000,"ser":"{SER}","method":"POST","data":"{{\"value\":21}}"}}"#
                ),
            ),
            (
                ToPeer::Invoke { tx: 1001, call: invoke(None) },
                format!(r#"{{"op":"invoke","txId":1001,"ser":"{SER}","method":"POST"}}"#),
            ),
            (
                ToPeer::Response { tx: 7, result: Ok(None) },
                r#"{"op":"response","txId":7,"type":"success"}"#.to_owned(),
            ),
            (
                ToPeer::Response { tx: 7, result: Ok(Some("42".into())) },
                r#"{"op":"response","txId":7,"type":"success","data":"42"}"#.to_owned(),
            ),
            (
                ToPeer::Response { tx: 7, result: Err(Failure::of_status(405)) },
                r#"{"op":"response","txId":7,"type":"failure","data":{"status":405,"message":"method not allowed"}}"#
                    .to_owned(),
            ),
        ];
        for (message, text) in cases {
            assert_eq!(message.encode(), text);
        }
    }

    #[test]
    fn messages_are_read_as_the_tunnel_has_them() {
        let text = format!(
            r#"{{"op":"invoke","txId":1000,"ser":"{SER}","method":"POST","data":"x","more":[]}}"#
        );
        let FromPeer::Invoke { tx: 1000, call } = FromPeer::parse(&text) else { panic!("{text}") };
        assert_eq!(call, invoke(Some("x")));
        assert!(!format!("{call:?}").contains("urn"));
        let answers = [
            (r#""success""#, Ok(None)),
            (r#""success","data":null"#, Ok(None)),
            (r#""success","data":"42""#, Ok(Some("42".to_owned()))),
            (r#""failure","data":{"status":404}"#, Err(Failure::of_status(404))),
            (r#""failure""#, Err(Failure::of_status(500))),
            (
                r#""failure","data":{"status":418,"message":"no","x":1}"#,
                Err(Failure::new(418, "no")),
            ),
        ];
        for (rest, expected) in answers {
            let text = format!(r#"{{"op":"response","txId":1,"type":{rest}}}"#);
            let FromPeer::Response { tx: 1, result } = FromPeer::parse(&text) else {
                panic!("{text}")
            };
            assert_eq!(result, expected, "{text}");
        }
    }

    #[test]
    fn anything_else_is_unknown() {
        // Rule: belay 9 — an unknown op, or a message that is no object, is ignored
        for text in [
            "",
            "pong",
            "5",
            "[]",
            "{}",
            r#"{"op":5}"#,
            r#"{"op":"outpost"}"#,
            r#"{"op":"register"}"#,
            r#"{"op":"register","id":"x","proof":5}"#,
            r#"{"op":"invoke","txId":"1","ser":"x","method":"GET"}"#,
            r#"{"op":"invoke","txId":-1,"ser":"x","method":"GET"}"#,
            r#"{"op":"invoke","txId":1.5,"ser":"x","method":"GET"}"#,
            r#"{"op":"response","txId":1,"type":"maybe"}"#,
        ] {
            assert!(matches!(FromPeer::parse(text), FromPeer::Unknown), "{text}");
        }
    }
}
