//! Named grants (Belay §6.10).

use std::{
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use buswire_belay::{
    BcapValue, EncodeError, Members,
    instance::{CapServer, Function, GrantError, Handler, Item},
};

use super::{constant, echo, get, now, restarted, server, status};

/// Sets a handler whose items answer the arguments.
fn set_echo(server: &CapServer, name: &str) {
    server.set_named_handler(name, |_, args| Ok::<_, String>(constant(args.to_vec()).into()));
}

#[test]
fn it_works_as_soon_as_there_is_a_handler() {
    // Rule: belay 6.10 — without handler 404; the same capability works once there is one
    let server = server(1);
    let cap = server.grant_named("n", vec![1.into()]).unwrap();
    assert_eq!(status(&cap, "GET", None), 404);
    set_echo(&server, "other");
    assert_eq!(status(&cap, "GET", None), 404);
    set_echo(&server, "n");
    assert_eq!(get(&cap), Some(vec![1.into()].into()));
    let later = server.grant_named("n", vec![]).unwrap();
    assert_eq!(get(&later), Some(Vec::new().into()));
}

#[test]
fn it_survives_a_restart() {
    // Rule: belay 6.10 — grant, restart and setNamedHandler work in any order
    let first = server(1);
    let cap = first.grant_named("n", vec!["a".into(), BcapValue::Null]).unwrap();
    let second = restarted(&first, 2);
    let restored = second.restore(cap.serialize().clone());
    assert_eq!(status(&restored, "GET", None), 404);
    set_echo(&second, "n");
    assert_eq!(get(&restored), Some(vec!["a".into(), BcapValue::Null].into()));
    let third = restarted(&second, 3);
    set_echo(&third, "n");
    assert_eq!(get(&third.restore(cap.serialize().clone())).unwrap().as_array().unwrap().len(), 2);
}

#[test]
fn the_item_is_made_once_and_when_it_is_needed() {
    // Rule: belay 6.10 — the handler is not called at grant time, and its item is kept
    let server = server(1);
    let made = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&made);
    server.set_named_handler("n", move |_, _| {
        let number = counts.fetch_add(1, Ordering::SeqCst) + 1;
        Ok::<_, String>(constant(u64::try_from(number).unwrap()).into())
    });
    let cap = server.grant_named("n", vec![]).unwrap();
    assert_eq!(made.load(Ordering::SeqCst), 0);
    assert_eq!((get(&cap), get(&cap)), (Some(1.into()), Some(1.into())));
    // Rule: belay 6.10 — replacing the handler does not affect what is made already
    set_echo(&server, "n");
    assert_eq!(get(&cap), Some(1.into()));
    assert_eq!(get(&server.grant_named("n", vec![]).unwrap()), Some(Vec::new().into()));
}

#[test]
fn any_number_of_arguments_reaches_the_handler() {
    // Rule: belay 6.10 — the handler gets exactly the arguments of the grant
    let server = server(1);
    set_echo(&server, "n");
    for count in 0..4 {
        let args: Vec<BcapValue> = (0..count).map(BcapValue::from).collect();
        let cap = server.grant_named("n", args.clone()).unwrap();
        assert_eq!(get(&cap), Some(args.into()));
    }
    // Rule: belay 6.10 — arguments are bcapJson, and a capability among them is one again
    // Rule: belay 19 row 6 — arguments may hold capabilities
    let inner = server.grant(constant("inner")).unwrap();
    let cap = server.grant_named("n", vec![Members::new().with("cap", &inner).into()]).unwrap();
    let args = get(&cap).unwrap();
    let found = args.as_array().unwrap()[0].as_object().unwrap().get("cap").unwrap();
    assert_eq!(get(&server.restore(found.as_cap().unwrap().clone())), Some("inner".into()));
    let forged = Members::new().with("@", "x").into();
    let refused = GrantError::Arguments(EncodeError::ForgedReference);
    assert_eq!(server.grant_named("n", vec![forged]).unwrap_err(), refused);
}

#[test]
fn names_are_data() {
    // Rule: belay 6.10 — any text is a name
    let server = server(1);
    for name in ["", "constructor", "__proto__", "a\"b\\", "é"] {
        let cap = server.grant_named(name, vec![]).unwrap();
        assert_eq!(status(&cap, "GET", None), 404);
        let again = restarted(&server, 2);
        set_echo(&again, name);
        assert_eq!(get(&again.restore(cap.serialize().clone())), Some(Vec::new().into()));
    }
}

