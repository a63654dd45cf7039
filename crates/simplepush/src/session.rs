//! A connection together with the table, the store and the wheel, but without its socket.
//!
//! Never here: a socket. The driver hands in frames; the model test does so too.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buswire_message::Timestamp;
use buswire_store::BoxFuture;

use crate::{
    admission::OpenConnection,
    connection::{Command, Connection, Crowding, Effect, Input, Reply, Transmit},
    error::CloseReason,
    id::UserAgentId,
    metrics::Event,
    service::Shared,
    table::{Handle, Recheck},
};

/// How long a `hello` waits whose UserAgent changed its connection too often (§19.1): longer than
/// clients at odds need to notice, shorter than they wait for an answer.
const TAKEOVER_DELAY: Duration = Duration::from_secs(5);

/// A claim that has to wait.
#[derive(Debug)]
struct Held {
    user_agent: UserAgentId,
    until: Timestamp,
}

/// One connection without its socket. Leaves the table when it is dropped.
pub(crate) struct Session {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    core: Connection,
    claimed: Option<UserAgentId>,
    /// While there is one, no effect is carried out.
    held: Option<Held>,
    open: OpenConnection,
    /// When the versions that are pending at `hello` began to be read.
    flush_began: Option<Timestamp>,
    work: Option<BoxFuture<'static, Reply>>,
}

impl Session {
    /// A session for a socket that was just opened.
    pub(crate) fn new(shared: Arc<Shared>, open: OpenConnection) -> Self {
        let mut random = [0; 16];
        shared.entropy.fill(&mut random);
        let crowding = if shared.is_crowded() { Crowding::Crowded } else { Crowding::Room };
        let config = Arc::clone(&shared.config);
        let core = Connection::new(config, shared.steady.now(), random, crowding);
        let handle = Arc::new(Handle::new(shared.next_id()));
        let session = Self {
            shared,
            handle,
            core,
            claimed: None,
            held: None,
            open,
            flush_began: None,
            work: None,
        };
        session.reschedule();
        session
    }

    /// Sees to it that `cx` is woken when something is to be done.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.handle.register(cx.waker());
    }

    /// Says that the connection is to end.
    pub(crate) fn end(&self, reason: CloseReason) {
        self.handle.end(reason);
    }

    /// The time by which timers go.
    pub(crate) fn now(&self) -> Timestamp {
        self.shared.steady.now()
    }

    /// Takes what happened.
    pub(crate) fn handle(&mut self, now: Timestamp, input: Input<'_>) {
        self.core.handle(now, input);
        self.run_effects();
    }

    /// Takes mail, replies of the store and timers that are due. Returns whether there were any.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.now();
        let mut moved = false;
        if let Some(mail) = self.handle.take_mail() {
            moved = true;
            if let Some(reason) = mail.end {
                self.handle(now, Input::End(reason));
            }
            for update in mail.updates.into_values() {
                self.handle(now, Input::Update(update));
            }
            if mail.recheck == Recheck::Wanted {
                self.handle(now, Input::Recheck);
            }
        }
        while let Some(Poll::Ready(reply)) = self.work.as_mut().map(|work| work.as_mut().poll(cx)) {
            moved = true;
            self.work = None;
            if let Some(began) = self.flush_began.take() {
                self.shared.metrics.flush_seconds.record(now.saturating_since(began));
            }
            self.handle(now, Input::Store(reply));
        }
        if let Some(held) = self.held.take_if(|held| held.until <= now) {
            moved = true;
            self.resume(held.user_agent);
        }
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            moved = true;
            self.core.handle_timeout(now);
            self.run_effects();
        }
        moved
    }

    /// What is to be written next; see [`Connection::poll_transmit`].
    pub(crate) fn poll_transmit(&mut self, now: Timestamp) -> Option<Transmit> {
        let transmit = self.core.poll_transmit(now);
        self.run_effects();
        transmit
    }

    /// The state of the connection.
    pub(crate) const fn core(&self) -> &Connection {
        &self.core
    }

    /// Tells the wheel when the session wants to be polled.
    pub(crate) fn reschedule(&self) {
        let held = self.held.as_ref().map(|held| held.until);
        let deadline = [self.core.poll_timeout(), held].into_iter().flatten().min();
        self.handle.set_deadline(deadline);
        self.shared.wheel.schedule(self.now(), &self.handle);
    }

    fn run_effects(&mut self) {
        while self.held.is_none()
            && let Some(effect) = self.core.poll_effect()
        {
            match effect {
                Effect::Claim(uaid) => self.claim(uaid.key()),
                Effect::Release => self.release(),
                Effect::Count(event) => self.count(event),
                Effect::Store(command) => {
                    if matches!(command, Command::Enter(_)) {
                        self.flush_began = Some(self.shared.steady.now());
                    }
                    let (shared, id) = (Arc::clone(&self.shared), self.handle.id());
                    let work = async move { shared.registry.execute(id, command).await };
                    self.work = Some(Box::pin(work));
                }
            }
        }
    }

    fn count(&self, event: Event) {
        self.shared.metrics.count(event);
        if event.refuses_uaid() {
            self.open.count_refused_uaid(self.shared.steady.now());
        }
    }

    /// Enters the table, at once or after a while.
    fn claim(&mut self, user_agent: UserAgentId) {
        let now = self.shared.steady.now();
        let older = self.shared.table.find(user_agent);
        let contested = older.is_some_and(|older| !Arc::ptr_eq(&older, &self.handle));
        if contested && self.shared.takeovers.count(user_agent, now).is_err() {
            let until = now.saturating_add(TAKEOVER_DELAY);
            self.held = Some(Held { user_agent, until });
        } else {
            self.enter(user_agent);
        }
    }

    fn resume(&mut self, user_agent: UserAgentId) {
        // A connection that ends meanwhile must not take the place of one that is there.
        if self.core.is_open() {
            self.enter(user_agent);
        }
        self.run_effects();
    }

    fn enter(&mut self, user_agent: UserAgentId) {
        self.release();
        self.claimed = Some(user_agent);
        self.shared.table.claim(user_agent, &self.handle);
    }

    fn release(&mut self) {
        if let Some(key) = self.claimed.take() {
            self.shared.table.release(key, &self.handle);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.release();
    }
}
