//! Two gateways on one store, without sockets: what is in the store when they do things at once, fail or end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use buswire_message::{Secret, Timestamp};
use buswire_store::{
    Ack, Batch, BoxFuture, Epoch, Outcome, Store, StoreStatus, memory::MemoryStore,
};
use buswire_testkit::{Fault, FaultyStore, Gate, SeededEntropy, VirtualClock};
use futures::poll;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    SealKeys,
    relay::{Mailbox, Post, Relay, RelayConfig, wire::FromPeer, wire::ToPeer},
};

const HASHED: &str = "66c6bd1f4cda24069debe0efa2193f64baeae867";
const PREIMAGE: &str = "eba68eea-75f2-4b05-b87a-08365cc58043";
const TEMPORARY: &str = "926c0c63-b02a-40a9-a19f-edb19190c143";

struct Gateway {
    relay: Relay,
    store: Arc<FaultyStore>,
}

/// Two gateways that live.
async fn pair(clock: &VirtualClock) -> [Gateway; 2] {
    pair_on(Arc::new(MemoryStore::new()), clock).await
}

async fn pair_on(store: Arc<dyn Store>, clock: &VirtualClock) -> [Gateway; 2] {
    let one = |seed| {
        let store = Arc::new(FaultyStore::new(Arc::clone(&store), seed).shared());
        let (time, chance) = (Arc::new(clock.clone()), Arc::new(SeededEntropy::new(seed)));
        let shared = Arc::clone(&store) as Arc<dyn Store>;
        let keys = SealKeys::new(1, [9; 32]);
        Gateway { relay: Relay::joined(shared, time, chance, RelayConfig::default(), keys), store }
    };
    let both = [one(1), one(2)];
    for gateway in &both {
        gateway.joint().beat().await.unwrap();
    }
    both
}

impl Gateway {
    fn joint(&self) -> &Joint {
        self.relay.0.joint.as_ref().unwrap()
    }

    fn holds(&self, id: &str) -> bool {
        self.relay.0.shared().core.owner(id).is_some()
    }

    /// Where the store says that an id is.
    async fn place_of(&self, id: &str) -> Option<GatewayId> {
        self.joint().whereabouts(id).await.unwrap().map(|stay| stay.at)
    }

    /// Takes away what the store says of an id that is here, as a failover may.
    async fn lose_row(&self, id: &str) {
        self.joint().left(id, || false).await.unwrap();
        assert_eq!(self.place_of(id).await, None);
    }

