//! The log: lines on standard error, for people or as JSON.
//!
//! Never here: what is logged. A line never holds a token, a capability URL, a path of a request or a
//! payload.

use std::{
    io::{self, IsTerminal as _},
    panic,
};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{LogConfig, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[error("the log can't be set up: {0}")]
pub struct LogError(String);

/// Checks a filter.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_filter(text: &str) -> Result<(), String> {
    EnvFilter::builder().parse(text).map(drop).map_err(|error| error.to_string())
}

/// Sends everything that is traced in this process to standard error. Works once per process.
///
/// # Errors
///
/// [`LogError`] if the process has a log already, or the filter is none.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let filter =
        EnvFilter::builder().parse(&config.filter).map_err(|error| LogError(error.to_string()))?;
    let filter = filter.and(filter_fn(is_free_of_contents));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match config.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|error| LogError(error.to_string()))
}

/// Whether what `metadata` describes is ours, or says no more than `info` does. Below that, libraries
/// log the bytes that they carry: frames with UAIDs and endpoints, heads with tokens.
fn is_free_of_contents(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().starts_with("buswire")
}

/// Makes a panic one line of the log, with its place. Its message is left out: nobody knows what is in
/// it.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, "panic");
    }));
}

#[cfg(test)]
mod tests {
    use super::check_filter;

    #[test]
    fn a_filter_is_checked() {
        for filter in ["info", "info,buswire=debug", "buswire::access=off,warn"] {
            assert_eq!(check_filter(filter), Ok(()), "{filter}");
        }
        for filter in ["buswire=loud", "a=b=c"] {
            assert!(check_filter(filter).is_err(), "{filter}");
        }
    }
}
