//! Where a server is: the URL of a store.
//!
//! Never here: connecting.

use std::fmt;

use buswire_message::Secret;

/// Why a text is not the URL of a Redis store. None shows the text: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme.
    #[error("is not redis://, rediss://, redis+cluster:// or redis+sentinel://")]
    Scheme,
    /// No host, a port that is not a number from 1 to 65535, or several hosts of a single server.
    #[error("has no host, a port that is none, or more than one host")]
    Host,
    /// Not `[USER[:PASSWORD]@]`, or escapes that are none.
    #[error("has a user or password that is not escaped rightly")]
    User,
    /// Not a number of a database; a cluster has only number 0.
    #[error("has a database that is not a number, or is a cluster and has one")]
    Database,
    /// A sentinel URL without the name of the master.
    #[error("has no name of a master: redis+sentinel://HOST:PORT,HOST:PORT/NAME")]
    Master,
    /// A query other than `tls=true` or `tls=false`.
    #[error("has a query that is not tls=true")]
    Query,
}

/// How servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    /// One server.
    Single,
    /// A cluster, of which some nodes are named.
    Cluster,
    /// Whichever server the sentinels call master of this name.
    Sentinel(String),
}

/// Where a server is, and who asks it.
///
/// ```text
/// redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]      rediss://… with TLS
/// redis+cluster://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][?tls=true]
/// redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT][,…]/MASTER[/DATABASE][?tls=true]
/// ```
///
/// Bytes of user and password may be escaped as `%2F`. An IPv6 address is in brackets. The port is
/// 6379, of sentinels 26379, unless it is given.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    pub(super) topology: Topology,
    /// At least one.
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret<String>>,
    pub(super) database: i64,
}

impl RedisAddress {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`AddressError`].
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.split_once("://").ok_or(AddressError::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, "tls=false"));
        let asks_tls = match query {
            "tls=true" => true,
            "tls=false" => false,
            _ => return Err(AddressError::Query),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (topology, database, port) = match scheme {
            "redis" | "rediss" => (Topology::Single, path, 6379),
            "redis+cluster" if path.is_empty() => (Topology::Cluster, path, 6379),
            "redis+cluster" => return Err(AddressError::Database),
            "redis+sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(AddressError::Master);
                }
                (Topology::Sentinel(master.to_owned()), database, 26379)
            }
            _ => return Err(AddressError::Scheme),
        };
        let hosts: Vec<_> = hosts
            .split(',')
            .map(|host| parse_host(host, port))
            .collect::<Option<_>>()
            .ok_or(AddressError::Host)?;
        if topology == Topology::Single && hosts.len() > 1 {
            return Err(AddressError::Host);
        }
        let (user, password) = parse_user(user)?;
        let database = if database.is_empty() { Ok(0) } else { database.parse::<u16>() };
        let database = i64::from(database.map_err(|_| AddressError::Database)?);
        Ok(Self { topology, hosts, tls: asks_tls || scheme == "rediss", user, password, database })
    }

    /// The same address with another password, as from a file.
    #[must_use]
    pub fn with_password(self, password: Secret<String>) -> Self {
        Self { password: Some(password), ..self }
    }
}

impl RedisAddress {
    /// The hosts and ports that the URL names; those of sentinels, if it names them. At least one.
    pub fn servers(&self) -> &[(String, u16)] {
        &self.hosts
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisAddress").field(&self.to_string()).finish()
    }
}

impl fmt::Display for RedisAddress {
    /// The servers alone, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> =
            self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        match &self.topology {
            Topology::Single => write!(f, "{}", hosts.join(",")),
            Topology::Cluster => write!(f, "cluster {}", hosts.join(",")),
            Topology::Sentinel(master) => write!(f, "{master} at sentinels {}", hosts.join(",")),
        }
    }
}

fn parse_host(text: &str, port: u16) -> Option<(String, u16)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => text.split_at_checked(text.find(':').unwrap_or(text.len()))?,
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None if rest.is_empty() => port,
        None => return None,
    };
    let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
    is_host.then(|| (host.to_owned(), port))
}

type User = (Option<String>, Option<Secret<String>>);

fn parse_user(text: &str) -> Result<User, AddressError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let part = |text: &str| -> Result<Option<String>, AddressError> {
        let text = unescape(text).ok_or(AddressError::User)?;
        Ok((!text.is_empty()).then_some(text))
    };
    Ok((part(user)?, part(password)?.map(Secret::new)))
}

/// Undoes percent-encoding.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> RedisAddress {
        RedisAddress::parse(url).unwrap()
    }

    #[test]
    fn every_form_is_read() {
        let plain = parse("redis://h");
        assert_eq!(plain.hosts, [("h".to_owned(), 6379)]);
        assert!(!plain.tls && plain.user.is_none() && plain.password.is_none());
        let full = parse("rediss://u:p%40%2f@[::1]:7000/3");
        assert_eq!(
            (full.hosts, full.tls, full.database),
            (vec![("::1".to_owned(), 7000)], true, 3)
        );
        assert_eq!(full.user.as_deref(), Some("u"));
        assert_eq!(full.password, Some(Secret::new("p@/".to_owned())));
        let cluster = parse("redis+cluster://:p@a:1,b?tls=true");
        assert_eq!(cluster.hosts, [("a".to_owned(), 1), ("b".to_owned(), 6379)]);
        assert!(cluster.tls && cluster.topology == Topology::Cluster && cluster.user.is_none());
        let sentinel = parse("redis+sentinel://a,b:2/main/1");
        assert_eq!(sentinel.topology, Topology::Sentinel("main".to_owned()));
        assert_eq!((sentinel.hosts[0].1, sentinel.database), (26379, 1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, error) in [
            ("http://h", AddressError::Scheme),
            ("redis:h", AddressError::Scheme),
            ("redis://", AddressError::Host),
            ("redis://a,b", AddressError::Host),
            ("redis://h:0", AddressError::Host),
            ("redis://[::1", AddressError::Host),
            ("redis://u:%zz@h", AddressError::User),
            ("redis://h/x", AddressError::Database),
            ("redis+cluster://h/1", AddressError::Database),
            ("redis+sentinel://h", AddressError::Master),
            ("redis://h?x=1", AddressError::Query),
        ] {
            assert_eq!(RedisAddress::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn a_password_does_not_print() {
        let address = parse("redis://somebody:sesame@h:1");
        assert_eq!(format!("{address:?} {address}"), "RedisAddress(\"h:1\") h:1");
    }
}
