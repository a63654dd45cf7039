//! `buswire dead-letter`.

use std::{io::Write, time::Duration};

use buswire_proto::v1::{self, dead_letter_service_client::DeadLetterServiceClient};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tonic::{Code, Request};

use super::{
    connection::{Connection, Gateway, call, pages},
    error::CliError,
    message,
    output::{self, Output},
};

/// What a listing shows; one dead letter is shown whole.
const COLUMNS: [&str; 7] = ["id", "channel", "type", "given_up_at", "attempts", "error", "bytes"];
/// How long a replay may take: longer than the gateway lets a call take, which then says so.
const REPLAY_TIME: Duration = Duration::from_secs(100);
/// So many are dropped by one call.
const DROPS: usize = 1000;

/// Commands about messages that routes gave up.
#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// Lists the dead letters of a route
    #[command(after_help = "Example: buswire dead-letter list copy")]
    List {
        /// The name of the route
        route: String,
    },
    /// Shows one dead letter with its message and every failure
    #[command(
        after_help = "Example: buswire dead-letter show copy 2026-11-26T10:00:00.000Z-0000000000"
    )]
    Show {
        /// The name of the route
        route: String,
        /// The id of the message
        id: String,
    },
    /// Hands dead letters to the sink of their route again, once
    #[command(after_help = "Example: buswire dead-letter replay copy --all")]
    Replay(Which),
    /// Drops dead letters for good
    #[command(
        after_help = "Example: buswire dead-letter drop copy 2026-11-26T10:00:00.000Z-0000000000"
    )]
    Drop(Which),
}

/// Dead letters of one route.
#[derive(Debug, Args)]
pub struct Which {
    /// The name of the route
    route: String,
    /// The ids of the messages
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All that there are when the command begins
    #[arg(long)]
    all: bool,
}

type Client = DeadLetterServiceClient<Gateway>;

/// A dead letter of a listing.
enum Listed {
    Letter(Box<v1::DeadLetter>),
    /// It can't be read; the id of its message.
    Unreadable(String),
}

async fn list(client: &mut Client, route: &str) -> Result<Vec<Listed>, CliError> {
    pages(async |page_token| {
        let route = route.to_owned();
        let request = v1::ListDeadLettersRequest { route, page_size: 0, page_token };
        let page = client.list_dead_letters(call(request)).await?.into_inner();
        let letters = page.dead_letters.into_iter().map(|it| Listed::Letter(Box::new(it)));
        let listed = letters.chain(page.unreadable.into_iter().map(Listed::Unreadable));
        Ok((listed.collect(), page.next_page_token))
    })
    .await
}

