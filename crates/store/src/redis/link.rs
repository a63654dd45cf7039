//! Requests to the server: connecting, trying again, giving up.
//!
//! One task makes the connections; requests wait for it. So nothing of a connection that is being made
//! is lost when whoever waits for it goes away. A request that met an error is sent again only where it
//! is certain that it did not happen, or where repeating it changes nothing. Never here: what requests
//! mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use buswire_message::{Clock, Timestamp};
use redis::{Cmd, RedisError, TlsCertificates, Value, cmd};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    address::Topology,
    config::{RedisConfig, RedisOpenError},
    connection::{Connection, Ear, master, publish_command},
    fault::{Fault, Unconnected, describe},
    journal::{Journal, Written},
    keys::{CLUSTER_SHARDS, Layout, Shard},
    known::Known,
    room::Room,
    server::{Server, Settings},
    wire::{self, Call, Reply, Script, Seen},
};
use crate::{
    batch::{Batch, Outcome},
    error::StoreError,
    hints::Hinter,
    read::Epoch,
    system::SystemClock,
};

/// The layout of keys that this release writes, and the newest that it reads.
const FORMAT: u64 = 1;

/// The first pause before a request is sent again; each is twice as long, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LONGEST: Duration = Duration::from_millis(500);

/// What is asked of the server.
#[derive(Clone)]
pub(super) enum Request {
    /// Run a script. The last is whether repeating it changes nothing.
    Call(Call, Repeat),
    /// Read something by its key.
    Read(Cmd),
    /// Read something on the server that has a shard.
    At(Shard, Cmd),
}

/// Whether a request that may have happened may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    Yes,
    No,
}

/// A connection that may be used.
struct Live {
    connection: Connection,
    /// The server, as sentinels named it.
    master: Option<(String, u16)>,
    /// The connection that hints come over, and where they go.
    hints: Connection,
    ear: Ear,
    /// The name of each script on the server.
    scripts: Arc<[String]>,
    /// The run of the server that has each shard.
    runs: Arc<[String]>,
}

/// What was found when the run of the server was made known.
struct Adopted {
    seen: Seen,
    /// Whether writes are gone that this process knew of.
    is_lossy: bool,
}

/// The way to the server.
pub(super) struct Link {
    pub(super) config: RedisConfig,
    pub(super) layout: Layout,
    pub(super) known: Known,
    journal: Journal,
    pub(super) hinter: Arc<Hinter>,
    live: watch::Sender<Option<Arc<Live>>>,
    /// Told when the connection is let go of.
    left: Notify,
    room: Room,
    places: Semaphore,
    closed: AtomicBool,
    /// Whether it was said that no sentinel tells the master.
    unnamed: AtomicBool,
    made: Timestamp,
    /// Why there is no connection, or why the last commit was refused.
    trouble: Mutex<Option<String>>,
    disk_bytes: AtomicU64,
}

impl Link {
    /// A link that is not connected yet.
    pub(super) fn new(config: RedisConfig) -> Self {
        let shards = match config.address.topology {
            Topology::Single | Topology::Sentinel(_) => 1,
            Topology::Cluster => CLUSTER_SHARDS,
        };
        Self {
            layout: Layout::new(Arc::clone(&config.prefix), shards),
            known: Known::new(shards),
            journal: Journal::default(),
            hinter: Arc::new(Hinter::new()),
            live: watch::Sender::new(None),
            left: Notify::new(),
            room: Room::new(config.waiting_max, config.waiting_bytes_max),
            places: Semaphore::new(config.concurrency.max(1)),
            closed: AtomicBool::new(false),
            unnamed: AtomicBool::new(false),
            made: SystemClock.now(),
            trouble: Mutex::new(None),
            disk_bytes: AtomicU64::new(0),
            config,
        }
    }

    /// Connects, once. To be called before [`keep`](Self::keep).
    pub(super) async fn open(&self) -> Result<(), RedisOpenError> {
        let address = self.config.address.to_string();
        match self.reconnect().await {
            Ok(()) => Ok(()),
            Err(Unconnected::Refused(error)) => Err(error),
            Err(Unconnected::Forbidden(detail)) => Err(RedisOpenError::Rights { address, detail }),
            Err(Unconnected::Untrusted(detail)) => Err(RedisOpenError::Tls { address, detail }),
            Err(Unconnected::Failed(detail)) => {
                Err(RedisOpenError::Unreachable { address, detail })
            }
        }
    }

