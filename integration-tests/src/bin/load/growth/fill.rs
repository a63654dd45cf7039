//! Makes much of something, through the doors, and says what is then asked.
//!
//! Never here: what it costs.

use std::{fmt::Write as _, time::Duration};

use futures::future::join_all;
use serde_json::json;

use crate::{
    cap::{self, grants, invoke, ok, path, text},
    http::{Connection, Message, get},
    push::Socket,
    scale::{Task, after, fleet::Fleet, put},
};

/// Connections that fill.
const FILLERS: usize = 64;
/// How many PUTs are at hand for one run, each of a version of its own.
const PUTS: usize = 100_000;
/// The first version, so that every version has the same length.
const FIRST_VERSION: u64 = 1_000_000_000;
/// Messages that are posted in a run end so long after it, or a slow machine would begin too late.
const REMAIN: Duration = Duration::from_secs(5);
const BUS: &str = "load";
/// The type of what is posted, which routes that wait do not take.
const POSTED: &str = "load/post";

/// What there is much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Channels of a bus, with a message each; posts go to all of them.
    Channels,
    /// Buses with a message each; posts go to all of them.
    Buses,
    /// Routes on one bus that wait for other types, beside one that takes what is posted.
    Routes,
    /// Live grants; all of them are invoked.
    Grants,
    /// Messages of a bus, on a thousand channels; posts go there.
    Messages,
    /// User agents that are away, with a channel each; PUTs go to all of them.
    Agents,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Channels, Self::Buses, Self::Routes, Self::Grants, Self::Messages, Self::Agents];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Buses => "buses",
            Self::Routes => "routes",
            Self::Grants => "grants",
            Self::Messages => "messages",
            Self::Agents => "agents",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Channels => "channels of a bus, bus.publish to them",
            Self::Buses => "buses, bus.publish to them",
            Self::Routes => "routes that wait, bus.publish that one more takes",
            Self::Grants => "grants, bus.read of nothing by them",
            Self::Messages => "messages of a bus, bus.publish there",
            Self::Agents => "user agents that are away, PUT to them",
        }
    }

    /// How much there is at first.
    pub(super) const fn base(self) -> usize {
        match self {
            Self::Buses | Self::Routes => 100,
            Self::Channels | Self::Grants | Self::Agents => 1000,
            Self::Messages => 20_000,
        }
    }

    /// What the configuration file of the gateway declares.
    pub(super) fn declared(self, count: usize) -> String {
        let bus = |name: &str| format!("[[buses]]\nname = \"{name}\"\nmax_messages = 1000000\n");
        let mut text = [bus(BUS), bus("to")].concat();
        let route = |number: usize, kind: &str| {
            let head = format!("[[routes]]\nname = \"r{number}\"\n");
            format!("{head}scope = \"bus:{BUS} type:{kind}\"\nsink = \"bus:to\"\n")
        };
        match self {
            Self::Buses => text.extend((0..count).map(|number| bus(&bus_name(number)))),
            Self::Routes => {
                text.push_str(&route(0, POSTED));
                text.extend((1..=count).map(|number| route(number, &format!("idle/{number}"))));
            }
            Self::Channels | Self::Grants | Self::Messages | Self::Agents => {}
        }
        writeln!(text).unwrap();
        text
    }
}

fn bus_name(number: usize) -> String {
    format!("load{number}")
}

/// What is asked, again and again.
pub(super) enum Filled {
    /// Publishes through a capability, to a channel if it does not fix one.
    Publish(Vec<(String, Option<String>)>),
    Read(Vec<Vec<u8>>),
    /// PUTs to these paths, and how many runs there were.
    Put(Vec<String>, u64),
}

