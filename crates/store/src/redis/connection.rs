//! A connection to a server or a cluster, for requests or for hints.
//!
//! Not for both: when a slot moves, the server ends its subscriptions unasked, which the library takes
//! for the answer to a request. Never here: trying again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError,
    TlsCertificates, Value,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, TlsMode},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
    cmd,
    io::tcp::TcpSettings,
};

use super::{
    address::{RedisAddress, Topology},
    config::RedisConfig,
    keys::{Layout, Shard},
};
use crate::{hints::Hinter, names::Partition};

/// A connection; cheap to clone.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects. Hints that come go to `ear`.
    /// `tls` are the files that TLS needs, where it needs any.
    pub(super) async fn open(
        config: &RedisConfig,
        tls: Option<TlsCertificates>,
        ear: &Ear,
    ) -> Result<Self, RedisError> {
        let address = &config.address;
        match &address.topology {
            Topology::Single => {
                let server = address.hosts.first().ok_or_else(no_server)?;
                single(config, server, tls, ear).await
            }
            Topology::Cluster => cluster(config, tls, ear).await,
            Topology::Sentinel(master) => {
                let server = ask_sentinels(config, master, tls.as_ref()).await?;
                single(config, &server, tls, ear).await
            }
        }
    }

    /// Runs a command on the server that its first key names, or on the only one.
    pub(super) async fn run(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Runs a command without keys on the server that has `shard`.
    pub(super) async fn run_at(
        &mut self,
        shard: Shard,
        command: &Cmd,
    ) -> Result<Value, RedisError> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => {
                let route = Route::new(shard.slot(), SlotAddr::Master);
                let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(route));
                connection.route_command(command.clone(), route).await?.extract_error()
            }
        }
    }

    /// Asks for the hints of every shard.
    pub(super) async fn listen(&mut self, layout: &Layout) -> Result<(), RedisError> {
        let channels: Vec<_> = layout.shards().map(|shard| layout.hints(shard)).collect();
        match self {
            Self::Single(connection) => connection.subscribe(channels).await,
            Self::Cluster(connection) => {
                for channel in channels {
                    connection.ssubscribe(channel).await?;
                }
                Ok(())
            }
        }
    }
}

/// The command that sends what [`Connection::listen`] receives: in a cluster only the nodes of the
/// shard hear of it.
pub(super) const fn publish_command(topology: &Topology) -> &'static str {
    match topology {
        Topology::Single | Topology::Sentinel(_) => "PUBLISH",
        Topology::Cluster => "SPUBLISH",
    }
}

fn no_server() -> RedisError {
    (ErrorKind::InvalidClientConfig, "no server is named").into()
}

/// Where hints go, and whether any may have been missed.
#[derive(Clone)]
pub(super) struct Ear {
    hinter: Arc<Hinter>,
    deaf: Arc<AtomicBool>,
}

impl Ear {
    /// An ear that has missed nothing.
    pub(super) fn new(hinter: &Arc<Hinter>) -> Self {
        Self { hinter: Arc::clone(hinter), deaf: Arc::new(AtomicBool::new(false)) }
    }

    /// Whether a connection or a subscription ended.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Acquire)
    }

    /// What the library calls with all that was not asked for; never blocks the connection.
    fn listener(&self) -> impl Fn(PushInfo) -> Result<(), RedisError> + Send + Sync + use<> {
        let ear = self.clone();
        move |push| {
            ear.hear(&push);
            Ok(())
        }
    }

    fn hear(&self, PushInfo { kind, data }: &PushInfo) {
        match kind {
            PushKind::Message | PushKind::SMessage => {
                let Some(Value::BulkString(name)) = data.get(1) else { return };
                let name = std::str::from_utf8(name).ok();
                if let Some(partition) = name.and_then(|name| Partition::new(name).ok()) {
                    self.hinter.tell([partition]);
                }
            }
            PushKind::Disconnection | PushKind::Unsubscribe | PushKind::SUnsubscribe => {
                self.deaf.store(true, Ordering::Release);
            }
            _ => {}
        }
    }
}

