//! `buswire mdp cmd-service`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use buswire_mdp::{Arguments, CmdOptions, CmdService, ServiceName};
use clap::Args;

use super::{Failure, StopSignals, at::At, say};

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
    /// How long one run may take, in milliseconds; then it is killed with all that it started
    #[arg(long, default_value_t = 60_000, value_name = "MS")]
    time_max: u64,
    /// How much one run may write, in bytes; beyond it it is killed
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES")]
    output_max: usize,
    /// Runs at once, for each broker
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Folder in which the command runs
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// A variable for the environment of the command; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(OsString, OsString)>,
    /// The command and its first arguments; everything behind its name belongs to it
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

fn variable(text: &str) -> Result<(OsString, OsString), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

pub(super) async fn run(args: CmdServiceArgs) -> Result<(), Failure> {
    let stop = StopSignals::catch()?;
    let endpoints = args.at.endpoints().await?;
    announce(&args, &endpoints)?;
    let options = CmdOptions {
        endpoints,
        time_max: Duration::from_millis(args.time_max),
        output_bytes_max: args.output_max,
        concurrency: usize::from(args.concurrency),
        arguments: if args.split { Arguments::SplitAtSpaces } else { Arguments::FramePerArgument },
        folder: args.folder,
        variables: args.variables,
        curve: args.at.curve()?,
    };
    let service = CmdService::new(args.name, args.command, options);
    service.run(stop.wait()).await.map_err(|error| Failure::new(&error, None))
}

/// Says what Backbone's service says when it starts (MDP §9.4).
fn announce(args: &CmdServiceArgs, endpoints: &[String]) -> Result<(), Failure> {
    let words: Vec<String> =
        args.command.iter().map(|word| format!("'{}'", word.display())).collect();
    let start = format!("Create Stream\nCommand Service: {} [{}]\n", args.name, words.join(", "));
    let starting = endpoints.iter().map(|at| format!("Starting Service: {at} {}\n", args.name));
    let lines: String = std::iter::once(start).chain(starting).collect();
    say(lines.as_bytes())
}
