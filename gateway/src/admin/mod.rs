//! The gRPC admin interface, `buswire.admin.v1`, with health, reflection and gRPC-Web.
//!
//! [`server`] makes an [`axum::Router`] out of an [`AdminState`]; the gateway's own accept loop serves it
//! over HTTP/2 and, for gRPC-Web, HTTP/1. Every call but that of health needs a token.
//! A handler converts, calls and converts back.
//!
//! Never here: sockets, TLS, business rules, the doors themselves ([`ports`] says what they must offer).

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware};
use buswire_bus::Buses;
use buswire_message::{Clock, Retention, SourceUrl};
use buswire_proto::{FILE_DESCRIPTOR_SET, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Status, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_web::GrpcWebLayer;

pub mod audit;
mod auth;
pub(crate) mod convert;
mod deadline;
pub mod ports;
mod role;
mod services;
pub(crate) mod status;
mod stream;
mod writes;

use audit::AuditLog;
pub use auth::{Authenticator, Caller, CertificateRoles, KnownTokens, VerifiedPeer, Via};
use ports::Ports;
pub use role::{Role, RoleError};
use status::Reason;

/// What the admin interface works on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The buses.
    pub buses: Buses,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The doors.
    pub ports: Ports,
    /// Where what administrators change is written down.
    pub audit: AuditLog,
    /// Who a message is from that an administrator publishes without saying so: the public URL.
    pub source: SourceUrl,
    /// The retention of a new bus that does not say otherwise.
    pub retention: Retention,
    /// The bounds.
    pub limits: AdminLimits,
    /// Cancelled when the gateway begins to stop: streams end, health says not serving.
    pub shutdown: CancellationToken,
}

/// The bounds of the admin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminLimits {
    /// The longest request in bytes; longer ones are refused. Default 4 MiB, which holds the largest
    /// payload and the largest request of the broker.
    pub request_bytes_max: usize,
    /// About how many bytes a page of messages or of records has; the rest comes with the next page.
    /// Default 2 MiB: clients take answers of 4 MiB unless told otherwise.
    pub page_bytes: usize,
    /// The most streams at once; more are refused. Default 1024; each holds one message and what
    /// HTTP/2 lets it have in flight, nothing queues.
    pub streams_max: usize,
    /// How long a call may take that is not a stream, whatever deadline the caller set. Default 90 s:
    /// the longest wait for a worker and some.
    pub call_time_max: Duration,
}

impl Default for AdminLimits {
    fn default() -> Self {
        Self {
            request_bytes_max: 4 * 1024 * 1024,
            page_bytes: 2 * 1024 * 1024,
            streams_max: 1024,
            call_time_max: Duration::from_secs(90),
        }
    }
}

/// The admin interface, ready to be served.
#[derive(Debug)]
pub struct AdminServer {
    /// The routes of every service. Has a fallback that answers UNIMPLEMENTED: a router that is merged
    /// with it, such as the console's, must have none.
    pub router: Router,
    health: HealthReporter,
    shutdown: CancellationToken,
}

impl AdminServer {
    /// Waits for the shutdown, then tells everybody who watches the health that nothing is served any
    /// more, and ends their streams, so that draining can finish. The owner of the listener spawns it.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; then watchers are not told.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut health, shutdown) = (self.health.clone(), self.shutdown.clone());
        async move {
            shutdown.cancelled().await;
            for name in health_names() {
                health.set_service_status(name, ServingStatus::NotServing).await;
                health.clear_service_status(name).await;
            }
        }
    }
}

