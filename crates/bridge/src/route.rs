//! Routes: what goes where, and how hard to try.
//!
//! Never here: delivering anything.

use std::time::Duration;

use buswire_message::{Cursor, MessageId, MessageType, NameError, RouteName, Scope};
use serde::{Deserialize, Serialize};

use crate::{
    mapping::{Mapping, MappingError},
    uri::SinkUri,
};

/// A route: messages in its scope are handed to its sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub name: RouteName,
    /// Which messages take it; names at least one bus.
    pub scope: Scope,
    /// What is changed about them on their way.
    pub mapping: Mapping,
    /// Where they go.
    pub sink: SinkUri,
    /// The type under which the sink's answer is published on the channel of the message; `None`
    /// drops answers.
    pub reply_type: Option<MessageType>,
    /// How hard to try.
    pub retry: RetryPolicy,
    /// Where it begins when it is new.
    pub start: Start,
    /// Whether it delivers at present.
    pub enabled: bool,
}

/// Where a new route begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// With the first message after the route was made.
    #[default]
    Now,
    /// With the oldest message that is still kept.
    Beginning,
    /// With the first message after this one.
    After(MessageId),
}

impl Start {
    /// The cursor from which a route that was made `now` reads.
    pub const fn cursor(self, now: MessageId) -> Cursor {
        match self {
            Self::Now => Cursor::After(now.sequence()),
            Self::Beginning => Cursor::Start,
            Self::After(id) => Cursor::After(id.sequence()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "now" => Some(Self::Now),
            "beginning" => Some(Self::Beginning),
            id => id.parse().ok().map(Self::After),
        }
    }
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Beginning => f.write_str("beginning"),
            Self::After(id) => id.fmt(f),
        }
    }
}

/// How hard a route tries: capped exponential back-off with jitter.
///
/// The wait before attempt *n* is between half and the whole of `first_delay` × 2^(n−2), at most
/// `longest_delay`. With the defaults a message is given up after about two minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The wait before the second attempt; default 200 ms, 1 ms to 1 hour.
    pub first_delay: Duration,
    /// The longest wait between two attempts; default 30 s, `first_delay` to 1 hour.
    pub longest_delay: Duration,
    /// After so many attempts a message becomes a dead letter; default 12, 1 to 1000.
    pub attempts_max: u32,
    /// How long one attempt may take; default 10 s, 10 ms to 10 minutes.
    pub timeout: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(200),
            longest_delay: Duration::from_secs(30),
            attempts_max: 12,
            timeout: Duration::from_secs(10),
        }
    }
}

impl RetryPolicy {
    /// The wait before the attempt that follows `attempts` failed ones. `random` chooses the jitter.
    pub fn delay(&self, attempts: u32, random: u64) -> Duration {
        let doubled = self.first_delay.saturating_mul(1 << attempts.saturating_sub(1).min(20));
        let whole = doubled.min(self.longest_delay);
        let half = whole / 2;
        let jitter = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_millis(random % jitter)
    }

    fn problems(&self) -> Vec<RouteProblem> {
        let hour = Duration::from_secs(3600);
        let mut problems = Vec::new();
        if !(Duration::from_millis(1)..=hour).contains(&self.first_delay) {
            problems.push(RouteProblem::FirstDelay);
        }
        if self.longest_delay < self.first_delay || self.longest_delay > hour {
            problems.push(RouteProblem::LongestDelay);
        }
        if !(1..=1000).contains(&self.attempts_max) {
            problems.push(RouteProblem::Attempts);
        }
        let timeouts = Duration::from_millis(10)..=Duration::from_secs(600);
        if !timeouts.contains(&self.timeout) {
            problems.push(RouteProblem::Timeout);
        }
        problems
    }
}

/// What is wrong with the description of a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteProblem {
    /// The name is not one.
    #[error("name: {0}")]
    Name(NameError),
    /// The scope does not parse.
    #[error("scope: {0}")]
    Scope(buswire_message::ScopeError),
    /// The scope names no bus.
    #[error("scope: name at least one bus, such as bus:example.com")]
    NoBus,
    /// The sink does not parse.
    #[error("sink: {0}")]
    Sink(crate::uri::SinkUriError),
    /// No such sink can be reached from here.
    #[error("sink: {0}")]
    SinkUnavailable(String),
    /// A rule of the mapping is wrong.
    #[error("map: {0}")]
    Mapping(MappingError),
    /// The reply type is not a message type.
    #[error("reply type: {0}")]
    ReplyType(NameError),
    /// The sink gives no answers.
    #[error("reply type: only mdp: and cap: sinks answer")]
    NoReplies,
    /// The start is not one.
    #[error("from: give now, beginning or the id of a message")]
    Start,
    /// The first delay is out of bounds.
    #[error("first delay: 1 ms to 1 hour")]
    FirstDelay,
    /// The longest delay is out of bounds.
    #[error("longest delay: from the first delay to 1 hour")]
    LongestDelay,
    /// The number of attempts is out of bounds.
    #[error("attempts: 1 to 1000")]
    Attempts,
    /// The timeout is out of bounds.
    #[error("timeout: 10 ms to 10 minutes")]
    Timeout,
}

