//! What administrators' commands find on the machine that they run on: a terminal, and the token of a
//! gateway that runs there too.
//!
//! Never here: what is in the token.

use std::path::{Path, PathBuf};

use super::{Environment, Screen};
use crate::config::{self, Inputs};

/// Where packages keep the configuration of the gateway, and where that says its data is.
const PACKAGED: (&str, &str) = ("/etc/buswire/buswire.toml", "/var/lib/buswire");
/// Where `buswire serve` keeps its data unless it is told otherwise.
const DATA_DIR_DEFAULT: &str = "buswire-data";

/// What there is for a command.
#[derive(Clone, Debug)]
pub struct Local {
    /// Where it writes.
    pub screen: Screen,
    /// Where the token may be, the likeliest file first.
    pub token_files: Vec<PathBuf>,
}

impl Default for Local {
    /// No terminal, and a gateway that was started in the same folder.
    fn default() -> Self {
        Self { screen: Screen::default(), token_files: vec![token_file(DATA_DIR_DEFAULT)] }
    }
}

impl Local {
    /// What there is for this process: the gateway of `BUSWIRE_CONFIG` and of the environment, or that
    /// of a package.
    pub(super) fn find(environment: &Environment) -> Self {
        let (file, directory) = PACKAGED;
        let own = data_dir(environment.get("BUSWIRE_CONFIG"), environment);
        let packaged = if Path::new(file).exists() {
            // Only root and the user of the gateway may read the file.
            data_dir(Some(file), environment).unwrap_or_else(|| directory.into())
        } else {
            directory.into()
        };
        let mut token_files: Vec<_> =
            [own.unwrap_or_else(|| DATA_DIR_DEFAULT.into()), packaged].map(token_file).into();
        token_files.dedup();
        Self { screen: Screen::of_process(environment.allows_colors()), token_files }
    }
}

fn token_file(data_dir: impl AsRef<Path>) -> PathBuf {
    data_dir.as_ref().join("admin.token")
}

/// The directory of a gateway with this file, unless that can't be used.
fn data_dir(file: Option<&str>, environment: &Environment) -> Option<PathBuf> {
    let inputs = Inputs {
        file: file.map(PathBuf::from),
        environment: environment.variables().to_vec(),
        arguments: Vec::new(),
    };
    config::load(&inputs).ok().map(|loaded| loaded.config.data_dir)
}
