//! `buswire route`.

use std::{io::Write, time::Duration};

use buswire_proto::v1::{self, route_service_client::RouteServiceClient};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    connection::{Connection, call, pages},
    duration,
    error::CliError,
    output,
};

/// What a listing shows; one route shows all.
const COLUMNS: [&str; 9] = [
    "name",
    "state",
    "owner",
    "scope",
    "sink",
    "delivered",
    "pending",
    "failed_attempts",
    "dead_letters",
];
const COLUMNS_ALL: [&str; 17] = [
    "name",
    "state",
    "owner",
    "scope",
    "sink",
    "delivered",
    "pending",
    "failed_attempts",
    "dead_letters",
    "dead_letters_kept",
    "blocked_reason",
    "map",
    "reply_type",
    "first_delay",
    "longest_delay",
    "max_attempts",
    "timeout",
];

/// Commands about routes.
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Makes a route and starts it
    #[command(
        after_help = "Example: buswire route create copy --scope 'bus:shop.example type:order/new' --sink bus:archive.example --max-attempts 3"
    )]
    Create(CreateArgs),
    /// Changes a route, which goes on where it is
    #[command(
        after_help = "Example: buswire route change copy --map type:order/copied --timeout 5s"
    )]
    Change(ChangeArgs),
    /// Lists routes
    #[command(after_help = "Example: buswire route list")]
    List,
    /// Shows one route
    #[command(after_help = "Example: buswire route show copy")]
    Show {
        /// Its name
        name: String,
    },
    /// Stops delivering until the route is resumed
    #[command(after_help = "Example: buswire route pause copy")]
    Pause {
        /// Its name
        name: String,
    },
    /// Goes on delivering
    #[command(after_help = "Example: buswire route resume copy")]
    Resume {
        /// Its name
        name: String,
    },
    /// Removes a route with its position and its dead letters
    #[command(after_help = "Example: buswire route delete copy")]
    Delete {
        /// Its name
        name: String,
    },
}

/// A route to make.
#[derive(Args)]
pub struct CreateArgs {
    /// Its name
    name: String,
    /// Which messages take it, such as "bus:example.com type:order/new"
    #[arg(long)]
    scope: String,
    /// Where they go: bus:NAME[/CHANNEL], mdp:SERVICE, push:URL, push:subscribers or cap:URL
    #[arg(long, value_name = "URI")]
    sink: String,
    /// Publishes the sink's answers under this type on the channel of the message
    #[arg(long, value_name = "TYPE", default_value = "", hide_default_value = true)]
    reply_type: String,
    /// Where it begins: beginning, now, or after the message of an id
    #[arg(long, value_name = "beginning|now|ID", default_value = "now")]
    from: String,
    /// Changes messages on their way: type:NEW, channel:NEW or field:NAME=POINTER; may be repeated
    #[arg(long, value_name = "RULE")]
    map: Vec<String>,
    #[command(flatten)]
    retry: RetryArgs,
}

/// How hard a route tries.
#[derive(Debug, Args)]
struct RetryArgs {
    /// The wait before the second attempt; 200ms for a new route
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    first_delay: Option<Duration>,
    /// The longest wait between two attempts; 30s for a new route
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    longest_delay: Option<Duration>,
    /// After so many attempts a message becomes a dead letter; 12 for a new route
    #[arg(long, value_name = "COUNT")]
    max_attempts: Option<u32>,
    /// How long one attempt may take; 10s for a new route
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

impl RetryArgs {
    fn into_wire(self) -> v1::Retry {
        v1::Retry {
            first_delay: self.first_delay.map(duration::to_wire),
            longest_delay: self.longest_delay.map(duration::to_wire),
            attempts_max: self.max_attempts,
            timeout: self.timeout.map(duration::to_wire),
        }
    }
}

/// What is to be different about a route; what is not given stays as it is.
#[derive(Args)]
pub struct ChangeArgs {
    /// Its name
    name: String,
    /// Which messages take it; those that it has passed are not looked at again
    #[arg(long)]
    scope: Option<String>,
    /// Where they go
    #[arg(long, value_name = "URI")]
    sink: Option<String>,
    /// Publishes the sink's answers under this type; "" drops them
    #[arg(long, value_name = "TYPE")]
    reply_type: Option<String>,
    /// Changes messages by these rules, in place of those there are; may be repeated
    #[arg(long, value_name = "RULE", conflicts_with = "no_map")]
    map: Vec<String>,
    /// Changes nothing about messages any more
    #[arg(long)]
    no_map: bool,
    #[command(flatten)]
    retry: RetryArgs,
}

impl std::fmt::Debug for ChangeArgs {
    /// Leaves out the sink, which may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeArgs").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ChangeArgs {
    fn into_wire(self) -> v1::UpdateRouteRequest {
        let retry = self.retry.into_wire();
        let fields = [
            ("scope", self.scope.is_some()),
            ("sink", self.sink.is_some()),
            ("reply_type", self.reply_type.is_some()),
            ("map", self.no_map || !self.map.is_empty()),
            ("retry", retry != v1::Retry::default()),
        ];
        let changed = fields.into_iter().filter(|(_, is_given)| *is_given);
        let paths = changed.map(|(name, _)| name.to_owned()).collect();
        v1::UpdateRouteRequest {
            name: self.name,
            scope: self.scope.unwrap_or_default(),
            sink: self.sink.unwrap_or_default(),
            reply_type: self.reply_type.unwrap_or_default(),
            map: self.map,
            retry: Some(retry),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        }
    }
}

impl std::fmt::Debug for CreateArgs {
    /// Leaves out the sink, which may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateArgs").field("name", &self.name).finish_non_exhaustive()
    }
}

