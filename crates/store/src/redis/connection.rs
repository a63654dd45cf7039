//! A connection to a server or a cluster, and the hints that come over it.
//!
//! Requests and hints share the connection, so that one that is dead is noticed by its requests. Never
//! here: trying again.

use std::sync::Arc;

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError,
    Value,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, TlsMode},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
    cmd,
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
    /// Connects. Hints that come go to `hinter`.
    pub(super) async fn open(
        config: &RedisConfig,
        hinter: &Arc<Hinter>,
    ) -> Result<Self, RedisError> {
        let address = &config.address;
        match &address.topology {
            Topology::Single => {
                let server = address.hosts.first().ok_or_else(no_server)?;
                single(config, server, hinter).await
            }
            Topology::Cluster => cluster(config, hinter).await,
            Topology::Sentinel(master) => {
                let server = ask_sentinels(config, master).await?;
                single(config, &server, hinter).await
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

/// Hands hints on; never blocks the connection.
fn forward(
    hinter: &Arc<Hinter>,
) -> impl Fn(PushInfo) -> Result<(), RedisError> + Send + Sync + use<> {
    let hinter = Arc::clone(hinter);
    move |push| {
        if let (PushKind::Message | PushKind::SMessage, [_, Value::BulkString(name)]) =
            (&push.kind, push.data.as_slice())
            && let Some(partition) =
                std::str::from_utf8(name).ok().and_then(|n| Partition::new(n).ok())
        {
            hinter.tell([partition]);
        }
        Ok(())
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
    Ok(place.into_connection_info()?.set_redis_settings(login))
}

fn timeouts(config: &RedisConfig) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(config.response_timeout))
}

async fn single(
    config: &RedisConfig,
    server: &(String, u16),
    hinter: &Arc<Hinter>,
) -> Result<Connection, RedisError> {
    let client = Client::open(info(&config.address, server)?)?;
    let settings = timeouts(config)
        .set_pipeline_buffer_size(config.concurrency)
        .set_push_sender(forward(hinter));
    let connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
    Ok(Connection::Single(connection))
}

async fn cluster(config: &RedisConfig, hinter: &Arc<Hinter>) -> Result<Connection, RedisError> {
    let address = &config.address;
    let nodes =
        address.hosts.iter().map(|node| info(address, node)).collect::<Result<Vec<_>, _>>()?;
    // It must not repeat a commit that may have happened, so it repeats nothing by itself.
    let mut builder = ClusterClient::builder(nodes)
        .retries(0)
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(config.connect_timeout)
        .response_timeout(config.response_timeout)
        .push_sender(forward(hinter));
    if address.tls {
        builder = builder.tls(TlsMode::Secure);
    }
    Ok(Connection::Cluster(builder.build()?.get_async_connection().await?))
}

/// Asks one sentinel after the other which server is the master. They are asked with the same user
/// and password, but without a database.
async fn ask_sentinels(config: &RedisConfig, master: &str) -> Result<(String, u16), RedisError> {
    let address = RedisAddress { database: 0, ..config.address.clone() };
    let mut question = cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let mut failure = RedisError::from((ErrorKind::EmptySentinelList, "no sentinel is named"));
    for sentinel in &address.hosts {
        let client = Client::open(info(&address, sentinel)?)?;
        let answer = async {
            let settings = timeouts(config);
            let mut asked = client.get_multiplexed_async_connection_with_config(&settings).await?;
            question.query_async::<Option<(String, u16)>>(&mut asked).await
        };
        match answer.await {
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
