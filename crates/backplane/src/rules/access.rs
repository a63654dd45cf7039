//! Where a request may carry its access token (Backplane §9.4).

use super::token::{TokenKind, TokenText};

/// Why the place or the form of a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceRefusal {
    /// None given, or not a token.
    Invalid,
    /// Given in two places.
    Two,
    /// A privileged token in the query.
    Query,
}

/// Which of the tokens that a request carries counts: the one in the query or the one in the header.
/// An empty parameter counts as absent.
pub(crate) fn choose<'a>(
    query: Option<&'a str>,
    header: Option<&'a str>,
) -> Result<TokenText<'a>, SourceRefusal> {
    match (query.filter(|text| !text.is_empty()), header) {
        (Some(_), Some(_)) => Err(SourceRefusal::Two),
        (None, None) => Err(SourceRefusal::Invalid),
        (None, Some(text)) => TokenText::parse(text).ok_or(SourceRefusal::Invalid),
        (Some(text), None) => match TokenText::parse(text) {
            None => Err(SourceRefusal::Invalid),
            Some(token) if token.kind().is_anonymous() => Ok(token),
            Some(_) => Err(SourceRefusal::Query),
        },
    }
}

/// The token of an `Authorization: Bearer` header, whose scheme is read without regard to case;
/// `None` for other schemes, which are no token source.
pub(crate) fn bearer(header: &str) -> Option<&str> {
    let (scheme, rest) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
}

/// Whether a kind of token reads messages.
pub(crate) const fn is_access(kind: TokenKind) -> bool {
    match kind {
        TokenKind::AnonymousAccess | TokenKind::CodeAccess | TokenKind::ClientAccess => true,
        TokenKind::AnonymousRefresh | TokenKind::PrivilegedRefresh => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_and_the_right_one() {
        let anonymous = "AA7kQe20XmWz9LbT4vYc1RnHs6PdUo3J";
        let privileged = "PC3wLm70GxTb9ZkQ2vNc8HsYd1RfJe5A";
        // Rule: backplane §9.4 — a token comes from the header or, if anonymous, from the query
        assert!(choose(Some(anonymous), None).is_ok());
        assert!(choose(None, Some(anonymous)).is_ok());
        assert!(choose(None, Some(privileged)).is_ok());
        assert!(choose(Some(""), Some(privileged)).is_ok());
        // Rule: backplane §9.4 — a privileged token in the query is refused
        assert_eq!(choose(Some(privileged), None).err(), Some(SourceRefusal::Query));
        // Rule: backplane §9.4 — two token sources are refused
        assert_eq!(choose(Some(anonymous), Some(anonymous)).err(), Some(SourceRefusal::Two));
        for text in [None, Some(""), Some("null")] {
            assert_eq!(choose(text, None).err(), Some(SourceRefusal::Invalid));
        }
    }

    #[test]
    fn the_scheme_is_read_without_case() {
        assert_eq!(bearer("bearer x"), Some("x"));
        assert_eq!(bearer("BEARER  x "), Some("x"));
        assert_eq!(bearer("Basic x"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
