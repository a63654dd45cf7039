//! `buswire user`.

use std::io::Write;

use buswire_proto::v1::{self, user_service_client::UserServiceClient};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    connection::{Connection, call, pages},
    error::CliError,
    password::Password,
};

const COLUMNS: [&str; 2] = ["name", "permissions"];

/// Commands about users of Backplane 1.x.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Creates a user, or gives one another password
    #[command(after_help = "Example: buswire user create widget --password-file password.txt")]
    Create {
        /// Its name
        name: String,
        /// Its password
        #[command(flatten)]
        password: Password,
    },
    /// Lists users and what they may do
    #[command(after_help = "Example: buswire user list")]
    List,
    /// Sets what a user may do with a bus, instead of what it could do before
    #[command(after_help = "Example: buswire user permit widget v1/shop.example POST GETALL")]
    Permit {
        /// The name of the user
        name: String,
        /// The name of the bus of Backplane 1.x
        bus: String,
        /// What it may do; nothing if none is given
        #[arg(value_enum, ignore_case = true)]
        permissions: Vec<PermissionArg>,
    },
    /// Deletes a user
    #[command(after_help = "Example: buswire user delete widget")]
    Delete {
        /// Its name
        name: String,
    },
}

/// What a user may do with a bus.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum PermissionArg {
    /// May read the whole bus
    GetAll,
    /// May post to any channel
    Post,
    /// Without effect
    GetPayload,
    /// Without effect
    Identity,
}

impl PermissionArg {
    fn to_wire(self) -> i32 {
        match self {
            Self::GetAll => v1::Permission::Getall,
            Self::Post => v1::Permission::Post,
            Self::GetPayload => v1::Permission::Getpayload,
            Self::Identity => v1::Permission::Identity,
        }
        .into()
    }
}

const fn name_of(permission: v1::Permission) -> &'static str {
    match permission {
        v1::Permission::Unspecified => "unknown",
        v1::Permission::Getall => "GETALL",
        v1::Permission::Post => "POST",
        v1::Permission::Getpayload => "GETPAYLOAD",
        v1::Permission::Identity => "IDENTITY",
    }
}

/// One text for each bus, such as `v1/example.com:GETALL,POST`.
fn values(user: &v1::User) -> Vec<Value> {
    let of_bus = |bus: &v1::BusPermissions| {
        let names: Vec<_> = bus.permissions().map(name_of).collect();
        format!("{}:{}", bus.bus, names.join(","))
    };
    vec![json!(user.name), json!(user.buses.iter().map(of_bus).collect::<Vec<_>>())]
}

impl UserCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = UserServiceClient::new(connection.open().await?);
        let output = connection.output();
        match self {
            Self::Create { name, password } => {
                let password = password.read()?.expose().clone();
                let request =
                    call(v1::PutUserRequest { name: name.clone(), password, ..Default::default() });
                client.put_user(request).await?;
                output.done(out, &format!("user {name} stored"), &["name"], &[json!(name)])?;
            }
            Self::List => {
                let all = pages(async |page_token| {
                    let request = v1::ListUsersRequest { page_token, page_size: 0 };
                    let page = client.list_users(call(request)).await?.into_inner();
                    Ok((page.users, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                output.list(out, &COLUMNS, &rows)?;
            }
            Self::Permit { name, bus, permissions } => {
                let wire = permissions.into_iter().map(PermissionArg::to_wire).collect();
                let (user, on) = (name.clone(), bus.clone());
                let request = v1::SetPermissionsRequest { user, bus: on, permissions: wire };
                client.set_permissions(call(request)).await?;
                let sentence = format!("permissions of user {name} on {bus} set");
                output.done(out, &sentence, &["name", "bus"], &[json!(name), json!(bus)])?;
            }
            Self::Delete { name } => {
                let request =
                    call(v1::DeleteUserRequest { name: name.clone(), ..Default::default() });
                let existed = client.delete_user(request).await?.into_inner().existed;
                CliError::missing_unless(existed, "user", &name)?;
                output.done(out, &format!("user {name} deleted"), &["deleted"], &[json!(name)])?;
            }
        }
        Ok(())
    }
}
