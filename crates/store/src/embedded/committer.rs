//! The thread that makes changes durable, many at once.
//!
//! Whatever waits when a commit begins is part of it, up to a cap; a lone write begins one at once.
//! Never here: reads.

use std::{collections::VecDeque, sync::Arc, thread};

use buswire_message::{Sequence, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::{
    EmbeddedConfig, Shared,
    disk::{self, DiskError, Segments, guarded},
    open::OpenDatabase,
    room::Room,
};
use crate::{
    batch::{Batch, Outcome},
    copy::Chunk,
    error::StoreError,
    state::{Added, LogId, Plan, Planned, commit_budget},
    store::Swept,
};

/// How often the committer lets others run before a commit.
const YIELDS_MAX: usize = 64;

/// What an entry in memory costs beside its content, in bytes.
const RESIDENT_OVERHEAD: usize = 64;

/// The most that the sweeps of one commit remove beyond what commits remove by themselves, so that
/// nobody waits long for a sweep.
const SWEEP_MAX: usize = 4096;

/// What the committer is asked for.
#[derive(Debug)]
pub(super) enum Request {
    /// Apply a batch.
    Commit(Box<CommitJob>),
    /// Remove what has expired.
    Sweep(SweepJob),
    /// Put in what another store had.
    Import(ImportJob),
    /// Finish what waits, then end.
    Close(oneshot::Sender<()>),
}

/// A batch to apply, and who waits for it.
#[derive(Debug)]
pub(super) struct CommitJob {
    pub(super) batch: Batch,
    pub(super) now: Timestamp,
    pub(super) answer: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// A sweep to do, and who waits for it.
#[derive(Debug)]
pub(super) struct SweepJob {
    pub(super) now: Timestamp,
    pub(super) budget: usize,
    pub(super) answer: oneshot::Sender<Result<Swept, StoreError>>,
}

/// What to put in, and who waits for it.
#[derive(Debug)]
pub(super) struct ImportJob {
    pub(super) chunk: Chunk,
    pub(super) now: Timestamp,
    pub(super) answer: oneshot::Sender<Result<(), StoreError>>,
}

/// Requests of one commit.
#[derive(Debug, Default)]
struct Group {
    // Boxed as they arrive: moving them through the channel and this list stays cheap.
    #[expect(clippy::vec_box, reason = "they arrive boxed")]
    commits: Vec<Box<CommitJob>>,
    sweeps: Vec<SweepJob>,
    imports: Vec<ImportJob>,
    closes: Vec<oneshot::Sender<()>>,
    operations: usize,
    bytes: usize,
}

/// Answers that wait for the commit.
type Answers = Vec<(oneshot::Sender<Result<Outcome, StoreError>>, Result<Outcome, StoreError>)>;

/// Answers to sweeps that wait for the commit.
type SweepAnswers = Vec<(oneshot::Sender<Result<Swept, StoreError>>, Swept)>;

/// Answers to imports that wait for the commit.
type ImportAnswers = Vec<oneshot::Sender<Result<(), StoreError>>>;

/// The committer: the only one that changes the state and the file.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) database: Arc<OpenDatabase>,
    pub(super) segments: Segments,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) config: EmbeddedConfig,
    pub(super) resident: Resident,
    pub(super) room: Room,
    /// The commits of the last group.
    pub(super) gathered: usize,
}

impl Committer {
    /// Serves requests until there can be no more.
    pub(super) fn run(mut self) {
        let mut closes = Vec::new();
        while let Some(first) = self.requests.blocking_recv() {
            let mut group = self.gather(first);
            closes.append(&mut group.closes);
            if !closes.is_empty() {
                self.requests.close();
            }
            self.serve(group);
        }
        // The file must be free before anybody is told that the store is closed.
        drop(self.database);
        for close in closes {
            close.send(()).ok();
        }
    }

    /// Takes what waits, up to the cap.
    ///
    /// Whoever was answered by the last commit is about to send the next request. So while fewer
    /// than half as many have come, the processor is offered to them, a bounded number of times:
    /// else the first to come would have a commit to itself and the others would wait for two. A
    /// writer that is alone is never made to wait.
    fn gather(&mut self, first: Request) -> Group {
        let mut group = Group::default();
        group.add(first);
        for _ in 0..=YIELDS_MAX {
            while group.operations < self.config.group_operations
                && group.bytes < self.config.group_bytes
                && let Ok(next) = self.requests.try_recv()
            {
                group.add(next);
            }
            if 2 * group.commits.len() >= self.gathered || !group.closes.is_empty() {
                break;
            }
            thread::yield_now();
        }
        self.gathered = group.commits.len();
        group
    }

