//! The three services, and what they share with the runner.
//!
//! Never here: the broker. It holds the services, so one that held it in turn would keep it alive.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::id::RequestId;
use super::ledger::{Counts, Ledger};
use super::record::{Damaged, Record};
use super::{Config, RecordKey, Storage, StorageError, Stored};
use crate::io::Clock;
use crate::service_name::is_mmi;
use crate::{BoxFuture, Frames, LocalRequest, LocalService, ServiceName};

/// Fills bytes with what nobody can predict: the ids of requests are made of it.
pub type Randomness = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// The only statuses there are. They go without a text, since clients of the guide compare the whole
/// frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    /// No reply yet.
    Pending,
    /// Never to succeed.
    Unknown,
    /// May succeed later.
    Error,
}

impl Status {
    const fn frame(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Ok => b"200",
            Self::Pending => b"300",
            Self::Unknown => b"400",
            Self::Error => b"500",
        })
    }
}

impl From<Status> for Frames {
    fn from(status: Status) -> Self {
        Self::from([status.frame()])
    }
}

/// What goes wrong between Titanic and its storage.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// A record that was read.
pub(super) struct Loaded {
    pub(super) record: Record,
    pub(super) revision: u64,
    pub(super) is_ours: bool,
}

/// What the services and the runner share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) storage: Arc<dyn Storage>,
    /// Wakes the runner after the ledger changed.
    pub(super) changed: Notify,
    ledger: Mutex<Ledger>,
    /// Attempts under way, whose number the ledger bounds.
    attempts: Mutex<HashMap<RecordKey, AbortHandle>>,
    randomness: Randomness,
    clock: Clock,
}

impl Shared {
    pub(super) fn new(storage: Arc<dyn Storage>, randomness: Randomness, config: Config) -> Self {
        let mut seed = [0; 8];
        randomness(&mut seed);
        let ledger = Ledger::new(config, u64::from_le_bytes(seed));
        publish(&ledger.counts());
        Self {
            config,
            storage,
            changed: Notify::new(),
            ledger: Mutex::new(ledger),
            attempts: Mutex::default(),
            randomness,
            clock: Clock::start(),
        }
    }

    /// Works on the ledger at the present time, and publishes what it counts if that changed.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Ledger, Duration) -> T) -> T {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let before = ledger.counts();
        let result = work(&mut ledger, self.clock.now());
        if ledger.counts() != before {
            publish(&ledger.counts());
        }
        result
    }

    pub(super) fn attempts(&self) -> MutexGuard<'_, HashMap<RecordKey, AbortHandle>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn request(&self, request: &LocalRequest) -> Frames {
        let Some((service, body)) = target(&request.frames) else { return Status::Unknown.into() };
        // What is closed to the caller does not open by way of Titanic.
        if !request.may_call(&service) {
            return Status::Unknown.into();
        }
        let record = Record::Request { service: service.clone(), body }.encode();
        let mut random = [0; 16];
        (self.randomness)(&mut random);
        let id = RequestId::new(random);
        let Some(room) = Room::reserve(self, id.key(), &service, record.len()) else {
            return Status::Error.into();
        };
        match self.storage.insert(id.key(), record, self.config.request_ttl).await {
            Ok(()) => {
                room.keep();
                Frames::from([Status::Ok.frame(), id.to_frame()])
            }
            // Where it is stored nevertheless, it is executed after the next start, as a request
            // whose answer was lost is.
            Err(error) => failed("titanic.request", &error.into()),
        }
    }

    async fn reply(&self, frames: &Frames) -> Frames {
        let Some(id) = id(frames) else { return Status::Unknown.into() };
        match self.load(id.key()).await {
            Ok(None) => Status::Unknown.into(),
            Ok(Some(loaded)) => match loaded.record {
                Record::Request { .. } => Status::Pending.into(),
                Record::Unanswerable => Status::Error.into(),
                Record::Reply(body) => {
                    let mut frames = Frames::from(Status::Ok);
                    frames.extend(body);
                    frames
                }
            },
            Err(error) => failed("titanic.reply", &error),
        }
    }

    async fn close(&self, frames: &Frames) -> Frames {
        // What is malformed is not known, and closing what is not known is done.
        let Some(id) = id(frames) else { return Status::Ok.into() };
        match self.storage.remove(id.key()).await {
            Ok(()) => {
                self.with(|ledger, now| ledger.close(now, id.key()));
                self.changed.notify_one();
                // Where no worker has the request yet, none gets it.
                if let Some(attempt) = self.attempts().remove(&id.key()) {
                    attempt.abort();
                }
                Status::Ok.into()
            }
            Err(error) => failed("titanic.close", &error.into()),
        }
    }

    /// The record of `key`.
    pub(super) async fn load(&self, key: RecordKey) -> Result<Option<Loaded>, RecordError> {
        let Some(stored) = self.storage.load(key).await? else { return Ok(None) };
        let Stored { record, revision, is_ours, .. } = stored;
        Ok(Some(Loaded { record: Record::decode(record)?, revision, is_ours }))
    }
}

