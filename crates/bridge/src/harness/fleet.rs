//! Several gateways that fight for one route: leases and delivery together, under every fault.
//!
//! A world is a store with member rows, an owner row and what is stored of the route; a bus; gateways
//! whose steady clocks drift and whose wall clocks step, which stall, crash, come back and leave; and
//! calls of the sink, which end whenever they like, also long after their gateway is gone. Never here:
//! anything that production code calls.

#![expect(clippy::indexing_slicing, reason = "a simulation fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use buswire_message::{Cursor, RouteName, Sequence, Timestamp};
use buswire_store::Revision;

use crate::{
    delivery::{Arrival, Attempted, Cause, Class, Core, Fate, Limits, Record},
    lease::{GatewayId, Hold, LeaseTiming, MemberRow, Members, Steady, Tenure},
    route::RetryPolicy,
};

/// Something that happens to one of the gateways or around them.
#[derive(Clone, Debug)]
pub enum FleetOp {
    /// A message is published on this channel; or one that came by this route already.
    Publish(u8, bool),
    /// Time passes, in milliseconds.
    Advance(u16),
    /// This gateway does all that it does at a beat, and the store answers at once.
    Round(u8),
    /// This gateway does one thing, unless it is stalled or not there.
    Gateway(u8, Step),
    /// The call of the sink with this index ends, whoever made it.
    Answer(u8, Reaction),
    /// What this gateway sent to the store arrives.
    Arrive(u8, Sent),
    /// The process stalls, or goes on.
    Stall(u8, bool),
    /// The process dies, or a new one takes its place.
    Crash(u8),
    /// The wall clock of this gateway is set to so many seconds off.
    Step(u8, i16),
}

/// What a gateway does of itself.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Begins a beat.
    Beat,
    /// Learns that its beat is stored.
    Beaten,
    /// Begins to read the member rows.
    Scan,
    /// Has read the member rows; as they were when it began, or as they are.
    Scanned(bool),
    /// Looks after the route.
    Look,
    /// Reads so many messages from the bus.
    Read(u8),
    /// Begins to store what is settled.
    Store,
    /// Learns what became of its record.
    Stored,
    /// Stops in good order.
    Leave,
}

/// What is on the way to the store.
#[derive(Clone, Copy, Debug)]
pub enum Sent {
    /// A beat.
    Beat,
    /// Taking the route.
    Claim,
    /// A record; whether its answer comes back.
    Record(bool),
}

/// How a call of the sink ends.
#[derive(Clone, Copy, Debug)]
pub enum Reaction {
    /// The sink took the message.
    Take,
    /// Not now.
    Fail,
    /// Never.
    Refuse,
}

/// Carries out `ops` with so many gateways and checks after each: at most one gateway hands messages
/// out; nothing is stored by another one than the owner; nothing is settled that was not delivered,
/// skipped or given up; the first deliveries of each channel are in order. At the end all but one
/// gateway die: it takes the route within five seconds and settles everything, whatever one stuck
/// channel does.
///
/// # Panics
///
/// If one of that does not hold.
pub fn exercise_fleet(gateways: u8, ops: &[FleetOp]) {
    let mut world = World::new(gateways.max(1));
    for op in ops {
        world.apply(op);
        world.check();
    }
    world.drain();
}

const LIMITS: Limits =
    Limits { pending_max: 4096, in_flight_max: 6, ahead_max: 4096, record_max: 1000 };

/// A message on the bus.
struct Published {
    channel: u8,
    is_looped: bool,
}

/// The owner row.
#[derive(Clone, Copy)]
struct OwnerRow {
    gateway: Option<GatewayId>,
    revision: Revision,
}

/// A route that a gateway runs.
struct Run {
    number: u64,
    hold: Arc<Hold>,
    revision: Revision,
    core: Core<u8, Sequence>,
    record: Option<Record<Sequence>>,
    /// Whether the record was stored, once the answer is there.
    stored: Option<bool>,
    /// How calls ended that it has not looked at yet, since it stalled.
    heard: Vec<(Sequence, Attempted)>,
}

/// Taking the route, on its way to the store.
struct Claim {
    before: Option<Revision>,
    id: GatewayId,
    hold: Arc<Hold>,
}

struct Beat {
    id: GatewayId,
    begun: Steady,
    is_stored: bool,
}

