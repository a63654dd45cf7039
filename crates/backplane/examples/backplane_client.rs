//! Posts a message to a new channel and follows the channel until it comes.
//!
//! ```text
//! cargo run -p buswire-backplane --features client --example backplane_client -- \
//!     http://127.0.0.1:8080 gazette.example comments-svc SECRET
//! ```
//!
//! `backplane_server`, the other example, prints what to put there. Prints one line for the header
//! that the page gets, and one for the payload that its back end gets.

use std::{env, error::Error, io::Write as _};

use buswire_backplane::{
    Post,
    client::{Access, Client, Credentials, Position, Server, Settings},
};
use buswire_message::BusName;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, bus, client_id, secret] = arguments.as_slice() else {
        return Err("give the URL of a server, a bus, a client id and its secret".into());
    };
    let (server, bus): (Server, BusName) = (Server::parse(server)?, bus.parse()?);

    // The page of a visitor: it needs no credentials and has a channel of its own.
    let page = Client::new(server.clone(), Access::Visit(bus.clone()), Settings::default())?;
    let channel = page.channel().await?.ok_or("the server has given no channel")?;
    let mut headers = page.stream(Position::start());

    // A back end posts to the channel.
    let credentials = Credentials::new(client_id.parse()?, secret.clone());
    let back_end = Client::new(server, Access::Grants(credentials), Settings::default())?;
    let login = Post::new("identity/login".parse()?, &json!({"id": "u-88"}))?.sticky();
    back_end.post(&bus, &channel, &login).await?;

    // The page gets the header, and its back end reads the payload.
    let header = headers.next().await?;
    let mut out = std::io::stdout();
    writeln!(out, "{} from {}", header.kind, header.source)?;
    let message = back_end.message(&header.url).await?;
    writeln!(out, "{}", message.payload_text().unwrap_or_default())?;
    Ok(())
}
