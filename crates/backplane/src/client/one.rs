//! The client of Backplane 1.x.
//!
//! Never here: anything of 2.0.

use std::time::Duration;

use buswire_message::{BusName, ChannelName, Secret, SourceUrl};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    answer::{Frame, json},
    error::ClientError,
    http::Http,
    settings::{Server, Settings},
};
use crate::{Post, UserName};

/// Under which path 1.x is spoken (Backplane §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum V1Path {
    /// `/v1`.
    One,
    /// `/v1.1`.
    OneOne,
    /// `/v1.2`, which most servers have.
    #[default]
    OneTwo,
    /// `/v1.3`, which shows when messages expire.
    OneThree,
}

impl V1Path {
    const fn segment(self) -> &'static str {
        match self {
            Self::One => "v1",
            Self::OneOne => "v1.1",
            Self::OneTwo => "v1.2",
            Self::OneThree => "v1.3",
        }
    }
}

/// Which messages are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Select<'a> {
    /// Those behind the message of this id; `None` for all that there are.
    pub since: Option<&'a str>,
    /// Only sticky ones.
    pub only_sticky: bool,
}

/// A client of one Backplane 1.x server.
#[derive(Debug)]
pub struct V1Client {
    http: Http,
    path: V1Path,
    user: Option<(UserName, Secret<String>)>,
}

#[derive(Serialize)]
struct Upstream<'a> {
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    sticky: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire: Option<String>,
    payload: &'a RawValue,
}

impl V1Client {
    /// Makes a client, which can read channels.
    ///
    /// # Errors
    ///
    /// [`ClientError::Setup`].
    pub fn new(server: Server, path: V1Path, settings: &Settings) -> Result<Self, ClientError> {
        Ok(Self { http: Http::new(server, settings)?, path, user: None })
    }

    /// The same with the name and password of a user, which posting and reading a whole bus need.
    #[must_use]
    pub fn with_user(self, user: UserName, password: String) -> Self {
        Self { user: Some((user, Secret::new(password))), ..self }
    }

    /// A new channel of a bus (Backplane §6.3).
    ///
    /// # Errors
    ///
    /// Those of a call.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the server keeps nothing.
    pub async fn new_channel(&self, bus: &BusName) -> Result<ChannelName, ClientError> {
        let request = self.request(Method::GET, bus, &["channel", "new"], &[]);
        let name: String = json(&self.send(request).await?, "a channel")?;
        name.parse().map_err(|_| ClientError::Answer("a channel"))
    }

    /// Posts messages to a channel, from `source` (Backplane §6.7). Servers store all or none of them,
    /// except for old ones.
    ///
    /// # Errors
    ///
    /// Those of a call. After [`ClientError::Lost`] they may be stored or not.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; whether the messages were stored is then unknown.
    pub async fn post(
        &self,
        bus: &BusName,
        channel: &ChannelName,
        source: &SourceUrl,
        posts: &[Post],
    ) -> Result<(), ClientError> {
        let upstream = |post| upstream(source, post);
        let body = serde_json::to_vec(&posts.iter().map(upstream).collect::<Vec<_>>())
            .map_err(|_| ClientError::Answer("a message"))?;
        let request = self.request(Method::POST, bus, &["channel", channel.as_str()], &[]);
        let request = self.authenticated(request).header(CONTENT_TYPE, "application/json");
        self.send(request.body(body)).await.map(drop)
    }

    /// Reads a channel, oldest message first. Needs no user (Backplane §6.4).
    ///
    /// # Errors
    ///
    /// Those of a call.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn channel(
        &self,
        bus: &BusName,
        channel: &ChannelName,
        select: Select<'_>,
    ) -> Result<Vec<Frame>, ClientError> {
        let request =
            self.request(Method::GET, bus, &["channel", channel.as_str()], &query(select));
        json(&self.send(request).await?, "a list of frames")
    }

    /// Reads all channels of a bus, oldest message first (Backplane §6.5).
    ///
    /// # Errors
    ///
    /// Those of a call.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn bus(&self, bus: &BusName, select: Select<'_>) -> Result<Vec<Frame>, ClientError> {
        let request = self.request(Method::GET, bus, &[], &query(select));
        json(&self.send(self.authenticated(request)).await?, "a list of frames")
    }

    fn request(
        &self,
        method: Method,
        bus: &BusName,
        rest: &[&str],
        query: &[(&str, &str)],
    ) -> RequestBuilder {
        let segments =
            [self.path.segment(), "bus", bus.name()].into_iter().chain(rest.iter().copied());
        self.http.request(method, segments, query)
    }

    fn authenticated(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.user {
            Some((name, password)) => request.basic_auth(name, Some(password.expose())),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Bytes, ClientError> {
        self.http.send(request, Duration::ZERO).await
    }
}

fn upstream<'a>(source: &'a SourceUrl, post: &'a Post) -> Upstream<'a> {
    Upstream {
        source: source.as_str(),
        kind: post.kind.as_str(),
        sticky: post.sticky,
        expire: post.expire.map(|at| at.to_rfc3339().to_string()),
        payload: &post.payload,
    }
}

fn query(select: Select<'_>) -> Vec<(&'static str, &str)> {
    let sticky = select.only_sticky.then_some(("sticky", "true"));
    select.since.map(|since| ("since", since)).into_iter().chain(sticky).collect()
}