    fn serve(&mut self, group: Group) {
        let ready = self.shared.healthy().and_then(|()| self.room.check(group.adds()));
        if let Err(error) = ready {
            group.fail(&error);
            return;
        }
        let newest = group.times().max().unwrap_or(Timestamp::EPOCH);
        let (mut planned, answers, swept, imported) = self.plan(group);
        let failure = if planned.changes.is_empty() {
            None
        } else {
            self.carry_out(&mut planned, newest).err()
        };
        if let Some(error) = &failure {
            self.shared.poison(error);
        } else if !planned.changes.is_empty() {
            self.publish(planned);
        }
        for (answer, outcome) in answers {
            // A refusal holds whatever became of the others. A dropped future wants no answer.
            let outcome = match (&failure, outcome) {
                (Some(error), Ok(_)) => Err(error.clone()),
                (_, outcome) => outcome,
            };
            answer.send(outcome).ok();
        }
        for (answer, swept) in swept {
            answer.send(failure.clone().map_or(Ok(swept), Err)).ok();
        }
        for answer in imported {
            answer.send(failure.clone().map_or(Ok(()), Err)).ok();
        }
    }

    fn plan(&self, group: Group) -> (Planned, Answers, SweepAnswers, ImportAnswers) {
        let state = self.shared.read();
        let mut plan = Plan::new(&state);
        // One sweep for all, with the earliest time: nothing goes that one of them still sees.
        let earliest = group.times().min().unwrap_or(Timestamp::EPOCH);
        let Group { commits, sweeps, imports, .. } = group;
        let asked = sweeps.iter().fold(0_usize, |sum, job| sum.saturating_add(job.budget));
        let own: usize = commits.iter().map(|job| commit_budget(job.batch.operations.len())).sum();
        let done = plan.sweep(earliest, asked.min(SWEEP_MAX) + own);
        let mut left = done.removed;
        let swept = sweeps.into_iter().map(|job| {
            let removed = left.min(job.budget);
            left -= removed;
            (job.answer, Swept { removed, more: done.more })
        });
        let swept = swept.collect();
        let answers = commits.into_iter().map(|job| {
            let CommitJob { batch, now, answer } = *job;
            (answer, plan.batch(batch, now))
        });
        let answers = answers.collect();
        let imports = imports.into_iter().map(|ImportJob { chunk, answer, .. }| {
            plan.import(chunk);
            answer
        });
        let imported = imports.collect();
        (plan.finish(), answers, swept, imported)
    }

    fn carry_out(&mut self, planned: &mut Planned, now: Timestamp) -> Result<(), StoreError> {
        let (database, segments) = (&self.database.database, &mut self.segments);
        guarded(|| disk::write(database, planned, segments, now)).map_err(|error| match error {
            DiskError::Failed(error) => StoreError::Unavailable(format!(
                "the last commit failed ({error}); free space or repair the disk, then restart"
            )),
            other => StoreError::Corrupt(other.to_string()),
        })
    }

    /// Makes visible what is durable.
    fn publish(&mut self, mut planned: Planned) {
        let changed = std::mem::take(&mut planned.changed);
        let mut state = self.shared.write();
        for added in state.apply(planned) {
            self.resident.add(added);
        }
        while let Some((log, sequence)) = self.resident.excess() {
            state.evict(log, sequence);
        }
        drop(state);
        self.shared.hinter.tell(changed);
    }
}

impl Group {
    fn add(&mut self, request: Request) {
        match request {
            Request::Commit(job) => {
                self.operations += job.batch.operations.len().max(1);
                self.bytes += job.batch.value_bytes();
                self.commits.push(job);
            }
            Request::Sweep(job) => {
                self.operations += job.budget.min(SWEEP_MAX);
                self.sweeps.push(job);
            }
            Request::Import(job) => {
                // Large enough to be a commit of its own.
                self.operations = usize::MAX;
                self.imports.push(job);
            }
            Request::Close(answer) => self.closes.push(answer),
        }
    }

    /// Whether it may need more of the disk.
    fn adds(&self) -> bool {
        !self.commits.is_empty() || !self.imports.is_empty()
    }

    fn fail(self, error: &StoreError) {
        for job in self.commits {
            job.answer.send(Err(error.clone())).ok();
        }
        for job in self.sweeps {
            job.answer.send(Err(error.clone())).ok();
        }
        for job in self.imports {
            job.answer.send(Err(error.clone())).ok();
        }
    }

    /// The time of every request.
    fn times(&self) -> impl Iterator<Item = Timestamp> {
        let commits = self.commits.iter().map(|job| job.now);
        let imports = self.imports.iter().map(|job| job.now);
        commits.chain(self.sweeps.iter().map(|job| job.now)).chain(imports)
    }
}

/// Which entries have their content in memory, oldest first.
///
/// Bounded by bytes. An entry that was swept counts until its turn to be evicted comes.
#[derive(Debug)]
pub(super) struct Resident {
    queue: VecDeque<Added>,
    bytes: usize,
    limit: usize,
}

impl Resident {
    /// Nothing; at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, limit }
    }

    fn add(&mut self, added: Added) {
        self.bytes += added.length as usize + RESIDENT_OVERHEAD;
        self.queue.push_back(added);
    }

    /// The oldest one, if there are too many bytes; it counts no more.
    fn excess(&mut self) -> Option<(LogId, Sequence)> {
        if self.bytes <= self.limit {
            return None;
        }
        let Added { log, sequence, length } = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(length as usize + RESIDENT_OVERHEAD);
        Some((log, sequence))
    }
}
