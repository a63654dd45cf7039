//! Requests of the gateway itself to Majordomo services, each in a span of its own.
//!
//! MDP has no place for a trace. A worker that wants to go on with one is listed by the operator and
//! gets the `traceparent` as a frame behind the body; nobody else sees any of it. Never here: what is
//! asked.

use std::{collections::HashMap, sync::Arc, time::Duration};

use buswire_mdp::{BrokerHandle, Frames, RequestError, ServiceName, core::ServiceInfo};
use buswire_message::{TraceParent, Tracer, Work};

/// Asks services. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    broker: BrokerHandle,
    tracer: Tracer,
    /// The services whose requests have the further frame.
    told: Arc<[ServiceName]>,
}

impl Requests {
    pub(crate) fn new(broker: BrokerHandle, tracer: Tracer, told: &[ServiceName]) -> Self {
        Self { broker, tracer, told: told.into() }
    }

    /// The services that somebody serves, and whether this gateway does, by workers or by itself.
    pub(crate) async fn served(&self) -> HashMap<ServiceName, bool> {
        let services = self.broker.services().await.into_iter();
        services.filter(ServiceInfo::is_served).map(|it| (it.name, it.workers > 0)).collect()
    }

    /// Asks `service` on behalf of the work that `parent` names, and waits for its answer.
    ///
    /// # Errors
    ///
    /// As [`BrokerHandle::request`].
    ///
    /// # Cancel safety
    ///
    /// As [`BrokerHandle::request`]; a request that is dropped is in no trace.
    pub(crate) async fn ask(
        &self,
        parent: Option<TraceParent>,
        service: &ServiceName,
        mut body: Frames,
        timeout: Duration,
    ) -> Result<Frames, RequestError> {
        let span = self.tracer.enter(parent.clone());
        let context = span.as_ref().map(|span| span.context().clone()).or(parent);
        if let Some(context) = context.filter(|_| self.told.contains(service)) {
            body.push(context.to_string());
        }
        let answer = self.broker.request(service, body, timeout).await;
        if let Some(span) = span {
            self.tracer.end(span, || {
                let work = Work::Request { service: service.to_string() };
                (work, answer.as_ref().err().map(ToString::to_string))
            });
        }
        answer
    }
}
