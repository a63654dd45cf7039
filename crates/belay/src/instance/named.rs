//! Grants that survive, because what they do has a name (Belay §6.10).
//!
//! Never here: how they are written down; see `snapshot`.

use std::{
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use buswire_message::{Secret, SecretHash};
use tokio_util::sync::CancellationToken;

use crate::{
    instance::{
        CapServer, Capability, GrantError,
        item::Item,
        run::Target,
        snapshot::{Entry, read_args},
    },
    wire::{BcapValue, WireLimits, encode_bare},
};

type Made = Result<Item, Box<dyn Error + Send + Sync>>;

/// Makes the item of a named grant of its arguments.
pub(super) type NamedHandler = Arc<dyn Fn(&CapServer, &[BcapValue]) -> Made + Send + Sync>;

impl CapServer {
    /// Grants what the handler of `name` makes of `args`, also after a restart (Belay §6.10).
    ///
    /// The handler may be set before or later; it is called when the capability is first invoked.
    /// Holders can't change the arguments.
    ///
    /// # Errors
    ///
    /// [`GrantError::NoInstance`], [`GrantError::Arguments`].
    pub fn grant_named(
        &self,
        name: impl Into<String>,
        args: Vec<BcapValue>,
    ) -> Result<Capability, GrantError> {
        let args = Secret::new(encode_bare(&args.into(), WireLimits::default())?);
        self.mint(Some(Entry::Named { name: name.into(), args }), None)
    }

    /// Sets what makes the items of grants of `name`, in place of what did before; items that are
    /// made already stay (Belay §6.10).
    ///
    /// A handler gets this server and the arguments. One that fails or panics leaves the capability
    /// dead for that invocation, and the next one calls it again; its error is logged, so it must hold
    /// no secret. It must not block.
    pub fn set_named_handler<F, E>(&self, name: impl Into<String>, handler: F)
    where
        F: Fn(&Self, &[BcapValue]) -> Result<Item, E> + Send + Sync + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let handler: NamedHandler =
            Arc::new(move |server, args| handler(server, args).map_err(Into::into));
        self.state().handlers.insert(name.into(), handler);
    }

    /// Revokes the grants of `name` whose arguments `is_revoked` picks (Belay §6.10).
    pub fn revoke_named(&self, name: &str, mut is_revoked: impl FnMut(&[BcapValue]) -> bool) {
        // The program's function runs without the lock; it may call the server.
        let named: Vec<_> = self
            .state()
            .grants
            .iter()
            .filter_map(|(key, grant)| match &grant.entry {
                Some(Entry::Named { name: own, args }) if own == name => Some((*key, args.clone())),
                _ => None,
            })
            .collect();
        for (key, args) in named {
            if read_args(args.expose()).is_some_and(|args| is_revoked(&args)) {
                self.remove(key);
            }
        }
    }

    /// Has the item of a named grant made; `None` if nothing can be made of it.
    pub(super) fn build_named(&self, key: SecretHash) -> Option<(Target, CancellationToken)> {
        let (handler, args) = {
            let state = self.state();
            let Entry::Named { name, args } = state.grants.get(&key)?.entry.as_ref()? else {
                return None;
            };
            (Arc::clone(state.handlers.get(name)?), args.clone())
        };
        let args = read_args(args.expose())?;
        let made = match catch_unwind(AssertUnwindSafe(|| handler(self, &args))) {
            Ok(Ok(item)) => self.target(item).map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it panicked".to_owned()),
        };
        let made =
            made.inspect_err(|error| tracing::error!(%error, "a named handler failed")).ok()?;
        // Two first invocations may have come here; both get the item that was there first.
        let mut state = self.state();
        let grant = state.grants.get_mut(&key)?;
        Some((grant.target.get_or_insert(made).clone(), grant.revoked.clone()))
    }
}
