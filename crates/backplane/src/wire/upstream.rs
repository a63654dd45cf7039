//! Messages as they are posted (Backplane §6.1, §6.7, §7.1, §10.5).

use buswire_message::{
    ChannelName, Headers, MessageType, NewMessage, Payload, SourceUrl, Timestamp,
};
use serde_json::value::RawValue;

use super::json::{Members, is_too_deep};

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    #[error("{0} is required")]
    Missing(&'static str),
    #[error("{0} is invalid")]
    Invalid(&'static str),
    #[error("a field occurs twice")]
    Repeated,
    #[error("Invalid field in upstream message: {0}")]
    Unexpected(String),
}

/// What is wrong with the body of a 1.x post; `Display` is its `ERR_MSG`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListError {
    #[error("Invalid body: a JSON array of messages is required")]
    NotAList,
    #[error("Invalid body: nested too deeply")]
    TooDeep,
    #[error("Invalid message: an object is required")]
    NotAnObject,
    #[error("Invalid message: {0}")]
    Field(FieldError),
}

impl From<FieldError> for ListError {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

/// Reads the body of a 1.x post: a list of messages for `channel`.
pub(crate) fn parse_list(body: &[u8], channel: &ChannelName) -> Result<Vec<NewMessage>, ListError> {
    if is_too_deep(body) {
        return Err(ListError::TooDeep);
    }
    let list: Vec<&RawValue> = serde_json::from_slice(body).map_err(|_| ListError::NotAList)?;
    let message = |json: &RawValue| {
        let members = Members::parse(json).ok_or(ListError::NotAnObject)?;
        if members.repeated().is_some() {
            return Err(FieldError::Repeated.into());
        }
        let source: SourceUrl =
            required(&members, "source")?.parse().map_err(|_| FieldError::Invalid("source"))?;
        let content = Content::read(&members)?;
        Ok(content.into_message(channel.clone(), source))
    };
    list.into_iter().map(message).collect()
}

/// Why a body is not `{"message":{…}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EnvelopeError {
    NotJson,
    TooDeep,
    NoMessage,
    OtherMembers,
}

/// A 2.0 message as it was posted, before its fields are looked at.
///
/// The bus and the channel are asked for first, since an answer about their binding comes before one
/// about the other fields (Backplane §10.5).
#[derive(Debug)]
pub(crate) struct Upstream<'a>(Members<'a>);

impl<'a> Upstream<'a> {
    /// Reads the body of `POST /v2/message`.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, EnvelopeError> {
        if is_too_deep(body) {
            return Err(EnvelopeError::TooDeep);
        }
        let envelope: Members<'a> =
            serde_json::from_slice(body).map_err(|_| EnvelopeError::NotJson)?;
        let message = envelope.get("message").ok_or(EnvelopeError::NoMessage)?;
        let message = Members::parse(message).ok_or(EnvelopeError::NoMessage)?;
        if envelope.names().count() > 1 {
            return Err(EnvelopeError::OtherMembers);
        }
        Ok(Self(message))
    }

    /// The bus it names.
    pub(crate) fn bus(&self) -> Option<String> {
        self.0.text("bus")
    }

    /// The channel it names.
    pub(crate) fn channel(&self) -> Option<String> {
        self.0.text("channel")
    }

    /// Its other fields.
    pub(crate) fn content(&self) -> Result<Content, FieldError> {
        const FIELDS: [&str; 6] = ["type", "bus", "channel", "sticky", "expire", "payload"];
        if let Some(name) = self.0.names().find(|name| !FIELDS.contains(name)) {
            return Err(FieldError::Unexpected(name.chars().take(64).collect()));
        }
        if self.0.repeated().is_some() {
            return Err(FieldError::Repeated);
        }
        let content = Content::read(&self.0)?;
        // No field value of 2.0 but the payload holds a space (§7.1).
        if content.kind.as_str().contains(' ') {
            return Err(FieldError::Invalid("type"));
        }
        Ok(content)
    }
}

/// The fields that both generations have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) kind: MessageType,
    pub(crate) sticky: bool,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) payload: Payload,
}

