//! Granting, wrapping and revoking (Belay §6.1, §6.2, §6.7, §6.9).

use std::sync::Arc;

use buswire_belay::{
    Bcap, InstanceId, PreImage,
    instance::{CapServer, Function, GrantError},
};
use buswire_testkit::SeededEntropy;
use futures::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use super::{connect, constant, get, restarted, server, status};

#[test]
fn every_form_of_instance_id_grants() {
    // Rule: belay 2.2 — a CapServer takes a UUID, 32 or 40 hex digits, or an origin
    let pre_image = PreImage::parse("eba68eea-75f2-4b05-b87a-08365cc58043").unwrap();
    let ids = [
        InstanceId::temporary(&SeededEntropy::new(1)),
        pre_image.sha1_instance_id(),
        pre_image.sha256_instance_id(),
        InstanceId::parse("https://myserv.com:8443").unwrap(),
    ];
    for id in ids {
        let server = CapServer::new(id.clone(), Arc::new(SeededEntropy::new(2)));
        let cap = server.grant(constant(1)).unwrap();
        let start = format!("urn:x-cap:{}:", id.as_str());
        assert!(cap.serialize().expose().starts_with(&start));
        assert_eq!(get(&cap), Some(1.into()));
    }
    for bad in ["", "bob", "0", "null", "66C6BD1F4CDA24069DEBE0EFA2193F64BAEAE867", "http://a/"] {
        assert_eq!(InstanceId::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_server_without_instance_grants_nothing() {
    // Rule: belay 6.1 — a server without instance throws on every grant, but restores and invokes
    let radish = CapServer::radish();
    let refused = GrantError::NoInstance;
    assert_eq!(refused.to_string(), "CapServer: no instanceId in mint()");
    assert_eq!(radish.grant(constant(1)).unwrap_err(), refused);
    assert_eq!(radish.grant_named("n", vec![]).unwrap_err(), refused);
    assert_eq!(radish.wrap(&radish.restore("")).unwrap_err(), refused);
    let other = server(1);
    let public = other.public_interface();
    radish.set_resolver(move |_| Some(Arc::new(public.clone())));
    let cap = other.grant(constant(1)).unwrap();
    assert_eq!(get(&radish.restore(cap.serialize().clone())), Some(1.into()));
    assert_eq!(radish.instance(), None);
    assert_eq!(radish.serialize().expose(), r#"{"v":1,"map":{}}"#);
}

#[test]
fn every_grant_is_another_capability() {
    // Rule: belay 1 — granting the same item twice gives two capabilities, revoked apart
    let server = server(1);
    let item = constant(1);
    let (one, other) = (server.grant(item.clone()).unwrap(), server.grant(item).unwrap());
    assert_ne!(one.serialize(), other.serialize());
    server.revoke(&one);
    assert_eq!(status(&one, "GET", None), 404);
    assert_eq!(get(&other), Some(1.into()));
}

#[test]
fn a_wrapper_is_revoked_alone_and_its_inner_with_it() {
    // Rule: belay 6.7 — revoking a wrapper leaves the inner, revoking the inner makes both fail
    let server = server(1);
    let inner = server.grant(constant(1)).unwrap();
    for make in [CapServer::wrap, |server: &CapServer, inner: &_| server.grant(Clone::clone(inner))]
    {
        let (one, other) = (make(&server, &inner).unwrap(), make(&server, &inner).unwrap());
        let outer = make(&server, &one).unwrap();
        assert_ne!(one.serialize(), inner.serialize());
        assert_eq!(get(&outer), Some(1.into()));
        server.revoke(&one);
        assert_eq!(status(&one, "GET", None), 404);
        assert_eq!(status(&outer, "GET", None), 404);
        assert_eq!((get(&inner), get(&other)), (Some(1.into()), Some(1.into())));
    }
    let outer = server.wrap(&inner).unwrap();
    server.revoke(&inner);
    assert_eq!((status(&inner, "GET", None), status(&outer, "GET", None)), (404, 404));
}

#[test]
fn a_wrapper_of_another_server_is_revoked_alone() {
    // Rule: belay 6.7 — revokeAll on the wrapper's server kills the wrapper only
    let (alice, bob) = (server(1), server(2));
    connect(&[&alice, &bob]);
    let inner = alice.grant(constant(1)).unwrap();
    let held = bob.restore(inner.serialize().clone());
    let wrappers = [bob.wrap(&held), bob.wrap(&inner), bob.grant(inner.clone())];
    let wrappers = wrappers.map(Result::unwrap);
    for wrapper in &wrappers {
        assert_eq!(get(wrapper), Some(1.into()));
    }
    bob.revoke_all();
    for wrapper in &wrappers {
        assert_eq!(status(wrapper, "GET", None), 404);
    }
    assert_eq!(get(&inner), Some(1.into()));
    let wrapper = bob.wrap(&held).unwrap();
    alice.revoke_all();
    assert_eq!(status(&wrapper, "GET", None), 404);
}

#[test]
fn a_chain_of_wrappers_may_be_long_but_not_endless() {
    // Rule: belay 6.7 — wrappers may be wrapped
    let server = server(1);
    let other = super::server(2);
    let mut cap = server.grant(constant(1)).unwrap();
    for number in 1..32 {
        assert_eq!(get(&cap), Some(1.into()));
        cap = if number % 3 == 0 { other.wrap(&cap) } else { server.wrap(&cap) }.unwrap();
    }
    assert_eq!(get(&cap), Some(1.into()));
    assert_eq!(status(&server.wrap(&cap).unwrap(), "GET", None), 404);
}

#[test]
fn revoking_takes_a_capability_or_a_text() {
    // Rule: belay 6.9 — revoke takes a capability or its serialisation
    // Rule: belay 18 D10 — revoke takes a capability or its serialisation
    let server = server(1);
    let (one, other) = (server.grant(constant(1)).unwrap(), server.grant(constant(2)).unwrap());
    server.revoke(&one);
    server.revoke(Bcap::restore(other.serialize().expose()));
    assert_eq!((status(&one, "GET", None), status(&other, "GET", None)), (404, 404));
}

#[test]
fn revoking_what_is_not_ours_does_nothing() {
    // Rule: belay 6.9 — what this server has not issued is not revoked
    // Rule: belay 19 row 5 — revoking looks at the instance too
    let (alice, bob) = (server(1), server(2));
    let cap = alice.grant(constant(1)).unwrap();
    let id = cap.serialize().expose().rsplit(':').next().unwrap();
    let foreign = format!("urn:x-cap:{}:{id}", bob.instance().unwrap().as_str());
    for text in [foreign.as_str(), "", "somekey", "https://a.example/x"] {
        alice.revoke(Bcap::restore(text));
    }
    bob.revoke(&cap);
    assert_eq!(get(&cap), Some(1.into()));
}

#[test]
fn everything_is_revoked_at_once() {
    // Rule: belay 6.9 — revokeAll revokes every grant, named and wrapped ones included
    let server = server(1);
    server.set_named_handler("n", |_, _| Ok::<_, String>(constant(1).into()));
    let plain = server.grant(constant(1)).unwrap();
    let caps = [
        server.wrap(&plain).unwrap(),
        server.grant_named("n", vec![]).unwrap(),
        server.grant_named("never invoked", vec![]).unwrap(),
        plain,
    ];
    assert_eq!(get(&caps[1]), Some(1.into()));
    server.revoke_all();
    // Rule: belay 6.9 — a revoked capability is never reinstated, after a restart neither
    let later = restarted(&server, 3);
    later.set_named_handler("n", |_, _| Ok::<_, String>(constant(1).into()));
    for cap in caps {
        assert_eq!(status(&cap, "GET", None), 404);
        assert_eq!(status(&later.restore(cap.serialize().clone()), "GET", None), 404);
    }
    assert_eq!(get(&server.grant(constant(2)).unwrap()), Some(2.into()));
}

#[tokio::test]
async fn what_began_before_the_revocation_is_answered() {
    // Rule: belay 6.9 — an invocation in progress keeps its answer, and can see that it is revoked
    let server = server(1);
    let (began, mut starts) = mpsc::channel(1);
    let slow = Function::future(move |request| {
        let began = began.clone();
        async move {
            let (go_on, wait) = oneshot::channel();
            assert!(!request.is_revoked());
            began.send(go_on).await.unwrap();
            wait.await.unwrap();
            Ok(Some(request.is_revoked().into()))
        }
    });
    let inner = server.grant(slow).unwrap();
    let cap = server.wrap(&inner).unwrap();
    let invocation = tokio::task::LocalSet::new();
    let answer = invocation.run_until(async {
        let running = tokio::task::spawn_local({
            let cap = cap.clone();
            async move { cap.get().await }
        });
        let go_on = starts.recv().await.unwrap();
        server.revoke(&cap);
        assert_eq!(status(&cap, "GET", None), 404);
        go_on.send(()).unwrap();
        running.await.unwrap()
    });
    assert_eq!(answer.await, Ok(Some(true.into())));
}

#[test]
fn a_server_that_is_gone_answers_404() {
    // Rule: belay 6.2 — plain grants live only as long as the CapServer
    let (alice, bob) = (server(1), server(2));
    connect(&[&alice, &bob]);
    let cap = bob.restore(alice.grant(constant(1)).unwrap().serialize().clone());
    assert_eq!(get(&cap), Some(1.into()));
    let wrapper = alice.wrap(&alice.grant(constant(1)).unwrap()).unwrap();
    drop((wrapper, alice));
    assert_eq!(status(&cap, "GET", None), 404);
}

#[test]
fn grants_can_be_made_from_within_items() {
    // Rule: belay 6.2 — an item may grant and revoke
    let server = server(1);
    let generator =
        Function::sync(|request| Ok(Some(request.server().grant(constant(1)).unwrap().into())));
    let generator = server.grant(generator).unwrap();
    let made = generator.get().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(get(&server.restore(made.as_cap().unwrap().clone())), Some(1.into()));
}
