//! What became of messages.

use buswire_proto::v1;

use super::{messages, routes, to_wire_time};
use crate::admin::ports::{HopView, PassageState, PassageView};

/// A message and what became of it, on the wire: without its payload.
pub(crate) fn to_wire(hop: &HopView) -> v1::Hop {
    let message = v1::Message { payload: String::new(), ..messages::to_wire(&hop.message) };
    v1::Hop {
        message: Some(message),
        published_at: Some(to_wire_time(hop.message.id.timestamp())),
        passages: hop.passages.iter().map(passage).collect(),
    }
}

fn passage(passage: &PassageView) -> v1::Passage {
    let (state, ended_at) = match passage.state {
        PassageState::Pending => (v1::PassageState::Pending, None),
        PassageState::Delivered(at) => (v1::PassageState::Delivered, Some(at)),
        PassageState::Dead(at) => (v1::PassageState::Dead, Some(at)),
        PassageState::Skipped => (v1::PassageState::Skipped, None),
        PassageState::Passed => (v1::PassageState::Passed, None),
    };
    v1::Passage {
        route: passage.route.clone(),
        sink: passage.sink.clone(),
        state: state.into(),
        ended_at: ended_at.map(to_wire_time),
        attempts: passage.attempts,
        failures: passage.failures.iter().map(routes::failure_to_wire).collect(),
        results: passage.results.iter().map(to_wire).collect(),
    }
}
