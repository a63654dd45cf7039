//! The bytes of the protocol: paths, parameters, callbacks, bodies, frames.
//!
//! Pure functions. Never here: I/O, a store, a decision about who may do what.

pub(crate) mod callback;
pub(crate) mod frame;
pub(crate) mod json;
pub(crate) mod params;
pub(crate) mod path;
pub(crate) mod provision;
pub(crate) mod since;
pub(crate) mod upstream;
