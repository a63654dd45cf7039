//! The message model of Buswire: names, ids, scopes, retention, versions, secrets.
