//! `buswire serve`.

use tokio::runtime;

use super::{Environment, Failure, ServeArgs};
use crate::{
    config,
    listen::inherit,
    ops::Metrics,
    serve::{self, Ended},
    telemetry::log,
};

/// Serves until it is asked to end.
pub(super) fn run(args: &ServeArgs, environment: &Environment) -> Result<(), Failure> {
    let mut inputs = args.config.inputs(environment);
    inputs.arguments.extend(args.ready_file.clone().map(|path| ("ready_file".to_owned(), path)));
    let loaded = config::load(&inputs)?;
    log::init(&loaded.config.log).map_err(|error| Failure::new(&error, None))?;
    log::log_panics();
    // There are no threads yet.
    inherit(environment.socket_names())
        .map_err(|error| Failure::new(&error, Some(&error.hint())))?;
    let metrics = Metrics::install().map_err(|error| Failure::new(&error, None))?;
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&error, None))?;
    let ended = runtime.block_on(serve::run(loaded, &inputs, metrics));
    // A blocking call that hangs must not keep the process from ending.
    runtime.shutdown_background();
    match ended {
        Ok(Ended::Asked) => Ok(()),
        Ok(Ended::Broken(task)) => Err(Failure::Failed(format!("the task {task} ended"))),
        Err(error) => Err(Failure::new(&error, error.hint().as_deref())),
    }
}
