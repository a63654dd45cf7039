//! The door over a store in memory, or several on one, driven by operations.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buswire_bus::{BusConfig, BusLimits, Buses};
use buswire_message::{BusName, ChannelName, Clock as _, Field, Retention, Scope, Secret};
use buswire_store::{Store, memory::MemoryStore};
use buswire_testkit::{FaultyStore, SeededEntropy, SplitMix64, VirtualClock};

use super::{
    BUSES, Op, back,
    model::{ANONYMOUS_ACCESS, Expected, Model, PRIVILEGED_ACCESS, Standing},
};
use crate::{
    AdminError, Backplane, ClientId, Config, GrantId, Lifetimes, NewClient, NewPassword, OwnedBus,
    PasswordCost, PublicUrl,
    rules::token::TokenText,
    state::{
        State,
        tokens::{Issued, TokenError},
    },
};

pub(super) struct World {
    doors: Vec<Backplane>,
    /// Which of them is asked next.
    choice: Mutex<SplitMix64>,
    clock: VirtualClock,
    tokens: Vec<Secret<String>>,
    grants: Vec<GrantId>,
    channels: Vec<(usize, ChannelName)>,
}

fn bus(at: usize) -> BusName {
    format!("b{at}.example").parse().unwrap()
}

fn client(at: usize) -> ClientId {
    format!("client-{at}").parse().unwrap()
}

impl World {
    /// So many doors on one store, of which any is asked.
    pub(super) async fn new(seed: u64, doors: usize) -> Self {
        let store = FaultyStore::new(Arc::new(MemoryStore::new()), seed);
        let store: Arc<dyn Store> = Arc::new(if doors > 1 { store.shared() } else { store });
        let clock = VirtualClock::default();
        let entropy = Arc::new(SeededEntropy::new(seed));
        let mut open = Vec::new();
        for _ in 0..doors {
            open.push(door(&store, &clock, &entropy).await);
        }
        let password = NewPassword::Clear(Secret::new("x".to_owned()));
        open[0].put_owner(&"owner".parse().unwrap(), password, None).await.unwrap();
        let choice = Mutex::new(SplitMix64::new(seed));
        let (tokens, grants, channels) = (Vec::new(), Vec::new(), Vec::new());
        Self { doors: open, choice, clock, tokens, grants, channels }
    }

    /// Any of the doors.
    fn door(&self) -> &Backplane {
        let many = u64::try_from(self.doors.len()).unwrap();
        let at = self.choice.lock().unwrap().below(many);
        &self.doors[usize::try_from(at).unwrap()]
    }

    /// Does `op`, which is expected to come to `expected`.
    pub(super) async fn apply(&mut self, op: Op, expected: Expected) {
        let came_to = match op {
            Op::OpenVisit { bus } => self.open_visit(bus).await,
            Op::RefreshVisit { token } => self.refresh_visit(token).await,
            Op::IssueClient { client } => self.issue(client).await,
            Op::RefreshClient { client, token } => self.refresh_client(client, token).await,
            Op::KeepChannel { channel, seconds } => self.keep_channel(channel, seconds).await,
            Op::Advance { seconds } => {
                self.clock.advance(Duration::from_secs(seconds));
                Expected::Done
            }
            administration => self.administer(administration).await,
        };
        assert_eq!(came_to, expected, "{op:?}");
    }

    async fn administer(&mut self, op: Op) -> Expected {
        let done = match op {
            Op::Grant { client: at, bus: one, both } => {
                let buses: Vec<_> =
                    if both { (0..BUSES).map(bus).collect() } else { vec![bus(one)] };
                match self.door().grant(&client(at), &buses).await {
                    Ok(id) => {
                        self.grants.push(id);
                        true
                    }
                    Err(AdminError::UnknownBus(_) | AdminError::UnknownClient(_)) => false,
                    Err(error) => panic!("{error}"),
                }
            }
            Op::RevokeGrant { grant } => match back(grant, self.grants.len()) {
                Some(at) => self.door().revoke_grant(&self.grants[at], None).await.unwrap(),
                None => false,
            },
            Op::RevokeBus { client: at, bus: one } => {
                self.door().revoke_buses(&client(at), &[bus(one)]).await.unwrap()
            }
            Op::PutBus { bus: at } => {
                let (name, owner) = (bus(at), "owner".parse().unwrap());
                let retention = Retention::default();
                self.door().put_bus(OwnedBus { name, owner, retention }, None).await.unwrap();
                true
            }
            Op::DeleteBus { bus: at } => {
                let deleted = self.door().delete_bus(&bus(at), None).await.unwrap();
                // Buses are told apart by the millisecond of their making.
                self.clock.advance(Duration::from_millis(1));
                deleted
            }
            Op::PutClient { client: at } => {
                self.door().put_client(new_client(at)).await.unwrap();
                true
            }
            Op::DeleteClient { client: at } => {
                self.door().delete_client(&client(at), None).await.unwrap()
            }
            other => panic!("{other:?} is not administration"),
        };
        if done { Expected::Done } else { Expected::Refused }
    }

