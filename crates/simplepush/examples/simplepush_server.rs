//! A SimplePush server in a few lines, on the in-memory store.
//!
//! `cargo run -p buswire-simplepush --example simplepush_server -- 127.0.0.1:8080` prints its address and
//! serves `/push` and `/update/{token}` until it is interrupted. Everything is forgotten when it ends.

use std::{env, error::Error, sync::Arc};

use buswire_message::Entropy as _;
use buswire_simplepush::{Config, EndpointBase, SimplePush, TokenKey, TokenKeys};
use buswire_store::{
    memory::MemoryStore,
    system::{SystemClock, SystemEntropy},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);

    let mut key = [0; 32];
    SystemEntropy.fill(&mut key);
    let keys = TokenKeys::new(&TokenKey::new(1, key), &[])?;
    let config = Config::new(EndpointBase::new(&url)?, keys);
    let store = Arc::new(MemoryStore::new());
    let push = SimplePush::new(store, Arc::new(SystemClock), Arc::new(SystemEntropy), config);

    #[expect(clippy::print_stdout, reason = "the address is what the caller waits for")]
    {
        println!("{url}");
    }
    let stop = CancellationToken::new();
    let (router, runner, stopped) = (push.router(), push.clone(), stop.clone());
    let serve = axum::serve(listener, router);
    tokio::select! {
        result = serve.into_future() => result?,
        () = runner.run(stopped) => {}
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            // Connections are told to close while timers still run.
            tokio::select! {
                () = push.drain() => {}
                () = push.run(stop) => {}
            }
        }
    }
    Ok(())
}
