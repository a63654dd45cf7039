//! The UserAgent side of SimplePush, for programs (SimplePush §17.7).
//!
//! [`Client`] keeps one connection to a SimplePush server, comes back after every loss, registers
//! channels and tells of their versions. A version counts as taken only when the program says so
//! ([`Update::acknowledge`]): until then it is told again, after a restart too.
//!
//! ```no_run
//! use buswire_simplepush::{ChannelId, client::{Client, Event, FileStorage}};
//!
//! # async fn listen() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = FileStorage::new("push-state.json");
//! let builder = Client::builder("wss://push.example.net/push")?;
//! let (client, mut events) = builder.storage(storage).start().await?;
//! let channel: ChannelId = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90".parse()?;
//! let endpoint = client.register(channel).await?;
//! // Give endpoint.as_str() to the application server, which PUTs versions to it.
//! while let Some(event) = events.next().await {
//!     match event? {
//!         Event::Update(update) => {
//!             // Read what changed, then:
//!             update.acknowledge().await?;
//!         }
//!         // The server forgot us: the channel has a new endpoint, and versions may have been lost.
//!         Event::Moved(_channel, _endpoint) => {}
//!         Event::Lost(_channel, _refusal) => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `agent` | the conversation as a state machine, without I/O |
//! | `wire` | the messages as JSON text |
//! | `name`, `state`, `storage` | names, what a UserAgent remembers, and where |
//! | `handle` | what a program calls |
//! | `driver`, `transport` | the task that moves bytes, and the WebSocket |
//!
//! Never here: the server.

mod agent;
mod driver;
mod handle;
mod name;
mod state;
mod storage;
mod transport;
mod wire;

pub use agent::{Refusal, Settings};
pub use handle::{
    Builder, Client, ClientError, Closed, Connectivity, Event, Events, RegisterError, StartError,
    Update,
};
pub use name::Endpoint;
pub use state::ClientState;
pub use storage::{FileStorage, MemoryStorage, Storage};
