//! Requests and answers over HTTP.
//!
//! Never here: a rule of the protocol.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::header::RETRY_AFTER;
use reqwest::{Method, RequestBuilder};
use url::Url;

use super::{
    answer::{refusal, unpadded},
    error::ClientError,
    settings::{Server, Settings},
};

/// The longest that a server can make a client stay away.
const STAY_AWAY_MAX: Duration = Duration::from_secs(300);

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Http {
    inner: reqwest::Client,
    server: Server,
    answer_timeout: Duration,
    answer_max: usize,
}

impl Http {
    pub(super) fn new(server: Server, settings: &Settings) -> Result<Self, ClientError> {
        let inner = reqwest::Client::builder()
            // What is sent holds credentials; a redirect would take them elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.connect_timeout)
            .build()
            .map_err(ClientError::Setup)?;
        let (answer_timeout, answer_max) = (settings.answer_timeout, settings.answer_max);
        Ok(Self { inner, server, answer_timeout, answer_max })
    }

    /// A request to the endpoint below these segments, with these parameters in its URL.
    pub(super) fn request<'a>(
        &self,
        method: Method,
        segments: impl IntoIterator<Item = &'a str>,
        query: &[(&str, &str)],
    ) -> RequestBuilder {
        let mut url: Url = self.server.endpoint(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.inner.request(method, url).timeout(self.answer_timeout)
    }

    /// Sends a request that the server may hold for `held`; the body of the answer, without padding.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; whether the request took effect is then unknown.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        held: Duration,
    ) -> Result<Bytes, ClientError> {
        let response =
            request.timeout(self.answer_timeout.saturating_add(held)).send().await.map_err(lost)?;
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let mut body = BytesMut::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(lost)?;
            if body.len().saturating_add(chunk.len()) > self.answer_max {
                return Err(ClientError::TooLong(self.answer_max));
            }
            body.extend_from_slice(&chunk);
        }
        let body = body.freeze();
        let body = body.slice_ref(unpadded(&body));
        match refusal(status, &body) {
            None => Ok(body),
            Some(mut refusal) => {
                refusal.retry_after = retry_after.map(|wait| wait.min(STAY_AWAY_MAX));
                Err(ClientError::Refused(refusal))
            }
        }
    }
}

/// The URL is taken off: it may hold a token.
fn lost(error: reqwest::Error) -> ClientError {
    let error = error.without_url();
    if error.is_connect() { ClientError::Connect(error) } else { ClientError::Lost(error) }
}
