//! The client of Backplane 2.0.
//!
//! Never here: when a token is renewed, which `tokens` decides.

use std::{sync::Arc, time::Duration};

use buswire_message::{BusName, ChannelName, Field, Scope, Secret};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use super::{
    answer::{Message, Page, json},
    error::ClientError,
    http::Http,
    poll::Position,
    settings::{Server, Settings},
    stream::MessageStream,
    tokens::{Access, Need, TokenRequest, Tokens},
};
use crate::Post;

/// A client of one Backplane 2.0 server. Cheap to clone; all clones share the tokens, and one request
/// for a token is made at a time, whoever needs it.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: Http,
    settings: Settings,
    scope: Scope,
    tokens: Mutex<Tokens>,
}

#[derive(Serialize)]
struct PostBody<'a> {
    message: Upstream<'a>,
}

#[derive(Serialize)]
struct Upstream<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    bus: &'a str,
    channel: &'a str,
    sticky: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire: Option<String>,
    payload: &'a RawValue,
}

impl Client {
    /// Makes a client. Nothing is sent before something is asked for.
    ///
    /// # Errors
    ///
    /// [`ClientError::Setup`].
    pub fn new(server: Server, access: Access, settings: Settings) -> Result<Self, ClientError> {
        Self::scoped(server, access, Scope::all(), settings)
    }

    /// The same, for a part of what the access allows: other messages are neither read nor posted
    /// (Backplane §8.5). A visit may name filters only, no buses and no channels.
    ///
    /// # Errors
    ///
    /// [`ClientError::Setup`].
    pub fn scoped(
        server: Server,
        access: Access,
        scope: Scope,
        settings: Settings,
    ) -> Result<Self, ClientError> {
        let http = Http::new(server, &settings)?;
        let tokens = Mutex::new(Tokens::new(access));
        Ok(Self { inner: Arc::new(Inner { http, settings, scope, tokens }) })
    }

