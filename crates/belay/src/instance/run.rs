//! How an item answers an invocation: the rules of Belay §6.5 around it.
//!
//! Never here: which item it is; see `server`.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    error::BcapError,
    instance::{
        CapServer, Failure, WireResult,
        item::{Function, Item, Outcome, Request},
    },
    method::{Method, MethodSet},
    wire::{Bcap, EncodeError},
};

/// What an invocation comes to in the end.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// An item of the program.
    Item(Item),
    /// A capability that is invoked through this server.
    Proxy(Bcap),
}

/// A target and the way to it.
pub(super) struct Chain {
    pub(super) target: Target,
    /// For the grant that was invoked and each of this server's after it: whether it is revoked.
    pub(super) links: Vec<CancellationToken>,
}

impl Chain {
    /// Invokes the target in wire texts. What panics is answered 500.
    pub(super) async fn run(
        self,
        server: &CapServer,
        method: &str,
        data: Option<String>,
    ) -> WireResult {
        let cancelled = CancellationToken::new();
        let given_up = cancelled.clone().drop_guard();
        let answer = self.answer(server, method, data, cancelled);
        let answer = AssertUnwindSafe(answer).catch_unwind().await;
        given_up.disarm();
        answer.unwrap_or_else(|_| {
            tracing::error!(method, "an item panicked");
            Err(BcapError::Internal.into())
        })
    }

    async fn answer(
        self,
        server: &CapServer,
        method: &str,
        data: Option<String>,
        cancelled: CancellationToken,
    ) -> WireResult {
        // A wrapper decodes what goes through it; only what is invoked itself sees the text as it is.
        let is_wrapped = self.links.len() > 1;
        match self.target {
            Target::Item(Item::Implementation(raw)) if !is_wrapped => {
                raw.invoke(method, data).await
            }
            Target::Item(Item::Url(url)) if !is_wrapped => server.fetch(&url, method, data).await,
            target => {
                let data = server.data_post_processor(data.as_deref());
                let data = data.map_err(|_| BcapError::BadRequest)?;
                let request = Request {
                    server: server.clone(),
                    method: method.to_owned(),
                    data,
                    cancelled,
                    revoked: self.links,
                };
                let value = by_value(target, server, request).await?;
                let wire = server.data_pre_processor(value.as_ref());
                wire.map_err(|_: EncodeError| BcapError::Internal.into())
            }
        }
    }
}

async fn by_value(target: Target, server: &CapServer, request: Request) -> Outcome {
    let method = Method::parse(&request.method);
    if request.data.is_some() && !method.is_some_and(Method::takes_data) {
        return Err(BcapError::BadRequest.into());
    }
    let wire = || {
        let wire = server.data_pre_processor(request.data.as_ref());
        wire.map_err(|_: EncodeError| Failure::from(BcapError::Internal))
    };
    let value = |answer: WireResult| {
        let value = server.data_post_processor(answer?.as_deref());
        value.map_err(|_| Failure::bad_response())
    };
    let through = match target {
        Target::Item(Item::Dead) => return Err(BcapError::NotFound.into()),
        Target::Item(Item::Url(url)) => {
            return value(server.fetch(&url, &request.method, wire()?).await);
        }
        Target::Item(Item::Implementation(raw)) => {
            return value(raw.invoke(&request.method, wire()?).await);
        }
        Target::Item(Item::Function(function)) => {
            // DELETE is for handlers (Belay §6.3).
            let has = |method| method != Method::Delete;
            return call(method.filter(|method| has(*method)).map(|_| &function), request).await;
        }
        Target::Item(Item::Handler(handler)) => {
            return call(method.and_then(|method| handler.function(method)), request).await;
        }
        Target::Item(Item::Invoke(function)) => return call(Some(&function), request).await,
        Target::Item(Item::Bcap(capability)) => capability,
        Target::Proxy(cap) => server.restore(cap),
    };
    Ok(through.invoke(&request.method, request.data).await?)
}

async fn call(function: Option<&Function>, request: Request) -> Outcome {
    let allow = MethodSet::NONE;
    let function = function.ok_or(BcapError::MethodNotAllowed { allow })?;
    let method = Method::parse(&request.method);
    let result = function.call(request).await?;
    match method {
        Some(method) if !method.gives_data() && result.is_some() => {
            tracing::warn!(%method, "an item gave a result where there is none");
            Err(BcapError::Internal.into())
        }
        _ => Ok(result),
    }
}
