//! The server of one instance: what it granted, and the way to everything else (Belay §6).
//!
//! Never here: how an item answers; see `run`.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use buswire_message::{Entropy, Secret, SecretHash};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    error::BcapError,
    instance::{
        Capability, Failure, Interface, PrivateInterface, PublicInterface, SnapshotError,
        Transport, WireResult,
        interface::Resolver,
        item::Item,
        named::NamedHandler,
        run::{Call, Target},
        snapshot::{Entry, Snapshot},
    },
    method::{Method, MethodSet},
    wire::{
        Bcap, BcapValue, CapId, CapUrl, DecodeError, EncodeError, InstanceId, Serialisation,
        WireLimits, decode, encode,
    },
};

/// The most capabilities of this process that an invocation goes through, one inside the other: each
/// takes some of the stack. What lies deeper is dead.
const HOPS_MAX: usize = 32;

tokio::task_local! {
    /// For each capability through which the invocation came that runs here, the outermost first:
    /// cancelled when it is revoked.
    static PATH: Vec<CancellationToken>;
}

/// The most ids of old that a server answers to, the latest ones. An instance that gets a new id with
/// each start leaves one behind every time.
const ALIASES_MAX: usize = 64;

/// Why something can't be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The server is no instance's (Belay §6.1).
    #[error("CapServer: no instanceId in mint()")]
    NoInstance,
    /// The handler has no function (Belay §6.2).
    #[error("Object with no handlers")]
    NoHandlers,
    /// The arguments of a named grant have no wire form (Belay §6.10).
    #[error(transparent)]
    Arguments(#[from] EncodeError),
}

/// Grants capabilities within one program, revokes them, and restores those of others (Belay §6).
///
/// A cheap handle: clones share everything, and what was granted lives as long as one of them or a
/// [`Capability`] bound to it. Nothing here leaves the process but through the [`Transport`] and the
/// resolver that the program sets. How much is granted is the program's own affair and has no bound.
///
/// Items and handlers live as long as the server; one that captures its own server would keep it alive
/// for ever, so both are handed the server when they are called.
///
/// # Examples
///
/// `examples/in_process.rs` lets two instances pass capabilities to each other.
#[derive(Clone)]
pub struct CapServer(pub(super) Arc<Inner>);

pub(super) struct Inner {
    /// The instance and what its ids are made of; `None` for a server that grants nothing.
    instance: Option<(InstanceId, Arc<dyn Entropy>)>,
    /// What the instance was called when it granted what its snapshot holds.
    aliases: Vec<InstanceId>,
    state: Mutex<State>,
    /// How often the snapshot has changed.
    pub(super) changes: watch::Sender<u64>,
}

#[derive(Default)]
pub(super) struct State {
    /// By the hash of the id, so that looking one up takes no longer the more of it is right.
    pub(super) grants: BTreeMap<SecretHash, Grant>,
    pub(super) handlers: BTreeMap<String, NamedHandler>,
    resolver: Option<Resolver>,
    transport: Option<Arc<dyn Transport>>,
}

pub(super) struct Grant {
    id: CapId,
    /// What the snapshot says of it; `None` if it is not in there.
    pub(super) entry: Option<Entry>,
    /// What its invocations come to, once that is known.
    pub(super) target: Option<Target>,
    pub(super) revoked: CancellationToken,
}

/// Where a serialisation leads.
pub(super) enum Route {
    Own(CapId),
    Url(CapUrl),
    Foreign(InstanceId),
}

impl CapServer {
    /// The server of an instance that has granted nothing yet.
    pub fn new(instance: InstanceId, entropy: Arc<dyn Entropy>) -> Self {
        Self::build(Some((instance, entropy)), Vec::new(), State::default())
    }

    /// A server of no instance: it restores, encodes, decodes and invokes, but grants nothing
    /// (Belay §6.1).
    pub fn radish() -> Self {
        Self::build(None, Vec::new(), State::default())
    }