struct Gateway {
    /// Its steady clock runs so many thousandths faster than real time.
    drift: i32,
    started: Duration,
    skew: i64,
    is_stalled: bool,
    tenure: Tenure,
    members: Members,
    beat: Option<Beat>,
    scan: Option<(Steady, Vec<MemberRow>)>,
    claim: Option<Claim>,
    run: Option<Run>,
}

struct Call {
    gateway: usize,
    run: u64,
    sequence: Sequence,
}

struct World {
    now: Duration,
    last: u64,
    bus: BTreeMap<Sequence, Published>,
    rows: BTreeMap<GatewayId, (Revision, bool)>,
    owner: Option<OwnerRow>,
    /// The run that took the route last: only it may store anything.
    owner_run: u64,
    position: Cursor,
    ahead: BTreeSet<Sequence>,
    dead: BTreeSet<Sequence>,
    delivered: BTreeSet<Sequence>,
    /// First deliveries of each channel.
    firsts: BTreeMap<u8, Vec<Sequence>>,
    calls: Vec<Call>,
    gateways: Vec<Option<Gateway>>,
    route: RouteName,
}

impl World {
    fn new(gateways: u8) -> Self {
        let mut world = Self {
            now: Duration::from_secs(100),
            last: 0,
            bus: BTreeMap::new(),
            rows: BTreeMap::new(),
            owner: None,
            owner_run: 0,
            position: Cursor::Start,
            ahead: BTreeSet::new(),
            dead: BTreeSet::new(),
            delivered: BTreeSet::new(),
            firsts: BTreeMap::new(),
            calls: Vec::new(),
            gateways: Vec::new(),
            route: "r".parse().unwrap_or_else(|_| unreachable!("a name")),
        };
        for number in 0..gateways {
            let gateway = world.boot(i32::from(number));
            world.gateways.push(Some(gateway));
        }
        world
    }

