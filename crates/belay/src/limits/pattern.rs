//! Sets of names: exact ones, and everything under a prefix.
//!
//! Never here: what the names name.

use std::fmt;

/// One name, or every name under a prefix (`orders.*`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Pattern {
    Exact(String),
    // With the dot at its end.
    Under(String),
}

/// A set of names, each exact or `prefix.*` (Belay §20.8).
///
/// Kept sorted and without names that another pattern of the set covers, so equal sets are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NameSet(Vec<Pattern>);

/// The most bytes of one pattern.
const PATTERN_BYTES_MAX: usize = 1024;

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return None;
        }
        match text.strip_suffix('*') {
            Some(prefix) if prefix.len() > 1 && prefix.ends_with('.') && !prefix.contains('*') => {
                Some(Self::Under(prefix.to_owned()))
            }
            None if !text.contains('*') => Some(Self::Exact(text.to_owned())),
            _ => None,
        }
    }

    fn admits(&self, name: &str) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::Under(prefix) => name.len() > prefix.len() && name.starts_with(prefix.as_str()),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(name)) => self.admits(name),
            (Self::Under(outer), Self::Under(inner)) => inner.starts_with(outer.as_str()),
            (Self::Exact(_), Self::Under(_)) => false,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Under(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl NameSet {
    /// Reads patterns; `None` if one is empty, longer than 1024 bytes, or has a `*` that is not the
    /// `.*` at its end.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        texts.into_iter().map(Pattern::parse).collect::<Option<Vec<_>>>().map(Self::normal)
    }

    fn normal(mut patterns: Vec<Pattern>) -> Self {
        patterns.sort_unstable();
        patterns.dedup();
        let kept = patterns
            .iter()
            .filter(|one| !patterns.iter().any(|other| other != *one && other.covers(one)));
        Self(kept.cloned().collect())
    }

    /// Whether `name` is in the set.
    pub fn admits(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.admits(name))
    }

    /// Whether every name of `other` is in the set.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|inner| self.0.iter().any(|outer| outer.covers(inner)))
    }

    /// The names in both sets.
    ///
    /// Of two patterns that overlap, one covers the other, so the result is made of patterns of the
    /// two sets and is never larger than both together.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let covered = |inner: &Self, outer: &Self| {
            let inner = inner.0.iter();
            inner.filter(|one| outer.0.iter().any(|by| by.covers(one))).cloned().collect::<Vec<_>>()
        };
        let mut both = covered(self, other);
        both.extend(covered(other, self));
        Self::normal(both)
    }

    /// The patterns as texts, in order.
    pub fn to_texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Debug for NameSet {
    /// Shows how many, not which: on Backplane a channel name is what lets a browser read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameSet({} patterns)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> NameSet {
        NameSet::parse(texts.iter().copied()).unwrap()
    }

    #[test]
    fn patterns_are_exact_or_end_in_dot_star() {
        // Rule: belay 20.8 — channels are exact names or prefix.*
        assert!(set(&["orders"]).admits("orders") && !set(&["orders"]).admits("orders.eu"));
        let under = set(&["orders.*"]);
        assert!(under.admits("orders.eu") && under.admits("orders.eu.west"));
        assert!(!under.admits("orders") && !under.admits("orders.") && !under.admits("ordersX"));
        for bad in ["", "*", ".*", "a*", "a.*.b", "*.a", "a.**"] {
            assert_eq!(NameSet::parse([bad]), None, "{bad}");
        }
    }

    #[test]
    fn sets_intersect() {
        let wide = set(&["a.*", "b", "c.d"]);
        let narrow = set(&["a.b.*", "a.x", "b", "c.*"]);
        assert_eq!(wide.intersection(&narrow), set(&["a.b.*", "a.x", "b", "c.d"]));
        assert_eq!(set(&["a.b", "a.*", "a.*"]), set(&["a.*"]));
        assert_eq!(set(&["a"]).intersection(&set(&["b"])).to_texts(), Vec::<String>::new());
        assert!(wide.covers(&wide.intersection(&narrow)) && !wide.covers(&narrow));
    }
}