    /// The server of an instance that went on before: named grants and wrappers are there again,
    /// also those made under one of the last 64 ids that it had (Belay §6.1, §6.11). Named handlers
    /// have to be set anew.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn from_snapshot(
        instance: InstanceId,
        entropy: Arc<dyn Entropy>,
        snapshot: &str,
    ) -> Result<Self, SnapshotError> {
        let snapshot = Snapshot::parse(snapshot)?;
        let mut state = State::default();
        for (id, entry) in snapshot.entries {
            let target = match &entry {
                Entry::Wrap { inner } => Some(Target::Proxy(inner.clone())),
                Entry::Named { .. } | Entry::Unknown { .. } => None,
            };
            state.insert(id, Some(entry), target);
        }
        let aliases = snapshot.instances.into_iter().filter(|alias| *alias != instance);
        let aliases = aliases.take(ALIASES_MAX).collect();
        Ok(Self::build(Some((instance, entropy)), aliases, state))
    }

    fn build(
        instance: Option<(InstanceId, Arc<dyn Entropy>)>,
        aliases: Vec<InstanceId>,
        state: State,
    ) -> Self {
        let state = Mutex::new(state);
        Self(Arc::new(Inner { instance, aliases, state, changes: watch::Sender::new(0) }))
    }

    /// The instance, if it is one's.
    pub fn instance(&self) -> Option<&InstanceId> {
        self.0.instance.as_ref().map(|(instance, _)| instance)
    }

    /// Grants an item, for as long as the server lives (Belay §6.2).
    ///
    /// Each call gives another capability, to be revoked apart from all others.
    ///
    /// # Errors
    ///
    /// [`GrantError`].
    pub fn grant(&self, item: impl Into<Item>) -> Result<Capability, GrantError> {
        let target = self.target(item.into())?;
        self.mint(None, Some(target))
    }

    /// Grants what passes everything on to `inner`: it hides `inner`, can be revoked alone, and
    /// survives in the snapshot (Belay §6.7).
    ///
    /// # Errors
    ///
    /// [`GrantError::NoInstance`].
    pub fn wrap(&self, inner: &Capability) -> Result<Capability, GrantError> {
        let entry = Entry::Wrap { inner: inner.serialize().clone() };
        self.mint(Some(entry), Some(self.target(inner.clone().into())?))
    }

    pub(super) fn mint(
        &self,
        entry: Option<Entry>,
        target: Option<Target>,
    ) -> Result<Capability, GrantError> {
        let (instance, entropy) = self.0.instance.as_ref().ok_or(GrantError::NoInstance)?;
        let cap = CapId::mint(entropy.as_ref());
        let is_kept = entry.is_some();
        self.state().insert(cap.clone(), entry, target);
        if is_kept {
            self.changed();
        }
        Ok(self.restore(Serialisation::Urn { instance: instance.clone(), cap }.to_text()))
    }

    /// What an item comes to. A capability bound to this server is kept without the server, which
    /// would keep itself alive for ever.
    pub(super) fn target(&self, item: Item) -> Result<Target, GrantError> {
        match item {
            Item::Handler(handler) if handler.is_empty() => Err(GrantError::NoHandlers),
            Item::Bcap(inner) if Arc::ptr_eq(&inner.server().0, &self.0) => {
                Ok(Target::Proxy(inner.serialize().clone()))
            }
            item => Ok(Target::Item(item)),
        }
    }

    /// No invocation that begins after this call succeeds; those that go on may (Belay §6.9).
    ///
    /// A capability that is not of this server is left alone.
    pub fn revoke(&self, cap: impl AsRef<Bcap>) {
        if let Ok(Route::Own(cap)) = self.route(cap.as_ref().expose()) {
            self.remove(cap.hash());
        }
    }

    /// Revokes whatever this server has granted (Belay §6.9).
    pub fn revoke_all(&self) {
        let grants = std::mem::take(&mut self.state().grants);
        let any_kept = grants.values().any(|grant| grant.entry.is_some());
        for grant in grants.values() {
            grant.revoked.cancel();
        }
        if any_kept {
            self.changed();
        }
    }

    pub(super) fn remove(&self, key: SecretHash) {
        let removed = self.state().grants.remove(&key);
        let Some(grant) = removed else { return };
        grant.revoked.cancel();
        if grant.entry.is_some() {
            self.changed();
        }
    }

    fn changed(&self) {
        self.0.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// A capability for any text, bound to this server. Whether it is alive shows when it is invoked
    /// (Belay §6.11).
    pub fn restore(&self, cap: impl Into<Bcap>) -> Capability {
        Capability::new(cap.into(), self.clone())
    }

    /// What must survive: named grants and wrappers (Belay §6.11). Whoever has the text has the
    /// capabilities.
    pub fn serialize(&self) -> Secret<String> {
        let state = self.state();
        let entries = state.grants.values();
        let entries = entries.filter_map(|grant| Some((&grant.id, grant.entry.as_ref()?)));
        Snapshot::write(self.instance(), &self.0.aliases, entries)
    }

    /// Sets how capabilities that are URLs are invoked, in place of what was set before. Without one
    /// they fail with [`Failure::network`].
    pub fn set_transport(&self, transport: Arc<dyn Transport>) {
        self.state().transport = Some(transport);
    }

    /// Sets who is asked for the interface of an instance that is not this one, in place of who was
    /// before (Belay §6.13). Without one, and where it knows nobody, invocations answer 404.
    pub fn set_resolver<F>(&self, resolver: F)
    where
        F: Fn(&InstanceId) -> Option<Arc<dyn Interface>> + Send + Sync + 'static,
    {
        self.state().resolver = Some(Arc::new(resolver));
    }

    /// What other instances may reach of this one.
    pub fn public_interface(&self) -> PublicInterface {
        PublicInterface(Arc::downgrade(&self.0))
    }

    /// What capabilities bound to this server go through.
    pub fn private_interface(&self) -> PrivateInterface {
        PrivateInterface(self.clone())
    }

    /// A value as wire text, for what is sent by other means (Belay §4.5). No data is `None`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn data_pre_processor(
        &self,
        value: Option<&BcapValue>,
    ) -> Result<Option<String>, EncodeError> {
        value.map(|value| encode(Some(value), WireLimits::default())).transpose()
    }

    /// The value of a wire text; its capabilities are for [`restore`](Self::restore) (Belay §4.5).
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn data_post_processor(
        &self,
        text: Option<&str>,
    ) -> Result<Option<BcapValue>, DecodeError> {
        decode(text.unwrap_or_default().as_bytes(), WireLimits::default())
    }

    pub(super) fn route(&self, serialisation: &str) -> Result<Route, BcapError> {
        match Serialisation::parse(serialisation).ok_or(BcapError::NotFound)? {
            Serialisation::Url(url) => Ok(Route::Url(url)),
            Serialisation::Urn { instance, cap }
                if self.instance() == Some(&instance) || self.0.aliases.contains(&instance) =>
            {
                Ok(Route::Own(cap))
            }
            Serialisation::Urn { instance, .. } => Ok(Route::Foreign(instance)),
        }
    }

    pub(super) fn resolve(&self, instance: &InstanceId) -> Option<Arc<dyn Interface>> {
        let resolver = self.state().resolver.clone();
        resolver?(instance)
    }

    pub(super) async fn fetch(
        &self,
        url: &CapUrl,
        method: &str,
        data: Option<String>,
    ) -> WireResult {
        let allow = MethodSet::ALL;
        let method = Method::parse(method).ok_or(BcapError::MethodNotAllowed { allow })?;
        let transport = self.state().transport.clone().ok_or_else(Failure::network)?;
        transport.invoke(url, method, data).await
    }

    /// Has an own capability answer.
    pub(super) async fn run(&self, cap: &CapId, method: &str, data: Option<String>) -> WireResult {
        let mut path = PATH.try_with(Clone::clone).unwrap_or_default();
        if path.len() == HOPS_MAX {
            return Err(BcapError::NotFound.into());
        }
        let (target, revoked) = self.look_up(cap.hash()).ok_or(BcapError::NotFound)?;
        path.push(revoked);
        let call = Call { server: self, method, data, path: path.clone() };
        PATH.scope(path, target.run(call)).await
    }

    fn look_up(&self, key: SecretHash) -> Option<(Target, CancellationToken)> {
        {
            let state = self.state();
            let grant = state.grants.get(&key)?;
            if let Some(target) = &grant.target {
                return Some((target.clone(), grant.revoked.clone()));
            }
        }
        self.build_named(key)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, id: CapId, entry: Option<Entry>, target: Option<Target>) {
        let revoked = CancellationToken::new();
        self.grants.insert(id.hash(), Grant { id, entry, target, revoked });
    }
}

impl fmt::Debug for CapServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapServer").field("instance", &self.instance()).finish_non_exhaustive()
    }
}
