//! A route from a bus to a printer that is out of paper at first.
//!
//! ```text
//! cargo run -p buswire-bridge --example printer
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, sync::Arc};

use buswire_bridge::{
    OpenSink, Reply, RetryPolicy, Route, RouteDescription, RouteError, RouteProblem, Routes,
    RoutesConfig, Sink, SinkDelivery, SinkError, SinkUri,
};
use buswire_bus::{BusConfig, BusLimits, Buses};
use buswire_message::{BusName, Headers, NewMessage, Payload, Retention};
use buswire_store::{
    BoxFuture,
    memory::MemoryStore,
    system::{SystemClock, SystemEntropy},
};
use tokio::sync::Notify;

/// Prints, but fails the first attempt of every message.
#[derive(Debug, Default, Clone)]
struct Printer(Arc<Notify>);

impl Sink for Printer {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        Box::pin(async move {
            let (attempt, order) = (delivery.attempt, delivery.message.payload.as_str());
            if attempt == 1 {
                println!("attempt {attempt}: no paper");
                return Err(SinkError::Retry("no paper".to_owned()));
            }
            println!("attempt {attempt}: {order}");
            self.0.notify_one();
            Ok(None)
        })
    }
}

impl OpenSink for Printer {
    fn open(&self, _uri: &SinkUri) -> Result<Arc<dyn Sink>, RouteProblem> {
        Ok(Arc::new(self.clone()))
    }

    fn check<'a>(&'a self, _uri: &'a SinkUri) -> BoxFuture<'a, Result<(), RouteError>> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (store, clock, printer) =
        (Arc::new(MemoryStore::new()), Arc::new(SystemClock), Printer::default());
    let message_url_prefix = "https://gw.example/v2/message/".into();
    let config = BusConfig { message_url_prefix, limits: BusLimits::default(), tracer: None };
    let buses = Buses::open(store.clone(), clock.clone(), config).await?;
    let bus: BusName = "shop.example".parse()?;
    buses.create(&bus, Retention::default()).await?;

    let (entropy, sinks) = (Arc::new(SystemEntropy), Arc::new(printer.clone()));
    let config = RoutesConfig::new("https://gw.example/".parse()?);
    let routes = Routes::open(buses.clone(), store, clock, entropy, sinks, config).await?;
    let route = Route::parse(&RouteDescription {
        name: "print",
        scope: "bus:shop.example type:order/new",
        map: &[],
        sink: "mdp:printer",
        reply_type: None,
        from: "now",
        retry: RetryPolicy::default(),
    });
    routes.create(route.map_err(|problems| format!("{problems:?}"))?).await?;

    let message = NewMessage {
        channel: "table-4".parse()?,
        source: "https://shop.example/".parse()?,
        kind: "order/new".parse()?,
        sticky: false,
        expires_at: None,
        payload: Payload::parse(&"{\"item\":\"soup\"}".into())?,
        headers: Headers::default(),
    };
    buses.publish(&bus, message).await?;
    printer.0.notified().await;
    routes.stop().await;
    Ok(())
}
