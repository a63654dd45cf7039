//! The scripts that pages load: the libraries of 1.x and 2.0, and the identity filter of 1.x
//! (Backplane §13.10, §14).
//!
//! They are served as they are written. Never here: an answer of HTTP.

use std::{fmt::Write as _, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha384};

/// A library in one scope of its own; a page that has one already keeps it.
macro_rules! library {
    ($file:literal) => {
        concat!(
            "(() => {\n\"use strict\";\nif (window.Backplane) return;\n",
            include_str!("common.js"),
            include_str!($file),
            "})();\n"
        )
    };
}

/// A script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// The library of 1.x.
    One,
    /// The library of 2.0.
    Two,
    /// The filter of messages about identities, for 1.x.
    IdentityServices,
}

/// How a page names a script, which decides how long it may keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptName {
    /// Whatever the content is.
    Plain,
    /// By its content.
    Hashed,
}

impl Script {
    pub(crate) const ALL: [Self; 3] = [Self::One, Self::Two, Self::IdentityServices];

    const fn stem(self) -> &'static str {
        match self {
            Self::One => "backplane",
            Self::Two => "backplane2",
            Self::IdentityServices => "identity-services",
        }
    }

    /// What a site uses it for.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::One => "Backplane 1.x",
            Self::Two => "Backplane 2.0",
            Self::IdentityServices => "Identities of 1.x, after backplane.js",
        }
    }

    /// The script with one of the two file names.
    pub(crate) fn named(name: &str) -> Option<(Self, ScriptName)> {
        let stem = name.split('.').next()?;
        let script = Self::ALL.into_iter().find(|script| script.stem() == stem)?;
        if name == script.plain_name() {
            return Some((script, ScriptName::Plain));
        }
        (name == script.hashed_name()).then_some((script, ScriptName::Hashed))
    }

    /// `backplane.js`
    pub(crate) fn plain_name(self) -> String {
        format!("{}.js", self.stem())
    }

    /// The content.
    pub(crate) const fn source(self) -> &'static str {
        match self {
            Self::One => library!("backplane1.js"),
            Self::Two => library!("backplane2.js"),
            Self::IdentityServices => include_str!("identity-services.js"),
        }
    }

    fn digest(self) -> &'static [u8] {
        static DIGESTS: LazyLock<[[u8; 48]; 3]> =
            LazyLock::new(|| Script::ALL.map(|script| Sha384::digest(script.source()).into()));
        let [one, two, identity] = &*DIGESTS;
        match self {
            Self::One => one,
            Self::Two => two,
            Self::IdentityServices => identity,
        }
    }

    /// What a page writes into `integrity`, so that its browser takes no other content.
    pub(crate) fn integrity(self) -> String {
        format!("sha384-{}", STANDARD.encode(self.digest()))
    }

    /// `backplane.HASH.js`, which only this content has.
    pub(crate) fn hashed_name(self) -> String {
        let mut name = format!("{}.", self.stem());
        for byte in self.digest().iter().take(10) {
            // Writing to memory can't fail.
            write!(name, "{byte:02x}").unwrap_or_default();
        }
        name.push_str(".js");
        name
    }
}
