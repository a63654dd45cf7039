//! What may not happen too often: visits that cost storage, credentials that are guessed
//! (Backplane §17, rows 1, 22 and 28).

use std::{net::IpAddr, time::Duration};

use buswire_message::{BusName, Limiter, Secret, SecretHash, Timestamp, TooOften};

use super::{
    State,
    password::{Account, Busy, Credential},
};
use crate::config::Limits;

/// Over what visits are counted.
const VISITS: Duration = Duration::from_secs(60);
/// Over what failures are counted.
const FAILURES: Duration = Duration::from_secs(600);

/// Where a request comes from; `None` if the program that owns the listener does not say.
pub(crate) type Source = Option<IpAddr>;

/// The limits on how often something may happen.
#[derive(Debug)]
pub(crate) struct Throttle {
    visits_by_source: Limiter<IpAddr>,
    visits_by_bus: Limiter<BusName>,
    failures_by_account: Limiter<SecretHash>,
    failures_by_source: Limiter<IpAddr>,
}

impl Throttle {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            visits_by_source: Limiter::new(limits.visits_per_address_max, VISITS),
            visits_by_bus: Limiter::new(limits.visits_per_bus_max, VISITS),
            failures_by_account: Limiter::new(limits.failures_per_account_max, FAILURES),
            failures_by_source: Limiter::new(limits.failures_per_address_max, FAILURES),
        }
    }

    /// Counts a visit: a channel that is minted for whoever asks.
    pub(crate) fn visit(&self, source: Source, now: Timestamp) -> Result<(), TooOften> {
        source.map_or(Ok(()), |source| self.visits_by_source.count(source, now))
    }

    /// Counts a visit that stores something on a bus.
    pub(crate) fn visit_bus(&self, bus: &BusName, now: Timestamp) -> Result<(), TooOften> {
        self.visits_by_bus.count(bus.clone(), now)
    }

    /// Whether credentials from there are not to be looked at for a while.
    pub(crate) fn check_source(&self, source: Source, now: Timestamp) -> Result<(), TooOften> {
        source.map_or(Ok(()), |source| self.failures_by_source.check(&source, now))
    }

    /// Counts wrong credentials from there.
    pub(crate) fn count_failure(&self, source: Source, now: Timestamp) {
        if let Some(source) = source {
            // That it was one too many is told at the next try.
            self.failures_by_source.count(source, now).unwrap_or_default();
        }
    }
}

/// Why a credential was not looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotVerified {
    #[error("too many failed attempts")]
    TooOften(TooOften),
    #[error(transparent)]
    Busy(#[from] Busy),
}

impl From<TooOften> for NotVerified {
    fn from(wait: TooOften) -> Self {
        Self::TooOften(wait)
    }
}

impl State {
    /// Whether a password is what is stored for an account, unless there was guessed too often.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; a failure may then go uncounted.
    pub(crate) async fn verify_password(
        &self,
        account: Account<'_>,
        stored: Option<&Credential>,
        password: &Secret<String>,
        source: Source,
    ) -> Result<bool, NotVerified> {
        let (throttle, guessed, now) = (&self.throttle, guessed(account, source), self.now());
        throttle.check_source(source, now)?;
        throttle.failures_by_account.check(&guessed, now)?;
        let is_right = self.passwords.verify(account, stored, password, now).await?;
        if !is_right {
            throttle.count_failure(source, now);
            throttle.failures_by_account.count(guessed, now).unwrap_or_default();
        }
        Ok(is_right)
    }
}

/// Whose guesses are counted together. Programs sign in by themselves, so nobody may lock them out
/// from elsewhere; a person can wait.
fn guessed(account: Account<'_>, source: Source) -> SecretHash {
    match (account, source) {
        (Account::Owner(_), _) | (_, None) => account.hash_at(""),
        (Account::User(_) | Account::Client(_), Some(source)) => {
            account.hash_at(&source.to_string())
        }
    }
}
