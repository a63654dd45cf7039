//! `buswire demo`.

use clap::Args;
use tokio::runtime;

use super::{ConfigArgs, Environment, Failure};
use crate::{config, demo, ops::Metrics, telemetry::log};

/// Options of `demo`.
#[derive(Clone, Debug, Default, Args)]
pub struct DemoArgs {
    /// End after the message has crossed; fail if a hop failed or took over five seconds
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Sends one message through everything, and then serves the page.
pub(super) fn run(args: &DemoArgs, environment: &Environment) -> Result<(), Failure> {
    let folder = demo::Folder::create().map_err(|error| Failure::new(&error, None))?;
    let mut inputs = args.config.inputs(environment);
    // Whatever the person sets comes behind, and so wins.
    let defaults = demo::defaults(&folder, args.once);
    inputs.arguments.splice(0..0, defaults);
    let loaded = config::load(&inputs)?;
    log::init(&loaded.config.log).map_err(|error| Failure::new(&error, None))?;
    log::log_panics();
    let metrics = Metrics::install().map_err(|error| Failure::new(&error, None))?;
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(&error, None))?;
    let mut out = std::io::stdout();
    let done = runtime.block_on(demo::run(&loaded.config, metrics, args.once, &mut out));
    runtime.shutdown_background();
    done.map_err(|error| Failure::new(&*error, None))
}
