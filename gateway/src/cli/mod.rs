//! The command line: what can be asked for, and how a failure is said.
//!
//! Exit codes: 0 done, 1 it failed, 2 bad usage, 64 bad configuration; some commands have more, as
//! their help says. Never here: the work.

pub mod admin;
mod check_config;
mod completions;
mod demo;
mod healthcheck;
mod local;
mod man;
pub mod mdp;
mod options;
mod screen;
mod serve;
mod store;

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tokio::runtime;

pub use self::{
    admin::AdminCommand,
    completions::CompletionsArgs,
    demo::DemoArgs,
    healthcheck::HealthcheckArgs,
    local::Local,
    man::ManArgs,
    mdp::MdpCommand,
    options::{CheckConfigArgs, ConfigArgs, ServeArgs},
    screen::Screen,
    store::{BackupArgs, CopyArgs, RestoreArgs, StoreCommand},
};
use crate::config::ConfigError;

/// One process that speaks Backplane, SimplePush, Majordomo (MDP) and Belay, and moves messages
/// between all of them.
#[derive(Debug, Parser)]
#[command(
    name = "buswire",
    version,
    arg_required_else_help = true,
    after_help = "Example: buswire serve --config buswire.toml"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves until SIGTERM or SIGINT.
    #[command(
        after_help = "Example: buswire serve --config buswire.toml --set http.listen=127.0.0.1:8080"
    )]
    Serve(ServeArgs),
    /// Prints the configuration in force, without secrets, or every problem at once.
    #[command(after_help = "Example: buswire check-config --config buswire.toml")]
    CheckConfig(CheckConfigArgs),
    /// Asks the gateway of this machine whether it takes requests; for health checks of containers.
    #[command(after_help = "Example: buswire healthcheck")]
    Healthcheck(HealthcheckArgs),
    /// Copies, backs up and restores a store.
    #[command(
        subcommand,
        after_help = "Example: buswire store copy --from embedded:./buswire-data --to redis://127.0.0.1"
    )]
    Store(StoreCommand),
    /// Sends one message through all four doors, then serves a page that shows it.
    #[command(after_help = "Example: buswire demo --once")]
    Demo(DemoArgs),
    /// Runs, calls and offers Majordomo services.
    #[command(subcommand, after_help = "Example: buswire mdp request echo hello")]
    Mdp(MdpCommand),
    /// Prints a script with which a shell completes commands and options.
    #[command(after_help = "Example: buswire completions bash > /etc/bash_completion.d/buswire")]
    Completions(CompletionsArgs),
    /// Writes a manual page for each command.
    #[command(after_help = "Example: buswire man --to /usr/local/share/man/man1")]
    Man(ManArgs),
    /// Everything that an administrator asks of a running gateway.
    #[command(flatten)]
    Admin(Box<AdminCommand>),
}

/// The environment as the process found it, read once in `main`.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Vec<(String, String)>,
    is_colorless: bool,
    socket_names: Option<String>,
}

impl Environment {
    /// Takes those variables of the process that begin with `BUSWIRE_` and are UTF-8, and whether the
    /// others forbid colours: `NO_COLOR` that is not empty (no-color.org), or a dumb terminal. And the
    /// names of sockets that were handed over.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) if name.starts_with("BUSWIRE_") => {
                    environment.variables.push((name, value));
                }
                (Ok(name), value) if name == "NO_COLOR" => {
                    environment.is_colorless |= value != Ok(String::new());
                }
                (Ok(name), Ok(value)) if name == "LISTEN_FDNAMES" => {
                    environment.socket_names = Some(value);
                }
                (Ok(name), Ok(value)) if name == "TERM" => {
                    environment.is_colorless |= value == "dumb";
                }
                _ => {}
            }
        }
        environment
    }

    /// The variables.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// The value of one variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(of, _)| of == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What the sockets are called that were handed over (sd_listen_fds_with_names(3)).
    pub fn socket_names(&self) -> Option<&str> {
        self.socket_names.as_deref()
    }

    /// Whether colours may be shown on a terminal.
    pub fn allows_colors(&self) -> bool {
        !self.is_colorless
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

/// Writes to `out`; that nobody reads it any more is no failure.
fn write_out(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Failure> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(&error, None)),
        _ => Ok(()),
    }
}

/// Does what `cli` asks for.
pub fn run(cli: Cli, environment: &Environment) -> ExitCode {
    let done = match cli.command {
        Command::Serve(args) => serve::run(&args, environment),
        Command::CheckConfig(args) => check_config::run(&args, environment, &mut io::stdout()),
        Command::Healthcheck(args) => healthcheck::run(&args, environment),
        Command::Store(command) => store::run(command, environment),
        Command::Demo(args) => demo::run(&args, environment),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(&args),
        Command::Mdp(command) => {
            return mdp::run(command).unwrap_or_else(|failure| failure.report());
        }
        Command::Admin(command) => {
            return administer(command.on(Local::find(environment)));
        }
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
