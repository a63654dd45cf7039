//! A stream of messages.
//!
//! Never here: what to ask for next and when, which `poll` decides.

use futures::Stream;
use tokio::time::{Instant, sleep_until};

use super::{
    answer::Message,
    error::ClientError,
    poll::{Poller, Position, Step},
    two::Client,
};

/// The messages that a client may read, one after the other, without end.
#[derive(Debug)]
pub struct MessageStream {
    client: Client,
    poller: Poller,
}

impl MessageStream {
    pub(super) fn new(client: Client, from: Position) -> Self {
        let poller = Poller::new(from, client.settings().idle, client.settings().backoff);
        Self { client, poller }
    }

    /// The next message, waiting for it as long as it takes.
    ///
    /// Each message comes once, in the order of the bus, also over lost connections, refused tokens
    /// and restarted servers; what the server has dropped by then is gone. Failures that may pass
    /// are waited out, as [`Settings::backoff`](super::Settings) says.
    ///
    /// # Errors
    ///
    /// The failure that was one too many, and failures that do not pass, such as a revoked grant.
    /// The stream stays where it is: a further call tries again.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: no message is lost.
    pub async fn next(&mut self) -> Result<Message, ClientError> {
        loop {
            let from = match self.poller.step(Instant::now()) {
                Step::Deliver(message) => return Ok(message),
                Step::Wait(until) => {
                    sleep_until(until).await;
                    continue;
                }
                Step::Ask(from) => from,
            };
            let asked = Instant::now();
            match self.client.poll(&from, self.client.settings().block).await {
                Ok(page) => self.poller.page(page, asked),
                Err(error) if error.is_transient() => {
                    let asked_away = match &error {
                        ClientError::Refused(refusal) => refusal.retry_after,
                        _ => None,
                    };
                    if !self.poller.failed(Instant::now(), asked_away, self.random()) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Behind the last message that [`next`](Self::next) gave: where to begin after a restart.
    pub const fn position(&self) -> &Position {
        self.poller.position()
    }

    /// The same as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<Message, ClientError>> + Send {
        futures::stream::unfold(self, async |mut stream| Some((stream.next().await, stream)))
    }

    fn random(&self) -> u32 {
        let mut bytes = [0; 4];
        self.client.settings().entropy.fill(&mut bytes);
        u32::from_ne_bytes(bytes)
    }
}
