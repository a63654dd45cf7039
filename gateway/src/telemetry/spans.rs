//! How a span looks to OpenTelemetry: names and attributes after its semantic conventions for messaging
//! and RPC, what they have no name for under `buswire.`.
//!
//! Never here: a payload, a secret; the name of a channel, which may open it, only if the operator
//! wants it.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use buswire_message::{BusName, ChannelName, Door, MessageId, Span, Work};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// Whether names of channels are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    Told,
    Hidden,
}

/// A span as the exporter takes it.
pub(super) fn to_otlp(span: Span, channels: Channels) -> SpanData {
    let Span { context, parent, began, ended, work, failure } = span;
    let Described { name, kind, mut attributes } = describe(&work, channels);
    if failure.is_some() {
        attributes.push(KeyValue::new("error.type", "_OTHER"));
    }
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(context.trace_id()),
            SpanId::from(context.span_id()),
            TraceFlags::SAMPLED,
            false,
            context.state().and_then(|it| it.as_str().parse().ok()).unwrap_or_default(),
        ),
        parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: false,
        span_kind: kind,
        name,
        start_time: at(began),
        end_time: at(ended),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: failure.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("buswire")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn at(since_epoch: Duration) -> SystemTime {
    UNIX_EPOCH.checked_add(since_epoch).unwrap_or(UNIX_EPOCH)
}

struct Described {
    name: Cow<'static, str>,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
}

fn describe(work: &Work, channels: Channels) -> Described {
    match work {
        Work::Publish { bus, channel, door, in_reply_to, id } => {
            let mut attributes = messaging("publish", "send", bus, channel, channels);
            let door = door.map_or("route", Door::as_str);
            attributes.push(KeyValue::new("buswire.door", door));
            attributes.extend(id.map(message_id));
            attributes.extend(
                in_reply_to
                    .map(|id| KeyValue::new("messaging.message.conversation_id", id.to_string())),
            );
            let name = format!("publish {bus}").into();
            Described { name, kind: SpanKind::Producer, attributes }
        }
        Work::Deliver { route, sink, bus, channel, id, attempt } => {
            let mut attributes = messaging("deliver", "process", bus, channel, channels);
            attributes.extend([
                message_id(*id),
                KeyValue::new("messaging.consumer.group.name", route.to_string()),
                KeyValue::new("buswire.sink", *sink),
                KeyValue::new("buswire.attempt", i64::from(*attempt)),
            ]);
            let name = format!("deliver {route}").into();
            Described { name, kind: SpanKind::Consumer, attributes }
        }
        Work::Invoke { kind, method, status } => Described {
            name: format!("invoke {kind}").into(),
            kind: SpanKind::Server,
            attributes: vec![
                KeyValue::new("rpc.system", "belay"),
                KeyValue::new("rpc.service", kind.clone()),
                KeyValue::new("rpc.method", *method),
                KeyValue::new("buswire.status", i64::from(*status)),
            ],
        },
        Work::Request { service } => Described {
            name: format!("request {service}").into(),
            kind: SpanKind::Client,
            attributes: vec![
                KeyValue::new("rpc.system", "majordomo"),
                KeyValue::new("rpc.service", service.clone()),
            ],
        },
    }
}

fn messaging(
    operation: &'static str,
    kind: &'static str,
    bus: &BusName,
    channel: &ChannelName,
    channels: Channels,
) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("messaging.system", "buswire"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", kind),
        KeyValue::new("messaging.destination.name", bus.to_string()),
    ];
    if channels == Channels::Told {
        attributes.push(KeyValue::new("buswire.channel", channel.to_string()));
    }
    attributes
}

fn message_id(id: MessageId) -> KeyValue {
    KeyValue::new("messaging.message.id", id.to_string())
}

#[cfg(test)]
mod tests {
    use buswire_message::{TraceParent, TraceState};

    use super::*;

    fn deliver(failure: Option<&str>) -> Span {
        let (began, ended) = (Duration::from_millis(1500), Duration::from_millis(1750));
        Span {
            context: TraceParent::new(0xabc, 0xdef, true)
                .with_state(TraceState::received([&b"rojo=00f0,1a@b=2"[..]])),
            parent: Some(7),
            began,
            ended,
            work: Work::Deliver {
                route: "work".parse().unwrap(),
                sink: "mdp",
                bus: "shop.example".parse().unwrap(),
                channel: "hunter2".parse().unwrap(),
                id: "2024-03-09T14:05:21.337Z-0000000000".parse().unwrap(),
                attempt: 2,
            },
            failure: failure.map(str::to_owned),
        }
    }

    fn value(span: &SpanData, key: &str) -> Option<String> {
        let attribute = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        attribute.map(|attribute| attribute.value.to_string())
    }

    #[test]
    fn a_span_keeps_its_place_times_and_outcome() {
        let span = to_otlp(deliver(Some("it took too long")), Channels::Hidden);
        assert_eq!(span.span_context.trace_id().to_string(), format!("{:032x}", 0xabc));
        assert_eq!(span.span_context.span_id().to_string(), format!("{:016x}", 0xdef));
        assert_eq!(span.parent_span_id, SpanId::from(7));
        assert_eq!(span.span_context.trace_state().header(), "rojo=00f0,1a@b=2");
        let took = span.end_time.duration_since(span.start_time);
        assert_eq!(took.unwrap(), Duration::from_millis(250));
        assert_eq!(span.status, Status::error("it took too long"));
        assert_eq!(value(&span, "buswire.attempt").as_deref(), Some("2"));
        assert_eq!(to_otlp(deliver(None), Channels::Hidden).status, Status::Unset);
    }

    #[test]
    fn a_channel_is_named_only_if_that_is_wanted() {
        let hidden = to_otlp(deliver(None), Channels::Hidden);
        assert!(!format!("{hidden:?}").contains("hunter2"));
        let told = to_otlp(deliver(None), Channels::Told);
        assert_eq!(value(&told, "buswire.channel").as_deref(), Some("hunter2"));
    }
}
