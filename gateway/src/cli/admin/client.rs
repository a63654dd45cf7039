//! `buswire client`.

use std::{io::Write, path::PathBuf};

use buswire_message::Secret;
use buswire_proto::v1::{
    self, access_service_client::AccessServiceClient, client_service_client::ClientServiceClient,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    connection::{Connection, call, pages},
    error::CliError,
    issued::{self, TokenArgs, What, end},
    password::{read, secret},
};

const COLUMNS: [&str; 3] = ["client_id", "source_url", "redirect_uri"];
const COLUMNS_CREATED: [&str; 4] = ["client_id", "secret", "source_url", "redirect_uri"];

/// Commands about clients.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Creates a client and prints its id and its secret, which is shown this once
    #[command(
        after_help = "Example: buswire client create storefront --source-url https://shop.example/"
    )]
    Create(CreateArgs),
    /// Lists clients
    #[command(after_help = "Example: buswire client list")]
    List,
    /// Ends all tokens and codes of a client; with its secret and its grants it can get others
    #[command(after_help = "Example: buswire client revoke-tokens storefront")]
    RevokeTokens {
        /// Its id
        id: String,
    },
    /// Lists access and refresh tokens of clients and visits, without their texts
    #[command(after_help = "Example: buswire client tokens storefront --kind client")]
    Tokens(TokenArgs),
    /// Ends a token and all that come of one another by refreshing; those of a visit with its channel
    #[command(after_help = "Example: buswire client revoke-token 9f86d081884c7d65")]
    RevokeToken {
        /// The handle that `tokens` shows: the start of the SHA-256 of the token in hexadecimal
        handle: String,
    },
    /// Lists authorization codes, without their texts
    #[command(after_help = "Example: buswire client codes storefront")]
    Codes {
        /// Only codes of the client of this id
        #[arg(default_value = "", hide_default_value = true)]
        id: String,
    },
    /// Makes an authorization code void and ends the grant that came of it
    #[command(after_help = "Example: buswire client revoke-code 9f86d081884c7d65")]
    RevokeCode {
        /// The handle that `codes` shows
        handle: String,
    },
    /// Deletes a client with its grants and tokens
    #[command(after_help = "Example: buswire client delete storefront")]
    Delete {
        /// Its id
        id: String,
    },
}

/// A client to create.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its id; left to the gateway if it is not given
    #[arg(default_value = "", hide_default_value = true)]
    id: String,
    /// The source of every message that it posts, an absolute URL
    #[arg(long, value_name = "URL")]
    source_url: String,
    /// Where an owner's browser is sent after authorising it [default: the source URL]
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    redirect_uri: String,
    /// Its secret; left to the gateway if it is not given
    #[arg(long, value_name = "TEXT", value_parser = secret)]
    secret: Option<Secret<String>>,
    /// The file that holds its secret in one line; - is the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    secret_file: Option<PathBuf>,
}

impl CreateArgs {
    fn into_wire(self) -> Result<v1::CreateClientRequest, CliError> {
        let secret = match (self.secret_file, self.secret) {
            (Some(path), _) => read(&path)?,
            (None, given) => given.unwrap_or_default(),
        };
        Ok(v1::CreateClientRequest {
            client_id: self.id,
            secret: secret.expose().clone(),
            source_url: self.source_url,
            redirect_uri: self.redirect_uri,
            ..Default::default()
        })
    }
}

fn values(client: &v1::Client) -> Vec<Value> {
    vec![json!(client.client_id), json!(client.source_url), json!(client.redirect_uri)]
}

impl ClientCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = ClientServiceClient::new(connection.open().await?);
        let output = connection.output();
        match self {
            Self::Create(args) => {
                let created = client.create_client(call(args.into_wire()?)).await?.into_inner();
                let mut values = values(&created.client.ok_or(CliError::Incomplete)?);
                values.insert(1, json!(created.secret));
                output.one(out, &COLUMNS_CREATED, &values)?;
            }
            Self::List => {
                let all = pages(async |page_token| {
                    let request = v1::ListClientsRequest { page_token, page_size: 0 };
                    let page = client.list_clients(call(request)).await?.into_inner();
                    Ok((page.clients, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                output.list(out, &COLUMNS, &rows)?;
            }
            Self::RevokeTokens { id } => {
                let mut access = AccessServiceClient::new(connection.open().await?);
                let request = call(v1::RevokeTokensRequest { client_id: id.clone() });
                let existed = access.revoke_tokens(request).await?.into_inner().existed;
                CliError::missing_unless(existed, "client", &id)?;
                let sentence = format!("tokens of client {id} revoked");
                output.done(out, &sentence, &["client_id"], &[json!(id)])?;
            }
            Self::Tokens(args) => issued::tokens(args, connection, out).await?,
            Self::Codes { id } => issued::codes(id, connection, out).await?,
            Self::RevokeToken { handle } => end(What::Token, handle, connection, out).await?,
            Self::RevokeCode { handle } => end(What::Code, handle, connection, out).await?,
            Self::Delete { id } => {
                let request =
                    call(v1::DeleteClientRequest { client_id: id.clone(), ..Default::default() });
                let existed = client.delete_client(request).await?.into_inner().existed;
                CliError::missing_unless(existed, "client", &id)?;
                output.done(out, &format!("client {id} deleted"), &["deleted"], &[json!(id)])?;
            }
        }
        Ok(())
    }
}
