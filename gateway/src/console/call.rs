//! Calls of `buswire.admin.v1` as JSON over HTTP.
//!
//! A request is a JSON object as the mapping of Protocol Buffers says, an answer too; a stream of answers
//! is server-sent events, each a JSON array of what came in meanwhile. The call itself goes through the
//! gRPC interface, which decides who may make it. Never here: a service or a message by name.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{Extensions, HeaderMap},
    response::{
        IntoResponse as _, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use http::{header, uri::PathAndQuery};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde::Serialize;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};

use super::{Console, error::Failed};

/// What the path of every call begins with.
pub(super) const PREFIX: &str = "/buswire.admin.v1.";
/// How often a quiet stream says that it is there, so that proxies leave it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The most answers in one event.
const BATCH_MAX: usize = 100;
/// An event takes no further answer once it has so many bytes of them, as Protocol Buffers count.
const BATCH_BYTES: usize = 1024 * 1024;
/// The least time between two events: a page that looks on takes little from those who work.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes a call.
pub(super) async fn call(
    State(console): State<Console>,
    Path((service, method)): Path<(String, String)>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, Failed> {
    let path = format!("{PREFIX}{service}/{method}");
    let found = console.0.descriptors.get_service_by_name(&format!("buswire.admin.v1.{service}"));
    let method = found.and_then(|it| it.methods().find(|known| known.name() == method));
    let method = method.ok_or_else(|| Status::unimplemented("there is no such call"))?;
    let request = Request::from_parts(authority(&headers), extensions, parse(&method, &body)?);
    let path = PathAndQuery::try_from(path).map_err(|_| Status::internal("not a path"))?;
    let mut grpc = Grpc::new(console.0.grpc.clone());
    let Ok(()) = grpc.ready().await;
    let codec = Dynamic(method.output());
    if method.is_server_streaming() {
        let answers = grpc.server_streaming(request, path, codec).await?.into_inner();
        // Only then: who may not call takes no place.
        let permit = Arc::clone(&console.0.streams).try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("too many streams are open"))?;
        return Ok(events(answers, permit));
    }
    let answer = grpc.unary(request, path, codec).await?.into_inner();
    Ok(([(header::CONTENT_TYPE, "application/json")], json(&Whole(&answer))?).into_response())
}

/// What the caller shows of who it is; a certificate is among the extensions.
fn authority(headers: &HeaderMap) -> MetadataMap {
    let mut kept = HeaderMap::new();
    for value in headers.get_all(header::AUTHORIZATION) {
        kept.append(header::AUTHORIZATION, value.clone());
    }
    MetadataMap::from_headers(kept)
}

fn parse(method: &MethodDescriptor, body: &[u8]) -> Result<DynamicMessage, Status> {
    let bad = |error: serde_json::Error| Status::invalid_argument(error.to_string());
    let mut json = serde_json::Deserializer::from_slice(body);
    let message = DynamicMessage::deserialize(method.input(), &mut json).map_err(bad)?;
    json.end().map_err(bad)?;
    Ok(message)
}

fn json(answer: &impl Serialize) -> Result<String, Status> {
    serde_json::to_string(answer).map_err(|error| Status::internal(error.to_string()))
}

/// A message, written with its fields that are empty: the page need not know what they are then.
struct Whole<'a>(&'a DynamicMessage);

impl Serialize for Whole<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let options = SerializeOptions::new().skip_default_fields(false);
        self.0.serialize_with_options(serializer, &options)
    }
}

/// The events of a stream; the last tells why it ended. Nothing queues: the next answer is asked for
/// when the page has taken the last event.
fn events(
    answers: impl Stream<Item = Result<DynamicMessage, Status>> + Send + 'static,
    permit: impl Send + 'static,
) -> Response {
    let batches = batches(answers).flat_map(|batch| {
        let (batch, ends): (Vec<_>, Vec<_>) = batch.into_iter().partition(Result::is_ok);
        let batch: Vec<_> = batch.into_iter().filter_map(Result::ok).collect();
        let whole: Vec<_> = batch.iter().map(Whole).collect();
        let answers = (!whole.is_empty()).then(|| json(&whole));
        stream::iter(answers.into_iter().chain(ends.into_iter().filter_map(Result::err).map(Err)))
    });
    let events = tokio_stream::StreamExt::throttle(batches, PAUSE).map(move |batch| {
        let _held = &permit;
        let event = match batch {
            Ok(json) => Event::default().data(json),
            Err(status) => Event::default().event("end").data(Failed::from(status).json()),
        };
        Ok::<_, std::convert::Infallible>(event)
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn bytes_of(answer: &Result<DynamicMessage, Status>) -> usize {
    answer.as_ref().map_or(0, Message::encoded_len)
}

/// The answers of each event: those that are there already, at least one.
fn batches(
    answers: impl Stream<Item = Result<DynamicMessage, Status>> + Send + 'static,
) -> impl Stream<Item = Vec<Result<DynamicMessage, Status>>> + Send {
    stream::unfold(answers.boxed().fuse(), async |mut answers| {
        let first = answers.next().await?;
        let mut bytes = bytes_of(&first);
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX && bytes < BATCH_BYTES {
            let Some(Some(next)) = answers.next().now_or_never() else { break };
            bytes += bytes_of(&next);
            batch.push(next);
        }
        Some((batch, answers))
    })
}

/// Encodes what is described at run time; decodes messages like the one it has.
#[derive(Clone, Debug)]
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(out).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), bytes);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use buswire_proto::FILE_DESCRIPTOR_SET;
    use prost_reflect::{DescriptorPool, Value};

    use super::*;

    #[tokio::test]
    async fn an_event_has_few_large_answers_or_many_small_ones() {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let kind = pool.get_message_by_name("buswire.admin.v1.Message").unwrap();
        let answer = |bytes: usize| {
            let mut message = DynamicMessage::new(kind.clone());
            message.set_field_by_name("payload", Value::String("x".repeat(bytes)));
            Ok(message)
        };
        let mut sizes = vec![BATCH_BYTES / 2; 5];
        sizes.push(3 * BATCH_BYTES);
        sizes.extend([0; BATCH_MAX + 1]);
        let answers: Vec<_> = sizes.into_iter().map(answer).collect();
        let end = Err(Status::unavailable("over"));
        let batches = batches(stream::iter(answers.into_iter().chain([end])));
        let counts: Vec<_> = batches.map(|batch| batch.len()).collect().await;
        assert_eq!(counts, [2, 2, 2, BATCH_MAX, 2]);
    }
}