impl Filled {
    pub(super) fn new(kind: Kind, fleet: &Fleet, count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = fleet.address(0);
        let grant = |kind: &str, target| text(&cap::grant(fleet.at(0), kind, &target)["cap"]);
        match kind {
            Kind::Channels | Kind::Messages => {
                let cap = grant("bus.publish", json!({"bus": BUS}));
                let channels = if kind == Kind::Messages { 1000 } else { count };
                let channel = |number: usize| format!("c{}", number % channels);
                runtime.block_on(each(address, count, async |connection, number| {
                    publish(connection, &cap, Some(&channel(number))).await;
                }));
                let posts = (0..channels).map(|number| (cap.clone(), Some(channel(number))));
                Self::Publish(posts.collect())
            }
            Kind::Buses => {
                let root = grant("grantor", json!({"kinds": ["grantor", "bus.publish"]}));
                let grantors = runtime.block_on(grantors(address, &root, "bus.publish"));
                let made = each(address, count, async |connection, number| {
                    let target = json!({"bus": bus_name(number), "channel": "c"});
                    let wanted = json!({"kind": "bus.publish", "target": target});
                    let cap = grants::made(connection, &grantors[number % FILLERS], &wanted).await;
                    publish(connection, &cap, None).await;
                    (cap, None)
                });
                Self::Publish(runtime.block_on(made))
            }
            Kind::Routes => {
                let cap = grant("bus.publish", json!({"bus": BUS, "channel": "c"}));
                Self::Publish(vec![(cap, None)])
            }
            Kind::Grants => {
                let root = grant("grantor", json!({"kinds": ["grantor", "bus.read"]}));
                let grantors = runtime.block_on(grantors(address, &root, "bus.read"));
                let made = each(address, count, async |connection, number| {
                    let target = json!({"bus": BUS, "channel": "c"});
                    let wanted = json!({"kind": "bus.read", "target": target});
                    let cap = grants::made(connection, &grantors[number % FILLERS], &wanted).await;
                    let read = get(&path(&cap), "none");
                    // Once is not measured: from then on the gateway may have it at hand.
                    ok(&connection.exchange(&read).await);
                    read
                });
                Self::Read(runtime.block_on(made))
            }
            Kind::Agents => {
                let made = each(address, count, async |_, number| {
                    let mut socket = Socket::open(address, "/push", number).await;
                    socket.hello().await;
                    socket.register(number).await
                });
                Self::Put(runtime.block_on(made), 0)
            }
        }
    }

    /// What so many clients ask in a run that lasts so long.
    pub(super) fn tasks(&mut self, address: &str, clients: usize, lasts: Duration) -> Vec<Task> {
        let (requests, check): (Vec<_>, fn(&Message)) = match self {
            Self::Publish(to) => {
                let end = after(lasts + REMAIN);
                let posts = to.iter().map(|(cap, channel)| {
                    let mut value = message(channel.as_deref());
                    value["expire"] = json!(end);
                    invoke(cap, &value)
                });
                (posts.collect(), ok)
            }
            Self::Read(requests) => (requests.clone(), ok),
            Self::Put(paths, run) => {
                *run += 1;
                let first = FIRST_VERSION + *run * PUTS as u64;
                let puts = paths.iter().cycle().zip(first..first + PUTS as u64);
                (puts.map(|(path, version)| put(path, version)).collect(), stored)
            }
        };
        (0..clients)
            .map(|client| {
                let first = client % requests.len();
                let requests = requests.iter().skip(first).step_by(clients).cloned().collect();
                Task::Ask { address: address.to_owned(), requests, check }
            })
            .collect()
    }
}

/// A grantor for each filler: of many that grant at once by one, some are told to come again.
async fn grantors(address: &str, root: &str, kind: &str) -> Vec<String> {
    let mut connection = Connection::open(address).await;
    let wanted = json!({"kind": "grantor", "target": {"kinds": [kind]}});
    let mut grantors = Vec::new();
    for _ in 0..FILLERS {
        grantors.push(grants::made(&mut connection, root, &wanted).await);
    }
    grantors
}

/// A PUT to a user agent that is away is accepted, not delivered.
fn stored(answer: &Message) {
    assert!((200..300).contains(&answer.status()), "{}", answer.head);
}

fn message(channel: Option<&str>) -> serde_json::Value {
    let mut value = json!({"type": POSTED, "payload": "x".repeat(64)});
    if let Some(channel) = channel {
        value["channel"] = json!(channel);
    }
    value
}

async fn publish(connection: &mut Connection, cap: &str, channel: Option<&str>) {
    ok(&connection.exchange(&invoke(cap, &message(channel))).await);
}

/// Does something for every number below `count`, over some connections at once; in their order.
async fn each<T>(
    address: &str,
    count: usize,
    work: impl AsyncFn(&mut Connection, usize) -> T,
) -> Vec<T> {
    let fillers = FILLERS.min(count);
    let filling = (0..fillers).map(async |first| {
        let mut connection = Connection::open(address).await;
        let mut done = Vec::new();
        for number in (first..count).step_by(fillers) {
            done.push((number, work(&mut connection, number).await));
        }
        done
    });
    let mut all: Vec<_> = join_all(filling).await.into_iter().flatten().collect();
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, made)| made).collect()
}
