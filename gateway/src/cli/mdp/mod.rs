//! `buswire mdp`: a broker alone, requests, a command as a service, keys (MDP §9.4, §18).
//!
//! Where arguments of any number follow, host, port and timeout are options. Never here: the protocol.

mod at;
mod broker;
mod cmd_service;
mod keygen;
mod mmi;
mod request;
mod titanic;

use std::{future::Future, io::Write as _, process::ExitCode};

use clap::Subcommand;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};

pub use self::{
    at::{Asking, At, Keys, ProtocolVersion},
    broker::{Addresses, BrokerArgs, BrokerCurve, Duplicates, ExtraDialect, Partials, Tunables},
    cmd_service::CmdServiceArgs,
    keygen::KeygenArgs,
    mmi::MmiArgs,
    request::{Format, RequestArgs},
    titanic::{TitanicClose, TitanicCommand, TitanicReply, TitanicRequest},
};
use super::Failure;

/// What to do with Majordomo.
#[derive(Clone, Debug, Subcommand)]
pub enum MdpCommand {
    /// Runs a broker alone, without a gateway, until SIGTERM or SIGINT
    ///
    /// Prints each endpoint in a line, then `Broker Started`. SIGHUP reads the file of
    /// --curve-allow-file again. Exit codes: 0 stopped, 1 it failed, 2 bad usage.
    #[command(after_help = "Example: buswire mdp broker 127.0.0.1 5555")]
    Broker(Box<BrokerArgs>),
    /// Sends one request and prints the answer, each frame followed by a newline
    ///
    /// Exit codes: 0 answered, 1 no answer or no broker, 2 bad usage.
    #[command(after_help = "Example: buswire mdp request echo hello")]
    Request(RequestArgs),
    /// Offers a command as a service: each frame of a request is one more argument
    ///
    /// The answer is what the command writes to standard output; if it fails, the two frames `Error`
    /// and a text. No shell is involved. Exit codes: 0 stopped, 1 it failed, 2 bad usage.
    #[command(after_help = "Example: buswire mdp cmd-service echo -- printf '%s'")]
    CmdService(CmdServiceArgs),
    /// Asks the broker whether a worker is registered for a service and prints its status
    ///
    /// Exit codes: 0 for 200, 1 for 404, 2 for 501 or bad usage, 3 no answer or no broker.
    #[command(after_help = "Example: buswire mdp mmi echo")]
    Mmi(MmiArgs),
    /// Asks a Titanic service: requests that are kept on disk until they are answered
    #[command(subcommand, after_help = "Example: buswire mdp titanic request echo hello")]
    Titanic(TitanicCommand),
    /// Makes a CURVE key pair
    ///
    /// Exit codes: 0 made, 1 it failed, 2 bad usage.
    #[command(after_help = "Example: buswire mdp keygen broker.key")]
    Keygen(KeygenArgs),
}

/// Does it. Returns the exit code.
pub(super) fn run(command: MdpCommand) -> Result<ExitCode, Failure> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(&error, None))?;
    let done = runtime.block_on(async {
        match command {
            MdpCommand::Broker(args) => succeed(broker::run(*args)).await,
            MdpCommand::Request(args) => succeed(request::run(args)).await,
            MdpCommand::CmdService(args) => succeed(cmd_service::run(args)).await,
            MdpCommand::Mmi(args) => mmi::run(args).await,
            MdpCommand::Titanic(command) => titanic::run(command).await,
            MdpCommand::Keygen(args) => succeed(async { keygen::run(&args) }).await,
        }
    });
    runtime.shutdown_background();
    done
}

async fn succeed(work: impl Future<Output = Result<(), Failure>>) -> Result<ExitCode, Failure> {
    work.await.map(|()| ExitCode::SUCCESS)
}

/// SIGTERM and SIGINT, caught from the moment this is made: before anybody is told that a command
/// runs.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn catch() -> Result<Self, Failure> {
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them.
    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn catch(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(&error, None))
}

fn say(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|error| Failure::new(&error, None))
}
