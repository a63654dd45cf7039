//! `buswire message`.

use std::io::Write;

use buswire_proto::v1::{self, message_service_client::MessageServiceClient};
use clap::{Args, Subcommand};
use serde::{Serialize, Serializer};
use serde_json::{json, value::RawValue};

use super::{
    connection::{Connection, Gateway, call},
    error::CliError,
    output::{self, Output},
    until_interrupted,
};

/// Commands about messages.
#[derive(Debug, Subcommand)]
pub enum MessageCommand {
    /// Publishes a message and prints its id
    #[command(
        after_help = r#"Example: buswire message publish --bus shop.example --channel orders --type order/new --payload '{"tickets":2}'"#
    )]
    Publish(PublishArgs),
    /// Prints messages as they come, one JSON object a line
    #[command(
        after_help = "Example: buswire message tail --scope 'bus:shop.example channel:orders' --since now"
    )]
    Tail {
        /// Which messages, such as "bus:example.com channel:orders"
        #[arg(long)]
        scope: String,
        /// Begins after this message, with `now`, or at the `beginning` of what is kept
        #[arg(long, value_name = "ID", default_value = "beginning")]
        since: String,
        /// Ends after so many messages
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
    },
    /// Prints the messages that are kept, one JSON object a line
    #[command(
        after_help = "Example: buswire message read --scope 'bus:shop.example type:order/new'"
    )]
    Read {
        /// Which messages, such as "bus:example.com channel:orders"
        #[arg(long)]
        scope: String,
        /// Begins after this message, or at the `beginning` of what is kept
        #[arg(long, value_name = "ID", default_value = "beginning")]
        since: String,
    },
}

/// A message to publish.
#[derive(Args)]
pub struct PublishArgs {
    /// The bus
    #[arg(long)]
    bus: String,
    /// The channel
    #[arg(long)]
    channel: String,
    /// The type, such as order/new
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// Who it is from, an absolute URL [default: the gateway]
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    source: String,
    /// Keeps it for late readers
    #[arg(long)]
    sticky: bool,
    /// The content, one JSON value
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    payload: String,
    /// Publishing again with the same key changes nothing and prints the same id
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    dedupe_key: String,
}

impl std::fmt::Debug for PublishArgs {
    /// Leaves out the payload.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishArgs").field("bus", &self.bus).finish_non_exhaustive()
    }
}

/// A message as one JSON object; the payload is spliced in as it was published.
#[derive(Serialize)]
struct MessageView<'a> {
    id: &'a str,
    bus: &'a str,
    channel: &'a str,
    r#type: &'a str,
    source: &'a str,
    sticky: bool,
    expires_at: serde_json::Value,
    #[serde(serialize_with = "spliced")]
    payload: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    traceparent: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tracestate: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    via: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    in_reply_to: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    dedupe_key: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    content_type: &'a str,
}

fn spliced<S: Serializer>(json: &&str, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::from_str::<&RawValue>(json)
        .map_err(serde::ser::Error::custom)?
        .serialize(serializer)
}

/// Writes a message as one JSON object in one line.
pub(super) fn print(out: &mut dyn Write, message: &v1::Message) -> Result<(), CliError> {
    let none = v1::Headers::default();
    let headers = message.headers.as_ref().unwrap_or(&none);
    // A payload keeps the line breaks that it was published with, and JSON does not need them.
    let one_line = message.payload.replace(['\n', '\r'], " ");
    let view = MessageView {
        id: &message.id,
        bus: &message.bus,
        channel: &message.channel,
        r#type: &message.r#type,
        source: &message.source,
        sticky: message.sticky,
        expires_at: output::time(message.expires_at),
        payload: &one_line,
        traceparent: &headers.traceparent,
        tracestate: &headers.tracestate,
        via: &headers.via,
        in_reply_to: &headers.in_reply_to,
        dedupe_key: &headers.dedupe_key,
        content_type: &headers.content_type,
    };
    Ok(output::json(out, &view)?)
}

/// `since` on the wire.
fn since(text: String) -> String {
    if text == "beginning" { String::new() } else { text }
}

impl MessageCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = MessageServiceClient::new(connection.open().await?);
        match self {
            Self::Publish(args) => publish(&mut client, args, connection.output(), out).await,
            Self::Tail { scope, since: from, count } => {
                let request = v1::SubscribeRequest { scope, since: since(from) };
                until_interrupted(tail(&mut client, request, count, out)).await
            }
            Self::Read { scope, since: from } => read(&mut client, scope, since(from), out).await,
        }
    }
}

async fn publish(
    client: &mut MessageServiceClient<Gateway>,
    args: PublishArgs,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let request = call(v1::PublishRequest {
        bus: args.bus,
        channel: args.channel,
        r#type: args.kind,
        source: args.source,
        sticky: args.sticky,
        payload: args.payload,
        dedupe_key: args.dedupe_key,
        ..v1::PublishRequest::default()
    });
    let id = client.publish(request).await?.into_inner().id;
    Ok(output.done(out, &id, &["id"], &[json!(id)])?)
}

async fn tail(
    client: &mut MessageServiceClient<Gateway>,
    request: v1::SubscribeRequest,
    count: Option<u64>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut stream = client.subscribe(request).await?.into_inner();
    let mut printed = 0;
    while count.is_none_or(|count| printed < count) {
        let Some(item) = stream.message().await? else { return Ok(()) };
        print(out, &item.message.ok_or(CliError::Incomplete)?)?;
        printed += 1;
    }
    Ok(())
}

async fn read(
    client: &mut MessageServiceClient<Gateway>,
    scope: String,
    mut since: String,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    loop {
        let request = call(v1::ReadRequest { scope: scope.clone(), since, page_size: 0 });
        let page = client.read(request).await?.into_inner();
        page.messages.iter().try_for_each(|message| print(out, message))?;
        if !page.more {
            return Ok(());
        }
        since = page.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_with_its_payload_to_the_letter() {
        let message = v1::Message {
            id: "2024-03-09T14:05:21.337Z-0000000000".into(),
            bus: "example.com".into(),
            channel: "orders".into(),
            r#type: "order/new".into(),
            source: "https://shop.example/".into(),
            sticky: false,
            expires_at: Some(prost_types::Timestamp { seconds: 1_709_993_721, nanos: 0 }),
            payload: "{\"n\": 1.00000000000000000001,\n \"s\":\"a\\nb\"}".into(),
            headers: Some(v1::Headers { via: vec!["r".into()], ..v1::Headers::default() }),
        };
        let mut out = Vec::new();
        print(&mut out, &message).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"id":"2024-03-09T14:05:21.337Z-0000000000","bus":"example.com","#,
                r#""channel":"orders","type":"order/new","source":"https://shop.example/","#,
                r#""sticky":false,"expires_at":"2024-03-09T14:15:21.000Z","#,
                r#""payload":{"n": 1.00000000000000000001,  "s":"a\nb"},"via":["r"]}"#,
                "\n"
            )
        );
    }
}
