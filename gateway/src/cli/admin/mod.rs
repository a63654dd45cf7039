//! The admin commands: they talk to a running gateway over gRPC.
//!
//! [`AdminCommand`] is flattened into the commands of the program; [`AdminCommand::execute`] does one and
//! says how the process ends. Output goes to a writer that is handed in. Never here: anything that runs
//! inside the gateway.

use std::{future::Future, io::Write, process::ExitCode};

use clap::{Args, Subcommand};

pub mod admin_token;
pub mod audit;
pub mod bus;
pub mod cap;
pub mod client;
mod connection;
pub mod dead_letter;
mod duration;
mod error;
pub mod grant;
pub mod inbound;
pub mod issued;
pub mod message;
mod output;
pub mod owner;
pub mod password;
pub mod push;
pub mod route;
pub mod service;
mod status;
pub mod system;
pub mod trace;
pub mod user;
pub mod worker;

pub use connection::Connection;
pub use error::CliError;

use super::{Local, screen};

/// A command that a running gateway does.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Creates, shows, changes and deletes buses
    #[command(after_help = "Example: buswire bus create shop.example")]
    Bus(Group<bus::BusCommand>),
    /// Creates, lists and deletes clients of Backplane 2.0
    #[command(
        after_help = "Example: buswire client create storefront --source-url https://shop.example/"
    )]
    Client(Group<client::ClientCommand>),
    /// Creates, lists and deletes owners of buses
    #[command(after_help = "Example: buswire owner create anna --password-file password.txt")]
    Owner(Group<owner::OwnerCommand>),
    /// Lets clients use buses
    #[command(after_help = "Example: buswire grant create storefront shop.example")]
    Grant(Group<grant::GrantCommand>),
    /// Creates, lists and deletes users of Backplane 1.x
    #[command(after_help = "Example: buswire user permit widget v1/shop.example POST")]
    User(Group<user::UserCommand>),
    /// Creates, shows, changes, pauses, resumes and deletes routes
    #[command(
        after_help = "Example: buswire route create copy --scope bus:shop.example --sink bus:archive.example"
    )]
    Route(Group<route::RouteCommand>),
    /// Shows, replays and drops messages that routes gave up
    #[command(after_help = "Example: buswire dead-letter replay copy --all")]
    DeadLetter(Group<dead_letter::DeadLetterCommand>),
    /// Makes, lists and revokes tokens of administrators
    #[command(after_help = "Example: buswire admin-token create grafana --role viewer")]
    AdminToken(Group<admin_token::AdminTokenCommand>),
    /// Shows what administrators changed
    #[command(after_help = "Example: buswire audit list --resource bus/shop.example")]
    Audit(Group<audit::AuditCommand>),
    /// Publishes and reads messages
    #[command(after_help = "Example: buswire message tail --scope bus:shop.example")]
    Message(Group<message::MessageCommand>),
    /// Grants, lists and revokes capabilities
    #[command(after_help = "Example: buswire cap list --tree")]
    Cap(Group<cap::CapCommand>),
    /// Shows, notifies and drops user agents of SimplePush
    #[command(after_help = "Example: buswire push list")]
    Push(Group<push::PushCommand>),
    /// Lists, pauses, resumes and calls services of the Majordomo broker
    #[command(after_help = "Example: buswire service list")]
    Service(Group<service::ServiceCommand>),
    /// Lists, drains and disconnects workers of the Majordomo broker
    #[command(after_help = "Example: buswire worker list")]
    Worker(Group<worker::WorkerCommand>),
    /// Shows what became of a message on every route
    #[command(after_help = "Example: buswire trace 2026-11-26T10:00:00.000Z-0000000000 --follow")]
    Trace(trace::TraceArgs),
    /// Shows how the gateway is
    #[command(after_help = "Example: buswire status --output json")]
    Status(Connection),
    /// Shows the configuration in force
    #[command(after_help = "Example: buswire config show")]
    Config(Group<system::ConfigCommand>),
    /// Takes the gateway out of service: not ready at once, new requests refused after shutdown_delay
    #[command(after_help = "Example: buswire drain")]
    Drain(Connection),
    /// Takes the gateway back into service
    #[command(after_help = "Example: buswire undrain")]
    Undrain(Connection),
    /// Shows which program the gateway is, and which protocols it speaks
    #[command(after_help = "Example: buswire version --output json")]
    Version(Connection),
}

