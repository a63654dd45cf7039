//! `buswire cap`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use buswire_proto::v1::{self, capability_service_client::CapabilityServiceClient};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    connection::{Connection, Gateway, call, pages},
    error::CliError,
    output::{self, Output},
    until_interrupted,
};

const COLUMNS: [&str; 8] =
    ["handle", "kind", "label", "state", "parent", "created_at", "expires_at", "uses_left"];
const MORE: [&str; 5] = ["children", "invocations", "last_used_at", "target", "limits"];

/// What a grantor may grant unless it is told otherwise: everything but grantors.
const GRANTOR_TARGET: &str = r#"{"kinds":["*"]}"#;

/// Commands about capabilities.
#[derive(Debug, Subcommand)]
pub enum CapCommand {
    /// Grants a capability and prints it as JSON: cap, control, handle; they are shown this once
    #[command(
        after_help = r#"Example: buswire cap grant bus.publish --target '{"bus":"shop.example","channel":"orders"}' --label till"#
    )]
    Grant(GrantArgs),
    /// Derives a narrower capability and prints it as JSON, as grant does
    #[command(after_help = r#"Example: buswire cap wrap g_5b1c9e --limits '{"uses":1}'"#)]
    Wrap {
        /// The handle of what it derives from
        handle: String,
        /// Its limits, a JSON object such as {"uses":1,"readOnly":true}
        #[arg(long, value_name = "JSON", default_value = "{}")]
        limits: String,
        /// What to call it in listings
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        label: String,
    },
    /// Shows one capability that is not revoked
    #[command(after_help = "Example: buswire cap show g_5b1c9e")]
    Show {
        /// Its handle
        handle: String,
    },
    /// Suspends a capability and everything derived from it
    #[command(after_help = "Example: buswire cap suspend g_5b1c9e")]
    Suspend {
        /// Its handle
        handle: String,
    },
    /// Ends a suspension
    #[command(after_help = "Example: buswire cap resume g_5b1c9e")]
    Resume {
        /// Its handle
        handle: String,
    },
    /// Changes what a capability is called
    #[command(after_help = "Example: buswire cap label g_5b1c9e 'till 2'")]
    Label {
        /// Its handle
        handle: String,
        /// What to call it; empty for nothing
        label: String,
    },
    /// Revokes a capability and everything derived from it
    #[command(after_help = "Example: buswire cap revoke g_5b1c9e")]
    Revoke {
        /// Its handle
        handle: String,
    },
    /// Lists capabilities
    #[command(after_help = "Example: buswire cap list --tree")]
    List {
        /// Each below what it derives from, indented
        #[arg(long)]
        tree: bool,
    },
    /// Prints what was recorded of capabilities, one JSON object a line
    #[command(after_help = "Example: buswire cap audit --follow")]
    Audit {
        /// Goes on with what is recorded from now on
        #[arg(long)]
        follow: bool,
    },
}

/// A capability to grant.
#[derive(Args)]
pub struct GrantArgs {
    /// The kind of its operation: bus.publish, bus.read, push.notify, rpc.call, url, record, grantor, …
    kind: String,
    /// What it operates on, a JSON object such as {"bus":"example.com","channel":"orders"}. Empty by
    /// default; a grantor may then grant every kind but grantors
    #[arg(long, value_name = "JSON")]
    target: Option<String>,
    /// Its limits, a JSON object such as {"uses":1,"expires":"2027-01-01T00:00:00Z"}
    #[arg(long, value_name = "JSON", default_value = "{}")]
    limits: String,
    /// What to call it in listings
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    label: String,
    /// What its links look like; for those that a grantor grants, set "form" in its target
    #[arg(long, value_enum, default_value_t = Form::Token)]
    form: Form,
}

/// What links look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// 43 characters
    Token,
    /// A UUID
    Uuid,
}

