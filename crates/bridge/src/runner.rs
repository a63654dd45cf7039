//! The driver of one route: reads the bus, carries out attempts, stores what is settled.
//!
//! One task for each route, whatever the number of attempts under way. No attempt begins unless the
//! lease of this gateway holds, and whatever is stored expects that the route is still owned. Never
//! here: decisions; they are the core's.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buswire_bus::{Buses, PublishError, StoredMessage};
use buswire_message::{
    BusName, ChannelName, Clock, Entropy, HOP_LIMIT, Message, NewMessage, SourceUrl, Timestamp,
    TraceParent, Tracer, Work,
};
use buswire_store::BoxFuture;
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::{Arrival, Attempt, Attempted, Cause, Class, Core, Fate, Limits, Record},
    keeper::SteadyClock,
    lease::Hold,
    ledger::{Ledger, Progress},
    owners::Owned,
    route::Route,
    sink::{Delivery, Reply, Sink, SinkError},
    trace::result_key,
};

/// How many messages are read from the bus at once.
const READ_MAX: usize = 256;
/// How long a read waits for messages before it is begun again.
const READ_WAIT: Duration = Duration::from_secs(600);
/// How long attempts that are under way may take to end when the route stops.
const ENDING_TIME: Duration = Duration::from_secs(1);
/// How long to wait after the bus or the store failed.
const FAILURE_DELAY: Duration = Duration::from_millis(500);

type Lane = (BusName, ChannelName);
type Done = (buswire_message::Sequence, Attempted);

/// What every runner uses.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) buses: Buses,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) steady: SteadyClock,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tracer: Tracer,
    pub(crate) limits: Limits,
    pub(crate) source: SourceUrl,
}

/// What is told of a running route.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) delivered: AtomicU64,
    pub(crate) failed_attempts: AtomicU64,
    pub(crate) dead: AtomicU64,
    /// Dead letters that are stored.
    pub(crate) letters: AtomicU64,
    pub(crate) pending: AtomicU64,
}

/// The right to run a route, for as long as it lasts.
#[derive(Clone, Debug)]
pub(crate) struct Right {
    /// Whether attempts may begin.
    pub(crate) hold: Arc<Hold>,
    /// What changes of what is stored expect.
    pub(crate) owned: Owned,
}

/// The state of one running route.
pub(crate) struct Runner {
    shared: Shared,
    right: Right,
    route: Arc<Route>,
    sink: Arc<dyn Sink>,
    core: Core<Lane, Arc<StoredMessage>>,
    counters: Arc<Counters>,
    attempts: FuturesUnordered<BoxFuture<'static, Done>>,
    recording: Option<BoxFuture<'static, bool>>,
}

impl Runner {
    pub(crate) fn new(
        shared: Shared,
        right: Right,
        route: Route,
        sink: Arc<dyn Sink>,
        progress: Progress,
        counters: Arc<Counters>,
    ) -> Self {
        let created = buswire_message::MessageId::from_sequence(buswire_message::Sequence::ZERO);
        let position = progress.position.unwrap_or_else(|| route.start.cursor(created));
        let mut core = Core::new(route.retry, shared.limits, position, progress.ahead);
        core.set_paused(!route.enabled);
        Self {
            shared,
            right,
            route: Arc::new(route),
            sink,
            core,
            counters,
            attempts: FuturesUnordered::new(),
            recording: None,
        }
    }

