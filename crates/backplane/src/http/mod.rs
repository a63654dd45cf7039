//! The router: which endpoint a request is for, and what all answers have in common.
//!
//! Never here: a rule of one endpoint.

mod authorization;
mod cors;
mod discovery;
mod pages;
mod provision;
mod request;
mod response;
mod scripts;
mod v1;
mod v2_code;
mod v2_error;
mod v2_messages;
mod v2_post;
mod v2_token;

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    extract::{Request, State as Shared},
    response::Response,
    routing::any,
};
use http::{Method, StatusCode, request::Parts};
use metrics::{Counter, counter};

pub(crate) use self::scripts::welcome;
use self::{v1::V1Error, v2_error::V2Error};
use crate::{
    Backplane,
    browser::Script,
    config::{Generations, SecureTransport, TlsPolicy},
    state::State,
    wire::path::{Endpoint, Family, LABELS},
};

/// What a request asks of a resource: GET, or GET without the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Get,
    Head,
}

/// The routes of the door. Paths with doubled slashes are taken whatever they begin with, since
/// published clients send such; what is not ours of these is answered 404.
pub(crate) fn router(state: Arc<State>) -> Router {
    let mut router =
        Router::new().route("//{*rest}", any(serve)).route("/.well-known/host-meta", any(serve));
    for script in Script::ALL {
        router = router.route(&format!("/{}", script.plain_name()), any(serve));
    }
    router = router.route("/static/{*rest}", any(serve));
    for first in ["v1", "v1.1", "v1.2", "v1.3", "v2", "bus"] {
        for path in [format!("/{first}"), format!("/{first}/"), format!("/{first}/{{*rest}}")] {
            router = router.route(&path, any(serve));
        }
    }
    router.with_state(state)
}

/// What is answered to a path that nobody serves (Backplane §3.8).
pub(crate) fn unknown_url() -> Response {
    response::text(StatusCode::NOT_FOUND, "Invalid Request URL")
}

/// Answers a request.
///
/// Not an `async fn`: the future of one keeps a place for the whole request until it ends, and a read
/// that waits must be small. So everything is decided here, and what waits is boxed by itself.
fn serve(
    Shared(state): Shared<Arc<State>>,
    request: Request,
) -> impl Future<Output = Response> + Send + use<> {
    let endpoint = endpoint(&state, request.uri().path());
    let label = endpoint.label();
    let is_head = request.method() == Method::HEAD;
    let preflight = cors::preflight(&state, &endpoint, &request);
    let allow_origin = cors::allow_origin(&state, &endpoint, &request);
    let answer: Answering = match (&endpoint, reading(request.method()), preflight) {
        (_, _, Some(preflight)) => Box::pin(ready(preflight)),
        (Endpoint::Messages, Some(reading), None) => {
            v2_messages::messages(state, request.into_parts().0, reading)
        }
        (_, _, None) => Box::pin(dispatch(state, request)),
    };
    async move {
        let mut response = answer.await;
        if let Some(origin) = allow_origin {
            response = cors::with_origin(response, origin);
        }
        count(label, response.status());
        if is_head { response::without_body(response) } else { response }
    }
}

/// An answer that is being made.
type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The classes of statuses.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

type Row = [OnceLock<Counter>; CLASSES.len()];

// Each is looked up once, when it is first needed and the recorder of the process is there.
static COUNTERS: [Row; LABELS.len()] =
    [const { [const { OnceLock::new() }; CLASSES.len()] }; LABELS.len()];

fn count(label: &'static str, status: StatusCode) {
    let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
    let row = LABELS.iter().position(|known| *known == label).and_then(|at| COUNTERS.get(at));
    let (Some(cell), Some(class)) = (row.and_then(|row| row.get(class)), CLASSES.get(class)) else {
        return;
    };
    let look_up =
        || counter!("buswire_backplane_requests_total", "endpoint" => label, "class" => *class);
    cell.get_or_init(look_up).increment(1);
}

fn reading(method: &Method) -> Option<Reading> {
    match *method {
        Method::GET => Some(Reading::Get),
        Method::HEAD => Some(Reading::Head),
        _ => None,
    }
}

/// The endpoint that a path names, if its generation is served.
fn endpoint<'a>(state: &State, path: &'a str) -> Endpoint<'a> {
    served(Endpoint::parse(path), state.config.generations)
}

