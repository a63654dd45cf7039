//! A capability as a text that somebody holds.
//!
//! Never here: printing that text.

use std::fmt;

use buswire_message::Secret;

use crate::wire::serialisation::Serialisation;

/// A capability: holding it is holding the right (Belay §1).
///
/// Any text makes one; a text that designates nothing is a dead capability, and that shows when it is
/// invoked, never earlier (Belay §3.1, §6.11). The text is wiped when dropped and never shows in
/// `Debug` (Belay §20.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Bcap(Secret<String>);

impl Bcap {
    /// Takes a serialisation, whatever it says.
    pub fn restore(serialisation: impl Into<String>) -> Self {
        Self(Secret::new(serialisation.into()))
    }

    /// The serialisation in clear: whoever reads it can use the capability.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What the text says; `None` for a dead capability.
    pub fn serialisation(&self) -> Option<Serialisation> {
        Serialisation::parse(self.expose())
    }
}

impl From<String> for Bcap {
    fn from(serialisation: String) -> Self {
        Self::restore(serialisation)
    }
}

impl From<&str> for Bcap {
    fn from(serialisation: &str) -> Self {
        Self::restore(serialisation)
    }
}

impl AsRef<Self> for Bcap {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Debug for Bcap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bcap(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_does_not_print() {
        let cap = Bcap::restore("https://gw.example/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936");
        assert_eq!(format!("{cap:?}"), "Bcap(…)");
    }

    #[test]
    fn equal_texts_are_the_same_capability() {
        // Rule: belay 3.2 — two serialisations are the same capability iff the strings are identical
        assert_eq!(Bcap::restore("https://a/cap/x"), Bcap::restore("https://a/cap/x"));
        assert_ne!(Bcap::restore("https://a/cap/x"), Bcap::restore("https://a/cap/x?"));
    }
}
