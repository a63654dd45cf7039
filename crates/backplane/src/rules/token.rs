//! What a token looks like and what it is (Backplane §9.1).
//!
//! Never here: which tokens exist.

use buswire_message::{BusName, ChannelName, Entropy, Scope, Secret, Timestamp, mint_alphanumeric};

use super::names::{ClientId, GrantId};

/// Random characters after the prefix (§9.1).
const RANDOM_LENGTH: usize = 30;
const TEXT_LENGTH: usize = 2 + RANDOM_LENGTH;
/// The first random characters choose the partition in which a token is stored. All tokens of one
/// chain share them, so that a refresh is one commit; the other 26 characters (154 bits) are drawn
/// anew for each token.
const LOCATOR_LENGTH: usize = 4;

/// The five kinds of token (Backplane §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Reads the headers of one channel.
    AnonymousAccess,
    /// Gets the next anonymous pair.
    AnonymousRefresh,
    /// Privileged, from an authorization code.
    CodeAccess,
    /// Privileged, from client credentials or refreshed.
    ClientAccess,
    /// Gets the next privileged pair.
    PrivilegedRefresh,
}

impl TokenKind {
    const ALL: [Self; 5] = [
        Self::AnonymousAccess,
        Self::AnonymousRefresh,
        Self::CodeAccess,
        Self::ClientAccess,
        Self::PrivilegedRefresh,
    ];

    /// The two letters in front.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::AnonymousAccess => "AA",
            Self::AnonymousRefresh => "AR",
            Self::CodeAccess => "PA",
            Self::ClientAccess => "PC",
            Self::PrivilegedRefresh => "PR",
        }
    }

    /// The kind with these two letters.
    pub(crate) fn from_prefix(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.prefix() == prefix)
    }

    /// Its name in answers (§9.4).
    pub(crate) const fn shown(self) -> &'static str {
        match self {
            Self::AnonymousAccess => "ANONYMOUS",
            Self::AnonymousRefresh => "REFRESH_ANONYMOUS",
            Self::CodeAccess | Self::ClientAccess => "PRIVILEGED",
            Self::PrivilegedRefresh => "REFRESH_PRIVILEGED",
        }
    }

    /// Whether it may stand in a query string.
    pub(crate) const fn is_anonymous(self) -> bool {
        matches!(self, Self::AnonymousAccess | Self::AnonymousRefresh)
    }
}

/// The part of a token that all tokens of its chain share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Locator(String);

impl Locator {
    /// A new one.
    pub(crate) fn mint(entropy: &dyn Entropy) -> Self {
        Self(mint_alphanumeric(entropy, LOCATOR_LENGTH).expose().clone())
    }

    /// The one of a channel: the first characters of its name, so that the tokens of a channel are
    /// stored with it. Whoever holds one of its tokens knows the channel anyway.
    pub(crate) fn of_channel(channel: &ChannelName) -> Option<Self> {
        channel.as_str().get(..LOCATOR_LENGTH).map(|text| Self(text.to_owned()))
    }

    /// The one of a ticket: its first characters. `None` for what no ticket looks like.
    pub(crate) fn of_ticket(ticket: &str) -> Option<Self> {
        let is_plain = ticket.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_long = (RANDOM_LENGTH..=TEXT_LENGTH).contains(&ticket.len());
        ticket.get(..LOCATOR_LENGTH).filter(|_| is_plain && is_long).map(|t| Self(t.to_owned()))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that looks like a token.
#[derive(Clone, Copy)]
pub(crate) struct TokenText<'a> {
    kind: TokenKind,
    text: &'a str,
}

impl<'a> TokenText<'a> {
    /// Reads a token; `None` for anything of another form, such as `null`.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if text.len() != TEXT_LENGTH || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        Some(Self { kind: TokenKind::from_prefix(text.get(..2)?)?, text })
    }

    /// What kind of token it claims to be.
    pub(crate) const fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The whole text.
    pub(crate) const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The part that it shares with its chain.
    pub(crate) fn locator(&self) -> Locator {
        Locator(self.text.get(2..2 + LOCATOR_LENGTH).unwrap_or_default().to_owned())
    }
}

/// Mints the text of a token.
pub(crate) fn mint(kind: TokenKind, locator: &Locator, entropy: &dyn Entropy) -> Secret<String> {
    let random = mint_alphanumeric(entropy, RANDOM_LENGTH - LOCATOR_LENGTH);
    Secret::new(format!("{}{}{}", kind.prefix(), locator.as_str(), random.expose()))
}

/// A number that changes whenever a client or a grant changes in a way that ends its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp(pub(crate) u64);

impl Stamp {
    /// A new one. Random, so that something deleted and made again never has its old stamp.
    pub(crate) fn mint(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes);
        Self(u64::from_le_bytes(bytes))
    }
}

/// A token that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) scope: Scope,
    /// `None`: it ends with what it belongs to.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) holder: Holder,
}

impl Token {
    /// Whether it is a refresh token that was used.
    pub(crate) const fn is_spent(&self) -> bool {
        match &self.holder {
            Holder::Anonymous(_) => false,
            Holder::Privileged(delegation) => delegation.used,
        }
    }
}

/// On whose behalf a token acts and what it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Anonymous(Visit),
    Privileged(Delegation),
}

/// A bus as it was when something was bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoundBus {
    pub(crate) name: BusName,
    /// When it was made: a bus deleted and made again is another one.
    pub(crate) created_at: Timestamp,
}

/// What an anonymous token depends on: its channel on its bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) channel: ChannelName,
    /// `None`: the bus that the channel is bound to by its first post (§7.2).
    pub(crate) bus: Option<BoundBus>,
}

/// What a privileged token depends on: its client and the grants behind it (§8.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delegation {
    pub(crate) client: ClientId,
    pub(crate) client_stamp: Stamp,
    pub(crate) grants: Vec<(GrantId, Stamp)>,
    /// The tokens that come from one another by refreshing.
    pub(crate) chain: String,
    /// Whether it is a refresh token that was used.
    pub(crate) used: bool,
}

#[cfg(test)]
mod tests {
    use buswire_testkit::SeededEntropy;

    use super::*;

    #[test]
    fn tokens_are_a_prefix_and_thirty_characters() {
        let entropy = SeededEntropy::new(1);
        let locator = Locator::mint(&entropy);
        for kind in TokenKind::ALL {
            // Rule: backplane §9.1 — a token is its prefix and 30 random characters of 0-9A-Za-z
            // Rule: backplane §4.5 — tokens and codes are as §9.1 says
            let token = mint(kind, &locator, &entropy);
            assert_eq!(token.expose().len(), 32);
            let text = TokenText::parse(token.expose()).unwrap();
            assert_eq!((text.kind(), text.locator()), (kind, locator.clone()));
            assert_ne!(token, mint(kind, &locator, &entropy));
        }
    }

    #[test]
    fn other_texts_are_no_tokens() {
        // Rule: backplane §9.4 — null and undefined are invalid tokens like any other
        for text in ["", "null", "undefined", "AA7kQe20XmWz9LbT4vYc1RnHs6PdUo3", &"Z".repeat(32)] {
            assert!(TokenText::parse(text).is_none(), "{text}");
        }
        assert!(TokenText::parse("AA7kQe20XmWz9LbT4vYc1RnHs6PdUo:J").is_none());
        assert!(TokenText::parse("AA7kQe20XmWz9LbT4vYc1RnHs6PdUo3J").is_some());
    }
}
