//! The routes of the bridge, and what they gave up.

use buswire_bridge::{
    DeadLetter, DeadLetters, Replayed, RetryPolicy, RouteChange, RouteDescription, RouteError,
    RouteInfo, RouteState as Doing, Routes,
};
use buswire_message::{MessageId, RouteName};
use buswire_store::Revision;
use futures::future::BoxFuture;

use crate::admin::ports::{
    AdminError, ChangedRoute, DeadLetterAdmin, DeadLetterPage, DeadLetterView, Missing, NewRetry,
    NewRoute, RetryView, RouteAdmin, RouteState, RouteView,
};

/// Administers routes.
#[derive(Clone, Debug)]
pub(crate) struct RoutePort {
    pub(crate) routes: Routes,
    /// How hard a route tries if its description does not say.
    pub(crate) retry: RetryPolicy,
}

impl RoutePort {
    async fn set_enabled(
        &self,
        name: &str,
        enabled: bool,
        expected: Option<u64>,
    ) -> Result<(), AdminError> {
        let expected = expected.map(Revision);
        self.routes.set_enabled(&known(name)?, enabled, expected).await.map_err(failure)
    }
}

impl RouteAdmin for RoutePort {
    fn create(&self, new: NewRoute) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let wanted = RouteDescription {
                name: &new.name,
                scope: &new.scope,
                map: &new.map,
                sink: &new.sink,
                reply_type: new.reply_type.as_deref(),
                from: &new.from,
                retry: with_defaults(new.retry, self.retry),
            };
            let route = self.routes.parse(&wanted).await.map_err(failure)?;
            self.routes.create(route).await.map_err(failure)
        })
    }

    fn change<'a>(
        &'a self,
        name: &'a str,
        changed: ChangedRoute,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let ChangedRoute { scope, sink, reply_type, map, retry } = changed;
            let NewRetry { first_delay, longest_delay, attempts_max, timeout } = retry;
            let change = RouteChange {
                scope,
                map,
                sink,
                reply_type,
                first_delay,
                longest_delay,
                attempts_max,
                timeout,
            };
            self.routes
                .change(&known(name)?, &change, expected.map(Revision))
                .await
                .map_err(failure)
        })
    }

    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RouteView, AdminError>> {
        Box::pin(async move { self.routes.get(&known(name)?).await.map(view).map_err(failure) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<RouteView>, AdminError>> {
        Box::pin(async move {
            let routes = self.routes.list().await.map_err(failure)?;
            Ok(routes.into_iter().map(view).collect())
        })
    }

    fn pause<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(self.set_enabled(name, false, expected))
    }

    fn resume<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(self.set_enabled(name, true, expected))
    }

    fn delete<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.routes.delete(&known(name)?, expected.map(Revision)).await.map_err(failure)
        })
    }
}

impl DeadLetterAdmin for RoutePort {
    fn list<'a>(
        &'a self,
        route: &'a str,
        after: Option<MessageId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<DeadLetterPage, AdminError>> {
        Box::pin(async move {
            let page = self.routes.dead_letters(&known(route)?, after, limit).await;
            let DeadLetters { letters, unreadable, more } = page.map_err(failure)?;
            let letters = letters.into_iter().map(letter).collect();
            Ok(DeadLetterPage { letters, unreadable, more })
        })
    }

    fn get<'a>(
        &'a self,
        route: &'a str,
        id: MessageId,
    ) -> BoxFuture<'a, Result<DeadLetterView, AdminError>> {
        Box::pin(async move {
            self.routes.dead_letter(&known(route)?, id).await.map(letter).map_err(failure)
        })
    }

    fn replay<'a>(
        &'a self,
        route: &'a str,
        id: MessageId,
    ) -> BoxFuture<'a, Result<Option<String>, AdminError>> {
        Box::pin(async move {
            match self.routes.replay(&known(route)?, id).await.map_err(failure)? {
                Replayed::Delivered => Ok(None),
                Replayed::Failed(error) => Ok(Some(error)),
            }
        })
    }

    fn drop_one<'a>(
        &'a self,
        route: &'a str,
        id: MessageId,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move { self.routes.drop_letter(&known(route)?, id).await.map_err(failure) })
    }
}

fn letter(letter: DeadLetter) -> DeadLetterView {
    let failures = letter.failures.iter().map(|failure| (failure.at, failure.error.clone()));
    DeadLetterView {
        failures: failures.collect(),
        message: letter.message,
        attempts: letter.attempts,
        given_up_at: letter.given_up_at,
    }
}

fn with_defaults(asked: NewRetry, default: RetryPolicy) -> RetryPolicy {
    RetryPolicy {
        first_delay: asked.first_delay.unwrap_or(default.first_delay),
        longest_delay: asked.longest_delay.unwrap_or(default.longest_delay),
        attempts_max: asked.attempts_max.unwrap_or(default.attempts_max),
        timeout: asked.timeout.unwrap_or(default.timeout),
    }
}

/// A text that can't be a name names no route.
fn known(name: &str) -> Result<RouteName, AdminError> {
    name.parse().map_err(|_| AdminError::missing("route", name))
}

fn view(info: RouteInfo) -> RouteView {
    let RetryPolicy { first_delay, longest_delay, attempts_max, timeout } = info.route.retry;
    RouteView {
        name: info.route.name.to_string(),
        scope: info.route.scope.to_string(),
        sink: info.route.sink.to_string(),
        reply_type: info.route.reply_type.map(|kind| kind.to_string()),
        map: info.route.mapping.rules(),
        retry: RetryView { first_delay, longest_delay, attempts_max, timeout },
        state: match info.state {
            Doing::Running => RouteState::Running,
            Doing::Paused => RouteState::Paused,
            Doing::Blocked(why) => RouteState::Blocked(why),
            Doing::Waiting => RouteState::Waiting,
        },
        owner: info.owner,
        delivered: info.delivered,
        failed_attempts: info.failed_attempts,
        dead_letters: info.dead,
        dead_letters_kept: info.dead_letters,
        pending: info.pending,
        revision: info.revision.0,
    }
}

pub(super) fn failure(error: RouteError) -> AdminError {
    let text = error.to_string();
    match error {
        RouteError::Invalid(problems) => {
            AdminError::Invalid(problems.iter().map(ToString::to_string).collect())
        }
        RouteError::Exists(_) => AdminError::Exists(text),
        RouteError::Unknown(name) => AdminError::missing("route", name),
        RouteError::NoLetter(_, id) => {
            AdminError::NotFound(Missing::new("dead letter", id.to_string()).told(text))
        }
        RouteError::Changed(name) => AdminError::Changed { kind: "route", name: name.to_string() },
        RouteError::Blocked(..) => AdminError::Refused(text),
        RouteError::TooMany(_) => AdminError::TooMany(text),
        RouteError::Store(store) => AdminError::from(store),
        RouteError::Bus(bus) => AdminError::Unavailable(crate::cli::chain(&bus)),
        other => AdminError::Internal(Box::new(other)),
    }
}
