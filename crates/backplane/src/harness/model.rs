//! What should be so, said as simply as possible.

use std::collections::BTreeSet;

use super::{BUSES, CLIENTS, Op, back};

/// Lifetimes that the world is configured with, in seconds.
pub(super) const ANONYMOUS_ACCESS: u64 = 3600;
pub(super) const PRIVILEGED_ACCESS: u64 = 10_000;
const CHANNEL: u64 = 3600 + 600;

/// Whether a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    Invalid,
    Expired,
}

/// What an operation should come to, where it can come to more than one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// It issues two tokens: access, then refresh.
    Pair,
    /// It does what it says.
    Done,
    /// It changes nothing, or only ends something.
    Refused,
}

#[derive(Debug)]
struct Token {
    is_refresh: bool,
    /// Seconds since the beginning; `None` for tokens that end with what they belong to.
    expires_at: Option<u64>,
    of: Of,
}

#[derive(Debug)]
enum Of {
    Visit { channel: usize },
    Client { client: usize, generation: u64, grants: Vec<(usize, u64)>, chain: usize },
}

#[derive(Debug)]
struct Channel {
    bus: usize,
    bus_generation: u64,
    expires_at: u64,
    /// The token that may refresh it.
    refresh: usize,
}

#[derive(Debug)]
struct Grant {
    client: usize,
    buses: BTreeSet<usize>,
    version: u64,
}

/// The access and the refresh token that count; `None` once it has ended.
type Chain = Option<(usize, usize)>;

#[derive(Debug, Default)]
pub(super) struct Model {
    now: u64,
    generation: u64,
    buses: [Option<u64>; BUSES],
    clients: [Option<u64>; CLIENTS],
    grants: Vec<Grant>,
    tokens: Vec<Token>,
    channels: Vec<Channel>,
    chains: Vec<Chain>,
}

impl Model {
    pub(super) fn apply(&mut self, op: Op) -> Expected {
        match op {
            Op::OpenVisit { bus } => self.open_visit(bus),
            Op::RefreshVisit { token } => self.refresh_visit(token),
            Op::IssueClient { client } => self.issue(client),
            Op::RefreshClient { client, token } => self.refresh_client(client, token),
            Op::Grant { client, bus, both } => self.grant(client, bus, both),
            Op::RevokeGrant { grant } => self.revoke_grant(grant),
            Op::RevokeBus { client, bus } => self.remove_bus(Some(client), bus),
            Op::PutBus { bus } => {
                let generation = self.next_generation();
                self.buses[bus].get_or_insert(generation);
                Expected::Done
            }
            Op::DeleteBus { bus } => {
                self.remove_bus(None, bus);
                if self.buses[bus].take().is_some() { Expected::Done } else { Expected::Refused }
            }
            Op::PutClient { client } => {
                self.clients[client] = Some(self.next_generation());
                Expected::Done
            }
            Op::DeleteClient { client } => self.delete_client(client),
            Op::KeepChannel { channel, seconds } => self.keep_channel(channel, seconds),
            Op::Advance { seconds } => {
                self.now += seconds;
                Expected::Done
            }
        }
    }

    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    fn open_visit(&mut self, bus: usize) -> Expected {
        let Some(bus_generation) = self.buses[bus] else { return Expected::Refused };
        let channel = self.channels.len();
        let expires_at = self.now + CHANNEL;
        self.channels.push(Channel { bus, bus_generation, expires_at, refresh: 0 });
        self.push_visit_pair(channel);
        Expected::Pair
    }

    fn push_visit_pair(&mut self, channel: usize) {
        let expires_at = Some(self.now + ANONYMOUS_ACCESS);
        let of = || Of::Visit { channel };
        self.tokens.push(Token { is_refresh: false, expires_at, of: of() });
        self.channels[channel].refresh = self.tokens.len();
        self.tokens.push(Token { is_refresh: true, expires_at: None, of: of() });
    }

    fn refresh_visit(&mut self, token: usize) -> Expected {
        let Some(at) = back(token, self.tokens.len()) else { return Expected::Refused };
        match (&self.tokens[at].of, self.tokens[at].is_refresh, self.standing(at)) {
            (Of::Visit { channel }, true, Standing::Good) => {
                let channel = *channel;
                let kept = &mut self.channels[channel].expires_at;
                *kept = (*kept).max(self.now + CHANNEL);
                self.push_visit_pair(channel);
                Expected::Pair
            }
            _ => Expected::Refused,
        }
    }

    fn issue(&mut self, client: usize) -> Expected {
        let Some(generation) = self.clients[client] else { return Expected::Refused };
        let held = self.grants.iter().enumerate();
        let grants: Vec<_> = held
            .filter(|(_, grant)| grant.client == client && !grant.buses.is_empty())
            .map(|(at, grant)| (at, grant.version))
            .collect();
        if grants.is_empty() {
            return Expected::Refused;
        }
        self.chains.push(None);
        self.push_client_pair(client, generation, grants, self.chains.len() - 1);
        Expected::Pair
    }

