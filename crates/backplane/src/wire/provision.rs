//! The bodies of the provisioning interface (Backplane §13), read into typed requests.
//!
//! Never here: whether the administrator is one, or what exists.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use buswire_message::{BusName, Realm, Retention, Secret, SourceUrl};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Members, is_too_deep, push_string};
use crate::rules::names::{Permissions, RedirectUri, UserName};

/// The most entries of one request; each update of an account costs a password hash.
const ENTRIES_MAX: usize = 1000;
/// How long sticky messages are kept where a request in the style of 1.1 does not say (§13.3).
const STICKY_SECONDS: u64 = 28_800;
/// What lists show in place of a stored hash (§13.2).
pub(crate) const MASK: &str = "***";
/// What records show in place of a password, as JSON.
const HIDDEN: &str = r#""(hidden)""#;
const BUS_NAME: &str = "BUS_NAME";
const OWNER: &str = "OWNER";
const RETENTION: &str = "RETENTION_TIME_SECONDS";
const STICKY_RETENTION: &str = "RETENTION_STICKY_TIME_SECONDS";
const USER: &str = "USER";
const PASSWORD: &str = "PWDHASH";
const SOURCE_URL: &str = "SOURCE_URL";
const REDIRECT_URI: &str = "REDIRECT_URI";

/// Which world is provisioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    One,
    Two,
}

/// What is listed, replaced or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entity {
    V1Bus,
    /// A user of 1.x.
    User,
    V2Bus,
    /// A bus owner of 2.0, which its paths call `user`.
    Owner,
    Client,
}

/// What is done with entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    List,
    Update,
    Delete,
}

/// What is done with grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantAction {
    List,
    Change(GrantChange),
}

/// How the grants of a client are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantChange {
    Add,
    Revoke,
}

/// One endpoint of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Entity(Entity, Action),
    Grant(GrantAction),
}

impl Call {
    /// Reads the last two segments of a path.
    pub(crate) fn parse(generation: Generation, entity: &str, action: &str) -> Option<Self> {
        let entity = match (generation, entity) {
            (Generation::One, "bus") => Entity::V1Bus,
            (Generation::One, "user") => Entity::User,
            (Generation::Two, "bus") => Entity::V2Bus,
            (Generation::Two, "user") => Entity::Owner,
            (Generation::Two, "client") => Entity::Client,
            (Generation::Two, "grant") => {
                return Some(Self::Grant(match action {
                    "list" => GrantAction::List,
                    "add" => GrantAction::Change(GrantChange::Add),
                    "revoke" => GrantAction::Change(GrantChange::Revoke),
                    _ => return None,
                }));
            }
            _ => return None,
        };
        let action = match action {
            "list" => Action::List,
            "update" => Action::Update,
            "delete" => Action::Delete,
            _ => return None,
        };
        Some(Self::Entity(entity, action))
    }

    /// The kind of thing that it is about, as it is called in records.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Entity(entity, _) => entity.kind(),
            Self::Grant(_) => "grant",
        }
    }

    /// Whether it changes nothing.
    pub(crate) const fn is_list(self) -> bool {
        matches!(self, Self::Entity(_, Action::List) | Self::Grant(GrantAction::List))
    }

    pub(crate) const fn generation(self) -> Generation {
        match self {
            Self::Entity(Entity::V1Bus | Entity::User, _) => Generation::One,
            Self::Entity(Entity::V2Bus | Entity::Owner | Entity::Client, _) | Self::Grant(_) => {
                Generation::Two
            }
        }
    }
}

impl Entity {
    /// The kind of thing, as it is called in records.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::V1Bus | Self::V2Bus => "bus",
            Self::User => "user",
            Self::Owner => "owner",
            Self::Client => "client",
        }
    }

    /// What of this kind has this name.
    pub(crate) fn resource(self, name: &str) -> String {
        match self {
            Self::V1Bus => format!("bus/v1/{name}"),
            Self::V2Bus => format!("bus/v2/{name}"),
            Self::User | Self::Owner | Self::Client => format!("{}/{name}", self.kind()),
        }
    }
}