    async fn open_visit(&mut self, at: usize) -> Expected {
        let state = &self.door().state;
        let Some(facts) = state.bus_facts(&bus(at)).await.unwrap() else {
            return Expected::Refused;
        };
        let issued = state.open_channel(Some(&facts), &Scope::all()).await.unwrap();
        let channel = issued.scope.values(Field::Channel).next().unwrap().parse().unwrap();
        self.channels.push((at, channel));
        self.keep(Ok(issued))
    }

    async fn refresh_visit(&mut self, token: usize) -> Expected {
        let Some(at) = back(token, self.tokens.len()) else { return Expected::Refused };
        let text = TokenText::parse(self.tokens[at].expose()).unwrap();
        let issued = self.door().state.refresh_visit(text, &Scope::all()).await;
        self.keep(issued)
    }

    async fn issue(&mut self, at: usize) -> Expected {
        let state = &self.door().state;
        let Some(client) = state.client(&client(at)).await.unwrap() else {
            return Expected::Refused;
        };
        let issued = state.issue_to_client(&client, &Scope::all()).await;
        self.keep(issued)
    }

    async fn refresh_client(&mut self, at: usize, token: usize) -> Expected {
        let state = &self.door().state;
        let Some(index) = back(token, self.tokens.len()) else { return Expected::Refused };
        let Some(client) = state.client(&client(at)).await.unwrap() else {
            return Expected::Refused;
        };
        let text = TokenText::parse(self.tokens[index].expose()).unwrap();
        let issued = state.refresh_privileged(&client, text, "").await;
        self.keep(issued)
    }

    fn keep(&mut self, issued: Result<Issued, TokenError>) -> Expected {
        match issued {
            Ok(issued) => {
                self.tokens.extend([issued.access, issued.refresh]);
                Expected::Pair
            }
            Err(TokenError::Invalid | TokenError::Scope(_)) => Expected::Refused,
            Err(error) => panic!("{error}"),
        }
    }

    async fn keep_channel(&mut self, channel: usize, seconds: u64) -> Expected {
        let Some(at) = back(channel, self.channels.len()) else { return Expected::Refused };
        let until = self.clock.now().saturating_add(Duration::from_secs(seconds));
        let (state, (bus_at, name)) = (&self.door().state, &self.channels[at]);
        let Some(facts) = state.bus_facts(&bus(*bus_at)).await.unwrap() else {
            return Expected::Refused;
        };
        let kept = state.keep_channel(name, &facts, until).await.unwrap();
        if kept { Expected::Done } else { Expected::Refused }
    }

    /// Compares the standing of every token and channel with the model's.
    pub(super) async fn check_against(&self, model: &Model) {
        assert_eq!(self.tokens.len(), model.tokens());
        for door in &self.doors {
            self.check_at(&door.state, model).await;
        }
    }

    async fn check_at(&self, state: &State, model: &Model) {
        for (at, token) in self.tokens.iter().enumerate() {
            let text = TokenText::parse(token.expose()).unwrap();
            let standing = match state.verify_token(text).await {
                Ok(_) => Standing::Good,
                Err(TokenError::Invalid) => Standing::Invalid,
                Err(TokenError::Expired) => Standing::Expired,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(standing, model.standing(at), "token {at}");
        }
        for (at, (bus_at, channel)) in self.channels.iter().enumerate() {
            let is_open = match state.bus_facts(&bus(*bus_at)).await.unwrap() {
                Some(facts) => state.channel(channel, &facts).await.unwrap().is_some(),
                None => false,
            };
            assert_eq!(is_open, model.is_open(at), "channel {at}");
        }
    }
}

async fn door(
    store: &Arc<dyn Store>,
    clock: &VirtualClock,
    entropy: &Arc<SeededEntropy>,
) -> Backplane {
    let public_url = PublicUrl::parse("https://bp.example.net").unwrap();
    let bus_config = BusConfig {
        message_url_prefix: public_url.message_url_prefix(),
        limits: BusLimits::default(),
        tracer: None,
    };
    let buses = Buses::open(Arc::clone(store), Arc::new(clock.clone()), bus_config).await.unwrap();
    let config = Config {
        lifetimes: Lifetimes {
            anonymous_access: Duration::from_secs(ANONYMOUS_ACCESS),
            privileged_access: Duration::from_secs(PRIVILEGED_ACCESS),
            ..Lifetimes::default()
        },
        password_cost: PasswordCost { memory_kib: 8, iterations: 1 },
        ..Config::new(public_url)
    };
    Backplane::new(buses, Arc::clone(store), Arc::new(clock.clone()), entropy.clone(), config)
}

fn new_client(at: usize) -> NewClient {
    NewClient {
        client_id: Some(client(at)),
        secret: None,
        source_url: "https://s.example/".parse().unwrap(),
        redirect_uri: "https://s.example/cb".parse().unwrap(),
    }
}