    fn boot(&mut self, number: i32) -> Gateway {
        let (id, timing) = (self.new_id(), LeaseTiming::default());
        Gateway {
            // Far less than the margin within a lease, in both directions.
            drift: (number - 1) * 40,
            started: self.now,
            skew: 0,
            is_stalled: false,
            tenure: Tenure::new(id, timing),
            members: Members::new(id, timing, false),
            beat: None,
            scan: None,
            claim: None,
            run: None,
        }
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn new_id(&mut self) -> GatewayId {
        GatewayId(self.next().wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
    }

    fn apply(&mut self, op: &FleetOp) {
        let count = self.gateways.len();
        let index = |gateway: u8| usize::from(gateway) % count;
        match *op {
            FleetOp::Publish(channel, is_looped) => {
                let last = self.bus.keys().next_back().copied().unwrap_or(Sequence::ZERO);
                let now = Timestamp::from_millis(1_700_000_000_000 + millis(self.now));
                let sequence = last.next(now).unwrap_or(last);
                self.bus.insert(sequence, Published { channel: channel % 4, is_looped });
            }
            FleetOp::Advance(by) => self.now += Duration::from_millis(by.into()),
            FleetOp::Round(gateway) => self.round(gateway),
            FleetOp::Gateway(gateway, step) => self.step(index(gateway), step),
            FleetOp::Answer(call, reaction) => self.answer(call.into(), reaction),
            FleetOp::Arrive(gateway, sent) => self.arrive(index(gateway), sent),
            FleetOp::Stall(gateway, is_stalled) => {
                if let Some(gateway) = &mut self.gateways[index(gateway)] {
                    gateway.is_stalled = is_stalled;
                }
            }
            FleetOp::Crash(gateway) => {
                let place = index(gateway);
                let is_there = self.gateways[place].take().is_some();
                if !is_there {
                    self.gateways[place] = Some(self.boot(i32::from(gateway)));
                }
            }
            FleetOp::Step(gateway, seconds) => {
                if let Some(gateway) = &mut self.gateways[index(gateway)] {
                    gateway.skew = i64::from(seconds) * 1000;
                }
            }
        }
        for place in 0..count {
            self.hand_out(place);
        }
    }

    /// Has one that is awake learn what it can and hand out what is due.
    fn hand_out(&mut self, place: usize) {
        let now = self.now;
        let Some(gateway) = self.awake(place) else { return };
        let (steady, wall) = (gateway.steady(now), gateway.wall(now));
        let Some(run) = &mut gateway.run else { return };
        for (sequence, result) in run.heard.drain(..) {
            run.core.handle_attempted(wall, sequence, result, sequence.as_u64());
        }
        let mut handed = Vec::new();
        while run.hold.is_held(steady)
            && let Some(attempt) = run.core.poll_attempt(wall)
        {
            handed.push(Call { gateway: place, run: run.number, sequence: attempt.sequence });
        }
        if !handed.is_empty() {
            let others = self.gateways.iter().enumerate().filter(|(other, _)| *other != place);
            let holds =
                |it: &Gateway| it.run.as_ref().is_some_and(|run| run.hold.is_held(it.steady(now)));
            assert!(!others.filter_map(|(_, it)| it.as_ref()).any(holds), "two hand out");
        }
        let is_looped = |call: &Call| self.bus.get(&call.sequence).is_some_and(|it| it.is_looped);
        assert!(!handed.iter().any(is_looped), "it has taken the route already");
        self.calls.extend(handed);
    }

    fn awake(&mut self, place: usize) -> Option<&mut Gateway> {
        self.gateways[place].as_mut().filter(|gateway| !gateway.is_stalled)
    }

    fn step(&mut self, place: usize, step: Step) {
        let now = self.now;
        let Some(gateway) = self.awake(place) else { return };
        let steady = gateway.steady(now);
        match step {
            Step::Beat => self.beat(place),
            Step::Beaten => {
                if let Some(beat) = gateway.beat.take_if(|beat| beat.is_stored)
                    && beat.id == gateway.tenure.id()
                {
                    gateway.tenure.handle_beat(beat.begun, steady);
                }
            }
            Step::Scan => {
                let rows = self.members();
                if let Some(gateway) = self.awake(place) {
                    gateway.scan = Some((steady, rows));
                }
            }
            Step::Scanned(as_begun) => {
                let rows = self.members();
                let Some(gateway) = self.awake(place) else { return };
                if let Some((begun, old)) = gateway.scan.take() {
                    let rows = if as_begun { old } else { rows };
                    gateway.members.observe(begun, steady, &rows);
                }
            }
            Step::Look => self.look(place),
            Step::Read(count) => self.read(place, count.into()),
            Step::Store => {
                if let Some(run) = &mut gateway.run
                    && run.record.is_none()
                {
                    run.record = run.core.take_record();
                }
            }
            Step::Stored => {
                let wall = gateway.wall(now);
                if let Some(run) = &mut gateway.run
                    && let Some(is_stored) = run.stored.take()
                {
                    run.record = None;
                    run.core.handle_recorded(wall);
                    gateway.run.take_if(|_| !is_stored);
                }
            }
            Step::Leave => {
                self.halt(place);
                if let Some(gateway) = self.gateways[place].take() {
                    let revision = Revision(self.next());
                    self.rows.insert(gateway.tenure.id(), (revision, true));
                }
            }
        }
    }

    fn beat(&mut self, place: usize) {
        let (now, new) = (self.now, self.new_id());
        let Some(gateway) = self.awake(place) else { return };
        let begun = gateway.steady(now);
        if gateway.tenure.is_over(begun) {
            gateway.tenure = Tenure::new(new, LeaseTiming::default());
            gateway.members.rename(new);
        }
        if gateway.beat.is_none() {
            gateway.beat = Some(Beat { id: gateway.tenure.id(), begun, is_stored: false });
        }
    }

    fn members(&self) -> Vec<MemberRow> {
        let row = |(id, (revision, has_left)): (&GatewayId, &(Revision, bool))| MemberRow {
            id: *id,
            revision: *revision,
            has_left: *has_left,
        };
        self.rows.iter().map(row).collect()
    }

    /// What a gateway does about the route whenever it looks.
    fn look(&mut self, place: usize) {
        let (now, owner, route) = (self.now, self.owner, self.route.clone());
        let Some(gateway) = self.awake(place) else { return };
        let steady = gateway.steady(now);
        let hold = Arc::clone(gateway.tenure.hold());
        let is_held = hold.is_held(steady);
        gateway.run.take_if(|run| !is_held || !Arc::ptr_eq(&run.hold, &hold));
        let holder = owner.and_then(|owner| owner.gateway);
        let is_own = holder == Some(gateway.tenure.id());
        if gateway.run.is_some() {
            if gateway.members.is_theirs(&route) {
                self.halt(place);
                self.free(place);
            }
        } else if !gateway.members.is_ours(&route) {
            self.free(place);
        } else if gateway.claim.is_none()
            && is_held
            && holder.is_none_or(|holder| is_own || gateway.members.is_dead(holder, steady))
        {
            let before = owner.map(|owner| owner.revision);
            gateway.claim = Some(Claim { before, id: gateway.tenure.id(), hold });
        }
    }

    /// Stops a run in good order: what is settled is stored, if it may be.
    fn halt(&mut self, place: usize) {
        loop {
            let Some(run) = self.gateways[place].as_mut().and_then(|it| it.run.as_mut()) else {
                return;
            };
            if run.record.is_none() {
                run.record = run.core.take_record();
            }
            if run.record.is_none() {
                break;
            }
            self.arrive(place, Sent::Record(true));
            self.step(place, Step::Stored);
        }
        if let Some(gateway) = &mut self.gateways[place] {
            gateway.run = None;
        }
    }

    /// Gives the route up if the owner row names this gateway.
    fn free(&mut self, place: usize) {
        let id = self.gateways[place].as_ref().map(|gateway| gateway.tenure.id());
        if self.owner.is_some_and(|owner| owner.gateway == id) && id.is_some() {
            self.owner = Some(OwnerRow { gateway: None, revision: Revision(self.next()) });
            self.owner_run = 0;
        }
    }

    fn read(&mut self, place: usize, count: usize) {
        let now = self.now;
        let Some(gateway) = self.gateways[place].as_mut() else { return };
        let wall = gateway.wall(now);
        let Some(run) = &mut gateway.run else { return };
        let from = run.core.read_from();
        let after = self.bus.iter().filter(|(it, _)| from.after().is_none_or(|after| **it > after));
        let arrivals: Vec<_> = after
            .take(count.min(run.core.room()))
            .map(|(&sequence, message)| Arrival {
                sequence,
                lane: message.channel,
                message: sequence,
                fate: if message.is_looped { Fate::Skip } else { Fate::Deliver },
            })
            .collect();
        let next = arrivals.last().map_or(from, |arrival| Cursor::After(arrival.sequence));
        run.core.handle_arrivals(wall, arrivals, next);
    }

    fn answer(&mut self, index: usize, reaction: Reaction) {
        if self.calls.is_empty() {
            return;
        }
        let call = self.calls.remove(index % self.calls.len());
        let result = match reaction {
            Reaction::Take => Attempted::Delivered,
            Reaction::Fail => Attempted::Retry(Cause::new(Class::Unavailable, "busy")),
            Reaction::Refuse => Attempted::Reject(Cause::new(Class::Refused, "no")),
        };
        if result == Attempted::Delivered && self.delivered.insert(call.sequence) {
            let channel = self.bus.get(&call.sequence).map_or(0, |message| message.channel);
            self.firsts.entry(channel).or_default().push(call.sequence);
        }
        // Nobody hears the answer to a run that has ended.
        let gateway = self.gateways[call.gateway].as_mut();
        if let Some(run) = gateway.and_then(|it| it.run.as_mut()).filter(|it| it.number == call.run)
        {
            run.heard.push((call.sequence, result));
        }
        self.hand_out(call.gateway);
    }

    fn arrive(&mut self, place: usize, sent: Sent) {
        let revision = Revision(self.next());
        let (owner, number) = (self.owner, self.last);
        let Some(gateway) = self.gateways[place].as_mut() else { return };
        match sent {
            Sent::Beat => {
                if let Some(beat) = &mut gateway.beat {
                    beat.is_stored = true;
                    self.rows.insert(beat.id, (revision, false));
                }
            }
            Sent::Claim => {
                let Some(Claim { before, id, hold }) = gateway.claim.take() else { return };
                if owner.map(|owner| owner.revision) == before {
                    self.owner = Some(OwnerRow { gateway: Some(id), revision });
                    self.owner_run = number;
                    let ahead = self.ahead.iter().copied();
                    let core = Core::new(policy(), LIMITS, self.position, ahead);
                    let (record, stored, heard) = (None, None, Vec::new());
                    gateway.run = Some(Run { number, hold, revision, core, record, stored, heard });
                }
            }
            Sent::Record(is_answered) => {
                let Some(run) = &mut gateway.run else { return };
                let Some(record) = run.record.clone() else { return };
                let is_owned = owner.is_some_and(|owner| owner.revision == run.revision);
                if is_answered {
                    run.stored = Some(is_owned);
                }
                if is_owned {
                    assert_eq!(run.number, self.owner_run, "only the owner stores anything");
                    self.keep(record);
                }
            }
        }
    }

    fn keep(&mut self, record: Record<Sequence>) {
        assert!(record.position.after() >= self.position.after(), "never goes back");
        self.position = record.position;
        self.ahead.extend(record.ahead);
        for passed in record.passed {
            self.ahead.remove(&passed);
        }
        self.dead.extend(record.dead.into_iter().map(|dead| dead.sequence));
    }

    fn is_passed(&self, sequence: Sequence) -> bool {
        self.position.after().is_some_and(|at| sequence <= at)
    }

    fn check(&self) {
        for (sequence, message) in &self.bus {
            if self.is_passed(*sequence) || self.ahead.contains(sequence) {
                let is_settled = self.delivered.contains(sequence) || self.dead.contains(sequence);
                assert!(is_settled || message.is_looped, "lost {sequence:?}");
            }
        }
        for firsts in self.firsts.values() {
            // What was given up may still be taken by a call that nobody waits for any more.
            let kept: Vec<_> = firsts.iter().filter(|it| !self.dead.contains(it)).collect();
            assert!(kept.is_sorted(), "out of order: {kept:?}");
        }
    }

    /// All gateways but one die; a channel is stuck.
    fn drain(&mut self) {
        const STUCK: u8 = 0;
        for place in 1..self.gateways.len() {
            self.gateways[place] = None;
        }
        if self.gateways[0].is_none() {
            self.apply(&FleetOp::Crash(0));
        }
        self.apply(&FleetOp::Stall(0, false));
        let deadline = self.now + Duration::from_secs(5);
        self.round(0);
        // Until it has judged the others it may still hand the route over to one of them.
        let judged = self.now + Duration::from_secs(3);
        while !self.runs() || self.now < judged {
            self.apply(&FleetOp::Advance(500));
            self.round(0);
            assert!(self.now <= deadline, "nobody took the route");
        }
        for _ in 0..self.bus.len() + 8 {
            for index in (0..self.calls.len()).rev() {
                let is_stuck = |it: &Published| it.channel == STUCK;
                if !self.bus.get(&self.calls[index].sequence).is_some_and(is_stuck) {
                    self.answer(index, Reaction::Take);
                }
            }
            self.apply(&FleetOp::Advance(400));
            self.round(0);
            self.check();
            assert!(self.runs(), "it keeps the route");
        }
        let others = self.bus.iter().filter(|(_, message)| message.channel != STUCK);
        let is_settled = |it: &Sequence| self.is_passed(*it) || self.ahead.contains(it);
        assert!(others.map(|(it, _)| it).all(is_settled), "a stuck channel held up another");
    }

    fn runs(&self) -> bool {
        self.gateways[0].as_ref().is_some_and(|it| {
            it.run.as_ref().is_some_and(|run| run.hold.is_held(it.steady(self.now)))
        })
    }

    fn round(&mut self, gateway: u8) {
        use FleetOp::{Arrive, Gateway};
        for op in [
            Arrive(gateway, Sent::Beat),
            Gateway(gateway, Step::Beaten),
            Gateway(gateway, Step::Beat),
            Arrive(gateway, Sent::Beat),
            Gateway(gateway, Step::Beaten),
            Gateway(gateway, Step::Scan),
            Gateway(gateway, Step::Scanned(false)),
            Gateway(gateway, Step::Look),
            Arrive(gateway, Sent::Claim),
            Gateway(gateway, Step::Read(8)),
            Gateway(gateway, Step::Store),
            Arrive(gateway, Sent::Record(true)),
            Gateway(gateway, Step::Stored),
        ] {
            self.apply(&op);
        }
    }
}

impl Gateway {
    fn steady(&self, now: Duration) -> Steady {
        let passed = now.saturating_sub(self.started);
        let per_mille = u32::try_from(1000 + self.drift).unwrap_or(1000);
        passed * per_mille / 1000
    }

    fn wall(&self, now: Duration) -> Timestamp {
        let at = 1_700_000_000_000_i64.saturating_add_unsigned(millis(now));
        Timestamp::from_millis(u64::try_from(at + self.skew).unwrap_or_default())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn policy() -> RetryPolicy {
    RetryPolicy { attempts_max: 3, ..RetryPolicy::default() }
}
