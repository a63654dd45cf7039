//! What can go wrong when routes are managed.

use buswire_message::{MessageId, RouteName};
use buswire_store::StoreError;

use crate::route::RouteProblem;

/// Why a route was not made, changed or shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Its description is wrong; every problem is named.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<RouteProblem>),
    /// There is one of this name.
    #[error("there is a route {0} already")]
    Exists(RouteName),
    /// There is none of this name.
    #[error("there is no route {0}")]
    Unknown(RouteName),
    /// The route gave up no message of this id, or it is gone.
    #[error("the route {0} has no dead letter {1}")]
    NoLetter(RouteName, MessageId),
    /// The route has another revision than the one that was expected, or is being changed all the time.
    #[error("the route {0} was changed meanwhile")]
    Changed(RouteName),
    /// The sink of the route can't be opened here; the text says why.
    #[error("the route {0} can't run here: {1}")]
    Blocked(RouteName, String),
    /// No more routes are taken.
    #[error("there are {0} routes, which is the limit")]
    TooMany(usize),
    /// The store did not do it.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// A bus could not be read.
    #[error("a bus can't be read")]
    Bus(#[source] buswire_bus::BusError),
    /// What is stored of a route can't be read.
    #[error("the stored route {0} can't be read")]
    Damaged(String),
}

impl From<StoreError> for RouteError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
