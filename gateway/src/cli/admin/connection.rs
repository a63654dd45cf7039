//! Which gateway a command is for, and how it is reached.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use buswire_message::Secret;
use clap::Args;
use http::Uri;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{
    error::CliError,
    output::{Form, Output},
};
use crate::{
    cli::{Local, Screen},
    config::is_loopback,
};

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
        // One in 64 tokens begins with a hyphen.
        allow_hyphen_values = true,
        value_parser = secret
    )]
    token: Option<Secret<String>>,
    /// The file that holds the admin token; goes before --token [default for a gateway on this machine:
    /// admin.token in the data_dir of BUSWIRE_CONFIG, in buswire-data, or in /var/lib/buswire]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The certificates to trust when the URL is https, PEM: the gateway's own or its authority's
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate to show to the gateway, PEM; needs no token then
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the certificate, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// How to write what was found
    #[arg(long, global = true, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
    /// Writes tables as wide as they are, also where the terminal is not
    #[arg(long, global = true)]
    wide: bool,
    #[arg(skip)]
    local: Local,
}

#[expect(clippy::unnecessary_wraps, reason = "the signature that clap asks for")]
fn secret(text: &str) -> Result<Secret<String>, String> {
    Ok(Secret::new(text.to_owned()))
}

/// A connection to a gateway that sends the token with each call.
pub(super) type Gateway = InterceptedService<Channel, Bearer>;

