//! What the back ends of the two vendors do, and what an administrator does for them.
//!
//! The administrator's part is the program's own commands, the vendors' is Backplane over HTTP.

use std::{io, sync::Arc};

use clap::Parser;
use reqwest::{StatusCode, header};
use serde_json::{Value, json};

use super::{ANSWER, BUS, Failure, ORDER, SERVICE};
use crate::cli::{Cli, Command};

/// The vendors' back ends, with their credentials.
#[derive(Clone)]
pub(super) struct Backend {
    http: reqwest::Client,
    base: Arc<str>,
    admin: Arc<str>,
    admin_token: Arc<str>,
    /// The privileged token of the Backplane client.
    token: Arc<str>,
}

/// A capability as `cap grant` prints it.
pub(super) struct Granted {
    pub(super) cap: String,
    pub(super) handle: String,
}

fn text(value: &Value, member: &str) -> Result<String, Failure> {
    let text = value.get(member).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| format!("the answer has no {member}").into())
}

impl Backend {
    /// Makes the bus, the client and the route to the worker, each with a command that is also
    /// written to `out`; then gets the client's token.
    pub(super) async fn set_up(
        base: &str,
        admin: &str,
        admin_token: &str,
        out: &mut (dyn io::Write + Send),
    ) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut backend = Self {
            http,
            base: base.into(),
            admin: admin.into(),
            admin_token: admin_token.into(),
            token: "".into(),
        };
        writeln!(out, "Set up as an administrator would:\n")?;
        backend.told(out, &["bus", "create", BUS]).await?;
        let source = "https://shop.example/";
        let client = ["client", "create", "--source-url", source, "--output", "json"];
        let client: Value = serde_json::from_str(&backend.told(out, &client).await?)?;
        let (id, secret) = (text(&client, "client_id")?, text(&client, "secret")?);
        backend.told(out, &["grant", "create", &id, BUS]).await?;
        let scope = format!("bus:{BUS} type:{ORDER}");
        let sink = format!("mdp:{SERVICE}");
        let route = ["route", "create", "work", "--scope", &scope, "--sink", &sink];
        backend.told(out, &[&route[..], &["--reply-type", ANSWER]].concat()).await?;
        let reply = backend
            .http
            .post(format!("{base}/v2/token"))
            .basic_auth(id, Some(secret))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials")
            .send()
            .await?;
        let token: Value = expect(reply, StatusCode::OK).await?.json().await?;
        backend.token = text(&token, "access_token")?.into();
        Ok(backend)
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Runs one of the program's commands after writing it down.
    async fn told(
        &self,
        out: &mut (dyn io::Write + Send),
        words: &[&str],
    ) -> Result<String, Failure> {
        let shown: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        writeln!(out, "  $ buswire {}", shown.join(" "))?;
        self.command(words).await
    }

    /// Runs one of the program's commands and returns what it prints.
    pub(super) async fn command(&self, words: &[&str]) -> Result<String, Failure> {
        let connection = ["--admin", &*self.admin, "--token", &*self.admin_token];
        let line = [&["buswire"], words, &connection].concat();
        let Command::Admin(command) = Cli::try_parse_from(line)?.command else {
            return Err("not a command of an administrator".into());
        };
        let runtime = tokio::runtime::Handle::current();
        // A command writes to whatever it is given, so it may not move between threads.
        let printed = tokio::task::spawn_blocking(move || {
            let mut printed = Vec::new();
            let done = runtime.block_on(command.run(&mut printed));
            done.map(|()| printed).map_err(|error| error.line())
        });
        Ok(String::from_utf8(printed.await??)?)
    }

    /// Posts an order on a channel; it is durable when this returns.
    pub(super) async fn order(&self, channel: &str, item: &str) -> Result<(), Failure> {
        let message =
            json!({"type": ORDER, "bus": BUS, "channel": channel, "payload": {"item": item}});
        let reply = self
            .http
            .post(format!("{}/v2/message", self.base))
            .bearer_auth(&self.token)
            .json(&json!({ "message": message }))
            .send()
            .await?;
        expect(reply, StatusCode::CREATED).await.map(|_| ())
    }

    /// Reads a message that a browser saw only the header of. Of the URL only the id is taken.
    pub(super) async fn message(&self, message_url: &str) -> Result<Value, Failure> {
        let id = message_url.rsplit('/').next().unwrap_or_default();
        let reply = self
            .http
            .get(format!("{}/v2/message/{id}", self.base))
            .bearer_auth(&self.token)
            .send()
            .await?;
        Ok(expect(reply, StatusCode::OK).await?.json().await?)
    }

    /// Has messages of a type on `channel` delivered to a sink.
    pub(super) async fn route(
        &self,
        name: &str,
        channel: &str,
        kind: &str,
        sink: &str,
    ) -> Result<(), Failure> {
        let scope = format!("bus:{BUS} channel:{channel} type:{kind}");
        self.command(&["route", "create", name, "--scope", &scope, "--sink", sink]).await?;
        Ok(())
    }

    /// Grants a capability.
    pub(super) async fn grant(&self, kind: &str, target: &Value) -> Result<Granted, Failure> {
        let granted =
            self.command(&["cap", "grant", kind, "--target", &target.to_string()]).await?;
        let granted: Value = serde_json::from_str(&granted)?;
        Ok(Granted { cap: text(&granted, "cap")?, handle: text(&granted, "handle")? })
    }

    /// Revokes a capability.
    pub(super) async fn revoke(&self, handle: &str) -> Result<(), Failure> {
        self.command(&["cap", "revoke", handle]).await.map(|_| ())
    }
}

/// Passes on an answer with the expected status.
pub(super) async fn expect(
    reply: reqwest::Response,
    status: StatusCode,
) -> Result<reqwest::Response, Failure> {
    let got = reply.status();
    if got == status {
        return Ok(reply);
    }
    let body = reply.text().await.unwrap_or_default();
    Err(format!("answered {got} instead of {status}: {body}").into())
}

fn quoted(word: &str) -> String {
    if word.contains([' ', '"']) { format!("'{word}'") } else { word.to_owned() }
}
