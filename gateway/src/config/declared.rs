//! Buses, routes and rights that the file declares.
//!
//! Never here: making them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fmt::Display,
    str::FromStr,
    time::Duration,
};

use buswire_bridge::Mapping;
use buswire_mdp::{ServiceName, core::NamePattern};
use buswire_message::{BusName, MessageId, MessageType, Retention, RouteName, Scope};
use toml::{Table, Value};

use super::{doors::CurvePublicKey, reader::Reader, value::parse_time};
use crate::admin::Role;

/// A bus that must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusDeclaration {
    /// Its name.
    pub name: BusName,
    /// How long it keeps messages, and how many.
    pub retention: Retention,
}

/// A route that must exist.
#[derive(Clone, Debug)]
pub struct RouteDeclaration {
    /// Its name.
    pub name: RouteName,
    /// What it takes.
    pub scope: Scope,
    /// The rules by which it changes messages.
    pub map: Vec<String>,
    /// Where to it delivers.
    pub sink: SinkAddress,
    /// The type of the messages that carry answers back to the bus; `None` if answers are dropped.
    pub reply_type: Option<MessageType>,
    /// Where in the bus it begins when it is made.
    pub from: RouteStart,
}

/// Where a new route begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteStart {
    /// With the oldest message that is kept.
    Beginning,
    /// With the next message.
    Now,
    /// After this message.
    After(MessageId),
}

/// A service of the broker with settings of its own; what is `None` is as for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceDeclaration {
    /// Its name.
    pub name: ServiceName,
    /// Workers that a request is tried with.
    pub max_attempts: Option<u32>,
    /// How long a worker may work on one request.
    pub busy_timeout: Option<Duration>,
    /// Requests that wait.
    pub queue_limit: Option<u32>,
    /// The body that answers a request that failed.
    pub error_reply: Option<String>,
}

/// What a user of the broker may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessDeclaration {
    /// The public key of its connections; `None` is everybody that is not named.
    pub user: Option<CurvePublicKey>,
    /// Services it may register for.
    pub register: Vec<NamePattern>,
    /// Services it may call.
    pub call: Vec<NamePattern>,
}

/// The address of a sink: `bus:`, `mdp:`, `push:` or `cap:` and what follows.
///
/// A `cap:` or `push:` address grants something to whoever knows it, so only the scheme is ever
/// printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SinkAddress(String);

impl SinkAddress {
    /// The whole address; not to be printed.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What stands before the colon.
    pub fn scheme(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

impl FromStr for SinkAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("bus" | "mdp" | "push" | "cap", rest)) if !rest.is_empty() => {
                Ok(Self(text.to_owned()))
            }
            _ => Err("is not bus:…, mdp:…, push:… or cap:…".to_owned()),
        }
    }
}

impl fmt::Debug for SinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:…", self.scheme())
    }
}

/// What a client of the broker may do with buses that connects with this key, beside what the
/// capabilities allow that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRights {
    /// The key.
    pub key: CurvePublicKey,
    /// The messages that it may publish; `None` for none.
    pub publish: Option<Scope>,
    /// The messages that it may read; `None` for none.
    pub read: Option<Scope>,
}

/// Reads the tables of one list; notes problems under `key[index].member`.
struct Declared<'r, 'a> {
    reader: &'r mut Reader<'a>,
    place: String,
    table: Table,
}

impl Declared<'_, '_> {
    fn member<T>(
        &mut self,
        name: &str,
        convert: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.table.remove(name)?;
        convert(&value)
            .map_err(|message| self.reader.problem(&format!("{}.{name}", self.place), message))
            .ok()
    }

    fn parsed<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.member(name, |value| {
            let text = value.as_str().ok_or("is not a text")?;
            text.parse().map_err(|error: T::Err| error.to_string())
        })
    }

    fn required<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        if !self.table.contains_key(name) {
            self.reader.problem(&format!("{}.{name}", self.place), "is missing");
        }
        self.parsed(name)
    }

    /// Notes that a scope names no bus.
    fn check_buses(&mut self, name: &str, scope: Option<&Scope>) {
        if scope.is_some_and(|scope| scope.buses().next().is_none()) {
            self.reader.problem(&format!("{}.{name}", self.place), "names no bus");
        }
    }

    fn time(&mut self, name: &str) -> Option<Duration> {
        self.member(name, |value| parse_time(value.as_str().unwrap_or_default()))
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        self.member(name, |value| {
            let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| "is not a whole number".to_owned())
        })
    }

    fn texts<T>(&mut self, name: &str) -> Vec<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let list = self.member(name, |value| {
            let items = value.as_array().ok_or("is not a list of texts")?;
            let parsed = items.iter().map(|item| {
                let text = item.as_str().ok_or("is not a list of texts")?;
                text.parse().map_err(|error: T::Err| format!("{text:?}: {error}"))
            });
            parsed.collect()
        });
        list.unwrap_or_default()
    }

    /// Notes every member that nobody asked for.
    fn finish(self) {
        for name in self.table.keys() {
            self.reader.problem(&format!("{}.{name}", self.place), "there is no such setting");
        }
    }
}

