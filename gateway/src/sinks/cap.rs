//! `cap:`: invokes a capability with POST, whose result is the reply.
//!
//! The argument is `{"type", "payload", "sticky", "from": {"id", "bus", "channel", "source"}}`. One of
//! our own is invoked in the process; another server's over HTTP, without following redirects.

use buswire_belay::{BcapError, BcapValue, CapServer, Method};
use buswire_bridge::{Reply, Sink, SinkDelivery, SinkError};
use buswire_message::{Message, Payload, Secret};
use buswire_store::BoxFuture;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::{Value, json, value::RawValue};

/// The longest answer of another server, in bytes; a longer one fails the attempt.
const ANSWER_MAX: usize = 1024 * 1024;

/// Invokes a capability of this gateway.
#[derive(Debug)]
pub(crate) struct OwnCapSink {
    caps: CapServer,
    id: Secret<String>,
}

impl OwnCapSink {
    pub(crate) fn new(caps: CapServer, id: &str) -> Self {
        Self { caps, id: Secret::new(id.to_owned()) }
    }
}

impl Sink for OwnCapSink {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        Box::pin(async move {
            let argument = serde_json::from_str(&argument(&delivery.message))
                .ok()
                .and_then(|argument: Value| BcapValue::from_json(argument).ok());
            let Some(argument) = argument else {
                return Err(SinkError::Reject("the payload can't be an argument".into()));
            };
            match self.caps.invoke(self.id.expose(), Method::Post, Some(argument)).await {
                Ok(result) => result.map(|result| reply(&result)).transpose(),
                Err(error) => Err(failure(error)),
            }
        })
    }
}

fn reply(result: &BcapValue) -> Result<Reply, SinkError> {
    let no_message = |_| SinkError::Reject("the result holds a capability".to_owned());
    let json = result.to_json().map_err(no_message)?.to_string();
    let payload = Payload::parse(&Bytes::from(json))
        .map_err(|_| SinkError::Reject("the result is null".into()))?;
    Ok(Reply { payload, content_type: None })
}

/// Whether the same invocation may work later.
fn failure(error: BcapError) -> SinkError {
    let text = format!("{} {error}", error.status());
    if is_transient(error.status()) { SinkError::Retry(text) } else { SinkError::Reject(text) }
}

pub(super) const fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// Invokes a capability of another server.
#[derive(Debug)]
pub(crate) struct HttpCapSink {
    http: reqwest::Client,
    url: Secret<String>,
}

impl HttpCapSink {
    pub(crate) const fn new(http: reqwest::Client, url: Secret<String>) -> Self {
        Self { http, url }
    }

    async fn post(&self, delivery: &SinkDelivery) -> Result<Option<Reply>, SinkError> {
        // The error of a request shows its URL, which is the secret.
        let hidden = |error: reqwest::Error| SinkError::Retry(error.without_url().to_string());
        let mut request = self.http.post(self.url.expose()).header("content-type", "text/plain");
        if let Some(trace) = delivery.traceparent {
            request = request.header("traceparent", trace.to_string());
        }
        let body = format!(r#"{{"value":{}}}"#, argument(&delivery.message));
        let response = request.body(body).send().await.map_err(hidden)?;
        let status = response.status().as_u16();
        if is_transient(status) {
            return Err(SinkError::Retry(format!("the server answered {status}")));
        }
        if status != 200 {
            return Err(SinkError::Reject(format!("the server answered {status}")));
        }
        let mut answer = BytesMut::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            answer.extend_from_slice(&chunk.map_err(hidden)?);
            if answer.len() > ANSWER_MAX {
                return Err(SinkError::Reject(format!("the answer exceeds {ANSWER_MAX} bytes")));
            }
        }
        result_of(&answer)
    }
}

impl Sink for HttpCapSink {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        Box::pin(async move { self.post(&delivery).await })
    }
}

/// Reads `{"value": …}`; an empty body is no result (Belay §16.3, §21.4).
pub(super) fn result_of(answer: &[u8]) -> Result<Option<Reply>, SinkError> {
    #[derive(serde::Deserialize)]
    struct Success<'a> {
        #[serde(borrow)]
        value: &'a RawValue,
    }
    if answer.is_empty() {
        return Ok(None);
    }
    let nonsense = || SinkError::Reject("the server's answer is not {\"value\": …}".to_owned());
    let success: Success<'_> = serde_json::from_slice(answer).map_err(|_| nonsense())?;
    let payload = Payload::from_raw(success.value).map_err(|_| nonsense())?;
    Ok(Some(Reply { payload, content_type: None }))
}

/// What a capability is given of a message.
pub(super) fn argument(message: &Message) -> String {
    let from = json!({
        "id": message.id.to_string(),
        "bus": message.bus.to_string(),
        "channel": message.channel.as_str(),
        "source": message.source.as_str(),
    });
    // The payload is spliced in, not parsed: its numbers keep their digits.
    format!(
        r#"{{"type":{},"sticky":{},"from":{from},"payload":{}}}"#,
        Value::from(message.kind.as_str()),
        message.sticky,
        message.payload.as_str(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_other_servers_are_read() {
        let payload = |answer: &str| {
            result_of(answer.as_bytes()).map(|reply| reply.map(|r| r.payload.as_str().to_owned()))
        };
        assert_eq!(payload(""), Ok(None));
        assert_eq!(payload(r#"{"value": {"n": 1.0}}"#), Ok(Some(r#"{"n": 1.0}"#.into())));
        for nonsense in ["null", "{}", "<html>", r#"{"value":null}"#] {
            assert!(matches!(payload(nonsense), Err(SinkError::Reject(_))), "{nonsense}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(matches!(failure(BcapError::NotFound), SinkError::Reject(_)));
        assert!(matches!(failure(BcapError::unavailable()), SinkError::Retry(_)));
        assert!(is_transient(429) && !is_transient(404) && !is_transient(302));
    }
}
