//! Moves money between two rows, all or nothing, in a store that is opened twice.
//!
//! ```text
//! cargo run -p buswire-store --example accounts
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use buswire_message::Clock as _;
use buswire_store::{
    Ack, Batch, Expectation, Key, Operation, Outcome, Partition, Row, Store,
    embedded::{EmbeddedConfig, EmbeddedStore},
    system::SystemClock,
};

type Answer<T> = Result<T, Box<dyn Error>>;

fn put(name: &str, cents: u64) -> Answer<Operation> {
    let value = cents.to_string().into();
    Ok(Operation::Put { key: Key::new(name.to_owned())?, value, expires: None })
}

async fn row(store: &dyn Store, bank: &Partition, name: &str) -> Answer<Row> {
    let key = Key::new(name.to_owned())?;
    Ok(store.get(bank, &key, SystemClock.now()).await?.ok_or("no such account")?)
}

fn cents(row: &Row) -> Answer<u64> {
    let bytes = row.value.as_bytes().ok_or("not an account")?;
    Ok(std::str::from_utf8(bytes)?.parse()?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Answer<()> {
    let folder = tempfile::tempdir()?;
    let bank = Partition::new("bank")?;
    let store = EmbeddedStore::open(folder.path(), EmbeddedConfig::default())?;
    let opened = Batch::new(bank.clone()).then(put("ann", 100)?).then(put("bob", 0)?);
    store.commit(opened, Ack::Safe, SystemClock.now()).await?;

    // Nothing is moved unless both are still as they were read.
    let (ann, bob) = (row(&store, &bank, "ann").await?, row(&store, &bank, "bob").await?);
    let move_30 = Batch::new(bank.clone())
        .expect(Expectation::Unchanged(Key::new("ann")?, ann.revision))
        .expect(Expectation::Unchanged(Key::new("bob")?, bob.revision))
        .then(put("ann", cents(&ann)? - 30)?)
        .then(put("bob", cents(&bob)? + 30)?);
    for _ in 0..2 {
        match store.commit(move_30.clone(), Ack::Safe, SystemClock.now()).await? {
            Outcome::Committed(_) => println!("moved"),
            Outcome::Conflict(which) => println!("expectation {which} does not hold: not moved"),
        }
    }
    store.close().await;
    drop(store);

    // What was committed safely is there, whatever happens to the process.
    let store = EmbeddedStore::open(folder.path(), EmbeddedConfig::default())?;
    for name in ["ann", "bob"] {
        println!("{name}: {}", cents(&row(&store, &bank, name).await?)?);
    }
    store.close().await;
    Ok(())
}