/// The target and the body of a request; `None` if it is malformed, or would come back here or to the
/// broker.
fn target(frames: &Frames) -> Option<(ServiceName, Frames)> {
    let service = ServiceName::parse(frames.get(0)?).ok()?;
    let loops = is_mmi(service.as_bytes()) || service.as_bytes().starts_with(b"titanic.");
    (!loops).then(|| (service, frames.iter().skip(1).cloned().collect()))
}

fn id(frames: &Frames) -> Option<RequestId> {
    frames.get(0).and_then(|frame| RequestId::parse(frame))
}

fn failed(service: &'static str, error: &RecordError) -> Frames {
    tracing::warn!(service, why = ?error, "answered 500");
    Status::Error.into()
}

fn publish(counts: &Counts) {
    let gauge = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    metrics::gauge!("buswire_titanic_pending").set(gauge(counts.pending));
    metrics::gauge!("buswire_titanic_done").set(gauge(counts.done));
    metrics::gauge!("buswire_titanic_in_flight").set(gauge(counts.in_flight));
    metrics::gauge!("buswire_titanic_bytes").set(gauge(counts.bytes));
    metrics::counter!("buswire_titanic_accepted_total").absolute(counts.accepted);
    metrics::counter!("buswire_titanic_refused_total").absolute(counts.refused);
    metrics::counter!("buswire_titanic_answered_total").absolute(counts.answered);
    metrics::counter!("buswire_titanic_failed_attempts_total").absolute(counts.failed_attempts);
    metrics::counter!("buswire_titanic_closed_total").absolute(counts.closed);
    metrics::counter!("buswire_titanic_expired_total").absolute(counts.expired);
}

/// Room for a request while it is being stored; given back if that fails or its caller goes away.
struct Room<'a> {
    shared: &'a Shared,
    key: RecordKey,
    kept: bool,
}

impl<'a> Room<'a> {
    fn reserve(
        shared: &'a Shared,
        key: RecordKey,
        service: &ServiceName,
        bytes: usize,
    ) -> Option<Self> {
        let reserved = shared.with(|ledger, now| ledger.reserve(now, key, service, bytes));
        reserved.is_ok().then_some(Self { shared, key, kept: false })
    }

    /// The request is stored.
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let settle = if self.kept { Ledger::accept } else { Ledger::withdraw };
        self.shared.with(|ledger, now| settle(ledger, now, self.key));
        self.shared.changed.notify_one();
    }
}

/// Which of the services.
#[derive(Clone, Copy, Debug)]
enum Service {
    Request,
    Reply,
    Close,
}

/// One of the services.
pub(super) struct TitanicService {
    service: Service,
    shared: Arc<Shared>,
}

impl TitanicService {
    /// All of them with their names.
    pub(super) fn all(shared: &Arc<Shared>) -> [(ServiceName, Arc<Self>); 3] {
        let offer = |name, service| {
            let offered = Arc::new(Self { service, shared: Arc::clone(shared) });
            (ServiceName::from_static(name), offered)
        };
        [
            offer("titanic.request", Service::Request),
            offer("titanic.reply", Service::Reply),
            offer("titanic.close", Service::Close),
        ]
    }
}

impl LocalService for TitanicService {
    fn call(&self, request: LocalRequest) -> BoxFuture<'static, Frames> {
        let (service, shared) = (self.service, Arc::clone(&self.shared));
        Box::pin(async move {
            match service {
                Service::Request => shared.request(&request).await,
                Service::Reply => shared.reply(&request.frames).await,
                Service::Close => shared.close(&request.frames).await,
            }
        })
    }
}
