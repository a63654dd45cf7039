//! How a store on Redis is used, and why it could not be opened.
//!
//! Never here: connecting.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    address::{RedisAddress, Topology},
    tls::RedisTls,
};

/// What is done when a server would lose what it acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// The store does not open.
    #[default]
    Strict,
    /// The log says so at every connection.
    Warn,
}

/// How a [`RedisStore`](super::RedisStore) is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Where the server is.
    pub address: RedisAddress,
    /// The files that TLS needs, where `address` asks for TLS. Default: none, servers are checked by the
    /// certificates of the system.
    pub tls: RedisTls,
    /// What every key begins with; stores of different prefixes share nothing. Default `buswire`.
    pub prefix: Arc<str>,
    /// What is done when the server would lose what it acknowledged. Default: it is refused.
    pub durability: Durability,
    /// How long a connection may take. Default 2 s.
    pub connect_timeout: Duration,
    /// How long one answer may take. Default 5 s: a fork or a slow disk takes some, and whether a
    /// commit that was not answered happened is not known.
    pub response_timeout: Duration,
    /// How long a request may take with everything, waiting for a place, for the server and trying
    /// again; then it is answered with [`StoreError::Unavailable`](crate::StoreError). Default 10 s.
    pub patience: Duration,
    /// How many requests are under way at a time; others wait for a place. Default 1024: more fill
    /// no connection any better.
    pub concurrency: usize,
    /// How many requests wait or are under way together; more are answered with
    /// [`StoreError::Unavailable`](crate::StoreError) at once. Default 65,536.
    pub waiting_max: usize,
    /// How many bytes those requests have together; more are answered so too. Default 256 MiB.
    pub waiting_bytes_max: usize,
    /// How often the server is looked at when nothing else is heard of it. Default 1 s.
    pub check_interval: Duration,
    /// After another run of a server that may have lost something was met: how long nothing happens but
    /// that those who live on write it again. Whoever comes later finds its places perhaps taken. The
    /// first who meets the run decides. Default 1.5 s: who lost its connection tries again every 500 ms;
    /// with sentinels 3 s, since a master that is cut off is noticed at the next look at them.
    pub settling: Duration,
}

impl RedisConfig {
    /// The defaults for the server at `address`.
    pub fn new(address: RedisAddress) -> Self {
        let settling = match address.topology {
            Topology::Sentinel(_) => Duration::from_secs(3),
            Topology::Single | Topology::Cluster => Duration::from_millis(1500),
        };
        Self {
            address,
            tls: RedisTls::default(),
            prefix: "buswire".into(),
            durability: Durability::Strict,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(10),
            concurrency: 1024,
            waiting_max: 65_536,
            waiting_bytes_max: 256 * 1024 * 1024,
            check_interval: Duration::from_secs(1),
            settling,
        }
    }

    /// Whether `prefix` can begin keys: 1 to 64 of `a-zA-Z0-9._-`, so that it holds no hash tag.
    pub fn is_prefix(prefix: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (1..=64).contains(&prefix.len()) && prefix.bytes().all(allowed)
    }
}

/// Why a store on Redis could not be opened: each one line that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisOpenError {
    /// The prefix can't begin keys.
    #[error("a prefix has 1 to 64 characters of a-z A-Z 0-9 . _ -")]
    Prefix,
    /// No server answers, or it does not let us in.
    #[error(
        "cannot use the Redis server at {address} ({detail}): make sure that it runs, that the user and password are right, and that it speaks TLS if that is asked for"
    )]
    Unreachable {
        /// The server.
        address: String,
        /// What it said.
        detail: String,
    },
    /// The connection is not to be trusted, or the server does not trust us.
    #[error("no TLS to the Redis server at {address}: {detail}")]
    Tls {
        /// The server.
        address: String,
        /// What is wrong.
        detail: String,
    },
    /// A file that TLS needs is of no use.
    #[error("cannot use {} for TLS to the Redis server: {detail}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The user may not do all that is needed.
    #[error(
        "the user has too few rights on the Redis server at {address} ({detail}): give it those in docs/redis.md"
    )]
    Rights {
        /// The server.
        address: String,
        /// Which are missing.
        detail: String,
    },
    /// The server is too old.
    #[error("the Redis server at {address} has version {found}; 7.0 or later is needed")]
    TooOld {
        /// The server.
        address: String,
        /// Its version.
        found: String,
    },
    /// The server takes no writes.
    #[error(
        "the Redis server at {address} is a replica: name its master, or its sentinels by redis+sentinel://"
    )]
    Replica {
        /// The server.
        address: String,
    },
    /// The server would lose what it acknowledged.
    #[error("the Redis server at {address} would lose what it acknowledged: {}; or set store.redis.durability to warn", problems.join("; "))]
    NotDurable {
        /// The server.
        address: String,
        /// What to change.
        problems: Vec<String>,
    },
    /// The keys have no format that any release wrote.
    #[error(
        "the keys under {prefix} have format {found}, which no release has written: use another prefix, or restore them"
    )]
    Older {
        /// What the keys begin with.
        prefix: String,
        /// Their format.
        found: u64,
    },
    /// The keys were written by a newer release.
    #[error(
        "the keys under {prefix} have format {found}, and this release reads up to {known}: start the release that wrote them, or a newer one"
    )]
    Newer {
        /// What the keys begin with.
        prefix: String,
        /// Their format.
        found: u64,
        /// The newest format that is read.
        known: u64,
    },
    /// The keys are laid out for another kind of server.
    #[error(
        "the keys under {prefix} are laid out in {found} shards, and this server needs {needed}: copy the store, or use another prefix"
    )]
    Layout {
        /// What the keys begin with.
        prefix: String,
        /// The shards that they are laid out in.
        found: u64,
        /// The shards that this kind of server has.
        needed: u16,
    },
    /// The keys can't be trusted.
    #[error("the keys under {prefix} are damaged: {detail}")]
    Damaged {
        /// What the keys begin with.
        prefix: String,
        /// What was found.
        detail: String,
    },
}
