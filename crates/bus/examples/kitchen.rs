//! A bus with somebody who publishes and somebody who waits.
//!
//! ```text
//! cargo run -p buswire-bus --example kitchen
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, sync::Arc};

use buswire_bus::{BusConfig, BusLimits, Buses};
use buswire_message::{BusName, Cursor, Headers, NewMessage, Payload, Retention};
use buswire_store::{memory::MemoryStore, system::SystemClock};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

fn order(item: &str) -> Result<NewMessage, Box<dyn Error>> {
    Ok(NewMessage {
        channel: "table-4".parse()?,
        source: "https://shop.example/".parse()?,
        kind: "order/new".parse()?,
        sticky: false,
        expires_at: None,
        payload: Payload::parse(&format!("{{\"item\":\"{item}\"}}").into())?,
        headers: Headers::default(),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = BusConfig {
        message_url_prefix: "https://gw.example/v2/message/".into(),
        limits: BusLimits::default(),
        tracer: None,
    };
    let buses = Buses::open(Arc::new(MemoryStore::new()), Arc::new(SystemClock), config).await?;
    let bus: BusName = "shop.example".parse()?;
    buses.create(&bus, Retention::default()).await?;

    let stop = CancellationToken::new();
    let scope = "bus:shop.example type:order/new".parse()?;
    let mut orders = buses.subscribe(scope, Cursor::Start).take(2);
    let kitchen = async {
        while let Some(Ok(message)) = orders.next().await {
            println!("{} for {}", message.payload.as_str(), message.channel);
        }
        stop.cancel();
    };
    let waiter = async {
        // Each is on the store, and found by every reader, when this returns.
        buses.publish(&bus, order("soup")?).await?;
        buses.publish(&bus, order("a hat")?).await?;
        Ok(())
    };
    // `run` wakes who waits, and sweeps what has expired.
    let ((), (), sold) = tokio::join!(buses.run(stop.clone()), kitchen, waiter);
    sold
}
