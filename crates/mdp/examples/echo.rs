//! A broker, a worker and a client in one process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use buswire_mdp::{Broker, BrokerConfig, Client, Frames, Worker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for frame in &run().await? {
        println!("{}", String::from_utf8_lossy(frame));
    }
    Ok(())
}

/// Sends two frames through the three of them and returns what came back.
pub(crate) async fn run() -> Result<Frames, Box<dyn std::error::Error>> {
    let endpoints = vec!["tcp://127.0.0.1:0".to_owned()];
    let broker = Broker::start(BrokerConfig { endpoints, ..BrokerConfig::default() })?;
    let endpoint = broker.endpoints().remove(0);

    let worker = Worker::builder("echo".parse()?)
        .endpoint(&endpoint)
        .handler(|request: Frames| request)
        .start()?;

    // A request waits at the broker until a worker has registered.
    let client = Client::builder().endpoint(&endpoint).connect()?;
    let reply = client.send("echo", ["Hello", "World"], Duration::from_secs(10)).await?;

    worker.stop().await;
    broker.shutdown(Duration::from_secs(5)).await;
    Ok(reply)
}
