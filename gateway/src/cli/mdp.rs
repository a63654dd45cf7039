//! `buswire mdp`: a broker alone, a request, a command as a service (MDP §9.4, §18).
//!
//! Where arguments of any number follow, host, port and timeout are options. Never here: the protocol.

use std::{ffi::OsString, io::Write as _, time::Duration};

use buswire_mdp::{
    Arguments, Broker, BrokerConfig, Client, CmdOptions, CmdService, Frames, ReplyFormat,
    ServiceName, render_reply,
};
use clap::{Args, Subcommand};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use super::Failure;

/// What to do with Majordomo.
#[derive(Clone, Debug, Subcommand)]
pub enum MdpCommand {
    /// Runs a broker alone, without a gateway, until SIGTERM or SIGINT
    Broker(BrokerArgs),
    /// Sends one request and prints the answer, each frame followed by a newline
    Request(RequestArgs),
    /// Offers a command as a service: each frame of a request is one more argument
    CmdService(CmdServiceArgs),
}

/// Where the broker is.
#[derive(Clone, Debug, Args)]
pub struct At {
    /// Host of the broker
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port of the broker
    #[arg(long, default_value_t = 5555)]
    port: u16,
}

impl At {
    fn endpoint(&self) -> String {
        format!("tcp://{}:{}", self.host, self.port)
    }
}

/// Options of `mdp broker`.
#[derive(Clone, Debug, Args)]
pub struct BrokerArgs {
    #[command(flatten)]
    at: At,
    /// Listen beyond this machine, in clear and for anybody
    #[arg(long)]
    insecure: bool,
}

/// Options of `mdp request`.
#[derive(Clone, Debug, Args)]
pub struct RequestArgs {
    /// The service
    name: ServiceName,
    #[command(flatten)]
    at: At,
    /// How long to wait for the answer, in milliseconds
    #[arg(long, default_value_t = 3000, value_name = "MS")]
    timeout: u64,
    /// Print the bytes of the answer and nothing else
    #[arg(long, conflicts_with_all = ["json", "hex"])]
    raw: bool,
    /// Print one JSON array of the frames
    #[arg(long, conflicts_with = "hex")]
    json: bool,
    /// Print each frame in hexadecimal
    #[arg(long)]
    hex: bool,
    /// The frames of the request; what begins with a dash goes behind --
    args: Vec<OsString>,
}

/// Options of `mdp cmd-service`.
#[derive(Clone, Debug, Args)]
pub struct CmdServiceArgs {
    /// The service
    name: ServiceName,
    #[command(flatten)]
    at: At,
    /// Split each frame at its spaces into arguments, as Backbone does
    #[arg(long)]
    split: bool,
    /// How long one run may take, in milliseconds
    #[arg(long, default_value_t = 60_000, value_name = "MS")]
    time_max: u64,
    /// Runs at once
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// The command and its first arguments, behind --
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

/// Does it.
pub(super) fn run(command: MdpCommand) -> Result<(), Failure> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(&error, None))?;
    let done = runtime.block_on(async {
        match command {
            MdpCommand::Broker(args) => broker(&args).await,
            MdpCommand::Request(args) => request(args).await,
            MdpCommand::CmdService(args) => cmd_service(args).await,
        }
    });
    runtime.shutdown_background();
    done
}

async fn broker(args: &BrokerArgs) -> Result<(), Failure> {
    let config = BrokerConfig {
        endpoints: vec![args.at.endpoint()],
        insecure_public: args.insecure,
        ..BrokerConfig::default()
    };
    let broker = Broker::start(config)
        .map_err(|error| Failure::new(&error, Some("choose another --host or --port")))?;
    for endpoint in broker.endpoints() {
        say(format!("{endpoint}\n").as_bytes())?;
    }
    say(b"Broker Started\n")?;
    stopped().await?;
    broker.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn request(args: RequestArgs) -> Result<(), Failure> {
    let endpoint = args.at.endpoint();
    let client = Client::builder().endpoint(&endpoint).connect();
    let client = client.map_err(|error| Failure::new(&error, None))?;
    let frames: Frames = args.args.into_iter().map(OsString::into_encoded_bytes).collect();
    let timeout = Duration::from_millis(args.timeout);
    let reply = client.send(args.name.as_str(), frames, timeout).await.map_err(|error| {
        let hint = format!("is a worker of {} connected to {endpoint}?", args.name);
        Failure::new(&error, Some(&hint))
    })?;
    let format = match (args.raw, args.json, args.hex) {
        (true, ..) => ReplyFormat::Raw,
        (_, true, _) => ReplyFormat::Json,
        (_, _, true) => ReplyFormat::Hex,
        (false, false, false) => ReplyFormat::Text,
    };
    say(&render_reply(&reply, format))
}

async fn cmd_service(args: CmdServiceArgs) -> Result<(), Failure> {
    let endpoint = args.at.endpoint();
    say(format!("Starting Service: {endpoint} {}\n", args.name).as_bytes())?;
    let options = CmdOptions {
        endpoint,
        time_max: Duration::from_millis(args.time_max),
        concurrency: usize::from(args.concurrency),
        arguments: if args.split { Arguments::SplitAtSpaces } else { Arguments::FramePerArgument },
        ..CmdOptions::default()
    };
    let service = CmdService::new(args.name, args.command, options);
    let stop = async {
        // Without signals the service runs until it is killed.
        if stopped().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    service.run(stop).await.map_err(|error| Failure::new(&error, None))
}

/// Waits for SIGTERM or SIGINT.
async fn stopped() -> Result<(), Failure> {
    let unheard = |error: std::io::Error| Failure::new(&error, None);
    let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn say(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|error| Failure::new(&error, None))
}