    /// The scope that the server has given, asking for a token if there is none.
    ///
    /// # Errors
    ///
    /// Those of a call; [`ClientError::Answer`] if it is no scope.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn scope(&self) -> Result<Scope, ClientError> {
        let mut tokens = self.inner.tokens.lock().await;
        self.token(&mut tokens).await?;
        tokens.scope().parse().map_err(|_| ClientError::Answer("a scope"))
    }

    /// The channel of a visit; `None` for other clients.
    ///
    /// # Errors
    ///
    /// Those of [`scope`](Self::scope).
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the channel stays and is given again.
    pub async fn channel(&self) -> Result<Option<ChannelName>, ClientError> {
        let scope = self.scope().await?;
        let channel = scope.values(Field::Channel).next();
        channel.map(|name| name.parse().map_err(|_| ClientError::Answer("a channel"))).transpose()
    }

    /// Posts a message to a channel of a bus (Backplane §10.5). It is stored when this returns.
    ///
    /// # Errors
    ///
    /// Those of a call. After [`ClientError::Lost`] it may be stored or not; it is not sent twice.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; whether the message was stored is then unknown.
    pub async fn post(
        &self,
        bus: &BusName,
        channel: &ChannelName,
        post: &Post,
    ) -> Result<(), ClientError> {
        let message = Upstream {
            kind: post.kind.as_str(),
            bus: bus.name(),
            channel: channel.as_str(),
            sticky: post.sticky,
            expire: post.expire.map(|at| at.to_rfc3339().to_string()),
            payload: &post.payload,
        };
        let body = serde_json::to_vec(&PostBody { message })
            .map_err(|_| ClientError::Answer("a message"))?;
        let body = Bytes::from(body);
        let request = || {
            let request = self.inner.http.request(Method::POST, ["v2", "message"], &[]);
            request.header(CONTENT_TYPE, "application/json").body(body.clone())
        };
        self.call(request, Duration::ZERO).await.map(drop)
    }

    /// Reads a page of messages at once: those behind `from`, at most as many as the server puts on
    /// a page (Backplane §10.3).
    ///
    /// # Errors
    ///
    /// Those of a call.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn read(&self, from: &Position) -> Result<Page, ClientError> {
        self.poll(from, Duration::ZERO).await
    }

    /// Reads a page, waiting up to `block` for the first message: 0 to 25 s.
    pub(super) async fn poll(&self, from: &Position, block: Duration) -> Result<Page, ClientError> {
        let seconds = block.as_secs().to_string();
        let mut query = vec![("block", seconds.as_str())];
        query.extend(from.since().map(|since| ("since", since)));
        let request = || self.inner.http.request(Method::GET, ["v2", "messages"], &query);
        Page::read(&self.call(request, block).await?, from)
    }

    /// Reads one message: what a page was told the `messageURL` of (Backplane §10.4).
    ///
    /// # Errors
    ///
    /// Those of a call. [`Refused`](ClientError::Refused) with 404 if there is none for this client.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn message(&self, id_or_url: &str) -> Result<Message, ClientError> {
        // A page may name any server; this one is asked.
        let id = id_or_url.rsplit('/').next().unwrap_or_default();
        let request = || self.inner.http.request(Method::GET, ["v2", "message", id], &[]);
        json(&self.call(request, Duration::ZERO).await?, "a message")
    }

    /// Follows the messages behind `from`, those that exist and those to come.
    pub fn stream(&self, from: Position) -> MessageStream {
        MessageStream::new(self.clone(), from)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Makes a call with a token, once more if the token turns out to be over.
    async fn call(
        &self,
        request: impl Fn() -> RequestBuilder,
        held: Duration,
    ) -> Result<Bytes, ClientError> {
        let token = self.present().await?;
        let http = &self.inner.http;
        match http.send(request().bearer_auth(token.expose()), held).await {
            Err(ClientError::Refused(refusal)) if refusal.is_of_token() => {
                self.inner.tokens.lock().await.rejected(&token);
            }
            answer => return answer,
        }
        let token = self.present().await?;
        http.send(request().bearer_auth(token.expose()), held).await
    }

    async fn present(&self) -> Result<Secret<String>, ClientError> {
        // Others that need a token wait here for the one who asks for it.
        self.token(&mut *self.inner.tokens.lock().await).await
    }

    async fn token(&self, tokens: &mut Tokens) -> Result<Secret<String>, ClientError> {
        loop {
            let now = self.inner.settings.clock.now();
            let request = match tokens.need(now) {
                Need::Present(token) => return Ok(token),
                Need::Ended => return Err(ClientError::Ended),
                Need::Ask(request) => request,
            };
            let error = match self.ask(tokens, &request).await {
                Ok(body) => return Ok(tokens.granted(json(&body, "a token")?, now)),
                Err(error) => error,
            };
            let goes_on = match &error {
                ClientError::Refused(refusal) if !refusal.is_transient() => {
                    tokens.refused(request.grant, refusal)
                }
                _ => false,
            };
            // Going on takes giving up a refresh token, so there are two rounds at most.
            if !goes_on {
                return Err(hiding(error, &request));
            }
        }
    }

    async fn ask(&self, tokens: &Tokens, request: &TokenRequest) -> Result<Bytes, ClientError> {
        let scope = self.inner.scope.to_string();
        let params = request.params.iter().map(|(name, value)| (*name, value.expose().as_str()));
        let scope = Some(("scope", scope.as_str())).filter(|_| !self.inner.scope.is_all());
        let params: Vec<_> = params.chain(scope).collect();
        let (http, path) = (&self.inner.http, ["v2", "token"]);
        let request = match tokens.credentials() {
            None => http.request(Method::GET, path, &params),
            Some(credentials) => http
                .request(Method::POST, path, &[])
                .basic_auth(&credentials.client_id, Some(credentials.secret.expose()))
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(
                    url::form_urlencoded::Serializer::new(String::new())
                        .extend_pairs(params)
                        .finish(),
                ),
        };
        http.send(request, Duration::ZERO).await
    }
}

/// Takes what was sent off a refusal: a server may repeat a code in its words (Backplane §10.2).
fn hiding(error: ClientError, request: &TokenRequest) -> ClientError {
    let ClientError::Refused(mut refusal) = error else { return error };
    for (_, sent) in
        request.params.iter().filter(|(name, _)| ["code", "refresh_token"].contains(name))
    {
        refusal.description = refusal.description.replace(sent.expose(), "…");
    }
    ClientError::Refused(refusal)
}
