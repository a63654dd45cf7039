//! What a program holds of a client: handles to its task.
//!
//! Never here: the conversation.

use std::{
    collections::BTreeMap,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buswire_message::{Entropy as _, Timestamp, Version};
use buswire_store::system::SystemEntropy;
use futures::Stream;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_rustls::rustls::ClientConfig;
use tokio_util::task::TaskTracker;

use super::{
    agent::{Agent, Refusal, Settings},
    driver::{Command, Driver},
    name::Endpoint,
    state::ClientState,
    storage::{MemoryStorage, Storage},
    transport::{Address, Link, system_tls},
};
use crate::id::ChannelId;

/// Wishes that wait while the task is busy; whoever has one more waits itself.
const COMMANDS_MAX: usize = 64;

/// Why a client was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The URL is not that of a WebSocket.
    #[error("the URL of a push server begins with ws:// or wss://")]
    Url,
    /// The certificates that this system trusts can't be read.
    #[error("the trusted certificates of this system can't be used")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// The state can't be loaded.
    #[error("the state of the push client can't be loaded")]
    Storage(#[source] io::Error),
}

/// Why a client came to its end by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The state can't be saved: going on would mean to forget channels.
    #[error("the state of the push client can't be saved")]
    Storage(#[source] io::Error),
}

/// The client has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the push client has ended")]
pub struct Closed;

/// Why a channel was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// It is not granted. Trying again at once does not help.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The client has ended, or the channel was given up meanwhile.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Whether a client has a server to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connectivity {
    /// It has none at the moment and tries to get one.
    Offline,
    /// It has greeted one: channels can be registered and versions arrive.
    Ready,
}

/// What a client tells its program.
#[derive(Debug)]
pub enum Event {
    /// A channel has a version that was not acknowledged yet.
    Update(Update),
    /// The server forgot this UserAgent and the channel was registered anew. The endpoint is another one,
    /// for the application server; versions may have been lost: read what the channel stands for.
    Moved(ChannelId, Endpoint),
    /// The server forgot this UserAgent and does not register the channel again: it is given up.
    Lost(ChannelId, Refusal),
}

/// A version that waits to be acknowledged. If it is dropped instead, it comes again when the server
/// reminds of it, after a restart at the latest.
pub struct Update {
    channel: ChannelId,
    version: Version,
    data: Option<String>,
    commander: mpsc::WeakSender<Command>,
}

impl Update {
    pub(super) const fn new(
        channel: ChannelId,
        version: Version,
        data: Option<String>,
        commander: mpsc::WeakSender<Command>,
    ) -> Self {
        Self { channel, version, data, commander }
    }

    /// The channel.
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Its latest version. Earlier ones may have been skipped.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// What the application server passed along, if the server delivers that. It may be missing.
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// Says that the program has taken this version: it is stored, then acknowledged, and does not come
    /// again.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the client has ended: the version comes again.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the version was acknowledged or it comes again.
    pub async fn acknowledge(&self) -> Result<(), Closed> {
        let commands = self.commander.upgrade().ok_or(Closed)?;
        let acknowledge = |done| Command::Acknowledge(self.channel, self.version, done);
        ask(&commands, acknowledge).await
    }
}

impl fmt::Debug for Update {
    /// Shows no data: it is the application's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, version, .. } = self;
        f.debug_struct("Update").field("channel", channel).field("version", version).finish()
    }
}

/// Sends a command and waits for its answer.
async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Closed> {
    let (sender, answer) = oneshot::channel();
    commands.send(command(sender)).await.map_err(|_| Closed)?;
    answer.await.map_err(|_| Closed)
}

/// A UserAgent. Cheap to clone; it ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    connectivity: watch::Receiver<Connectivity>,
    tasks: TaskTracker,
}

impl Client {
    /// Begins to describe a client of the server at `url`, which begins with `ws://` or `wss://`.
    ///
    /// # Errors
    ///
    /// [`StartError::Url`].
    pub fn builder(url: &str) -> Result<Builder, StartError> {
        let home = Address::parse(url).ok_or(StartError::Url)?;
        let storage = Box::<MemoryStorage>::default();
        Ok(Builder { home, storage, settings: Settings::default(), tls: None })
    }