/// The request without its body; all names of 1.x are `/v1`.
impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (entity, action) = match self {
            Self::Entity(entity, action) => {
                let entity = match entity {
                    Entity::V1Bus | Entity::V2Bus => "bus",
                    Entity::User | Entity::Owner => "user",
                    Entity::Client => "client",
                };
                let action = match action {
                    Action::List => "list",
                    Action::Update => "update",
                    Action::Delete => "delete",
                };
                (entity, action)
            }
            Self::Grant(GrantAction::List) => ("grant", "list"),
            Self::Grant(GrantAction::Change(GrantChange::Add)) => ("grant", "add"),
            Self::Grant(GrantAction::Change(GrantChange::Revoke)) => ("grant", "revoke"),
        };
        let version = match self.generation() {
            Generation::One => "v1",
            Generation::Two => "v2",
        };
        write!(f, "POST /{version}/provision/{entity}/{action}")
    }
}

/// What is wrong with a body, or with one entry of it; `Display` is the `ERR_MSG`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("Invalid body: a JSON object is required")]
    NotAnObject,
    #[error("Invalid body: nested too deeply")]
    TooDeep,
    #[error("Invalid body: {0} is required and has another form")]
    Form(&'static str),
    #[error("Invalid body: more than {ENTRIES_MAX} entries")]
    TooMany,
    #[error("Invalid body: {0} occurs twice")]
    Repeated(String),
    #[error("Value of {name} = {value} but must be between {least} and 604800")]
    Retention { name: &'static str, value: u64, least: u64 },
    #[error("Invalid value of {0}")]
    Value(String),
    #[error("PWDHASH takes a password in clear, not a stored or masked hash")]
    Hash,
}

/// A request of the interface: who asks, and what stands beside it.
pub(crate) struct Body<'a> {
    pub(crate) admin: String,
    pub(crate) secret: Secret<String>,
    members: Members<'a>,
}

impl<'a> Body<'a> {
    /// Reads a body. Members that no call knows are ignored (§13.1).
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, EntryError> {
        if is_too_deep(body) {
            return Err(EntryError::TooDeep);
        }
        let members: Members<'a> =
            serde_json::from_slice(body).map_err(|_| EntryError::NotAnObject)?;
        let admin = members.text("admin").ok_or(EntryError::Form("admin"))?;
        let secret = members.text("secret").map(Secret::new).ok_or(EntryError::Form("secret"))?;
        Ok(Self { admin, secret, members })
    }

    /// The names of a list or delete, each once.
    pub(crate) fn entities(&self) -> Result<Vec<String>, EntryError> {
        let names: Vec<String> = self.member("entities")?;
        let mut distinct = Distinct::default();
        let mut kept = Vec::with_capacity(names.len());
        for name in names {
            match distinct.add(&name) {
                Ok(()) => kept.push(name),
                Err(EntryError::Repeated(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(kept)
    }

    /// The entries of an update, with their names: `BUS_NAME` of a bus, `USER` of anything else.
    pub(crate) fn configs(&self, entity: Entity) -> Result<Vec<Config<'a>>, EntryError> {
        let field = match entity {
            Entity::V1Bus | Entity::V2Bus => BUS_NAME,
            Entity::User | Entity::Owner | Entity::Client => USER,
        };
        let mut distinct = Distinct::default();
        let list: Vec<Members<'a>> = self.member("configs")?;
        let named = list.into_iter().map(|members| {
            let name = members.text(field).ok_or(EntryError::Form(field))?;
            distinct.add(&name)?;
            Ok(Config { name, members })
        });
        named.collect()
    }

    /// The clients of a change of grants, each with bus names separated by spaces.
    pub(crate) fn grants(&self) -> Result<Vec<(String, String)>, EntryError> {
        let grants: Members<'a> = self.member("grants")?;
        let mut distinct = Distinct::default();
        let pairs = grants.iter().map(|(client, buses)| {
            distinct.add(client)?;
            let buses = serde_json::from_str(buses.get());
            Ok((client.to_owned(), buses.map_err(|_| EntryError::Form("grants"))?))
        });
        pairs.collect()
    }

    fn member<T: Deserialize<'a>>(&self, name: &'static str) -> Result<T, EntryError> {
        let value = self.members.get(name).ok_or(EntryError::Form(name))?;
        serde_json::from_str(value.get()).map_err(|_| EntryError::Form(name))
    }
}

/// Counts entries and finds those that occur twice.
#[derive(Default)]
struct Distinct(std::collections::HashSet<String>);

impl Distinct {
    fn add(&mut self, name: &str) -> Result<(), EntryError> {
        if self.0.len() >= ENTRIES_MAX {
            return Err(EntryError::TooMany);
        }
        let is_new = self.0.insert(name.to_owned());
        if is_new { Ok(()) } else { Err(EntryError::Repeated(name.to_owned())) }
    }
}

/// One entry of an update.
pub(crate) struct Config<'a> {
    /// As it was sent; the answer names it so.
    pub(crate) name: String,
    members: Members<'a>,
}

/// What an update says of a 1.x bus.
#[derive(Debug)]
pub(crate) struct V1BusConfig {
    pub(crate) name: BusName,
    pub(crate) times: Times,
    pub(crate) users: BTreeMap<UserName, Permissions>,
}

/// What an update says of a 2.0 bus.
#[derive(Debug)]
pub(crate) struct V2BusConfig {
    pub(crate) name: BusName,
    pub(crate) times: Times,
    pub(crate) owner: String,
}

/// What an update says of a client.
#[derive(Debug)]
pub(crate) struct ClientConfig {
    pub(crate) secret: Secret<String>,
    pub(crate) source_url: SourceUrl,
    pub(crate) redirect_uri: RedirectUri,
}

/// The two retention times of a bus, each within its bounds (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    default: Duration,
    sticky: Duration,
}