fn info(
    address: &RedisAddress,
    (host, port): &(String, u16),
) -> Result<ConnectionInfo, RedisError> {
    let (host, port) = (host.clone(), *port);
    let place = if address.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut login = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(address.database);
    if let Some(user) = &address.user {
        login = login.set_username(user);
    }
    if let Some(password) = &address.password {
        login = login.set_password(password.expose());
    }
    Ok(place.into_connection_info()?.set_redis_settings(login).set_tcp_settings(tcp()))
}

/// Without delay: the library waits otherwise for an acknowledgement before it sends the next few
/// requests, which costs 40 ms where the server has nothing to answer yet.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn timeouts(config: &RedisConfig) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(config.response_timeout))
}

async fn single(
    config: &RedisConfig,
    server: &(String, u16),
    tls: Option<TlsCertificates>,
    ear: &Ear,
) -> Result<Connection, RedisError> {
    let client = client(&config.address, server, tls)?;
    let settings = timeouts(config)
        .set_pipeline_buffer_size(config.concurrency)
        .set_push_sender(ear.listener());
    let connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
    Ok(Connection::Single(connection))
}

/// A client of one server.
fn client(
    address: &RedisAddress,
    server: &(String, u16),
    tls: Option<TlsCertificates>,
) -> Result<Client, RedisError> {
    let info = info(address, server)?;
    match tls.filter(|_| address.tls) {
        Some(tls) => Client::build_with_tls(info, tls),
        None => Client::open(info),
    }
}

async fn cluster(
    config: &RedisConfig,
    tls: Option<TlsCertificates>,
    ear: &Ear,
) -> Result<Connection, RedisError> {
    let address = &config.address;
    let nodes =
        address.hosts.iter().map(|node| info(address, node)).collect::<Result<Vec<_>, _>>()?;
    // It must not repeat a commit that may have happened, so it repeats nothing by itself.
    let mut builder = ClusterClient::builder(nodes)
        .retries(0)
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(config.connect_timeout)
        .response_timeout(config.response_timeout)
        .tcp_settings(tcp())
        .push_sender(ear.listener());
    if address.tls {
        builder = builder.tls(TlsMode::Secure);
        if let Some(tls) = tls {
            builder = builder.certs(tls);
        }
    }
    Ok(Connection::Cluster(builder.build()?.get_async_connection().await?))
}

/// The server that the sentinels call master at present; nothing where there are no sentinels.
pub(super) async fn master(
    config: &RedisConfig,
    tls: Option<&TlsCertificates>,
) -> Result<Option<(String, u16)>, RedisError> {
    match &config.address.topology {
        Topology::Sentinel(master) => ask_sentinels(config, master, tls).await.map(Some),
        Topology::Single | Topology::Cluster => Ok(None),
    }
}

/// Asks one sentinel after the other which server is the master. They are asked with the same user
/// and password, but without a database; one that knows no such user is asked without.
async fn ask_sentinels(
    config: &RedisConfig,
    master: &str,
    tls: Option<&TlsCertificates>,
) -> Result<(String, u16), RedisError> {
    let address = RedisAddress { database: 0, ..config.address.clone() };
    let nobody = RedisAddress { user: None, password: None, ..address.clone() };
    let mut question = cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let mut failure = RedisError::from((ErrorKind::EmptySentinelList, "no sentinel is named"));
    for sentinel in &address.hosts {
        let ask = async |address: &RedisAddress| {
            let client = client(address, sentinel, tls.cloned())?;
            let settings = timeouts(config);
            let mut asked = client.get_multiplexed_async_connection_with_config(&settings).await?;
            question.query_async::<Option<(String, u16)>>(&mut asked).await
        };
        let mut answer = ask(&address).await;
        if let Err(error) = &answer
            && (error.code() == Some("WRONGPASS")
                || error.kind() == ErrorKind::AuthenticationFailed)
            && address != nobody
        {
            answer = ask(&nobody).await;
        }
        match answer {
            Ok(Some(server)) => return Ok(server),
            Ok(None) => {
                failure = RedisError::from((
                    ErrorKind::MasterNameNotFoundBySentinel,
                    "no sentinel knows this master",
                ));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