fn values(listed: &Listed) -> Vec<Value> {
    let letter: &v1::DeadLetter = match listed {
        Listed::Letter(letter) => letter,
        Listed::Unreadable(id) => {
            let mut values = vec![Value::Null; COLUMNS.len()];
            for (column, value) in COLUMNS.iter().zip(&mut values) {
                match *column {
                    "id" => *value = json!(id),
                    "error" => {
                        *value = json!("it can't be read; drop it, or leave it to a later release");
                    }
                    _ => {}
                }
            }
            return values;
        }
    };
    let none = v1::Message::default();
    let message = letter.message.as_ref().unwrap_or(&none);
    let error = letter.failures.last().map_or("", |failure| &failure.error);
    vec![
        json!(message.id),
        json!(message.channel),
        json!(message.r#type),
        output::time(letter.given_up_at),
        json!(letter.attempts),
        json!(error),
        json!(message.payload.len()),
    ]
}

impl Which {
    /// Their ids; of all that there are also those that can't be read, if these are `wanted`.
    async fn ids(&self, client: &mut Client, wanted: bool) -> Result<Vec<String>, CliError> {
        if !self.all {
            return Ok(self.ids.clone());
        }
        let ids = list(client, &self.route).await?.into_iter().filter_map(|listed| match listed {
            Listed::Letter(letter) => letter.message.map(|message| message.id),
            Listed::Unreadable(id) => wanted.then_some(id),
        });
        Ok(ids.collect())
    }

    /// Prints what became of each as it is known, and how many of either there were.
    async fn replay(
        &self,
        client: &mut Client,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let output = connection.output();
        let (mut delivered, mut failed) = (0_u64, 0_u64);
        let ids = self.ids(client, false).await?;
        let bar = connection.screen().bar(ids.len() as u64);
        for id in ids {
            for v1::Replay { id, error } in self.replay_one(client, id).await? {
                let is_delivered = error.is_empty();
                *if is_delivered { &mut delivered } else { &mut failed } += 1;
                let sentence =
                    if is_delivered { format!("{id} delivered") } else { format!("{id} {error}") };
                let values = [json!(id), json!(is_delivered), output::text(&error)];
                let columns = ["id", "delivered", "error"];
                bar.suspend(|| output.done(out, &sentence, &columns, &values))?;
            }
            bar.inc(1);
        }
        drop(bar);
        let sentence = format!("{delivered} delivered, {failed} failed again");
        output.done(
            out,
            &sentence,
            &["delivered", "failed"],
            &[json!(delivered), json!(failed)],
        )?;
        if failed == 0 { Ok(()) } else { Err(CliError::FailedAgain(failed)) }
    }

    /// What became of one: nothing if it is not there any more. Each has a call of its own, so that a sink
    /// that hangs costs no more than its own answer.
    async fn replay_one(
        &self,
        client: &mut Client,
        id: String,
    ) -> Result<Vec<v1::Replay>, CliError> {
        let (route, ids) = (self.route.clone(), vec![id.clone()]);
        let mut request = Request::new(v1::ReplayDeadLettersRequest { route, ids });
        request.set_timeout(REPLAY_TIME);
        match client.replay_dead_letters(request).await {
            Ok(answer) => Ok(answer.into_inner().replays),
            Err(status) if status.code() == Code::DeadlineExceeded => {
                let error = "took too long; it may have been delivered".to_owned();
                Ok(vec![v1::Replay { id, error }])
            }
            Err(status) => Err(status.into()),
        }
    }

    async fn drop_all(
        &self,
        client: &mut Client,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut dropped = 0;
        let ids = self.ids(client, true).await?;
        let bar = connection.screen().bar(ids.len() as u64);
        for ids in ids.chunks(DROPS) {
            bar.inc(ids.len() as u64);
            let (route, ids) = (self.route.clone(), ids.to_vec());
            let request = call(v1::DropDeadLettersRequest { route, ids });
            dropped += client.drop_dead_letters(request).await?.into_inner().dropped;
        }
        drop(bar);
        let sentence = format!("{dropped} dropped");
        Ok(connection.output().done(out, &sentence, &["dropped"], &[json!(dropped)])?)
    }
}

/// Writes a dead letter whole: one JSON object, or the message and a line for each failure.
fn show(letter: &v1::DeadLetter, output: Output, out: &mut dyn Write) -> Result<(), CliError> {
    let message = letter.message.as_ref().ok_or(CliError::Incomplete)?;
    let failures: Vec<_> = letter
        .failures
        .iter()
        .map(|failure| vec![output::time(failure.at), json!(failure.error)])
        .collect();
    if output == Output::Json {
        let mut text = Vec::new();
        message::print(&mut text, message)?;
        let message: &serde_json::value::RawValue =
            serde_json::from_slice(&text).map_err(|_| CliError::Incomplete)?;
        let failures: Vec<_> = letter
            .failures
            .iter()
            .map(|failure| json!({"at": output::time(failure.at), "error": failure.error}))
            .collect();
        return Ok(output::json(
            out,
            &Whole {
                message,
                attempts: letter.attempts,
                given_up_at: output::time(letter.given_up_at),
                failures,
            },
        )?);
    }
    message::print(out, message)?;
    writeln!(out)?;
    let given_up_at = output::time(letter.given_up_at);
    output.one(out, &["attempts", "given_up_at"], &[json!(letter.attempts), given_up_at])?;
    writeln!(out)?;
    Ok(output.list(out, &["failed_at", "error"], &failures)?)
}

/// A dead letter as one JSON object.
#[derive(serde::Serialize)]
struct Whole<'a> {
    message: &'a serde_json::value::RawValue,
    attempts: u32,
    given_up_at: Value,
    failures: Vec<Value>,
}

impl DeadLetterCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = DeadLetterServiceClient::new(connection.open().await?);
        let output = connection.output();
        match self {
            Self::List { route } => {
                let letters = list(&mut client, &route).await?;
                let rows: Vec<_> = letters.iter().map(values).collect();
                Ok(output.list(out, &COLUMNS, &rows)?)
            }
            Self::Show { route, id } => {
                let request = call(v1::GetDeadLetterRequest { route, id });
                let answer = client.get_dead_letter(request).await?.into_inner();
                show(&answer.dead_letter.ok_or(CliError::Incomplete)?, output, out)
            }
            Self::Replay(which) => which.replay(&mut client, connection, out).await,
            Self::Drop(which) => which.drop_all(&mut client, connection, out).await,
        }
    }
}
