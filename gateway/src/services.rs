//! The gateway's own services on Majordomo: `bus.publish`, `bus.read`, `cap.invoke`.
//!
//! MDP has no users, so each call carries a capability of this gateway, and that alone decides what it
//! may do (architecture §6). Each answers `[status][body]`, the status as on HTTP:
//!
//! | service | request | success |
//! |---|---|---|
//! | `bus.publish` | `[capability URL][message JSON]` | `[200][id]` |
//! | `bus.read` | `[capability URL][{"since", "block"} or empty]` | `[200][JSON]` |
//! | `cap.invoke` | `[capability URL][method][bcapJson or empty]` | `[status][bcapJson or empty]` |
//!
//! Never here: what a capability allows.

use std::sync::Arc;

use buswire_belay::{
    Bcap, BcapError, BcapValue, CapServer, Method, WireLimits, decode_bare, encode_bare,
};
use buswire_mdp::{
    BoxFuture, BrokerHandle, Frames, LocalRequest, LocalService, RegisterError, ServiceName,
};
use bytes::Bytes;

/// What a service does with the capability that comes with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Publish,
    Read,
    Invoke,
}

/// A service of this gateway.
#[derive(Debug)]
struct CapService {
    service: Service,
    caps: CapServer,
}

/// Offers every service at `broker`.
///
/// # Errors
///
/// [`RegisterError`] if the broker stopped.
pub(crate) async fn register(broker: &BrokerHandle, caps: &CapServer) -> Result<(), RegisterError> {
    let services = [
        ("bus.publish", Service::Publish),
        ("bus.read", Service::Read),
        ("cap.invoke", Service::Invoke),
    ];
    for (name, service) in services {
        let Ok(name) = name.parse::<ServiceName>() else { return Err(RegisterError::Reserved) };
        let handler = Arc::new(CapService { service, caps: caps.clone() });
        broker.register(&name, handler).await?;
    }
    Ok(())
}

impl LocalService for CapService {
    fn call(&self, request: LocalRequest) -> BoxFuture<'static, Frames> {
        let (service, caps) = (self.service, self.caps.clone());
        Box::pin(async move {
            match answer(service, &caps, &request.frames).await {
                Ok(body) => Frames::from([Bytes::from_static(b"200"), body]),
                Err(error) => {
                    let status = error.status().to_string();
                    Frames::from([Bytes::from(status), Bytes::from(error.to_string())])
                }
            }
        })
    }
}

async fn answer(service: Service, caps: &CapServer, frames: &Frames) -> Result<Bytes, BcapError> {
    let bad = BcapError::BadRequest;
    let text = |at: usize| match frames.get(at) {
        Some(frame) => std::str::from_utf8(frame).map(Some).map_err(|_| bad),
        None => Ok(None),
    };
    let url = text(0)?.ok_or(bad)?;
    // A link of another server is as unknown here as one that nobody holds.
    let id = caps.local_id(&Bcap::restore(url)).ok_or(BcapError::NotFound)?;
    let id = id.expose();
    let (method, body, frames_max) = match service {
        Service::Publish | Service::Read => (Method::Post, text(1)?, 2),
        Service::Invoke => (text(1)?.and_then(Method::parse).ok_or(bad)?, text(2)?, 3),
    };
    if frames.len() > frames_max {
        return Err(bad);
    }
    let limits = WireLimits::default();
    let data = match body.filter(|body| !body.is_empty()) {
        Some(body) => Some(decode_bare(body, limits).map_err(|_| bad)?),
        None => None,
    };
    let result = match service {
        Service::Publish => caps.invoke_as("bus.publish", id, method, data).await?,
        Service::Read => caps.invoke_as("bus.read", id, method, data).await?,
        Service::Invoke => caps.invoke(id, method, data).await?,
    };
    match (service, result) {
        (Service::Publish, Some(BcapValue::Object(members))) => {
            let id = members.get("id").and_then(BcapValue::as_str).ok_or(BcapError::Internal)?;
            Ok(Bytes::copy_from_slice(id.as_bytes()))
        }
        (_, Some(result)) => {
            encode_bare(&result, limits).map(Bytes::from).map_err(|_| BcapError::BadGateway)
        }
        (_, None) => Ok(Bytes::new()),
    }
}
