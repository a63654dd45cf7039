//! The task of a client: it carries bytes, time and the program's wishes to the state machine.
//!
//! Never here: what a message means.

use std::{collections::BTreeMap, io, sync::Arc};

use buswire_message::{Entropy as _, Timestamp, Version};
use buswire_store::system::SystemEntropy;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_rustls::rustls::ClientConfig;

use super::{
    agent::{Agent, Input, News, Output, Refusal},
    handle::{ClientError, Connectivity, Event, Update},
    name::Endpoint,
    storage::Storage,
    transport::{Address, Happening, Link},
};
use crate::id::ChannelId;

/// What the program asks of the task.
pub(super) enum Command {
    Register(ChannelId, oneshot::Sender<Result<Endpoint, Refusal>>),
    Unregister(ChannelId, oneshot::Sender<()>),
    Acknowledge(ChannelId, Version, oneshot::Sender<()>),
    Wake,
    Stop,
}

/// The end that a program holds of a client's events.
pub(super) type EventSender = mpsc::Sender<Result<Event, ClientError>>;

pub(super) struct Driver {
    pub(super) agent: Agent,
    pub(super) started: Instant,
    pub(super) home: Address,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) link: Link,
    pub(super) storage: Box<dyn Storage>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// For the updates that are handed out; it does not keep the client going.
    pub(super) commander: mpsc::WeakSender<Command>,
    pub(super) events: EventSender,
    pub(super) connectivity: watch::Sender<Connectivity>,
    /// Who waits for a registration.
    pub(super) waiters: BTreeMap<ChannelId, Vec<oneshot::Sender<Result<Endpoint, Refusal>>>>,
}

impl Driver {
    /// Runs until the program lets go of the client or its state can't be saved.
    pub(super) async fn run(mut self) {
        let worked = self.work().await;
        self.link.close().await;
        if let Err(error) = worked {
            // Nobody may be listening any more.
            self.events.send(Err(ClientError::Storage(error))).await.unwrap_or_default();
        }
    }

    async fn work(&mut self) -> io::Result<()> {
        let events = self.events.clone();
        loop {
            let due = self.agent.poll_timeout();
            let wake_up = self.started + due.saturating_since(Timestamp::default());
            let has_news = self.agent.has_news() && !events.is_closed();
            tokio::select! {
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => return Ok(()),
                    Some(command) => self.on_command(command).await?,
                },
                happening = self.link.next() => self.on_happening(&happening).await?,
                () = sleep_until(wake_up), if due != Timestamp::MAX => {
                    self.agent.handle_timeout(self.now());
                    self.carry_out().await?;
                }
                permit = events.reserve(), if has_news => {
                    if let (Ok(permit), Some(news)) = (permit, self.agent.poll_news()) {
                        permit.send(Ok(event(news, &self.commander)));
                    }
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::default().saturating_add(self.started.elapsed())
    }

    async fn handle(&mut self, input: Input<'_>) -> io::Result<()> {
        self.agent.handle(self.now(), input);
        self.carry_out().await
    }

    async fn on_command(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Register(channel, waiter) => {
                let waiters = self.waiters.entry(channel).or_default();
                waiters.retain(|waiter| !waiter.is_closed());
                waiters.push(waiter);
                self.handle(Input::Register(channel)).await
            }
            Command::Unregister(channel, done) => {
                self.waiters.remove(&channel);
                self.handle(Input::Unregister(channel)).await?;
                done.send(()).or(Ok(()))
            }
            Command::Acknowledge(channel, version, done) => {
                self.handle(Input::Acknowledge(channel, version)).await?;
                done.send(()).or(Ok(()))
            }
            Command::Wake => self.handle(Input::Wake).await,
            Command::Stop => Ok(()),
        }
    }

    async fn on_happening(&mut self, happening: &Happening) -> io::Result<()> {
        match happening {
            Happening::Opened => self.handle(Input::Opened).await,
            Happening::Text(text) => self.handle(Input::Text(text)).await,
            Happening::Frame => self.handle(Input::Frame).await,
            Happening::Gone(code) => {
                self.on_gone(*code);
                self.carry_out().await
            }
        }
    }

    fn on_gone(&mut self, code: Option<u16>) {
        tracing::debug!(code, "the push connection is gone");
        let mut random = [0; 4];
        SystemEntropy.fill(&mut random);
        let random = u32::from_le_bytes(random);
        self.agent.handle(self.now(), Input::Gone { code, random });
    }

    /// Does what the state machine wants done, in order.
    async fn carry_out(&mut self) -> io::Result<()> {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::Connect(url) => self.connect(url.as_deref()),
                Output::Send(text) => self.link.send(text).await,
                Output::Disconnect => {
                    self.link.close().await;
                    self.on_gone(None);
                }
                Output::Save => self.storage.save(self.agent.state()).await?,
                Output::Registered(channel, result) => {
                    for waiter in self.waiters.remove(&channel).unwrap_or_default() {
                        // Whoever does not wait any more does not need it.
                        waiter.send(result.clone()).unwrap_or_default();
                    }
                }
            }
        }
        let ready = self.agent.is_ready();
        let now = if ready { Connectivity::Ready } else { Connectivity::Offline };
        self.connectivity.send_if_modified(|shown| std::mem::replace(shown, now) != now);
        Ok(())
    }

    /// A redirect from an encrypted connection to one in clear, or to no WebSocket at all, is not
    /// followed.
    fn connect(&mut self, url: Option<&str>) {
        let redirect = url.and_then(Address::parse).filter(|to| to.secure || !self.home.secure);
        self.link.open(redirect.unwrap_or_else(|| self.home.clone()), self.tls.clone());
    }
}

fn event(news: News, commander: &mpsc::WeakSender<Command>) -> Event {
    match news {
        News::Version(channel, told) => {
            Event::Update(Update::new(channel, told.version, told.data, commander.clone()))
        }
        News::Registered(channel, Ok(endpoint)) => Event::Moved(channel, endpoint),
        News::Registered(channel, Err(refusal)) => Event::Lost(channel, refusal),
    }
}
