//! `buswire push`.

mod listen;

use std::io::Write;

use buswire_message::Secret;
use buswire_proto::v1::{
    self, push_service_client::PushServiceClient,
    subscription_service_client::SubscriptionServiceClient,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

pub use self::listen::ListenArgs;
use super::{
    connection::{Connection, Gateway, call, pages},
    error::CliError,
    inbound::InboundCommand,
    output::{self, Output},
    password::secret,
    until_interrupted,
};

const AGENT: [&str; 7] =
    ["agent", "connected", "channels", "pending", "pending_since", "seen_at", "created_at"];
const CHANNEL: [&str; 3] = ["channel", "pending_version", "pending_since"];
const SUBSCRIPTION: [&str; 6] = ["id", "scope", "agent", "channel", "grant", "created_at"];
const STATUS: [&str; 4] = ["connections", "agents", "draining", "store_unavailable"];

/// Commands about SimplePush.
#[derive(Debug, Subcommand)]
pub enum PushCommand {
    /// Raises the version of a channel and prints the version
    #[command(disable_version_flag = true)]
    #[command(
        after_help = "Example: buswire push notify http://127.0.0.1:8080/update/TOKEN --version 7"
    )]
    Notify(NotifyArgs),
    /// Lists user agents that have channels
    #[command(after_help = "Example: buswire push list")]
    List,
    /// Shows one user agent
    #[command(after_help = "Example: buswire push show AGENT")]
    Show {
        /// Its name, as `push list` shows it
        agent: String,
    },
    /// Registers channels as a device does, prints their endpoints and every version that arrives
    #[command(after_help = "Example: buswire push listen --state device.json --count 1")]
    Listen(ListenArgs),
    /// Lists the channels of a user agent and what it has not acknowledged
    #[command(after_help = "Example: buswire push channels AGENT")]
    Channels {
        /// The name of the user agent
        agent: String,
    },
    /// Forgets a user agent and its channels; it registers anew when it comes
    #[command(after_help = "Example: buswire push drop AGENT")]
    Drop {
        /// The name of the user agent
        agent: String,
    },
    /// Shows how many are connected
    #[command(after_help = "Example: buswire push status")]
    Status,
    /// Lists the subscriptions that push:subscribers routes serve
    #[command(after_help = "Example: buswire push subscriptions")]
    Subscriptions,
    /// Removes a subscription
    #[command(after_help = "Example: buswire push unsubscribe ID")]
    Unsubscribe {
        /// Its id, as `push subscriptions` shows it
        id: String,
    },
    /// Creates, lists and revokes endpoints at which a PUT becomes a message
    #[command(
        subcommand,
        after_help = "Example: buswire push inbound create --bus shop.example --channel orders --type order/new"
    )]
    Inbound(InboundCommand),
}

/// What to notify: an endpoint, or a channel by name.
#[derive(Debug, Args)]
pub struct NotifyArgs {
    /// The URL that the device handed out
    #[arg(value_parser = secret, required_unless_present = "agent")]
    endpoint: Option<Secret<String>>,
    /// The name of the user agent, in place of the URL
    #[arg(long, conflicts_with = "endpoint", requires = "channel")]
    agent: Option<String>,
    /// The name of its channel
    #[arg(long, requires = "agent")]
    channel: Option<String>,
    /// The version; left to the gateway if it is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=i64::MAX as u64))]
    version: Option<u64>,
}

fn agent_values(agent: &v1::Agent) -> Vec<Value> {
    vec![
        json!(agent.id),
        json!(agent.connected),
        json!(agent.channels),
        json!(agent.pending),
        output::time(agent.pending_since),
        output::time(agent.seen_at),
        output::time(agent.created_at),
    ]
}

fn channel_values(channel: &v1::PushChannel) -> Vec<Value> {
    vec![json!(channel.channel), json!(channel.version), output::time(channel.pending_since)]
}

fn subscription_values(subscription: &v1::Subscription) -> Vec<Value> {
    vec![
        json!(subscription.id),
        json!(subscription.scope),
        json!(subscription.agent),
        json!(subscription.channel),
        json!(subscription.grant),
        output::time(subscription.created_at),
    ]
}

