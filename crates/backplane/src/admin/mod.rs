//! Administration: what the program offers to administrators through its own interfaces.
//!
//! Plain calls on [`Backplane`](crate::Backplane). Never here: who may make them.

mod buses;
mod clients;
mod grants;
mod issued;
mod users;

pub use buses::{OwnedBus, V1Bus};
pub use clients::{ClientInfo, CreatedClient, NewClient};
pub use grants::Grant;
pub use issued::ChannelInfo;
pub use users::{Account, NewPassword};

/// How often a change that met somebody else's is tried again.
const ATTEMPTS: usize = 8;
