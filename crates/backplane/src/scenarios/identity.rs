//! Logins, logouts and changes of identities (Backplane §15.1).
//!
//! ```
//! use buswire_backplane::scenarios::identity::{Contact, Event, Form, Identity};
//!
//! let contact = Contact::of_account("https://id.example/ines", "id.example");
//! let login = Identity::new("https://gazette.example/front", contact.with("displayName", "Inès"));
//! assert_eq!(login.problems(Form::Two), []);
//! let post = Event::Login.post(&login)?;
//! assert!(post.is_sticky());
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::text;
use crate::Post;

/// What happened to an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A login widget has authenticated the visitor.
    Login,
    /// A page was loaded while the identity was logged in; sent once for each such identity.
    StillLoggedIn,
    /// The visitor has logged out at the identity provider.
    Logout,
    /// Some of its data changed; only these are sent.
    Update,
}

impl Event {
    /// The type of its messages.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Login | Self::StillLoggedIn => "identity/login",
            Self::Logout => "identity/logout",
            Self::Update => "identity/update",
        }
    }

    /// Whether its messages are sticky; others must not be.
    pub const fn is_sticky(self) -> bool {
        matches!(self, Self::Login | Self::Logout)
    }

    /// What a message of this type and stickiness says; `None` if it is none of this scenario.
    pub fn of(kind: &str, sticky: bool) -> Option<Self> {
        [Self::Login, Self::StillLoggedIn, Self::Logout, Self::Update]
            .into_iter()
            .find(|event| event.kind() == kind && event.is_sticky() == sticky)
    }

    /// The message that tells it. Under 1.x its payload reaches every script on the page, so nothing
    /// that is not for all of them belongs in it.
    ///
    /// # Errors
    ///
    /// None is known for what [`Identity`] can hold.
    pub fn post(self, identity: &Identity) -> Result<Post, serde_json::Error> {
        let kind = self.kind().parse().map_err(serde::ser::Error::custom)?;
        let post = Post::new(kind, identity)?;
        Ok(if self.is_sticky() { post.sticky() } else { post })
    }
}

/// In which form an identity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// That of the scenario for 1.2: `accounts` with an `identityUrl` each.
    One,
    /// That of the scenario for 2.0: an `accountUri` and a `domain`.
    Two,
}

/// The payload of all three types: an identity, and the page that it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The URL of the page concerned.
    pub context: String,
    /// The identity, as a response of Portable Contacts.
    pub identities: Contacts,
    /// Members that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A response of Portable Contacts with one contact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contacts {
    /// Which of the results is the first here: 0.
    #[serde(default)]
    pub start_index: u64,
    /// How many are here: 1.
    #[serde(default)]
    pub items_per_page: u64,
    /// How many there are: 1.
    #[serde(default)]
    pub total_results: u64,
    /// The contact. Deployed 1.x servers send it as an object, all others as a list of one; both are
    /// read, and the list is written.
    #[serde(deserialize_with = "one_or_many")]
    pub entry: Vec<Contact>,
    /// Members that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A contact, or one of its accounts: any members.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contact(Map<String, Value>);

