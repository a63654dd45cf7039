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

const COLUMNS: [&str; 4] = ["name", "workers", "idle", "queued"];
/// How much longer than the broker the command waits for the answer.
const GRACE: Duration = Duration::from_secs(5);

/// Commands about services of the Majordomo broker.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Lists services
    List,
    /// Sends a request through the gateway and prints each frame of the answer on a line
    Request {
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
    vec![json!(service.name), json!(service.workers), json!(service.idle), json!(service.queued)]
}

impl ServiceCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = BrokerServiceClient::new(connection.open().await?);
        match self {
            Self::List => {
                let all = pages(async |page_token| {
                    let request = v1::ListServicesRequest { page_token, page_size: 0 };
                    let page = client.list_services(call(request)).await?.into_inner();
                    Ok((page.services, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                connection.output().list(out, &COLUMNS, &rows)?;
            }
            Self::Request { name, timeout, frames } => {
                let mut request = Request::new(v1::RequestRequest {
                    service: name,
                    frames: frames.into_iter().map(String::into_bytes).collect(),
                    timeout: Some(duration::to_wire(timeout)),
                });
                request.set_timeout(timeout.saturating_add(GRACE));
                let frames = client.request(request).await?.into_inner().frames;
                let lines: Vec<_> = frames.iter().map(|f| String::from_utf8_lossy(f)).collect();
                let text = lines.join("\n");
                connection.output().done(out, &text, &["frames"], &[json!(lines)])?;
            }
        }
        Ok(())
    }
}
