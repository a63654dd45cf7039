//! When a certificate is ordered, and by whom: decided from what the store holds and the time.
//!
//! Never here: the store, a clock, the network.

use std::time::Duration;

use buswire_message::Timestamp;
use serde::{Deserialize, Serialize};

/// How long one order may take. A gateway that died while it ordered keeps the others waiting for so
/// long.
pub(super) const ORDER_TIME: Duration = Duration::from_secs(5 * 60);

/// The longest rest after a failure, whatever the server asks for: an operator who has mended what was
/// wrong should not wait for longer.
const REST_MAX: Duration = Duration::from_secs(24 * 3600);

/// When a certificate begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Validity {
    /// When to order the next one: with a third of its time left, as Let's Encrypt asks for. That is 30
    /// days of 90, and two of six.
    fn renewal(self) -> Timestamp {
        let third = self.to.saturating_since(self.from) / 3;
        Timestamp::from_millis(
            self.to.as_millis().saturating_sub(u64::try_from(third.as_millis()).unwrap_or(0)),
        )
    }
}

/// What is stored of orders that did not end in a certificate, or are under way. Shared by all gateways,
/// so that a restart, or another gateway, does not ask sooner than is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// Which process orders; `None` if none does.
    pub(super) by: Option<String>,
    /// Until when nobody else begins, in milliseconds since 1970.
    pub(super) until_ms: u64,
    /// How many orders failed since the last one that did not.
    pub(super) failures: u32,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, for at most so long.
    Wait(Duration),
    /// Order a certificate.
    Order,
}

/// What to do at `now`, with the `certificate` and the `attempt` that are stored. Where the store is not
/// shared, an order that is under way is one of a process that has ended.
pub(super) fn next(
    now: Timestamp,
    certificate: Option<Validity>,
    attempt: Option<&Attempt>,
    is_shared: bool,
) -> Step {
    let due = certificate.map_or(Timestamp::EPOCH, Validity::renewal);
    let free = match attempt {
        Some(Attempt { by: Some(_), .. }) if !is_shared => Timestamp::EPOCH,
        // A clock that was ahead when it was written must not hold everybody up for ever.
        Some(attempt) => Timestamp::from_millis(attempt.until_ms).min(now.saturating_add(REST_MAX)),
        None => Timestamp::EPOCH,
    };
    let wait = due.max(free).saturating_since(now);
    if wait.is_zero() { Step::Order } else { Step::Wait(wait) }
}

/// What kind of failure it was, which says how soon it may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server can't be reached, or does not work.
    Unreachable,
    /// The server refuses the account, a name, or what it found at a name.
    Refused,
    /// The server was asked too often.
    RateLimited,
    /// The store of this gateway does not work.
    Store,
    /// It is a mistake of ours.
    Internal,
}

impl Failure {
    /// What the metric calls it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::Store => "store",
            Self::Internal => "internal",
        }
    }

    /// After the first failure, and at most.
    ///
    /// What was refused costs the account: Let's Encrypt takes five refusals of a name in an hour. So
    /// there are 2, 4, 8, 16 and 32 minutes between them.
    const fn rest(self) -> (Duration, Duration) {
        let (first, most) = match self {
            Self::Unreachable | Self::Store => (5, 3600),
            Self::Refused | Self::Internal => (120, 12 * 3600),
            Self::RateLimited => (3600, 12 * 3600),
        };
        (Duration::from_secs(first), Duration::from_secs(most))
    }
}

