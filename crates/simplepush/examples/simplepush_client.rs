//! Prints an endpoint, then the versions that are PUT to it.
//!
//! `cargo run -p buswire-simplepush --features client --example simplepush_client --
//! ws://127.0.0.1:8080/push`

use std::{env, error::Error};

use buswire_simplepush::client::{Client, Event};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "what it prints is what it is for")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080/push".to_owned());
    let (client, mut events) = Client::builder(&url)?.start().await?;
    let (_channel, endpoint) = client.register_new().await?;
    println!("{}", endpoint.as_str());
    while let Some(event) = events.next().await {
        match event? {
            Event::Update(update) => {
                println!("{}", update.version());
                update.acknowledge().await?;
            }
            Event::Moved(_channel, endpoint) => println!("{}", endpoint.as_str()),
            Event::Lost(_channel, refusal) => return Err(refusal.into()),
        }
    }
    Ok(())
}
