//! A scope made ready for reading: which buses, which channels, and what is left to compare.
//!
//! Never here: messages.

use std::{str::FromStr, sync::Arc};

use buswire_message::{BusName, ChannelName, Field, Message, MessageType, Scope};
use smallvec::SmallVec;

/// What of a scope no index answers, compared with each message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    scope: Scope,
    message_url_prefix: Arc<str>,
}

impl Filter {
    pub(crate) fn new(scope: Scope, message_url_prefix: &Arc<str>) -> Self {
        Self { scope, message_url_prefix: Arc::clone(message_url_prefix) }
    }

    pub(crate) fn admits(&self, message: &Message) -> bool {
        self.scope.matches(&message.subject(&self.message_url_prefix))
    }
}

/// The names that a scope gives for `field`, each once, in order; `None` if it gives none. A value
/// that is no such name matches no message.
fn names<T: FromStr + Ord>(scope: &Scope, field: Field) -> Option<SmallVec<[T; 1]>> {
    scope.has(field).then(|| {
        let mut names: SmallVec<[T; 1]> =
            scope.values(field).filter_map(|value| value.parse().ok()).collect();
        names.sort_unstable();
        names.dedup();
        names
    })
}

/// A scope made ready for reading.
#[derive(Debug)]
pub(crate) struct Selection {
    /// The buses, each once, in order.
    pub(crate) buses: SmallVec<[BusName; 1]>,
    /// The channels, each once, in order; `None` for all.
    pub(crate) channels: Option<SmallVec<[ChannelName; 1]>>,
    /// The types, each once, in order; `None` for all. The filter compares them too.
    pub(crate) kinds: Option<SmallVec<[MessageType; 1]>>,
    /// The rest of the scope, if there is any.
    pub(crate) filter: Option<Arc<Filter>>,
}

impl Selection {
    pub(crate) fn new(scope: &Scope, message_url_prefix: &Arc<str>) -> Self {
        let mut buses: SmallVec<[BusName; 1]> = scope.buses().collect();
        buses.sort_unstable();
        buses.dedup();
        let channels = names(scope, Field::Channel);
        let kinds = names(scope, Field::Type);
        let has_rest =
            [Field::Source, Field::Type, Field::Sticky, Field::MessageUrl].map(|f| scope.has(f));
        let filter = has_rest.contains(&true).then(|| {
            let scope = scope.clone().without(Field::Bus).without(Field::Channel);
            Arc::new(Filter::new(scope, message_url_prefix))
        });
        Self { buses, channels, kinds, filter }
    }

    /// Whether a message of one of its buses, in one of its channels, is in scope.
    pub(crate) fn admits(&self, message: &Message) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.admits(message))
    }

    /// Whether `message` is in scope, no index asked.
    pub(crate) fn admits_any(&self, message: &Message) -> bool {
        self.buses.contains(&message.bus)
            && self.channels.as_ref().is_none_or(|channels| channels.contains(&message.channel))
            && self.admits(message)
    }
}
