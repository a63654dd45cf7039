//! `cap:urn:x-cap:…`: invokes a capability of a window over the relay, with the argument of `cap:URL`.
//!
//! A window that is not there comes back, as a rule: the attempt fails, and the route tries again.
//! What the window's own capability refuses is refused. Never here: a URL.

use buswire_belay::{Bcap, Method, Relay, RelayError};
use buswire_bridge::{Reply, Sink, SinkDelivery, SinkError};
use buswire_store::BoxFuture;

use super::cap::{argument, is_transient, result_of};

/// Invokes a capability of a window.
#[derive(Debug)]
pub(crate) struct WindowSink {
    relay: Relay,
    cap: Bcap,
}

impl WindowSink {
    pub(crate) const fn new(relay: Relay, cap: Bcap) -> Self {
        Self { relay, cap }
    }
}

impl Sink for WindowSink {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        Box::pin(async move {
            let body = format!(r#"{{"value":{}}}"#, argument(&delivery.message));
            match self.relay.invoke(&self.cap, Method::Post, Some(body)).await {
                Ok(answer) => result_of(answer.unwrap_or_default().as_bytes()),
                Err(error) => Err(failure(&error)),
            }
        })
    }
}

/// Whether the same invocation may work later.
fn failure(error: &RelayError) -> SinkError {
    let text = error.to_string();
    let lasts = match error {
        RelayError::BadMethod | RelayError::Unparsable => true,
        // Status 0: the window itself had no answer from where it asked.
        RelayError::Answered(it) => it.status() != 0 && !is_transient(it.status()),
        RelayError::NotRegistered
        | RelayError::TooMany
        | RelayError::Draining
        | RelayError::Lost
        | RelayError::TimedOut => false,
    };
    if lasts { SinkError::Reject(text) } else { SinkError::Retry(text) }
}

#[cfg(test)]
mod tests {
    use buswire_belay::instance::Failure;

    use super::*;

    #[test]
    fn an_absent_window_is_waited_for_and_a_refusal_is_final() {
        let lasts = |error| matches!(failure(&error), SinkError::Reject(_));
        let answered = |status| RelayError::Answered(Failure::of_status(status));
        assert!(!lasts(RelayError::NotRegistered) && !lasts(RelayError::Lost));
        assert!(!lasts(answered(0)) && !lasts(answered(429)) && !lasts(answered(500)));
        assert!(lasts(answered(404)) && lasts(answered(405)) && lasts(RelayError::Unparsable));
    }
}
