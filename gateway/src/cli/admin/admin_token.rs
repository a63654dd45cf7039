//! `buswire admin-token`.

use std::io::Write;

use buswire_proto::v1::{self, admin_token_service_client::AdminTokenServiceClient};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    connection::{Connection, call, pages},
    error::CliError,
    output,
};

const COLUMNS: [&str; 3] = ["name", "role", "created_at"];

/// Commands about tokens of administrators.
#[derive(Debug, Subcommand)]
pub enum AdminTokenCommand {
    /// Makes a token and prints it, this once
    #[command(after_help = "Example: buswire admin-token create grafana --role viewer")]
    Create {
        /// Its name
        name: String,
        /// What its holder may do
        #[arg(long, value_enum)]
        role: Role,
    },
    /// Lists tokens, without themselves
    #[command(after_help = "Example: buswire admin-token list")]
    List,
    /// Revokes a token
    #[command(after_help = "Example: buswire admin-token revoke grafana")]
    Revoke {
        /// Its name
        name: String,
    },
}

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Role {
    /// Look, and change nothing
    Viewer,
    /// Run the gateway, without handing out credentials or capabilities
    Operator,
    /// Everything
    Admin,
}

const fn name_of(role: v1::AdminRole) -> &'static str {
    match role {
        v1::AdminRole::Unspecified => "unknown",
        v1::AdminRole::Viewer => "viewer",
        v1::AdminRole::Operator => "operator",
        v1::AdminRole::Admin => "admin",
    }
}

fn values(token: &v1::AdminToken) -> Vec<Value> {
    vec![json!(token.name), json!(name_of(token.role())), output::time(token.created_at)]
}

impl AdminTokenCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = AdminTokenServiceClient::new(connection.open().await?);
        let output = connection.output();
        match self {
            Self::Create { name, role } => {
                let role = match role {
                    Role::Viewer => v1::AdminRole::Viewer,
                    Role::Operator => v1::AdminRole::Operator,
                    Role::Admin => v1::AdminRole::Admin,
                };
                let request = v1::CreateAdminTokenRequest {
                    name: name.clone(),
                    role: role.into(),
                    ..Default::default()
                };
                let token = client.create_admin_token(call(request)).await?.into_inner().token;
                let values = [json!(name), json!(name_of(role)), json!(token)];
                output.done(out, &token, &["name", "role", "token"], &values)?;
            }
            Self::List => {
                let all = pages(async |page_token| {
                    let request = v1::ListAdminTokensRequest { page_token, page_size: 0 };
                    let page = client.list_admin_tokens(call(request)).await?.into_inner();
                    Ok((page.tokens, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                output.list(out, &COLUMNS, &rows)?;
            }
            Self::Revoke { name } => {
                let request =
                    v1::RevokeAdminTokenRequest { name: name.clone(), ..Default::default() };
                let existed = client.revoke_admin_token(call(request)).await?.into_inner().existed;
                CliError::missing_unless(existed, "admin token", &name)?;
                output.done(out, &format!("token {name} revoked"), &["revoked"], &[json!(name)])?;
            }
        }
        Ok(())
    }
}
