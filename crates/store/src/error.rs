//! Why a store did not do what it was asked.
//!
//! Never here: conflicts; they are an [`Outcome`](crate::Outcome), not an error.

use crate::batch::BatchError;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It may work if it is tried again at once: too many wait, or a leader changes.
    #[error("the store is busy: {0}")]
    Retry(String),
    /// The batch is not one that a store takes; trying again does not help.
    #[error("the store refused the batch")]
    Refused(#[from] BatchError),
    /// The store can't be written or reached: a full disk, a lost connection, closed. Nothing was
    /// changed unless `commit` was under way, and then whole or not at all.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored can't be trusted.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
}
