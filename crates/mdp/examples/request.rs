//! Asks a service from Rust, as the README shows it.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use buswire_mdp::{Client, ClientError, Frames};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ClientError> {
    for frame in &list("/etc/hosts", 5555).await? {
        print!("{}", String::from_utf8_lossy(frame));
    }
    Ok(())
}

/// Asks the command service `ls-service` of the broker at `port` for a file.
pub(crate) async fn list(path: &'static str, port: u16) -> Result<Frames, ClientError> {
    let client = Client::builder().host("127.0.0.1").port(port).retries(2).connect()?;
    client.send("ls-service", path, None).await
}
