//! What goes into the log (Belay §6.10, §18 D9, §23.10).

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use buswire_belay::{
    BcapValue,
    instance::{Function, Handler},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::{constant, now, server, status};

/// Keeps every record whole.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Record(String);

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("buswire_belay")
    }

    fn event(&self, event: &Event<'_>) {
        let mut record = Record(String::new());
        event.record(&mut record);
        self.0.lock().unwrap().push(record.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn mistakes_are_logged_and_secrets_are_not() {
    // Rule: belay 6.10 — a named handler that fails is reported to the log
    // Rule: belay 18 D9 — a PUT that gives a result is hinted at in the log
    // Rule: belay 23 — neither ids nor data of an instance reach the log
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    // With one subscriber alone, a thread that has none decides for all threads that nobody wants what
    // it comes to first.
    let _second = tracing::Dispatch::new(Log::default());
    let server = server(1);
    let chatty = server.grant(constant("s3cret")).unwrap();
    assert_eq!(status(&chatty, "PUT", Some("s3cret".into())), 500);
    let broken = server.grant(Function::sync(|_| panic!("s3cret"))).unwrap();
    assert_eq!(status(&broken, "POST", Some((&chatty).into())), 500);
    let named = server.grant_named("n", vec![(&chatty).into(), BcapValue::from("s3cret")]).unwrap();
    server.set_named_handler("n", |_, _| Err("no such shelf"));
    assert_eq!(status(&named, "GET", None), 404);
    server.set_named_handler("n", |_, _| Ok::<_, String>(Handler::new().into()));
    assert_eq!(status(&server.wrap(&named).unwrap(), "GET", None), 404);
    server.revoke_all();
    assert!(now(&named, "GET", None).is_err());
    drop(guard);
    let log = log.0.lock().unwrap();
    let told = ["gave a result", "panicked", "no such shelf", "Object with no handlers"];
    assert_eq!(log.len(), told.len(), "{log:?}");
    for (record, told) in log.iter().zip(told) {
        assert!(record.contains(told), "{record}");
        assert!(!record.contains("s3cret"), "{record}");
        for cap in [&chatty, &broken, &named] {
            let id = cap.serialize().expose().rsplit(':').next().unwrap();
            assert!(!record.contains(id), "{record}");
        }
    }
}
