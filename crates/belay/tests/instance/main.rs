//! The CapServer of an instance, by its public interface alone (Belay §§5–8).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod capabilities;
mod failures;
mod grants;
mod interfaces;
mod items;
mod logs;
mod model;
mod named;
mod persist;
mod snapshots;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use buswire_belay::{
    BcapValue, CapUrl, InstanceId, Method,
    instance::{
        CapServer, Capability, Failure, Function, Interface, InvokeError, Outcome, Transport,
        WireResult,
    },
};
use buswire_testkit::SeededEntropy;
use futures::{FutureExt as _, future::BoxFuture};

/// The server of a new instance with a random id.
fn server(seed: u64) -> CapServer {
    let entropy = Arc::new(SeededEntropy::new(seed));
    CapServer::new(InstanceId::temporary(&*entropy), entropy)
}

/// Takes the snapshot of a server and makes a server of it, with another id and other randomness.
fn restarted(server: &CapServer, seed: u64) -> CapServer {
    let entropy = Arc::new(SeededEntropy::new(seed));
    let instance = InstanceId::temporary(&*entropy);
    CapServer::from_snapshot(instance, entropy, server.serialize().expose()).unwrap()
}

/// Lets servers find each other.
fn connect(servers: &[&CapServer]) {
    let known: BTreeMap<_, _> = servers
        .iter()
        .map(|server| (server.instance().unwrap().clone(), server.public_interface()))
        .collect();
    for server in servers {
        let known = known.clone();
        server.set_resolver(move |instance| {
            known.get(instance).map(|found| Arc::new(found.clone()) as Arc<dyn Interface>)
        });
    }
}

/// A function that always answers the same.
fn constant(value: impl Into<BcapValue>) -> Function {
    let value = value.into();
    Function::sync(move |_| Ok(Some(value.clone())))
}

fn echo() -> Function {
    Function::sync(|request| Ok(request.into_data()))
}

/// What a synchronous item answers; panics if it waits.
fn now(
    capability: &Capability,
    method: &str,
    data: Option<BcapValue>,
) -> Result<Option<BcapValue>, InvokeError> {
    capability.invoke(method, data).now_or_never().expect("nothing to wait for")
}

/// The status with which an invocation fails.
fn status(capability: &Capability, method: &str, data: Option<BcapValue>) -> u16 {
    match now(capability, method, data) {
        Err(InvokeError::Failed(failure)) => failure.status(),
        other => panic!("{other:?}"),
    }
}

fn get(capability: &Capability) -> Option<BcapValue> {
    now(capability, "GET", None).unwrap()
}

/// Answers each request with what a function says, and keeps what was asked.
struct Answers<F> {
    answer: F,
    asked: Mutex<Vec<(String, Method, Option<String>)>>,
}

impl<F: Fn() -> WireResult + Send + Sync> Answers<F> {
    fn new(answer: F) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::default() })
    }
}

impl<F> std::fmt::Debug for Answers<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answers")
    }
}

impl<F: Fn() -> WireResult + Send + Sync> Transport for Answers<F> {
    fn invoke<'a>(
        &'a self,
        url: &'a CapUrl,
        method: Method,
        body: Option<String>,
    ) -> BoxFuture<'a, WireResult> {
        self.asked.lock().unwrap().push((url.expose().to_string(), method, body));
        std::future::ready((self.answer)()).boxed()
    }
}

/// An answer of an item that is a failure.
fn failed(status: u16) -> Outcome {
    Err(Failure::of_status(status))
}
