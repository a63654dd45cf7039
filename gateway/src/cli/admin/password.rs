//! Where a password or another secret of a command comes from.

use std::{
    fs,
    io::{self, Read as _},
    path::PathBuf,
};

use buswire_message::Secret;
use clap::Args;

use super::error::CliError;

/// A password: given, or in a file.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Password {
    /// The password; others on this machine can see it while the command runs
    #[arg(long, value_name = "TEXT", value_parser = secret)]
    password: Option<Secret<String>>,
    /// The file that holds the password in one line; - is the standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[expect(clippy::unnecessary_wraps, reason = "the signature that clap asks for")]
pub(super) fn secret(text: &str) -> Result<Secret<String>, String> {
    Ok(Secret::new(text.to_owned()))
}

impl Password {
    /// The password.
    pub(super) fn read(&self) -> Result<Secret<String>, CliError> {
        match (&self.password, &self.password_file) {
            (_, Some(path)) => read(path),
            (Some(password), None) => Ok(password.clone()),
            (None, None) => Ok(Secret::default()),
        }
    }
}

/// Reads a secret from a file, without the end of its line.
pub(super) fn read(path: &PathBuf) -> Result<Secret<String>, CliError> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text = text.map_err(|source| CliError::file(path, source))?;
    let text = Secret::new(text);
    Ok(Secret::new(text.expose().trim_end_matches(['\r', '\n']).to_owned()))
}
