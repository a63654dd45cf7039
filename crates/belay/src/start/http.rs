//! `POST /belay/start` and `POST /belay/start/take` (Belay §22.5).
//!
//! Only the frame of this gateway calls them, from the same origin: nothing says that pages of others
//! may read the answer, and a browser that says a request is theirs is refused. Never here: an access
//! log.

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use buswire_message::{Secret, mint_base64url, source_of};
use http::HeaderMap;

use super::{StartRecords, mailbox::Record};
use crate::{
    BcapError, BcapValue, Members, decode, encode,
    http::{client_address, read, same_origin},
};

/// What a start id and the members around a record take beside it.
const WRAPPER_BYTES: usize = 1024;

impl StartRecords {
    /// The paths `/belay/start` and `/belay/start/take`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/belay/start", post(put))
            .route("/belay/start/take", post(take))
            .with_state(self.clone())
    }

    /// `{"value": {"record": …, "origin": …}}` gives `{"value": {"startId": …}}`.
    async fn put(&self, request: Request) -> Result<String, BcapError> {
        let (inner, now) = (&*self.0, self.0.clock.now());
        let source = client_address(request.extensions()).map(source_of);
        if let Some(source) = source {
            inner.limit.count(source, now).map_err(|wait| BcapError::TooManyRequests {
                retry_after_secs: u32::try_from(wait.0.as_secs()).unwrap_or(u32::MAX).max(1),
            })?;
        }
        let value = self.value(request).await?;
        let members = value.as_object().ok_or(BcapError::BadRequest)?;
        let record = members.get("record").ok_or(BcapError::BadRequest)?;
        let origin = origin(members)?;
        let text = encode(Some(record), inner.config.wire).map_err(|_| BcapError::BadRequest)?;
        if text.len() > inner.config.record_bytes_max {
            return Err(BcapError::TooLarge);
        }
        let id = mint_base64url(&*inner.entropy, 32);
        let record = Record { text: Secret::new(text), origin };
        inner.leave(&id, record).await?;
        Ok(format!(r#"{{"value":{{"startId":"{}"}}}}"#, id.expose()))
    }

    /// `{"value": "ID"}`, or `{"value": {"startId": "ID", "origin": …}}` with the origin of the page
    /// that the frame is in, gives `{"value": RECORD}`.
    async fn take(&self, request: Request) -> Result<String, BcapError> {
        let value = self.value(request).await?;
        let (id, origin) = match value.as_object() {
            Some(members) => {
                let id = members.get("startId").and_then(BcapValue::as_str);
                (id, origin(members)?)
            }
            None => (value.as_str(), None),
        };
        let id = Secret::new(id.ok_or(BcapError::BadRequest)?.to_owned());
        Ok(self.0.take(&id, origin.as_deref()).await?.expose().clone())
    }

    async fn value(&self, request: Request) -> Result<BcapValue, BcapError> {
        let (parts, body) = request.into_parts();
        check_site(&parts.headers)?;
        let config = &self.0.config;
        let body = read(body, &parts.headers, config.record_bytes_max + WRAPPER_BYTES).await?;
        let value = decode(&body, config.wire).map_err(|_| BcapError::BadRequest)?;
        value.ok_or(BcapError::BadRequest)
    }
}

async fn put(State(records): State<StartRecords>, request: Request) -> Response {
    same_origin(records.put(request).await)
}

async fn take(State(records): State<StartRecords>, request: Request) -> Response {
    same_origin(records.take(request).await)
}

/// Browsers say whose page a request is from; other clients say nothing.
fn check_site(headers: &HeaderMap) -> Result<(), BcapError> {
    match headers.get("sec-fetch-site") {
        Some(site) if site != "same-origin" => Err(BcapError::Forbidden),
        _ => Ok(()),
    }
}

fn origin(members: &Members) -> Result<Option<String>, BcapError> {
    match members.get("origin") {
        None | Some(BcapValue::Null) => Ok(None),
        Some(origin) => origin.as_str().map(str::to_owned).map(Some).ok_or(BcapError::BadRequest),
    }
}
