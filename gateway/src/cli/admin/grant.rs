//! `buswire grant`.

use std::io::Write;

use buswire_proto::v1::{self, grant_service_client::GrantServiceClient};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    connection::{Connection, call, pages},
    error::CliError,
    output,
};

const COLUMNS: [&str; 6] = ["id", "client_id", "buses", "state", "issuer", "updated_at"];

/// Commands about grants.
#[derive(Debug, Subcommand)]
pub enum GrantCommand {
    /// Lets a client use buses and prints the grant
    #[command(after_help = "Example: buswire grant create storefront shop.example")]
    Create {
        /// The id of the client
        client: String,
        /// The names of the buses
        #[arg(required = true)]
        buses: Vec<String>,
    },
    /// Lists grants
    #[command(after_help = "Example: buswire grant list --client storefront")]
    List {
        /// Only those of this client
        #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
        client: String,
    },
    /// Revokes a grant and every token that stands on it
    #[command(after_help = "Example: buswire grant revoke 0197d3a2")]
    Revoke {
        /// Its id
        id: String,
    },
}

fn values(grant: &v1::Grant) -> Vec<Value> {
    let state = match grant.state() {
        v1::GrantState::Unspecified => "unknown",
        v1::GrantState::Inactive => "inactive",
        v1::GrantState::Active => "active",
        v1::GrantState::Revoked => "revoked",
    };
    vec![
        json!(grant.id),
        json!(grant.client_id),
        json!(grant.buses),
        json!(state),
        output::text(&grant.issuer),
        output::time(grant.updated_at),
    ]
}

impl GrantCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = GrantServiceClient::new(connection.open().await?);
        let output = connection.output();
        match self {
            Self::Create { client: client_id, buses } => {
                let request = v1::CreateGrantRequest { client_id, buses, ..Default::default() };
                let answer = client.create_grant(call(request)).await?.into_inner();
                let grant = answer.grant.ok_or(CliError::Incomplete)?;
                output.one(out, &COLUMNS, &values(&grant))?;
            }
            Self::List { client: client_id } => {
                let all = pages(async |page_token| {
                    let client_id = client_id.clone();
                    let request = v1::ListGrantsRequest { client_id, page_token, page_size: 0 };
                    let page = client.list_grants(call(request)).await?.into_inner();
                    Ok((page.grants, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                output.list(out, &COLUMNS, &rows)?;
            }
            Self::Revoke { id } => {
                let request = call(v1::RevokeGrantRequest { id: id.clone(), ..Default::default() });
                let existed = client.revoke_grant(request).await?.into_inner().existed;
                CliError::missing_unless(existed, "grant", &id)?;
                output.done(out, &format!("grant {id} revoked"), &["revoked"], &[json!(id)])?;
            }
        }
        Ok(())
    }
}