/// Adds the token to each call, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl Connection {
    /// How to write what was found.
    pub(super) fn output(&self) -> Output {
        match self.output {
            Form::Json => Output::Json,
            Form::Table if self.wide => Output::Table(Screen { width: None, ..self.local.screen }),
            Form::Table => Output::Table(self.local.screen),
        }
    }

    /// Puts it on a machine.
    pub(in crate::cli) fn on(&mut self, local: Local) {
        self.local = local;
    }

    /// Whether somebody watches, and where.
    pub(super) const fn screen(&self) -> Screen {
        self.local.screen
    }

    /// Connects to the gateway.
    pub(super) async fn open(&self) -> Result<Gateway, CliError> {
        let bearer = self.bearer()?;
        let endpoint = self.endpoint()?;
        let channel = endpoint
            .connect()
            .await
            .map_err(|source| CliError::Connect { url: self.admin.clone(), source })?;
        Ok(InterceptedService::new(channel, bearer))
    }

    fn endpoint(&self) -> Result<Endpoint, CliError> {
        let (url, is_tls) = match self.admin.split_once("://") {
            Some(("http", rest)) if !rest.is_empty() => (self.admin.clone(), false),
            Some(("https", rest)) if !rest.is_empty() => (self.admin.clone(), true),
            None if !self.admin.is_empty() => (format!("http://{}", self.admin), false),
            Some(_) | None => return Err(CliError::Url(self.admin.clone())),
        };
        let problem = |_| CliError::Url(self.admin.clone());
        let agent = concat!("buswire/", env!("CARGO_PKG_VERSION"));
        let endpoint = Endpoint::from_shared(url)
            .and_then(|endpoint| endpoint.connect_timeout(CONNECT_TIMEOUT).user_agent(agent))
            .map_err(problem)?;
        if is_tls {
            endpoint.tls_config(self.tls()?).map_err(CliError::Certificates)
        } else {
            Ok(endpoint)
        }
    }

    fn tls(&self) -> Result<ClientTlsConfig, CliError> {
        let read = |path: &PathBuf| fs::read(path).map_err(|source| CliError::file(path, source));
        let ca = self.ca.as_ref().ok_or(CliError::NoAuthority)?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                Ok(tls.identity(Identity::from_pem(read(cert)?, read(key)?)))
            }
            (Some(_), None) | (None, _) => Ok(tls),
        }
    }

    fn bearer(&self) -> Result<Bearer, CliError> {
        let Some(token) = self.token()? else { return Ok(Bearer(None)) };
        let token = token.expose().trim();
        if token.is_empty() {
            return Err(CliError::Token);
        }
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| CliError::Token)?;
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }

    /// The token that was given, or that of this machine for a gateway on it; none with a certificate.
    fn token(&self) -> Result<Option<Secret<String>>, CliError> {
        let read = |path: &Path| fs::read_to_string(path).map(Secret::new);
        if let Some(path) = &self.token_file {
            return read(path).map(Some).map_err(|source| CliError::file(path, source));
        }
        if self.token.is_some() || self.cert.is_some() {
            return Ok(self.token.clone());
        }
        if !self.is_local() {
            return Err(CliError::NoTokenFor(self.admin.clone()));
        }
        for path in &self.local.token_files {
            match read(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => return read.map(Some).map_err(|source| CliError::token(path, source)),
            }
        }
        Err(CliError::NoToken(self.local.token_files.clone()))
    }

    /// Whether the gateway is on this machine, as far as its URL says.
    fn is_local(&self) -> bool {
        let url: Option<Uri> = self.admin.parse().ok();
        let host = url.as_ref().and_then(Uri::host).unwrap_or_default();
        is_loopback(host.trim_start_matches('[').trim_end_matches(']'))
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
        Connection {
            admin: admin.to_owned(),
            token,
            token_file,
            ca: None,
            cert: None,
            key: None,
            output: Form::Table,
            wide: false,
            local: Local::default(),
        }
    }

    #[test]
    fn the_token_comes_from_the_nearest_place() {
        let dir = tempfile::tempdir().unwrap();
        let [named, own, packaged] = ["named", "own", "packaged"].map(|name| dir.path().join(name));
        fs::write(&named, "from-file\n").unwrap();
        let token_files = vec![own.clone(), packaged.clone()];
        let taken = |token, file: Option<&PathBuf>| {
            let mut connection = connection("127.0.0.1:1", token, file.cloned());
            connection.on(Local { token_files: token_files.clone(), ..Local::default() });
            connection.bearer().map(|bearer| bearer.0.unwrap())
        };
        let absent = taken(None, None).unwrap_err().line();
        assert!(absent.contains(own.to_str().unwrap()) && absent.contains("--token"), "{absent}");
        fs::write(&packaged, "packaged").unwrap();
        assert_eq!(taken(None, None).unwrap(), "Bearer packaged");
        fs::create_dir(&own).unwrap();
        let unreadable = taken(None, None).unwrap_err().line();
        assert!(unreadable.contains("can't read the admin token in"), "{unreadable}");
        fs::remove_dir(&own).unwrap();
        fs::write(&own, "own").unwrap();
        assert_eq!(taken(None, None).unwrap(), "Bearer own");
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
    fn https_needs_to_know_whom_to_trust() {
        let mut connection = connection("https://localhost:1", None, None);
        assert!(matches!(connection.endpoint(), Err(CliError::NoAuthority)));
        connection.ca = Some("absent.pem".into());
        assert!(matches!(connection.endpoint(), Err(CliError::File { .. })));
    }

    #[test]
    fn a_token_that_was_found_goes_to_this_machine_alone_and_not_with_a_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let found = dir.path().join("admin.token");
        fs::write(&found, "found").unwrap();
        let connection = |admin: &str, token| {
            let mut connection = connection(admin, token, None);
            connection.on(Local { token_files: vec![found.clone()], ..Local::default() });
            connection
        };
        for own in
            ["http://127.0.0.1:1", "https://localhost", "[::1]:1", "http://[::1]:1/", "127.0.0.2:1"]
        {
            assert_eq!(connection(own, None).bearer().unwrap().0.unwrap(), "Bearer found", "{own}");
        }
        for other in
            ["http://192.0.2.1:1", "localhost.example.com:1", "https://a@example.com", "x y"]
        {
            let absent = connection(other, None).bearer();
            assert!(matches!(absent, Err(CliError::NoTokenFor(url)) if url == other), "{other}");
            let given = connection(other, Some("given")).bearer().unwrap().0.unwrap();
            assert_eq!(given, "Bearer given", "{other}");
        }
        let mut connection = connection("https://localhost:1", None);
        connection.cert = Some("client.pem".into());
        assert!(connection.bearer().unwrap().0.is_none());
        connection.token = Some(Secret::new("given".to_owned()));
        assert_eq!(connection.bearer().unwrap().0.unwrap(), "Bearer given");
    }

    #[test]
    fn the_token_does_not_print() {
        let connection = connection("x", Some("hunter2"), None);
        let bearer = connection.bearer().unwrap();
        assert!(!format!("{connection:?} {bearer:?}").contains("hunter2"));
    }
}
