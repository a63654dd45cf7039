//! A connection to a server or a cluster, for requests or for hints.
//!
//! Not for both: when a slot moves, the server ends its subscriptions unasked, which the library takes
//! for the answer to a request. Never here: trying again.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{StreamExt, stream::FuturesUnordered};
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
use tokio::time::timeout;

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
    /// Connects. Hints that come go to `ear`. `master` is the server that the sentinels name, where
    /// there are any; `tls` are the files that TLS needs, where it needs any.
    pub(super) async fn open(
        config: &RedisConfig,
        master: Option<&(String, u16)>,
        tls: Option<TlsCertificates>,
        ear: &Ear,
    ) -> Result<Self, RedisError> {
        let address = &config.address;
        match &address.topology {
            Topology::Single | Topology::Sentinel(_) => {
                let server = master.or(address.hosts.first().filter(|_| {
                    // A sentinel is no server.
                    address.topology == Topology::Single
                }));
                single(config, server.ok_or_else(no_server)?, tls, ear).await
            }
            Topology::Cluster => cluster(config, tls, ear).await,
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

/// Asks all sentinels at once which server is the master, and takes what most of those say that answer
/// in time: one on the machine of a master that is cut off goes on naming that one. Where two servers
/// are named as often, the sentinel that comes first in the address decides. Takes no longer than one
/// connection may.
async fn ask_sentinels(
    config: &RedisConfig,
    master: &str,
    tls: Option<&TlsCertificates>,
) -> Result<(String, u16), RedisError> {
    let sentinels = &config.address.hosts;
    let mut asked: FuturesUnordered<_> = sentinels
        .iter()
        .enumerate()
        .map(|(index, sentinel)| async move {
            let answer = ask_sentinel(config, sentinel, master, tls);
            let answer = timeout(config.connect_timeout, answer).await;
            let silent = || (ErrorKind::Io, "a sentinel does not answer in time").into();
            (index, answer.unwrap_or_else(|_| Err(silent())))
        })
        .collect();
    let mut failure = RedisError::from((ErrorKind::EmptySentinelList, "no sentinel is named"));
    let mut named = BTreeMap::new();
    while let Some((index, answer)) = asked.next().await {
        match answer {
            Ok(server) => {
                named.insert(index, server.clone());
                // The others can't change it.
                if 2 * votes(&named, &server) > sentinels.len() {
                    return Ok(server);
                }
            }
            Err(error) => failure = error,
        }
    }
    let chosen =
        named.iter().max_by_key(|(index, server)| (votes(&named, server), Reverse(*index)));
    chosen.map(|(_, server)| server.clone()).ok_or(failure)
}

/// How many sentinels name `server`.
fn votes(named: &BTreeMap<usize, (String, u16)>, server: &(String, u16)) -> usize {
    named.values().filter(|named| *named == server).count()
}

/// Asks one sentinel, with the same user and password, but without a database; one that knows no such
/// user is asked without.
async fn ask_sentinel(
    config: &RedisConfig,
    sentinel: &(String, u16),
    master: &str,
    tls: Option<&TlsCertificates>,
) -> Result<(String, u16), RedisError> {
    let address = RedisAddress { database: 0, ..config.address.clone() };
    let nobody = RedisAddress { user: None, password: None, ..address.clone() };
    let mut question = cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let ask = async |address: &RedisAddress| {
        let client = client(address, sentinel, tls.cloned())?;
        let settings = timeouts(config);
        let mut asked = client.get_multiplexed_async_connection_with_config(&settings).await?;
        question.query_async::<Option<(String, u16)>>(&mut asked).await
    };
    let mut answer = ask(&address).await;
    if let Err(error) = &answer
        && (error.code() == Some("WRONGPASS") || error.kind() == ErrorKind::AuthenticationFailed)
        && address != nobody
    {
        answer = ask(&nobody).await;
    }
    let unknown = || {
        let kind = ErrorKind::MasterNameNotFoundBySentinel;
        RedisError::from((kind, "no sentinel knows this master"))
    };
    answer?.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::{TcpListener, TcpStream},
        task::JoinSet,
    };

    use super::*;

    /// What a sentinel does when it is asked.
    #[derive(Clone, Copy)]
    enum Sentinel {
        Names(u16),
        KnowsNone,
        IsSilent,
    }

    impl Sentinel {
        async fn serve(self, stream: TcpStream) -> Option<()> {
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            while let Some(count) = lines.next_line().await.ok()? {
                let mut words = Vec::new();
                for _ in 0..count.strip_prefix('*')?.parse::<usize>().ok()? {
                    lines.next_line().await.ok()?;
                    words.push(lines.next_line().await.ok()??);
                }
                let answer = match (words.first()?.as_str(), self) {
                    ("HELLO", _) => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
                    ("SENTINEL", Self::Names(port)) => {
                        format!("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n{port}\r\n")
                    }
                    ("SENTINEL", Self::KnowsNone) => "_\r\n".to_owned(),
                    ("SENTINEL", Self::IsSilent) => continue,
                    _ => "+OK\r\n".to_owned(),
                };
                writer.write_all(answer.as_bytes()).await.ok()?;
            }
            Some(())
        }
    }

    /// Which port the sentinels name, if any.
    async fn asked(sentinels: &[Sentinel]) -> Option<u16> {
        let (mut hosts, mut tasks) = (Vec::new(), JoinSet::new());
        for sentinel in sentinels.iter().copied() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            hosts.push(format!("127.0.0.1:{}", listener.local_addr().unwrap().port()));
            tasks.spawn(async move {
                let mut served = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    served.spawn(sentinel.serve(stream));
                }
            });
        }
        let url = format!("redis+sentinel://{}/main", hosts.join(","));
        let mut config = RedisConfig::new(RedisAddress::parse(&url).unwrap());
        if sentinels.iter().any(|sentinel| matches!(sentinel, Sentinel::IsSilent)) {
            config.connect_timeout = Duration::from_millis(500);
        }
        master(&config, None).await.ok().flatten().map(|(_, port)| port)
    }

    #[tokio::test]
    async fn what_most_sentinels_name_is_the_master() {
        use Sentinel::{IsSilent, KnowsNone, Names};
        for (sentinels, named) in [
            // The first one is cut off together with the old master.
            (&[Names(1111), Names(2222), Names(2222)][..], Some(2222)),
            (&[Names(2222), Names(1111), Names(2222)], Some(2222)),
            (&[Names(2222), Names(2222), Names(1111)], Some(2222)),
            (&[KnowsNone, KnowsNone, Names(2222)], Some(2222)),
            (&[IsSilent, Names(2222), IsSilent], Some(2222)),
            // As often: the first.
            (&[Names(1111), Names(2222)], Some(1111)),
            (&[KnowsNone, Names(2222), Names(1111)], Some(2222)),
            (&[KnowsNone, IsSilent], None),
        ] {
            assert_eq!(asked(sentinels).await, named);
        }
    }
}
