//! Requests of one client for one service stay in order, whatever happens to links.

use super::*;

/// Clients ask for `echo` with these bodies, and each is forwarded.
fn forwarded_in_order(here: &mut Here, bodies: [&str; 3]) -> [u64; 3] {
    bodies.map(|body| {
        here.gets(&format!(r#"C | (empty) | "MDPC01" | "echo" | "{body}""#));
        here.forwarded()
    })
}

/// A worker comes and is given these, one after the other.
fn worked_in_order(here: &mut Here, bodies: [&str; 3]) {
    for (body, token) in bodies.into_iter().zip(["T", "T2", "T3"]) {
        here.it.says(&format!(r#"W | (empty) | "MDPW01" | 02 | {token} | (empty) | "{body}""#));
        here.gets(&format!(r#"W | (empty) | "MDPW01" | 03 | {token} | (empty) | "A""#));
        here.it.says(REPLY);
    }
    here.quiet();
}

#[test]
fn what_a_lost_broker_had_keeps_its_order() {
    // Rule: mdp §8.7 — FIFO order per client and service
    let mut here = up();
    forwarded_in_order(&mut here, ["1", "2", "3"]);
    here.gets(READY);
    here.link_input(LinkInput::Closed(here.link.unwrap()));
    worked_in_order(&mut here, ["1", "2", "3"]);
}

#[test]
fn what_comes_back_keeps_its_order_before_what_came_later() {
    // Rule: mdp §8.7 — FIFO order per client and service
    for worker_is_there in [false, true] {
        let mut here = up();
        let numbers = forwarded_in_order(&mut here, ["1", "2", "3"]);
        here.hears(LinkMessage::Ceases(vec![name("echo")]));
        if worker_is_there {
            here.gets(READY);
        }
        for number in numbers {
            here.hears(LinkMessage::Returned { number, reason: Returned::NotServed });
        }
        if !worker_is_there {
            here.gets(READY);
        }
        worked_in_order(&mut here, ["1", "2", "3"]);
    }
}

#[test]
fn what_waits_is_given_back_in_the_order_in_which_it_came() {
    let mut here = up();
    here.gets(READY);
    here.welcomes();
    here.said(LinkMessage::Serves(vec![name("echo")]));
    for number in 1..=4 {
        here.asked_for_echo(number);
    }
    here.it.says(WORK);
    // The fifth has the place in memory that the second had.
    here.is_asked(LinkMessage::Cancel { number: 2 });
    here.asked_for_echo(5);
    here.gets(BYE);
    here.said(LinkMessage::Ceases(vec![name("echo")]));
    for number in [3, 4, 5] {
        here.said(LinkMessage::Returned { number, reason: Returned::NotServed });
    }
    here.said(LinkMessage::Returned { number: 1, reason: Returned::Lost });
    here.quiet();
}
