//! `buswire audit`.

use std::io::Write;

use buswire_proto::v1::{self, system_service_client::SystemServiceClient};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tonic::Code;

use super::{
    connection::{Connection, call},
    error::CliError,
    output::{self, Output},
    until_interrupted,
};

const COLUMNS: [&str; 6] = ["number", "at", "caller", "method", "resource", "result"];
const MORE: [&str; 7] = ["via", "address", "request", "before", "after", "error", "request_id"];

/// Commands about what administrators changed.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Lists what administrators changed or were refused, the newest first
    #[command(after_help = "Example: buswire audit list --resource bus/shop.example --output json")]
    List {
        /// Which records to list
        #[command(flatten)]
        which: Which,
        /// The most records
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        count: usize,
    },
    /// Prints what administrators change as it happens, one JSON object a line
    #[command(after_help = "Example: buswire audit tail --after 0")]
    Tail {
        /// Which records to print
        #[command(flatten)]
        which: Which,
        /// Begin after the record of this number; 0 is the beginning [default: only what is new]
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// End after so many records
        #[arg(long, value_name = "COUNT")]
        count: Option<u64>,
    },
}

/// Which records.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// Only of this caller: admin, the name of another token or of a certificate, configuration
    #[arg(long, value_name = "NAME", default_value = "")]
    caller: String,
    /// Only about this, such as bus/shop.example; with a slash at its end all that begins so, as route/
    #[arg(long, value_name = "RESOURCE", default_value = "")]
    resource: String,
}

fn values(record: &v1::AuditRecord) -> Vec<Value> {
    let result = match Code::from(record.code) {
        Code::Ok => "done".to_owned(),
        code => format!("{code:?}"),
    };
    vec![
        json!(record.number),
        output::time(record.at),
        json!(record.caller),
        json!(record.method),
        json!(record.resource),
        json!(result),
    ]
}

fn all_values(record: &v1::AuditRecord) -> Vec<Value> {
    // What is no JSON, as of a later release, is shown as the text that it is.
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| output::text(text));
    let mut values = values(record);
    values.extend([
        output::text(&record.via),
        output::text(&record.address),
        parsed(&record.request),
        parsed(&record.before),
        parsed(&record.after),
        output::text(&record.error),
        output::text(&record.request_id),
    ]);
    values
}

impl AuditCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = SystemServiceClient::new(connection.open().await?);
        match self {
            Self::List { which: Which { caller, resource }, count } => {
                let (mut found, mut page_token) = (Vec::new(), String::new());
                while found.len() < count {
                    let page_size = u32::try_from(count - found.len()).unwrap_or(0);
                    let (caller, resource) = (caller.clone(), resource.clone());
                    let request = v1::ListAuditRequest { caller, resource, page_size, page_token };
                    let page = client.list_audit(call(request)).await?.into_inner();
                    found.extend(page.records);
                    page_token = page.next_page_token;
                    if page_token.is_empty() {
                        break;
                    }
                }
                match connection.output() {
                    table @ Output::Table(_) => {
                        let rows: Vec<_> = found.iter().map(values).collect();
                        Ok(table.list(out, &COLUMNS, &rows)?)
                    }
                    Output::Json => {
                        let rows: Vec<_> = found.iter().map(all_values).collect();
                        Ok(Output::Json.list(out, &[&COLUMNS[..], &MORE].concat(), &rows)?)
                    }
                }
            }
            Self::Tail { which: Which { caller, resource }, after, count } => {
                let request = v1::WatchAuditRequest { caller, resource, after };
                let mut records = client.watch_audit(request).await?.into_inner();
                let mut printed = 0;
                until_interrupted(async {
                    while count.is_none_or(|count| printed < count) {
                        let Some(item) = records.message().await? else { break };
                        let record = item.record.ok_or(CliError::Incomplete)?;
                        let columns = [&COLUMNS[..], &MORE].concat();
                        output::object(out, &columns, &all_values(&record))?;
                        printed += 1;
                    }
                    Ok(())
                })
                .await
            }
        }
    }
}
