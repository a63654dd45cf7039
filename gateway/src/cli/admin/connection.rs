//! Which gateway a command is for, and how it is reached.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use buswire_message::Secret;
use clap::Args;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use super::{error::CliError, output::Output};

/// Where `buswire serve` keeps the token unless told otherwise.
const TOKEN_FILE_DEFAULT: &str = "buswire-data/admin.token";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call may take that is not a stream.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Which gateway a command is for, and how to write what it answers.
#[derive(Debug, Args)]
pub struct Connection {
    /// The URL of the gateway's admin listener
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "BUSWIRE_ADMIN",
        default_value = "http://127.0.0.1:50051"
    )]
    admin: String,
    /// The admin token
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "BUSWIRE_ADMIN_TOKEN",
        hide_env_values = true,
        value_parser = secret
    )]
    token: Option<Secret<String>>,
    /// The file that holds the admin token; goes before --token [default: buswire-data/admin.token,
    /// if it can be read]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How to write what was found
    #[arg(long, global = true, value_name = "FORM", value_enum, default_value_t)]
    output: Output,
}

#[expect(clippy::unnecessary_wraps, reason = "the signature that clap asks for")]
fn secret(text: &str) -> Result<Secret<String>, String> {
    Ok(Secret::new(text.to_owned()))
}

/// A connection to a gateway that sends the token with each call.
pub(super) type Gateway = InterceptedService<Channel, Bearer>;

/// Adds the token to each call.
#[derive(Clone, Debug)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Connection {
    /// How to write what was found.
    pub(super) const fn output(&self) -> Output {
        self.output
    }

    /// Connects to the gateway.
    pub(super) async fn open(&self) -> Result<Gateway, CliError> {
        let bearer = self.bearer(Path::new(TOKEN_FILE_DEFAULT))?;
        let endpoint = self.endpoint()?;
        let channel = endpoint
            .connect()
            .await
            .map_err(|source| CliError::Connect { url: self.admin.clone(), source })?;
        Ok(InterceptedService::new(channel, bearer))
    }

    fn endpoint(&self) -> Result<Endpoint, CliError> {
        let url = match self.admin.split_once("://") {
            Some(("http", rest)) if !rest.is_empty() => self.admin.clone(),
            None if !self.admin.is_empty() => format!("http://{}", self.admin),
            Some(_) | None => return Err(CliError::Url(self.admin.clone())),
        };
        let endpoint = Endpoint::from_shared(url).map_err(|_| CliError::Url(self.admin.clone()))?;
        let agent = concat!("buswire/", env!("CARGO_PKG_VERSION"));
        endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(agent)
            .map_err(|_| CliError::Url(self.admin.clone()))
    }

    fn bearer(&self, default_file: &Path) -> Result<Bearer, CliError> {
        let token = self.token(default_file)?;
        let token = token.expose().trim();
        if token.is_empty() {
            return Err(CliError::Token);
        }
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| CliError::Token)?;
        value.set_sensitive(true);
        Ok(Bearer(value))
    }

    fn token(&self, default_file: &Path) -> Result<Secret<String>, CliError> {
        let read = |path: &Path| fs::read_to_string(path).map(Secret::new);
        if let Some(path) = &self.token_file {
            return read(path).map_err(|source| CliError::File { path: path.clone(), source });
        }
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        read(default_file).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CliError::NoToken,
            _ => CliError::File { path: default_file.to_owned(), source },
        })
    }
}

/// A request of a call that is not a stream, with its deadline.
pub(super) fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// Fetches every page of a listing. `page` is given the token of a page and answers with its items and
/// the token of the next.
pub(super) async fn pages<T>(
    mut page: impl AsyncFnMut(String) -> Result<(Vec<T>, String), CliError>,
) -> Result<Vec<T>, CliError> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let (items, next) = page(token).await?;
        all.extend(items);
        if next.is_empty() {
            return Ok(all);
        }
        token = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(admin: &str, token: Option<&str>, token_file: Option<PathBuf>) -> Connection {
        let token = token.map(|token| Secret::new(token.to_owned()));
        Connection { admin: admin.to_owned(), token, token_file, output: Output::Table }
    }

    #[test]
    fn the_token_comes_from_the_nearest_place() {
        let dir = tempfile::tempdir().unwrap();
        let (named, default) = (dir.path().join("named"), dir.path().join("default"));
        fs::write(&named, "from-file\n").unwrap();
        let taken = |token, file: Option<&PathBuf>| {
            connection("x", token, file.cloned()).bearer(&default).map(|bearer| bearer.0)
        };
        assert!(matches!(taken(None, None), Err(CliError::NoToken)));
        fs::write(&default, "default").unwrap();
        assert_eq!(taken(None, None).unwrap(), "Bearer default");
        assert_eq!(taken(Some("given"), None).unwrap(), "Bearer given");
        assert_eq!(taken(Some("given"), Some(&named)).unwrap(), "Bearer from-file");
        assert!(matches!(taken(Some(" "), None), Err(CliError::Token)));
        assert!(matches!(taken(Some("a\u{0}b"), None), Err(CliError::Token)));
        let absent = dir.path().join("absent");
        assert!(matches!(taken(None, Some(&absent)), Err(CliError::File { .. })));
    }

    #[test]
    fn a_url_may_lack_its_scheme() {
        for good in ["http://127.0.0.1:1", "127.0.0.1:1", "localhost:50051", "http://[::1]:1/"] {
            assert!(connection(good, None, None).endpoint().is_ok(), "{good}");
        }
        for bad in ["", "http://", "ftp://x", "a b", "://"] {
            let problem = connection(bad, None, None).endpoint();
            assert!(matches!(problem, Err(CliError::Url(_))), "{bad}");
        }
    }

    #[test]
    fn the_token_does_not_print() {
        let connection = connection("x", Some("hunter2"), None);
        let bearer = connection.bearer(Path::new("none")).unwrap();
        assert!(!format!("{connection:?} {bearer:?}").contains("hunter2"));
    }
}