    /// What a new connection does that registers an id: returns the resume token, if it gets one.
    async fn register(&self, number: u64, id: &str, proof: Option<&str>) -> Option<String> {
        let (inner, by) = (&*self.relay.0, ConnectionId(number));
        inner.shared().mailboxes.insert(by, Mailbox::default());
        inner.apply(Input::Opened(by));
        let proof = proof.map(|proof| Secret::new(proof.to_owned()));
        let message = FromPeer::Register { id: id.to_owned(), proof };
        inner.apply(Input::Received { from: by, message, bytes: 100 });
        loop {
            match inner.next_post(by).await {
                Post::Claim { id, token, shown } => {
                    let outcome = inner.claim(&id, &token, shown, None).await;
                    inner.apply(Input::Claimed { by, id, outcome });
                }
                Post::Send(ToPeer::Registered { id, resume }) => {
                    let token = SecretHash::of(resume.expose());
                    let is_here = inner.arrived(by, &id, &token).await;
                    return is_here.then(|| resume.expose().clone());
                }
                Post::Send(ToPeer::Refused { .. }) => return None,
                Post::Send(_) | Post::Close(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn of_two_gateways_that_claim_an_id_at_once_one_gets_it() {
    // Rule: belay 22.4 — a second registration of a live id is 409, whatever the gateway
    let [here, there] = pair(&VirtualClock::default()).await;
    let gate: Gate = here.store.gate();
    gate.close();
    here.store.script(Fault::DelayBefore);
    let (mine, theirs) = (SecretHash::of("mine"), SecretHash::of("theirs"));
    let mut late = Box::pin(here.relay.0.admits(HASHED, &mine, Shown::Preimage));
    assert!(poll!(&mut late).is_pending(), "it has found the id free and has not said so yet");
    let first = there.relay.0.admits(HASHED, &theirs, Shown::Preimage).await;
    gate.open();
    assert_eq!((first, late.await), (Claimed::Free, Claimed::Taken));
    assert_eq!(here.place_of(HASHED).await, Some(there.joint().own));
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_keeps_nobody_out() {
    let [here, there] = pair(&VirtualClock::default()).await;
    here.store.script(Fault::After);
    assert_eq!(here.register(1, HASHED, Some(PREIMAGE)).await, None);
    assert_eq!(here.place_of(HASHED).await, Some(here.joint().own));
    // The chore that follows a refusal for that.
    let minding = timeout(BEAT, here.relay.0.mind_claims());
    let watching = async {
        while there.place_of(HASHED).await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = minding => panic!("the row stays"),
        () = watching => {}
    }
    assert!(there.register(2, HASHED, Some(PREIMAGE)).await.is_some());
}

#[tokio::test]
async fn a_token_holder_that_comes_late_does_not_take_a_window_from_another_gateway() {
    // Rule: belay 22.4 — within the grace a hashed id may be claimed anew with the pre-image
    let [here, there] = pair(&VirtualClock::default()).await;
    let token = here.register(1, HASHED, Some(PREIMAGE)).await.unwrap();
    here.relay.0.apply(Input::Closed(ConnectionId(1)));
    here.lose_row(HASHED).await;
    assert!(there.register(2, HASHED, Some(PREIMAGE)).await.is_some());
    assert_eq!(here.register(3, HASHED, Some(&token)).await, None);
    assert!(!here.holds(HASHED) && there.holds(HASHED));
    assert_eq!(here.place_of(HASHED).await, Some(there.joint().own));
}

#[tokio::test(start_paused = true)]
async fn a_window_whose_row_was_not_stored_is_found_after_the_next_beat() {
    let [here, there] = pair(&VirtualClock::default()).await;
    here.store.script(Fault::None);
    here.store.script(Fault::Before);
    assert!(here.register(1, TEMPORARY, None).await.is_some());
    assert_eq!(there.place_of(TEMPORARY).await, None);
    let _still_minding = timeout(BEAT * 2, here.relay.0.mind_stays()).await;
    assert_eq!(there.place_of(TEMPORARY).await, Some(here.joint().own));
}

#[tokio::test]
async fn what_is_doubted_is_written_only_where_it_is_lost_or_false() {
    let [here, there] = pair(&VirtualClock::default()).await;
    assert!(here.register(1, HASHED, Some(PREIMAGE)).await.is_some());
    here.relay.0.stay(here.joint(), Saying::Doubted).await;
    here.lose_row(HASHED).await;
    here.relay.0.stay(here.joint(), Saying::Doubted).await;
    assert_eq!(there.place_of(HASHED).await, Some(here.joint().own));
    // Somebody else got it while the row was lost: one of them has it in the end.
    here.lose_row(HASHED).await;
    assert!(there.register(2, HASHED, Some(PREIMAGE)).await.is_some());
    here.relay.0.stay(here.joint(), Saying::Doubted).await;
    assert!(!here.holds(HASHED) && there.holds(HASHED));
    // Whoever is gone is not said to be there.
    there.relay.0.apply(Input::Closed(ConnectionId(2)));
    there.lose_row(HASHED).await;
    there.relay.0.stay(there.joint(), Saying::Stays).await;
    assert_eq!(there.place_of(HASHED).await, None);
}

#[tokio::test]
async fn a_gateway_that_has_left_is_not_brought_back_by_a_late_beat() {
    let [here, there] = pair(&VirtualClock::default()).await;
    let own = here.joint().own;
    assert!(there.joint().lives(own).await.unwrap());
    // One beat is under way when it leaves.
    let gate: Gate = here.store.gate();
    gate.close();
    here.store.script(Fault::DelayBefore);
    let mut beat = Box::pin(here.relay.0.beat(here.joint()));
    assert!(poll!(&mut beat).is_pending());
    let mut drain = Box::pin(here.relay.drain());
    assert!(poll!(&mut drain).is_pending());
    gate.open();
    tokio::join!(async { beat.await.unwrap() }, drain);
    assert!(!there.joint().lives(own).await.unwrap());
    here.relay.0.beat(here.joint()).await.unwrap();
    assert!(!there.joint().lives(own).await.unwrap());
}

/// A store in which nothing can be said of where windows are while it hangs, and whose epoch can end.
#[derive(Debug, Default)]
struct Odd {
    inner: MemoryStore,
    hangs: AtomicBool,
    is_new: AtomicBool,
}

impl Store for Odd {
    fn commit(
        &self,
        batch: Batch,
        ack: Ack,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        if self.hangs.load(Ordering::Relaxed) && batch.partition.as_str().starts_with("relay-at/") {
            return Box::pin(std::future::pending());
        }
        self.inner.commit(batch, ack, now)
    }

    fn status(&self) -> StoreStatus {
        let epoch = Epoch(if self.is_new.load(Ordering::Relaxed) { 2 } else { 1 });
        StoreStatus { epoch, ..self.inner.status() }
    }

    buswire_store::forward!(inner: get scan read_log grown hints sweep close);
}

#[tokio::test(start_paused = true)]
async fn a_window_whose_row_a_failover_lost_is_found_again() {
    let store = Arc::new(Odd::default());
    let [here, there] = pair_on(Arc::clone(&store) as _, &VirtualClock::default()).await;
    assert!(here.register(1, HASHED, Some(PREIMAGE)).await.is_some());
    let mut minding = Box::pin(here.relay.0.mind_stays());
    assert!(timeout(BEAT * 2, &mut minding).await.is_err());
    here.lose_row(HASHED).await;
    store.is_new.store(true, Ordering::Relaxed);
    assert!(timeout(BEAT * 2, &mut minding).await.is_err());
    assert_eq!(there.place_of(HASHED).await, Some(here.joint().own));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_goes_on_living_while_it_says_where_its_windows_are() {
    let (store, clock) = (Arc::new(Odd::default()), VirtualClock::default());
    let [here, there] = pair_on(Arc::clone(&store) as _, &clock).await;
    assert!(here.register(1, HASHED, Some(PREIMAGE)).await.is_some());
    here.lose_row(HASHED).await;
    store.hangs.store(true, Ordering::Relaxed);
    here.relay.0.unsaid.store(true, Ordering::Relaxed);
    let mut running = Box::pin(here.relay.run(CancellationToken::new()));
    assert!(timeout(BEAT * 2, &mut running).await.is_err());
    assert!(!here.relay.0.unsaid.load(Ordering::Relaxed), "it has begun to say so");
    clock.advance(BEAT * 2);
    assert!(timeout(BEAT * 2, &mut running).await.is_err());
    clock.advance(BEAT * 2);
    assert!(there.joint().lives(here.joint().own).await.unwrap());
}
