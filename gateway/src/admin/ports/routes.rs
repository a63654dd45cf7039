//! Routes, as an administrator sees them.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;

use super::AdminError;

/// The description of a new route, as it was written: the bridge parses it, so that it can name every
/// problem at once.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct NewRoute {
    /// Its name.
    pub name: String,
    /// Which messages take it.
    pub scope: String,
    /// The URI of its sink; may hold a secret.
    pub sink: String,
    /// The type of published answers; `None` drops answers.
    pub reply_type: Option<String>,
    /// `beginning`, `now` or the id of a message.
    pub from: String,
    /// What it changes about messages.
    pub map: Vec<String>,
    /// How hard to try.
    pub retry: NewRetry,
}

impl fmt::Debug for NewRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRoute").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is to be different about a route, as it was written; `None` leaves a thing as it is.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ChangedRoute {
    /// Which messages take it.
    pub scope: Option<String>,
    /// The URI of its sink; may hold a secret.
    pub sink: Option<String>,
    /// The type of published answers; `Some(None)` drops answers.
    pub reply_type: Option<Option<String>>,
    /// What it changes about messages.
    pub map: Option<Vec<String>>,
    /// How hard to try.
    pub retry: NewRetry,
}

impl fmt::Debug for ChangedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangedRoute").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// How hard a route is to try; `None` is the default of the bridge, or leaves a thing as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NewRetry {
    /// The wait before the second attempt.
    pub first_delay: Option<Duration>,
    /// The longest wait between two attempts.
    pub longest_delay: Option<Duration>,
    /// The most attempts.
    pub attempts_max: Option<u32>,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
}

/// A route and what it is doing. Counts begin when its owner takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    /// Its name.
    pub name: String,
    /// Which messages take it.
    pub scope: String,
    /// Where they go, without what is secret about it.
    pub sink: String,
    /// The type of published answers.
    pub reply_type: Option<String>,
    /// What it changes about messages.
    pub map: Vec<String>,
    /// How hard it tries.
    pub retry: RetryView,
    /// What it is doing.
    pub state: RouteState,
    /// What the gateway is called that runs it.
    pub owner: Option<String>,
    /// Messages delivered.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Messages that became dead letters.
    pub dead_letters: u64,
    /// Dead letters that are kept at present.
    pub dead_letters_kept: u64,
    /// Messages that wait or are under way.
    pub pending: u64,
    /// Changes with every change of the description.
    pub revision: u64,
}

/// How hard a route tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryView {
    /// The wait before the second attempt.
    pub first_delay: Duration,
    /// The longest wait between two attempts.
    pub longest_delay: Duration,
    /// The most attempts.
    pub attempts_max: u32,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// What a route is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteState {
    /// It delivers.
    Running,
    /// An administrator paused it.
    Paused,
    /// It can't deliver where it runs; the text says why.
    Blocked(String),
    /// No gateway runs it at present.
    Waiting,
}

/// Administers routes. Changes are stored when a future is done; dropping one may leave the change
/// made or not made, never half. A change of a route that does not have the revision `expected` is refused.
pub trait RouteAdmin: Send + Sync {
    /// Makes a route and starts it.
    ///
    /// # Errors
    ///
    /// `Invalid` with every problem, `Exists`, `TooMany`, `Unavailable`.
    fn create(&self, route: NewRoute) -> BoxFuture<'_, Result<(), AdminError>>;

    /// Changes a route, which goes on where it is.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Changed`, `Invalid` with every problem, `Unavailable`.
    fn change<'a>(
        &'a self,
        name: &'a str,
        change: ChangedRoute,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>>;

    /// Shows one route.
    ///
    /// # Errors
    ///
    /// `NotFound`; also if `name` can't be the name of a route.
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RouteView, AdminError>>;

    /// Shows every route, in any order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn list(&self) -> BoxFuture<'_, Result<Vec<RouteView>, AdminError>>;

    /// Stops delivering until the route is resumed.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Changed`, `Unavailable`.
    fn pause<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>>;

    /// Goes on delivering.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Changed`, `Unavailable`.
    fn resume<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>>;

    /// Removes a route with its position and its dead letters.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Changed`, `Unavailable`.
    fn delete<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>>;
}
