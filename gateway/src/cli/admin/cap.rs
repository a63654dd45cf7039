//! `buswire cap`.

use std::io::Write;

use buswire_proto::v1::{self, capability_service_client::CapabilityServiceClient};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    connection::{Connection, call, pages},
    error::CliError,
    output,
};

const COLUMNS: [&str; 8] =
    ["handle", "kind", "label", "state", "parent", "created_at", "expires_at", "uses_left"];

/// Commands about capabilities.
#[derive(Debug, Subcommand)]
pub enum CapCommand {
    /// Grants a capability and prints it as JSON: cap, control, handle; they are shown this once
    Grant(GrantArgs),
    /// Revokes a capability and everything derived from it
    Revoke {
        /// Its handle
        handle: String,
    },
    /// Lists capabilities
    List,
}

/// A capability to grant.
#[derive(Args)]
pub struct GrantArgs {
    /// The kind of its operation: bus.publish, bus.read, push.notify, rpc.call, …
    kind: String,
    /// What it operates on, a JSON object such as {"bus":"example.com","channel":"orders"}
    #[arg(long, value_name = "JSON", default_value = "{}")]
    target: String,
    /// Its limits, a JSON object such as {"uses":1,"expires":"2027-01-01T00:00:00Z"}
    #[arg(long, value_name = "JSON", default_value = "{}")]
    limits: String,
    /// What to call it in listings
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    label: String,
}

impl std::fmt::Debug for GrantArgs {
    /// Leaves out the target, which may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrantArgs").field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn values(capability: &v1::Capability) -> Vec<Value> {
    let state = match capability.state() {
        v1::CapabilityState::Unspecified => "unknown",
        v1::CapabilityState::Live => "live",
        v1::CapabilityState::Suspended => "suspended",
        v1::CapabilityState::Expired => "expired",
        v1::CapabilityState::Exhausted => "exhausted",
        v1::CapabilityState::Revoked => "revoked",
        v1::CapabilityState::Pending => "pending",
    };
    vec![
        json!(capability.handle),
        json!(capability.kind),
        output::text(&capability.label),
        json!(state),
        output::text(&capability.parent),
        output::time(capability.created_at),
        output::time(capability.expires_at),
        json!(capability.uses_left),
    ]
}

impl CapCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = CapabilityServiceClient::new(connection.open().await?);
        let output = connection.output();
        match self {
            Self::Grant(GrantArgs { kind, target, limits, label }) => {
                let request = call(v1::GrantCapabilityRequest { kind, target, limits, label });
                let granted = client.grant_capability(request).await?.into_inner();
                let values = [json!(granted.cap), json!(granted.control), json!(granted.handle)];
                output::object(out, &["cap", "control", "handle"], &values)?;
            }
            Self::Revoke { handle } => {
                // The error would repeat a capability's URL, which is a secret.
                if handle.contains('/') {
                    return Err(CliError::HandleExpected);
                }
                let request = call(v1::RevokeCapabilityRequest { handle: handle.clone() });
                let was_revoked = client.revoke_capability(request).await?.into_inner().was_revoked;
                let before = if was_revoked { " was revoked before" } else { " revoked" };
                let columns = ["revoked", "was_revoked"];
                let values = [json!(handle), json!(was_revoked)];
                output.done(out, &format!("capability {handle}{before}"), &columns, &values)?;
            }
            Self::List => {
                let all = pages(async |page_token| {
                    let request = v1::ListCapabilitiesRequest { page_token, page_size: 0 };
                    let page = client.list_capabilities(call(request)).await?.into_inner();
                    Ok((page.capabilities, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                output.list(out, &COLUMNS, &rows)?;
            }
        }
        Ok(())
    }
}
