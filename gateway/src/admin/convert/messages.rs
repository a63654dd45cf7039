//! Messages.

use buswire_message::{
    BusName, Clock, Cursor, Door, Headers, Message, MessageId, NewMessage, Payload, Scope,
    Sequence, SourceUrl, TraceParent, TraceState,
};
use buswire_proto::v1;
use bytes::Bytes;
use tonic::Status;

use super::{Fields, from_wire_time, to_wire_time};

/// The message that a request publishes; `source` is who it is from if the request does not say.
pub(crate) fn new_message(
    request: v1::PublishRequest,
    source: &SourceUrl,
) -> Result<(BusName, NewMessage), Status> {
    let mut fields = Fields::default();
    let bus = fields.parse("bus", &request.bus);
    let channel = fields.parse("channel", &request.channel);
    let kind = fields.parse("type", &request.r#type);
    let from = fields.parse_optional("source", &request.source);
    let expires_at =
        request.expires_at.and_then(|at| fields.take("expires_at", from_wire_time(at)));
    let payload = fields.take("payload", Payload::parse(&Bytes::from(request.payload)));
    let dedupe_key = fields.parse_optional("dedupe_key", &request.dedupe_key);
    let in_reply_to = fields.parse_optional("in_reply_to", &request.in_reply_to);
    let traceparent = fields.parse_optional::<TraceParent>("traceparent", &request.traceparent);
    // Dropped when it is malformed, as W3C Trace Context says, and meaningless alone.
    let state = TraceState::received([request.tracestate.as_bytes()]);
    let traceparent = traceparent.map(|parent| parent.with_state(state));
    fields.check()?;
    let (Some(bus), Some(channel), Some(kind), Some(payload)) = (bus, channel, kind, payload)
    else {
        return Err(fields.status());
    };
    let door = Some(Door::Admin);
    let headers = Headers { traceparent, in_reply_to, dedupe_key, door, ..Headers::default() };
    let source = from.unwrap_or_else(|| source.clone());
    let sticky = request.sticky;
    Ok((bus, NewMessage { channel, source, kind, sticky, expires_at, payload, headers }))
}

/// The scope and the cursor of a page.
pub(crate) fn page(request: &v1::ReadRequest) -> Result<(Scope, Cursor), Status> {
    let mut fields = Fields::default();
    let scope = fields.parse("scope", &request.scope);
    let since = fields.parse_optional::<MessageId>("since", &request.since);
    fields.check()?;
    scope.map(|scope| (scope, cursor(since))).ok_or_else(|| fields.status())
}

/// The scope and the cursor of a stream.
pub(crate) fn stream(
    request: &v1::SubscribeRequest,
    clock: &dyn Clock,
) -> Result<(Scope, Cursor), Status> {
    if request.since == "now" {
        let now = Cursor::After(Sequence::at(clock.now()));
        return super::parse("scope", &request.scope).map(|scope| (scope, now));
    }
    let (scope, since) = (request.scope.clone(), request.since.clone());
    page(&v1::ReadRequest { scope, since, page_size: 0 })
}

fn cursor(since: Option<MessageId>) -> Cursor {
    since.map_or(Cursor::Start, |id| Cursor::After(id.sequence()))
}

/// A cursor on the wire: the id after which to go on.
pub(crate) fn cursor_to_wire(cursor: Cursor) -> String {
    cursor.after().map(|at| MessageId::from_sequence(at).to_string()).unwrap_or_default()
}

/// A message on the wire.
pub(crate) fn to_wire(message: &Message) -> v1::Message {
    let headers = &message.headers;
    let parent = headers.traceparent.as_ref();
    let state = parent.and_then(TraceParent::state);
    v1::Message {
        id: message.id.to_string(),
        bus: message.bus.to_string(),
        channel: message.channel.to_string(),
        r#type: message.kind.to_string(),
        source: message.source.to_string(),
        sticky: message.sticky,
        expires_at: Some(to_wire_time(message.expires_at)),
        payload: message.payload.as_str().to_owned(),
        headers: Some(v1::Headers {
            traceparent: parent.map(ToString::to_string).unwrap_or_default(),
            tracestate: state.map(ToString::to_string).unwrap_or_default(),
            via: headers.via.iter().map(ToString::to_string).collect(),
            in_reply_to: headers.in_reply_to.map(|id| id.to_string()).unwrap_or_default(),
            dedupe_key: headers.dedupe_key.as_ref().map(|k| k.as_str().into()).unwrap_or_default(),
            content_type: headers.content_type.as_ref().map_or("", |t| t.as_str()).to_owned(),
            door: headers.door.map_or("", Door::as_str).to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use buswire_testkit::VirtualClock;

    use super::*;

    fn source() -> SourceUrl {
        "https://gateway.example/".parse().unwrap()
    }

    fn request() -> v1::PublishRequest {
        v1::PublishRequest {
            bus: "example.com".into(),
            channel: "orders".into(),
            r#type: "order/new".into(),
            payload: r#"{"n": 1.00000000000000000001}"#.into(),
            ..v1::PublishRequest::default()
        }
    }

    #[test]
    fn a_message_keeps_its_payload_to_the_letter() {
        let (bus, message) = new_message(request(), &source()).unwrap();
        assert_eq!(bus.to_string(), "example.com");
        assert_eq!(message.payload.as_str(), r#"{"n": 1.00000000000000000001}"#);
        assert_eq!(message.source, source());
        let given = v1::PublishRequest { source: "https://a.example/x".into(), ..request() };
        let (_, message) = new_message(given, &source()).unwrap();
        assert_eq!(message.source.as_str(), "https://a.example/x");
    }

    #[test]
    fn every_problem_of_a_message_is_named_at_once() {
        let request = v1::PublishRequest {
            bus: "a b".into(),
            channel: "a.b".into(),
            r#type: " ".into(),
            source: "nowhere".into(),
            expires_at: Some(prost_types::Timestamp { seconds: -1, nanos: 0 }),
            payload: "{".into(),
            dedupe_key: "k".repeat(257),
            in_reply_to: "x".into(),
            traceparent: "x".into(),
            ..v1::PublishRequest::default()
        };
        let status = new_message(request, &source()).unwrap_err();
        let names: Vec<_> =
            status.message().split("; ").filter_map(|p| p.split(':').next()).collect();
        assert_eq!(
            names,
            [
                "bus",
                "channel",
                "type",
                "source",
                "expires_at",
                "payload",
                "dedupe_key",
                "in_reply_to",
                "traceparent"
            ]
        );
    }

    #[test]
    fn a_stream_begins_where_it_is_told() {
        let clock = VirtualClock::default();
        let id = "2024-03-09T14:05:21.337Z-0000000000";
        let at = id.parse::<MessageId>().unwrap().sequence();
        let cases = [
            ("", Cursor::Start),
            (id, Cursor::After(at)),
            ("now", Cursor::After(Sequence::at(clock.now()))),
        ];
        for (since, cursor) in cases {
            let request =
                v1::SubscribeRequest { scope: "bus:example.com".into(), since: since.into() };
            assert_eq!(stream(&request, &clock).unwrap().1, cursor, "{since}");
        }
        let request = v1::SubscribeRequest { scope: "nobus".into(), since: "then".into() };
        let status = stream(&request, &clock).unwrap_err();
        assert!(status.message().contains("scope: ") && status.message().contains("since: "));
        assert_eq!(cursor_to_wire(Cursor::After(at)), id);
        assert_eq!(cursor_to_wire(Cursor::Start), "");
    }
}
