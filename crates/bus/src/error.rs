//! Why a bus did not do what it was asked.
//!
//! Never here: statuses of a protocol; each door maps these itself.

use buswire_message::{BusName, HOP_LIMIT, RetentionError};
use buswire_store::StoreError;

/// Why buses could not be read or administered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The scope names no bus; such a scope is never given to outsiders.
    #[error("the scope names no bus")]
    NoBus,
    /// There is no bus of this name.
    #[error("there is no bus {0}")]
    UnknownBus(BusName),
    /// The bus has another revision than was expected.
    #[error("the bus {0} was changed by somebody else")]
    Changed(BusName),
    /// As many readers wait as may.
    #[error("{max} readers wait already")]
    TooManyWaiters {
        /// How many may wait.
        max: usize,
    },
    /// The store did not answer as it should.
    #[error("the store of the buses failed")]
    Store(#[from] StoreError),
}

/// Why messages were not published. Then none of them was, except as [`Self::Store`] says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no bus of this name.
    #[error("there is no such bus")]
    UnknownBus,
    /// The channel would hold more live messages than it may (Backplane §5.4).
    #[error("the channel holds at most {limit} messages")]
    ChannelFull {
        /// How many live messages the channel may hold.
        limit: u32,
    },
    /// The bus would hold more live messages or bytes than it may.
    #[error("the bus is full")]
    BusFull,
    /// The expiry that was asked for is not one that the bus allows (Backplane §5.2).
    #[error("the expiry is refused")]
    Expiry(#[source] RetentionError),
    /// A payload is longer than allowed.
    #[error("a payload has at most {max} bytes")]
    PayloadTooLarge {
        /// The longest payload in bytes.
        max: usize,
    },
    /// The list has more messages than allowed, or more bytes.
    #[error("a list has at most {max} messages and {bytes_max} bytes")]
    ListTooLarge {
        /// The most messages of a list.
        max: usize,
        /// The most bytes of a list.
        bytes_max: usize,
    },
    /// The message has taken more routes than a message may.
    #[error("a message takes at most {HOP_LIMIT} routes")]
    TooManyHops,
    /// The store did not answer as it should. The messages may have been stored, all or none;
    /// publishing them again is safe if they have dedupe keys.
    #[error("the store of the bus failed")]
    Store(#[source] StoreError),
}

impl From<BusError> for PublishError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Store(store) => Self::Store(store),
            BusError::UnknownBus(_) | BusError::NoBus => Self::UnknownBus,
            // Publishing changes no settings; it is here for the compiler.
            changed @ BusError::Changed(_) => Self::Store(StoreError::Retry(changed.to_string())),
            busy @ BusError::TooManyWaiters { .. } => {
                Self::Store(StoreError::Retry(busy.to_string()))
            }
        }
    }
}
