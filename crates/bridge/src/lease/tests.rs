//! Leases, case by case. Gateways that fight are in the simulation of `harness`.

use super::*;
use buswire_message::RouteName;
use buswire_store::Revision;

use crate::sink::Reach;

const TIMING: LeaseTiming = LeaseTiming {
    beat: Duration::from_millis(500),
    lease: Duration::from_millis(2500),
    margin: Duration::from_millis(500),
    settle: Duration::from_secs(5),
};

const fn at(millis: u64) -> Steady {
    Duration::from_millis(millis)
}

const fn id(number: u8) -> GatewayId {
    GatewayId([number; 8])
}

const fn row(number: u8, revision: u64) -> MemberRow {
    MemberRow { id: id(number), revision: Revision(revision), has_left: false }
}

fn routes() -> Vec<RouteName> {
    (0..300).map(|number| format!("r{number}").parse().unwrap()).collect()
}

/// What gateway 1 sees of living gateways.
fn among(others: &[u8]) -> Members {
    let mut members = Members::new(id(1), TIMING, false);
    let rows: Vec<_> = others.iter().map(|other| row(*other, 1)).collect();
    members.observe(at(0), at(0), &rows);
    members
}

#[test]
fn a_tenure_ends_before_the_others_judge_and_never_begins_again() {
    let tenure = Tenure::new(id(1), TIMING);
    assert!(!tenure.hold().is_held(at(0)) && !tenure.is_over(at(0)), "it has not begun");
    tenure.handle_beat(at(0), at(10));
    assert!(tenure.hold().is_held(at(1999)) && !tenure.hold().is_held(at(2000)));
    // Begun in time, answered too late: somebody may have judged it dead before the beat arrived.
    tenure.handle_beat(at(1900), at(2600));
    assert!(tenure.is_over(at(2600)) && !tenure.hold().is_held(at(2600)));
    tenure.handle_beat(at(2700), at(2700));
    assert!(tenure.is_over(at(2700)));
    assert!(!Tenure::sole(id(1), TIMING).is_over(at(u64::MAX / 4)));
}

#[test]
fn a_gateway_is_dead_when_nothing_changed_from_one_look_to_the_beginning_of_another() {
    let mut members = Members::new(id(1), TIMING, false);
    members.observe(at(0), at(100), &[row(2, 1)]);
    // The row may have changed since this look began, so its end does not count.
    members.observe(at(2599), at(9000), &[row(2, 1)]);
    assert!(!members.is_dead(id(2), at(9000)));
    // Who has not looked for long judges by a new look, not by the old one.
    members.observe(at(20_000), at(20_000), &[row(2, 2)]);
    assert!(!members.is_dead(id(2), at(20_000)));
    assert!(members.observe(at(22_500), at(22_500), &[row(2, 2)]), "somebody went");
    assert!(members.is_dead(id(2), at(22_500)));
    assert_eq!(members.remains().count(), 0, "its row is kept for a while");
    members.observe(at(90_000), at(90_000), &[row(2, 2)]);
    assert_eq!(members.remains().collect::<Vec<_>>(), [(id(2), Revision(2))]);
}

#[test]
fn one_that_has_left_is_dead_at_once_and_one_without_a_row_after_a_lease() {
    let mut members = Members::new(id(1), TIMING, false);
    members.observe(at(0), at(0), &[row(2, 1)]);
    members.observe(at(10), at(10), &[MemberRow { has_left: true, ..row(2, 2) }]);
    assert!(members.is_dead(id(2), at(10)));
    // An owner row may name one whose member row was lost.
    assert!(!members.is_dead(id(3), at(10)));
    members.observe(at(2509), at(2509), &[]);
    assert!(!members.is_dead(id(3), at(2509)));
    members.observe(at(2510), at(2510), &[]);
    assert!(members.is_dead(id(3), at(2510)));
    assert!(!members.is_dead(id(1), at(2510)), "it does not judge itself");
    assert!(Members::new(id(1), TIMING, true).is_dead(id(2), at(0)), "it is alone");
}

#[test]
fn routes_are_spread_and_only_those_of_a_dead_gateway_move() {
    let (two, three) = (among(&[2]), among(&[2, 3]));
    let ours = |members: &Members| routes().iter().filter(|route| members.is_ours(route)).count();
    assert!((120..180).contains(&ours(&two)) && (70..130).contains(&ours(&three)));
    for route in routes() {
        assert!(!three.is_ours(&route) || two.is_ours(&route), "one more takes, never gives");
    }
    assert_eq!(ours(&among(&[])), 300);
}

#[test]
fn a_route_is_moved_to_a_gateway_only_when_that_has_lived_for_a_while() {
    let mut members = among(&[]);
    members.observe(at(1000), at(1000), &[row(2, 1)]);
    let theirs =
        |members: &Members| routes().iter().filter(|route| members.is_theirs(route)).count();
    for beat in 1..10_u64 {
        members.observe(at(1000 + beat * 500), at(1000 + beat * 500), &[row(2, 1 + beat)]);
        assert_eq!(theirs(&members), 0);
    }
    assert!(members.observe(at(6000), at(6000), &[row(2, 20)]), "it has settled");
    assert!((120..180).contains(&theirs(&members)));
}

#[test]
fn a_route_goes_where_its_sink_is_and_waits_while_that_is_nowhere() {
    let (settle, mut presence) = (TIMING.settle, Presence::new());
    assert!(presence.may_take(true) && !presence.may_take(false));
    assert!(presence.must_leave(true, at(0), settle) && !presence.must_leave(false, at(0), settle));
    // Whoever has the sink takes the route and keeps it, whatever the hash says.
    presence.observe(Reach::Here, at(1000));
    assert!(presence.may_take(false) && !presence.must_leave(true, at(9000), settle));
    // A sink that comes back within the time keeps it too.
    presence.observe(Reach::Elsewhere, at(10_000));
    assert!(!presence.may_take(true) && !presence.must_leave(true, at(14_999), settle));
    presence.observe(Reach::Here, at(14_999));
    presence.observe(Reach::Elsewhere, at(20_000));
    presence.observe(Reach::Elsewhere, at(24_000));
    assert!(!presence.must_leave(true, at(24_999), settle));
    assert!(presence.must_leave(false, at(25_000), settle));
}
