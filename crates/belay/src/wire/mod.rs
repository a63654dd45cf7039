//! What goes over a wire: serialisations (Belay §3) and bcapJson (Belay §4).
//!
//! Never here: what a capability designates, or whether it is alive.

mod bcap;
mod decode;
mod encode;
mod identity;
mod serialisation;
mod value;

pub use bcap::Bcap;
pub use decode::{DecodeError, decode, decode_bare};
pub use encode::{EncodeError, encode, encode_bare};
pub use identity::{PreImage, new_uuid};
pub use serialisation::{CapId, CapUrl, InstanceId, Serialisation};
pub use value::{BcapValue, ForgedReference, HasCapability, Members};

/// The bounds of one bcapJson text (Belay §4.3, §21.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireLimits {
    /// Levels of objects and arrays within the value. Default 64 (Belay §4.3); each level costs a
    /// stack frame while decoding, so more than 100 is taken as 100.
    pub depth_max: usize,
    /// Capabilities in one text. Default 256 (Belay §21.6).
    pub caps_max: usize,
}

impl Default for WireLimits {
    fn default() -> Self {
        Self { depth_max: 64, caps_max: 256 }
    }
}

impl WireLimits {
    // The JSON parser below gives up at 128 levels, the wrapper included.
    const DEPTH_CEILING: usize = 100;

    pub(crate) fn depth(self) -> usize {
        self.depth_max.min(Self::DEPTH_CEILING)
    }
}

#[cfg(test)]
mod tests;
