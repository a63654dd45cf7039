//! The persistifier against a virtual clock (Belay §6.12).

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buswire_belay::instance::CapServer;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, advance},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{constant, restarted, server};

/// Saves what a server has, and says so.
struct Saves {
    texts: mpsc::Receiver<(Instant, String)>,
    fails: Arc<AtomicBool>,
    shutdown: CancellationToken,
    tracker: TaskTracker,
    /// Whether the driver ended with everything saved.
    ended: Arc<Mutex<Option<Result<(), &'static str>>>>,
}

fn saves(server: &CapServer, max_interval: Duration) -> Saves {
    let (sender, texts) = mpsc::channel(64);
    let (fails, shutdown) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let tracker = TaskTracker::new();
    let ended: Arc<Mutex<_>> = Arc::default();
    let end = Arc::clone(&ended);
    let (server, failing, stop) = (server.clone(), Arc::clone(&fails), shutdown.clone());
    tracker.spawn(async move {
        let saver = |text: buswire_message::Secret<String>| {
            let (sender, fails) = (sender.clone(), failing.load(Ordering::SeqCst));
            async move {
                sender.send((Instant::now(), text.expose().clone())).await.unwrap();
                if fails { Err("no disk") } else { Ok(()) }
            }
        };
        let outcome = server.set_persistifier(saver, max_interval, stop).await;
        *end.lock().unwrap() = Some(outcome);
    });
    tracker.close();
    Saves { texts, fails, shutdown, tracker, ended }
}

impl Saves {
    async fn next(&mut self) -> (Instant, String) {
        self.texts.recv().await.unwrap()
    }

    /// Ends the driver; the text of the last save, if there was one more.
    async fn end(mut self) -> Option<String> {
        let fails = self.fails.load(Ordering::SeqCst);
        self.shutdown.cancel();
        self.tracker.wait().await;
        let expected = if fails { Err("no disk") } else { Ok(()) };
        assert_eq!(*self.ended.lock().unwrap(), Some(expected));
        self.texts.recv().await.map(|(_, text)| text)
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_the_snapshot_is_saved() {
    // Rule: belay 6.12 — grantNamed, wrap, revoke, revokeNamed and revokeAll are saved
    // Rule: belay 19 row 7 — wrap and revokeNamed are saved too
    // Rule: belay 18 D14 — the saver runs after changes of the snapshot
    let server = server(1);
    let mut saves = saves(&server, Duration::ZERO);
    let named = server.grant_named("n", vec![]).unwrap();
    assert_eq!(saves.next().await.1, *server.serialize().expose());
    let wrapped = server.wrap(&named).unwrap();
    assert_eq!(saves.next().await.1, *server.serialize().expose());
    server.revoke(&wrapped);
    assert_eq!(saves.next().await.1, *server.serialize().expose());
    server.revoke_named("n", |_| true);
    let (_, text) = saves.next().await;
    assert_eq!(text, *server.serialize().expose());
    assert!(text.ends_with(r#""map":{}}"#), "{text}");
    server.grant_named("n", vec![]).unwrap();
    saves.next().await;
    server.revoke_all();
    assert!(saves.next().await.1.ends_with(r#""map":{}}"#));
    // Rule: belay 6.12 — a plain grant does not change the snapshot, nor does revoking nothing
    let plain = server.grant(constant(1)).unwrap();
    server.revoke(&plain);
    server.revoke(&named);
    server.revoke_all();
    server.revoke_named("n", |_| true);
    assert_eq!(saves.end().await, None);
}

#[tokio::test(start_paused = true)]
async fn changes_are_saved_together_after_the_interval() {
    // Rule: belay 6.12 — the saver runs maxInterval after the first unsaved change, once for all
    let server = server(1);
    let mut saves = saves(&server, Duration::from_millis(500));
    let start = Instant::now();
    server.grant_named("first", vec![]).unwrap();
    tokio::task::yield_now().await;
    advance(Duration::from_millis(400)).await;
    server.grant_named("second", vec![]).unwrap();
    let (at, text) = saves.next().await;
    assert!((500..510).contains(&(at - start).as_millis()), "{:?}", at - start);
    assert!(text.contains("first") && text.contains("second"));
    assert_eq!(saves.end().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_save_that_fails_is_tried_again() {
    // Rule: belay 6.12 — a rejection leaves the server dirty and is retried with back-off
    let server = server(1);
    let mut saves = saves(&server, Duration::ZERO);
    saves.fails.store(true, Ordering::SeqCst);
    server.grant_named("n", vec![]).unwrap();
    let (mut last, text) = saves.next().await;
    for seconds in [1, 2, 4] {
        let (at, again) = saves.next().await;
        assert_eq!(((at - last).as_millis() + 5) / 1000, seconds, "{:?}", at - last);
        assert_eq!(again, text);
        last = at;
    }
    saves.fails.store(false, Ordering::SeqCst);
    assert_eq!(saves.next().await.1, text);
    assert_eq!(saves.end().await, None);
}

#[tokio::test(start_paused = true)]
async fn saves_do_not_overlap_and_the_end_saves_the_rest() {
    // Rule: belay 6.12 — no second save overlaps one that runs; at the end what is unsaved is saved
    let server = server(1);
    server.grant_named("before", vec![]).unwrap();
    let (began, mut starts) = mpsc::channel(8);
    let gate = Arc::new(Semaphore::new(0));
    let texts = Arc::new(Mutex::new(Vec::new()));
    let shutdown = CancellationToken::new();
    let saver = |text: buswire_message::Secret<String>| {
        texts.lock().unwrap().push(text.expose().clone());
        let (began, gate) = (began.clone(), Arc::clone(&gate));
        async move {
            began.send(()).await.unwrap();
            gate.acquire().await.unwrap().forget();
            Ok::<_, String>(())
        }
    };
    let interval = Duration::from_secs(1);
    let run = server.set_persistifier(saver, interval, shutdown.clone());
    let watch = async {
        starts.recv().await.unwrap();
        server.grant_named("during", vec![]).unwrap();
        advance(Duration::from_secs(10)).await;
        assert_eq!(texts.lock().unwrap().len(), 1);
        gate.add_permits(1);
        starts.recv().await.unwrap();
        assert_eq!(texts.lock().unwrap().len(), 2);
        server.grant_named("late", vec![]).unwrap();
        shutdown.cancel();
        gate.add_permits(2);
    };
    let (outcome, ()) = tokio::join!(run, watch);
    assert_eq!(outcome, Ok(()));
    let texts = texts.lock().unwrap();
    let counts: Vec<_> = texts.iter().map(|text| text.matches("restoreName").count()).collect();
    assert_eq!(counts, [1, 2, 3]);
    let last = texts.last().unwrap();
    assert_eq!(last, server.serialize().expose());
    assert!(restarted(&server, 2).serialize().expose().contains("late"));
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_it_is_told_what_is_not_saved() {
    // Rule: belay 6.12 — at the end a last save is tried, and its failure told
    let server = server(1);
    server.grant_named("n", vec![]).unwrap();
    let mut saves = saves(&server, Duration::ZERO);
    saves.fails.store(true, Ordering::SeqCst);
    saves.next().await;
    assert_eq!(saves.end().await, Some(server.serialize().expose().clone()));
}
