//! The relay: windows in different partitions, browsers or machines, and the program itself, invoke
//! each other's capabilities through one WebSocket each (Belay §22.4).
//!
//! `README.md` beside this file describes the messages. The relay keeps nothing but which temporary
//! ids were claimed. It sees wire texts in clear and looks at none. Gateways that share a store are
//! joined by it: a window of one is reached from any. Never here: cookies, the `Origin` of a request; a
//! program can claim any.
//!
//! | module | does |
//! |---|---|
//! | `core` | the state machine: ids, calls, bounds |
//! | `wire` | messages as texts |
//! | `claims` | temporary ids in the store |
//! | `joint`, `others` | what gateways that share the store tell each other |
//! | `socket` | one WebSocket |

mod allowance;
mod claims;
mod config;
mod core;
mod error;
#[cfg(any(test, feature = "__harness"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod harness;
mod joint;
mod metrics;
mod others;
mod proof;
mod socket;
mod wire;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use buswire_message::{Clock, Entropy, Limiter, Secret, SecretHash, Timestamp};
use buswire_store::{Revision, Store};
use futures::future::join_all;
use tokio::{
    sync::{Notify, oneshot},
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    claims::Claims,
    core::{CallId, Claimed, ConnectionId, Core, GatewayId, Input, Output, Reach, Shown},
    error::CloseReason,
    joint::{Joint, Note},
    metrics::Metrics,
    wire::{Call, ToPeer},
};
pub use self::{config::RelayConfig, error::RelayError};
use crate::{Bcap, Method, SealKeys, Serialisation};

/// Work on stored claims that waits, at most. More is left undone: an id that is not retired is kept
/// from others by its claim, until that ends.
const CHORES_MAX: usize = 100_000;
/// Work on stored claims that is done at once, so that the store commits it together.
const CHORES_AT_ONCE: usize = 64;

/// The period of limits on claims.
const MINUTE: Duration = Duration::from_secs(60);

/// What an invocation through the relay gives: bcapJson, or nothing for no data.
type Answer = Result<Option<String>, RelayError>;

/// What the relay holds at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RelayStatus {
    /// Connections.
    pub connections: usize,
    /// Instance ids, those included whose owner is disconnected and may come back.
    pub instances: usize,
    /// Calls that wait for their answer.
    pub pending: usize,
}

/// The relay of one gateway. A cheap handle: clones share everything.
///
/// [`router`](Self::router) serves windows; [`invoke`](Self::invoke) is the program's own part.
/// [`run`](Self::run) must run, or nothing times out.
#[derive(Clone)]
pub struct Relay(Arc<Inner>);

struct Inner {
    config: Arc<RelayConfig>,
    claims: Claims,
    joint: Option<Joint>,
    /// Whether other gateways may not know of a window here.
    unsaid: AtomicBool,
    claim_limit: Limiter<IpAddr>,
    all_claims_limit: Limiter<()>,
    clock: Steady,
    shared: Mutex<Shared>,
    /// The first timer is earlier than it was.
    sooner: Notify,
    chores_came: Notify,
    next_id: AtomicU64,
    tracker: TaskTracker,
    metrics: Metrics,
}

/// The state machine and what it acts on, changed together so that messages keep their order.
struct Shared {
    core: Core,
    mailboxes: HashMap<ConnectionId, Mailbox>,
    waiting: HashMap<CallId, Waiter>,
    /// Whom calls went to that wait for another gateway, by their number.
    away: HashMap<u64, GatewayId>,
    /// At most [`CHORES_MAX`].
    chores: VecDeque<Chore>,
    by_source: HashMap<IpAddr, usize>,
    /// When [`Relay::run`] wakes up next.
    armed: Option<Timestamp>,
}

/// What waits for one connection's task. The core bounds the messages.
#[derive(Default)]
struct Mailbox {
    posts: VecDeque<Post>,
    came: Arc<Notify>,
}

/// What a connection's task does next.
enum Post {
    Send(ToPeer),
    Claim { id: String, token: SecretHash, shown: Shown },
    Close(CloseReason),
}

/// Who waits for the answer of a call of the gateway.
enum Waiter {
    Own(oneshot::Sender<Answer>),
    /// Another gateway, which gave it this number.
    Gateway(GatewayId, u64),
}

/// Work on the store that nobody waits for.
enum Chore {
    Forward { tx: u64, call: Call },
    Tell { to: GatewayId, note: Note },
    Left { id: String },
    Renew { id: String, revision: Revision },
    Retire { id: String, revision: Revision },
}

/// Time that never goes back: that of the clock at the start, and what has passed since.
struct Steady {
    start: Timestamp,
    since: Instant,
}