/// How long to rest after a failure, the `failures`th in a row. `asked` is what the server asks for. A
/// quarter is added by chance (`chance` of 255 parts), so that gateways that failed together do not come
/// back together.
pub(super) fn rest(
    failure: Failure,
    failures: u32,
    asked: Option<Duration>,
    chance: u8,
) -> Duration {
    let (first, most) = failure.rest();
    let doubled =
        first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let rest = doubled.min(most).max(asked.unwrap_or_default());
    (rest + rest / 4 * u32::from(chance) / 255).min(REST_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 3600;

    fn day(number: u64) -> Timestamp {
        Timestamp::from_secs(number * DAY)
    }

    fn days(number: u64) -> Duration {
        Duration::from_secs(number * DAY)
    }

    const NINETY: Validity =
        Validity { from: Timestamp::from_secs(100 * DAY), to: Timestamp::from_secs(190 * DAY) };

    fn resting(until: Timestamp) -> Attempt {
        Attempt { by: None, until_ms: until.as_millis(), failures: 3 }
    }

    #[test]
    fn without_a_certificate_one_is_ordered_at_once() {
        assert_eq!(next(day(1), None, None, true), Step::Order);
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
        assert_eq!(next(day(100), Some(NINETY), None, true), Step::Wait(days(60)));
        assert_eq!(next(day(159), Some(NINETY), None, true), Step::Wait(days(1)));
        assert_eq!(next(day(160), Some(NINETY), None, true), Step::Order);
        assert_eq!(next(day(500), Some(NINETY), None, true), Step::Order);
        let six = Validity { from: day(0), to: day(6) };
        assert_eq!(next(day(0), Some(six), None, true), Step::Wait(days(4)));
    }

    #[test]
    fn nobody_orders_while_another_gateway_does_or_all_rest() {
        let resting = resting(day(2));
        let running = Attempt { by: Some("other".to_owned()), ..resting.clone() };
        for attempt in [&resting, &running] {
            assert_eq!(next(day(1), None, Some(attempt), true), Step::Wait(days(1)));
            assert_eq!(next(day(2), None, Some(attempt), true), Step::Order, "it must be dead");
        }
        assert_eq!(next(day(1), None, Some(&running), false), Step::Order, "nobody else is there");
        assert_eq!(next(day(1), None, Some(&resting), false), Step::Wait(days(1)), "a restart");
        let ahead = Attempt { until_ms: day(4000).as_millis(), ..resting };
        assert_eq!(
            next(day(1), None, Some(&ahead), true),
            Step::Wait(days(1)),
            "a clock was ahead"
        );
    }

    #[test]
    fn refusals_stay_below_the_limit_of_an_hour() {
        // Let's Encrypt: five failed validations of a name and account in an hour.
        let rests = (1..).map(|failures| rest(Failure::Refused, failures, None, 0));
        let mut at = Duration::ZERO;
        let times = rests.map(|rest| {
            at += rest;
            at
        });
        let in_an_hour = times.take_while(|at| *at < Duration::from_secs(3600)).count();
        assert!(in_an_hour < 5, "{in_an_hour} after the first");
    }

    #[test]
    fn what_the_server_asks_for_is_kept_up_to_a_day() {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        assert_eq!(rest(Failure::RateLimited, 1, hours(7), 0), hours(7).unwrap());
        assert_eq!(rest(Failure::RateLimited, 1, hours(1000), 255), days(1));
        assert_eq!(rest(Failure::Unreachable, 1, None, 0), Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn rests_grow_and_are_bounded(failures in 1_u32..200, chance: u8, asked in 0_u64..1_000_000) {
            for failure in [Failure::Unreachable, Failure::Refused, Failure::RateLimited, Failure::Store, Failure::Internal] {
                let asked = Some(Duration::from_secs(asked));
                let this = rest(failure, failures, asked, 0);
                prop_assert!(this <= rest(failure, failures + 1, asked, 0));
                let with_chance = rest(failure, failures, asked, chance);
                prop_assert!(this <= with_chance && with_chance <= REST_MAX);
            }
        }

        #[test]
        fn an_order_is_made_exactly_when_it_is_due_and_nobody_is_at_it(
            now in 0_u64..1000, from in 0_u64..500, length in 0_u64..500, until in proptest::option::of(0_u64..1000),
            running: bool, is_shared: bool,
        ) {
            let at = |minutes: u64| Timestamp::from_secs(minutes * 60);
            let certificate = Validity { from: at(from), to: at(from + length) };
            let attempt = until.map(|until| Attempt {
                by: running.then(|| "x".to_owned()), until_ms: at(until).as_millis(), failures: 1,
            });
            let is_due = at(now).as_millis() >= certificate.to.as_millis() - length * 60_000 / 3;
            let is_free = until.is_none_or(|until| now >= until || (running && !is_shared));
            let step = next(at(now), Some(certificate), attempt.as_ref(), is_shared);
            prop_assert_eq!(step == Step::Order, is_due && is_free);
        }
    }
}
