//! What administration of the door can fail with.

use buswire_bus::BusError;
use buswire_message::{BusName, RetentionError};
use buswire_store::StoreError;

use crate::{
    rules::names::{AccountNameError, ClientId, OwnerName},
    state::password::Busy,
};

/// Why an administrative call did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// A name or a value is not well-formed.
    #[error("a name or value is not well-formed")]
    Name(#[from] AccountNameError),
    /// Retention settings are out of bounds.
    #[error("retention settings are refused")]
    Retention(#[from] RetentionError),
    /// The bus is of the other generation: `v1/…` for 2.0, or the reverse.
    #[error("the bus {0} is of the other generation")]
    WrongRealm(BusName),
    /// There is no bus of this name.
    #[error("Invalid bus: {0}")]
    UnknownBus(BusName),
    /// There is no bus owner of this name.
    #[error("Invalid bus owner: {0}")]
    UnknownOwner(OwnerName),
    /// There is no client of this id.
    #[error("invalid client_id")]
    UnknownClient(ClientId),
    /// There is a client of this id.
    #[error("there is a client {0} already")]
    ClientExists(ClientId),
    /// It has another revision than was expected, or is not there; nothing was changed.
    #[error("the {kind} {name} was changed meanwhile")]
    Changed {
        /// What it is: `owner`, `user`, `client`, `grant`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A grant must name at least one bus.
    #[error("a grant names at least one bus")]
    EmptyGrant,
    /// The client holds as many grants as it may.
    #[error("a client holds at most {max} grants")]
    TooManyGrants {
        /// How many it may hold.
        max: usize,
    },
    /// A password or secret is empty or longer than 1024 bytes.
    #[error("a password has 1 to 1024 bytes")]
    Password,
    /// Too many passwords are hashed at once; try again.
    #[error("too many password checks at once")]
    Busy,
    /// Something changed the same thing at the same time, again and again; try again.
    #[error("it was changed by somebody else at the same time")]
    Contended,
    /// The buses failed.
    #[error("the buses failed")]
    Bus(#[from] BusError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl From<Busy> for AdminError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}
