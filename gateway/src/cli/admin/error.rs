//! Why an admin command failed, and what to do about it, in one line.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use tonic::{Code, Status};

/// Why an admin command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// No token was given and none was found.
    #[error(
        "there is no admin token: give --token-file with the admin.token of the gateway's data_dir, \
         --token, or BUSWIRE_ADMIN_TOKEN"
    )]
    NoToken,
    /// The file of the token or of a secret can't be read.
    #[error("can't read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("can't write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A token can't be sent: it is empty or has a character that HTTP forbids.
    #[error("the admin token is empty or has characters that no token has")]
    Token,
    /// The URL of the gateway is not one.
    #[error("--admin: {0} is not a URL such as http://127.0.0.1:50051")]
    Url(String),
    /// An https URL without certificates to trust.
    #[error("--admin is https: give --ca with the certificate of the gateway or of its authority")]
    NoAuthority,
    /// The certificates can't be used.
    #[error("--ca, --cert or --key holds no certificate or key that can be used")]
    Certificates(#[source] tonic::transport::Error),
    /// Nobody answers at the URL.
    #[error("can't reach the gateway at {url}")]
    Connect {
        /// The URL.
        url: String,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// The gateway refuses the token.
    #[error(
        "the gateway says: {0}. Give --token-file with the admin.token of the gateway's data_dir, \
         --token, or BUSWIRE_ADMIN_TOKEN"
    )]
    Unauthenticated(String),
    /// The gateway did not answer in time.
    #[error("the gateway did not answer in time; what it was asked for may have happened")]
    Late,
    /// The gateway did not do what it was asked.
    #[error("{}", describe(.0))]
    Refused(Status),
    /// A capability was named by its URL.
    #[error(
        "a capability is named by its handle, not by its URL; `buswire cap list` shows handles"
    )]
    HandleExpected,
    /// An inbound endpoint was named by its URL.
    #[error(
        "an inbound endpoint is named by its id, not by its URL; `buswire push inbound list` shows ids"
    )]
    IdExpected,
    /// There is nothing of this name.
    #[error("there is no {what} {name}")]
    Missing {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Dead letters that were tried again.
    #[error("{0} of the dead letters failed again")]
    FailedAgain(u64),
    /// The gateway left out what it must answer.
    #[error("the gateway's answer is incomplete; is it of another version?")]
    Incomplete,
    /// There is no listening to the push server, or no longer.
    #[error("can't listen")]
    Listen(#[source] Box<dyn Error + Send + Sync>),
    /// The output can't be written.
    #[error("can't write the output")]
    Output(#[from] io::Error),
}

impl CliError {
    /// The error and its causes in one line.
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        // A status repeats in its text what it was made from.
        let mut cause = if matches!(self, Self::Refused(_)) { None } else { self.source() };
        while let Some(error) = cause {
            let text = error.to_string();
            // Connectors repeat what their cause says.
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        if matches!(self, Self::Connect { .. }) {
            line.push_str("; is `buswire serve` running? --admin names another");
        }
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Whether the reader of the output has gone away.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// That a file can't be read.
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }

    /// That there is no listening to the push server.
    pub(super) fn listen(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Listen(Box::new(source))
    }

    /// That there is nothing of this name, unless it `existed`.
    pub(super) fn missing_unless(
        existed: bool,
        what: &'static str,
        name: &str,
    ) -> Result<(), Self> {
        if existed { Ok(()) } else { Err(Self::Missing { what, name: name.to_owned() }) }
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Unauthenticated => Self::Unauthenticated(status.message().to_owned()),
            // What the client says by itself at the deadline that was set for the call.
            Code::Cancelled if status.message() == "Timeout expired" => Self::Late,
            _ => Self::Refused(status),
        }
    }
}

fn describe(status: &Status) -> String {
    if status.message().is_empty() {
        status.code().to_string()
    } else {
        status.message().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_causes() {
        let source = io::Error::new(io::ErrorKind::NotFound, "no such\nfile");
        let error = CliError::File { path: "x/admin.token".into(), source };
        assert_eq!(error.line(), "can't read x/admin.token: no such file");
        let error = CliError::from(Status::not_found("there is no bus a"));
        assert_eq!(error.line(), "there is no bus a");
        let error = CliError::from(Status::new(Code::Internal, ""));
        assert_eq!(error.line(), Code::Internal.to_string());
    }

    #[test]
    fn a_wrong_token_says_what_to_do() {
        let error = CliError::from(Status::unauthenticated("the admin token is wrong"));
        let line = error.line();
        assert!(line.starts_with("the gateway says: the admin token is wrong. Give --token-file"));
        assert!(line.contains("BUSWIRE_ADMIN_TOKEN"), "{line}");
    }

    #[test]
    fn a_closed_output_is_no_failure() {
        let closed = CliError::Output(io::ErrorKind::BrokenPipe.into());
        assert!(closed.is_closed_output());
        assert!(!CliError::Output(io::ErrorKind::StorageFull.into()).is_closed_output());
    }
}
