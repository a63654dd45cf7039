//! Several gateways on one store, with time in hand.
//!
//! Never here: calls over the wire; they are in `tests/admin`.

use buswire_store::{memory::MemoryStore, system::SystemEntropy};
use buswire_testkit::VirtualClock;

use super::*;

struct Bench {
    store: Arc<MemoryStore>,
    clock: Arc<VirtualClock>,
}

impl Bench {
    fn new() -> Self {
        Self { store: Arc::new(MemoryStore::new()), clock: Arc::new(VirtualClock::default()) }
    }

    /// The audit log of one gateway on the store.
    fn log(&self, records_max: u64) -> AuditLog {
        let limits = AuditLimits { records_max, ..AuditLimits::default() };
        let (store, clock) = (self.store.clone(), self.clock.clone());
        AuditLog::new(store, clock, Arc::new(SystemEntropy), limits).unwrap()
    }
}

fn record(resource: &str) -> Record {
    Record { caller: "ann".into(), resource: resource.into(), ..Record::default() }
}

fn claim(id: &str, request: &[u8]) -> Claim {
    Claim::new("ann", id, "BusService/CreateBus", request)
}

async fn numbers(log: &AuditLog, filter: &Filter, before: Option<u64>, limit: usize) -> Vec<u64> {
    let (found, _) = log.list(filter, before, limit, usize::MAX).await.unwrap();
    found.into_iter().map(|(number, _)| number).collect()
}

#[tokio::test]
async fn gateways_number_their_records_together_and_the_oldest_go_first() {
    let bench = Bench::new();
    let (here, there) = (bench.log(4), bench.log(4));
    for turn in 0..3 {
        let (one, two) = (record(&format!("bus/{turn}")), record("route/a"));
        let (one, two) = futures::join!(here.note(one), there.note(two));
        one.unwrap();
        two.unwrap();
    }
    let all = Filter::default();
    assert_eq!(numbers(&here, &all, None, 9).await, [6, 5, 4, 3]);
    let (page, next) = here.list(&all, None, 2, usize::MAX).await.unwrap();
    assert_eq!((page.len(), next), (2, Some(5)));
    assert_eq!(numbers(&there, &all, next, 9).await, [4, 3]);
    let routes = Filter { resource: Some("route/".into()), caller: None };
    assert_eq!(numbers(&here, &routes, None, 9).await.len(), 2);
    bench.clock.advance(AuditLimits::default().kept);
    assert!(numbers(&here, &all, None, 9).await.is_empty());
    here.note(record("bus/later")).await.unwrap();
    assert_eq!(numbers(&here, &all, None, 9).await, [7], "numbers go on");
}

#[tokio::test]
async fn a_page_has_only_so_many_bytes() {
    let bench = Bench::new();
    let log = bench.log(100);
    for _ in 0..3 {
        log.note(Record { request: "x".repeat(1000), ..record("bus/a") }).await.unwrap();
    }
    let all = Filter::default();
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let (found, next) = log.list(&all, before, 9, 2100).await.unwrap();
        pages.push(found.into_iter().map(|(number, _)| number).collect::<Vec<_>>());
        before = next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![3, 2], vec![1]]);
    let (found, next) = log.list(&all, None, 9, 1).await.unwrap();
    assert_eq!((found.len(), next), (1, Some(3)), "one, however long");
}

