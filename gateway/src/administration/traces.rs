//! What became of messages on the routes of the bridge.

use std::sync::Arc;

use buswire_bridge::{Passage, PassageFate, RouteError, Routes};
use buswire_bus::StoredMessage;
use buswire_message::{HOP_LIMIT, MessageId};
use futures::future::BoxFuture;

use super::routes::failure;
use crate::admin::ports::{AdminError, HopView, Missing, PassageState, PassageView, TraceAdmin};

/// The most messages of one trace: more than that of what a message became is left out.
const HOPS_MAX: usize = 200;

/// Shows traces.
#[derive(Clone, Debug)]
pub(crate) struct TracePort(pub(crate) Routes);

impl TraceAdmin for TracePort {
    fn trace(&self, id: MessageId) -> BoxFuture<'_, Result<HopView, AdminError>> {
        Box::pin(async move {
            let absent = || {
                let missing = Missing::new("message", id.to_string());
                AdminError::NotFound(missing.told(format!("no bus has the message {id} any more")))
            };
            let found = self.0.find(id).await.map_err(failure)?;
            let (_, first) = found.ok_or_else(absent)?;
            let mut room = HOPS_MAX;
            follow(&self.0, first, HOP_LIMIT, &mut room).await.map_err(failure)
        })
    }
}

/// What became of a message, at most `depth` routes on and as long as there is room.
fn follow<'a>(
    routes: &'a Routes,
    message: Arc<StoredMessage>,
    depth: usize,
    room: &'a mut usize,
) -> BoxFuture<'a, Result<HopView, RouteError>> {
    Box::pin(async move {
        *room = room.saturating_sub(1);
        let mut passages = Vec::new();
        for mut passage in routes.passages(&message).await? {
            let mut results = Vec::new();
            for result in std::mem::take(&mut passage.results) {
                if depth > 0 && *room > 0 {
                    results.push(follow(routes, result, depth - 1, room).await?);
                }
            }
            passages.push(view(&passage, results));
        }
        Ok(HopView { message: (**message).clone(), passages })
    })
}

fn view(passage: &Passage, results: Vec<HopView>) -> PassageView {
    let failures = passage.failures.iter().map(|failure| (failure.at, failure.error.clone()));
    PassageView {
        route: passage.route.to_string(),
        sink: passage.sink.to_string(),
        state: match passage.fate {
            PassageFate::Pending => PassageState::Pending,
            PassageFate::Delivered(at) => PassageState::Delivered(at),
            PassageFate::Dead(at) => PassageState::Dead(at),
            PassageFate::Skipped => PassageState::Skipped,
            PassageFate::Passed => PassageState::Passed,
        },
        attempts: passage.attempts,
        failures: failures.collect(),
        results,
    }
}
