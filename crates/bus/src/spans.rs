//! The place of a publish in a trace.
//!
//! Never here: whether and where spans are recorded.

use buswire_message::{BusName, MessageId, NewMessage, OpenSpan, Tracer, Work};

use crate::error::PublishError;

/// A publish that is recorded: which of the messages it is, and what is known of it.
pub(crate) struct Publishing {
    index: usize,
    span: OpenSpan,
    work: Work,
}

/// Gives every message its place in a trace; what came with it is where it comes from. Allocates
/// nothing where nothing is recorded.
pub(crate) fn begin(
    tracer: &Tracer,
    bus: &BusName,
    messages: &mut [NewMessage],
) -> Vec<Publishing> {
    let mut recorded = Vec::new();
    for (index, NewMessage { channel, headers, .. }) in messages.iter_mut().enumerate() {
        let span = tracer.begin(headers.traceparent.take());
        headers.traceparent = Some(span.context().clone());
        if span.is_recorded() {
            let (bus, channel) = (bus.clone(), channel.clone());
            let (door, in_reply_to) = (headers.door, headers.in_reply_to);
            let work = Work::Publish { bus, channel, door, in_reply_to, id: None };
            recorded.push(Publishing { index, span, work });
        }
    }
    recorded
}

/// Tells what became of them.
pub(crate) fn end(
    tracer: &Tracer,
    recorded: Vec<Publishing>,
    ids: &Result<Vec<MessageId>, PublishError>,
) {
    for Publishing { index, span, mut work } in recorded {
        tracer.end(span, || {
            if let Work::Publish { id, .. } = &mut work {
                *id = ids.as_ref().ok().and_then(|ids| ids.get(index).copied());
            }
            (work, ids.as_ref().err().map(ToString::to_string))
        });
    }
}