impl Times {
    /// The retention with these times; what provisioning does not name is as in `base`.
    pub(crate) fn on(self, base: Retention) -> Retention {
        // The times are within the bounds of any bus, so this never falls back.
        Retention::new(self.default, self.sticky, base.messages_per_channel_max()).unwrap_or(base)
    }
}

impl Config<'_> {
    /// The entry as JSON, without its password and without what no entry of this kind has.
    pub(crate) fn shown(&self, entity: Entity) -> String {
        let is_known = |name: &str| match entity {
            Entity::V1Bus => true,
            Entity::V2Bus => [BUS_NAME, OWNER, RETENTION, STICKY_RETENTION].contains(&name),
            Entity::User | Entity::Owner => [USER, PASSWORD].contains(&name),
            Entity::Client => [USER, PASSWORD, SOURCE_URL, REDIRECT_URI].contains(&name),
        };
        let known = self.members.iter().filter(|(name, _)| is_known(name));
        let shown: Vec<(String, String)> = known
            .map(|(name, value)| {
                let value = if name == PASSWORD { HIDDEN } else { value.get() };
                (name.to_owned(), value.to_owned())
            })
            .collect();
        let mut out = Vec::new();
        push_object(&mut out, &shown, |out, value| out.extend_from_slice(value.as_bytes()));
        String::from_utf8(out).unwrap_or_default()
    }

    /// Reads a 1.x bus: every member that is no field of a bus is a user (§13.3).
    pub(crate) fn v1_bus(&self) -> Result<V1BusConfig, EntryError> {
        let mut users = BTreeMap::new();
        let fields = [BUS_NAME, RETENTION, STICKY_RETENTION];
        for (name, value) in self.members.iter().filter(|(name, _)| !fields.contains(name)) {
            let user = parse::<UserName>(name, name)?;
            let held: Option<String> = serde_json::from_str(value.get()).ok();
            let held = held.ok_or_else(|| EntryError::Value(name.to_owned()))?;
            if users.insert(user, parse(name, &held)?).is_some() {
                return Err(EntryError::Repeated(name.to_owned()));
            }
        }
        let sticky = self.number(STICKY_RETENTION)?.unwrap_or(STICKY_SECONDS);
        let times = self.times(sticky)?;
        Ok(V1BusConfig { name: self.bus_name(Realm::V1)?, times, users })
    }

    /// Reads a 2.0 bus.
    pub(crate) fn v2_bus(&self) -> Result<V2BusConfig, EntryError> {
        let owner = self.members.text(OWNER).ok_or(EntryError::Form(OWNER))?;
        let sticky = self.number(STICKY_RETENTION)?;
        let times = self.times(sticky.ok_or(EntryError::Form(STICKY_RETENTION))?)?;
        Ok(V2BusConfig { name: self.bus_name(Realm::V2)?, times, owner })
    }

    /// Reads the password of an account.
    pub(crate) fn password(&self) -> Result<Secret<String>, EntryError> {
        let password = self.members.text(PASSWORD).map(Secret::new);
        let password = password.ok_or(EntryError::Form(PASSWORD))?;
        if is_hash(password.expose()) { Err(EntryError::Hash) } else { Ok(password) }
    }

    /// Reads a client.
    pub(crate) fn client(&self) -> Result<ClientConfig, EntryError> {
        let text = |name| self.members.text(name).ok_or(EntryError::Form(name));
        Ok(ClientConfig {
            secret: self.password()?,
            source_url: parse(SOURCE_URL, &text(SOURCE_URL)?)?,
            redirect_uri: parse(REDIRECT_URI, &text(REDIRECT_URI)?)?,
        })
    }

    fn bus_name(&self, realm: Realm) -> Result<BusName, EntryError> {
        BusName::new(realm, &self.name).map_err(|_| EntryError::Value(BUS_NAME.to_owned()))
    }

    fn times(&self, sticky: u64) -> Result<Times, EntryError> {
        let default = self.number(RETENTION)?.ok_or(EntryError::Form(RETENTION))?;
        let bounded = |name, value, least| {
            let is_within = (least..=Retention::LONGEST.as_secs()).contains(&value);
            let time = is_within.then_some(Duration::from_secs(value));
            time.ok_or(EntryError::Retention { name, value, least })
        };
        Ok(Times {
            default: bounded(RETENTION, default, Retention::SHORTEST.as_secs())?,
            sticky: bounded(STICKY_RETENTION, sticky, STICKY_SECONDS)?,
        })
    }

    /// A number, or a string that holds one (§13.3).
    fn number(&self, name: &'static str) -> Result<Option<u64>, EntryError> {
        let read = |value: &RawValue| {
            let text: Option<String> = serde_json::from_str(value.get()).ok();
            text.as_deref().unwrap_or(value.get()).parse().map_err(|_| EntryError::Form(name))
        };
        self.members.get(name).map(read).transpose()
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, EntryError> {
    text.parse().map_err(|_| EntryError::Value(name.to_owned()))
}

/// Whether a text is what a list shows in place of a hash, or a hash as reference servers list it: who
/// sends one back would make it the password.
fn is_hash(text: &str) -> bool {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let is_32_bytes = |part| STANDARD.decode(part).is_ok_and(|bytes| bytes.len() == 32);
    text == MASK || text.split_once('.').is_some_and(|(k, m)| is_32_bytes(k) && is_32_bytes(m))
}

/// What is told of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Text(String),
    /// An object; all its values are strings (§13.2).
    Object(Vec<(String, String)>),
}