    fn push_client_pair(
        &mut self,
        client: usize,
        generation: u64,
        grants: Vec<(usize, u64)>,
        chain: usize,
    ) {
        let at = self.tokens.len();
        self.chains[chain] = Some((at, at + 1));
        let expires_at = Some(self.now + PRIVILEGED_ACCESS);
        let of = Of::Client { client, generation, grants: grants.clone(), chain };
        self.tokens.push(Token { is_refresh: false, expires_at, of });
        let of = Of::Client { client, generation, grants, chain };
        self.tokens.push(Token { is_refresh: true, expires_at: None, of });
    }

    fn refresh_client(&mut self, client: usize, token: usize) -> Expected {
        let Some(at) = back(token, self.tokens.len()) else { return Expected::Refused };
        let Of::Client { client: owner, generation, grants, chain } = &self.tokens[at].of else {
            return Expected::Refused;
        };
        let is_own = *owner == client && self.clients[client].is_some();
        if !self.tokens[at].is_refresh || !is_own {
            return Expected::Refused;
        }
        let (generation, grants, chain) = (*generation, grants.clone(), *chain);
        let is_used = self.chains[chain].is_some_and(|(_, refresh)| refresh != at);
        if is_used {
            self.chains[chain] = None;
        }
        if self.standing(at) != Standing::Good {
            return Expected::Refused;
        }
        self.push_client_pair(client, generation, grants, chain);
        Expected::Pair
    }

    fn grant(&mut self, client: usize, bus: usize, both: bool) -> Expected {
        let buses: BTreeSet<usize> = if both { (0..BUSES).collect() } else { [bus].into() };
        let are_known = buses.iter().all(|bus| self.buses[*bus].is_some());
        if self.clients[client].is_none() || !are_known {
            return Expected::Refused;
        }
        let version = self.next_generation();
        self.grants.push(Grant { client, buses, version });
        Expected::Done
    }

    fn revoke_grant(&mut self, grant: usize) -> Expected {
        let Some(at) = back(grant, self.grants.len()) else { return Expected::Refused };
        let was_held = !self.grants[at].buses.is_empty();
        self.grants[at].buses.clear();
        if was_held { Expected::Done } else { Expected::Refused }
    }

    /// Grants without buses are gone; a version that no token has makes a changed one another.
    fn remove_bus(&mut self, client: Option<usize>, bus: usize) -> Expected {
        let mut changed = Expected::Refused;
        for at in 0..self.grants.len() {
            let version = self.next_generation();
            let grant = &mut self.grants[at];
            let is_meant = client.is_none_or(|client| client == grant.client);
            if is_meant && grant.buses.remove(&bus) {
                grant.version = version;
                changed = Expected::Done;
            }
        }
        changed
    }

    fn delete_client(&mut self, client: usize) -> Expected {
        for grant in self.grants.iter_mut().filter(|grant| grant.client == client) {
            grant.buses.clear();
        }
        if self.clients[client].take().is_some() { Expected::Done } else { Expected::Refused }
    }

    fn keep_channel(&mut self, channel: usize, seconds: u64) -> Expected {
        let Some(at) = back(channel, self.channels.len()) else { return Expected::Refused };
        if !self.is_open(at) {
            return Expected::Refused;
        }
        let (now, channel) = (self.now, &mut self.channels[at]);
        channel.expires_at = channel.expires_at.max(now + seconds);
        Expected::Done
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Whether a token is good.
    pub(super) fn standing(&self, at: usize) -> Standing {
        let token = &self.tokens[at];
        let is_over = token.expires_at.is_some_and(|expires_at| expires_at <= self.now);
        match &token.of {
            Of::Visit { channel } => {
                let of = &self.channels[*channel];
                let is_current =
                    !token.is_refresh || (of.refresh == at && self.now < of.expires_at);
                let is_bus = self.buses[of.bus] == Some(of.bus_generation);
                if is_bus && is_current && !is_over { Standing::Good } else { Standing::Invalid }
            }
            Of::Client { client, generation, grants, chain } => {
                let is_held = |(grant, version): &(usize, u64)| {
                    let grant = &self.grants[*grant];
                    grant.version == *version && !grant.buses.is_empty()
                };
                let is_current = self.chains[*chain]
                    .is_some_and(|(access, refresh)| at == access || at == refresh);
                let is_backed =
                    self.clients[*client] == Some(*generation) && grants.iter().all(is_held);
                match (is_current && is_backed, is_over) {
                    (false, _) => Standing::Invalid,
                    (true, true) => Standing::Expired,
                    (true, false) => Standing::Good,
                }
            }
        }
    }

    /// Whether a channel takes posts.
    pub(super) fn is_open(&self, at: usize) -> bool {
        let channel = &self.channels[at];
        self.buses[channel.bus] == Some(channel.bus_generation) && self.now < channel.expires_at
    }
}
