//! `buswire status`.

use std::io::Write;

use buswire_proto::v1::{self, system_service_client::SystemServiceClient};
use serde_json::{Map, Value, json};

use super::{
    connection::{Connection, call},
    error::CliError,
    output::{self, Output},
    system,
};

const COLUMNS: [&str; 7] =
    ["version", "state", "ready", "started_at", "store", "listeners", "counts"];

/// Shows how the gateway is.
pub(super) async fn run(connection: &Connection, out: &mut dyn Write) -> Result<(), CliError> {
    let mut client = SystemServiceClient::new(connection.open().await?);
    let status = client.get_status(call(v1::GetStatusRequest {})).await?.into_inner();
    let first = [
        json!(status.version),
        json!(system::state_name(status.state())),
        json!(status.ready),
        output::time(status.started_at),
        json!(status.store),
    ];
    match connection.output() {
        Output::Json => {
            let listener = |l: &v1::Listener| json!({ "name": l.name, "address": l.address });
            let listeners = status.listeners.iter().map(listener).collect::<Vec<_>>();
            let counts: Map<_, _> =
                status.counts.iter().map(|c| (c.name.clone(), json!(c.value))).collect();
            let rest = [Value::Array(listeners), Value::Object(counts)];
            let values: Vec<_> = first.into_iter().chain(rest).collect();
            output::object(out, &COLUMNS, &values)?;
        }
        Output::Table => {
            let mut columns: Vec<&str> = COLUMNS.into_iter().take(first.len()).collect();
            let mut values = first.to_vec();
            for listener in &status.listeners {
                columns.push(&listener.name);
                values.push(json!(listener.address));
            }
            let labels: Vec<_> = status.counts.iter().map(|c| c.name.replace('.', " ")).collect();
            columns.extend(labels.iter().map(String::as_str));
            values.extend(status.counts.iter().map(|count| json!(count.value)));
            Output::Table.one(out, &columns, &values)?;
        }
    }
    Ok(())
}
