//! Reading 2.0 messages, at once or after a wait (Backplane §10.3, §10.4).

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use buswire_bus::{BusError, ReadPage, StoredMessage, View};
use buswire_message::{Field, MessageId};
use bytes::Bytes;
use http::{StatusCode, request::Parts};

use super::{
    Answering, Reading, is_secure,
    request::authorization,
    response,
    v2_error::{V2Error, echo, refuse},
};
use crate::{
    rules::access::{self, bearer},
    state::{
        State,
        tokens::{Bearer, Verified},
    },
    wire::{
        callback::Callback,
        frame::{self, Access},
        params::Params,
        since::Since,
    },
};

pub(super) fn params(parts: &Parts) -> Params<'_> {
    Params::parse(parts.uri.query().unwrap_or_default().as_bytes())
}

/// The good access token that a request carries, of any kind that reads.
pub(super) async fn access_token(
    state: &State,
    parts: &Parts,
    params: &Params<'_>,
) -> Result<Verified, V2Error> {
    let header = authorization(&parts.headers).and_then(bearer);
    let text = access::choose(params.first("access_token"), header)?;
    let verified = state.verify_token(text).await.map_err(V2Error::of_access)?;
    if access::is_access(verified.token.kind) {
        Ok(verified)
    } else {
        Err(V2Error::TokenType(verified.token.kind))
    }
}

/// What a read of messages was asked for.
struct Poll {
    verified: Verified,
    since: Since,
    block: Duration,
}

#[cfg(test)]
pub(super) const POLL_BYTES: usize = size_of::<Poll>();

/// `GET /v2/messages`.
///
/// A read that waits holds what it needs to answer and nothing of its request: the request is in a
/// future of its own, which is gone before the wait.
pub(crate) fn messages(state: Arc<State>, parts: Parts, reading: Reading) -> Answering {
    let preparing = Box::pin(prepare(Arc::clone(&state), parts, reading));
    Box::pin(async move {
        let (callback, poll) = match preparing.await {
            Ok(prepared) => prepared,
            Err(error) => return refuse(&error),
        };
        let poll = match poll {
            Ok(poll) => poll,
            Err(error) => return respond(&state, callback.as_ref(), Err(error)),
        };
        let result = answer(&state, &poll).await;
        respond(&state, callback.as_ref(), result)
    })
}

/// The poll is boxed, since it is handed on several times while a waiting read must stay small.
type Prepared = (Option<Callback>, Result<Box<Poll>, V2Error>);

/// The outer error is one that must not be padded.
async fn prepare(state: Arc<State>, parts: Parts, reading: Reading) -> Result<Prepared, V2Error> {
    let params = params(&parts);
    let callback = Callback::from_param(params.first("callback")).map_err(|_| V2Error::Callback)?;
    if !is_secure(&state, &parts) {
        return Ok((callback, Err(V2Error::Insecure)));
    }
    let poll = async {
        let verified = access_token(&state, &parts, &params).await?;
        let block = match reading {
            Reading::Get => block(&params, state.config.limits.block_seconds_max)?,
            Reading::Head => Duration::ZERO,
        };
        let since = Since::from_param(params.first("since"));
        Ok(Box::new(Poll { verified, since, block }))
    };
    let poll = poll.await;
    Ok((callback, poll))
}

fn block(params: &Params<'_>, max: u32) -> Result<Duration, V2Error> {
    let Some(text) = params.non_blank("block") else { return Ok(Duration::ZERO) };
    match text.parse::<u32>() {
        Ok(seconds) if seconds <= max => Ok(Duration::from_secs(seconds.into())),
        _ => Err(V2Error::Block { value: echo(text), max }),
    }
}

async fn answer(state: &State, poll: &Poll) -> Result<Vec<u8>, V2Error> {
    let page = read(state, poll).await.map_err(|error| V2Error::unavailable(&error))?;
    if !poll.block.is_zero() {
        // It may have been revoked during the wait (§17).
        Box::pin(state.verify_again(&poll.verified)).await.map_err(V2Error::of_access)?;
    }
    Ok(body(state, poll, &page))
}