impl Steady {
    fn now(&self) -> Timestamp {
        self.start.saturating_add(self.since.elapsed())
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Relay {
    /// A relay whose claims are in `store`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        config: RelayConfig,
    ) -> Self {
        Self::make(store, clock, entropy, config, None)
    }

    /// The same where other gateways share `store`, and have the same `keys`: windows of one are reached
    /// from all. What gateways tell each other is sealed with the keys.
    pub fn joined(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        config: RelayConfig,
        keys: SealKeys,
    ) -> Self {
        let joint = Joint::new(Arc::clone(&store), Arc::clone(&clock), &*entropy, keys);
        Self::make(store, clock, entropy, config, Some(joint))
    }

    fn make(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        config: RelayConfig,
        joint: Option<Joint>,
    ) -> Self {
        let config = Arc::new(config);
        let start = clock.now();
        let core = Core::new(Arc::clone(&config), entropy);
        let core = if joint.is_some() { core.joined() } else { core };
        Self(Arc::new(Inner {
            claims: Claims::new(store, clock, config.retirement),
            joint,
            unsaid: AtomicBool::new(false),
            claim_limit: Limiter::new(config.claims_per_minute, MINUTE),
            all_claims_limit: Limiter::new(config.all_claims_per_minute, MINUTE),
            clock: Steady { start, since: Instant::now() },
            shared: Mutex::new(Shared {
                core,
                mailboxes: HashMap::new(),
                waiting: HashMap::new(),
                away: HashMap::new(),
                chores: VecDeque::new(),
                by_source: HashMap::new(),
                armed: None,
            }),
            sooner: Notify::new(),
            chores_came: Notify::new(),
            next_id: AtomicU64::new(0),
            tracker: TaskTracker::new(),
            metrics: Metrics::new(),
            config,
        }))
    }

    /// Invokes a capability of a window that is registered here, or at a gateway that shares the store.
    /// `data` is bcapJson; it is `None` for
    /// GET and DELETE, and where there is no data. The result is the window's bcapJson, not looked at.
    ///
    /// # Errors
    ///
    /// [`RelayError`]. After [`RelayError::Lost`] and [`RelayError::TimedOut`] the window may or
    /// may not have acted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up; the window may act on it all the same.
    pub async fn invoke(&self, cap: &Bcap, method: Method, data: Option<String>) -> Answer {
        let id = CallId(self.0.next_id.fetch_add(1, Ordering::Relaxed));
        let (answered, answer) = oneshot::channel();
        self.0.shared().waiting.insert(id, Waiter::Own(answered));
        let _waiting = Waiting { relay: self, id };
        let ser = Secret::new(cap.expose().to_owned());
        let call = Call { ser, method: method.as_str().to_owned(), data };
        self.0.apply(Input::Call(id, call, Reach::Anywhere));
        let answer = answer.await.unwrap_or(Err(RelayError::Draining));
        self.0.metrics.called(answer.is_ok());
        answer
    }

    /// Whether the window whose capability this is has registered here and is connected.
    pub fn is_registered(&self, cap: &Bcap) -> bool {
        let Some(Serialisation::Urn { instance, .. }) = cap.serialisation() else { return false };
        self.0.shared().core.owner(instance.as_str()).is_some()
    }

    /// Minds timeouts, stored claims and other gateways until `stop` is cancelled.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; calls no longer time out then.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.0.mind_timers() => {}
            () = self.0.mind_claims() => {}
            () = self.0.mind_others() => {}
            () = self.0.mind_stays() => {}
        }
    }

    /// Closes every connection with 1001 and lets no new one in. Returns when they are gone.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the connections go on closing.
    pub async fn drain(&self) {
        self.0.apply(Input::Drain);
        self.0.tracker.close();
        self.0.tracker.wait().await;
        if let Some(joint) = &self.0.joint
            && let Err(error) = joint.leave().await
        {
            tracing::warn!(%error, "other gateways are not told that this one ends");
        }
    }

    /// What the relay holds at present.
    pub fn status(&self) -> RelayStatus {
        let shared = self.0.shared();
        let (instances, pending) = shared.core.sizes();
        RelayStatus { connections: shared.mailboxes.len(), instances, pending }
    }
}

/// A call of the program that somebody waits for.
struct Waiting<'a> {
    relay: &'a Relay,
    id: CallId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.relay.0.shared().waiting.remove(&self.id);
        self.relay.0.apply(Input::Cancelled(self.id));
    }
}

