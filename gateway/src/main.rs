//! The buswire command.

use std::{env, process::ExitCode};

use buswire::cli::{self, Cli, Environment};
use clap::Parser as _;

// A fifth of the processor time of a post was the system's allocator, whose arenas also grow and shrink
// with every commit.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The one place that reads the environment.
    let environment = Environment::new(env::vars_os());
    // One provider of cryptography for everything in the process that does not name one.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if provider.install_default().is_err() {
        return ExitCode::FAILURE;
    }
    cli::run(Cli::parse(), &environment)
}
