//! Everything of the door that outlives a request: accounts, clients, grants, tokens, channels.
//!
//! Never here: HTTP.

pub(crate) mod accounts;
pub(crate) mod authorization;
pub(crate) mod buses;
pub(crate) mod cache;
pub(crate) mod channels;
pub(crate) mod clients;
pub(crate) mod codes;
pub(crate) mod handles;
pub(crate) mod issued;
pub(crate) mod password;
pub(crate) mod privileged;
pub(crate) mod records;
pub(crate) mod revocation;
pub(crate) mod rows;
pub(crate) mod throttle;
pub(crate) mod tokens;
pub(crate) mod waiting;

use std::{collections::BTreeMap, fmt, sync::Arc};

use buswire_bus::Buses;
use buswire_message::{BusName, ChannelName, Clock, Entropy, SecretHash, Timestamp};
use buswire_store::{HintFilter, Store};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use self::{
    buses::BusFacts,
    cache::TimedCache,
    clients::Client,
    password::{Credential, Passwords},
    records::Channel,
    rows::Rows,
    throttle::Throttle,
    waiting::Waiting,
};
use crate::{
    config::Config,
    rules::{
        names::{ClientId, Permissions, UserName},
        token::Token,
    },
};

/// The state of the door; one for each process.
pub(crate) struct State {
    pub(crate) buses: Buses,
    pub(crate) rows: Rows,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) config: Config,
    pub(crate) message_url_prefix: Arc<str>,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
    pub(crate) waiting: Waiting,
    users: TimedCache<UserName, Arc<Credential>>,
    v1_buses: TimedCache<BusName, Arc<BTreeMap<UserName, Permissions>>>,
    clients: TimedCache<ClientId, Arc<Client>>,
    bus_facts: TimedCache<BusName, Arc<BusFacts>>,
    tokens: TimedCache<SecretHash, Arc<Token>>,
    channels: TimedCache<ChannelName, Arc<Channel>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("config", &self.config).finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn new(
        buses: Buses,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        config: Config,
    ) -> Self {
        let limits = config.limits;
        let (capacity, lifetime) = (limits.cached_max, limits.cached_for);
        Self {
            buses,
            rows: Rows::new(store, clock),
            passwords: Passwords::new(config.password_cost, &limits, &*entropy),
            throttle: Throttle::new(&limits),
            entropy,
            message_url_prefix: config.public_url.message_url_prefix(),
            waiting: Waiting::new(limits.waiting_max, limits.waiting_per_token_max),
            users: TimedCache::new(capacity, lifetime),
            v1_buses: TimedCache::new(capacity, lifetime),
            clients: TimedCache::new(capacity, lifetime),
            bus_facts: TimedCache::new(capacity, lifetime),
            tokens: TimedCache::new(capacity, lifetime),
            channels: TimedCache::new(capacity, lifetime),
            config,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.rows.now()
    }

    /// Forgets remembered accounts whenever another process may have changed them, until `shutdown`.
    ///
    /// Tokens and channels are left to their short time in memory: nothing but a refresh changes
    /// them, and what ends many tokens early is their client, their grants or their bus. One that an
    /// administrator ends at another process is good here for that time.
    pub(crate) async fn follow_changes(&self, shutdown: CancellationToken) {
        let accounts = HintFilter::Only(self.rows.accounts().clone());
        let mut hints = self.rows.store().hints(accounts);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                hint = hints.next() => match hint {
                    Some(_) => self.forget_accounts(),
                    None => return,
                },
            }
        }
    }

    fn forget_accounts(&self) {
        self.users.clear();
        self.v1_buses.clear();
        self.clients.clear();
        self.bus_facts.clear();
    }
}
