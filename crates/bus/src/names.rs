//! Names that repeat from message to message, kept once each.
//!
//! Checking a source means parsing a URL; a window of a million messages from a few sources must
//! neither check nor keep it a million times. Never here: channels, which the window indexes itself.

use std::{collections::HashMap, str::FromStr};

use buswire_message::{MessageType, SourceUrl};

/// How many sources and how many types are kept, each; on overflow all are forgotten, which costs
/// memory and time but nothing else. Worst case 3 KiB each.
const NAMES_MAX: usize = 1024;

/// Names that repeat from message to message.
#[derive(Debug, Default)]
pub(crate) struct Names {
    sources: HashMap<Box<str>, SourceUrl>,
    kinds: HashMap<Box<str>, MessageType>,
}

impl Names {
    /// The source `text`; `None` if it is none.
    pub(crate) fn source(&mut self, text: &str) -> Option<SourceUrl> {
        look_up(&mut self.sources, text, || text.parse().ok())
    }

    /// The message type `text`; `None` if it is none.
    pub(crate) fn kind(&mut self, text: &str) -> Option<MessageType> {
        look_up(&mut self.kinds, text, || text.parse().ok())
    }

    /// The kept twin of `source`.
    pub(crate) fn same_source(&mut self, source: &SourceUrl) -> SourceUrl {
        look_up(&mut self.sources, source.as_str(), || Some(source.clone()))
            .unwrap_or_else(|| source.clone())
    }

    /// The kept twin of `kind`.
    pub(crate) fn same_kind(&mut self, kind: &MessageType) -> MessageType {
        look_up(&mut self.kinds, kind.as_str(), || Some(kind.clone()))
            .unwrap_or_else(|| kind.clone())
    }
}

fn look_up<T: Clone + FromStr>(
    kept: &mut HashMap<Box<str>, T>,
    text: &str,
    make: impl FnOnce() -> Option<T>,
) -> Option<T> {
    if let Some(name) = kept.get(text) {
        return Some(name.clone());
    }
    let name = make()?;
    if kept.len() >= NAMES_MAX {
        kept.clear();
    }
    kept.insert(text.into(), name.clone());
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_within_a_bound() {
        let mut names = Names::default();
        let first = names.source("https://a.example/").unwrap();
        let second = names.source("https://a.example/").unwrap();
        assert_eq!(first.as_str().as_ptr(), second.as_str().as_ptr());
        assert_eq!(names.source("not a url"), None);
        for number in 0..3 * NAMES_MAX {
            names.kind(&format!("t{number}"));
        }
        assert!(names.kinds.len() <= NAMES_MAX);
    }
}