async fn read(state: &State, poll: &Poll) -> Result<ReadPage, BusError> {
    let (scope, since) = (&poll.verified.token.scope, poll.since.cursor);
    let limit = state.config.limits.page_size;
    if !scope.has(Field::Bus) {
        // Nothing was posted to the channel yet, or it would be bound (§7.2).
        return Ok(ReadPage { messages: Vec::new(), next: since, more: false });
    }
    if !poll.block.is_zero()
        && let Some(_place) = state.waiting.enter(poll.verified.hash)
    {
        let deadline = state.now().saturating_add(poll.block);
        match state.buses.read_wait(scope, since, limit, deadline).await {
            Err(BusError::TooManyWaiters { .. }) => {}
            page => return page,
        }
    }
    state.buses.read(scope, since, limit).await
}

/// `nextURL`, `messages`, `moreMessages`, and nothing else: published clients fail on more.
fn body(state: &State, poll: &Poll, page: &ReadPage) -> Vec<u8> {
    let access = access_of(&poll.verified);
    let position = match page.messages.last() {
        Some(last) => last.id.to_string(),
        None => poll.since.position_after(page.next),
    };
    let shown: Vec<Bytes> =
        page.messages.iter().map(|message| shown(state, message, access)).collect();
    let mut body = b"{\"nextURL\":\"".to_vec();
    body.extend_from_slice(state.config.public_url.as_str().as_bytes());
    body.extend_from_slice(b"/v2/messages?since=");
    body.extend_from_slice(position.as_bytes());
    body.extend_from_slice(b"\",\"messages\":");
    frame::push_array(&mut body, &shown);
    body.extend_from_slice(b",\"moreMessages\":");
    body.extend_from_slice(if page.more { b"true" } else { b"false" });
    body.push(b'}');
    body
}

const fn access_of(verified: &Verified) -> Access {
    match verified.bearer {
        Bearer::Anonymous => Access::Header,
        Bearer::Privileged(_) => Access::Full,
    }
}

fn shown(state: &State, message: &StoredMessage, access: Access) -> Bytes {
    let view = match access {
        Access::Header => View::V2Header,
        Access::Full => View::V2Full,
    };
    message.view(view, |message| {
        frame::two(message, access, &state.message_url_prefix, state.config.sticky_form)
    })
}

/// `GET /v2/message/{id}`.
pub(crate) async fn message(state: &State, parts: &Parts, id: &str) -> Response {
    let params = params(parts);
    let Ok(callback) = Callback::from_param(params.first("callback")) else {
        return refuse(&V2Error::Callback);
    };
    let result = if is_secure(state, parts) {
        one_message(state, parts, &params, id).await
    } else {
        Err(V2Error::Insecure)
    };
    respond(state, callback.as_ref(), result)
}

async fn one_message(
    state: &State,
    parts: &Parts,
    params: &Params<'_>,
    id: &str,
) -> Result<Vec<u8>, V2Error> {
    let verified = access_token(state, parts, params).await?;
    // One answer whether it never was, is over, or is not this token's to see.
    let parsed: MessageId = id.parse().map_err(|_| V2Error::NotFound(echo(id)))?;
    let scope = &verified.token.scope;
    if !scope.has(Field::Bus) {
        return Err(V2Error::NotFound(echo(id)));
    }
    let found = state.buses.message(parsed, scope).await;
    match found.map_err(|error| V2Error::unavailable(&error))? {
        Some(message) => Ok(shown(state, &message, access_of(&verified)).to_vec()),
        None => Err(V2Error::NotFound(echo(id))),
    }
}

pub(super) fn respond(
    state: &State,
    callback: Option<&Callback>,
    result: Result<Vec<u8>, V2Error>,
) -> Response {
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (error.status(), error.body()),
    };
    response::maybe_padded(callback, state.config.padding_prefix, status, body)
}