impl Inner {
    // Held without waiting for anything. A panic in between leaves nothing half done that matters.
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, input: Input) {
        let mut shared = self.shared();
        shared.core.handle(self.clock.now(), input);
        self.dispatch(&mut shared);
    }

    fn dispatch(&self, shared: &mut Shared) {
        while let Some(output) = shared.core.poll_output() {
            match output {
                Output::Send(to, message) => shared.post(to, Post::Send(message)),
                Output::Claim { by, id, token, shown } => {
                    shared.post(by, Post::Claim { id, token, shown });
                }
                // Without room others find out when they call.
                Output::Left(id) => {
                    self.chore(shared, Chore::Left { id });
                }
                Output::Close(id, reason) => {
                    Metrics::closed(reason);
                    if matches!(reason, CloseReason::Slow | CloseReason::Flood)
                        && let Some(mailbox) = shared.mailboxes.get_mut(&id)
                    {
                        mailbox.posts.clear();
                    }
                    shared.post(id, Post::Close(reason));
                }
                Output::Answer(call, answer) => match shared.waiting.remove(&call) {
                    Some(Waiter::Own(waiting)) => {
                        // Nobody waits any more: then nobody is told.
                        let _unwanted = waiting.send(answer);
                    }
                    // Without room it is as if the window were silent.
                    Some(Waiter::Gateway(to, tx)) => {
                        self.chore(shared, Chore::Tell { to, note: Note::Answer { tx, answer } });
                    }
                    None => {}
                },
                Output::Forward { tx, call } => {
                    if !self.chore(shared, Chore::Forward { tx, call }) {
                        let answer = Err(RelayError::TooMany);
                        shared.core.handle(self.clock.now(), Input::Forwarded { tx, answer });
                    }
                }
                Output::Renew { id, revision } => {
                    if !self.chore(shared, Chore::Renew { id: id.clone(), revision }) {
                        // The next time, then.
                        let put_off = Input::Renewed { id, revision: Some(revision) };
                        shared.core.handle(self.clock.now(), put_off);
                    }
                }
                Output::Retire { id, revision } => {
                    if !self.chore(shared, Chore::Retire { id, revision }) {
                        self.metrics.unretired.increment(1);
                    }
                }
            }
        }
        let next = shared.core.poll_timeout();
        if next.is_some_and(|next| shared.armed.is_none_or(|armed| next < armed)) {
            shared.armed = next;
            self.sooner.notify_one();
        }
    }

    /// Returns whether there was room for it.
    fn chore(&self, shared: &mut Shared, chore: Chore) -> bool {
        let room = shared.chores.len() < CHORES_MAX;
        if room {
            shared.chores.push_back(chore);
            self.chores_came.notify_one();
        }
        room
    }

    async fn mind_timers(&self) {
        loop {
            let armed = self.shared().armed;
            let due = async {
                match armed {
                    Some(at) => time::sleep(at.saturating_since(self.clock.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.sooner.notified() => continue,
                () = due => {}
            }
            let mut shared = self.shared();
            shared.core.handle_timeout(self.clock.now());
            shared.armed = shared.core.poll_timeout();
            self.dispatch(&mut shared);
        }
    }

    async fn mind_claims(&self) {
        loop {
            let chores: Vec<_> = {
                let mut shared = self.shared();
                let many = shared.chores.len().min(CHORES_AT_ONCE);
                shared.chores.drain(..many).collect()
            };
            if chores.is_empty() {
                self.chores_came.notified().await;
            }
            join_all(chores.into_iter().map(|chore| self.mind(chore))).await;
        }
    }

    async fn mind(&self, chore: Chore) {
        match chore {
            Chore::Forward { tx, call } => self.forward(tx, call).await,
            Chore::Left { id } => self.left(&id).await,
            Chore::Tell { to, note } => {
                if let Some(joint) = &self.joint
                    && let Err(error) = joint.tell(to, &note).await
                {
                    tracing::warn!(%error, "another gateway could not be answered");
                }
            }
            Chore::Renew { id, revision } => {
                let renewed = self.claims.renew(&id, revision).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "a claim of an instance id could not be renewed");
                    Some(revision)
                });
                self.apply(Input::Renewed { id, revision: renewed });
            }
            Chore::Retire { id, revision } => {
                if let Err(error) = self.claims.retire(&id, revision).await {
                    // The claim still keeps others from the id.
                    tracing::warn!(%error, "a claim of an instance id could not be retired");
                }
            }
        }
    }

    async fn claim(
        &self,
        id: &str,
        token: &SecretHash,
        shown: Shown,
        source: Option<IpAddr>,
    ) -> Claimed {
        if shown != Shown::Temporary {
            return self.admits(id, token, shown).await;
        }
        let now = self.clock.now();
        // Who is not limited by address, this machine itself, is not limited at all.
        let too_often = source.is_some_and(|it| {
            self.claim_limit.count(it, now).is_err()
                || self.all_claims_limit.count((), now).is_err()
        });
        if too_often { Claimed::TooMany } else { self.claims.claim(id, token).await }
    }

    /// What a connection's task does next.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: what it would have returned stays in the mailbox.
    async fn next_post(&self, id: ConnectionId) -> Post {
        loop {
            let came = match self.shared().mailboxes.get_mut(&id) {
                Some(mailbox) => match mailbox.posts.pop_front() {
                    Some(post) => return post,
                    None => Arc::clone(&mailbox.came),
                },
                None => return Post::Close(CloseReason::Bye),
            };
            came.notified().await;
        }
    }
}

impl Shared {
    fn post(&mut self, to: ConnectionId, post: Post) {
        if let Some(mailbox) = self.mailboxes.get_mut(&to) {
            mailbox.posts.push_back(post);
            mailbox.came.notify_one();
        }
    }
}
