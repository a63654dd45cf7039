//! The command line: what can be asked for, and how a failure is said.
//!
//! Exit codes: 0 done, 1 it failed, 2 bad usage, 64 bad configuration; some commands have more, as
//! their help says. Never here: the work.

pub mod admin;
mod check_config;
mod demo;
pub mod mdp;
mod options;
mod serve;
mod store;

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tokio::runtime;

pub use self::{
    admin::AdminCommand,
    demo::DemoArgs,
    mdp::MdpCommand,
    options::{CheckConfigArgs, ConfigArgs, ServeArgs},
    store::{BackupArgs, CopyArgs, RestoreArgs, StoreCommand},
};
use crate::config::ConfigError;

/// One process that speaks Backplane, SimplePush, Majordomo (MDP) and Belay, and moves messages
/// between all of them.
#[derive(Debug, Parser)]
#[command(name = "buswire", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves until SIGTERM or SIGINT.
    Serve(ServeArgs),
    /// Prints the configuration in force, without secrets, or every problem at once.
    CheckConfig(CheckConfigArgs),
    /// Copies, backs up and restores a store.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Sends one message through all four doors, then serves a page that shows it.
    Demo(DemoArgs),
    /// Runs, calls and offers Majordomo services.
    #[command(subcommand)]
    Mdp(MdpCommand),
    /// Everything that an administrator asks of a running gateway.
    #[command(flatten)]
    Admin(Box<AdminCommand>),
}

/// The environment as the process found it, read once in `main`.
#[derive(Clone, Default)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// Takes those variables of the process that begin with `BUSWIRE_` and are UTF-8.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("BUSWIRE_"))?;
            Some((name, value.into_string().ok()?))
        };
        Self(variables.into_iter().filter_map(text).collect())
    }

    /// The variables.
    pub fn variables(&self) -> &[(String, String)] {
        &self.0
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(…)")
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// It failed: one line, which may end with what to do.
    Failed(String),
    /// It failed in a way that has an exit code of its own.
    Coded(String, u8),
    /// The configuration is wrong.
    Configuration(ConfigError),
}

impl Failure {
    /// A failure with its causes, and what to do about it.
    pub fn new(error: &(dyn Error + 'static), hint: Option<&str>) -> Self {
        let why = chain(error);
        Self::Failed(hint.map_or_else(|| why.clone(), |hint| format!("{why}; {hint}")))
    }

    /// The same failure with an exit code of its own.
    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        match self {
            Self::Failed(line) | Self::Coded(line, _) => Self::Coded(line, code),
            Self::Configuration(error) => Self::Configuration(error),
        }
    }

    /// Says it on standard error. Returns the exit code.
    fn report(&self) -> ExitCode {
        let mut out = io::stderr().lock();
        // There is nobody left to tell when standard error is closed.
        match self {
            Self::Failed(line) => {
                let _written = writeln!(out, "buswire: {line}");
                ExitCode::FAILURE
            }
            Self::Coded(line, code) => {
                let _written = writeln!(out, "buswire: {line}");
                ExitCode::from(*code)
            }
            Self::Configuration(error) => {
                for problem in error.problems() {
                    let _written = writeln!(out, "buswire: {problem}");
                }
                let _written = writeln!(out, "buswire: {error}");
                ExitCode::from(64)
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(error)
    }
}

/// An error and its causes in one line: `what: why: why`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Transparent errors say what their source says.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line.replace('\n', ", ")
}

/// Runs the one future of a short command.
///
/// # Errors
///
/// [`Failure`] if the operating system gives no event queue, or what the future fails with.
pub fn block_on<F, E>(future: F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), E>>,
    E: Into<Failure>,
{
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&error, None))?;
    runtime.block_on(future).map_err(Into::into)
}

/// Does what `cli` asks for.
pub fn run(cli: Cli, environment: &Environment) -> ExitCode {
    let done = match cli.command {
        Command::Serve(args) => serve::run(&args, environment),
        Command::CheckConfig(args) => check_config::run(&args, environment, &mut io::stdout()),
        Command::Store(command) => store::run(&command, environment),
        Command::Demo(args) => demo::run(&args, environment),
        Command::Mdp(command) => {
            return mdp::run(command).unwrap_or_else(|failure| failure.report());
        }
        Command::Admin(command) => return administer(*command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn administer(command: AdminCommand) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            runtime.block_on(command.execute(&mut io::stdout().lock(), &mut io::stderr().lock()))
        }
        Err(error) => Failure::new(&error, None).report(),
    }
}