    /// Registers a channel and returns its endpoint, which the application server needs. A channel that
    /// is registered already keeps its endpoint. Waits until the server can be reached.
    ///
    /// # Errors
    ///
    /// [`RegisterError`].
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the client goes on to register the channel and tells of it as
    /// [`Event::Moved`] or to the next call.
    pub async fn register(&self, channel: ChannelId) -> Result<Endpoint, RegisterError> {
        Ok(ask(&self.commands, |done| Command::Register(channel, done)).await??)
    }

    /// Registers a channel with a new name.
    ///
    /// # Errors
    ///
    /// [`RegisterError`].
    ///
    /// # Cancel safety
    ///
    /// As [`register`](Self::register).
    pub async fn register_new(&self) -> Result<(ChannelId, Endpoint), RegisterError> {
        let mut random = [0; 16];
        SystemEntropy.fill(&mut random);
        let channel = ChannelId::from_random(random);
        Ok((channel, self.register(channel).await?))
    }

    /// Gives a channel up: when it returns, no more versions of it are told, and the server learns of it
    /// at once or with the next connection.
    ///
    /// # Errors
    ///
    /// [`Closed`].
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the channel was given up or not.
    pub async fn unregister(&self, channel: ChannelId) -> Result<(), Closed> {
        ask(&self.commands, |done| Command::Unregister(channel, done)).await
    }

    /// Says that the network may have changed: if there is no connection, one is tried at once.
    ///
    /// # Errors
    ///
    /// [`Closed`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn wake(&self) -> Result<(), Closed> {
        self.commands.send(Command::Wake).await.map_err(|_| Closed)
    }

    /// Whether there is a connection, now and later.
    pub fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.connectivity.clone()
    }

    /// Ends the client, also for its other clones, and returns when its connection is closed.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the client may go on.
    pub async fn close(self) {
        // A task that has ended takes no commands.
        self.commands.send(Command::Stop).await.unwrap_or_default();
        self.tasks.wait().await;
    }
}

/// The events of a client, in order for each channel; a [`Stream`] too. Ends with the client.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Result<Event, ClientError>>);

impl Events {
    /// The next event; `None` when the client has ended.
    ///
    /// # Errors
    ///
    /// Why the client ended by itself; nothing comes after it.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: no event is lost.
    pub async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        self.0.recv().await
    }
}

impl Stream for Events {
    type Item = Result<Event, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// A client before it is started.
pub struct Builder {
    home: Address,
    storage: Box<dyn Storage>,
    settings: Settings,
    tls: Option<Arc<ClientConfig>>,
}

impl Builder {
    /// Keeps the state in `storage`; without it the client is a new UserAgent every time.
    #[must_use]
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Box::new(storage);
        self
    }

    /// Changes when things are done.
    #[must_use]
    pub const fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Speaks TLS in this way; without it, with the certificates that the system trusts.
    #[must_use]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Loads the state and starts the task of the client on the present runtime. The connection comes
    /// later: see [`Client::connectivity`].
    ///
    /// # Errors
    ///
    /// [`StartError`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: nothing was started.
    pub async fn start(mut self) -> Result<(Client, Events), StartError> {
        let tls = match self.tls {
            None if self.home.secure => Some(system_tls()?),
            tls => tls,
        };
        let state: ClientState = self.storage.load().await.map_err(StartError::Storage)?;
        let (commands, command_receiver) = mpsc::channel(COMMANDS_MAX);
        let (event_sender, events) = mpsc::channel(1);
        let (connectivity_sender, connectivity) = watch::channel(Connectivity::Offline);
        let driver = Driver {
            agent: Agent::new(self.settings, state, Timestamp::default()),
            started: Instant::now(),
            home: self.home,
            tls,
            link: Link::default(),
            storage: self.storage,
            commands: command_receiver,
            commander: commands.downgrade(),
            events: event_sender,
            connectivity: connectivity_sender,
            waiters: BTreeMap::new(),
        };
        let tasks = TaskTracker::new();
        tasks.spawn(driver.run());
        tasks.close();
        Ok((Client { commands, connectivity, tasks }, Events(events)))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