impl Contact {
    /// A contact of the form of 1.2, known by identity URLs: each is a URL, or
    /// `sgn://DOMAIN/?ident=USERID`.
    pub fn of_identities<'a>(identity_urls: impl IntoIterator<Item = &'a str>) -> Self {
        let account = |url: &str| json!({"identityUrl": url});
        let accounts: Vec<_> = identity_urls.into_iter().map(account).collect();
        Self::default().with("accounts", accounts)
    }

    /// A contact of the form of 2.0, known by the URI of its account at a domain.
    pub fn of_account(account_uri: &str, domain: &str) -> Self {
        Self::default().with("accountUri", account_uri).with("domain", domain)
    }

    /// The same with another member, such as `displayName`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The same with one more linked account, which must have none itself (form of 2.0).
    #[must_use]
    pub fn linked_to(mut self, account: Self) -> Self {
        let account = Value::Object(account.0);
        match self.0.get_mut("accounts") {
            Some(Value::Array(accounts)) => accounts.push(account),
            _ => return self.with("accounts", vec![account]),
        }
        self
    }

    /// The same with an OAuth 2 token response that gives access to the account (form of 2.0).
    #[must_use]
    pub fn with_credentials(self, token_response: Value) -> Self {
        self.with("accessCredentials", token_response)
    }

    /// A member.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A member as a `T`; `None` if there is none or it is none.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.0.get(name).and_then(|value| T::deserialize(value).ok())
    }

    /// The name to show.
    pub fn display_name(&self) -> Option<&str> {
        text(&self.0, "displayName")
    }

    /// The URI of its account, whatever the case of the member's name.
    pub fn account_uri(&self) -> Option<&str> {
        let mut members = self.0.iter();
        let (_, value) = members.find(|(name, _)| name.eq_ignore_ascii_case("accountUri"))?;
        value.as_str().filter(|text| !text.is_empty())
    }

    /// The domain of its account.
    pub fn domain(&self) -> Option<&str> {
        text(&self.0, "domain")
    }

    /// What identifies an account of the form of 1.2; deployed servers also write `openid`.
    pub fn identity_url(&self) -> Option<&str> {
        text(&self.0, "identityUrl").or_else(|| text(&self.0, "openid"))
    }

    /// Its accounts: its identities in the form of 1.2, linked accounts in that of 2.0.
    pub fn accounts(&self) -> Vec<Self> {
        self.read("accounts").unwrap_or_default()
    }

    fn has_account(&self) -> bool {
        self.0.contains_key("accounts")
    }
}

/// What an identity lacks to be one of its scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The context is no URL.
    #[error("context is not a URL")]
    Context,
    /// Not exactly one contact.
    #[error("entry must hold exactly one contact")]
    Entry,
    /// The numbers beside the contact are not 0, 1 and 1.
    #[error("startIndex, itemsPerPage and totalResults must be 0, 1 and 1")]
    Counts,
    /// No account (form of 1.2).
    #[error("accounts must hold at least one account")]
    NoAccounts,
    /// An account without an identity URL (form of 1.2).
    #[error("an account needs an identityUrl that is a URL")]
    IdentityUrl,
    /// No URI of the account (form of 2.0).
    #[error("accountUri is required")]
    AccountUri,
    /// No domain (form of 2.0).
    #[error("domain is required")]
    Domain,
    /// A linked account without its URI (form of 2.0).
    #[error("a linked account needs an accountUri")]
    LinkedAccountUri,
    /// A linked account has linked accounts itself (form of 2.0).
    #[error("a linked account can't have accounts of its own")]
    Nested,
}

impl Identity {
    /// The payload for one contact.
    pub fn new(context: impl Into<String>, contact: Contact) -> Self {
        let identities = Contacts {
            start_index: 0,
            items_per_page: 1,
            total_results: 1,
            entry: vec![contact],
            other: Map::new(),
        };
        Self { context: context.into(), identities, other: Map::new() }
    }

    /// The contact; `None` if there is none.
    pub fn contact(&self) -> Option<&Contact> {
        self.identities.entry.first()
    }

    /// All that keeps it from being an identity of this form. Members that are not known are no
    /// problem. An [`Update`](Event::Update) holds what changed only, so it may lack anything.
    pub fn problems(&self, form: Form) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut unless = |holds: bool, problem| {
            if !holds {
                problems.push(problem);
            }
        };
        let Contacts { start_index, items_per_page, total_results, entry, .. } = &self.identities;
        unless(is_url(&self.context), Problem::Context);
        unless((*start_index, *items_per_page, *total_results) == (0, 1, 1), Problem::Counts);
        unless(entry.len() == 1, Problem::Entry);
        let Some(contact) = entry.first() else { return problems };
        let accounts = contact.accounts();
        match form {
            Form::One => {
                unless(!accounts.is_empty(), Problem::NoAccounts);
                let is_known = |account: &Contact| account.identity_url().is_some_and(is_url);
                unless(accounts.iter().all(is_known), Problem::IdentityUrl);
            }
            Form::Two => {
                unless(contact.account_uri().is_some(), Problem::AccountUri);
                unless(contact.domain().is_some(), Problem::Domain);
                let is_known = |account: &Contact| account.account_uri().is_some();
                unless(accounts.iter().all(is_known), Problem::LinkedAccountUri);
                unless(!accounts.iter().any(Contact::has_account), Problem::Nested);
            }
        }
        problems
    }
}