impl Told {
    pub(crate) fn text(text: &(impl ToString + ?Sized)) -> Self {
        Self::Text(text.to_string())
    }

    /// As JSON.
    pub(crate) fn json(&self) -> String {
        let mut out = Vec::new();
        push_told(&mut out, self);
        String::from_utf8(out).unwrap_or_default()
    }

    /// The answer to a list that names what does not exist.
    pub(crate) fn not_found() -> Self {
        Self::Object(vec![("ERR_MSG".to_owned(), "CONFIG_NOT_FOUND".to_owned())])
    }

    /// A bus of a list: its name, its owner if it has one, its times, its users if it has some.
    pub(crate) fn bus(
        name: &BusName,
        owner: Option<&str>,
        retention: &Retention,
        users: &BTreeMap<UserName, Permissions>,
    ) -> Self {
        let times = [
            (RETENTION, retention.default_time().as_secs().to_string()),
            (STICKY_RETENTION, retention.maximum_time().as_secs().to_string()),
        ];
        let fields = [(BUS_NAME, name.name().to_owned())].into_iter();
        let fields = fields.chain(owner.map(|owner| (OWNER, owner.to_owned()))).chain(times);
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        let users = users.iter().map(|(user, held)| (user.to_string(), held.to_string()));
        Self::Object(fields.chain(users).collect())
    }

