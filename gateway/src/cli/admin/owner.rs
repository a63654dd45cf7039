//! `buswire owner`.

use std::io::Write;

use buswire_proto::v1::{
    self, access_service_client::AccessServiceClient, owner_service_client::OwnerServiceClient,
};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    connection::{Connection, call, pages},
    error::CliError,
    issued::{self, What, end},
    password::Password,
};

const COLUMNS: [&str; 2] = ["name", "buses"];

/// Commands about owners of buses.
#[derive(Debug, Subcommand)]
pub enum OwnerCommand {
    /// Creates an owner, or gives one another password
    #[command(after_help = "Example: buswire owner create anna --password-file password.txt")]
    Create {
        /// Its name
        name: String,
        /// Its password
        #[command(flatten)]
        password: Password,
    },
    /// Lists owners and their buses
    #[command(after_help = "Example: buswire owner list")]
    List,
    /// Makes an owner the only owner of a bus
    #[command(after_help = "Example: buswire owner assign anna shop.example")]
    Assign {
        /// The name of the owner
        name: String,
        /// The name of the bus
        bus: String,
    },
    /// Signs an owner out of every browser
    #[command(after_help = "Example: buswire owner sign-out anna")]
    SignOut {
        /// Its name
        name: String,
    },
    /// Lists sign-ins of owners
    #[command(after_help = "Example: buswire owner sign-ins anna")]
    SignIns {
        /// Only those of the owner of this name
        #[arg(default_value = "", hide_default_value = true)]
        name: String,
    },
    /// Signs an owner out of one browser
    #[command(after_help = "Example: buswire owner end-sign-in 9f86d081884c7d65")]
    EndSignIn {
        /// The handle that `sign-ins` shows
        handle: String,
    },
    /// Lists the requests for authorization that wait for an owner's decision
    #[command(after_help = "Example: buswire owner requests --client storefront")]
    Requests {
        /// Only those of this client
        #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
        client: String,
    },
    /// Deletes a request for authorization: nobody can agree to it any more
    #[command(after_help = "Example: buswire owner delete-request 9f86d081884c7d65")]
    DeleteRequest {
        /// The handle that `requests` shows
        handle: String,
    },
    /// Lists the pages of decision that were shown to owners and not answered yet
    #[command(after_help = "Example: buswire owner decisions")]
    Decisions,
    /// Makes a page of decision void
    #[command(after_help = "Example: buswire owner delete-decision 9f86d081884c7d65")]
    DeleteDecision {
        /// The handle that `decisions` shows
        handle: String,
    },
    /// Deletes an owner and its buses
    #[command(after_help = "Example: buswire owner delete anna")]
    Delete {
        /// Its name
        name: String,
    },
}

fn values(owner: &v1::Owner) -> Vec<Value> {
    vec![json!(owner.name), json!(owner.buses)]
}

impl OwnerCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = OwnerServiceClient::new(connection.open().await?);
        let output = connection.output();
        match self {
            Self::Create { name, password } => {
                let password = password.read()?.expose().clone();
                let request = call(v1::PutOwnerRequest {
                    name: name.clone(),
                    password,
                    ..Default::default()
                });
                client.put_owner(request).await?;
                output.done(out, &format!("owner {name} stored"), &["name"], &[json!(name)])?;
            }
            Self::List => {
                let all = pages(async |page_token| {
                    let request = v1::ListOwnersRequest { page_token, page_size: 0 };
                    let page = client.list_owners(call(request)).await?.into_inner();
                    Ok((page.owners, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                output.list(out, &COLUMNS, &rows)?;
            }
            Self::Assign { name, bus } => {
                let request = v1::AssignBusRequest {
                    owner: name.clone(),
                    bus: bus.clone(),
                    ..Default::default()
                };
                client.assign_bus(call(request)).await?;
                let values = [json!(name), json!(bus)];
                output.done(out, &format!("owner {name} owns {bus}"), &["name", "bus"], &values)?;
            }
            Self::SignOut { name } => {
                let mut access = AccessServiceClient::new(connection.open().await?);
                let request = call(v1::EndSignInsRequest { owner: name.clone() });
                let ended = access.end_sign_ins(request).await?.into_inner().ended;
                let sentence = format!("owner {name} signed out of {ended} browsers");
                output.done(out, &sentence, &["name", "ended"], &[json!(name), json!(ended)])?;
            }
            Self::SignIns { name } => issued::sign_ins(name, connection, out).await?,
            Self::Requests { client } => issued::requests(client, connection, out).await?,
            Self::DeleteRequest { handle } => end(What::Request, handle, connection, out).await?,
            Self::Decisions => issued::decisions(connection, out).await?,
            Self::EndSignIn { handle } => end(What::SignIn, handle, connection, out).await?,
            Self::DeleteDecision { handle } => end(What::Decision, handle, connection, out).await?,
            Self::Delete { name } => {
                let request =
                    call(v1::DeleteOwnerRequest { name: name.clone(), ..Default::default() });
                let existed = client.delete_owner(request).await?.into_inner().existed;
                CliError::missing_unless(existed, "owner", &name)?;
                output.done(out, &format!("owner {name} deleted"), &["deleted"], &[json!(name)])?;
            }
        }
        Ok(())
    }
}
