//! `buswire push inbound`.

use std::io::Write;

use buswire_proto::v1::{self, inbound_service_client::InboundServiceClient};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    connection::{Gateway, call, pages},
    error::CliError,
    output::{self, Output},
};

const COLUMNS: [&str; 7] = ["id", "bus", "channel", "type", "source", "grant", "created_at"];

/// Commands about inbound endpoints.
#[derive(Debug, Subcommand)]
pub enum InboundCommand {
    /// Makes an endpoint and prints its URL, which is a secret and not shown again
    #[command(
        after_help = "Example: buswire push inbound create --bus shop.example --channel orders --type order/new"
    )]
    Create {
        /// The bus of the messages
        #[arg(long)]
        bus: String,
        /// Their channel
        #[arg(long)]
        channel: String,
        /// Their type
        #[arg(long = "type", value_name = "TYPE")]
        kind: String,
        /// Their source [default: the public URL of the gateway]
        #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
        source: String,
    },
    /// Lists endpoints, without their URLs
    #[command(after_help = "Example: buswire push inbound list")]
    List,
    /// Revokes an endpoint: its PUTs are answered 410
    #[command(after_help = "Example: buswire push inbound revoke ID")]
    Revoke {
        /// Its id, as `push inbound list` shows it
        id: String,
    },
}

fn values(inbound: &v1::Inbound) -> Vec<Value> {
    vec![
        json!(inbound.id),
        json!(inbound.bus),
        json!(inbound.channel),
        json!(inbound.r#type),
        json!(inbound.source),
        output::text(&inbound.grant),
        output::time(inbound.created_at),
    ]
}

impl InboundCommand {
    pub(super) async fn run(
        self,
        channel: Gateway,
        output: Output,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = InboundServiceClient::new(channel);
        match self {
            Self::Create { bus, channel, kind, source } => {
                let request = v1::CreateInboundRequest {
                    bus,
                    channel,
                    r#type: kind,
                    source,
                    ..Default::default()
                };
                let made = client.create_inbound(call(request)).await?.into_inner();
                let values = [json!(made.id), json!(made.endpoint)];
                output.one(out, &["id", "endpoint"], &values)?;
            }
            Self::List => {
                let all = pages(async |page_token| {
                    let request = v1::ListInboundsRequest { page_token, page_size: 0 };
                    let page = client.list_inbounds(call(request)).await?.into_inner();
                    Ok((page.inbounds, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                output.list(out, &COLUMNS, &rows)?;
            }
            Self::Revoke { id } => {
                // The answer would repeat the URL of an endpoint, which is a secret.
                if id.contains('/') {
                    return Err(CliError::IdExpected);
                }
                let request = call(v1::RevokeInboundRequest { id: id.clone() });
                let existed = client.revoke_inbound(request).await?.into_inner().existed;
                let sentence = if existed {
                    format!("inbound endpoint {id} revoked")
                } else {
                    format!("no inbound endpoint {id}")
                };
                let values = [json!(id), json!(existed)];
                output.done(out, &sentence, &["revoked", "existed"], &values)?;
            }
        }
        Ok(())
    }
}