impl Content {
    fn read(members: &Members<'_>) -> Result<Self, FieldError> {
        let kind = required(members, "type")?.parse().map_err(|_| FieldError::Invalid("type"))?;
        let sticky = members.get("sticky").map(sticky).transpose()?.unwrap_or(false);
        let expires_at = members.get("expire").map(expire).transpose()?;
        let payload = members.get("payload").ok_or(FieldError::Missing("payload"))?;
        let payload = Payload::from_raw(payload).map_err(|_| FieldError::Invalid("payload"))?;
        Ok(Self { kind, sticky, expires_at, payload })
    }

    /// The message that it is part of.
    pub(crate) fn into_message(self, channel: ChannelName, source: SourceUrl) -> NewMessage {
        NewMessage {
            channel,
            source,
            kind: self.kind,
            sticky: self.sticky,
            expires_at: self.expires_at,
            payload: self.payload,
            headers: Headers::default(),
        }
    }
}

fn required(members: &Members<'_>, name: &'static str) -> Result<String, FieldError> {
    if members.get(name).is_none() {
        return Err(FieldError::Missing(name));
    }
    members.text(name).ok_or(FieldError::Invalid(name))
}

/// A boolean, or one as a string in any case (§6.1).
fn sticky(value: &RawValue) -> Result<bool, FieldError> {
    match value.get().trim_matches('"').to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(FieldError::Invalid("sticky")),
    }
}

