//! How an item answers an invocation: the rules of Belay §6.5 around it.
//!
//! Never here: which item it is; see `server`.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    error::BcapError,
    instance::{
        CapServer, WireResult,
        item::{Function, Item, Outcome, Request},
    },
    method::{Method, MethodSet},
    wire::{Bcap, BcapValue, DecodeError, EncodeError},
};

/// What an invocation comes to in the end.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// An item of the program.
    Item(Item),
    /// A capability that is invoked through this server.
    Proxy(Bcap),
}

/// An invocation in wire texts.
pub(super) struct Call<'c> {
    pub(super) server: &'c CapServer,
    pub(super) method: &'c str,
    pub(super) data: Option<String>,
    /// For each capability through which it came: cancelled when it is revoked.
    pub(super) path: Vec<CancellationToken>,
}

impl Target {
    /// Answers an invocation. What panics is answered 500.
    pub(super) async fn run(self, call: Call<'_>) -> WireResult {
        let cancelled = CancellationToken::new();
        let given_up = cancelled.clone().drop_guard();
        let answer = AssertUnwindSafe(self.answer(call, cancelled)).catch_unwind().await;
        given_up.disarm();
        answer.unwrap_or_else(|_| {
            tracing::error!("an item panicked");
            Err(BcapError::Internal.into())
        })
    }

    async fn answer(self, call: Call<'_>, cancelled: CancellationToken) -> WireResult {
        let (server, method) = (call.server, call.method);
        let known = Method::parse(method);
        let value = match self {
            Self::Item(Item::Dead) => return Err(BcapError::NotFound.into()),
            Self::Item(Item::Implementation(raw)) => return raw.invoke(method, call.data).await,
            Self::Item(Item::Url(url)) => return server.fetch(&url, method, call.data).await,
            Self::Item(Item::Function(function)) => {
                // DELETE is for handlers (Belay §6.3).
                let has = known.is_some_and(|method| method != Method::Delete);
                call.of(has.then_some(&function), cancelled).await?
            }
            Self::Item(Item::Handler(handler)) => {
                let function = known.and_then(|method| handler.function(method));
                call.of(function, cancelled).await?
            }
            Self::Item(Item::Invoke(function)) => call.of(Some(&function), cancelled).await?,
            Self::Item(Item::Bcap(inner)) => inner.invoke(method, call.value()?).await?,
            Self::Proxy(inner) => server.restore(inner).invoke(method, call.value()?).await?,
        };
        let wire = server.data_pre_processor(value.as_ref());
        wire.map_err(|_: EncodeError| BcapError::Internal.into())
    }
}

impl Call<'_> {
    fn value(&self) -> Result<Option<BcapValue>, BcapError> {
        let value = self.server.data_post_processor(self.data.as_deref());
        value.map_err(|_: DecodeError| BcapError::BadRequest)
    }

    /// Has a function answer; `None` if there is none for the method.
    async fn of(self, function: Option<&Function>, cancelled: CancellationToken) -> Outcome {
        let known = Method::parse(self.method);
        let data = self.value()?;
        if data.is_some() && !known.is_some_and(Method::takes_data) {
            return Err(BcapError::BadRequest.into());
        }
        let allow = MethodSet::NONE;
        let function = function.ok_or(BcapError::MethodNotAllowed { allow })?;
        let (server, method) = (self.server.clone(), self.method.to_owned());
        let request = Request { server, method, data, cancelled, revoked: self.path };
        let result = function.call(request).await?;
        match known {
            Some(method) if !method.gives_data() && result.is_some() => {
                tracing::warn!(%method, "an item gave a result where there is none");
                Err(BcapError::Internal.into())
            }
            _ => Ok(result),
        }
    }
}