impl PushCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let output = connection.output();
        let push = async || Ok::<_, CliError>(PushServiceClient::new(connection.open().await?));
        let subscriptions =
            async || Ok::<_, CliError>(SubscriptionServiceClient::new(connection.open().await?));
        match self {
            // It speaks with the public door and needs no token.
            Self::Listen(args) => until_interrupted(listen::run(args, output, out)).await?,
            Self::Notify(args) => {
                let version =
                    push().await?.notify(call(args.into_wire())).await?.into_inner().version;
                output.done(out, &version.to_string(), &["version"], &[json!(version)])?;
            }
            Self::List => list_agents(push().await?, output, out).await?,
            Self::Show { agent: id } => {
                let answer =
                    push().await?.get_agent(call(v1::GetAgentRequest { id })).await?.into_inner();
                let agent = answer.agent.ok_or(CliError::Incomplete)?;
                output.one(out, &AGENT, &agent_values(&agent))?;
            }
            Self::Channels { agent } => list_channels(push().await?, agent, output, out).await?,
            Self::Drop { agent: id } => {
                push().await?.drop_agent(call(v1::DropAgentRequest { id: id.clone() })).await?;
                output.done(
                    out,
                    &format!("user agent {id} dropped"),
                    &["dropped"],
                    &[json!(id)],
                )?;
            }
            Self::Status => {
                let request = call(v1::GetPushStatusRequest {});
                let status = push().await?.get_push_status(request).await?.into_inner();
                let values = [
                    json!(status.connections),
                    json!(status.agents),
                    json!(status.draining),
                    output::text(&status.store_unavailable),
                ];
                output.one(out, &STATUS, &values)?;
            }
            Self::Subscriptions => {
                list_subscriptions(subscriptions().await?, output, out).await?;
            }
            Self::Unsubscribe { id } => {
                unsubscribe(subscriptions().await?, id, output, out).await?;
            }
            Self::Inbound(command) => command.run(connection.open().await?, output, out).await?,
        }
        Ok(())
    }
}

impl NotifyArgs {
    fn into_wire(self) -> v1::NotifyRequest {
        v1::NotifyRequest {
            endpoint: self.endpoint.map(|url| url.expose().clone()).unwrap_or_default(),
            version: self.version,
            agent: self.agent.unwrap_or_default(),
            channel: self.channel.unwrap_or_default(),
        }
    }
}

async fn list_agents(
    mut client: PushServiceClient<Gateway>,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let all = pages(async |page_token| {
        let request = v1::ListAgentsRequest { page_token, page_size: 0 };
        let page = client.list_agents(call(request)).await?.into_inner();
        Ok((page.agents, page.next_page_token))
    });
    let rows: Vec<_> = all.await?.iter().map(agent_values).collect();
    Ok(output.list(out, &AGENT, &rows)?)
}

async fn list_channels(
    mut client: PushServiceClient<Gateway>,
    agent: String,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let all = pages(async |page_token| {
        let agent = agent.clone();
        let request = v1::ListPushChannelsRequest { agent, page_token, page_size: 0 };
        let page = client.list_push_channels(call(request)).await?.into_inner();
        Ok((page.channels, page.next_page_token))
    });
    let rows: Vec<_> = all.await?.iter().map(channel_values).collect();
    Ok(output.list(out, &CHANNEL, &rows)?)
}

async fn list_subscriptions(
    mut client: SubscriptionServiceClient<Gateway>,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let all = pages(async |page_token| {
        let request = v1::ListSubscriptionsRequest { page_token, page_size: 0 };
        let page = client.list_subscriptions(call(request)).await?.into_inner();
        Ok((page.subscriptions, page.next_page_token))
    });
    let rows: Vec<_> = all.await?.iter().map(subscription_values).collect();
    Ok(output.list(out, &SUBSCRIPTION, &rows)?)
}

async fn unsubscribe(
    mut client: SubscriptionServiceClient<Gateway>,
    id: String,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let request = call(v1::DeleteSubscriptionRequest { id: id.clone() });
    let existed = client.delete_subscription(request).await?.into_inner().existed;
    let sentence = if existed {
        format!("subscription {id} removed")
    } else {
        format!("no subscription {id}")
    };
    Ok(output.done(out, &sentence, &["removed", "existed"], &[json!(id), json!(existed)])?)
}
