//! `buswire service`.

use std::{io::Write, time::Duration};

use buswire_proto::v1::{self, broker_service_client::BrokerServiceClient};
use clap::Subcommand;
use serde_json::{Value, json};
use tonic::Request;

use super::{
    connection::{Connection, call, pages},
    duration,
    error::CliError,
};

/// What a listing shows; one service shows all.
const COLUMNS: [&str; 9] =
    ["name", "workers", "idle", "busy", "queued", "oldest_wait", "completed", "paused", "gateways"];
const COLUMNS_ALL: [&str; 19] = [
    "name",
    "workers",
    "idle",
    "busy",
    "queued",
    "oldest_wait",
    "completed",
    "paused",
    "gateways",
    "local",
    "accepted",
    "expired",
    "requeued",
    "lost",
    "cancelled",
    "orphaned",
    "undelivered",
    "partials_full",
    "dropped",
];
/// How much longer than the broker the command waits for the answer.
const GRACE: Duration = Duration::from_secs(5);

/// Commands about services of the Majordomo broker.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Lists services
    #[command(after_help = "Example: buswire service list")]
    List,
    /// Shows one service and what became of its requests
    #[command(after_help = "Example: buswire service show echo")]
    Show {
        /// Its name
        name: String,
    },
    /// Keeps requests back until the service is resumed; they expire as ever
    #[command(after_help = "Example: buswire service pause echo")]
    Pause {
        /// Its name
        name: String,
    },
    /// Hands requests out again
    #[command(after_help = "Example: buswire service resume echo")]
    Resume {
        /// Its name
        name: String,
    },
    /// Sends a request through the gateway and prints each frame of the answer on a line
    #[command(visible_alias = "request")]
    #[command(after_help = "Example: buswire service call echo --timeout 2s -- hello")]
    Call {
        /// The name of the service
        name: String,
        /// How long to wait for the answer
        #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "5s")]
        timeout: Duration,
        /// The frames of the request
        #[arg(last = true)]
        frames: Vec<String>,
    },
}

fn values(service: &v1::Service) -> Vec<Value> {
    let completed = service.counts.as_ref().map_or(0, |counts| counts.completed);
    vec![
        json!(service.name),
        json!(service.workers),
        json!(service.idle),
        json!(service.busy),
        json!(service.queued),
        json!(duration::print_wire(service.oldest_wait)),
        json!(completed),
        json!(service.paused),
        json!(service.gateways),
    ]
}

fn values_all(service: &v1::Service) -> Vec<Value> {
    let counts = service.counts.clone().unwrap_or_default();
    let dropped = counts.dropped.iter().filter(|drop| drop.count > 0);
    let dropped = dropped.map(|drop| format!("{}:{}", drop.reason, drop.count));
    let mut all = values(service);
    all.extend([
        json!(service.local),
        json!(counts.accepted),
        json!(counts.expired),
        json!(counts.requeued),
        json!(counts.lost),
        json!(counts.cancelled),
        json!(counts.orphaned),
        json!(counts.undelivered),
        json!(counts.partials_full),
        json!(dropped.collect::<Vec<_>>()),
    ]);
    all
}

impl ServiceCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = BrokerServiceClient::new(connection.open().await?);
        let output = connection.output();
        let (verb, service) = match self {
            Self::Pause { name } => {
                let answer = client.pause_service(call(v1::PauseServiceRequest { name })).await?;
                ("paused", answer.into_inner().service)
            }
            Self::Resume { name } => {
                let answer = client.resume_service(call(v1::ResumeServiceRequest { name })).await?;
                ("resumed", answer.into_inner().service)
            }
            Self::Show { name } => {
                let answer = client.get_service(call(v1::GetServiceRequest { name })).await?;
                let service = answer.into_inner().service.ok_or(CliError::Incomplete)?;
                return Ok(output.one(out, &COLUMNS_ALL, &values_all(&service))?);
            }
            Self::List => {
                let all = pages(async |page_token| {
                    let request = v1::ListServicesRequest { page_token, page_size: 0 };
                    let page = client.list_services(call(request)).await?.into_inner();
                    Ok((page.services, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                return Ok(output.list(out, &COLUMNS, &rows)?);
            }
            Self::Call { name, timeout, frames } => {
                let mut request = Request::new(v1::RequestRequest {
                    service: name,
                    frames: frames.into_iter().map(String::into_bytes).collect(),
                    timeout: Some(duration::to_wire(timeout)),
                });
                request.set_timeout(timeout.saturating_add(GRACE));
                let frames = client.request(request).await?.into_inner().frames;
                let lines: Vec<_> = frames.iter().map(|f| String::from_utf8_lossy(f)).collect();
                return Ok(output.done(out, &lines.join("\n"), &["frames"], &[json!(lines)])?);
            }
        };
        let service = service.ok_or(CliError::Incomplete)?;
        let sentence = format!("service {} {verb}", service.name);
        Ok(output.done(out, &sentence, &COLUMNS_ALL, &values_all(&service))?)
    }
}
