//! The crossing: every hop of one message, with its time.

use std::{io, time::Duration};

use buswire_message::Version;
use buswire_simplepush::client::{Client, Event, Events};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    ANSWER, BUS, Failure, ORDER,
    backend::{Backend, expect},
};

/// How long one hop may take.
const HOP_MAX: Duration = Duration::from_secs(5);

/// Tells hops as they happen.
struct Story<'w> {
    out: &'w mut (dyn io::Write + Send),
    start: Instant,
    last: Instant,
}

impl Story<'_> {
    /// Waits for a hop and writes it down; fails if it fails or takes too long.
    async fn hop<T>(
        &mut self,
        door: &str,
        what: &str,
        hop: impl Future<Output = Result<(T, String), Failure>>,
    ) -> Result<T, Failure> {
        let result = timeout(HOP_MAX, hop).await;
        let result = result.unwrap_or_else(|_| Err(format!("took over {HOP_MAX:?}").into()));
        let now = Instant::now();
        let (total, step) = (now - self.start, now - self.last);
        self.last = now;
        let [total, step] = [total, step].map(|time| time.as_secs_f64() * 1e3);
        match result {
            Ok((value, seen)) => {
                writeln!(self.out, "  {total:7.1} ms  {step:+7.1}  {door:<10}  {what}: {seen}")?;
                self.out.flush()?;
                Ok(value)
            }
            Err(error) => Err(format!("{door}: {what}: {error}").into()),
        }
    }
}

/// Sends one order and follows it to the revoked capability.
pub(super) async fn run(
    backend: &Backend,
    out: &mut (dyn io::Write + Send),
) -> Result<(), Failure> {
    let visit = Visit::begin(backend).await?;
    let device = Client::builder(&(backend.base().replacen("http", "ws", 1) + "/push"))?;
    let (device, mut events) = device.start().await?;
    let (_channel, endpoint) = device.register_new().await?;
    backend.route("ring", &visit.channel, ANSWER, &format!("push:{}", endpoint.as_str())).await?;
    let granted = backend.grant("bus.read", &json!({"bus": BUS, "channel": visit.channel})).await?;

    writeln!(out, "One message, hop by hop:\n")?;
    let now = Instant::now();
    let mut story = Story { out, start: now, last: now };
    let post = async {
        backend.order(&visit.channel, "two tickets to Oslo").await?;
        Ok(((), "201, it is on disk".to_owned()))
    };
    story.hop("Backplane", "a widget's back end posts an order", post).await?;
    let since = story.hop("Backplane", "the page's long poll", visit.wait_for(ORDER, None)).await?;
    let answer = visit.wait_for(ANSWER, Some(&since));
    story.hop("Majordomo", "a worker's answer is on the channel", answer).await?;
    let ring = async {
        let version = next_version(&mut events).await?;
        Ok(((), format!("version {version}")))
    };
    story.hop("SimplePush", "a device is told", ring).await?;
    story.hop("Belay", "a link reads the channel", read_both(backend, &granted.cap)).await?;
    let revoke = async {
        backend.revoke(&granted.handle).await?;
        let reply = backend.http().get(&granted.cap).send().await?;
        expect(reply, StatusCode::NOT_FOUND).await?;
        Ok(((), "404".to_owned()))
    };
    story.hop("Belay", "the link is revoked and read again", revoke).await?;
    Ok(())
}

/// The next version that the device is told, acknowledged.
async fn next_version(events: &mut Events) -> Result<Version, Failure> {
    let Some(Event::Update(update)) = events.next().await.transpose()? else {
        return Err("the device is told of no version".into());
    };
    update.acknowledge().await?;
    Ok(update.version())
}

async fn read_both(backend: &Backend, cap: &str) -> Result<((), String), Failure> {
    let reply = backend.http().get(cap).send().await?;
    let body: Value = expect(reply, StatusCode::OK).await?.json().await?;
    let messages = body.pointer("/value/messages").and_then(Value::as_array);
    let kinds: Vec<&str> = messages
        .into_iter()
        .flatten()
        .filter_map(|message| message.get("type").and_then(Value::as_str))
        .collect();
    if kinds == [ORDER, ANSWER] {
        Ok(((), format!("200, {}", kinds.join(" and "))))
    } else {
        Err(format!("it read {kinds:?}").into())
    }
}

/// A browser's visit: a channel and the anonymous token that reads it.
struct Visit<'b> {
    backend: &'b Backend,
    channel: String,
    token: String,
}

impl<'b> Visit<'b> {
    async fn begin(backend: &'b Backend) -> Result<Self, Failure> {
        let url = format!("{}/v2/token?bus={BUS}&callback=cb", backend.base());
        let padded = backend.http().get(url).send().await?;
        let padded = expect(padded, StatusCode::OK).await?.text().await?;
        let json = padded.trim().strip_prefix("cb(").and_then(|rest| rest.strip_suffix(");"));
        let token: Value = serde_json::from_str(json.ok_or("the token is not padded")?)?;
        let member = |name: &str| token.get(name).and_then(Value::as_str).unwrap_or_default();
        let channel = member("scope").split("channel:").nth(1).ok_or("a scope without channel")?;
        Ok(Self { backend, channel: channel.to_owned(), token: member("access_token").to_owned() })
    }

    /// Long-polls until a message of this type arrives, and returns its id.
    async fn wait_for(&self, kind: &str, since: Option<&str>) -> Result<(String, String), Failure> {
        let since = since.map(|id| format!("&since={id}")).unwrap_or_default();
        let base = self.backend.base();
        let url = format!("{base}/v2/messages?access_token={}&block=5{since}", self.token);
        let reply = self.backend.http().get(url).send().await?;
        let page: Value = expect(reply, StatusCode::OK).await?.json().await?;
        let header = page.pointer("/messages/0").ok_or("nothing came")?;
        let member = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default();
        if member("type") != kind {
            return Err(format!("a {} came instead of a {kind}", member("type")).into());
        }
        let id = member("messageURL").rsplit('/').next().unwrap_or_default().to_owned();
        Ok((id.clone(), format!("{kind} {id}")))
    }
}
