//! What was promised, against what is stored and what came.
//!
//! Never here: waiting for a server; everything is healed when this begins.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use crate::{
    faults::{Fault, Promise},
    load::{AGENTS, ONCE, Record, SPAN, Told},
    table::Row,
    world::{BUS, BUS_ROUTES, COPY, HTTP_ROUTES, Stored, World},
};

/// How long after the load everything may still be on its way.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until everything that was promised is so, or for so long, and says what was seen.
pub(crate) fn check(fault: Fault, world: &World, record: &Record, begun: Instant) -> Row {
    let start = Instant::now();
    loop {
        let (row, missing) = look(fault, world, record, begun);
        if missing == 0 || start.elapsed() > PATIENCE {
            return row;
        }
        thread::sleep(Duration::from_millis(300));
    }
}

/// Everything as it is now, and how much of it is still missing.
fn look(fault: Fault, world: &World, record: &Record, begun: Instant) -> (Row, usize) {
    let mut row = Row::default();
    let mut missing = 0;
    let (stored, copies) = (world.stored(BUS), world.stored(COPY));
    sent(&mut row, record, &stored, begun);
    missing += row.lost;
    for route in BUS_ROUTES {
        let came: Vec<_> = copies.iter().filter(|copy| copy.channel == route).collect();
        let came: Vec<u64> = came.iter().map(|copy| copy.number).collect();
        let (lacking, twice, late) = delivered(&came, &stored);
        missing += lacking.len();
        row.lacks(route, &lacking);
        row.copies_twice += twice;
        row.out_of_order += late;
    }
    for route in HTTP_ROUTES {
        let taken = world.http.taken_by(route);
        let came: Vec<u64> = taken.iter().map(|taken| taken.payload).collect();
        let (lacking, twice, late) = delivered(&came, &stored);
        missing += lacking.len();
        row.lacks(route, &lacking);
        row.repeats += twice;
        row.out_of_order += late;
        let times = taken.iter().map(|taken| taken.at).filter(|at| *at > begun);
        row.routes_silent = row.routes_silent.max(longest(begun, times));
    }
    missing += readers(&mut row, record, &stored);
    missing += agents(&mut row, record, stored.last());
    // On the wire too: clients of SimplePush had to begin anew.
    row.is_told = row.resets > 0 && world.logs().contains("a new epoch begins");
    judge(&mut row, fault.promise());
    (row, missing)
}

/// What senders were told, against what is stored.
fn sent(row: &mut Row, record: &Record, stored: &[Stored], begun: Instant) {
    let mut places = BTreeMap::<u64, Vec<&str>>::new();
    for message in stored {
        places.entry(message.number).or_default().push(&message.id);
    }
    row.stored_twice = places.values().filter(|ids| ids.len() > 1).count();
    let mut used = BTreeMap::<u64, [usize; 2]>::new();
    for sent in &record.sent {
        let ids = places.get(&sent.number);
        match &sent.told {
            Told::Accepted(id) => {
                row.accepted += 1;
                row.lost += usize::from(ids.is_none());
                let is_at =
                    |ids: &Vec<&str>| id.as_ref().is_none_or(|id| ids.contains(&id.as_str()));
                row.moved += usize::from(ids.is_some_and(|it| !is_at(it)));
            }
            Told::Refused(status) => {
                row.refused += 1;
                row.stored_anyway += usize::from(ids.is_some());
                *row.statuses.entry(*status).or_default() += 1;
            }
            Told::Unknown => {
                row.unknown += 1;
                row.stored_anyway += usize::from(ids.is_some());
            }
        }
        if sent.number >= ONCE * SPAN {
            let count = used.entry(sent.number / 10).or_default();
            count[0] += usize::from(matches!(sent.told, Told::Accepted(_)));
            count[1] += usize::from(ids.is_some());
        }
    }
    row.used_twice = used.values().filter(|uses| uses[0] > 1 || uses[1] > 1).count();
    let accepted = record.sent.iter().filter(|sent| matches!(sent.told, Told::Accepted(_)));
    let accepted: Vec<_> = accepted.collect();
    row.unavailable = longest(begun, accepted.iter().map(|sent| sent.at).filter(|at| *at > begun));
    // Of one program the next was sent when the one before had been accepted.
    let told: BTreeSet<u64> = accepted.iter().map(|sent| sent.number).collect();
    let kept: Vec<u64> = stored.iter().map(|message| message.number).collect();
    let kept: Vec<u64> = kept.into_iter().filter(|number| told.contains(number)).collect();
    row.out_of_order += descents(&kept);
}

