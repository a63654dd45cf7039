//! The gateway's own services on Majordomo: `bus.publish`, `bus.read`, `cap.invoke`.
//!
//! MDP has no users, so each call says by what authority it is made, and that alone decides what it may
//! do (architecture §6). Each answers `[status][body]`, the status as on HTTP:
//!
//! | service | request | success |
//! |---|---|---|
//! | `bus.publish` | `[authority][message JSON]` | `[200][id]` |
//! | `bus.read` | `[authority][{"since", "block"} or empty]` | `[200][JSON]` |
//! | `cap.invoke` | `[capability URL][method][bcapJson or empty]` | `[200][bcapJson or empty]` |
//!
//! Behind the last of these frames a request may have one more, a W3C `traceparent`: its place in a
//! trace, for which MDP has none.
//!
//! The authority is the URL of a capability of this gateway; for `cap.invoke` also the `urn:x-cap` of a
//! window that is connected to its relay; or, from a connection whose CURVE key
//! `mdp.key_rights` names, `bus:NAME` or `bus:NAME/CHANNEL`. A failure is `[status][text]`.
//!
//! Never here: what a capability allows.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use buswire_belay::{
    Bcap, BcapError, BcapValue, CapServer, Method, Origin, Relay, RelayError, Serialisation,
    TargetChannels, decode, decode_bare, encode, encode_bare, instance::Failure,
};
use buswire_bridge::SinkUri;
use buswire_mdp::{
    BoxFuture, BrokerHandle, Frames, LocalRequest, LocalService, RegisterError, ServiceName,
};
use buswire_message::{Door, Scope};
use bytes::Bytes;
use tokio::time;

use crate::{config::KeyRights, operations::BusOperations};

/// How much longer a call may take than a read may wait.
const MARGIN: Duration = Duration::from_secs(10);

/// What a service does with the authority that comes with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Publish,
    Read,
    Invoke,
}

/// What every service works with.
#[derive(Debug)]
pub(crate) struct Context {
    caps: CapServer,
    relay: Option<Relay>,
    buses: BusOperations,
    rights: Rights,
    call_time_max: Duration,
}

/// What keys may do without a capability. Clones are the same; it may change at any time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights(Arc<RwLock<HashMap<String, KeyRights>>>);

impl Rights {
    pub(crate) fn new(rights: &[KeyRights]) -> Self {
        let table = Self::default();
        table.replace(rights);
        table
    }

    /// Forgets all and takes these.
    pub(crate) fn replace(&self, rights: &[KeyRights]) {
        let rights = rights.iter().map(|it| (it.key.as_str().to_owned(), it.clone())).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rights;
    }

    fn of(&self, user: Option<&str>) -> Option<KeyRights> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(user?).cloned()
    }
}

/// A service of this gateway.
#[derive(Debug)]
struct GatewayService {
    service: Service,
    context: Arc<Context>,
}

/// A request, taken apart.
struct Call<'a> {
    authority: &'a str,
    method: Method,
    data: Option<BcapValue>,
    origin: Origin,
}

/// How long a call may take where a read may wait for `block_max`. Later it is answered 504.
pub(crate) const fn call_time_max(block_max: Duration) -> Duration {
    block_max.saturating_add(MARGIN)
}

impl Context {
    pub(crate) fn new(
        caps: CapServer,
        relay: Option<Relay>,
        buses: BusOperations,
        rights: Rights,
        block_max: Duration,
    ) -> Self {
        Self { caps, relay, buses, rights, call_time_max: call_time_max(block_max) }
    }

    /// Offers every service at `broker`.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if the broker stopped.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; some services may be offered then.
    pub(crate) async fn register(self, broker: &BrokerHandle) -> Result<(), RegisterError> {
        let context = Arc::new(self);
        let services = [
            ("bus.publish", Service::Publish),
            ("bus.read", Service::Read),
            ("cap.invoke", Service::Invoke),
        ];
        for (name, service) in services {
            let Ok(name) = name.parse::<ServiceName>() else { return Err(RegisterError::Reserved) };
            let context = Arc::clone(&context);
            broker.register(&name, Arc::new(GatewayService { service, context })).await?;
        }
        Ok(())
    }

    async fn answer(&self, service: Service, request: &LocalRequest) -> Result<Bytes, Failure> {
        let call = self.parse(service, &request.frames)?;
        let result = match call.authority.parse() {
            Ok(SinkUri::Bus { bus, channel }) => {
                let rights = self.rights.of(request.user.as_deref()).ok_or(BcapError::Forbidden)?;
                let channels = channel.clone().map_or(TargetChannels::All, TargetChannels::One);
                let data = call.data.as_ref();
                match (service, rights.publish, rights.read) {
                    (Service::Publish, Some(right), _) => {
                        let publish = &self.buses.publish;
                        publish.publish_within(&right, &bus, &channels, data, &call.origin).await
                    }
                    (Service::Read, _, Some(right)) => {
                        let asked = Scope::bus(&bus);
                        let asked = channel.map_or(asked, |it| Scope::channel(&bus, &it));
                        let scope = right.intersect(&asked).ok_or(BcapError::Forbidden)?;
                        self.buses.read.read_within(&scope, data).await
                    }
                    _ => Err(BcapError::Forbidden),
                }
            }
            _ => match Bcap::restore(call.authority) {
                window if is_window(&window) && service == Service::Invoke => {
                    return self.invoke_window(&window, call).await;
                }
                cap => self.invoke(service, &cap, call).await,
            },
        };
        Ok(self.body(service, result?)?)
    }

