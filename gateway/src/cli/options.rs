//! Options that several commands share.

use std::path::PathBuf;

use clap::Args;

use super::Environment;
use crate::config::Inputs;

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// TOML file with settings; without one the defaults are used.
    #[arg(long, value_name = "FILE", env = "BUSWIRE_CONFIG")]
    pub config: Option<PathBuf>,

    /// A setting that overrides the file and the environment, as http.listen=127.0.0.1:0. May be
    /// repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub settings: Vec<(String, String)>,
}

impl ConfigArgs {
    /// The layers of the configuration.
    pub fn inputs(&self, environment: &Environment) -> Inputs {
        Inputs {
            file: self.config.clone(),
            environment: environment.variables().to_vec(),
            arguments: self.settings.clone(),
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// Options of `serve`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// File that gets one JSON object with every bound address once all are bound.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<String>,
}

/// Options of `check-config`.
#[derive(Clone, Debug, Default, Args)]
pub struct CheckConfigArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}
