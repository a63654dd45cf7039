//! What a commit consists of and what becomes of it.
//!
//! Never here: applying a batch; that is an engine's.

use buswire_message::Timestamp;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::{
    names::{Key, LogName, Partition},
    read::{Position, Revision},
};

/// The most expectations and the most operations of a batch. A batch is one record of the group
/// commit; more than this many would hold up everybody who waits for the same commit.
pub const OPERATIONS_MAX: usize = 4096;

/// The most bytes of one body or value: 8 MiB.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How safe a change must be before a commit returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ack {
    /// Accepted by the engine and visible; lost if the machine fails before the next safe commit.
    Accepted,
    /// On stable storage; on a replica too where the engine has one.
    Safe,
}

/// A change of one partition, applied whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The partition that changes.
    pub partition: Partition,
    /// What must hold, tested in order, for the operations to be applied.
    pub expectations: SmallVec<[Expectation; 1]>,
    /// What is done, in order; later ones see what earlier ones did.
    pub operations: SmallVec<[Operation; 2]>,
}

/// Why a batch is not one that a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// More than [`OPERATIONS_MAX`] operations or expectations.
    #[error("a batch has at most {OPERATIONS_MAX} operations")]
    TooManyOperations,
    /// A body or value of more than [`VALUE_BYTES_MAX`] bytes.
    #[error("a value has at most {VALUE_BYTES_MAX} bytes")]
    ValueTooLarge,
}

impl Batch {
    /// A batch for `partition` that does nothing yet.
    pub fn new(partition: Partition) -> Self {
        Self { partition, expectations: SmallVec::new(), operations: SmallVec::new() }
    }

    /// The same batch with one more expectation.
    #[must_use]
    pub fn expect(mut self, expectation: Expectation) -> Self {
        self.expectations.push(expectation);
        self
    }

    /// The same batch with one more operation.
    #[must_use]
    pub fn then(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// Checks the bounds; every engine calls it first.
    ///
    /// # Errors
    ///
    /// [`BatchError`].
    pub fn check(&self) -> Result<(), BatchError> {
        if self.expectations.len() > OPERATIONS_MAX || self.operations.len() > OPERATIONS_MAX {
            return Err(BatchError::TooManyOperations);
        }
        let too_large = |operation: &Operation| match operation {
            Operation::Append { body, .. } => body.len() > VALUE_BYTES_MAX,
            Operation::Put { value, .. } => value.len() > VALUE_BYTES_MAX,
            Operation::Raise { .. } | Operation::Tombstone { .. } | Operation::Delete { .. } => {
                false
            }
        };
        if self.operations.iter().any(too_large) { Err(BatchError::ValueTooLarge) } else { Ok(()) }
    }
}

#[cfg(any(feature = "embedded", feature = "redis"))]
impl Batch {
    /// How many bytes its bodies and values have together.
    pub(crate) fn value_bytes(&self) -> usize {
        let bytes = |operation: &Operation| match operation {
            Operation::Append { body, .. } => body.len(),
            Operation::Put { value, .. } => value.len(),
            Operation::Raise { .. } | Operation::Tombstone { .. } | Operation::Delete { .. } => 0,
        };
        self.operations.iter().map(bytes).sum()
    }
}

/// What must hold for a batch to be applied. An expired row is absent; a live tombstone is neither
/// absent nor unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// There is no row of this key.
    Absent(Key),
    /// The row of this key has this revision.
    Unchanged(Key, Revision),
}

/// Names one append among all to the same log, so that repeating it changes nothing. 1 to 256 bytes;
/// remembered as long as the entry that it named is live.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupeId(Bytes);

impl DedupeId {
    /// Takes 1 to 256 bytes; `None` otherwise.
    pub fn new(bytes: impl Into<Bytes>) -> Option<Self> {
        let bytes = bytes.into();
        (1..=256).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// One step of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Appends an entry to a log. If a live entry has the same dedupe id, nothing is appended and
    /// its position is the answer.
    Append {
        /// The log.
        log: LogName,
        /// Makes it repeatable.
        dedupe: Option<DedupeId>,
        /// The content of the entry.
        body: Bytes,
        /// The entry is visible while the time is before this.
        expires: Timestamp,
    },
    /// Writes a row, whatever was there, unless a live tombstone is.
    Put {
        /// Its key.
        key: Key,
        /// Its content.
        value: Bytes,
        /// The row is visible while the time is before this; `None` keeps it for ever.
        expires: Option<Timestamp>,
    },
    /// Raises the version in a row: the greater of the two stays, compared as 64-bit integers. An
    /// absent row has version 0. The expiry is always set to the one given. A row that holds bytes
    /// is replaced.
    Raise {
        /// Its key.
        key: Key,
        /// The version that the row has at least afterwards.
        version: u64,
        /// The row is visible while the time is before this; `None` keeps it for ever.
        expires: Option<Timestamp>,
    },
    /// Buries a row: until `until` it is a tombstone, which no put, raise or delete changes. Of two
    /// tombstones the later end stays.
    Tombstone {
        /// Its key.
        key: Key,
        /// The tombstone is there while the time is before this.
        until: Timestamp,
    },
    /// Removes a row, unless it is a live tombstone. Removing what is not there is done at once.
    Delete {
        /// Its key.
        key: Key,
    },
}

/// What a commit came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every operation was applied; one answer for each.
    Committed(SmallVec<[Applied; 2]>),
    /// The expectation with this index did not hold; nothing was changed.
    Conflict(usize),
}

/// What one operation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// An entry was appended here.
    Appended(Position),
    /// An entry with the same dedupe id was already here.
    Repeated(Position),
    /// The row has this revision.
    Row(Revision),
    /// The row is gone or was not there.
    Deleted,
    /// A live tombstone kept the operation from having an effect.
    Buried,
}
