//! How an invocation travels between instances (Belay §6.13, §8).

use std::sync::{Arc, Mutex};

use buswire_belay::{
    BcapValue, InstanceId,
    instance::{CapServer, Failure, Function, Interface, WireResult},
};
use futures::{FutureExt as _, future::BoxFuture};

use super::{Answers, connect, constant, echo, get, now, restarted, server, status};

fn invoke(interface: &dyn Interface, text: &str, method: &str, data: Option<&str>) -> WireResult {
    let answer = interface.invoke(text, method, data.map(str::to_owned));
    answer.now_or_never().expect("a synchronous item answers at once")
}

#[test]
fn the_public_side_has_what_the_server_granted_and_nothing_else() {
    // Rule: belay 6.13 — the public interface dispatches to the server's own capabilities, else 404
    // Rule: belay 8 — the data is wire text from end to end
    let (alice, bob) = (server(1), server(2));
    connect(&[&alice, &bob]);
    alice.set_transport(Answers::new(|| Ok(None)));
    let public = alice.public_interface();
    let cap = alice.grant(echo()).unwrap();
    let text = cap.serialize().expose();
    let wire = r#"{"value":21}"#;
    assert_eq!(invoke(&public, text, "POST", Some(wire)), Ok(Some(wire.to_owned())));
    assert_eq!(invoke(&public, text, "PUT", Some(wire)), Err(Failure::of_status(500)));
    assert_eq!(invoke(&public, text, "GET", None), Ok(None));
    assert_eq!(invoke(&public, text, "DELETE", None), Err(Failure::new(405, "method not allowed")));
    let foreign = bob.grant(constant(1)).unwrap();
    // Rule: belay 6.13 — the instance must be the server's own, or an alias of it
    let id = text.rsplit(':').next().unwrap();
    let mixed = format!("urn:x-cap:{}:{id}", bob.instance().unwrap().as_str());
    for text in [foreign.serialize().expose(), &mixed, "https://a.example/x", "", "asdf"] {
        assert_eq!(invoke(&public, text, "GET", None), Err(Failure::new(404, "not found")));
    }
    let named = alice.grant_named("n", vec![]).unwrap();
    let later = restarted(&alice, 3);
    later.set_named_handler("n", |_, _| Ok::<_, String>(constant(1).into()));
    let answer = invoke(&later.public_interface(), named.serialize().expose(), "GET", None);
    assert_eq!(answer, Ok(Some(r#"{"value":1}"#.to_owned())));
}

#[test]
fn the_private_side_has_urls_its_own_and_what_the_resolver_knows() {
    // Rule: belay 6.13 — the private interface goes to URLs, own capabilities and the resolver's
    let (alice, bob) = (server(1), server(2));
    let private = bob.private_interface();
    let foreign = alice.grant(constant(1)).unwrap();
    let own = bob.grant(constant(2)).unwrap();
    let text = |value: u64| Ok(Some(format!(r#"{{"value":{value}}}"#)));
    assert_eq!(invoke(&private, own.serialize().expose(), "GET", None), text(2));
    let none = Err(Failure::of_status(404));
    assert_eq!(invoke(&private, foreign.serialize().expose(), "GET", None), none);
    connect(&[&alice, &bob]);
    assert_eq!(invoke(&private, foreign.serialize().expose(), "GET", None), text(1));
    bob.set_transport(Answers::new(|| Ok(Some(r#"{"value":3}"#.to_owned()))));
    assert_eq!(invoke(&private, "https://a.example/x", "GET", None), text(3));
    assert_eq!(invoke(&private, "", "GET", None), none);
}

#[test]
fn the_resolver_is_asked_for_the_instance_alone() {
    // Rule: belay 1 — a resolver gives the interface of an instance, or nothing
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asks = Arc::clone(&asked);
    let server = server(1);
    server.set_resolver(move |instance| {
        asks.lock().unwrap().push(instance.clone());
        None
    });
    let id = "066401a1-00f3-4941-89df-5d74500654e4";
    let foreign = server.restore(format!("urn:x-cap:https://myserv.com:8443:{id}"));
    assert_eq!(status(&foreign, "GET", None), 404);
    let own = server.grant(constant(1)).unwrap();
    assert_eq!(get(&own), Some(1.into()));
    let instance = InstanceId::parse("https://myserv.com:8443").unwrap();
    assert_eq!(*asked.lock().unwrap(), [instance]);
}

/// Hands every invocation on, as a hop between two windows does.
#[derive(Debug)]
struct Hop {
    to: Arc<dyn Interface>,
    seen: Mutex<Vec<Option<String>>>,
}

impl Interface for Hop {
    fn invoke<'a>(
        &'a self,
        serialisation: &'a str,
        method: &'a str,
        data: Option<String>,
    ) -> BoxFuture<'a, WireResult> {
        self.seen.lock().unwrap().push(data.clone());
        self.to.invoke(serialisation, method, data)
    }
}

#[test]
fn capabilities_in_arguments_are_used_by_whoever_decodes_them() {
    // Rule: belay 8 — an invocation goes through hops that decode nothing, and its answer comes back
    // Rule: belay 8 — whoever decodes a capability in the data is able to use it
    let (alice, bob) = (server(1), server(2));
    connect(&[&alice, &bob]);
    let to_bob = Arc::new(Hop { to: Arc::new(bob.public_interface()), seen: Mutex::default() });
    let hop = Arc::clone(&to_bob);
    alice.set_resolver(move |_| Some(hop.clone()));
    // Bob's function calls back what it is given.
    let calls_back = Function::future(|request| {
        let cap = request.server().restore(request.data().unwrap().as_cap().unwrap().clone());
        async move { Ok(cap.post(21).await?) }
    });
    let calls_back = bob.grant(calls_back).unwrap();
    let double = alice
        .grant(Function::sync(|request| {
            Ok(Some((request.data().and_then(BcapValue::as_u64).unwrap() * 2).into()))
        }))
        .unwrap();
    let held = alice.restore(calls_back.serialize().clone());
    assert_eq!(now(&held, "POST", Some((&double).into())), Ok(Some(42.into())));
    let wire = format!(r#"{{"value":{{"@":"{}"}}}}"#, double.serialize().expose());
    assert_eq!(*to_bob.seen.lock().unwrap(), [Some(wire)]);
    // A failure of what was called back comes all the way.
    alice.revoke(&double);
    assert_eq!(status(&held, "POST", Some((&double).into())), 404);
}

#[test]
fn a_server_and_its_interfaces_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let server = server(1);
    shared(&server);
    shared(&server.public_interface());
    shared(&server.private_interface());
    shared(&server.grant(constant(1)).unwrap());
    shared(&CapServer::radish());
}