impl std::fmt::Debug for GrantArgs {
    /// Leaves out the target, which may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrantArgs").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl GrantArgs {
    fn into_request(self) -> v1::GrantCapabilityRequest {
        let usual = if self.kind == "grantor" { GRANTOR_TARGET } else { "{}" };
        let form = match self.form {
            Form::Token => v1::LinkForm::Token,
            Form::Uuid => v1::LinkForm::Uuid,
        };
        v1::GrantCapabilityRequest {
            target: self.target.unwrap_or_else(|| usual.to_owned()),
            kind: self.kind,
            limits: self.limits,
            label: self.label,
            form: form.into(),
            ..Default::default()
        }
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

fn all_values(capability: &v1::Capability) -> Vec<Value> {
    let object = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let mut all = values(capability);
    all.extend([
        json!(capability.children),
        json!(capability.invocations),
        output::time(capability.last_used_at),
        object(&capability.target),
        object(&capability.limits),
    ]);
    all
}

/// The capabilities in the order of a tree, each with how deep it is: what derives from one comes
/// right after it.
fn as_tree(all: &[v1::Capability]) -> Vec<(usize, &v1::Capability)> {
    let known: BTreeSet<&str> = all.iter().map(|one| one.handle.as_str()).collect();
    let mut below: BTreeMap<&str, Vec<&v1::Capability>> = BTreeMap::new();
    for one in all {
        // One whose parent is not listed any more begins a tree.
        let parent = Some(one.parent.as_str()).filter(|parent| known.contains(parent));
        below.entry(parent.unwrap_or_default()).or_default().push(one);
    }
    let mut ordered = Vec::with_capacity(all.len());
    let mut waiting = vec![(0, below.remove("").unwrap_or_default().into_iter())];
    while let Some((depth, siblings)) = waiting.last_mut() {
        let depth = *depth;
        let Some(one) = siblings.next() else {
            waiting.pop();
            continue;
        };
        ordered.push((depth, one));
        waiting
            .push((depth + 1, below.remove(one.handle.as_str()).unwrap_or_default().into_iter()));
    }
    ordered
}

fn print_event(out: &mut dyn Write, answer: &v1::TailAuditResponse) -> Result<(), CliError> {
    let event = answer.event.as_ref().ok_or(CliError::Incomplete)?;
    let action = match event.action() {
        v1::AuditAction::Unspecified => "unknown",
        v1::AuditAction::Granted => "granted",
        v1::AuditAction::Wrapped => "wrapped",
        v1::AuditAction::Changed => "changed",
        v1::AuditAction::Revoked => "revoked",
        v1::AuditAction::Invoked => "invoked",
    };
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    let mut set = |column: &'static str, value: Value| {
        columns.push(column);
        values.push(value);
    };
    if answer.missed > 0 {
        set("missed", json!(answer.missed));
    }
    set("sequence", json!(event.sequence));
    set("at", output::time(event.at));
    set("action", json!(action));
    set("handle", json!(event.handle));
    set("kind", json!(event.kind));
    set("above", json!(event.above));
    if let Some(v1::AuditInvocation { control, method, status, bytes_in, bytes_out, took, peer }) =
        &event.invocation
    {
        let took = took.and_then(|took| std::time::Duration::try_from(took).ok());
        set("control", json!(control));
        set("method", json!(method));
        set("status", json!(status));
        set("bytes_in", json!(bytes_in));
        set("bytes_out", json!(bytes_out));
        set("took_ms", json!(took.map(|took| took.as_secs_f64() * 1000.0)));
        set("peer", json!(peer));
    } else {
        set("by", json!(if event.by.is_empty() { "operator" } else { &event.by }));
    }
    if let Some(suspended) = event.suspended {
        set("suspended", json!(suspended));
    }
    Ok(output::object(out, &columns, &values)?)
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
            Self::Grant(args) => {
                let request = call(args.into_request());
                let granted = client.grant_capability(request).await?.into_inner();
                let values = [json!(granted.cap), json!(granted.control), json!(granted.handle)];
                output::object(out, &["cap", "control", "handle"], &values)?;
            }
            Self::Wrap { handle, limits, label } => {
                let handle = checked(handle)?;
                let request =
                    v1::WrapCapabilityRequest { handle, limits, label, ..Default::default() };
                let granted = client.wrap_capability(call(request)).await?.into_inner();
                let values = [json!(granted.cap), json!(granted.control), json!(granted.handle)];
                output::object(out, &["cap", "control", "handle"], &values)?;
            }
            Self::Show { handle } => {
                let request = call(v1::GetCapabilityRequest { handle: checked(handle)? });
                let shown = client.get_capability(request).await?.into_inner().capability;
                let columns = [&COLUMNS[..], &MORE].concat();
                output.one(out, &columns, &all_values(&shown.ok_or(CliError::Incomplete)?))?;
            }
            Self::Suspend { handle } => {
                change(&mut client, handle, None, Some(true), ("suspended", output), out).await?;
            }
            Self::Resume { handle } => {
                change(&mut client, handle, None, Some(false), ("resumed", output), out).await?;
            }
            Self::Label { handle, label } => {
                change(&mut client, handle, Some(label), None, ("labelled", output), out).await?;
            }
            Self::Revoke { handle } => {
                let handle = checked(handle)?;
                let request = call(v1::RevokeCapabilityRequest { handle: handle.clone() });
                let was_revoked = client.revoke_capability(request).await?.into_inner().was_revoked;
                let before = if was_revoked { " was revoked before" } else { " revoked" };
                let columns = ["revoked", "was_revoked"];
                let values = [json!(handle), json!(was_revoked)];
                output.done(out, &format!("capability {handle}{before}"), &columns, &values)?;
            }
            Self::List { tree } => list(&mut client, tree, output, out).await?,
            Self::Audit { follow } => {
                let request = v1::TailAuditRequest { follow };
                let mut stream = client.tail_audit(request).await?.into_inner();
                until_interrupted(async {
                    while let Some(answer) = stream.message().await? {
                        print_event(out, &answer)?;
                    }
                    Ok(())
                })
                .await?;
            }
        }
        Ok(())
    }
}

