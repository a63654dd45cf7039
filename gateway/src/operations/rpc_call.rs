//! `rpc.call`: POST arguments to an MDP service, get its answer.
//!
//! The service gets the arguments as one frame of JSON, after the name of the method if the grant
//! fixes one.

use std::time::Duration;

use buswire_belay::{
    BcapError, BcapValue, Invocation, Method, MethodSet, Operation, RpcCallTarget, TargetError,
};
use buswire_mdp::{Frames, RequestError, ServiceName};
use buswire_message::TraceParent;
use futures::future::BoxFuture;

use crate::{
    requests::Requests,
    translate::{Answer, answer_of},
};

/// How long to wait for an answer if the grant does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Calls a service.
#[derive(Debug)]
pub(crate) struct RpcCall {
    requests: Requests,
}

impl RpcCall {
    pub(crate) const fn new(requests: Requests) -> Self {
        Self { requests }
    }

    async fn call(
        &self,
        target: &BcapValue,
        data: Option<&BcapValue>,
        traceparent: Option<TraceParent>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let target = RpcCallTarget::parse(target).map_err(|_| BcapError::Internal)?;
        let service: ServiceName = target.service.parse().map_err(|_| BcapError::Internal)?;
        let mut frames = Frames::new();
        if let Some(method) = target.method {
            frames.push(method);
        }
        if let Some(data) = data {
            let json = data.to_json().map_err(|_| BcapError::BadRequest)?;
            frames.push(json.to_string());
        }
        let timeout = target.timeout.unwrap_or(TIMEOUT);
        let answer = self.requests.ask(traceparent, &service, frames, timeout).await;
        match answer_of(&answer.map_err(failure)?) {
            Answer::Failed(_) => Err(BcapError::BadGateway),
            Answer::Body(reply) => {
                let json = serde_json::from_slice(reply.payload.as_bytes());
                let value = json.ok().and_then(|json| BcapValue::from_json(json).ok());
                value.map(Some).ok_or(BcapError::BadGateway)
            }
        }
    }
}

impl Operation for RpcCall {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        let target = RpcCallTarget::parse(target)?;
        let service = target.service.parse::<ServiceName>();
        service.map(|_| ()).map_err(|_| TargetError::BadMember("service"))
    }

    fn methods(&self, _: &BcapValue) -> MethodSet {
        MethodSet::POST
    }

    fn reading_methods(&self) -> MethodSet {
        MethodSet::NONE
    }

    fn invoke(
        &self,
        cx: Invocation,
        _: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move { self.call(cx.target(), data.as_ref(), cx.traceparent()).await })
    }
}

fn failure(error: RequestError) -> BcapError {
    match error {
        RequestError::Timeout => BcapError::Timeout,
        RequestError::Lost => BcapError::BadGateway,
        _ => BcapError::unavailable(),
    }
}