/// The names under which health is asked for: the gateway as a whole and each service.
fn health_names() -> impl Iterator<Item = &'static str> {
    [
        "",
        v1::access_service_server::SERVICE_NAME,
        v1::activity_service_server::SERVICE_NAME,
        v1::admin_token_service_server::SERVICE_NAME,
        v1::broker_service_server::SERVICE_NAME,
        v1::bus_service_server::SERVICE_NAME,
        v1::capability_service_server::SERVICE_NAME,
        v1::client_service_server::SERVICE_NAME,
        v1::dead_letter_service_server::SERVICE_NAME,
        v1::grant_service_server::SERVICE_NAME,
        v1::inbound_service_server::SERVICE_NAME,
        v1::message_service_server::SERVICE_NAME,
        v1::owner_service_server::SERVICE_NAME,
        v1::push_service_server::SERVICE_NAME,
        v1::route_service_server::SERVICE_NAME,
        v1::subscription_service_server::SERVICE_NAME,
        v1::system_service_server::SERVICE_NAME,
        v1::trace_service_server::SERVICE_NAME,
        v1::user_service_server::SERVICE_NAME,
    ]
    .into_iter()
}

/// Why the admin interface can't be made: its description is damaged.
#[derive(Debug, thiserror::Error)]
pub enum ReflectionError {
    /// For clients.
    #[error(transparent)]
    Clients(#[from] tonic_reflection::server::Error),
    /// For ourselves.
    #[error(transparent)]
    Ours(#[from] prost_reflect::DescriptorError),
}

/// Makes the admin interface. Calls need a token, or a verified certificate, that `auth` knows and
/// whose role allows them.
///
/// # Errors
///
/// [`ReflectionError`]: never, unless the program was built wrong.
///
/// # Cancel safety
///
/// Safe to drop: nothing has begun.
pub async fn server(
    state: AdminState,
    auth: Authenticator,
) -> Result<AdminServer, ReflectionError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    for name in health_names() {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let limits = state.limits;
    let shutdown = state.shutdown.clone();
    let writes = writes::Writes::new(state.audit.clone(), limits)?;
    let gate = auth::Gate { auth, writes: writes.clone() };
    let router = every_service(&Arc::new(Shared::new(state)))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare()
        .into_axum_router()
        .layer(middleware::from_fn_with_state(writes, writes::layer))
        .layer(middleware::from_fn_with_state(gate, auth::authorize))
        .layer(middleware::from_fn_with_state(limits.call_time_max, deadline::layer))
        .layer(GrpcWebLayer::new());
    Ok(AdminServer { router, health, shutdown })
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Every service of ours.
fn every_service(shared: &Arc<Shared>) -> Routes {
    let bytes_max = shared.state.limits.request_bytes_max;
    macro_rules! all {
        ($($module:ident :: $server:ident),+ $(,)?) => {
            Routes::default()$(.add_service(
                v1::$module::$server::new(services::Api(Arc::clone(shared)))
                    .max_decoding_message_size(bytes_max),
            ))+
        };
    }
    all!(
        access_service_server::AccessServiceServer,
        activity_service_server::ActivityServiceServer,
        admin_token_service_server::AdminTokenServiceServer,
        broker_service_server::BrokerServiceServer,
        bus_service_server::BusServiceServer,
        capability_service_server::CapabilityServiceServer,
        client_service_server::ClientServiceServer,
        dead_letter_service_server::DeadLetterServiceServer,
        grant_service_server::GrantServiceServer,
        inbound_service_server::InboundServiceServer,
        message_service_server::MessageServiceServer,
        owner_service_server::OwnerServiceServer,
        push_service_server::PushServiceServer,
        route_service_server::RouteServiceServer,
        subscription_service_server::SubscriptionServiceServer,
        system_service_server::SystemServiceServer,
        trace_service_server::TraceServiceServer,
        user_service_server::UserServiceServer,
    )
}

/// What every service holds.
#[derive(Debug)]
struct Shared {
    state: AdminState,
    /// One permit for each stream.
    streams: Arc<Semaphore>,
}

impl Shared {
    fn new(state: AdminState) -> Self {
        let streams = Arc::new(Semaphore::new(state.limits.streams_max));
        Self { state, streams }
    }

    /// Lets one more stream begin, if there may be one.
    fn stream_permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        permit.map_err(|_| status::of(Reason::LimitReached, "too many streams are open"))
    }
}
