//! What the journal of a program is told of provisioning, and what does not happen without it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use buswire_backplane::{Config, Denied, Journal, Provisioned, Provisioning, Recording};
use buswire_message::Retention;
use buswire_store::{BoxFuture, StoreError};
use support::{Door, config};

const AUTH: &str = r#""admin":"bpadmin","secret":"copper-lantern""#;
const AWAY: &str = "the store is away";

#[derive(Clone, Debug)]
enum Told {
    Begun(Provisioning),
    Ended(Provisioned),
    Refused(Provisioning, Denied),
}

/// Remembers what it is told, unless it is away.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Vec<Told>>>, Arc<AtomicBool>);

impl Memory {
    fn tell(&self, told: Told) -> Result<(), StoreError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(AWAY.to_owned()));
        }
        self.0.lock().unwrap().push(told);
        Ok(())
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Journal for Memory {
    fn begin(&self, change: Provisioning) -> BoxFuture<'_, Result<Box<dyn Recording>, StoreError>> {
        let told = self.tell(Told::Begun(change));
        let recording = told.map(|()| Box::new(self.clone()) as Box<dyn Recording>);
        Box::pin(std::future::ready(recording))
    }

    fn refused(&self, tried: Provisioning, denied: Denied) -> BoxFuture<'_, ()> {
        self.tell(Told::Refused(tried, denied)).unwrap();
        Box::pin(std::future::ready(()))
    }
}

impl Recording for Memory {
    fn end(self: Box<Self>, ended: Provisioned) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(std::future::ready(self.tell(Told::Ended(ended))))
    }
}

async fn door() -> (Door, Memory) {
    let memory = Memory::default();
    let config = Config { journal: Some(Arc::new(memory.clone())), ..config() };
    (Door::start_with(config, Retention::default()).await, memory)
}

/// Sends a call as an administrator, and gives its answer.
async fn call(door: &Door, path: &str, members: &str) -> String {
    let body = format!("{{{AUTH},{members}}}");
    door.post(path, "none", "application/json", &body).await.body
}

/// The one change that was told, with how it ended.
fn one(memory: &Memory) -> (Provisioning, Provisioned) {
    match <[Told; 2]>::try_from(memory.take()).unwrap() {
        [Told::Begun(change), Told::Ended(ended)] => (change, ended),
        other => panic!("{other:?}"),
    }
}

fn made(before: Option<&str>, after: Option<&str>) -> Provisioned {
    let text = |json: Option<&str>| json.map(str::to_owned);
    Provisioned::Made { before: text(before), after: text(after) }
}