    /// Delivers until `shutdown`, or until another gateway owns the route. `paused` changes whether it
    /// does. Attempts under way at shutdown have a moment to end; those that do not are tried again by
    /// whoever runs the route next. What is settled is stored before it returns.
    pub(crate) async fn run(
        mut self,
        mut paused: mpsc::Receiver<bool>,
        shutdown: CancellationToken,
    ) {
        loop {
            self.start_due_attempts();
            self.start_recording();
            let read = read(&self.shared, &self.route, &self.core);
            let due = self.due();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(is_paused) = paused.recv() => self.core.set_paused(is_paused),
                is_owned = finished(&mut self.recording) => {
                    self.recording = None;
                    if !is_owned {
                        return self.give_up();
                    }
                    self.core.handle_recorded(self.shared.clock.now());
                }
                Some(done) = self.attempts.next() => self.settle(done),
                () = sleep(due) => {}
                page = read => self.take(page).await,
            }
            self.counters.pending.store(self.core.pending() as u64, Ordering::Relaxed);
        }
        self.finish().await;
    }

    fn give_up(&self) {
        tracing::warn!(route = %self.route.name, "another gateway has taken a route");
        self.counters.pending.store(0, Ordering::Relaxed);
    }

    async fn finish(mut self) {
        let end = tokio::time::sleep(ENDING_TIME);
        tokio::pin!(end);
        while let Some(done) = tokio::select! {
            done = self.attempts.next() => done,
            () = &mut end => None,
        } {
            self.settle(done);
        }
        self.attempts.clear();
        loop {
            if let Some(recording) = self.recording.take()
                && !recording.await
            {
                return self.give_up();
            }
            self.start_recording();
            if self.recording.is_none() {
                return;
            }
        }
    }

    /// How long until an attempt is due. Nothing is due without the lease: it does not come back.
    fn due(&self) -> Option<Duration> {
        let now = self.shared.clock.now();
        let due = self.core.poll_timeout(now).map(|due| due.saturating_since(now));
        due.filter(|_| self.right.hold.is_held(self.shared.steady.now()))
    }

    fn start_due_attempts(&mut self) {
        let now = self.shared.clock.now();
        while self.right.hold.is_held(self.shared.steady.now())
            && let Some(attempt) = self.core.poll_attempt(now)
        {
            let shared = self.shared.clone();
            let (route, sink) = (Arc::clone(&self.route), Arc::clone(&self.sink));
            self.attempts.push(Box::pin(carry_out(shared, route, sink, attempt, now)));
        }
    }

    fn start_recording(&mut self) {
        if self.recording.is_some() {
            return;
        }
        if let Some(record) = self.core.take_record() {
            let (shared, owned) = (self.shared.clone(), self.right.owned.clone());
            let counters = Arc::clone(&self.counters);
            self.recording = Some(Box::pin(store(shared, owned, counters, record)));
        }
    }

    fn settle(&mut self, (sequence, result): Done) {
        let counter = match &result {
            Attempted::Delivered => &self.counters.delivered,
            Attempted::Retry(_) | Attempted::Reject(_) => &self.counters.failed_attempts,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 8];
        self.shared.entropy.fill(&mut random);
        let now = self.shared.clock.now();
        self.core.handle_attempted(now, sequence, result, u64::from_le_bytes(random));
    }

    async fn take(&mut self, page: Result<buswire_bus::ReadPage, buswire_bus::BusError>) {
        match page {
            Ok(page) => {
                let now = self.shared.clock.now();
                let name = &self.route.name;
                let arrivals = page.messages.into_iter().map(|message| Arrival {
                    sequence: message.id.sequence(),
                    lane: (message.bus.clone(), message.channel.clone()),
                    fate: fate(&message, name),
                    message,
                });
                self.core.handle_arrivals(now, arrivals, page.next);
            }
            Err(error) => {
                tracing::warn!(route = %self.route.name, %error, "a route could not read its bus");
                tokio::time::sleep(FAILURE_DELAY).await;
            }
        }
    }
}

fn fate(message: &Message, route: &buswire_message::RouteName) -> Fate {
    if message.headers.via.contains(route) {
        Fate::Skip
    } else if message.headers.via.len() >= HOP_LIMIT {
        let text = format!("it has taken {HOP_LIMIT} routes, which is the limit");
        Fate::Refuse(Cause::new(Class::HopLimit, text))
    } else {
        Fate::Deliver
    }
}

