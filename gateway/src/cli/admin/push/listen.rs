//! `buswire push listen`: a UserAgent on the command line.
//!
//! Never here: the protocol.

use std::{io::Write, path::PathBuf};

use buswire_simplepush::{
    ChannelId,
    client::{Client, Event, Events, FileStorage, MemoryStorage, Storage as _, Update},
};
use clap::Args;
use serde_json::json;

use crate::cli::admin::{error::CliError, output::Output};

/// Options of `push listen`.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// The WebSocket of the push server
    #[arg(long, default_value = "ws://127.0.0.1:8080/push")]
    url: String,
    /// Goes on where this file says, and keeps it up to date; secret, for one process at a time
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// A channel to register: a UUID; may be repeated [default: those of the file, or a new one]
    #[arg(long = "channel", value_name = "ID")]
    channels: Vec<ChannelId>,
    /// Ends after so many versions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Prints endpoints and versions, one a line, until there are enough.
pub(super) async fn run(
    args: ListenArgs,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (client, mut events, known) = start(&args).await?;
    let channels = if args.channels.is_empty() { known } else { args.channels };
    for channel in &channels {
        let endpoint = client.register(*channel).await.map_err(CliError::listen)?;
        print(output, out, *channel, "endpoint", json!(endpoint.as_str()))?;
    }
    if channels.is_empty() {
        let (channel, endpoint) = client.register_new().await.map_err(CliError::listen)?;
        print(output, out, channel, "endpoint", json!(endpoint.as_str()))?;
    }
    let mut printed = 0;
    while args.count.is_none_or(|count| printed < count) {
        let Some(update) = next_update(&mut events, output, out).await? else { break };
        print(output, out, update.channel(), "version", json!(update.version().get()))?;
        update.acknowledge().await.map_err(CliError::listen)?;
        printed += 1;
    }
    client.close().await;
    Ok(())
}

/// A client, its events, and the channels that its state has.
async fn start(args: &ListenArgs) -> Result<(Client, Events, Vec<ChannelId>), CliError> {
    let builder = Client::builder(&args.url).map_err(CliError::listen)?;
    let (builder, known) = match &args.state {
        Some(path) => {
            let mut storage = FileStorage::new(path);
            let state = storage.load().await.map_err(|source| CliError::file(path, source))?;
            (builder.storage(storage), state.channels().collect())
        }
        None => (builder.storage(MemoryStorage::default()), Vec::new()),
    };
    let (client, events) = builder.start().await.map_err(CliError::listen)?;
    Ok((client, events, known))
}

/// The next version, after endpoints that changed meanwhile are printed; `None` when the client ends.
async fn next_update(
    events: &mut Events,
    output: Output,
    out: &mut dyn Write,
) -> Result<Option<Update>, CliError> {
    while let Some(event) = events.next().await {
        match event.map_err(CliError::listen)? {
            Event::Update(update) => return Ok(Some(update)),
            Event::Moved(channel, endpoint) => {
                print(output, out, channel, "endpoint", json!(endpoint.as_str()))?;
            }
            Event::Lost(_channel, refusal) => return Err(CliError::listen(refusal)),
        }
    }
    Ok(None)
}

/// One line: a channel and what is said of it.
fn print(
    output: Output,
    out: &mut dyn Write,
    channel: ChannelId,
    what: &str,
    value: serde_json::Value,
) -> Result<(), CliError> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let channel = channel.to_string();
    let line = format!("{channel} {what} {text}");
    output.done(out, &line, &["channel", what], &[json!(channel), value])?;
    Ok(out.flush()?)
}