    fn parse<'a>(&self, service: Service, frames: &'a Frames) -> Result<Call<'a>, BcapError> {
        let bad = BcapError::BadRequest;
        let text = |at: usize| match frames.get(at) {
            Some(frame) => std::str::from_utf8(frame).map(Some).map_err(|_| bad),
            None => Ok(None),
        };
        let authority = text(0)?.ok_or(bad)?;
        let body_at = if service == Service::Invoke { 2 } else { 1 };
        if frames.len() > body_at + 2 {
            return Err(bad);
        }
        let traceparent = text(body_at + 1)?.map(str::parse).transpose().map_err(|_| bad)?;
        let limits = self.caps.config().wire;
        let body = text(body_at)?.filter(|body| !body.is_empty());
        let data = body.map(|body| decode_bare(body, limits)).transpose().map_err(|_| bad)?;
        let method = match service {
            Service::Read if data.is_none() => Method::Get,
            Service::Publish | Service::Read => Method::Post,
            Service::Invoke => text(1)?.and_then(Method::parse).ok_or(bad)?,
        };
        let origin = Origin::new(Door::Majordomo).traced(traceparent);
        let origin = match frames.get(body_at).filter(|_| data.is_some()) {
            Some(text) => origin.with_text(text.clone()),
            None => origin,
        };
        Ok(Call { authority, method, data, origin })
    }

    async fn invoke(
        &self,
        service: Service,
        cap: &Bcap,
        Call { method, data, origin, .. }: Call<'_>,
    ) -> Result<Option<BcapValue>, BcapError> {
        // A link of another server is as unknown here as one that nobody holds.
        let id = self.caps.local_id(cap).ok_or(BcapError::NotFound)?;
        let id = id.expose();
        match service {
            Service::Publish => self.caps.invoke_as(origin, "bus.publish", id, method, data).await,
            Service::Read => self.caps.invoke_as(origin, "bus.read", id, method, data).await,
            Service::Invoke => self.caps.invoke_from(origin, id, method, data).await,
        }
    }

    /// Invokes what a window granted; its failures pass as they are.
    async fn invoke_window(&self, cap: &Bcap, call: Call<'_>) -> Result<Bytes, Failure> {
        let limits = self.caps.config().wire;
        let relay = self.relay.as_ref().ok_or(BcapError::NotFound)?;
        let data = match &call.data {
            Some(data) => Some(encode(Some(data), limits).map_err(|_| BcapError::BadRequest)?),
            None => None,
        };
        let answer = relay.invoke(cap, call.method, data).await;
        let answer = answer.map_err(RelayError::into_failure)?.unwrap_or_default();
        let result = decode(answer.as_bytes(), limits).map_err(|_| Failure::bad_response())?;
        Ok(self.body(Service::Invoke, result.filter(|_| call.method.gives_data()))?)
    }

    /// The frame after the status.
    fn body(&self, service: Service, result: Option<BcapValue>) -> Result<Bytes, BcapError> {
        match (service, result) {
            (Service::Publish, Some(BcapValue::Object(members))) => {
                let id = members.get("id").and_then(BcapValue::as_str);
                id.map(|id| Bytes::copy_from_slice(id.as_bytes())).ok_or(BcapError::Internal)
            }
            (_, Some(result)) => encode_bare(&result, self.caps.config().wire)
                .map(Bytes::from)
                .map_err(|_| BcapError::BadGateway),
            (_, None) => Ok(Bytes::new()),
        }
    }
}

fn is_window(cap: &Bcap) -> bool {
    matches!(cap.serialisation(), Some(Serialisation::Urn { .. }))
}

impl LocalService for GatewayService {
    fn call(&self, request: LocalRequest) -> BoxFuture<'static, Frames> {
        let (service, context) = (self.service, Arc::clone(&self.context));
        Box::pin(async move {
            let answer = context.answer(service, &request);
            let answer = time::timeout(context.call_time_max, answer).await;
            match answer.unwrap_or_else(|_| Err(BcapError::Timeout.into())) {
                Ok(body) => Frames::from([Bytes::from_static(b"200"), body]),
                Err(error) => {
                    let (status, text) = (error.status().to_string(), error.message().to_owned());
                    Frames::from([Bytes::from(status), Bytes::from(text)])
                }
            }
        })
    }
}