/// Reads on from where the core is, and waits if there is nothing; for ever if the core has no room.
fn read(
    shared: &Shared,
    route: &Arc<Route>,
    core: &Core<Lane, Arc<StoredMessage>>,
) -> impl Future<Output = Result<buswire_bus::ReadPage, buswire_bus::BusError>> + use<> {
    let (shared, route) = (shared.clone(), Arc::clone(route));
    let (room, from) = (core.room().min(READ_MAX), core.read_from());
    async move {
        if room == 0 {
            return std::future::pending().await;
        }
        let deadline = shared.clock.now().saturating_add(READ_WAIT);
        shared.buses.read_wait(&route.scope, from, room, deadline).await
    }
}

async fn finished(recording: &mut Option<BoxFuture<'static, bool>>) -> bool {
    match recording {
        Some(recording) => recording.await,
        None => std::future::pending().await,
    }
}

async fn sleep(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}

/// Stores a record, however often it takes: going on without it would break the promise of order.
/// Returns `false`, with nothing stored, if the route is not owned any more.
async fn store(
    shared: Shared,
    owned: Owned,
    counters: Arc<Counters>,
    record: Record<Arc<StoredMessage>>,
) -> bool {
    let route = &owned.name;
    loop {
        match shared.ledger.record(&owned, &record, shared.clock.now()).await {
            Ok(true) => break,
            Ok(false) => return false,
            Err(error) => {
                tracing::error!(%route, %error, "the position of a route could not be stored");
                tokio::time::sleep(FAILURE_DELAY).await;
            }
        }
    }
    for dead in &record.dead {
        // The class alone: the text may quote the message, and is kept with it.
        let class = dead.class.map(Class::label);
        tracing::warn!(%route, attempts = dead.attempts, class, "a message became a dead letter");
    }
    if record.dead.is_empty() {
        return true;
    }
    let added = record.dead.len() as u64;
    metrics::counter!("buswire_bridge_dead_letters_total").increment(added);
    counters.dead.fetch_add(added, Ordering::Relaxed);
    let letters = counters.letters.fetch_add(added, Ordering::Relaxed) + added;
    if letters > shared.ledger.dead_max() as u64 {
        match shared.ledger.drop_excess(&owned, shared.clock.now()).await {
            Ok(left) => counters.letters.store(left, Ordering::Relaxed),
            // There is room for them; the next dead letter tries again.
            Err(error) => tracing::warn!(%route, %error, "dead letters could not be dropped"),
        }
    }
    true
}

async fn carry_out(
    shared: Shared,
    route: Arc<Route>,
    sink: Arc<dyn Sink>,
    attempt: Attempt<Arc<StoredMessage>>,
    now: Timestamp,
) -> Done {
    let sequence = attempt.sequence;
    (sequence, attempt_once(&shared, &route, &*sink, attempt, now).await)
}

/// Carries out one attempt, in a span of its own.
pub(crate) async fn attempt_once(
    shared: &Shared,
    route: &Route,
    sink: &dyn Sink,
    attempt: Attempt<Arc<StoredMessage>>,
    now: Timestamp,
) -> Attempted {
    let span = shared.tracer.child(attempt.message.headers.traceparent.clone());
    let (message, number) = (Arc::clone(&attempt.message), attempt.number);
    let result = deliver(shared, route, sink, attempt, now, span.context().clone()).await;
    shared.tracer.end(span, || {
        let work = Work::Deliver {
            route: route.name.clone(),
            sink: route.sink.scheme(),
            bus: message.bus.clone(),
            channel: message.channel.clone(),
            id: message.id,
            attempt: number,
        };
        (work, result.as_ref().err().map(ToString::to_string))
    });
    match result {
        Ok(()) => Attempted::Delivered,
        Err(error) => attempted(error),
    }
}

