//! The life of the gateway: open, bind, serve, drain, close.
//!
//! | module | does |
//! |---|---|
//! | `data_dir` | the directory of everything that must not be forgotten |
//! | `secret_file` | secrets that are generated at first start |
//! | `descriptors` | room for as many connections as are allowed |
//! | `ready` | the file that says where the listeners are bound |
//! | `gateway` | one running gateway, with its one shutdown sequence |
//! | `ordered` | the certificate that the public listener orders for itself |
//! | `signals` | SIGTERM, SIGINT, SIGHUP |
//! | `store` | the engine that the configuration names |
//!
//! Never here: what is served; that is `app`.

mod data_dir;
mod descriptors;
mod gateway;
mod ordered;
mod ready;
mod secret_file;
mod signals;
mod store;

pub use self::{
    data_dir::{DataDir, DataDirError},
    gateway::{Gateway, ServeError, ShutdownReport},
    ready::{Addresses, ReadyFileError},
    secret_file::SecretFileError,
    signals::{Ended, run},
    store::open_kept,
};
