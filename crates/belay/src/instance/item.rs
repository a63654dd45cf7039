//! What a program grants: the items of Belay §6.2.
//!
//! Never here: the rules around them; see `run`.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use tokio_util::sync::CancellationToken;

use crate::{
    instance::{CapServer, Capability, Failure, WireResult},
    method::Method,
    wire::{BcapValue, CapUrl, Serialisation},
};

/// What an item answers: a value, `None` for no data, or why it failed.
pub type Outcome = Result<Option<BcapValue>, Failure>;

/// What a grant designates.
#[derive(Clone, Debug)]
pub enum Item {
    /// Nothing: every method answers 404.
    Dead,
    /// A URL, invoked through the server's [`Transport`](crate::instance::Transport) (Belay §6.6).
    Url(CapUrl),
    /// A function for GET, PUT and POST (Belay §6.3).
    Function(Function),
    /// One function for each method that there is (Belay §6.4).
    Handler(Handler),
    /// Another capability; each invocation is passed on to it (Belay §6.7).
    Bcap(Capability),
    /// A function for whatever method is asked for (Belay §6.8).
    Invoke(Function),
    /// The same in wire texts (Belay §6.8, `raw`).
    Implementation(Arc<dyn Implementation>),
}

/// The text is neither an `http:` nor an `https:` URL (Belay §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unusable handler")]
pub struct UnusableItem;

impl TryFrom<&str> for Item {
    type Error = UnusableItem;

    /// Takes the text of a URL.
    fn try_from(text: &str) -> Result<Self, UnusableItem> {
        match Serialisation::parse(text) {
            Some(Serialisation::Url(url)) => Ok(Self::Url(url)),
            Some(Serialisation::Urn { .. }) | None => Err(UnusableItem),
        }
    }
}

impl From<CapUrl> for Item {
    fn from(url: CapUrl) -> Self {
        Self::Url(url)
    }
}

impl From<Function> for Item {
    fn from(function: Function) -> Self {
        Self::Function(function)
    }
}

impl From<Handler> for Item {
    fn from(handler: Handler) -> Self {
        Self::Handler(handler)
    }
}

impl From<Capability> for Item {
    fn from(capability: Capability) -> Self {
        Self::Bcap(capability)
    }
}

/// Answers invocations in wire texts, of any method, with no rule around it.
pub trait Implementation: Send + Sync + fmt::Debug {
    /// Answers one invocation.
    ///
    /// # Errors
    ///
    /// [`Failure`]; it goes to the caller as it is.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the caller gives up.
    fn invoke<'a>(&'a self, method: &'a str, data: Option<String>) -> BoxFuture<'a, WireResult>;
}

/// What a [`Function`] is told of an invocation.
#[derive(Debug)]
pub struct Request {
    pub(super) server: CapServer,
    pub(super) method: String,
    pub(super) data: Option<BcapValue>,
    pub(super) cancelled: CancellationToken,
    pub(super) revoked: Vec<CancellationToken>,
}

impl Request {
    /// The method; one of the four except for [`Item::Invoke`].
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The server that was asked; it [`restore`](CapServer::restore)s the capabilities of the data.
    pub const fn server(&self) -> &CapServer {
        &self.server
    }

    /// The data, `None` if there is none.
    pub const fn data(&self) -> Option<&BcapValue> {
        self.data.as_ref()
    }

    /// The same, to keep.
    pub fn into_data(self) -> Option<BcapValue> {
        self.data
    }

    /// Cancelled when the caller gives up before there is an answer. The function's future is dropped
    /// then; the token is for what it started elsewhere.
    pub const fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Whether the capability was revoked since the invocation began, or another one of this process
    /// through which it came. What has several effects asks before each (Belay §6.9).
    pub fn is_revoked(&self) -> bool {
        self.revoked.iter().any(CancellationToken::is_cancelled)
    }
}

/// A function of the program.
#[derive(Clone)]
pub struct Function(Arc<dyn Fn(Request) -> BoxFuture<'static, Outcome> + Send + Sync>);

impl Function {
    /// A function that answers at once. It must not block.
    pub fn sync<F>(function: F) -> Self
    where
        F: Fn(Request) -> Outcome + Send + Sync + 'static,
    {
        Self(Arc::new(move |request| std::future::ready(function(request)).boxed()))
    }

    /// A function that answers in its own time. Its future is dropped when the caller gives up.
    pub fn future<F, R>(function: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        Self(Arc::new(move |request| function(request).boxed()))
    }

    pub(super) fn call(&self, request: Request) -> BoxFuture<'static, Outcome> {
        (self.0)(request)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function(…)")
    }
}

/// One function for each method that there is; the others answer 405 (Belay §6.4).
#[derive(Clone, Debug, Default)]
pub struct Handler(BTreeMap<Method, Function>);

impl Handler {
    /// A handler with no method yet.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The same handler with a function for `method`, in place of what it had for it.
    #[must_use]
    pub fn on(mut self, method: Method, function: Function) -> Self {
        self.0.insert(method, function);
        self
    }

    pub(super) fn function(&self, method: Method) -> Option<&Function> {
        self.0.get(&method)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
