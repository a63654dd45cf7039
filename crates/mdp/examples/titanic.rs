//! A request that is stored before its service exists, and answered once it does.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use buswire_mdp::titanic::{Config, MemoryStorage, Titanic};
use buswire_mdp::{Broker, BrokerConfig, Client, Frames, Worker};
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for frame in &run().await? {
        println!("{}", String::from_utf8_lossy(frame));
    }
    Ok(())
}

#[expect(clippy::expect_used, reason = "without randomness no id can be made")]
fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

/// Stores a request, lets a worker come, and returns the answer of `titanic.reply`.
pub(crate) async fn run() -> Result<Frames, Box<dyn std::error::Error>> {
    let endpoints = vec!["tcp://127.0.0.1:0".to_owned()];
    let broker = Broker::start(BrokerConfig { endpoints, ..BrokerConfig::default() })?;
    let endpoint = broker.endpoints().remove(0);

    // A program that must not forget gives a storage of its own here.
    let storage = Arc::new(MemoryStorage::new());
    let titanic =
        Titanic::open(broker.clone(), storage, Arc::new(random), Config::default()).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = titanic.run(async {
        stopped.await.unwrap_or_default();
    });

    let talk = async {
        let client = Client::builder().endpoint(&endpoint).connect()?;
        let stored = client.send("titanic.request", ["echo", "Hello"], PATIENCE).await?;
        let id = stored.get(1).cloned().ok_or("the request was refused")?;

        let worker = Worker::builder("echo".parse()?)
            .endpoint(&endpoint)
            .handler(|request: Frames| request)
            .start()?;
        let answer = loop {
            let answer = client.send("titanic.reply", [id.clone()], PATIENCE).await?;
            if answer != Frames::from(["300"]) {
                break answer;
            }
        };
        client.send("titanic.close", [id], PATIENCE).await?;
        worker.stop().await;
        broker.shutdown(PATIENCE).await;
        // The runner ends, and with it the last that holds the broker.
        drop(stop);
        Ok::<_, Box<dyn std::error::Error>>(answer)
    };
    let ((), answer) = tokio::join!(serve, talk);
    answer
}
