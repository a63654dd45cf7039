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
        "there is no admin token in {}: give --token-file with the admin.token of the gateway's \
         data_dir, --token, or BUSWIRE_ADMIN_TOKEN",
        or(.0)
    )]
    NoToken(Vec<PathBuf>),
    /// No token was given for a gateway on another machine.
    #[error(
        "{0} is not on this machine, whose admin token is not sent there: give --token-file, --token, \
         BUSWIRE_ADMIN_TOKEN, or --cert and --key"
    )]
    NoTokenFor(String),
    /// The admin token of this machine is for others.
    #[error("can't read the admin token in {path}")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
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
        if let Some(hint) = self.hint() {
            line.push_str("; ");
            line.push_str(&hint);
        }
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What to do about it, where the error itself does not say.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Connect { .. } => "is `buswire serve` running? --admin names another",
            Self::TokenFile { .. } => {
                "run it as the user of the gateway (sudo -u buswire buswire …), or give --token"
            }
            Self::Late => "look before you repeat it",
            Self::Missing { .. } => return listing(&self.to_string()),
            Self::Refused(status) => match status.code() {
                Code::PermissionDenied => {
                    "an admin makes another: buswire admin-token create NAME --role ROLE"
                }
                Code::NotFound => return listing(status.message()),
                Code::Unavailable => "try again; `buswire status` says how the gateway is",
                _ => return None,
            },
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether the reader of the output has gone away.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// That the admin token of this machine can't be read.
    pub(super) fn token(path: &Path, source: io::Error) -> Self {
        Self::TokenFile { path: path.to_owned(), source }
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

/// What is listed by which command; what begins as another does comes first.
const LISTINGS: [(&str, &str); 16] = [
    ("admin token", "admin-token list"),
    ("bus", "bus list"),
    ("capability", "cap list"),
    ("client", "client list"),
    ("code", "client codes"),
    ("decision", "owner decisions"),
    ("grant", "grant list"),
    ("owner", "owner list"),
    ("request", "owner requests"),
    ("route", "route list"),
    ("service", "service list"),
    ("sign-in", "owner sign-ins"),
    ("token", "client tokens"),
    ("user agent", "push list"),
    ("user", "user list"),
    ("worker", "worker list"),
];

/// The command that shows what there is, for a text that says what there is not.
fn listing(text: &str) -> Option<String> {
    let what = text.strip_prefix("there is no ").or_else(|| text.strip_prefix("no "))?;
    let what = what.strip_prefix("such ").unwrap_or(what);
    let is_named = |name: &str| {
        what.strip_prefix(name).is_some_and(|rest| matches!(rest.bytes().next(), None | Some(b' ')))
    };
    let (_, command) = LISTINGS.into_iter().find(|(name, _)| is_named(name))?;
    Some(format!("`buswire {command}` shows those there are"))
}

fn or(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
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
        let error = CliError::from(Status::already_exists("there is a bus a"));
        assert_eq!(error.line(), "there is a bus a");
        let error = CliError::from(Status::new(Code::Internal, ""));
        assert_eq!(error.line(), Code::Internal.to_string());
    }

    #[test]
    fn an_error_says_the_next_step() {
        let line = |error: CliError| error.line();
        let missing = |what| line(CliError::Missing { what, name: "x".into() });
        assert_eq!(missing("bus"), "there is no bus x; `buswire bus list` shows those there are");
        assert!(missing("user").contains("`buswire user list`"));
        let refused = |text: &str| line(Status::not_found(text).into());
        assert!(refused("there is no such user agent").contains("`buswire push list`"));
        assert!(refused("no such worker is registered").contains("`buswire worker list`"));
        assert_eq!(refused("there is no business"), "there is no business");
        let denied = line(Status::permission_denied("a viewer's").into());
        assert!(denied.contains("buswire admin-token create"), "{denied}");
        assert!(line(Status::unavailable("x").into()).contains("try again"));
        let closed = io::Error::from(io::ErrorKind::PermissionDenied);
        let closed = line(CliError::token(Path::new("/var/lib/buswire/admin.token"), closed));
        assert!(closed.contains("sudo -u buswire"), "{closed}");
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
