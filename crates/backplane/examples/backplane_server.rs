//! Serves Backplane alone, over a store in memory.
//!
//! ```text
//! cargo run -p buswire-backplane --example backplane_server -- 127.0.0.1:8080
//! ```
//!
//! Makes a 1.x and a 2.0 bus `gazette.example`, a 1.x user, and a client with a grant, and prints one
//! JSON line with the address and the credentials. Ends on SIGINT and SIGTERM.

use std::{collections::BTreeMap, error::Error, io::Write as _, sync::Arc};

use axum::{Router, routing::get};
use buswire_backplane::{
    Backplane, Config, NewClient, NewPassword, OwnedBus, Permission, Permissions, PublicUrl,
    TlsPolicy, V1Bus,
};
use buswire_bus::{BusConfig, BusLimits, Buses};
use buswire_message::{Retention, Secret};
use buswire_store::{
    Store,
    memory::MemoryStore,
    system::{SystemClock, SystemEntropy},
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;

    let public_url = PublicUrl::parse(&format!("http://{address}"))?;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(SystemClock);
    let bus_config = BusConfig {
        message_url_prefix: public_url.message_url_prefix(),
        limits: BusLimits::default(),
        tracer: None,
    };
    let buses = Buses::open(Arc::clone(&store), clock.clone(), bus_config).await?;
    // Plain HTTP, so only for the own machine.
    let config = Config { tls: TlsPolicy::Optional, ..Config::new(public_url) };
    let door = Backplane::new(buses.clone(), store, clock, Arc::new(SystemEntropy), config);

    let credentials = set_up(&door).await?;
    let ready = serde_json::json!({
        "address": address,
        "user": "commentsco",
        "password": "quiet-harbor-7",
        "client_id": credentials.client_id.as_str(),
        "client_secret": credentials.secret.expose(),
    });
    writeln!(std::io::stdout(), "{ready}")?;

    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(buses.run(shutdown.clone()));
    let follower = door.clone();
    let stop = shutdown.clone();
    tasks.spawn(async move { follower.run(stop).await });
    let router = Router::new()
        .merge(door.router())
        .route("/", get(async move || door.welcome()))
        .fallback(async || Backplane::unknown_url());
    axum::serve(listener, router).with_graceful_shutdown(asked_to_stop()).await?;
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

async fn set_up(door: &Backplane) -> Result<buswire_backplane::CreatedClient, Box<dyn Error>> {
    let retention = Retention::default();
    let user = "commentsco".parse()?;
    let password = NewPassword::Clear(Secret::new("quiet-harbor-7".to_owned()));
    door.put_user(&user, password, None).await?;
    let held = Permissions::none().with(Permission::GetAll).with(Permission::Post);
    let users = BTreeMap::from([(user, held)]);
    door.put_v1_bus(V1Bus { name: "v1/gazette.example".parse()?, users, retention }).await?;

    let owner = "gazette-owner".parse()?;
    let password = NewPassword::Clear(Secret::new("paper-and-ink".to_owned()));
    door.put_owner(&owner, password, None).await?;
    let name: buswire_message::BusName = "gazette.example".parse()?;
    door.put_bus(OwnedBus { name: name.clone(), owner, retention }, None).await?;
    let client = NewClient {
        client_id: Some("comments-svc".parse()?),
        secret: None,
        source_url: "https://comments.example/".parse()?,
        redirect_uri: "https://comments.example/oauth/cb".parse()?,
    };
    let created = door.create_client(client).await?;
    door.grant(&created.client_id, &[name]).await?;
    Ok(created)
}

/// Waits for SIGINT or SIGTERM. Where signals can't be waited for, the default ends the process.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
