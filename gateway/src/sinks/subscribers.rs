//! `push:subscribers`: tells every endpoint that asked for a scope which the message is in.
//!
//! Endpoints are told in groups; a fixed number of them at a time over all routes, in turn, so that a
//! message for many endpoints holds up neither other messages nor the application servers that share
//! the store. An attempt that is cut off goes on behind the last group that was done.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use buswire_belay::{BusReadTarget, CapServer, Handle, Standing};
use buswire_bridge::{Reply, Sink, SinkDelivery, SinkError};
use buswire_message::{Message, MessageId, Version};
use buswire_simplepush::{EndedChannel, NotifyError, SimplePush};
use buswire_store::BoxFuture;
use futures::{StreamExt as _, stream};
use tokio::sync::{Semaphore, broadcast::error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::push::subscriptions::{
    Endpoint, Subscription, SubscriptionError, SubscriptionKey, SubscriptionPage, Subscriptions,
};

/// Endpoints of one message that are told at once.
const AT_ONCE: usize = 32;
/// Endpoints that are told at once over all messages of this gateway; who waits is served in turn.
const AT_ONCE_ALL: usize = 128;
/// Subscriptions that are read at once.
const GROUP: usize = 256;
/// Messages whose progress is remembered. A route has fewer under way; of more the oldest begin anew.
const PROGRESS_MAX: usize = 1024;

/// Tells the endpoints of subscribers. Cheap to clone; all clones share their bounds.
#[derive(Clone, Debug)]
pub(crate) struct Subscribers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    subscriptions: Subscriptions,
    push: SimplePush,
    caps: CapServer,
    turns: Semaphore,
    /// How far messages got whose attempt was cut off.
    progress: Mutex<BTreeMap<MessageId, SubscriptionKey>>,
}

/// What becomes of a subscription when a message comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Its endpoint is told.
    Tell,
    /// Its grant does not allow it, for this message or at this time.
    Pass,
    /// Its grant is over, and so is it.
    End,
}

impl Subscribers {
    pub(crate) fn new(subscriptions: Subscriptions, push: SimplePush, caps: CapServer) -> Self {
        let turns = Semaphore::new(AT_ONCE_ALL);
        Self(Arc::new(Inner { subscriptions, push, caps, turns, progress: Mutex::default() }))
    }

    /// Ends subscriptions with the channels that they are for, until `stop`. One that is missed is
    /// found gone when it is told of the next message.
    ///
    /// # Cancel safety
    ///
    /// May be dropped.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut ended = self.0.push.ended_channels();
        loop {
            let next = tokio::select! {
                () = stop.cancelled() => return,
                next = ended.recv() => next,
            };
            match next {
                Ok(EndedChannel { user_agent, channel, at, .. }) => {
                    let endpoint = Endpoint { user_agent, channel };
                    if let Err(error) = self.0.subscriptions.end(endpoint, at).await {
                        let error = crate::cli::chain(&error);
                        tracing::warn!(%error, "subscriptions could not be ended");
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "too many channels ended at once");
                }
                // The server of which they are is never dropped before.
                Err(RecvError::Closed) => return stop.cancelled().await,
            }
        }
    }
}

impl Sink for Subscribers {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        Box::pin(async move {
            let message = &delivery.message;
            self.0.tell_all(message).await?;
            self.0.progress().remove(&message.id);
            Ok(None)
        })
    }
}

impl Inner {
    async fn tell_all(&self, message: &Message) -> Result<(), SinkError> {
        let scopes =
            self.subscriptions.scopes_of(message).await.map_err(|error| failure(&error))?;
        let mut after = self.progress().get(&message.id).cloned();
        let reached = after.as_ref().and_then(SubscriptionKey::scope);
        let mut verdicts = BTreeMap::new();
        for scope in scopes.into_iter().filter(|scope| reached.is_none_or(|at| *scope >= at)) {
            // Progress within one scope says nothing of the next.
            let mut from = after.take().filter(|_| reached == Some(scope));
            loop {
                let page = self.subscriptions.page(scope, from.as_ref(), GROUP).await;
                let SubscriptionPage { subscriptions, next } =
                    page.map_err(|error| failure(&error))?;
                let last = subscriptions.last().map(|(key, _)| key.clone());
                self.tell_group(message, subscriptions, &mut verdicts).await?;
                if let Some(last) = last {
                    self.remember(message.id, last);
                }
                from = next;
                if from.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn tell_group(
        &self,
        message: &Message,
        group: Vec<(SubscriptionKey, Subscription)>,
        verdicts: &mut BTreeMap<Handle, Verdict>,
    ) -> Result<(), SinkError> {
        let version = Version::of_message(message.id);
        let mut concerned = Vec::with_capacity(group.len());
        for (_, subscription) in group {
            let verdict = match verdicts.get(&subscription.grant) {
                Some(verdict) => *verdict,
                None => self.verdict(&subscription.grant, message).await?,
            };
            verdicts.insert(subscription.grant.clone(), verdict);
            if verdict != Verdict::Pass {
                concerned.push((subscription, verdict));
            }
        }
        let mut telling = stream::iter(concerned)
            .map(|(subscription, verdict)| self.settle(subscription, verdict, version))
            .buffer_unordered(AT_ONCE);
        let mut result = Ok(());
        while let Some(told) = telling.next().await {
            result = result.and(told);
        }
        result
    }

    async fn settle(
        &self,
        subscription: Subscription,
        verdict: Verdict,
        version: Version,
    ) -> Result<(), SinkError> {
        let Ok(_turn) = self.turns.acquire().await else { return Ok(()) };
        let Subscription { scope, endpoint, .. } = subscription;
        let over = verdict == Verdict::End
            || match self
                .push
                .notify_channel(endpoint.user_agent, endpoint.channel, Some(version))
                .await
            {
                Ok(_) => false,
                Err(NotifyError::Gone) => true,
                Err(error) => return Err(SinkError::Retry(error.to_string())),
            };
        if over {
            self.subscriptions.remove(&scope, endpoint).await.map_err(|e| failure(&e))?;
        }
        Ok(())
    }

    async fn verdict(&self, grant: &Handle, message: &Message) -> Result<Verdict, SinkError> {
        let standing = self.caps.standing(grant).await;
        let standing = standing.map_err(|error| SinkError::Retry(error.to_string()))?;
        Ok(match standing {
            Standing::Current { target, bounds, .. } => {
                let (channel, kind) = (message.channel.as_str(), message.kind.as_str());
                let allowed = BusReadTarget::parse(&target).is_ok_and(|target| {
                    target.bus == message.bus
                        && target.channels.admits(channel)
                        && target.types.is_none_or(|types| types.contains(&message.kind))
                });
                let allowed = allowed && bounds.admits_channel(channel) && bounds.admits_type(kind);
                if allowed { Verdict::Tell } else { Verdict::Pass }
            }
            Standing::Dormant => Verdict::Pass,
            Standing::Ended => Verdict::End,
        })
    }

    fn remember(&self, message: MessageId, reached: SubscriptionKey) {
        let mut progress = self.progress();
        progress.insert(message, reached);
        if progress.len() > PROGRESS_MAX {
            progress.pop_first();
        }
    }

    /// A poisoned lock is as good as any: what it guards is changed in single steps.
    fn progress(&self) -> std::sync::MutexGuard<'_, BTreeMap<MessageId, SubscriptionKey>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(error: &SubscriptionError) -> SinkError {
    SinkError::Retry(crate::cli::chain(error))
}
