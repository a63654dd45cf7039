//! The kinds of item that every server has, beside grantors and controls: `url` and `record`
//! (Belay §20.2).
//!
//! Never here: a door; the operations of the program live where the transports are.

mod record;
mod url;

pub(crate) use self::record::RecordItem;
pub use self::url::{Outward, UrlItem};