    /// Runs a script.
    pub(super) async fn call(&self, call: Call, repeat: Repeat) -> Result<Reply, StoreError> {
        Reply::new(self.ask(Request::Call(call, repeat)).await?)
    }

    /// Commits `batch`.
    pub(super) async fn commit(&self, batch: Batch, now: Timestamp) -> Result<Outcome, StoreError> {
        let call = self.commit_call(&batch, &[], now);
        let shard = call.shard;
        let (value, live) = self.answer(Request::Call(call, Repeat::No)).await?;
        let (outcome, seen) = wire::outcome(Reply::new(value)?)?;
        self.acknowledge(shard, batch, &outcome, seen, now);
        // Looked at after it was noted: whoever let go of the connection before has perhaps written
        // again what the next server lacks, and this was not among it.
        if !self.is_kept(&live) {
            return Err(StoreError::Unavailable("the connection was lost meanwhile".to_owned()));
        }
        self.clear();
        Ok(outcome)
    }

    fn is_kept(&self, used: &Arc<Live>) -> bool {
        self.live.borrow().as_ref().is_some_and(|live| Arc::ptr_eq(live, used))
    }

    /// Sends a request until it is answered or patience ends.
    pub(super) async fn ask(&self, request: Request) -> Result<Value, StoreError> {
        self.answer(request).await.map(|(value, _)| value)
    }