fn served(endpoint: Endpoint<'_>, generations: Generations) -> Endpoint<'_> {
    let family = endpoint.family();
    let generation = match endpoint {
        Endpoint::Script(Script::One | Script::IdentityServices, _) => Family::One,
        Endpoint::Script(Script::Two, _) => Family::Two,
        _ => family,
    };
    let is_served = match generation {
        Family::One => generations != Generations::TwoOnly,
        Family::Two => generations != Generations::OneOnly,
        Family::Other => true,
    };
    if is_served { endpoint } else { Endpoint::Unknown(family) }
}

/// Calls the endpoint; all but the long poll.
async fn dispatch(state: Arc<State>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let endpoint = endpoint(&state, parts.uri.path());
    let is_post = parts.method == Method::POST;
    match (&endpoint, reading(&parts.method)) {
        (Endpoint::Message { id }, Some(_)) => v2_messages::message(&state, &parts, id).await,
        (Endpoint::Token, Some(reading)) => v2_token::anonymous(&state, &parts, reading).await,
        (Endpoint::Token, None) if is_post => {
            v2_token::privileged(&Backplane { state }, &parts, body).await
        }
        (Endpoint::Authorize, reading) if is_post || reading.is_some() => {
            authorization::authorize(&state, &parts, body).await
        }
        (Endpoint::Authenticate, reading) if is_post || reading.is_some() => {
            authorization::authenticate(&state, &parts, body).await
        }
        (Endpoint::HostMeta(form), Some(_)) => discovery::host_meta(&state, *form),
        (Endpoint::Post, None) if is_post => v2_post::post(&state, &parts, body).await,
        (Endpoint::NewChannel { .. }, Some(reading)) => v1::new_channel(&state, &parts, reading),
        (Endpoint::Channel { form, bus, channel }, Some(_)) => {
            v1::channel(&state, &parts, *form, bus, channel).await
        }
        (Endpoint::Channel { bus, channel, .. }, None) if is_post => {
            v1::post(&state, &parts, body, bus, channel).await
        }
        (Endpoint::NewChannel { bus }, None) if is_post => {
            v1::post(&state, &parts, body, bus, "new").await
        }
        (Endpoint::Bus { form, bus }, Some(_)) => v1::bus(&state, &parts, *form, bus).await,
        (Endpoint::Provision(call), None) if is_post => {
            provision::provision(&Backplane { state }, &parts, body, *call).await
        }
        (Endpoint::Script(script, name), Some(_)) => {
            scripts::script(&parts.headers, *script, *name)
        }
        (Endpoint::Unknown(family), _) => unknown(*family),
        (known, _) => method_not_allowed(known),
    }
}

fn unknown(family: Family) -> Response {
    match family {
        Family::One => v1::refuse(&V1Error::UnknownUrl),
        Family::Two => v2_error::refuse(&V2Error::UnknownUrl),
        Family::Other => unknown_url(),
    }
}

fn method_not_allowed(endpoint: &Endpoint<'_>) -> Response {
    let response = match (endpoint, endpoint.family()) {
        (Endpoint::Provision(_), _) | (_, Family::One) => v1::refuse(&V1Error::Method),
        (_, Family::Two) => v2_error::refuse(&V2Error::Method),
        (_, Family::Other) => {
            response::text(StatusCode::METHOD_NOT_ALLOWED, "Request method not supported")
        }
    };
    response::with_allow(response, endpoint.allowed())
}

/// Whether a request came over a transport that is good enough for what is reserved for HTTPS.
fn is_secure(state: &State, parts: &Parts) -> bool {
    match state.config.tls {
        TlsPolicy::Optional => true,
        TlsPolicy::Required => parts.extensions.get::<SecureTransport>().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use buswire_bus::{BusConfig, BusLimits, Buses};
    use buswire_message::{Cursor, Scope, Timestamp};
    use buswire_store::{Store, memory::MemoryStore};
    use buswire_testkit::{SeededEntropy, VirtualClock};

    use super::*;
    use crate::{Config, PublicUrl};

    #[tokio::test]
    async fn a_waiting_read_is_small() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = Arc::new(VirtualClock::default());
        let config = Config::new(PublicUrl::parse("https://bp.example.net").unwrap());
        let bus_config = BusConfig {
            message_url_prefix: config.public_url.message_url_prefix(),
            limits: BusLimits::default(),
            tracer: None,
        };
        let buses = Buses::open(Arc::clone(&store), clock.clone(), bus_config).await.unwrap();
        let state = State::new(buses, store, clock, Arc::new(SeededEntropy::new(1)), config);
        let state = Arc::new(state);
        let request = || Request::new(Body::empty());
        let scope = Scope::all();
        let of_the_bus =
            size_of_val(&state.buses.read_wait(&scope, Cursor::Start, 1, Timestamp::MAX));
        let outer = size_of_val(&serve(Shared(Arc::clone(&state)), request()));
        let inner = v2_messages::messages(state, request().into_parts().0, Reading::Get);
        let ours = outer + size_of_val(&*inner) - of_the_bus + v2_messages::POLL_BYTES;
        // A wait costs at most 1 KiB besides its connection; half of that is left to the bus.
        assert!(ours <= 512, "{ours} bytes, and {of_the_bus} of the bus");
    }
}
