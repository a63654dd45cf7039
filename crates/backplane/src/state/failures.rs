//! Failed sign-ins of an account: too many, and it is not looked at for a while (Backplane §17.22).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use buswire_message::{SecretHash, Timestamp};

use super::password::Account;

/// Failures of one account within a window; further tries wait for its end.
const FAILURES_MAX: u32 = 10;
/// How long failures count.
const WINDOW: Duration = Duration::from_secs(600);

/// Counts failures. Bounded: when it is full it begins anew, which forgets failures and locks nobody
/// out.
pub(crate) struct Failures {
    /// By a hash of the account, so that names of any length cost the same.
    counts: Mutex<HashMap<SecretHash, (u32, Timestamp)>>,
    accounts_max: usize,
}

impl Failures {
    pub(crate) fn new(accounts_max: usize) -> Self {
        Self { counts: Mutex::new(HashMap::new()), accounts_max: accounts_max.max(1) }
    }

    /// Whether the account failed too often of late.
    pub(crate) fn is_exhausted(&self, account: Account<'_>, now: Timestamp) -> bool {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let held = counts.get(&account.hash());
        held.is_some_and(|(count, since)| *count >= FAILURES_MAX && is_recent(*since, now))
    }

    /// Counts a failure.
    pub(crate) fn add(&self, account: Account<'_>, now: Timestamp) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= self.accounts_max {
            counts.clear();
        }
        let held = counts.entry(account.hash()).or_insert((0, now));
        if !is_recent(held.1, now) {
            *held = (0, now);
        }
        held.0 += 1;
    }
}

fn is_recent(since: Timestamp, now: Timestamp) -> bool {
    now.saturating_since(since) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_looked_at_again_when_its_window_is_over() {
        // Rule: backplane §17.22 — failed sign-ins of one account are limited, others go on
        let (failures, at) = (Failures::new(8), Timestamp::from_secs);
        for _ in 0..FAILURES_MAX {
            assert!(!failures.is_exhausted(Account::Owner("ann"), at(100)));
            failures.add(Account::Owner("ann"), at(100));
        }
        assert!(failures.is_exhausted(Account::Owner("ann"), at(699)));
        assert!(!failures.is_exhausted(Account::Owner("bob"), at(100)));
        assert!(!failures.is_exhausted(Account::User("ann"), at(100)));
        assert!(!failures.is_exhausted(Account::Owner("ann"), at(700)));
    }

    #[test]
    fn the_count_is_bounded() {
        let failures = Failures::new(8);
        for name in 0..100 {
            failures.add(Account::Owner(&name.to_string()), Timestamp::from_secs(1));
            assert!(failures.counts.lock().unwrap().len() <= 8);
        }
    }
}