#[test]
fn a_handler_that_fails_is_called_again() {
    // Rule: belay 6.10 — a handler that throws or gives an unusable item is a 404 and tried again
    let server = server(1);
    let tries = Mutex::new(0);
    server.set_named_handler("n", move |_, _| {
        let mut tries = tries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *tries += 1;
        match *tries {
            1 => Err("not yet"),
            2 => Ok(Handler::new().into()),
            3 => panic!("not yet"),
            _ => Ok(echo().into()),
        }
    });
    let cap = server.grant_named("n", vec![]).unwrap();
    for _ in 0..3 {
        assert_eq!(status(&cap, "GET", None), 404);
    }
    assert_eq!(now(&cap, "POST", Some(5.into())), Ok(Some(5.into())));
    server.set_named_handler("dead", |_, _| Ok::<_, String>(Item::Dead));
    assert_eq!(status(&server.grant_named("dead", vec![]).unwrap(), "GET", None), 404);
}

#[test]
fn a_handler_may_use_its_server() {
    // Rule: belay 6.10 — the item may be a capability, of the same server too
    let server = server(1);
    server.set_named_handler("n", |server, args| match args {
        [BcapValue::Cap(cap)] => Ok(server.restore(cap.clone()).into()),
        _ => Ok::<_, GrantError>(server.grant_named("n", vec![])?.into()),
    });
    let plain = server.grant(constant(1)).unwrap();
    let cap = server.grant_named("n", vec![(&plain).into()]).unwrap();
    assert_eq!(get(&cap), Some(1.into()));
    server.revoke(&plain);
    assert_eq!(status(&cap, "GET", None), 404);
    // One that always leads to another one is dead in the end.
    let endless = server.grant_named("n", vec![]).unwrap();
    assert_eq!(status(&endless, "GET", None), 404);
}

#[test]
fn grants_are_revoked_by_name_and_arguments() {
    // Rule: belay 6.10 — revokeNamed revokes what the validator picks, and no other name
    let server = server(1);
    for name in ["a", "b"] {
        set_echo(&server, name);
    }
    let grant = |name: &str, arg: u64| server.grant_named(name, vec![arg.into()]).unwrap();
    let caps = [grant("a", 1), grant("a", 2), grant("a", 1), grant("b", 1)];
    let mut asked = 0;
    server.revoke_named("a", |args| {
        asked += 1;
        args == [1.into()]
    });
    assert_eq!(asked, 3);
    let alive = caps.each_ref().map(|cap| now(cap, "GET", None).is_ok());
    assert_eq!(alive, [false, true, false, true]);
    server.revoke_named("none", |_| true);
    // Rule: belay 6.10 — a validator that throws ends the sweep; what is revoked stays revoked
    let caps = [grant("a", 3), grant("a", 4)];
    let mut asked = 0;
    let swept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        server.revoke_named("a", |_| {
            asked += 1;
            assert!(asked < 2, "not this one");
            true
        });
    }));
    assert!(swept.is_err());
    let first = [&caps[0], &caps[1]].map(|cap| now(cap, "GET", None).is_ok());
    assert!(first.iter().any(|alive| *alive));
    server.revoke_named("a", |_| true);
    assert!(caps.iter().all(|cap| now(cap, "GET", None).is_err()));
}

#[test]
fn a_named_function_keeps_what_it_was_granted_for() {
    // Rule: belay 6.10 — holders can't change the arguments
    let server = server(1);
    server.set_named_handler("reader", |_, args| {
        let name = args.first().cloned();
        Ok::<_, String>(Function::sync(move |_| Ok(name.clone())).into())
    });
    let cap = server.grant_named("reader", vec!["orders".into()]).unwrap();
    assert_eq!(now(&cap, "POST", Some("invoices".into())), Ok(Some("orders".into())));
}

#[test]
fn two_first_invocations_get_one_item() {
    // Rule: belay 6.10 — the item that was made first is the one that is kept
    let server = server(1);
    let (both, made) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    let (meet, counts) = (Arc::clone(&both), Arc::clone(&made));
    server.set_named_handler("n", move |_, _| {
        let number = counts.fetch_add(1, Ordering::SeqCst);
        meet.wait();
        Ok::<_, String>(constant(u64::try_from(number).unwrap()).into())
    });
    let cap = server.grant_named("n", vec![]).unwrap();
    let answers = thread::scope(|scope| {
        [scope.spawn(|| get(&cap)), scope.spawn(|| get(&cap))].map(|got| got.join().unwrap())
    });
    assert_eq!(made.load(Ordering::SeqCst), 2);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(get(&cap), answers[0]);
}
