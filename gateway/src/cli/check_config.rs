//! `buswire check-config`.

use std::io::Write;

use super::{CheckConfigArgs, Environment, Failure};
use crate::config;

/// Prints the configuration in force to `out`.
pub(super) fn run(
    args: &CheckConfigArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let loaded = config::load(&args.config.inputs(environment))?;
    out.write_all(loaded.print().as_bytes()).map_err(|error| Failure::new(&error, None))
}
