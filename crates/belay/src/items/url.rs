//! `url`: an invocation is passed on to another capability, with the same method and data.
//!
//! One of this server's own is invoked in the process, within the limits of this invocation. Another
//! server's is asked through an [`Outward`]. Never here: HTTP, or where a request may go.

use std::{fmt, sync::Arc};

use buswire_message::{TraceParent, Tracer};
use futures::future::BoxFuture;
use url::Url;

use crate::{
    config::Config,
    egress::Refused,
    error::BcapError,
    method::{Method, MethodSet},
    operation::{Invocation, Operation},
    target::{TargetError, UrlTarget},
    wire::{BcapValue, Members, Serialisation, decode, encode},
};

/// Asks other servers, under an egress policy (Belay §23.6).
pub trait Outward: Send + Sync + fmt::Debug {
    /// Whether the policy lets a URL be asked at all.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    fn check(&self, url: &Url) -> Result<(), Refused>;

    /// Sends bcapJson to a URL, with the place in a trace, and gives the text that it answers; empty for
    /// no data.
    ///
    /// # Errors
    ///
    /// [`BcapError`], which goes to the holder of the capability.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the request up; whether the other server acted on it is unknown.
    fn ask<'a>(
        &'a self,
        method: Method,
        url: &'a Url,
        body: Option<String>,
        traceparent: Option<TraceParent>,
    ) -> BoxFuture<'a, Result<Vec<u8>, BcapError>>;
}

/// The kind `url`.
#[derive(Clone, Debug)]
pub struct UrlItem {
    config: Config,
    outward: Option<Arc<dyn Outward>>,
}

impl UrlItem {
    /// The kind for a server with these settings; it asks other servers through `outward`.
    pub fn new(config: &Config, outward: Arc<dyn Outward>) -> Self {
        Self { config: config.clone(), outward: Some(outward) }
    }

    /// The kind for capabilities of this server alone.
    pub(crate) fn within(config: &Config) -> Self {
        Self { config: config.clone(), outward: None }
    }

    fn check(&self, url: &Url) -> bool {
        let outward = || self.outward.as_ref().is_some_and(|outward| outward.check(url).is_ok());
        self.config.id_in(url).is_some() || outward()
    }

    async fn ask(
        &self,
        url: &Url,
        method: Method,
        data: Option<&BcapValue>,
        traceparent: Option<TraceParent>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let outward = self.outward.as_ref().ok_or(BcapError::BadGateway)?;
        let limits = self.config.wire;
        let body = encode(data, limits).map_err(|_| BcapError::BadRequest)?;
        let answer = outward.ask(method, url, data.map(|_| body), traceparent).await?;
        let value = decode(&answer, limits).map_err(|_| BcapError::BadGateway)?;
        // Whatever a PUT or DELETE of another server answers, here it has no result.
        Ok(value.filter(|_| method.gives_data()))
    }
}

impl Operation for UrlItem {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        match UrlTarget::parse(target)?.cap.serialisation() {
            Some(Serialisation::Url(url)) if self.check(url.expose()) => Ok(()),
            _ => Err(TargetError::BadMember("url")),
        }
    }

    fn methods(&self, target: &BcapValue) -> MethodSet {
        UrlTarget::parse(target).map_or(MethodSet::NONE, |target| target.methods)
    }

    fn public_target(&self, target: &BcapValue) -> BcapValue {
        let methods = self.methods(target);
        let methods = methods.iter().map(|method| BcapValue::from(method.as_str()));
        let methods: Vec<_> = methods.collect();
        Members::new().with("url", "…").with("methods", methods).into()
    }

    fn invoke(
        &self,
        cx: Invocation,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move {
            let target = UrlTarget::parse(cx.target()).map_err(|_| BcapError::Internal)?;
            if let Some(done) = cx.invoke_own(&target.cap, method, data.clone()).await {
                return done;
            }
            if cx.bounds().channels().is_some() || cx.bounds().types().is_some() {
                // Nobody here knows what another server does with the data.
                return Err(BcapError::Forbidden);
            }
            let Some(Serialisation::Url(url)) = target.cap.serialisation() else {
                return Err(BcapError::Internal);
            };
            // No header is passed on (Belay §23.6). Where traces are recorded, the invocation has a
            // span of its own, and that is named; what others keep of the trace is the caller's.
            let recorded = self.config.tracer.as_ref().is_some_and(Tracer::is_recording);
            let traceparent = cx.traceparent().filter(|_| recorded);
            let traceparent = traceparent.map(|parent| parent.with_state(None));
            self.ask(url.expose(), method, data.as_ref(), traceparent).await
        })
    }
}
