//! `buswire worker`.

use std::io::Write;

use buswire_proto::v1::{self, broker_service_client::BrokerServiceClient};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    connection::{Connection, call, pages},
    duration,
    error::CliError,
    output,
};

const COLUMNS: [&str; 10] = [
    "id",
    "service",
    "state",
    "in_state_for",
    "answered",
    "registered_for",
    "silent_for",
    "version",
    "delimited",
    "user",
];

/// Commands about workers of the Majordomo broker.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// Lists the workers that connected
    #[command(after_help = "Example: buswire worker list --service echo")]
    List {
        /// Only those of this service
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        service: String,
    },
    /// Gives a worker no further request and disconnects it after the one it has in hand
    #[command(after_help = "Example: buswire worker drain 7")]
    Drain {
        /// Its id
        id: u64,
    },
    /// Disconnects a worker at once; another gets the request it has in hand
    #[command(after_help = "Example: buswire worker disconnect 7")]
    Disconnect {
        /// Its id
        id: u64,
    },
}

fn state(worker: &v1::Worker) -> &'static str {
    match worker.state() {
        v1::WorkerState::Unspecified => "unknown",
        v1::WorkerState::Idle => "idle",
        v1::WorkerState::Busy => "busy",
        v1::WorkerState::Draining => "draining",
    }
}

fn values(worker: &v1::Worker) -> Vec<Value> {
    vec![
        json!(worker.id),
        json!(worker.service),
        json!(state(worker)),
        json!(duration::print_wire(worker.in_state_for)),
        json!(worker.answered),
        json!(duration::print_wire(worker.registered_for)),
        json!(duration::print_wire(worker.silent_for)),
        json!(worker.version),
        json!(worker.delimited),
        output::text(&worker.user),
    ]
}

impl WorkerCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = BrokerServiceClient::new(connection.open().await?);
        let output = connection.output();
        let (verb, id) = match self {
            Self::List { service } => {
                let all = pages(async |page_token| {
                    let service = service.clone();
                    let request = v1::ListWorkersRequest { page_token, page_size: 0, service };
                    let page = client.list_workers(call(request)).await?.into_inner();
                    Ok((page.workers, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                return Ok(output.list(out, &COLUMNS, &rows)?);
            }
            Self::Drain { id } => {
                client.drain_worker(call(v1::DrainWorkerRequest { id })).await?;
                ("draining", id)
            }
            Self::Disconnect { id } => {
                client.disconnect_worker(call(v1::DisconnectWorkerRequest { id })).await?;
                ("disconnected", id)
            }
        };
        Ok(output.done(out, &format!("worker {id} {verb}"), &[verb], &[json!(id)])?)
    }
}