/// A route in texts, as somebody wrote it.
#[derive(Clone)]
pub struct RouteDescription<'a> {
    /// Its name.
    pub name: &'a str,
    /// Which messages take it.
    pub scope: &'a str,
    /// The rules of its mapping, see [`Mapping::parse`].
    pub map: &'a [String],
    /// The URI of its sink; may hold a secret.
    pub sink: &'a str,
    /// The type of published answers; `None` drops answers.
    pub reply_type: Option<&'a str>,
    /// `now`, `beginning` or the id of a message; empty is `now`.
    pub from: &'a str,
    /// How hard to try.
    pub retry: RetryPolicy,
}

impl std::fmt::Debug for RouteDescription<'_> {
    /// Leaves out the sink.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteDescription").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is to be different about a route; `None` leaves a thing as it is.
#[derive(Clone, Default)]
pub struct RouteChange {
    /// Which messages take it. Those that were passed are not looked at again.
    pub scope: Option<String>,
    /// The rules of its mapping; none changes nothing about messages any more.
    pub map: Option<Vec<String>>,
    /// The URI of its sink; may hold a secret.
    pub sink: Option<String>,
    /// The type of published answers; `Some(None)` drops answers.
    pub reply_type: Option<Option<String>>,
    /// The wait before the second attempt.
    pub first_delay: Option<Duration>,
    /// The longest wait between two attempts.
    pub longest_delay: Option<Duration>,
    /// The most attempts.
    pub attempts_max: Option<u32>,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
}

impl std::fmt::Debug for RouteChange {
    /// Leaves out the sink.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteChange").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// A route as the store keeps it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenRoute {
    pub(crate) name: String,
    pub(crate) scope: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) map: Vec<String>,
    pub(crate) sink: String,
    #[serde(default)]
    pub(crate) reply_type: Option<String>,
    #[serde(default)]
    pub(crate) start: String,
    pub(crate) first_delay_ms: u64,
    pub(crate) longest_delay_ms: u64,
    pub(crate) attempts_max: u32,
    pub(crate) timeout_ms: u64,
    pub(crate) enabled: bool,
    #[serde(default)]
    pub(crate) created: u64,
}

impl Route {
    /// Makes a route that is enabled.
    ///
    /// # Errors
    ///
    /// Every problem, not only the first.
    pub fn parse(wanted: &RouteDescription<'_>) -> Result<Self, Vec<RouteProblem>> {
        let mut problems = wanted.retry.problems();
        let mut note = |problem| problems.push(problem);
        let name = wanted.name.parse::<RouteName>().map_err(|e| note(RouteProblem::Name(e))).ok();
        let scope = wanted.scope.parse::<Scope>().map_err(|e| note(RouteProblem::Scope(e))).ok();
        if scope.as_ref().is_some_and(|scope| scope.buses().next().is_none()) {
            note(RouteProblem::NoBus);
        }
        let sink = wanted.sink.parse::<SinkUri>().map_err(|e| note(RouteProblem::Sink(e))).ok();
        let reply_type = wanted
            .reply_type
            .map(|kind| kind.parse::<MessageType>().map_err(|e| note(RouteProblem::ReplyType(e))));
        if reply_type.is_some()
            && sink.as_ref().is_some_and(|s| !matches!(s, SinkUri::Mdp { .. } | SinkUri::Cap(_)))
        {
            note(RouteProblem::NoReplies);
        }
        let start = Start::parse(wanted.from);
        if start.is_none() {
            note(RouteProblem::Start);
        }
        let mapping = Mapping::parse(wanted.map)
            .map_err(|errors| errors.into_iter().map(RouteProblem::Mapping).for_each(note))
            .unwrap_or_default();
        match (name, scope, sink, start, problems.is_empty()) {
            (Some(name), Some(scope), Some(sink), Some(start), true) => Ok(Self {
                name,
                scope,
                mapping,
                sink,
                reply_type: reply_type.and_then(Result::ok),
                retry: wanted.retry,
                start,
                enabled: true,
            }),
            _ => Err(problems),
        }
    }

