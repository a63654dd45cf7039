//! What people do, as Activity Streams (Backplane §15.2).
//!
//! ```
//! use buswire_backplane::scenarios::activity::Activity;
//!
//! let activity = Activity::new("2024-03-09T14:05:21Z", "post", "person", "urn:x:ines")
//!     .with("object", serde_json::json!({"objectType": "comment", "id": "urn:x:c17"}));
//! assert_eq!(activity.problems(), []);
//! let post = activity.post()?;
//! assert_eq!(post.kind().as_str(), "activity/json");
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::text;
use crate::Post;

/// The type of activities as JSON.
pub const JSON: &str = "activity/json";
/// The type of activities as Atom.
pub const ATOM: &str = "activity/atom";

/// One activity of JSON Activity Streams 1.0, or a collection of them: any members. It is the whole
/// payload of its message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Activity(Map<String, Value>);

/// What an activity lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nobody did it (Activity Streams 1.0 §3.1).
    #[error("an activity needs an actor, which is an object")]
    Actor,
    /// It was never done (Activity Streams 1.0 §3.1).
    #[error("an activity needs the time when it was published")]
    Published,
    /// The items of a collection are no list of activities.
    #[error("the items of a collection are a list of objects")]
    Items,
}

impl Activity {
    /// Somebody did something: when, as RFC 3339, what, and which object was the actor.
    pub fn new(published: &str, verb: &str, actor_type: &str, actor_id: &str) -> Self {
        let actor = json!({"objectType": actor_type, "id": actor_id});
        Self(Map::new()).with("published", published).with("verb", verb).with("actor", actor)
    }

    /// A collection of activities.
    pub fn collection(items: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<_> = items.into_iter().map(|item| Value::Object(item.0)).collect();
        Self(Map::new()).with("totalItems", items.len()).with("items", items)
    }

    /// The same with another member, such as `object` or `target`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// A member.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// What was done; `post` if it does not say.
    pub fn verb(&self) -> &str {
        text(&self.0, "verb").unwrap_or("post")
    }

    /// The activities of a collection; `None` if it is one activity.
    pub fn items(&self) -> Option<Vec<Self>> {
        self.0.get("items").map(|items| Vec::deserialize(items).unwrap_or_default())
    }

    /// All that keeps it from being an activity or a collection of such.
    pub fn problems(&self) -> Vec<Problem> {
        match self.0.get("items").map(Vec::<Self>::deserialize) {
            Some(Ok(items)) => items.iter().flat_map(Self::problems_of_one).collect(),
            Some(Err(_)) => vec![Problem::Items],
            None => self.problems_of_one(),
        }
    }

    fn problems_of_one(&self) -> Vec<Problem> {
        let has_actor = self.0.get("actor").is_some_and(Value::is_object);
        let is_published = text(&self.0, "published").is_some();
        let checks = [(has_actor, Problem::Actor), (is_published, Problem::Published)];
        checks.into_iter().filter(|(holds, _)| !holds).map(|(_, problem)| problem).collect()
    }

    /// The message that tells it. It is not sticky: the scenario does not say, and few should be.
    ///
    /// # Errors
    ///
    /// None is known for what an activity can hold.
    pub fn post(&self) -> Result<Post, serde_json::Error> {
        Post::new(JSON.parse().map_err(serde::ser::Error::custom)?, self)
    }
}

/// The message that tells an activity as Atom: the XML text, which JSON can hold as a string only.
///
/// # Errors
///
/// None is known.
pub fn atom(xml: &str) -> Result<Post, serde_json::Error> {
    Post::new(ATOM.parse().map_err(serde::ser::Error::custom)?, &xml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activity_is_the_whole_payload() {
        // Rule: backplane §15.2 — an activity/json message has the activity as its full payload
        let one = Activity::new("2024-03-09T14:05:21Z", "post", "person", "urn:x:ines");
        let post = one.post().unwrap();
        let payload = r#"{"published":"2024-03-09T14:05:21Z","verb":"post","actor":{"objectType":"person","id":"urn:x:ines"}}"#;
        let read: Value = serde_json::from_str(post.payload()).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(payload).unwrap());
        assert_eq!((post.kind().as_str(), post.is_sticky()), ("activity/json", false));
        let many = Activity::collection([one.clone(), one.clone().with("x", 1)]);
        assert_eq!((many.problems(), many.items().unwrap()[0].verb()), (vec![], "post"));
        assert_eq!((many.get("totalItems"), one.items()), (Some(&json!(2)), None));
    }

    #[test]
    fn problems_are_named_and_unknown_members_are_none() {
        let read = |text: &str| serde_json::from_str::<Activity>(text).unwrap();
        let anonymous = read(r#"{"actor":"ines","more":[]}"#);
        assert_eq!(anonymous.problems(), [Problem::Actor, Problem::Published]);
        assert_eq!(anonymous.verb(), "post");
        assert_eq!(read(r#"{"items":{}}"#).problems(), [Problem::Items]);
        assert_eq!(read(r#"{"items":[{"published":"x"}]}"#).problems(), [Problem::Actor]);
        assert_eq!(read(r#"{"items":[]}"#).problems(), []);
    }

    #[test]
    fn atom_is_a_string() {
        // Rule: backplane §15.2 — an activity/atom message has the XML as a JSON string
        let post = atom("<entry a=\"1\"/>").unwrap();
        assert_eq!((post.kind().as_str(), post.payload()), (ATOM, r#""<entry a=\"1\"/>""#));
    }
}