impl CreateArgs {
    fn into_wire(self) -> v1::CreateRouteRequest {
        v1::CreateRouteRequest {
            name: self.name,
            scope: self.scope,
            sink: self.sink,
            reply_type: self.reply_type,
            from: self.from,
            map: self.map,
            retry: Some(self.retry.into_wire()),
            ..Default::default()
        }
    }
}

fn state(route: &v1::Route) -> &'static str {
    match route.state() {
        v1::RouteState::Unspecified => "unknown",
        v1::RouteState::Running => "running",
        v1::RouteState::Paused => "paused",
        v1::RouteState::Blocked => "blocked",
        v1::RouteState::Waiting => "waiting",
    }
}

fn values(route: &v1::Route) -> Vec<Value> {
    vec![
        json!(route.name),
        json!(state(route)),
        output::text(&route.owner),
        json!(route.scope),
        json!(route.sink),
        json!(route.delivered),
        json!(route.pending),
        json!(route.failed_attempts),
        json!(route.dead_letters),
    ]
}

fn values_all(route: &v1::Route) -> Vec<Value> {
    let retry = route.retry.unwrap_or_default();
    let mut all = values(route);
    all.extend([
        json!(route.dead_letters_kept),
        output::text(&route.blocked_reason),
        json!(route.map),
        output::text(&route.reply_type),
        json!(duration::print_wire(retry.first_delay)),
        json!(duration::print_wire(retry.longest_delay)),
        json!(retry.attempts_max),
        json!(duration::print_wire(retry.timeout)),
    ]);
    all
}

impl RouteCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut client = RouteServiceClient::new(connection.open().await?);
        let output = connection.output();
        let (verb, route) = match self {
            Self::Create(args) => {
                let answer = client.create_route(call(args.into_wire())).await?;
                ("created", answer.into_inner().route)
            }
            Self::Change(args) => {
                let answer = client.update_route(call(args.into_wire())).await?;
                ("changed", answer.into_inner().route)
            }
            Self::Pause { name } => {
                let request = v1::PauseRouteRequest { name, ..Default::default() };
                let answer = client.pause_route(call(request)).await?;
                ("paused", answer.into_inner().route)
            }
            Self::Resume { name } => {
                let request = v1::ResumeRouteRequest { name, ..Default::default() };
                let answer = client.resume_route(call(request)).await?;
                ("resumed", answer.into_inner().route)
            }
            Self::Show { name } => {
                let answer = client.get_route(call(v1::GetRouteRequest { name })).await?;
                let route = answer.into_inner().route.ok_or(CliError::Incomplete)?;
                return Ok(output.one(out, &COLUMNS_ALL, &values_all(&route))?);
            }
            Self::List => {
                let all = pages(async |page_token| {
                    let request = v1::ListRoutesRequest { page_token, page_size: 0 };
                    let page = client.list_routes(call(request)).await?.into_inner();
                    Ok((page.routes, page.next_page_token))
                });
                let rows: Vec<_> = all.await?.iter().map(values).collect();
                return Ok(output.list(out, &COLUMNS, &rows)?);
            }
            Self::Delete { name } => {
                let request = v1::DeleteRouteRequest { name: name.clone(), ..Default::default() };
                client.delete_route(call(request)).await?;
                let sentence = format!("route {name} deleted");
                return Ok(output.done(out, &sentence, &["deleted"], &[json!(name)])?);
            }
        };
        let route = route.ok_or(CliError::Incomplete)?;
        let sentence = format!("route {} {verb}", route.name);
        Ok(output.done(out, &sentence, &COLUMNS_ALL, &values_all(&route))?)
    }
}
