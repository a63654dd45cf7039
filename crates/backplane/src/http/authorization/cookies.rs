//! The two cookies of an authorization (Backplane §11.1).

use http::{HeaderMap, HeaderValue, header};

/// Names the request that waits for a decision.
pub(super) const REQUEST: &str = "bp2.authorization.request";
/// Names the sign-in of a bus owner.
pub(super) const SIGN_IN: &str = "bp2.bus.owner.auth";

/// The value of a cookie; the first if there are several.
pub(super) fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.map(|(n, value)| (n.trim(), value.trim())).find(|(n, _)| *n == name).map(|(_, v)| v)
}

/// Sets a cookie for `seconds`; none clears it.
pub(super) fn set(name: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
    let text =
        format!("{name}={value}; Path=/v2/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