#[tokio::test]
async fn each_entry_is_told_with_who_what_before_and_after_and_without_its_password() {
    let (door, memory) = door().await;
    let config = r#""configs":[{"USER":"vendor","PWDHASH":"hunter2","SOURCE_URL":"https://v.example/","REDIRECT_URI":"https://v.example/cb","NOTE":"hunter2"}]"#;
    call(&door, "/v2/provision/client/update", config).await;
    let (change, ended) = one(&memory);
    assert_eq!((&*change.administrator, &*change.resource), ("bpadmin", "client/vendor"));
    assert_eq!(change.call, "POST /v2/provision/client/update");
    assert_eq!(change.address.unwrap().to_string(), "203.0.113.7:40000");
    assert_eq!(
        change.request,
        r#"{"USER":"vendor","PWDHASH":"(hidden)","SOURCE_URL":"https://v.example/","REDIRECT_URI":"https://v.example/cb"}"#
    );
    let vendor = r#"{"USER":"vendor","PWDHASH":"***","SOURCE_URL":"https://v.example/","REDIRECT_URI":"https://v.example/cb"}"#;
    assert_eq!(ended, made(None, Some(vendor)));

    call(&door, "/v2/provision/grant/add", r#""grants":{"vendor":"gazette.example"}"#).await;
    let (change, ended) = one(&memory);
    assert_eq!((&*change.resource, &*change.request), ("grant/vendor", r#""gazette.example""#));
    let Provisioned::Made { before, after } = ended else { panic!("{ended:?}") };
    assert_eq!(before.unwrap(), "{}");
    assert!(after.unwrap().contains("bus:gazette.example"));

    let bus =
        r#""configs":[{"BUS_NAME":"gazette.example","RETENTION_TIME_SECONDS":90,"ann":"POST"}]"#;
    call(&door, "/v1.2/provision/bus/update", bus).await;
    let (change, ended) = one(&memory);
    assert_eq!(change.call, "POST /v1/provision/bus/update");
    assert_eq!(change.resource, "bus/v1/gazette.example");
    let Provisioned::Made { before, after } = ended else { panic!("{ended:?}") };
    assert!(before.unwrap().contains(r#""commentsco":"GETALL,POST""#));
    let after = after.unwrap();
    assert!(
        after.contains(r#""RETENTION_TIME_SECONDS":"90""#) && after.contains(r#""ann":"POST""#)
    );

    call(&door, "/v2/provision/client/delete", r#""entities":["vendor"]"#).await;
    assert_eq!(one(&memory).1, made(Some(vendor), None));
    // Looking changes nothing.
    call(&door, "/v2/provision/client/list", r#""entities":[]"#).await;
    assert!(memory.take().is_empty());
}

#[tokio::test]
async fn what_is_refused_is_told_with_why() {
    let (door, memory) = door().await;
    let unowned = r#""configs":[{"BUS_NAME":"x.example","OWNER":"nobody","RETENTION_TIME_SECONDS":600,"RETENTION_STICKY_TIME_SECONDS":28800}]"#;
    call(&door, "/v2/provision/bus/update", unowned).await;
    let (change, ended) = one(&memory);
    assert_eq!(change.resource, "bus/v2/x.example");
    assert_eq!(ended, Provisioned::Refused("Invalid bus owner: nobody".to_owned()));
    call(&door, "/v2/provision/user/delete", r#""entities":["nobody"]"#).await;
    assert!(matches!(one(&memory).1, Provisioned::NotFound(_)));

    let refused = async |path: &str, members: &str| {
        call(&door, path, members).await;
        match <[Told; 1]>::try_from(memory.take()).unwrap() {
            [Told::Refused(tried, Denied::Request(why))] => (tried.resource, why),
            other => panic!("{other:?}"),
        }
    };
    let flying = r#""configs":[{"BUS_NAME":"b","RETENTION_TIME_SECONDS":60,"ann":"FLY"}]"#;
    let why = refused("/v1/provision/bus/update", flying).await;
    assert_eq!(why, ("bus/v1/b".to_owned(), "Invalid value of ann".to_owned()));
    let (resource, why) = refused("/v2/provision/client/update", r#""configs":7"#).await;
    assert!(resource == "client" && why.contains("configs"), "{resource} {why}");
    let why = refused("/v2/provision/grant/add", r#""grants":{"a:b":"x.example"}"#).await;
    assert_eq!(why, ("grant/a:b".to_owned(), "invalid client_id".to_owned()));
}

#[tokio::test]
async fn a_wrong_secret_is_told_only_under_the_name_of_an_administrator() {
    // Rule: backplane §13.7 — a wrong secret of an administrator is refused, and written down
    let (door, memory) = door().await;
    for (name, is_told) in [("bpadmin", true), ("somebody", false)] {
        let body = format!(r#"{{"admin":"{name}","secret":"hunter2","entities":["vendor"]}}"#);
        let path = "/v2/provision/client/delete";
        assert_eq!(door.post(path, "none", "application/json", &body).await.status, 401);
        let told = memory.take();
        assert_eq!(told.len(), usize::from(is_told), "{told:?}");
        for each in told {
            assert!(!format!("{each:?}").contains("hunter2"), "{each:?}");
            assert!(matches!(each, Told::Refused(_, Denied::Secret)), "{each:?}");
        }
    }
}

#[tokio::test]
async fn what_can_not_be_written_down_is_not_done() {
    let (door, memory) = door().await;
    memory.1.store(true, Ordering::SeqCst);
    let config = r#""configs":[{"USER":"ann","PWDHASH":"p"}]"#;
    let told = call(&door, "/v1/provision/user/update", config).await;
    assert!(!told.contains("SUCCESS"), "{told}");
    memory.1.store(false, Ordering::SeqCst);
    let names = door.backplane.users().await.unwrap();
    assert!(names.iter().all(|user| user.name.as_str() != "ann"), "{names:?}");
    call(&door, "/v1/provision/user/update", config).await;
    assert_eq!(door.backplane.users().await.unwrap().len(), names.len() + 1);
}
