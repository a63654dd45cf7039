//! Clients of Backplane servers, of 2.0 and 1.x, on reqwest.
//!
//! [`Client`] speaks 2.0: it gets its tokens itself and renews them, posts, reads, and follows a
//! channel or whole buses as a [`MessageStream`]. [`V1Client`] speaks 1.x: it posts and reads.
//!
//! ```text
//! tokens · poll · backoff      what to ask for, and when      no I/O, time is handed in
//! answer                       what servers answer            pure
//! http · two · stream · one    requests and waits             drivers
//! ```
//!
//! They are lenient with what servers send, as published servers differ, and strict with what they
//! send themselves. Credentials are sent over HTTPS alone, except to the own machine, never follow a
//! redirect, and never go to another server than the one configured, whatever a `nextURL` says.
//!
//! ```no_run
//! use buswire_backplane::{Post, client::{Access, Client, Credentials, Position, Server, Settings}};
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let credentials = Credentials::new("comments-svc".parse()?, "tangled-kelp-4".to_owned());
//! let server = Server::parse("https://bp.example.net")?;
//! let client = Client::new(server, Access::Grants(credentials), Settings::default())?;
//! let login = Post::new("identity/login".parse()?, &serde_json::json!({"id": "u-88"}))?.sticky();
//! client.post(&"gazette.example".parse()?, &"Zr4uQm81yTnE0aWc6XkLp3GdVb7JhS2o".parse()?, &login).await?;
//! let mut stream = client.stream(Position::start());
//! while let Ok(message) = stream.next().await {
//!     println!("{} {}", message.kind, message.payload_text().unwrap_or_default());
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod backoff;
mod error;
mod http;
mod one;
mod poll;
mod settings;
mod stream;
mod tokens;
mod two;

pub use answer::{Frame, FrameMessage, Message, Page};
pub use backoff::Backoff;
pub use error::{ClientError, OAuthCode, Refusal};
pub use one::{Select, V1Client, V1Path};
pub use poll::Position;
pub use settings::{Server, ServerError, Settings};
pub use stream::MessageStream;
pub use tokens::{Access, Credentials};
pub use two::Client;