fn is_url(text: &str) -> bool {
    url::Url::parse(text).is_ok()
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Contact>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Many(Vec<Contact>),
        One(Contact),
    }
    Ok(match Entry::deserialize(deserializer)? {
        Entry::Many(contacts) => contacts,
        Entry::One(contact) => vec![contact],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Identity {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_payloads_of_the_examples_are_built() {
        // Rule: backplane §15.1 — a login of 2.0 is a contact with accountUri and domain, sticky
        let contact = Contact::of_account("https://id.example/ines", "id.example");
        let post =
            Event::Login.post(&Identity::new("https://gazette.example/front", contact)).unwrap();
        assert_eq!((post.kind().as_str(), post.is_sticky()), ("identity/login", true));
        let of_example_28 = r#"{"context":"https://gazette.example/front","identities":{"startIndex":0,"itemsPerPage":1,"totalResults":1,"entry":[{"accountUri":"https://id.example/ines","domain":"id.example"}]}}"#;
        assert_eq!(post.payload(), of_example_28);
        // Rule: backplane §15.1 — a login of 1.2 is a contact with at least one identity
        let contact =
            Contact::of_identities(["https://id.example/ines", "sgn://id.example/?ident=7"]);
        let identity = Identity::new("https://gazette.example/front", contact);
        assert_eq!(identity.problems(Form::One), []);
        assert_eq!(identity.contact().unwrap().accounts().len(), 2);
    }

    #[test]
    fn stickiness_tells_a_login_from_its_repetition() {
        // Rule: backplane §15.1 — logins and logouts are sticky, repeated logins and updates are not
        for (event, kind, sticky) in [
            (Event::Login, "identity/login", true),
            (Event::StillLoggedIn, "identity/login", false),
            (Event::Logout, "identity/logout", true),
            (Event::Update, "identity/update", false),
        ] {
            assert_eq!((event.kind(), event.is_sticky()), (kind, sticky));
            assert_eq!(Event::of(kind, sticky), Some(event));
        }
        assert_eq!(Event::of("identity/update", true), None);
        assert_eq!(Event::of("comment/posted", false), None);
    }

    #[test]
    fn an_entry_may_be_an_object_and_have_members_of_its_own() {
        // Rule: backplane §15.1 — consumers take entry as an object and as a list
        let deployed = read(
            r#"{"context":"https://a/","x":[1],"identities":{"y":2,"entry":{"id":"u-88","displayName":"Inès",
                "accounts":[{"username":"ines","openid":"https://id.example/ines"}]}}}"#,
        );
        let contact = deployed.contact().unwrap();
        assert_eq!(
            (contact.display_name(), contact.read("id")),
            (Some("Inès"), Some("u-88".to_owned()))
        );
        assert_eq!(contact.accounts()[0].identity_url(), Some("https://id.example/ines"));
        assert_eq!(deployed.problems(Form::One), [Problem::Counts]);
        // Unknown members survive.
        let again = read(&serde_json::to_string(&deployed).unwrap());
        assert_eq!(again, deployed);
        assert_eq!((&again.other["x"], &again.identities.other["y"]), (&json!([1]), &json!(2)));
    }

    #[test]
    fn every_problem_is_named() {
        let empty = read(r#"{"context":"front","identities":{"entry":[]}}"#);
        let all = [Problem::Context, Problem::Counts, Problem::Entry];
        assert_eq!(empty.problems(Form::One), all);
        let one = |contact| Identity::new("https://a/", contact).problems(Form::One);
        assert_eq!(one(Contact::default()), [Problem::NoAccounts]);
        assert_eq!(one(Contact::of_identities(["ines"])), [Problem::IdentityUrl]);
        let two = |contact| Identity::new("https://a/", contact).problems(Form::Two);
        assert_eq!(two(Contact::default()), [Problem::AccountUri, Problem::Domain]);
        let ines = Contact::of_account("https://id.example/ines", "id.example");
        // Rule: backplane §15.1 — linked accounts have an accountUri and no accounts of their own
        assert_eq!(two(ines.clone().linked_to(Contact::default())), [Problem::LinkedAccountUri]);
        let nested = ines.clone().linked_to(ines.clone());
        assert_eq!(two(nested.clone().linked_to(nested)), [Problem::Nested]);
        // Rule: backplane §15.1 — the name of accountUri is matched without regard to case
        let shouting = Contact::default().with("ACCOUNTURI", "https://a/").with("domain", "a");
        assert_eq!(two(shouting.with_credentials(json!({"access_token": "x"}))), []);
    }
}