    /// The route with a change made to it.
    ///
    /// # Errors
    ///
    /// Every problem, not only the first.
    pub fn changed(&self, change: &RouteChange) -> Result<Self, Vec<RouteProblem>> {
        let written = self.to_written();
        let retry = RetryPolicy {
            first_delay: change.first_delay.unwrap_or(self.retry.first_delay),
            longest_delay: change.longest_delay.unwrap_or(self.retry.longest_delay),
            attempts_max: change.attempts_max.unwrap_or(self.retry.attempts_max),
            timeout: change.timeout.unwrap_or(self.retry.timeout),
        };
        let reply_type = change.reply_type.as_ref().unwrap_or(&written.reply_type);
        let wanted = RouteDescription {
            name: &written.name,
            scope: change.scope.as_ref().unwrap_or(&written.scope),
            map: change.map.as_ref().unwrap_or(&written.map),
            sink: change.sink.as_ref().unwrap_or(&written.sink),
            reply_type: reply_type.as_deref(),
            from: &written.start,
            retry,
        };
        Self::parse(&wanted).map(|route| Self { enabled: self.enabled, ..route })
    }

    pub(crate) fn to_written(&self) -> WrittenRoute {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        WrittenRoute {
            name: self.name.to_string(),
            scope: self.scope.to_string(),
            map: self.mapping.rules(),
            sink: self.sink.expose(),
            reply_type: self.reply_type.as_ref().map(ToString::to_string),
            start: self.start.to_string(),
            first_delay_ms: millis(self.retry.first_delay),
            longest_delay_ms: millis(self.retry.longest_delay),
            attempts_max: self.retry.attempts_max,
            timeout_ms: millis(self.retry.timeout),
            enabled: self.enabled,
            created: 0,
        }
    }

    pub(crate) fn from_written(written: &WrittenRoute) -> Result<Self, Vec<RouteProblem>> {
        let retry = RetryPolicy {
            first_delay: Duration::from_millis(written.first_delay_ms),
            longest_delay: Duration::from_millis(written.longest_delay_ms),
            attempts_max: written.attempts_max,
            timeout: Duration::from_millis(written.timeout_ms),
        };
        Self::parse(&RouteDescription {
            name: &written.name,
            scope: &written.scope,
            map: &written.map,
            sink: &written.sink,
            reply_type: written.reply_type.as_deref(),
            from: &written.start,
            retry,
        })
        .map(|route| Self { enabled: written.enabled, ..route })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn described<'a>(name: &'a str, sink: &'a str) -> RouteDescription<'a> {
        let retry = RetryPolicy::default();
        let scope = "bus:a type:x";
        RouteDescription { name, scope, map: &[], sink, reply_type: None, from: "", retry }
    }

    #[test]
    fn every_problem_is_named() {
        let retry = RetryPolicy { attempts_max: 0, ..RetryPolicy::default() };
        let problems = Route::parse(&RouteDescription {
            scope: "type:x",
            map: &["x:y".to_owned()],
            reply_type: Some(" "),
            from: "then",
            retry,
            ..described("a b", "x:y")
        })
        .unwrap_err();
        let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
        for start in
            ["name: ", "scope: ", "map: ", "sink: ", "reply type: ", "from: ", "attempts: "]
        {
            assert!(texts.iter().any(|text| text.starts_with(start)), "{start} in {texts:?}");
        }
    }

    #[test]
    fn a_route_survives_being_written_down() {
        let map = ["type:y".to_owned(), "field:a=/b".to_owned()];
        let from = "2024-03-09T14:05:21.337Z-0000000000";
        let wanted = RouteDescription {
            map: &map,
            reply_type: Some("answer"),
            from,
            ..described("r", "mdp:e")
        };
        let route = Route::parse(&wanted).unwrap();
        assert_eq!(Route::from_written(&route.to_written()), Ok(route));
    }

    #[test]
    fn a_change_leaves_the_rest_as_it_is() {
        let route = Route::parse(&described("r", "mdp:e")).unwrap();
        let change = RouteChange {
            sink: Some("bus:b".to_owned()),
            attempts_max: Some(3),
            ..RouteChange::default()
        };
        let changed = Route { enabled: false, ..route.clone() }.changed(&change).unwrap();
        assert_eq!((changed.sink.expose(), changed.retry.attempts_max), ("bus:b".into(), 3));
        assert_eq!((changed.enabled, &changed.scope), (false, &route.scope));
        let wrong = RouteChange { reply_type: Some(Some("t".into())), ..change };
        assert_eq!(route.changed(&wrong), Err(vec![RouteProblem::NoReplies]));
    }

    proptest! {
        #[test]
        fn a_delay_is_within_its_bounds(attempts in 1_u32..2000, random: u64) {
            let policy = RetryPolicy::default();
            let delay = policy.delay(attempts, random);
            prop_assert!(delay >= policy.first_delay / 2 && delay <= policy.longest_delay);
        }
    }
}
