//! Counting invocations: uses and rates of every level, all or none (Belay §20.8).
//!
//! Pure: the caller loads the accounts of a tree, lets claims be decided in order, and writes back the
//! accounts that were touched, if nothing changed in between. Never here: the store, a clock.

use std::collections::BTreeMap;

use buswire_message::Timestamp;

use crate::{grants::record::Meter, limits::Bucket, names::Handle};

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is counted; the invocation goes ahead.
    Admitted,
    /// A grant of the chain is not alive, or has no uses left.
    Gone,
    /// A rate has no room.
    Limited {
        /// Seconds until it has.
        retry_after_secs: u32,
    },
}

/// One level's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Not revoked and not suspended.
    pub(crate) alive: bool,
    pub(crate) meter: Option<Meter>,
    /// Uses taken.
    pub(crate) used: u64,
    /// `None` for a bucket that nobody took from.
    pub(crate) bucket: Option<Bucket>,
    /// Whether an admitted claim changed it.
    pub(crate) touched: bool,
}

impl Account {
    /// Whether the uses are all taken.
    pub(crate) fn is_exhausted(&self) -> bool {
        let uses = self.meter.as_ref().and_then(|meter| meter.uses);
        uses.is_some_and(|uses| self.used >= uses.get())
    }
}

/// The accounts of a tree that some claims need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) accounts: BTreeMap<Handle, Account>,
}

/// One level of a chain: whose, and whether the invocation counts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) handle: Handle,
    pub(crate) counts: bool,
}

impl Ledger {
    /// Decides one claim and, if every level has room, takes from all of them; otherwise from none.
    pub(crate) fn claim(&mut self, levels: &[Level], now: Timestamp) -> Verdict {
        let mut taken = Vec::new();
        let mut limited = None;
        for level in levels {
            let Some(account) = self.accounts.get(&level.handle).filter(|account| account.alive)
            else {
                return Verdict::Gone;
            };
            let Some(meter) = account.meter.as_ref().filter(|_| level.counts) else { continue };
            if account.is_exhausted() {
                return Verdict::Gone;
            }
            let mut after = account.clone();
            after.used += u64::from(meter.uses.is_some());
            after.touched = true;
            if let Some(rate) = meter.rate {
                match rate.take(account.bucket.unwrap_or_else(|| rate.full(now)), now) {
                    Ok(bucket) => after.bucket = Some(bucket),
                    Err(secs) => limited = limited.max(Some(secs)),
                }
            }
            taken.push((level.handle.clone(), after));
        }
        if let Some(retry_after_secs) = limited {
            return Verdict::Limited { retry_after_secs };
        }
        self.accounts.extend(taken);
        Verdict::Admitted
    }
}

#[cfg(test)]
mod tests {
    use buswire_testkit::SeededEntropy;

    use super::*;
    use crate::limits::Rate;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn account(uses: Option<u64>, rate: Option<(u64, u64)>) -> Account {
        let meter = Meter {
            uses: uses.map(|uses| uses.try_into().unwrap()),
            rate: rate.map(|(count, per)| Rate::new(count, per).unwrap()),
        };
        Account { alive: true, meter: Some(meter), used: 0, bucket: None, touched: false }
    }

    fn chain(accounts: Vec<(Account, bool)>) -> (Ledger, Vec<Level>) {
        let entropy = SeededEntropy::new(7);
        let mut ledger = Ledger::default();
        let mut levels = Vec::new();
        for (account, counts) in accounts {
            let handle = Handle::mint(&entropy);
            levels.push(Level { handle: handle.clone(), counts });
            ledger.accounts.insert(handle, account);
        }
        (ledger, levels)
    }

    #[test]
    fn every_level_must_have_room_and_none_is_charged_otherwise() {
        // Rule: belay 20.8 — uses and rate are counted separately at every level, all must have room
        let (mut ledger, levels) = chain(vec![
            (account(Some(5), None), true),
            (account(Some(2), Some((10, 1))), true),
            (account(None, Some((3, 60))), true),
        ]);
        assert_eq!(ledger.claim(&levels, NOW), Verdict::Admitted);
        assert_eq!(ledger.claim(&levels, NOW), Verdict::Admitted);
        let before = ledger.accounts.clone();
        assert_eq!(ledger.claim(&levels, NOW), Verdict::Gone);
        assert_eq!(ledger.accounts, before);
        let one = &levels[..1];
        assert_eq!(ledger.claim(one, NOW), Verdict::Admitted);
        assert_eq!(ledger.accounts[&levels[0].handle].used, 3);
    }

    #[test]
    fn a_full_rate_takes_no_use() {
        // Rule: belay 21.3 — a use is consumed only after every other check has passed
        let (mut ledger, levels) =
            chain(vec![(account(Some(9), None), true), (account(None, Some((1, 30))), true)]);
        assert_eq!(ledger.claim(&levels, NOW), Verdict::Admitted);
        assert_eq!(ledger.claim(&levels, NOW), Verdict::Limited { retry_after_secs: 30 });
        assert_eq!(ledger.accounts[&levels[0].handle].used, 1);
    }

    #[test]
    fn a_level_that_does_not_count_must_still_be_alive() {
        let (mut ledger, levels) =
            chain(vec![(account(Some(1), None), true), (account(Some(1), None), false)]);
        ledger.accounts.get_mut(&levels[1].handle).unwrap().used = 1;
        assert_eq!(ledger.claim(&levels, NOW), Verdict::Admitted);
        ledger.accounts.get_mut(&levels[1].handle).unwrap().alive = false;
        assert_eq!(ledger.claim(&levels, NOW), Verdict::Gone);
    }
}
