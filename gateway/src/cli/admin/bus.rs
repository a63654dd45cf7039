//! `buswire bus`.

use std::{io::Write, time::Duration};

use buswire_proto::v1::{
    self, access_service_client::AccessServiceClient, bus_service_client::BusServiceClient,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    connection::{Connection, call, pages},
    duration,
    error::CliError,
    output,
};

const COLUMNS: [&str; 7] =
    ["name", "retention", "sticky_retention", "max_messages", "messages", "channels", "created_at"];

const COLUMNS_CHANNELS: [&str; 3] = ["name", "messages", "expires_at"];

/// Commands about buses.
#[derive(Debug, Subcommand)]
pub enum BusCommand {
    /// Creates a bus; one that exists stays as it is
    #[command(
        after_help = "Example: buswire bus create shop.example --retention 1h --max-messages 1000"
    )]
    Create {
        /// Its name: example.com, or v1/example.com for Backplane 1.x
        name: String,
        /// How long its messages are kept
        #[command(flatten)]
        retention: RetentionArgs,
    },
    /// Lists buses
    #[command(after_help = "Example: buswire bus list --output json")]
    List,
    /// Shows one bus
    #[command(after_help = "Example: buswire bus show shop.example")]
    Show {
        /// Its name
        name: String,
    },
    /// Changes how long messages are kept that are published from now on; what is not given stays
    #[command(after_help = "Example: buswire bus update shop.example --retention 30m")]
    Update {
        /// Its name
        name: String,
        /// How long its messages are kept
        #[command(flatten)]
        retention: RetentionArgs,
    },
    /// Lists the channels of a bus of Backplane 2.0
    #[command(after_help = "Example: buswire bus channels shop.example")]
    Channels {
        /// The name of the bus
        name: String,
    },
    /// Deletes a bus; its messages stay until they expire
    #[command(after_help = "Example: buswire bus delete shop.example")]
    Delete {
        /// Its name
        name: String,
    },
}

/// How long messages are kept.
#[derive(Clone, Copy, Debug, Args)]
pub struct RetentionArgs {
    /// How long a message is kept that names no expiry; 10m for a new bus
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    retention: Option<Duration>,
    /// How long a sticky message is kept, and the longest that any may ask for; 8h for a new bus
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    sticky_retention: Option<Duration>,
    /// How many live messages a channel holds; 100 for a new bus
    #[arg(long, value_name = "COUNT")]
    max_messages: Option<u32>,
}

impl RetentionArgs {
    fn to_wire(self) -> v1::Retention {
        v1::Retention {
            default_time: self.retention.map(duration::to_wire),
            sticky_time: self.sticky_retention.map(duration::to_wire),
            messages_per_channel_max: self.max_messages,
        }
    }
}

fn values(bus: &v1::Bus) -> Vec<Value> {
    let retention = bus.retention.unwrap_or_default();
    vec![
        json!(bus.name),
        json!(duration::print_wire(retention.default_time)),
        json!(duration::print_wire(retention.sticky_time)),
        json!(retention.messages_per_channel_max),
        json!(bus.messages),
        json!(bus.channels),
        output::time(bus.created_at),
    ]
}

async fn channels(
    bus: String,
    connection: &Connection,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut client = AccessServiceClient::new(connection.open().await?);
    let all = pages(async |page_token| {
        let request = v1::ListChannelsRequest { bus: bus.clone(), page_token, page_size: 0 };
        let page = client.list_channels(call(request)).await?.into_inner();
        Ok((page.channels, page.next_page_token))
    });
    let values = |channel: &v1::Channel| {
        vec![json!(channel.name), json!(channel.messages), output::time(channel.expires_at)]
    };
    let rows: Vec<_> = all.await?.iter().map(values).collect();
    Ok(connection.output().list(out, &COLUMNS_CHANNELS, &rows)?)
}

impl BusCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = BusServiceClient::new(connection.open().await?);
        let output = connection.output();
        match self {
            Self::Create { name, retention } => {
                let retention = Some(retention.to_wire());
                let request = v1::CreateBusRequest { name, retention, ..Default::default() };
                let created = client.create_bus(call(request)).await?.into_inner();
                let bus = created.bus.ok_or(CliError::Incomplete)?;
                let what = if created.existed { "existed already, unchanged" } else { "created" };
                let sentence = format!("bus {} {what}", bus.name);
                output.done(out, &sentence, &COLUMNS, &values(&bus))?;
            }
            Self::List => {
                let all = pages(async |page_token| {
                    let request = v1::ListBusesRequest { page_token, ..Default::default() };
                    let page = client.list_buses(call(request)).await?.into_inner();
                    Ok((page.buses, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                output.list(out, &COLUMNS, &rows)?;
            }
            Self::Show { name } => {
                let answer = client.get_bus(call(v1::GetBusRequest { name })).await?;
                let bus = answer.into_inner().bus.ok_or(CliError::Incomplete)?;
                output.one(out, &COLUMNS, &values(&bus))?;
            }
            Self::Channels { name } => channels(name, connection, out).await?,
            Self::Update { name, retention } => {
                let retention = Some(retention.to_wire());
                let request =
                    v1::UpdateBusRetentionRequest { name, retention, ..Default::default() };
                let answer = client.update_bus_retention(call(request)).await?.into_inner();
                let bus = answer.bus.ok_or(CliError::Incomplete)?;
                output.one(out, &COLUMNS, &values(&bus))?;
            }
            Self::Delete { name } => {
                let request = v1::DeleteBusRequest { name: name.clone(), ..Default::default() };
                let existed = client.delete_bus(call(request)).await?.into_inner().existed;
                CliError::missing_unless(existed, "bus", &name)?;
                output.done(out, &format!("bus {name} deleted"), &["deleted"], &[json!(name)])?;
            }
        }
        Ok(())
    }
}
