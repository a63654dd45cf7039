//! The life of the gateway: open, bind, serve, drain, close.
//!
//! | module | does |
//! |---|---|
//! | `data_dir` | the directory of everything that must not be forgotten |
//! | `admin_token` | the token of administrators, generated at first start |
//! | `descriptors` | room for as many connections as are allowed |
//! | `ready` | the file that says where the listeners are bound |
//! | `gateway` | one running gateway, with its one shutdown sequence |
//! | `signals` | SIGTERM, SIGINT, SIGHUP |
//! | `store` | the engine that the configuration names |
//!
//! Never here: what is served; that is `app`.

mod admin_token;
mod data_dir;
mod descriptors;
mod gateway;
mod ready;
mod signals;
mod store;

pub use self::{
    admin_token::AdminTokenError,
    data_dir::{DataDir, DataDirError},
    gateway::{Gateway, ServeError, ShutdownReport},
    ready::{Addresses, ReadyFileError},
    signals::{Ended, run},
    store::open_kept,
};