/// What becomes of a message that a sink did not take.
fn attempted(error: SinkError) -> Attempted {
    let shown = error.to_string();
    match error {
        SinkError::Retry(text) => Attempted::Retry(Cause::new(Class::Unavailable, text)),
        SinkError::Answered(text) => Attempted::Retry(Cause::new(Class::Answered, text)),
        SinkError::TimedOut => Attempted::Retry(Cause::new(Class::Timeout, shown)),
        SinkError::Reject(text) => Attempted::Reject(Cause::new(Class::Refused, text)),
        SinkError::Panicked => Attempted::Reject(Cause::new(Class::Panicked, shown)),
    }
}

/// Delivers a message, with what the route does to it and to the answer.
async fn deliver(
    shared: &Shared,
    route: &Route,
    sink: &dyn Sink,
    attempt: Attempt<Arc<StoredMessage>>,
    now: Timestamp,
    traceparent: TraceParent,
) -> Result<(), SinkError> {
    let message = Arc::clone(&attempt.message);
    let mapped = match route.mapping.apply(&message) {
        Ok(mapped) => Attempt { message: mapped, ..attempt },
        Err(error) => return Err(SinkError::Reject(error.to_string())),
    };
    let Some(delivery) = delivery(route, mapped, now, traceparent) else {
        return Err(SinkError::Reject("it can't be named".into()));
    };
    let deliver = AssertUnwindSafe(sink.deliver(delivery.clone())).catch_unwind();
    let result = match tokio::time::timeout(route.retry.timeout, deliver).await {
        Err(_) => Err(SinkError::TimedOut),
        Ok(Err(_)) => Err(SinkError::Panicked),
        Ok(Ok(result)) => result,
    };
    match (result, &route.reply_type) {
        (Ok(Some(reply)), Some(kind)) => {
            publish_reply(shared, &message, &delivery, reply, kind).await
        }
        (result, _) => result.map(|_| ()),
    }
}

fn delivery(
    route: &Route,
    attempt: Attempt<Arc<StoredMessage>>,
    now: Timestamp,
    traceparent: TraceParent,
) -> Option<Delivery> {
    let message = attempt.message;
    let mut via = message.headers.via.clone();
    via.push(route.name.clone());
    let dedupe_key = result_key(&route.name, message.id)?;
    let deadline = now.saturating_add(route.retry.timeout);
    Some(Delivery { message, via, dedupe_key, traceparent, attempt: attempt.number, deadline })
}

/// Publishes an answer on the channel of the message, whatever the sink saw of it. Repeating it
/// changes nothing.
async fn publish_reply(
    shared: &Shared,
    message: &Message,
    delivery: &Delivery,
    reply: Reply,
    kind: &buswire_message::MessageType,
) -> Result<(), SinkError> {
    let mut answer = NewMessage {
        channel: message.channel.clone(),
        source: shared.source.clone(),
        kind: kind.clone(),
        sticky: false,
        expires_at: None,
        payload: reply.payload,
        headers: buswire_message::Headers::default(),
    };
    answer.headers.traceparent = Some(delivery.traceparent.clone());
    answer.headers.via = delivery.via.clone();
    answer.headers.in_reply_to = Some(message.id);
    answer.headers.dedupe_key = Some(delivery.dedupe_key.clone());
    answer.headers.content_type = reply.content_type;
    match shared.buses.publish(&message.bus, answer).await {
        Ok(_) => Ok(()),
        Err(error) => Err(publish_failure(&error)),
    }
}

fn publish_failure(error: &PublishError) -> SinkError {
    let text = format!("the answer could not be published: {error}");
    match error {
        PublishError::Expiry(_)
        | PublishError::PayloadTooLarge { .. }
        | PublishError::ListTooLarge { .. }
        | PublishError::TooManyHops => SinkError::Reject(text),
        // The bus may be made, or have room again, before the message is given up.
        _ => SinkError::Retry(text),
    }
}
