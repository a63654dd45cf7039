//! Says which of three messages a scope has.
//!
//! ```text
//! cargo run -p buswire-message --example scopes -- bus:shop.example type:order/new type:order/paid
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use buswire_message::{BusName, Scope, Subject};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let scope: Scope = words.join(" ").parse()?;
    println!("{scope}");
    let bus: BusName = "shop.example".parse()?;
    for kind in ["order/new", "order/paid", "order/lost"] {
        let source = "https://shop.example/";
        let message = Subject {
            bus: &bus,
            channel: "table-4",
            kind,
            source,
            sticky: false,
            message_url: None,
        };
        println!("{kind}: {}", if scope.matches(&message) { "in" } else { "out" });
    }
    Ok(())
}
