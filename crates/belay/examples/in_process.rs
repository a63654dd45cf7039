//! Two instances in one program that hand capabilities to each other; no HTTP, no gateway.
//!
//! ```text
//! cargo run -p buswire-belay --example in_process
//! ```
//!
//! A library lends a shelf to a reader, who lends it on. The library is restarted and knows both
//! loans; it ends one, and all that hung on it is over.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use buswire_belay::{
    BcapValue, InstanceId, Method, PreImage,
    instance::{CapServer, Capability, Failure, Function, Handler, Interface, Item},
};
use buswire_store::system::SystemEntropy;

/// What the program keeps, whatever happens to its instances: books by shelf.
type Shelves = Arc<Mutex<BTreeMap<String, Vec<BcapValue>>>>;

/// Opens the library: at first, or again from its snapshot.
fn library(
    id: &PreImage,
    snapshot: Option<&str>,
    shelves: &Shelves,
) -> Result<CapServer, Box<dyn Error>> {
    let (instance, entropy) = (id.sha1_instance_id(), Arc::new(SystemEntropy));
    let server = match snapshot {
        None => CapServer::new(instance, entropy),
        Some(text) => CapServer::from_snapshot(instance, entropy, text)?,
    };
    let shelves = Arc::clone(shelves);
    // A name survives where a closure can't; which shelf it is can't be changed by who holds it.
    server.set_named_handler("shelf", move |_, args| match args {
        [BcapValue::String(name)] => Ok(shelf(name, &shelves)),
        _ => Err("a shelf has a name"),
    });
    Ok(server)
}

/// GET lists the books of a shelf, PUT adds one.
fn shelf(name: &str, shelves: &Shelves) -> Item {
    let (list, add) = (Arc::clone(shelves), Arc::clone(shelves));
    let (listed, added) = (name.to_owned(), name.to_owned());
    let list = Function::sync(move |_| {
        let shelves = list.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(shelves.get(&listed).cloned().unwrap_or_default().into()))
    });
    let add = Function::sync(move |request| {
        let book = request.into_data().ok_or(Failure::of_status(400))?;
        let mut shelves = add.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.entry(added.clone()).or_default().push(book);
        Ok(None)
    });
    Handler::new().on(Method::Get, list).on(Method::Put, add).into()
}

/// Lets `from` invoke what `to` has granted.
fn introduce(from: &CapServer, to: &CapServer) {
    let (name, interface) = (to.instance().cloned(), to.public_interface());
    from.set_resolver(move |instance| {
        (Some(instance) == name.as_ref()).then(|| Arc::new(interface.clone()) as Arc<dyn Interface>)
    });
}

async fn titles(shelf: &Capability) -> String {
    match shelf.get().await {
        Ok(Some(books)) => books
            .as_array()
            .unwrap_or_default()
            .iter()
            .filter_map(BcapValue::as_str)
            .collect::<Vec<_>>()
            .join(", "),
        Ok(None) => "nothing".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Lends, lends on, restarts and revokes; says what each holder sees.
pub(crate) async fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let (id, shelves) = (PreImage::mint(&SystemEntropy), Shelves::default());
    let first = library(&id, None, &shelves)?;
    let reader = CapServer::new(InstanceId::temporary(&SystemEntropy), Arc::new(SystemEntropy));
    introduce(&reader, &first);

    // The library grants a shelf and lends it; what the reader gets is a text.
    let shelf = first.grant_named("shelf", vec!["poems".into()])?;
    let loan = first.wrap(&shelf)?;
    let lent = reader.restore(loan.serialize().clone());
    lent.put("Leaves of Grass").await?;
    // The reader lends it on, and can end that alone.
    let friend = reader.wrap(&lent)?;
    let mut seen = vec![format!("friend: {}", titles(&friend).await)];

    // The library is gone, and comes back with what it had granted.
    let snapshot = first.serialize();
    drop((first, shelf));
    let second = library(&id, Some(snapshot.expose()), &shelves)?;
    introduce(&reader, &second);
    lent.put("Les Fleurs du mal").await?;
    seen.push(format!("reader: {}", titles(&lent).await));

    reader.revoke(&friend);
    seen.push(format!("friend: {}", titles(&friend).await));
    second.revoke(&loan);
    seen.push(format!("reader: {}", titles(&lent).await));
    Ok(seen)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for line in run().await? {
        #[expect(clippy::print_stdout, reason = "this is what the example is there to show")]
        {
            println!("{line}");
        }
    }
    Ok(())
}
