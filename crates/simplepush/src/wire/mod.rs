//! The messages of SimplePush as JSON text, one file per message (SimplePush §6, §7).
//!
//! Reading is in two steps: [`Envelope::read`] finds the members without building a tree, and each
//! message takes what it needs from it. Writing always gives compact text (R-JSON-5).
//!
//! Never here: what a message does.

mod ack;
mod envelope;
mod failure;
mod hello;
mod notification;
mod ping;
mod register;
mod unregister;

pub(crate) use ack::{Ack, AckedVersion};
pub(crate) use envelope::{Envelope, Kind};
pub(crate) use hello::{Claim, Hello};
pub(crate) use notification::NotificationWriter;
pub(crate) use ping::PONG;
pub(crate) use register::Register;
pub(crate) use unregister::Unregister;