#[tokio::test]
async fn a_call_that_nobody_ended_is_recorded_and_its_id_says_so() {
    let bench = Bench::new();
    let log = bench.log(100);
    let begun = log.begin(&record("bus/a"), Some(claim("1", b"x"))).await.unwrap();
    drop(begun.unwrap());
    let again = log.begin(&record("bus/a"), Some(claim("1", b"x"))).await.unwrap();
    assert_eq!(again.unwrap_err(), Claimed::UnderWay);
    bench.clock.advance(ABANDONED_AFTER + Duration::from_millis(1));
    let all = Filter::default();
    let elsewhere = bench.log(100);
    let list = async |log: &AuditLog| log.list(&all, None, 9, usize::MAX).await;
    let (here, there) = futures::join!(list(&log), list(&elsewhere));
    here.unwrap();
    there.unwrap();
    let (found, _) = list(&log).await.unwrap();
    let codes: Vec<_> = found.iter().map(|(number, record)| (*number, record.code)).collect();
    assert_eq!(codes, [(1, 2)], "UNKNOWN");
    let again = log.begin(&record("bus/a"), Some(claim("1", b"x"))).await.unwrap();
    assert_eq!(again.unwrap_err(), Claimed::Unknown);
    bench.clock.advance(Duration::from_secs(86_400));
    log.begin(&record("bus/a"), Some(claim("1", b"x"))).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_id_keeps_its_answer_for_a_day() {
    let bench = Bench::new();
    let (log, elsewhere) = (bench.log(100), bench.log(100));
    let ask = async |log: &AuditLog, claim| log.begin(&record("bus/a"), Some(claim)).await.unwrap();
    let begun = ask(&log, claim("1", b"x")).await.unwrap();
    log.end(begun, record("bus/a"), Kept::Answer(b"answer")).await.unwrap();
    let again = ask(&elsewhere, claim("1", b"x")).await.unwrap_err();
    assert_eq!(again, Claimed::Answered(b"answer".to_vec()));
    assert_eq!(ask(&log, claim("1", b"y")).await.unwrap_err(), Claimed::ByAnother);
    let begun = ask(&log, claim("2", b"x")).await.unwrap();
    log.end(begun, record("bus/a"), Kept::Secret).await.unwrap();
    assert_eq!(ask(&log, claim("2", b"x")).await.unwrap_err(), Claimed::Secret);
    let begun = ask(&log, claim("3", b"x")).await.unwrap();
    log.end(begun, record("bus/a"), Kept::Nothing).await.unwrap();
    ask(&log, claim("3", b"y")).await.expect("what failed keeps no id");
    bench.clock.advance(Duration::from_secs(86_400));
    ask(&log, claim("1", b"y")).await.unwrap();
}

#[tokio::test]
async fn a_watcher_misses_nothing_and_begins_where_it_wants() {
    let bench = Bench::new();
    let (log, elsewhere) = (bench.log(100), bench.log(100));
    for name in ["bus/a", "route/a"] {
        log.note(record(name)).await.unwrap();
    }
    let all = log.watch(Filter::default(), Some(1)).await.unwrap();
    let buses = Filter { resource: Some("bus/".into()), caller: None };
    let new = log.watch(buses, None).await.unwrap();
    for name in ["route/b", "bus/b"] {
        elsewhere.note(record(name)).await.unwrap();
    }
    let seen: Vec<_> = all.take(3).map(|item| item.unwrap().0).collect().await;
    assert_eq!(seen, [2, 3, 4]);
    let seen: Vec<_> = new.take(1).map(|item| item.unwrap().1.resource).collect().await;
    assert_eq!(seen, ["bus/b"]);
}

#[tokio::test]
async fn refusals_do_not_push_out_what_was_done() {
    let bench = Bench::new();
    let log = bench.log(1000);
    for _ in 0..2 * REFUSALS_PER_MINUTE {
        log.refused(record("bus/a")).await.unwrap();
    }
    assert_eq!(numbers(&log, &Filter::default(), None, 1000).await.len(), 60);
    bench.clock.advance(Duration::from_secs(60));
    log.refused(record("bus/a")).await.unwrap();
    assert_eq!(numbers(&log, &Filter::default(), None, 1000).await.len(), 61);

    let log = bench.log(3);
    let changes = Filter { resource: Some("bus/b".into()), caller: None };
    log.note(record("bus/b")).await.unwrap();
    for _ in 0..=REFUSALS_MAX / REFUSALS_PER_MINUTE {
        bench.clock.advance(Duration::from_secs(60));
        for _ in 0..REFUSALS_PER_MINUTE {
            log.refused(record("bus/a")).await.unwrap();
        }
    }
    assert_eq!(numbers(&log, &changes, None, 9).await, [62]);
    let refusals = Filter { resource: Some("bus/a".into()), caller: None };
    assert_eq!(numbers(&log, &refusals, None, 2000).await.len(), 1000);
    for _ in 0..3 {
        log.note(record("bus/b")).await.unwrap();
    }
    let left = numbers(&log, &changes, None, 9).await;
    assert_eq!((left.len(), left.contains(&62)), (3, false));
}