/// RFC 3339 in UTC without fractions (§5.2).
fn expire(value: &RawValue) -> Result<Timestamp, FieldError> {
    let invalid = FieldError::Invalid("expire");
    let text: String = serde_json::from_str(value.get()).map_err(|_| invalid.clone())?;
    if text.len() != "2024-03-09T22:05:21Z".len() {
        return Err(invalid);
    }
    Timestamp::parse(&text).map_err(|_| invalid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(body: &str) -> Result<Vec<NewMessage>, ListError> {
        parse_list(body.as_bytes(), &"c".parse().unwrap())
    }

    fn one(fields: &str) -> Result<NewMessage, ListError> {
        list(&format!("[{{{fields}}}]")).map(|mut list| list.remove(0))
    }

    const GOOD: &str = r#""source":"https://s.example/","type":"t","payload":{"a":1.0}"#;

    #[test]
    fn a_list_is_an_array_even_for_one() {
        // Rule: backplane §6.7 — the body is a JSON array of messages, even for one
        assert_eq!(list(&format!("[{{{GOOD}}},{{{GOOD}}}]")).unwrap().len(), 2);
        assert_eq!(list("[]").unwrap(), []);
        for body in ["", "{}", "null", "[", "[]x", "\"a\"", &format!("{{{GOOD}}}")] {
            assert_eq!(list(body), Err(ListError::NotAList), "{body}");
        }
        assert_eq!(list("[1]"), Err(ListError::NotAnObject));
        assert_eq!(list(&"[".repeat(65)), Err(ListError::TooDeep));
    }

    #[test]
    fn fields_have_their_rules() {
        // Rule: backplane §6.1 — source, type and payload are required
        assert_eq!(
            one(r#""type":"x","payload":{}"#).unwrap_err().to_string(),
            "Invalid message: source is required"
        );
        let cases = [
            (r#""source":"https://s.example/","payload":1"#, FieldError::Missing("type")),
            (r#""source":"https://s.example/","type":"t""#, FieldError::Missing("payload")),
            (r#""source":"nowhere","type":"t","payload":1"#, FieldError::Invalid("source")),
            (r#""source":1,"type":"t","payload":1"#, FieldError::Invalid("source")),
            (
                r#""source":"https://s.example/","type":" ","payload":1"#,
                FieldError::Invalid("type"),
            ),
            (
                r#""source":"https://s.example/","type":"t","payload":null"#,
                FieldError::Invalid("payload"),
            ),
            (&format!("{GOOD},\"type\":\"u\""), FieldError::Repeated),
        ];
        for (fields, error) in cases {
            assert_eq!(one(fields), Err(ListError::Field(error)), "{fields}");
        }
    }

    #[test]
    fn sticky_is_a_boolean_or_its_text() {
        // Rule: backplane §6.1 — sticky is a boolean or "true"/"false" in any case, else 400
        for (json, sticky) in [("true", true), ("\"TRUE\"", true), ("\"False\"", false)] {
            assert_eq!(one(&format!("{GOOD},\"sticky\":{json}")).unwrap().sticky, sticky);
        }
        assert!(!one(GOOD).unwrap().sticky);
        for json in ["1", "\"yes\"", "null", "[true]"] {
            assert_eq!(
                one(&format!("{GOOD},\"sticky\":{json}")),
                Err(ListError::Field(FieldError::Invalid("sticky")))
            );
        }
    }

    #[test]
    fn expire_has_one_form() {
        // Rule: backplane §19.7 — expire is RFC 3339 in UTC marked Z, without fractions
        let with = |text: &str| one(&format!("{GOOD},\"expire\":\"{text}\""));
        assert_eq!(
            with("2024-03-09T14:01:00Z").unwrap().expires_at,
            Some(Timestamp::parse("2024-03-09T14:01:00Z").unwrap())
        );
        for text in [
            "2024-03-09T15:00:00+00:00",
            "2024-03-09T15:00:00.5Z",
            "2024-03-09T15:00:00.500Z",
            "2024-03-09 15:00:00Z",
            "2024-02-30T00:00:00Z",
            "1709996400",
        ] {
            assert_eq!(with(text), Err(ListError::Field(FieldError::Invalid("expire"))), "{text}");
        }
        assert!(one(&format!("{GOOD},\"expire\":1709996400")).is_err());
    }

    #[test]
    fn extra_fields_of_1_x_are_dropped() {
        // Rule: backplane §6.1 — unknown fields such as id, channel_name and bus are ignored
        // Rule: backplane §16 row 12 — extra fields are ignored on 1.x
        let message = one(&format!("{GOOD},\"id\":\"x\",\"channel_name\":\"d\",\"bus\":7"));
        assert_eq!(message, one(GOOD));
    }

    fn content(fields: &str) -> Result<Content, FieldError> {
        Upstream::parse(format!("{{\"message\":{{{fields}}}}}").as_bytes()).unwrap().content()
    }

    #[test]
    fn a_2_0_body_is_one_message_in_an_envelope() {
        // Rule: backplane §10.5 — the body is {"message":{…}} and nothing beside message
        let cases: [(&str, EnvelopeError); 6] = [
            ("", EnvelopeError::NotJson),
            ("[]", EnvelopeError::NotJson),
            ("{}", EnvelopeError::NoMessage),
            (r#"{"message":null}"#, EnvelopeError::NoMessage),
            (r#"{"messages":[]}"#, EnvelopeError::NoMessage),
            (r#"{"message":{},"x":1}"#, EnvelopeError::OtherMembers),
        ];
        for (body, error) in cases {
            assert_eq!(Upstream::parse(body.as_bytes()).unwrap_err(), error, "{body}");
        }
        let deep = format!("{{\"message\":{}", "[".repeat(64));
        assert_eq!(Upstream::parse(deep.as_bytes()).unwrap_err(), EnvelopeError::TooDeep);
    }

    #[test]
    fn a_2_0_message_has_no_other_fields() {
        // Rule: backplane §7.1 — an upstream message contains no other field than its six
        // Rule: backplane §16 row 41 — unknown fields are 400 on 2.0
        let good = r#""type":"t","bus":"b","channel":"c","payload":1"#;
        assert!(content(good).is_ok());
        assert!(content(&format!("{good},\"sticky\":\"true\"")).unwrap().sticky);
        assert_eq!(
            content(&format!("{good},\"source\":\"https://evil.example/\""))
                .unwrap_err()
                .to_string(),
            "Invalid field in upstream message: source"
        );
        assert_eq!(
            content(&format!("{good},\"messageURL\":\"x\"")),
            Err(FieldError::Unexpected("messageURL".into()))
        );
        // Rule: backplane §7.1 — no field value except payload contains a space
        // Rule: backplane §16 row 40 — spaces in fields are 400
        assert_eq!(
            content(r#""type":"a b","bus":"b","channel":"c","payload":1"#),
            Err(FieldError::Invalid("type"))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _list = parse_list(&bytes, &"c".parse().unwrap());
            let _content = Upstream::parse(&bytes).map(|upstream| upstream.content());
        }

        #[test]
        fn almost_json_is_taken_or_refused(text in r#"[\[\]{}":,a-z0-9\\ ]{0,60}"#) {
            let body = format!("[{{{GOOD},{text}}}]");
            if let Ok(messages) = parse_list(body.as_bytes(), &"c".parse().unwrap()) {
                prop_assert_eq!(messages.len(), 1);
            }
            let _refused = Upstream::parse(format!("{{\"message\":{text}}}").as_bytes());
        }
    }
}
