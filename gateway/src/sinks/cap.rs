//! `cap:`: invokes a capability with POST, whose result is the reply.
//!
//! The argument is `{"type", "payload", "sticky", "from": {"id", "bus", "channel", "source"}}`. One of
//! our own is invoked in the process; another server's over HTTP, where the egress policy lets it.

use buswire_belay::{
    BcapError, BcapValue, CapServer, CapUrl, Egress, EgressError, Method, Origin, Refused,
};
use buswire_bridge::{Reply, RouteProblem, Sink, SinkDelivery, SinkError};
use buswire_message::{Door, Message, Payload, Secret};
use buswire_store::BoxFuture;
use bytes::Bytes;
use serde_json::{Value, json, value::RawValue};

/// Invokes a capability of this gateway.
#[derive(Debug)]
pub(crate) struct OwnCapSink {
    caps: CapServer,
    id: Secret<String>,
}

impl OwnCapSink {
    pub(crate) const fn new(caps: CapServer, id: Secret<String>) -> Self {
        Self { caps, id }
    }
}

impl Sink for OwnCapSink {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        Box::pin(async move {
            let text = Bytes::from(argument(&delivery.message));
            let argument = serde_json::from_slice(&text)
                .ok()
                .and_then(|argument: Value| BcapValue::from_json(argument).ok());
            let Some(argument) = argument else {
                return Err(SinkError::Reject("the payload can't be an argument".into()));
            };
            let origin =
                Origin::new(Door::Belay).traced(Some(delivery.traceparent)).with_text(text);
            let (id, post) = (self.id.expose(), Method::Post);
            match self.caps.invoke_from(origin, id, post, Some(argument)).await {
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
    egress: Egress,
    url: CapUrl,
}

impl HttpCapSink {
    /// Refuses a URL that the egress policy refuses.
    pub(crate) fn new(egress: Egress, url: CapUrl) -> Result<Self, RouteProblem> {
        let refused = |refused: Refused| RouteProblem::SinkUnavailable(refused.to_string());
        egress.policy().check(url.expose()).map_err(refused)?;
        Ok(Self { egress, url })
    }

    async fn post(&self, delivery: &SinkDelivery) -> Result<Option<Reply>, SinkError> {
        let body = format!(r#"{{"value":{}}}"#, argument(&delivery.message));
        let (url, trace) = (self.url.expose(), Some(delivery.traceparent.clone()));
        let answer = self.egress.send(Method::Post, url, Some(body), trace).await;
        let answer = answer.map_err(|error| match error {
            EgressError::Refused(_) | EgressError::TooLong => SinkError::Reject(error.to_string()),
            EgressError::Busy | EgressError::Timeout | EgressError::Unreachable(_) => {
                SinkError::Retry(error.to_string())
            }
        })?;
        match answer.status {
            200..=299 => result_of(&answer.body),
            status if is_transient(status) => {
                Err(SinkError::Retry(format!("the server answered {status}")))
            }
            status => Err(SinkError::Reject(format!("the server answered {status}"))),
        }
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