    /// An account of a list, with its hash masked.
    pub(crate) fn account(name: &str) -> Self {
        let fields = [(USER, name), (PASSWORD, MASK)];
        Self::Object(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }

    /// A client of a list, with its hash masked.
    pub(crate) fn client(id: &str, source_url: &str, redirect_uri: &str) -> Self {
        let fields =
            [(USER, id), (PASSWORD, MASK), (SOURCE_URL, source_url), (REDIRECT_URI, redirect_uri)];
        Self::Object(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }
}

/// The body of an answer: an object keyed by the names of entries, in the order of the request.
pub(crate) fn answer(entries: &[(String, Told)]) -> Vec<u8> {
    let mut out = Vec::new();
    push_object(&mut out, entries, push_told);
    out
}

fn push_told(out: &mut Vec<u8>, told: &Told) {
    match told {
        Told::Text(text) => push_string(out, text),
        Told::Object(members) => push_object(out, members, |out, value| push_string(out, value)),
    }
}

fn push_object<T>(
    out: &mut Vec<u8>,
    members: &[(String, T)],
    push_value: impl Fn(&mut Vec<u8>, &T),
) {
    out.push(b'{');
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(out, name);
        out.push(b':');
        push_value(out, value);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(json: &str) -> String {
        format!(r#"{{"admin":"a","secret":"s","other":1,"configs":[{json}]}}"#)
    }

    fn v1_bus(json: &str) -> Result<V1BusConfig, EntryError> {
        let body = configs(json);
        let body = Body::parse(body.as_bytes()).unwrap();
        body.configs(Entity::V1Bus)?.first().unwrap().v1_bus()
    }

    #[test]
    fn a_1x_bus_names_users_by_its_other_members() {
        // Rule: backplane §13.3 — other members of a 1.x bus are users with their permissions
        // Rule: backplane §13.3 — sticky retention is 28800 where a 1.x request does not say
        let bus = v1_bus(r#"{"BUS_NAME":"b","RETENTION_TIME_SECONDS":"60","ann":"GETALL,POST"}"#);
        let bus = bus.unwrap();
        assert_eq!((bus.name.to_string().as_str(), bus.users.len()), ("v1/b", 1));
        assert_eq!(bus.times.on(Retention::default()).maximum_time().as_secs(), 28_800);
        // Rule: backplane §13.3 — an unknown permission is refused
        let bus = v1_bus(r#"{"BUS_NAME":"b","RETENTION_TIME_SECONDS":60,"ann":"FLY"}"#);
        assert_eq!(bus.unwrap_err().to_string(), "Invalid value of ann");
    }

    #[test]
    fn retention_times_have_bounds() {
        // Rule: backplane §5.1 — retention bounds are 60 and 28800 to 604800, with their texts
        let texts = [(59, 28_800), (604_801, 28_800), (60, 28_799)].map(|(default, sticky)| {
            let bus = format!(
                r#"{{"BUS_NAME":"b","RETENTION_TIME_SECONDS":{default},"RETENTION_STICKY_TIME_SECONDS":{sticky}}}"#
            );
            v1_bus(&bus).unwrap_err().to_string()
        });
        let expected = [
            "Value of RETENTION_TIME_SECONDS = 59 but must be between 60 and 604800",
            "Value of RETENTION_TIME_SECONDS = 604801 but must be between 60 and 604800",
            "Value of RETENTION_STICKY_TIME_SECONDS = 28799 but must be between 28800 and 604800",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn bodies_are_objects_with_their_lists() {
        // Rule: backplane §13.1 — a bad body, a missing list and wrong types are refused
        for body in ["", "[]", "{}", r#"{"admin":"a"}"#, r#"{"admin":1,"secret":"s"}"#] {
            assert!(Body::parse(body.as_bytes()).is_err(), "{body}");
        }
        let body = Body::parse(br#"{"admin":"a","secret":"s","entities":{}}"#).unwrap();
        assert_eq!(body.entities(), Err(EntryError::Form("entities")));
        assert_eq!(body.grants(), Err(EntryError::Form("grants")));
        let twice = configs(r#"{"USER":"a","PWDHASH":"p"},{"USER":"a","PWDHASH":"p"}"#);
        let body = Body::parse(twice.as_bytes()).unwrap();
        assert!(matches!(body.configs(Entity::User), Err(EntryError::Repeated(_))));
        let names = format!(r#"{{"admin":"a","secret":"s","entities":{:?}}}"#, vec!["n"; 3]);
        assert_eq!(Body::parse(names.as_bytes()).unwrap().entities().unwrap(), ["n"]);
        let many: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
        let many = format!(r#"{{"admin":"a","secret":"s","entities":{many:?}}}"#);
        assert_eq!(Body::parse(many.as_bytes()).unwrap().entities(), Err(EntryError::TooMany));
    }

    #[test]
    fn hashes_are_not_taken_for_passwords() {
        // Rule: backplane §13.8 — a stored hash of a reference server is not made a clear password
        let key = "A".repeat(43) + "=";
        let hash = format!("{key}.{key}");
        for text in [hash.as_str(), MASK] {
            let body = configs(&format!(r#"{{"USER":"a","PWDHASH":"{text}"}}"#));
            let body = Body::parse(body.as_bytes()).unwrap();
            let config = body.configs(Entity::User).unwrap();
            assert_eq!(config.first().unwrap().password().unwrap_err(), EntryError::Hash);
        }
        assert!(!is_hash("pass.word") && !is_hash("****"));
    }
}
