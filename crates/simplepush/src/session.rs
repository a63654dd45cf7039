//! A connection together with the table, the store and the wheel, but without its socket.
//!
//! Never here: a socket. The driver hands in frames; the model test does so too.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buswire_message::Timestamp;
use buswire_store::BoxFuture;

use crate::{
    connection::{Connection, Effect, Input, Reply, Transmit},
    error::CloseReason,
    id::UserAgentId,
    service::Shared,
    table::{Handle, Recheck},
};

/// One connection without its socket. Leaves the table when it is dropped.
pub(crate) struct Session {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    core: Connection,
    claimed: Option<UserAgentId>,
    work: Option<BoxFuture<'static, Reply>>,
}

impl Session {
    /// A session for a socket that was just opened.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let mut random = [0; 16];
        shared.entropy.fill(&mut random);
        let core = Connection::new(Arc::clone(&shared.config), shared.steady.now(), random);
        let handle = Arc::new(Handle::new(shared.next_id()));
        let session = Self { shared, handle, core, claimed: None, work: None };
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
            self.handle(now, Input::Store(reply));
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
        self.core.poll_transmit(now)
    }

    /// The state of the connection.
    pub(crate) const fn core(&self) -> &Connection {
        &self.core
    }

    /// Tells the wheel when the session wants to be polled.
    pub(crate) fn reschedule(&self) {
        self.handle.set_deadline(self.core.poll_timeout());
        self.shared.wheel.schedule(self.now(), &self.handle);
    }

    fn run_effects(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Claim(uaid) => {
                    self.release();
                    let key = uaid.key();
                    self.claimed = Some(key);
                    self.shared.table.claim(key, &self.handle);
                }
                Effect::Release => self.release(),
                Effect::Store(command) => {
                    let shared = Arc::clone(&self.shared);
                    let work = async move { shared.registry.execute(command).await };
                    self.work = Some(Box::pin(work));
                }
            }
        }
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
