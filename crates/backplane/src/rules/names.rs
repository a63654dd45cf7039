//! Names of accounts and grants, redirect URIs, and what a user may do on a 1.x bus.
//!
//! Never here: whether something of that name exists.

use std::{fmt, str::FromStr, sync::Arc};

use buswire_message::{Entropy, mint_alphanumeric};
use url::Url;

/// Why a text is not a name of an account or a value that belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountNameError {
    /// Not a name that HTTP Basic can carry.
    #[error("an account name has 1 to 255 bytes without a colon and control characters")]
    Form,
    /// A name that the provisioning interface uses for a field of a bus.
    #[error("a 1.x user can't be named like a field of a bus")]
    Reserved,
    /// Not a grant id.
    #[error("a grant id has 1 to 64 characters of A-Z a-z 0-9")]
    GrantId,
    /// Not the handle of something handed out, or not the end of a page of them.
    #[error("a handle has 16 hexadecimal digits, the end of a page 18")]
    Handle,
    /// Not a redirect URI.
    #[error("a redirect URI is an absolute URL with a host and without a fragment")]
    RedirectUri,
    /// Not a permission.
    #[error("a permission is GETALL, POST, GETPAYLOAD or IDENTITY")]
    Permission,
}

fn is_account_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(|c| c == ':' || c.is_control())
}

macro_rules! account_name {
    ($(#[$meta:meta])* $name:ident, $refused:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = AccountNameError;

            fn from_str(text: &str) -> Result<Self, AccountNameError> {
                let refused: fn(&str) -> Option<AccountNameError> = $refused;
                match refused(text) {
                    Some(error) => Err(error),
                    None if is_account_name(text) => Ok(Self(text.into())),
                    None => Err(AccountNameError::Form),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

const BUS_FIELDS: [&str; 4] =
    ["BUS_NAME", "OWNER", "RETENTION_TIME_SECONDS", "RETENTION_STICKY_TIME_SECONDS"];

account_name!(
    /// A 1.x user: 1 to 255 bytes without a colon, not named like a field of a bus (Backplane §6.2).
    UserName,
    |text| BUS_FIELDS.contains(&text).then_some(AccountNameError::Reserved)
);

account_name!(
    /// A bus owner of 2.0.
    OwnerName,
    |_| None
);

account_name!(
    /// A client of 2.0: 1 to 255 bytes without a colon (Backplane §13.3).
    ClientId,
    |_| None
);

/// The id of a grant. It is a name, not a secret, and is never a code (Backplane §13.6).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(Arc<str>);

impl GrantId {
    /// A new one, of 20 characters.
    pub(crate) fn mint(entropy: &dyn Entropy) -> Self {
        Self(mint_alphanumeric(entropy, 20).expose().as_str().into())
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GrantId {
    type Err = AccountNameError;

    fn from_str(text: &str) -> Result<Self, AccountNameError> {
        if (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(Self(text.into()))
        } else {
            Err(AccountNameError::GrantId)
        }
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantId({})", self.0)
    }
}

/// Where a client's authorization codes are sent: an absolute URL without a fragment, kept as
/// written, since it is compared byte by byte (Backplane §11.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri(Arc<str>);

impl RedirectUri {
    /// The URL as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RedirectUri {
    /// What stands for it in a content security policy: its origin, or its scheme alone for one that
    /// has no origin.
    pub(crate) fn policy_source(&self) -> String {
        // It was parsed before, so this never falls back.
        let Ok(url) = Url::parse(&self.0) else { return String::new() };
        let origin = url.origin();
        if origin.is_tuple() { origin.ascii_serialization() } else { format!("{}:", url.scheme()) }
    }
}

impl FromStr for RedirectUri {
    type Err = AccountNameError;

    fn from_str(text: &str) -> Result<Self, AccountNameError> {
        let is_plain = text.len() <= 2048 && !text.chars().any(|c| c == ' ' || c.is_control());
        let url = Url::parse(text).map_err(|_| AccountNameError::RedirectUri)?;
        if is_plain && url.has_host() && url.fragment().is_none() {
            Ok(Self(text.into()))
        } else {
            Err(AccountNameError::RedirectUri)
        }
    }
}

/// One thing that a 1.x user may do on a bus (Backplane §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// May GET the bus.
    GetAll,
    /// May POST to any channel of the bus.
    Post,
    /// Accepted and kept, without effect.
    GetPayload,
    /// Accepted and kept, without effect.
    Identity,
}

impl Permission {
    const ALL: [Self; 4] = [Self::GetAll, Self::Post, Self::GetPayload, Self::Identity];

    /// The name of the permission, exact and upper-case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GetAll => "GETALL",
            Self::Post => "POST",
            Self::GetPayload => "GETPAYLOAD",
            Self::Identity => "IDENTITY",
        }
    }
}

/// What a 1.x user may do on a bus; prints as `GETALL,POST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Permissions(u8);

impl Permissions {
    /// Nothing.
    pub const fn none() -> Self {
        Self(0)
    }

    /// The same and `permission`.
    #[must_use]
    pub const fn with(self, permission: Permission) -> Self {
        Self(self.0 | 1 << permission as u8)
    }

    /// Whether `permission` is among them.
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }
}

impl FromStr for Permissions {
    type Err = AccountNameError;

    /// Reads names separated by commas, without spaces; an empty text is nothing.
    fn from_str(text: &str) -> Result<Self, AccountNameError> {
        text.split(',').filter(|name| !name.is_empty()).try_fold(Self::none(), |held, name| {
            let permission = Permission::ALL.into_iter().find(|p| p.as_str() == name);
            permission.map(|p| held.with(p)).ok_or(AccountNameError::Permission)
        })
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Permission::ALL.into_iter().filter(|permission| self.has(*permission));
        for (at, permission) in held.enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            f.write_str(permission.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_fit_into_basic() {
        // Rule: backplane §13.3 — a client id has no colon
        for text in ["", "a:b", "a\nb", &"a".repeat(256)] {
            assert_eq!(text.parse::<ClientId>(), Err(AccountNameError::Form), "{text}");
        }
        assert!("commentsco ü@x".parse::<ClientId>().is_ok());
        // Rule: backplane §6.2 — a 1.x user is not named like a bus field
        assert_eq!("BUS_NAME".parse::<UserName>(), Err(AccountNameError::Reserved));
        assert!("BUS_NAME".parse::<OwnerName>().is_ok());
    }

    #[test]
    fn permissions_are_exact_names() {
        // Rule: backplane §6.2 — GETALL, POST, GETPAYLOAD, IDENTITY, comma-separated and exact
        let held: Permissions = "IDENTITY,GETALL,POST".parse().unwrap();
        assert!(held.has(Permission::GetAll) && held.has(Permission::Post));
        assert!(!held.has(Permission::GetPayload));
        assert_eq!(held.to_string(), "GETALL,POST,IDENTITY");
        assert_eq!("".parse(), Ok(Permissions::none()));
        for text in ["getall", "GETALL, POST", "ADMIN"] {
            assert_eq!(text.parse::<Permissions>(), Err(AccountNameError::Permission), "{text}");
        }
    }

    #[test]
    fn redirect_uris_are_absolute_without_fragment() {
        // Rule: backplane §13.3 — REDIRECT_URI is absolute and has no fragment
        assert!("https://comments.example/oauth/cb?k=1".parse::<RedirectUri>().is_ok());
        for text in ["", "/cb", "https://c.example/#x", "urn:x", "https://c.example/a b"] {
            assert_eq!(text.parse::<RedirectUri>(), Err(AccountNameError::RedirectUri), "{text}");
        }
    }
}