/// The longest time between two of these, or from the beginning to the first.
fn longest(begun: Instant, times: impl Iterator<Item = Instant>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.push(begun);
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// How often a number of a program comes after a greater one of the same.
fn descents(numbers: &[u64]) -> usize {
    let mut last = BTreeMap::new();
    let later = numbers.iter().filter(|number| {
        let before = last.insert(*number / SPAN, **number);
        // Those for one use are sent two at a time.
        **number < ONCE * SPAN && before.is_some_and(|before| before > **number)
    });
    later.count()
}

/// What is stored and did not come, how many came again, and how many first deliveries were not in the
/// order of the bus.
fn delivered<'a>(came: &[u64], stored: &'a [Stored]) -> (Vec<&'a Stored>, usize, usize) {
    let places: BTreeMap<u64, usize> =
        stored.iter().enumerate().map(|(place, message)| (message.number, place)).collect();
    let mut seen = BTreeSet::new();
    let (mut twice, mut late) = (0, 0);
    let mut last = BTreeMap::new();
    for number in came {
        if !seen.insert(*number) {
            twice += 1;
            continue;
        }
        let Some(place) = places.get(number) else { continue };
        let before = last.insert(number / SPAN, *place);
        late += usize::from(before.is_some_and(|before| before > *place));
    }
    let lacking = stored.iter().filter(|message| !seen.contains(&message.number)).collect();
    (lacking, twice, late)
}

/// What long polls saw.
fn readers(row: &mut Row, record: &Record, stored: &[Stored]) -> usize {
    let accepted: BTreeSet<u64> = record
        .sent
        .iter()
        .filter(|sent| matches!(sent.told, Told::Accepted(_)))
        .map(|sent| sent.number)
        .collect();
    let ids: BTreeSet<&str> = stored.iter().map(|message| message.id.as_str()).collect();
    let mut unread = 0;
    for seen in record.seen() {
        let own: BTreeSet<&str> = seen.ids.iter().map(String::as_str).collect();
        let span = u64::try_from(seen.poster).unwrap();
        let of_channel = stored.iter().filter(|message| message.number / SPAN == span);
        let wanted = of_channel.filter(|message| accepted.contains(&message.number));
        unread += wanted.filter(|message| !own.contains(message.id.as_str())).count();
        // Ids are in the order of the bus.
        row.read_backwards += seen.ids.windows(2).filter(|pair| pair[0] >= pair[1]).count();
        row.read_and_gone += own.difference(&ids).count();
    }
    row.unread = unread;
    unread
}

/// What clients of SimplePush have.
fn agents(row: &mut Row, record: &Record, last: Option<&Stored>) -> usize {
    let mut behind = 0;
    for (number, agent) in record.agents().iter().enumerate() {
        let version = agent.version.load(Ordering::Acquire);
        let resets = usize::try_from(agent.resets.load(Ordering::Acquire)).unwrap();
        row.resets += resets;
        let expected = if number < AGENTS {
            row.puts += usize::try_from(agent.puts[0].load(Ordering::Acquire)).unwrap();
            agent.accepted.load(Ordering::Acquire)
        } else if resets == 0 {
            last.map_or(0, |last| version_of(&last.id))
        } else {
            // Its endpoint is over, and so is the route.
            0
        };
        behind += usize::from(version < expected);
    }
    row.push_behind = behind;
    behind
}

/// The version that a message is to SimplePush: the milliseconds since 2020 and a counter of 12 bits.
fn version_of(id: &str) -> u64 {
    let (time, suffix) = (&id[..24], &id[25..]);
    let number = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    // Days since 1970, by the calendar with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + number(11..13)) * 60 + number(14..16)) * 60 + number(17..19);
    let millis = u64::try_from(seconds * 1000 + number(20..23)).unwrap() - 1_577_836_800_000;
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'Z' => byte - b'A' + 10,
        _ => byte - b'a' + 36,
    };
    let counter = suffix.bytes().fold(0, |sum, byte| sum * 62 + u64::from(digit(byte)));
    (millis << 12) + counter
}

/// What of it breaks the promise.
fn judge(row: &mut Row, promise: Promise) {
    let mut wrong = Vec::new();
    let mut none = |count: usize, what: &str| {
        if count > 0 {
            wrong.push(format!("{count} {what}"));
        }
    };
    none(row.stored_twice, "messages are stored twice");
    none(row.not_delivered, "messages were not delivered by a route");
    none(row.unread, "messages were not seen by a reader");
    none(row.push_behind, "push clients do not have the latest version");
    none(row.used_twice, "capabilities for one use were used twice");
    if promise == Promise::Told {
        none(usize::from(row.lost > 0 && !row.is_told), "loss of which nobody was told");
    } else {
        none(row.lost, "accepted messages are lost");
        none(row.read_backwards, "messages came to a reader before an earlier one");
    }
    if promise == Promise::Kept {
        none(row.moved, "messages have another id than was told");
        none(row.copies_twice, "messages were copied twice");
        none(row.out_of_order, "messages are not in order");
        none(row.read_and_gone, "messages that were read are gone");
        none(row.resets, "push clients had to register again");
    }
    wrong.append(&mut row.lacking);
    row.wrong = wrong;
}

impl Row {
    fn lacks(&mut self, route: &str, lacking: &[&Stored]) {
        self.not_delivered += lacking.len();
        let named = lacking.iter().map(|it| format!("{route} lacks {} {}", it.id, it.number));
        self.lacking.extend(named);
    }
}
