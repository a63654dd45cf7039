//! What is wrong with a configuration, and where it was written.
//!
//! Never here: the value of a secret.

use std::{fmt, path::PathBuf};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: it is the default.
    Default,
    /// In this file.
    File(PathBuf),
    /// In this environment variable.
    Environment(String),
    /// In this file, which an environment variable names.
    SecretFile(PathBuf),
    /// In an argument `--set`, or in a flag that stands for one.
    Argument,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::SecretFile(path) => write!(f, "secret file {}", path.display()),
            Self::Argument => f.write_str("command line"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, or the place in the file where no key can be named.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// Where it was written.
    pub source: Source,
}

impl Problem {
    pub(crate) fn new(key: impl Into<String>, message: impl Into<String>, source: Source) -> Self {
        Self { key: key.into(), message: message.into(), source }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.key, self.message, self.source)
    }
}

/// All that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} problem{}", .problems.len(), if .problems.len() == 1 { "" } else { "s" })]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty(), "an error says what is wrong");
        Self { problems }
    }

    /// The problems, in the order of the keys.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}
