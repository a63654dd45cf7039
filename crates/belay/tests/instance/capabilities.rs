//! Capability objects (Belay §5).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use buswire_belay::{
    BcapValue, EncodeError, Members, Method,
    instance::{Function, Handler, InvokeError, Item},
};
use futures::FutureExt as _;
use tokio::sync::mpsc;

use super::{constant, echo, get, now, server};

#[test]
fn wrong_calls_invoke_nothing() {
    // Rule: belay 5.1 — data with anything but PUT and POST is refused before anything is invoked
    let server = server(1);
    let count = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&count);
    let any = Item::Invoke(Function::sync(move |_| {
        counts.fetch_add(1, Ordering::SeqCst);
        Ok(None)
    }));
    let cap = server.grant(any).unwrap();
    for method in ["GET", "DELETE", "PATCH", "put"] {
        for data in [BcapValue::Null, 1.into()] {
            assert_eq!(now(&cap, method, Some(data)), Err(InvokeError::DataNotAllowed));
        }
    }
    // Rule: belay 5.1 — data that can't be encoded is refused before anything is invoked
    let forged = Members::new().with("@", "x");
    let refused = Err(InvokeError::Encode(EncodeError::ForgedReference));
    assert_eq!(now(&cap, "POST", Some(forged.into())), refused);
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_conveniences_are_invocations() {
    // Rule: belay 5.2 — get, put, post and remove are invoke with GET, PUT, POST and DELETE
    let (sender, mut receiver) = mpsc::channel(4);
    let handler = Method::ALL.into_iter().fold(Handler::new(), |handler, method| {
        let sender = sender.clone();
        let function = Function::future(move |request| {
            let sender = sender.clone();
            async move {
                sender.send((method, request.data().cloned())).await.unwrap();
                Ok(method.gives_data().then_some(BcapValue::Null))
            }
        });
        handler.on(method, function)
    });
    let cap = server(1).grant(handler).unwrap();
    assert_eq!(cap.get().await, Ok(Some(BcapValue::Null)));
    assert_eq!(cap.put(1).await, Ok(()));
    assert_eq!(cap.post(2).await, Ok(Some(BcapValue::Null)));
    assert_eq!(cap.remove().await, Ok(()));
    let expected = [
        (Method::Get, None),
        (Method::Put, Some(1.into())),
        (Method::Post, Some(2.into())),
        (Method::Delete, None),
    ];
    for invocation in expected {
        assert_eq!(receiver.recv().await, Some(invocation));
    }
}

#[test]
fn a_serialisation_is_what_it_was() {
    // Rule: belay 5.2 — serialize gives the serialisation unchanged from grant or restore
    let server = server(1);
    let cap = server.grant(constant(1)).unwrap();
    let again = server.restore(cap.serialize().clone());
    assert_eq!(again.serialize(), cap.serialize());
    assert_eq!(get(&again), Some(1.into()));
    for text in ["", "asdf", "https://A.example:443/x?y#z"] {
        assert_eq!(server.restore(text).serialize().expose(), text);
    }
}

#[test]
fn a_capability_does_not_show_in_debug() {
    // Rule: belay 5 — what a capability says shows in no log
    let server = server(1);
    let cap = server.grant(constant(1)).unwrap();
    let item = Item::from(server.wrap(&cap).unwrap());
    let shown = format!("{cap:?} {item:?} {server:?} {:?}", server.private_interface());
    let id = cap.serialize().expose().rsplit(':').next().unwrap();
    assert!(!shown.contains(id), "{shown}");
    assert!(shown.starts_with("Capability(…)"), "{shown}");
}

#[test]
fn capabilities_pass_as_data() {
    // Rule: belay 4.5 — what is decoded is restored by the server that decodes it
    // Rule: belay 18 D18 — values and texts are made of each other by dataPreProcessor and dataPostProcessor
    let server = server(1);
    let cap = server.grant(constant("found")).unwrap();
    let echo = server.grant(echo()).unwrap();
    let data = Members::new().with("list", vec![BcapValue::from(&cap)]);
    let answer = now(&echo, "POST", Some(data.into())).unwrap().unwrap();
    let list = answer.as_object().unwrap().get("list").unwrap().as_array().unwrap();
    assert_eq!(get(&server.restore(list[0].as_cap().unwrap().clone())), Some("found".into()));
    // Rule: belay 4.5 — no data in is no data out, in both directions
    assert_eq!(server.data_pre_processor(None), Ok(None));
    for text in [None, Some(""), Some(" \n")] {
        assert_eq!(server.data_post_processor(text), Ok(None));
    }
    let wire = server.data_pre_processor(Some(&cap.clone().into())).unwrap().unwrap();
    assert_eq!(wire, format!(r#"{{"value":{{"@":"{}"}}}}"#, cap.serialize().expose()));
    let decoded = server.data_post_processor(Some(&wire)).unwrap();
    assert_eq!(decoded, Some(cap.into()));
}

#[test]
fn nothing_happens_before_the_future_is_polled() {
    // Rule: belay 5.1 — an invocation answers once, and never inside the call
    // Rule: belay 19 row 2 — an invocation has one answer
    let server = server(1);
    let cap = server.grant(constant(1)).unwrap();
    let invocation = cap.get();
    server.revoke(&cap);
    assert!(invocation.now_or_never().unwrap().is_err());
}

#[tokio::test]
async fn giving_up_cancels_what_the_item_began() {
    // Rule: belay 5.1 — an invocation that is given up cancels the item
    let (sender, mut receiver) = mpsc::channel(2);
    let server = server(1);
    let slow = Function::future(move |request| {
        let sender = sender.clone();
        async move {
            let began = request.data().is_some();
            sender.send(request.cancelled().clone()).await.unwrap();
            if began {
                return Ok(None);
            }
            std::future::pending().await
        }
    });
    let cap = server.wrap(&server.grant(slow).unwrap()).unwrap();
    let invocation = cap.get();
    let cancelled = tokio::select! {
        _ = invocation => panic!("it has no answer"),
        cancelled = receiver.recv() => cancelled.unwrap(),
    };
    // The branch that lost is dropped, and the item with it.
    cancelled.cancelled().await;
    cap.post(1).await.unwrap();
    assert!(!receiver.recv().await.unwrap().is_cancelled(), "it was answered, not given up");
}
