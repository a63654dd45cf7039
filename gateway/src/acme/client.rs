//! The way to the server: one HTTP client with bounds, for the protocol library.
//!
//! Never here: what is asked.

use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};

/// How long one request may take.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// The longest answer: chains of certificates have a few KiB.
const ANSWER_MAX: usize = 1 << 20;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The file with the authorities can't be read.
    #[error("http.acme.ca: {} can't be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The authorities, or those of the system, can't be used.
    #[error("http.acme.ca: the authorities can't be used")]
    Authorities(#[from] reqwest::Error),
    /// The file holds no certificate.
    #[error("http.acme.ca: {} holds no certificate", .0.display())]
    Empty(PathBuf),
}

/// Why a request brought no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The server can't be reached, or does not answer in time.
    #[error("the server can't be reached")]
    Unreachable(#[from] reqwest::Error),
    /// It answered with more than we take.
    #[error("the answer of the server is longer than {ANSWER_MAX} bytes")]
    TooLong,
}

/// How long the server asks us to stay away, as of its last refusal.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Arc<Mutex<Option<Duration>>>);

impl Asked {
    fn set(&self, asked: Option<Duration>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    pub(super) fn take(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The client. Clones share their connections.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    asked: Asked,
}

impl Client {
    /// A client that trusts the authorities in the file `ca`, or else those of the system.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub(super) fn new(ca: Option<&Path>, asked: Asked) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(REQUEST_TIME)
            .pool_max_idle_per_host(1);
        if let Some(path) = ca {
            let pem = fs::read(path)
                .map_err(|source| ClientError::File { path: path.to_owned(), source })?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem)?;
            if authorities.is_empty() {
                return Err(ClientError::Empty(path.to_owned()));
            }
            builder = builder.tls_certs_only(authorities);
        }
        Ok(Self { http: builder.build()?, asked })
    }

    async fn send(
        self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, RequestError> {
        let (parts, body) = request.into_parts();
        // It is whole in memory, and can't fail.
        let body =
            body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let request = http::Request::from_parts(parts, reqwest::Body::from(body));
        let mut response = self.http.execute(request.try_into()?).await?;
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        if response.status().is_client_error() || response.status().is_server_error() {
            let asked = response.headers().get(http::header::RETRY_AFTER);
            let seconds = asked.and_then(|value| value.to_str().ok()?.parse().ok());
            self.asked.set(seconds.map(Duration::from_secs));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(RequestError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        // What a server sent is a response.
        Ok(answer.body(Full::new(body.freeze())).unwrap_or_default().into())
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let sent = self.clone().send(request);
        Box::pin(
            async move { sent.await.map_err(|error| instant_acme::Error::Other(Box::new(error))) },
        )
    }
}