/// Commands about one thing, and which gateway they are for.
#[derive(Debug, Args)]
pub struct Group<C: Subcommand> {
    #[command(subcommand)]
    command: C,
    #[command(flatten)]
    connection: Connection,
}

impl AdminCommand {
    /// The same command on a machine where it finds `local`.
    #[must_use]
    pub fn on(mut self, local: Local) -> Self {
        match &mut self {
            Self::Bus(Group { connection, .. })
            | Self::Client(Group { connection, .. })
            | Self::Owner(Group { connection, .. })
            | Self::Grant(Group { connection, .. })
            | Self::User(Group { connection, .. })
            | Self::Route(Group { connection, .. })
            | Self::DeadLetter(Group { connection, .. })
            | Self::AdminToken(Group { connection, .. })
            | Self::Audit(Group { connection, .. })
            | Self::Message(Group { connection, .. })
            | Self::Cap(Group { connection, .. })
            | Self::Push(Group { connection, .. })
            | Self::Service(Group { connection, .. })
            | Self::Worker(Group { connection, .. })
            | Self::Config(Group { connection, .. })
            | Self::Trace(trace::TraceArgs { connection, .. })
            | Self::Status(connection)
            | Self::Drain(connection)
            | Self::Undrain(connection)
            | Self::Version(connection) => connection.on(local),
        }
        self
    }

    /// Does the command and writes what it found to `out`, as [`Self::run`] does, and one line to
    /// `errors` if it failed. Ends with 0 if it is done and with 1 if it failed.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; what the gateway was asked for may have happened.
    pub async fn execute(self, out: &mut dyn Write, errors: &mut dyn Write) -> ExitCode {
        // The largest of the commands would be on the stack of whoever waits for this.
        match Box::pin(self.run(out)).await {
            Ok(()) => ExitCode::SUCCESS,
            // Whoever read the output has seen enough, as in `message tail | head`.
            Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
            Err(error) => {
                // Nobody is left to tell when this fails.
                writeln!(errors, "buswire: {}", error.line()).unwrap_or_default();
                ExitCode::FAILURE
            }
        }
    }

    /// Does the command and writes what it found to `out`.
    ///
    /// # Errors
    ///
    /// [`CliError`]: no token, no connection, the gateway's refusal, or `out`.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; what the gateway was asked for may have happened.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), CliError> {
        match self {
            Self::Bus(group) => group.command.run(&group.connection, out).await,
            Self::Client(group) => group.command.run(&group.connection, out).await,
            Self::Owner(group) => group.command.run(&group.connection, out).await,
            Self::Grant(group) => group.command.run(&group.connection, out).await,
            Self::User(group) => group.command.run(&group.connection, out).await,
            Self::Route(group) => group.command.run(&group.connection, out).await,
            Self::DeadLetter(group) => group.command.run(&group.connection, out).await,
            Self::AdminToken(group) => group.command.run(&group.connection, out).await,
            Self::Audit(group) => group.command.run(&group.connection, out).await,
            Self::Message(group) => group.command.run(&group.connection, out).await,
            Self::Cap(group) => group.command.run(&group.connection, out).await,
            Self::Push(group) => group.command.run(&group.connection, out).await,
            Self::Service(group) => group.command.run(&group.connection, out).await,
            Self::Worker(group) => group.command.run(&group.connection, out).await,
            Self::Trace(arguments) => until_interrupted(arguments.run(out)).await,
            Self::Status(connection) => status::run(&connection, out).await,
            Self::Config(group) => group.command.run(&group.connection, out).await,
            Self::Drain(connection) => system::drain(&connection, out).await,
            Self::Undrain(connection) => system::undrain(&connection, out).await,
            Self::Version(connection) => system::version(&connection, out).await,
        }
    }
}

/// Does `work`, which may have no end, until Ctrl-C or until nobody reads what it prints. What it wrote by
/// then is whole lines.
async fn until_interrupted(
    work: impl Future<Output = Result<(), CliError>>,
) -> Result<(), CliError> {
    tokio::select! {
        done = work => done,
        // If the signal can't be caught it ends the process by itself.
        Ok(()) = tokio::signal::ctrl_c() => Ok(()),
        () = screen::output_closed() => Ok(()),
    }
}
