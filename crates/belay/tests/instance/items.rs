//! Items and the rules around them (Belay §6.2–§6.8).

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use buswire_belay::{
    BcapValue, Method,
    instance::{
        Failure, Function, GrantError, Handler, Implementation, Interface as _, InvokeError, Item,
        Outcome, UnusableItem, WireResult,
    },
};
use futures::{FutureExt as _, future::BoxFuture};

use super::{Answers, constant, echo, failed, get, now, server, status};

const METHODS: [&str; 4] = ["GET", "PUT", "POST", "DELETE"];

fn data_for(method: &str) -> Option<BcapValue> {
    Method::parse(method).filter(|method| method.takes_data()).map(|_| 1.into())
}

/// Answers and counts how often it was asked.
fn counted(count: &Arc<AtomicUsize>) -> Function {
    let count = Arc::clone(count);
    Function::sync(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(request.into_data())
    })
}

#[test]
fn a_dead_item_answers_404_to_every_method() {
    // Rule: belay 6.2 — null makes a dead capability
    let server = server(1);
    let dead = server.grant(Item::Dead).unwrap();
    for method in METHODS {
        assert_eq!(status(&dead, method, data_for(method)), 404);
    }
}

#[test]
fn a_function_takes_get_put_and_post() {
    // Rule: belay 6.3 — a function is called without data for GET, with it for PUT and POST
    let server = server(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let function = Function::sync(move |request| {
        keep.lock().unwrap().push((request.method().to_owned(), request.data().cloned()));
        Ok((request.method() != "PUT").then(|| BcapValue::from("r")))
    });
    let cap = server.grant(function).unwrap();
    assert_eq!(get(&cap), Some("r".into()));
    assert_eq!(now(&cap, "PUT", Some(1.into())), Ok(None));
    assert_eq!(now(&cap, "POST", Some(2.into())), Ok(Some("r".into())));
    assert_eq!(now(&cap, "POST", None), Ok(Some("r".into())));
    let expected = [("GET", None), ("PUT", Some(1)), ("POST", Some(2)), ("POST", None)];
    let expected = expected.map(|(method, data)| (method.to_owned(), data.map(BcapValue::from)));
    assert_eq!(*seen.lock().unwrap(), expected);
    // Rule: belay 6.3 — DELETE on a plain function is 405
    // Rule: belay 18 D8 — DELETE on a plain function is 405
    assert_eq!(status(&cap, "DELETE", None), 405);
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_function_may_answer_in_its_own_time() {
    // Rule: belay 6.3 — an asynchronous function answers by what it completes with
    let server = server(1);
    let slow = server
        .grant(Function::future(|request| async move {
            tokio::task::yield_now().await;
            match request.into_data() {
                Some(data) => Ok(Some(data)),
                None => failed(403),
            }
        }))
        .unwrap();
    assert_eq!(slow.post("x").await, Ok(Some("x".into())));
    assert_eq!(slow.get().await, Err(Failure::of_status(403).into()));
    let delete = slow.remove().await;
    assert_eq!(delete, Err(Failure::of_status(405).into()));
}

#[test]
fn a_handler_answers_the_methods_that_it_has() {
    // Rule: belay 6.4 — any non-empty subset of methods is a handler; the others answer 405
    let server = server(1);
    for present in 1_u32..16 {
        let mut handler = Handler::new();
        for (at, method) in Method::ALL.into_iter().enumerate() {
            if present & (1 << at) != 0 {
                let function = Function::sync(move |request| {
                    assert_eq!(request.method(), method.as_str());
                    Ok(method.gives_data().then(|| method.as_str().into()))
                });
                handler = handler.on(method, function);
            }
        }
        let cap = server.grant(handler).unwrap();
        for (at, method) in Method::ALL.into_iter().enumerate() {
            let name = method.as_str();
            if present & (1 << at) == 0 {
                assert_eq!(status(&cap, name, data_for(name)), 405);
            } else {
                let expected = method.gives_data().then(|| name.into());
                assert_eq!(now(&cap, name, data_for(name)), Ok(expected));
            }
        }
    }
    // Rule: belay 6.2 — an object with no handlers is refused
    assert_eq!(server.grant(Handler::new()).unwrap_err(), GrantError::NoHandlers);
    assert_eq!(GrantError::NoHandlers.to_string(), "Object with no handlers");
}

#[test]
fn a_handler_may_answer_some_methods_later() {
    // Rule: belay 6.4 — functions that answer at once and those that don't are told apart by type
    // Rule: belay 18 D5 — an asynchronous function always has the request; a handler is for what has none
    let handler = Handler::new()
        .on(Method::Get, constant("now"))
        .on(Method::Delete, Function::future(|_| async { Ok(None) }));
    let cap = server(1).grant(handler).unwrap();
    assert_eq!(get(&cap), Some("now".into()));
    assert_eq!(now(&cap, "DELETE", None), Ok(None));
}

#[test]
fn only_http_urls_are_texts_to_grant() {
    // Rule: belay 6.2 — a text that is no http or https URL is an unusable handler
    for text in ["", "asdf", "ftp://a/", "urn:x-cap:a:b", "HTTPS://a/", "https:"] {
        let unusable = Item::try_from(text).unwrap_err();
        assert_eq!((unusable, unusable.to_string().as_str()), (UnusableItem, "Unusable handler"));
    }
    assert!(matches!(Item::try_from("http://a.example/x"), Ok(Item::Url(_))));
}

#[test]
fn data_is_for_put_and_post_alone() {
    // Rule: belay 6.5 — data with GET or DELETE is answered 400 and the item is not called
    let server = server(1);
    let count = Arc::default();
    let handler = Method::ALL
        .into_iter()
        .fold(Handler::new(), |handler, method| handler.on(method, counted(&count)));
    let items = [Item::from(counted(&count)), handler.into(), Item::Invoke(counted(&count))];
    for item in items {
        let cap = server.grant(item).unwrap();
        for method in ["GET", "DELETE"] {
            for data in [r#"{"value":1}"#, r#"{"value":null}"#] {
                let text = cap.serialize().expose();
                let answer = server.public_interface();
                let answer = answer.invoke(text, method, Some(data.to_owned())).now_or_never();
                assert_eq!(answer.unwrap(), Err(Failure::new(400, "bad request")));
            }
        }
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[test]
fn a_result_is_for_get_and_post_alone() {
    // Rule: belay 6.5 — a PUT or DELETE that gives a result, null too, is a failure 500
    // Rule: belay 18 D9 — a PUT that gives a result is a failure 500
    let server = server(1);
    let at_once = |value: BcapValue| Function::sync(move |_| Ok(Some(value.clone())));
    let later =
        |value: BcapValue| Function::future(move |_| std::future::ready(Ok(Some(value.clone()))));
    for value in [BcapValue::Null, 1.into()] {
        for function in [at_once(value.clone()), later(value)] {
            let handler = Handler::new()
                .on(Method::Put, function.clone())
                .on(Method::Delete, function.clone());
            let cap = server.grant(handler).unwrap();
            assert_eq!(status(&cap, "PUT", Some(1.into())), 500);
            assert_eq!(status(&cap, "DELETE", None), 500);
            assert_eq!(status(&server.grant(function).unwrap(), "PUT", Some(1.into())), 500);
        }
    }
    // Rule: belay 6.5 — no result of GET and POST is success with no data
    let silent = server.grant(Function::sync(|_| Ok(None))).unwrap();
    assert_eq!(get(&silent), None);
    assert_eq!(now(&silent, "POST", Some(1.into())), Ok(None));
}

#[test]
fn an_item_that_panics_fails_with_500() {
    // Rule: belay 6.5 — an item that throws is a failure 500
    let server = server(1);
    let at_once = Function::sync(|_| -> Outcome { panic!("at once") });
    let later = Function::future(|_| async { panic!("later") });
    for function in [at_once, later] {
        let cap = server.grant(function).unwrap();
        let expected = Failure::new(500, "internal server error");
        assert_eq!(now(&cap, "GET", None), Err(InvokeError::Failed(expected)));
    }
}

#[test]
fn what_can_not_be_encoded_fails_with_500() {
    // Rule: belay 6.5 — a result that is not encodable is a failure 500
    let forged = buswire_belay::Members::new().with("@", "x");
    let cap = server(1).grant(constant(forged)).unwrap();
    assert_eq!(status(&cap, "GET", None), 500);
}

#[test]
fn a_failure_of_an_item_passes_through() {
    // Rule: belay 6.5 — a failure that the item calls passes through
    let teapot = Failure::new(418, "short and stout");
    let fails = teapot.clone();
    let server = server(1);
    let cap = server.grant(Function::sync(move |_| Err(fails.clone()))).unwrap();
    let through = server.wrap(&server.wrap(&cap).unwrap()).unwrap();
    assert_eq!(now(&through, "GET", None), Err(teapot.into()));
}

#[test]
fn an_invoke_function_sees_every_method() {
    // Rule: belay 6.8 — an invoke handler is called for every method, with values
    // Rule: belay 18 D6 — an invoke handler has values
    let server = server(1);
    let invoke = Item::Invoke(Function::sync(|request| {
        let method = request.method().to_owned();
        Ok((!matches!(request.method(), "PUT" | "DELETE"))
            .then(|| vec![method.into(), request.into_data().into()].into()))
    }));
    let cap = server.grant(invoke).unwrap();
    let answer =
        |method: &str, data: Option<BcapValue>| Ok(Some(vec![method.into(), data.into()].into()));
    assert_eq!(now(&cap, "GET", None), answer("GET", None));
    assert_eq!(now(&cap, "POST", Some(5.into())), answer("POST", Some(5.into())));
    assert_eq!(now(&cap, "PATCH", None), answer("PATCH", None));
    assert_eq!(now(&cap, "PUT", Some(5.into())), Ok(None));
    assert_eq!(now(&cap, "DELETE", None), Ok(None));
}

/// Answers the text that it gets, in brackets.
#[derive(Debug)]
struct Raw;

impl Implementation for Raw {
    fn invoke<'a>(&'a self, method: &'a str, data: Option<String>) -> BoxFuture<'a, WireResult> {
        let answer = match (method, data) {
            ("GET", None) => Ok(None),
            (_, data) => Ok(Some(format!("[{}]", data.unwrap_or_default()))),
        };
        std::future::ready(answer).boxed()
    }
}

#[test]
fn an_implementation_sees_the_wire_text_itself() {
    // Rule: belay 6.8 — a raw handler gets and gives wire texts
    // Rule: belay 6.2 — an implementation is granted unchanged
    let server = server(1);
    let cap = server.grant(Item::Implementation(Arc::new(Raw))).unwrap();
    let text = cap.serialize().expose();
    let public = server.public_interface();
    let raw = |method, data: &str| {
        public.invoke(text, method, Some(data.to_owned())).now_or_never().unwrap()
    };
    assert_eq!(raw("PATCH", "not JSON"), Ok(Some("[not JSON]".to_owned())));
    assert_eq!(get(&cap), None);
    // Rule: belay 7.2 — an answer that can't be decoded is a failure 502, bad response
    // Rule: belay 19 row 4 — an answer that can't be decoded is told
    let bad = Failure::new(502, "bad response");
    assert_eq!(now(&cap, "POST", Some(1.into())), Err(bad.clone().into()));
    // Rule: belay 6.7 — what goes through a wrapper is decoded by it
    let wrapper = server.wrap(&cap).unwrap();
    assert_eq!(now(&wrapper, "POST", Some(1.into())), Err(bad.into()));
    let answer = public.invoke(wrapper.serialize().expose(), "POST", Some("not JSON".to_owned()));
    assert_eq!(answer.now_or_never().unwrap(), Err(Failure::of_status(400)));
}

#[test]
fn malformed_data_is_answered_400() {
    // Rule: belay 19 row 3 — malformed wire data reaches no item and is a failure 400
    let server = server(1);
    let cap = server.grant(echo()).unwrap();
    for data in ["[1]", "{}", r#"{"value":{"@":"x","also":1}}"#, "{"] {
        let public = server.public_interface();
        let answer = public.invoke(cap.serialize().expose(), "POST", Some(data.to_owned()));
        assert_eq!(answer.now_or_never().unwrap(), Err(Failure::of_status(400)), "{data}");
    }
}

#[test]
fn a_url_is_invoked_through_the_transport() {
    // Rule: belay 6.6 — a URL is invoked with the same method and the text that is encoded already
    const URL: &str = "https://gw.example/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936";
    let server = server(1);
    let url = server.grant(Item::try_from(URL).unwrap()).unwrap();
    let restored = server.restore(URL);
    // Rule: belay 7.2 — without any HTTP answer the status is 0 and the reason network
    // Rule: belay 18 D23 — without any HTTP answer the status is 0 and the reason network
    for cap in [&url, &restored] {
        let Err(InvokeError::Failed(failure)) = now(cap, "GET", None) else { panic!() };
        assert_eq!((failure.status(), failure.reason()), (0, Some("network")));
    }
    let answers = Answers::new(|| Ok(Some(r#"{"value":7}"#.to_owned())));
    server.set_transport(answers.clone());
    let wrapped = server.wrap(&restored).unwrap();
    for cap in [&url, &restored, &wrapped] {
        assert_eq!(get(cap), Some(7.into()));
        assert_eq!(now(cap, "PUT", Some(1.into())), Ok(None));
        assert_eq!(now(cap, "POST", Some(1.into())), Ok(Some(7.into())));
        assert_eq!(now(cap, "DELETE", None), Ok(None));
        assert_eq!(status(cap, "PATCH", None), 405);
        let body = Some(r#"{"value":1}"#.to_owned());
        let expected = [
            (Method::Get, None),
            (Method::Put, body.clone()),
            (Method::Post, body),
            (Method::Delete, None),
        ];
        let expected = expected.map(|(method, body)| (URL.to_owned(), method, body));
        assert_eq!(std::mem::take(&mut *answers.asked.lock().unwrap()), expected);
    }
    // Rule: belay 6.6 — any other answer fails with its status and reason
    // Rule: belay 7.2 — the status and reason of a URL pass through
    server.set_transport(Answers::new(|| Err(Failure::new(451, "Unavailable For Legal Reasons"))));
    let expected = Failure::new(451, "Unavailable For Legal Reasons");
    assert_eq!(now(&url, "GET", None), Err(expected.into()));
    server.set_transport(Answers::new(|| Ok(Some("<html>".to_owned()))));
    assert_eq!(now(&url, "GET", None), Err(Failure::new(502, "bad response").into()));
}