/// Reads every table of the list `key` with `read`.
fn each<T>(
    reader: &mut Reader<'_>,
    key: &'static str,
    read: impl Fn(&mut Declared<'_, '_>) -> Option<T>,
) -> Vec<T> {
    let Some(value) = reader.raw(key) else { return Vec::new() };
    let Some(items) = value.as_array() else {
        reader.problem(key, "is not a list of tables");
        return Vec::new();
    };
    let mut list = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let place = format!("{key}[{index}]");
        let Some(table) = item.as_table() else {
            reader.problem(&place, "is not a table");
            continue;
        };
        let mut declared = Declared { reader, place, table: table.clone() };
        let one = read(&mut declared);
        declared.finish();
        list.extend(one);
    }
    list
}

/// Reads `buses`; what one leaves open is as `usual`.
pub(crate) fn buses(reader: &mut Reader<'_>, usual: Retention) -> Vec<BusDeclaration> {
    let list = each(reader, "buses", |declared| {
        let name = declared.required("name");
        let kept = declared.time("retention").unwrap_or(usual.default_time());
        let sticky = declared.time("sticky_retention").unwrap_or(usual.maximum_time());
        let messages = declared.number("max_messages").unwrap_or(usual.messages_per_channel_max());
        match Retention::new(kept, sticky, messages) {
            Ok(retention) => Some(BusDeclaration { name: name?, retention }),
            Err(error) => {
                let place = declared.place.clone();
                declared.reader.problem(&place, error.to_string());
                None
            }
        }
    });
    unique(reader, "buses", list.iter().map(|bus| bus.name.qualified()));
    list
}

/// Reads `routes`.
pub(crate) fn routes(reader: &mut Reader<'_>) -> Vec<RouteDeclaration> {
    let list = each(reader, "routes", |declared| {
        let name = declared.required("name");
        let scope = declared.required("scope");
        declared.check_buses("scope", scope.as_ref());
        let sink = declared.required("sink");
        let reply_type = declared.parsed("reply_type");
        let map: Vec<String> = declared.texts("map");
        for problem in Mapping::parse(&map).err().unwrap_or_default() {
            let place = format!("{}.map", declared.place);
            declared.reader.problem(&place, problem.to_string());
        }
        let from = declared.member("from", |value| match value.as_str() {
            Some("beginning") => Ok(RouteStart::Beginning),
            Some("now") => Ok(RouteStart::Now),
            Some(id) => id
                .parse()
                .map(RouteStart::After)
                .map_err(|_| "is not \"beginning\", \"now\" or the id of a message".to_owned()),
            None => Err("is not a text".to_owned()),
        });
        Some(RouteDeclaration {
            name: name?,
            scope: scope?,
            sink: sink?,
            map,
            reply_type,
            from: from.unwrap_or(RouteStart::Now),
        })
    });
    unique(reader, "routes", list.iter().map(|route| route.name.to_string()));
    list
}

/// Reads `admin.tls.roles`.
pub(super) fn certificate_roles(reader: &mut Reader<'_>) -> BTreeMap<String, Role> {
    let key = "admin.tls.roles";
    let list = each(reader, key, |declared| {
        let (name, role) = (declared.required("name"), declared.required("role"));
        Some((name?, role?))
    });
    unique(reader, key, list.iter().map(|(name, _): &(String, _)| name.clone()));
    list.into_iter().collect()
}

/// Reads `mdp.key_rights`.
pub(crate) fn key_rights(reader: &mut Reader<'_>) -> Vec<KeyRights> {
    let list = each(reader, "mdp.key_rights", |declared| {
        let key = declared.required("key");
        let [publish, read] = ["publish", "read"].map(|name| {
            let scope = declared.parsed(name);
            declared.check_buses(name, scope.as_ref());
            scope
        });
        Some(KeyRights { key: key?, publish, read })
    });
    unique(reader, "mdp.key_rights", list.iter().map(|rights| rights.key.as_str().to_owned()));
    list
}

/// Reads `mdp.services`.
pub(super) fn mdp_services(reader: &mut Reader<'_>) -> Vec<ServiceDeclaration> {
    let list = each(reader, "mdp.services", |declared| {
        Some(ServiceDeclaration {
            max_attempts: declared.number("max_attempts"),
            busy_timeout: declared.time("busy_timeout"),
            queue_limit: declared.number("queue_limit"),
            error_reply: declared.parsed("error_reply"),
            name: declared.required("name")?,
        })
    });
    unique(reader, "mdp.services", list.iter().map(|service| service.name.to_string()));
    list
}

/// Reads `mdp.access`.
pub(super) fn mdp_access(reader: &mut Reader<'_>) -> Vec<AccessDeclaration> {
    let list = each(reader, "mdp.access", |declared| {
        Some(AccessDeclaration {
            user: declared.parsed("user"),
            register: declared.texts("register"),
            call: declared.texts("call"),
        })
    });
    let user = |declared: &AccessDeclaration| match &declared.user {
        Some(key) => key.as_str().to_owned(),
        None => "everybody else".to_owned(),
    };
    unique(reader, "mdp.access", list.iter().map(user));
    list
}

fn unique(reader: &mut Reader<'_>, key: &str, names: impl Iterator<Item = String>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if seen.contains(&name) {
            reader.problem(key, format!("{name} is declared twice"));
        }
        seen.insert(name);
    }
}
