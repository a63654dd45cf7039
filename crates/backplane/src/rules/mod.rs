//! The rules of the protocol that need no I/O: names, tokens, scopes, permissions.

pub(crate) mod access;
pub(crate) mod authorization;
pub(crate) mod names;
pub(crate) mod scopes;
pub(crate) mod token;