    /// The same, with the connection that the answer came over.
    async fn answer(&self, request: Request) -> Result<(Value, Arc<Live>), StoreError> {
        self.usable()?;
        let Some(_room) = self.room.enter(request.bytes()) else {
            return Err(StoreError::Unavailable("too much waits for the server".to_owned()));
        };
        let answered = async {
            let _place = self.places.acquire().await.map_err(|_| closed())?;
            self.usable()?;
            self.attempt(&request).await
        };
        match timeout(self.config.patience, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Unavailable(
                self.trouble().unwrap_or_else(|| "the server does not answer".to_owned()),
            )),
        }
    }

    async fn attempt(&self, request: &Request) -> Result<(Value, Arc<Live>), StoreError> {
        let mut pause = PAUSE_FIRST;
        loop {
            let live = self.live().await?;
            let fault = match request.run(&live).await {
                Ok(value) => return Ok((value, live)),
                Err(error) => Fault::of(&error),
            };
            match fault {
                Fault::NotYet(reason) => self.note(reason),
                Fault::Elsewhere(reason) => self.leave(&live, reason),
                Fault::Unknown(reason) => {
                    self.leave(&live, reason.clone());
                    if request.repeat() == Repeat::No {
                        return Err(StoreError::Unavailable(reason));
                    }
                }
                Fault::Refused(error) => {
                    self.note(error.to_string());
                    return Err(error);
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    /// The connection, as soon as there is one.
    async fn live(&self) -> Result<Arc<Live>, StoreError> {
        if let Some(live) = &*self.live.borrow() {
            return Ok(Arc::clone(live));
        }
        let mut connections = self.live.subscribe();
        let live = connections.wait_for(Option::is_some).await.map_err(|_| closed())?;
        live.clone().ok_or_else(closed)
    }

    /// Lets go of a connection that is of no use, unless another took its place.
    fn leave(&self, left: &Arc<Live>, reason: String) {
        let is_left = self.live.send_if_modified(|live| {
            let is_left = live.as_ref().is_some_and(|live| Arc::ptr_eq(live, left));
            if is_left {
                *live = None;
            }
            is_left
        });
        if is_left {
            let address = &self.config.address;
            tracing::warn!(%address, reason, "the connection to the server is lost");
            self.note(reason);
            self.left.notify_one();
        }
    }

    /// Keeps a connection as long as it is polled. Looks at the server again and again, so that a dead
    /// connection, another master and a loss are noticed although nobody asks for anything, and hints
    /// flow again.
    pub(super) async fn keep(&self) {
        let mut pause = PAUSE_FIRST;
        while self.usable().is_ok() {
            let live = self.live.borrow().clone();
            let Some(live) = live else {
                if self.reconnect().await.is_ok() {
                    pause = PAUSE_FIRST;
                } else {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_LONGEST);
                }
                continue;
            };
            tokio::select! {
                () = self.left.notified() => {}
                () = sleep(self.config.check_interval) => {
                    if let Err(reason) = self.check(&live).await {
                        self.leave(&live, reason);
                    }
                }
            }
        }
    }

    async fn reconnect(&self) -> Result<(), Unconnected> {
        match self.connect().await {
            Ok(live) => {
                self.clear();
                self.live.send_replace(Some(Arc::new(live)));
                // What was published meanwhile was not heard.
                self.hinter.miss();
                Ok(())
            }
            Err(failed) => {
                self.note(failed.to_string());
                Err(failed)
            }
        }
    }

    /// Connects, looks at the server, loads the scripts and makes the run of the server known.
    async fn connect(&self) -> Result<Live, Unconnected> {
        let address = self.config.address.to_string();
        let ear = Ear::new(&self.hinter);
        let tls = self.tls().await?;
        let limit = self.config.connect_timeout + self.config.response_timeout;
        let both = async {
            let master = master(&self.config, tls.as_ref()).await?;
            let connection =
                Connection::open(&self.config, master.as_ref(), tls.clone(), &ear).await?;
            let hints = Connection::open(&self.config, master.as_ref(), tls.clone(), &ear).await?;
            Ok::<_, RedisError>((master, connection, hints))
        };
        let opened = timeout(limit, both).await;
        let (master, mut connection, mut hints) =
            opened.map_err(|_| Unconnected::Failed(format!("{address} does not answer")))??;
        let mut scripts: Vec<String> = Vec::new();
        let mut runs: Vec<String> = Vec::new();
        let mut keeps_all = false;
        for shard in self.layout.shards() {
            let server = self.look(&mut connection, shard).await?;
            server.check(&address)?;
            if !runs.contains(&server.run) {
                server.compare_clocks(&address, SystemClock.now());
                let settings = settings(&mut connection, shard).await;
                settings.check(&address, self.config.durability)?;
                keeps_all = settings.keeps_all();
                scripts = load(&mut connection, shard).await?;
            }
            let run = &server.run;
            let adopted = self.adopt(&mut connection, shard, run, &scripts, keeps_all).await?;
            if adopted.is_lossy {
                self.known.lose(shard, adopted.seen);
                self.replay(&mut connection, shard, &server.run, &scripts).await?;
            }
            // Not before: what was not written again is tried at the next connection.
            self.known.adopt(shard, &server.run, adopted.seen);
            runs.push(server.run);
        }
        hints.listen(&self.layout).await?;
        let (scripts, runs) = (scripts.into(), runs.into());
        Ok(Live { connection, master, hints, ear, scripts, runs })
    }

    /// The files that TLS needs, as they are now.
    async fn tls(&self) -> Result<Option<TlsCertificates>, Unconnected> {
        let files = self.config.tls.clone();
        let read = spawn_blocking(move || files.read()).await;
        Ok(read.map_err(|_| Unconnected::Failed("the runtime ends".to_owned()))??)
    }

    /// The server that the sentinels call master; says so once if they do not tell.
    async fn named(&self) -> Option<(String, u16)> {
        let named = match self.tls().await {
            Ok(tls) => master(&self.config, tls.as_ref()).await.map_err(Unconnected::from),
            Err(failed) => Err(failed),
        };
        match named {
            Ok(named) => {
                self.unnamed.store(false, Ordering::Relaxed);
                named
            }
            Err(reason) => {
                if !self.unnamed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%reason, "no sentinel tells which server is the master");
                }
                None
            }
        }
    }

    async fn look(&self, connection: &mut Connection, shard: Shard) -> Result<Server, Unconnected> {
        let info = connection.run_at(shard, &cmd("INFO")).await?;
        text(&info)
            .and_then(|info| Server::parse(&info))
            .ok_or_else(|| Unconnected::Failed("the server does not say what it is".to_owned()))
    }

    /// Makes the run of the server known to a shard; a new epoch begins where writes are gone.
    async fn adopt(
        &self,
        connection: &mut Connection,
        shard: Shard,
        run: &str,
        scripts: &[String],
        keeps_all: bool,
    ) -> Result<Adopted, Unconnected> {
        let known = self.known.of(shard);
        // All shards of a new store begin the same epoch.
        let fresh = match known.epoch {
            Some(epoch) => SystemClock.now().as_secs().max(epoch.0 + 1),
            None => self.made.as_secs(),
        };
        let mut command = cmd("EVALSHA");
        command
            .arg(Script::Adopt.name(scripts))
            .arg(2)
            .arg(self.layout.meta(shard))
            .arg(self.layout.runs(shard))
            .arg(FORMAT)
            .arg(self.layout.count())
            .arg(run)
            .arg(fresh)
            .arg(&u64::from(shard.0).to_be_bytes())
            .arg(known.run.unwrap_or_default())
            .arg(known.told.map(|epoch| epoch.0.to_string()).unwrap_or_default())
            .arg(&known.sequence.to_be_bytes())
            .arg(&self.layout.least(shard, self.known.greatest()).to_be_bytes())
            .arg(publish_command(&self.config.address.topology))
            .arg(self.layout.hints(shard))
            .arg(self.layout.base(shard))
            .arg(u8::from(self.keeps_runs(keeps_all)))
            .arg(self.config.settling.as_millis().to_string());
        let mut reply = Reply::new(connection.run(&command).await?)?;
        let prefix = || self.config.prefix.to_string();
        let damaged = |error: StoreError| RedisOpenError::Damaged {
            prefix: prefix(),
            detail: error.to_string(),
        };
        let found = reply.decimal().map_err(damaged)?;
        // A format that is older than this one has its migration here, before anything is read.
        if found < FORMAT {
            return Err(RedisOpenError::Older { prefix: prefix(), found }.into());
        }
        if found > FORMAT {
            return Err(RedisOpenError::Newer { prefix: prefix(), found, known: FORMAT }.into());
        }
        let (found, needed) = (reply.decimal().map_err(damaged)?, self.layout.count());
        if found != u64::from(needed) {
            return Err(RedisOpenError::Layout { prefix: prefix(), found, needed }.into());
        }
        let epoch = Epoch(reply.decimal().map_err(damaged)?);
        let is_lossy = reply.integer().map_err(damaged)? == 1;
        let sequence = reply.number().map_err(damaged)?;
        Ok(Adopted { seen: Seen { epoch, sequence }, is_lossy })
    }

    /// Whether all that was acknowledged in a run of the server is there in the next one, if the server
    /// itself keeps all. Another master may lack the last moments. In a cluster another run may be but
    /// another node.
    fn keeps_runs(&self, keeps_all: bool) -> bool {
        match self.config.address.topology {
            Topology::Single => keeps_all,
            Topology::Sentinel(_) => false,
            Topology::Cluster => true,
        }
    }

    /// Writes again what this process was told is written and what the server lost.
    async fn replay(
        &self,
        connection: &mut Connection,
        shard: Shard,
        run: &str,
        scripts: &[String],
    ) -> Result<(), Unconnected> {
        // What is left when this fails, for whatever reason, goes back.
        let mut taken = self.journal.take(shard);
        let count = taken.len();
        while let Some(written) = taken.oldest() {
            let call = self.commit_call(&written.batch, &written.numbers, written.now);
            let value = connection.run(&call.command(scripts, run)).await?;
            let (outcome, seen) = wire::outcome(Reply::new(value)?)?;
            self.known.look(shard, seen);
            taken.done(&outcome);
        }
        tracing::warn!(shard = shard.0, count, "what the server may have lost was written again");
        Ok(())
    }

    /// The call that commits `batch`, or applies again what was given `numbers`.
    fn commit_call(&self, batch: &Batch, numbers: &[u64], now: Timestamp) -> Call {
        let publish = publish_command(&self.config.address.topology);
        wire::commit(&self.layout, batch, numbers, now, self.known.greatest(), publish)
    }

    /// Remembers what a commit came to.
    fn acknowledge(
        &self,
        shard: Shard,
        batch: Batch,
        outcome: &Outcome,
        seen: Seen,
        now: Timestamp,
    ) {
        self.known.see(shard, seen);
        if let Outcome::Committed(applied) = outcome {
            self.journal.note(Written::new(shard, batch, applied, seen.sequence, now));
        }
    }

    async fn check(&self, live: &Live) -> Result<(), String> {
        if live.ear.is_deaf() {
            return Err("the connection for hints is lost".to_owned());
        }
        // A master that is cut off from its replicas does not know that another one was made.
        if live.master.is_some() {
            let named = self.named().await;
            if named.is_some() && named != live.master {
                return Err("the sentinels name another master".to_owned());
            }
        }
        live.hints.clone().run(&cmd("PING")).await.map_err(|error| describe(&error))?;
        let (mut connection, mut bytes) = (live.connection.clone(), BTreeMap::new());
        for (shard, run) in self.layout.shards().zip(live.runs.iter()) {
            let server = self.look(&mut connection, shard).await.map_err(|e| e.to_string())?;
            server.check("the server").map_err(|error| error.to_string())?;
            if server.run != *run {
                return Err("it has started again or changed its role".to_owned());
            }
            bytes.insert(server.run, server.disk_bytes);
        }
        self.disk_bytes.store(bytes.values().sum(), Ordering::Relaxed);
        Ok(())
    }

    /// Says that a commit was taken.
    fn clear(&self) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn note(&self, reason: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Why commits are not taken at present; `None` if they are.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// # Errors
    ///
    /// [`StoreError::Unavailable`] once closed.
    pub(super) fn usable(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }

    /// One shard of each server.
    pub(super) async fn holders(&self) -> Result<Vec<Shard>, StoreError> {
        let live = self.live().await?;
        let mut seen = BTreeSet::new();
        let shards = self.layout.shards().zip(live.runs.iter());
        Ok(shards.filter(|(_, run)| seen.insert(*run)).map(|(shard, _)| shard).collect())
    }

    /// How many requests wait or are under way.
    pub(super) fn busy(&self) -> usize {
        self.room.taken()
    }

    /// Bytes of the append-only files of the servers.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }

    /// Takes no more requests, waits for those under way, lets the connection go.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let all = u32::try_from(self.config.concurrency.max(1)).unwrap_or(u32::MAX);
        // An error means that it was closed before.
        if self.places.acquire_many(all).await.is_ok() {
            self.places.close();
        }
        self.live.send_replace(None);
        self.left.notify_one();
        self.hinter.close();
    }
}