/// Refuses what is a capability's URL: the error would repeat it, and it is a secret.
fn checked(handle: String) -> Result<String, CliError> {
    if handle.contains('/') { Err(CliError::HandleExpected) } else { Ok(handle) }
}

async fn change(
    client: &mut CapabilityServiceClient<Gateway>,
    handle: String,
    label: Option<String>,
    suspended: Option<bool>,
    (word, output): (&str, Output),
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let handle = checked(handle)?;
    let request = v1::UpdateCapabilityRequest {
        handle: handle.clone(),
        label,
        suspended,
        ..Default::default()
    };
    client.update_capability(call(request)).await?;
    let sentence = format!("capability {handle} {word}");
    Ok(output.done(out, &sentence, &[word], &[json!(handle)])?)
}

async fn list(
    client: &mut CapabilityServiceClient<Gateway>,
    tree: bool,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let all = pages(async |page_token| {
        let request = v1::ListCapabilitiesRequest { page_token, page_size: 0 };
        let page = client.list_capabilities(call(request)).await?.into_inner();
        Ok((page.capabilities, page.next_page_token))
    });
    let all = all.await?;
    if !tree {
        let rows: Vec<_> = all.iter().map(values).collect();
        return Ok(output.list(out, &COLUMNS, &rows)?);
    }
    let row = |(depth, one): (usize, &v1::Capability)| {
        let mut row = values(one);
        if let (Output::Table(_), Some(handle)) = (output, row.first_mut()) {
            *handle = json!(format!("{}{}", "  ".repeat(depth), one.handle));
        }
        row
    };
    let rows: Vec<_> = as_tree(&all).into_iter().map(row).collect();
    Ok(output.list(out, &COLUMNS, &rows)?)
}
