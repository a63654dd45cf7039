//! What waits to be told to the program: at most one entry for each channel.

use std::collections::{BTreeMap, VecDeque};

use buswire_message::Version;

use super::{ChannelId, Endpoint, Refusal};

/// One thing that the program is told.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::client) enum News {
    /// The channel has a new version.
    Version(ChannelId, Told),
    /// The channel was registered anew, or that was refused, without the program having asked.
    Registered(ChannelId, Result<Endpoint, Refusal>),
}

/// A version with what the application server passed along.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::client) struct Told {
    pub(in crate::client) version: Version,
    pub(in crate::client) data: Option<String>,
}

#[derive(Debug, Default)]
struct Waiting {
    registered: Option<Result<Endpoint, Refusal>>,
    told: Option<Told>,
}

/// News in the order in which channels came to have any. Later versions take the place of earlier ones,
/// so that a slow program learns the latest and costs no more than its channels.
#[derive(Debug, Default)]
pub(super) struct Newsstand {
    order: VecDeque<ChannelId>,
    waiting: BTreeMap<ChannelId, Waiting>,
}

impl Newsstand {
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn registered(&mut self, channel: ChannelId, result: Result<Endpoint, Refusal>) {
        self.entry(channel).registered = Some(result);
    }

    pub(super) fn version(&mut self, channel: ChannelId, told: Told) {
        let waiting = self.entry(channel);
        if waiting.told.as_ref().is_none_or(|earlier| earlier.version <= told.version) {
            waiting.told = Some(told);
        }
    }

    fn entry(&mut self, channel: ChannelId) -> &mut Waiting {
        self.waiting.entry(channel).or_insert_with(|| {
            self.order.push_back(channel);
            Waiting::default()
        })
    }

    /// The program has this version and all before it.
    pub(super) fn taken(&mut self, channel: ChannelId, version: Version) {
        let Some(waiting) = self.waiting.get_mut(&channel) else { return };
        waiting.told.take_if(|told| told.version <= version);
        if waiting.told.is_none() && waiting.registered.is_none() {
            self.forget(channel);
        }
    }

    /// The program gave the channel up.
    pub(super) fn forget(&mut self, channel: ChannelId) {
        self.waiting.remove(&channel);
        self.order.retain(|other| *other != channel);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next thing to tell: of one channel its registration comes first.
    pub(super) fn take(&mut self) -> Option<News> {
        let channel = self.order.pop_front()?;
        let waiting = self.waiting.get_mut(&channel)?;
        let registered = waiting.registered.take().map(|it| News::Registered(channel, it));
        if registered.is_some() && waiting.told.is_some() {
            self.order.push_front(channel);
            return registered;
        }
        let told = self.waiting.remove(&channel)?.told;
        registered.or_else(|| told.map(|told| News::Version(channel, told)))
    }
}