impl Request {
    /// What it is taken to cost while it waits. Reads by a key are small.
    fn bytes(&self) -> usize {
        match self {
            Self::Call(call, _) => call.bytes(),
            Self::Read(_) | Self::At(..) => 0,
        }
    }

    fn repeat(&self) -> Repeat {
        match self {
            Self::Call(_, repeat) => *repeat,
            Self::Read(_) | Self::At(..) => Repeat::Yes,
        }
    }

    async fn run(&self, live: &Live) -> Result<Value, RedisError> {
        let mut connection = live.connection.clone();
        match self {
            Self::Call(call, _) => {
                let run = live.runs.get(usize::from(call.shard.0)).map_or("", String::as_str);
                connection.run(&call.command(&live.scripts, run)).await
            }
            Self::Read(command) => connection.run(command).await,
            Self::At(shard, command) => connection.run_at(*shard, command).await,
        }
    }
}

/// Loads the scripts on the server that has `shard`; their names, in the order of [`Script::ALL`].
async fn load(connection: &mut Connection, shard: Shard) -> Result<Vec<String>, Unconnected> {
    let mut names = Vec::with_capacity(Script::ALL.len());
    for script in Script::ALL {
        let loaded = connection.run_at(shard, cmd("SCRIPT").arg("LOAD").arg(script.text())).await?;
        names.push(text(&loaded).unwrap_or_default());
    }
    Ok(names)
}

/// The settings that decide what the server keeps. A server that does not tell is no failure here.
async fn settings(connection: &mut Connection, shard: Shard) -> Settings {
    let mut settings = Settings::default();
    for (name, setting) in [
        ("maxmemory-policy", &mut settings.policy),
        ("appendonly", &mut settings.appendonly),
        ("appendfsync", &mut settings.appendfsync),
    ] {
        let told = connection.run_at(shard, cmd("CONFIG").arg("GET").arg(name)).await;
        *setting = match told {
            Ok(Value::Map(pairs)) => pairs.first().and_then(|(_, value)| text(value)),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(error = describe(&error), "the server does not tell its settings");
                None
            }
        };
    }
    settings
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("closed".to_owned())
}
