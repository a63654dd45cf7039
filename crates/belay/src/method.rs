//! The four methods of a capability.
//!
//! Never here: HTTP's other methods; HEAD and OPTIONS are the HTTP endpoint's business.

use std::fmt;

/// A method of a capability (Belay §5.1, §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// No argument, a result is expected.
    Get,
    /// An argument, no result.
    Put,
    /// An argument, a result is allowed.
    Post,
    /// Neither argument nor result.
    Delete,
}

impl Method {
    /// Every method, in the order in which `Allow` lists them.
    pub const ALL: [Self; 4] = [Self::Get, Self::Put, Self::Post, Self::Delete];

    /// The upper-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    /// Takes an upper-case name; `None` for any other text.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// Whether an invocation carries an argument (Belay §5.1).
    pub const fn takes_data(self) -> bool {
        matches!(self, Self::Put | Self::Post)
    }

    /// Whether an invocation may have a result (Belay §5.1).
    pub const fn gives_data(self) -> bool {
        matches!(self, Self::Get | Self::Post)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Get => 1,
            Self::Put => 2,
            Self::Post => 4,
            Self::Delete => 8,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A set of methods.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MethodSet(u8);

impl MethodSet {
    /// No method.
    pub const NONE: Self = Self(0);
    /// All four.
    pub const ALL: Self = Self(15);
    /// GET alone.
    pub const GET: Self = Self(Method::Get.bit());
    /// POST alone.
    pub const POST: Self = Self(Method::Post.bit());

    /// The set of these methods.
    pub fn of(methods: &[Method]) -> Self {
        methods.iter().copied().collect()
    }

    /// Whether `method` is in the set.
    pub const fn contains(self, method: Method) -> bool {
        self.0 & method.bit() != 0
    }

    /// The methods in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether every method of this set is in `other`.
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The methods, in the order of [`Method::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |method| self.contains(*method))
    }

    /// The text of an `Allow` header: a capability that has GET has HEAD too (Belay §21.3).
    pub fn to_allow(self) -> String {
        let names = self.iter().flat_map(|method| match method {
            Method::Get => ["GET", "HEAD"].as_slice(),
            Method::Put => &["PUT"],
            Method::Post => &["POST"],
            Method::Delete => &["DELETE"],
        });
        names.copied().collect::<Vec<_>>().join(", ")
    }
}

impl FromIterator<Method> for MethodSet {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        Self(methods.into_iter().fold(0, |bits, method| bits | method.bit()))
    }
}

impl fmt::Debug for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_behave_as_sets() {
        let some = MethodSet::of(&[Method::Post, Method::Get]);
        assert!(some.contains(Method::Get) && !some.contains(Method::Put));
        assert_eq!(some.intersection(MethodSet::GET), MethodSet::GET);
        assert!(MethodSet::GET.is_subset(some) && !MethodSet::ALL.is_subset(some));
        assert_eq!(some.to_allow(), "GET, HEAD, POST");
        assert_eq!(MethodSet::NONE.to_allow(), "");
        assert_eq!(Method::parse("get"), None);
        assert_eq!(Method::parse("DELETE"), Some(Method::Delete));
    }
}
