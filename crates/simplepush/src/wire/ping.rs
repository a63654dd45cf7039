//! `ping`: the client asks whether the server is there (SimplePush §7.6).

/// The answer to every ping, in whatever form it came (R-PING-1).
pub(crate) const PONG: &str = "{}";
