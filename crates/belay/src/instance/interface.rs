//! What every routing element offers: an invocation by serialisation, in wire texts (Belay §1, §6.13).
//!
//! Never here: what an item does with it.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use futures::{FutureExt as _, future::BoxFuture};

use crate::{
    BcapError,
    instance::{
        CapServer, WireResult,
        server::{Inner, Route},
    },
    wire::InstanceId,
};

/// Takes invocations of the capabilities that it knows, or knows the way to.
///
/// The data is wire text from end to end; whoever is in between does not decode it (Belay §8).
pub trait Interface: Send + Sync + fmt::Debug {
    /// Invokes the capability that `serialisation` says. `method` is any text: items of which the
    /// program decides itself take others than the four (Belay §6.8).
    ///
    /// # Errors
    ///
    /// [`Failure`](crate::instance::Failure); 404 if nobody has the capability.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the invocation: an item in this process is dropped too.
    fn invoke<'a>(
        &'a self,
        serialisation: &'a str,
        method: &'a str,
        data: Option<String>,
    ) -> BoxFuture<'a, WireResult>;
}

/// Says which interface reaches an instance; `None` if nothing does (Belay §1).
pub(crate) type Resolver = Arc<dyn Fn(&InstanceId) -> Option<Arc<dyn Interface>> + Send + Sync>;

/// What other instances reach: the server's own capabilities and nothing else (Belay §6.13).
///
/// Does not keep the server alive; when the server is gone, everything answers 404.
#[derive(Clone)]
pub struct PublicInterface(pub(super) Weak<Inner>);

/// What capabilities of the server go through: URLs, its own, and whatever its resolver knows
/// (Belay §6.13).
#[derive(Clone, Debug)]
pub struct PrivateInterface(pub(super) CapServer);

impl Interface for PublicInterface {
    fn invoke<'a>(
        &'a self,
        serialisation: &'a str,
        method: &'a str,
        data: Option<String>,
    ) -> BoxFuture<'a, WireResult> {
        async move {
            let server = self.0.upgrade().map(CapServer).ok_or(BcapError::NotFound)?;
            match server.route(serialisation)? {
                Route::Own(cap) => server.run(&cap, method, data).await,
                Route::Url(_) | Route::Foreign(_) => Err(BcapError::NotFound.into()),
            }
        }
        .boxed()
    }
}

impl Interface for PrivateInterface {
    fn invoke<'a>(
        &'a self,
        serialisation: &'a str,
        method: &'a str,
        data: Option<String>,
    ) -> BoxFuture<'a, WireResult> {
        async move {
            match self.0.route(serialisation)? {
                Route::Own(cap) => self.0.run(&cap, method, data).await,
                Route::Url(url) => self.0.fetch(&url, method, data).await,
                Route::Foreign(instance) => {
                    let resolved = self.0.resolve(&instance).ok_or(BcapError::NotFound)?;
                    resolved.invoke(serialisation, method, data).await
                }
            }
        }
        .boxed()
    }
}

impl fmt::Debug for PublicInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicInterface(…)")
    }
}
