//! Calls that change something: written down in the audit log, and made once for each id of a request.
//!
//! One layer around every service knows from the description of the interface which calls those are and
//! what is in them, so that a new one can't be forgotten. A handler adds what only it knows: [`before`] and
//! [`after`]. Never here: a call by name, but those that are traffic and
//! those that need no store.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use buswire_message::BusName;
use buswire_proto::{FILE_DESCRIPTOR_SET, is_shown};
use bytes::{Buf as _, Bytes};
use futures::stream;
use http::{Extensions, HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use prost_reflect::{
    DescriptorError, DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage as _, Value,
};
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

use super::{
    AdminLimits,
    audit::{AuditLog, Begun, Claim, Claimed, Kept, Record},
    auth::Caller,
    role::is_reading,
    status::{self, Reason},
};

const PACKAGE: &str = "buswire.admin.v1";
/// What goes through the doors: it changes nothing that an administrator set, and has its own traces.
const TRAFFIC: [&str; 3] =
    ["MessageService/Publish", "PushService/Notify", "BrokerService/Request"];
/// What changes nothing but the memory of this gateway, and is done also while nothing can be written down:
/// a gateway is drained when its store is at fault.
const MEMORY_ONLY: [&str; 2] = ["SystemService/Drain", "SystemService/Undrain"];
/// The longest id of a request, in characters.
const REQUEST_ID_MAX: usize = 64;
/// What goes before a message: whether it is compressed, and its length in 32 bits.
const PREFIX_BYTES: usize = 5;
/// Shown in place of a text that is secret.
const HIDDEN: &str = "(hidden)";

/// The calls that change something, and where they are written down. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Writes {
    log: AuditLog,
    calls: Arc<HashMap<String, Arc<Call>>>,
    pool: DescriptorPool,
    limits: AdminLimits,
    tracker: TaskTracker,
}

/// A call that changes something.
#[derive(Debug)]
struct Call {
    /// Such as `BusService/CreateBus`.
    name: String,
    /// What its service is about, such as `bus`.
    noun: String,
    input: MessageDescriptor,
    output: MessageDescriptor,
    /// Whether its answer is a stream, as that of a backup is.
    is_stream: bool,
}

/// What a handler says of its call.
#[derive(Debug, Default)]
struct Trail {
    before: Option<(&'static str, Vec<u8>)>,
    after: Option<(&'static str, Vec<u8>)>,
}

tokio::task_local! {
    static TRAIL: Arc<Mutex<Trail>>;
}

/// Notes what was there before the call that is under way: a message of the interface, by its name.
pub(super) fn before(name: &'static str, message: &impl prost::Message) {
    note(|trail| trail.before = Some((name, message.encode_to_vec())));
}

/// Notes what is there since the call that is under way, unless its answer says so.
pub(super) fn after(name: &'static str, message: &impl prost::Message) {
    note(|trail| trail.after = Some((name, message.encode_to_vec())));
}

fn note(set: impl FnOnce(&mut Trail)) {
    // Outside of a call, as in a test of a handler, nobody asks.
    let noted =
        TRAIL.try_with(|trail| set(&mut trail.lock().unwrap_or_else(PoisonError::into_inner)));
    noted.unwrap_or_default();
}

/// Writes down the call of `path` by `caller`, as far as it is known before its request is read.
fn record_of(path: &str, caller: &Caller, extensions: &Extensions) -> Record {
    let address = extensions.get::<ConnectInfo<SocketAddr>>();
    Record {
        caller: caller.name.clone(),
        via: caller.via.as_str().to_owned(),
        address: address.map(|info| info.0.to_string()).unwrap_or_default(),
        method: path.strip_prefix("/buswire.admin.v1.").unwrap_or(path).to_owned(),
        ..Record::default()
    }
}

/// Makes calls that change something, each once, and writes them down.
pub(super) async fn layer(State(writes): State<Writes>, request: Request, next: Next) -> Response {
    let Some(call) = writes.calls.get(request.uri().path()).map(Arc::clone) else {
        return next.run(request).await;
    };
    // To its end, also if the caller goes away: who asks again with the same id is told what came of it.
    let tracker = writes.tracker.clone();
    let made = tracker.spawn(async move { writes.make(&call, request, next).await });
    let made = made.await.unwrap_or_else(|_| Err(Status::internal("the call failed inside")));
    made.unwrap_or_else(Status::into_http::<Body>)
}

impl Writes {
    /// The calls of the interface, written down in `log`.
    pub(super) fn new(log: AuditLog, limits: AdminLimits) -> Result<Self, DescriptorError> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)?;
        let ours = pool.services().filter(|service| service.package_name() == PACKAGE);
        let methods = ours.flat_map(|service| service.methods().collect::<Vec<_>>());
        let calls = methods.filter_map(|method| {
            let service = method.parent_service().name().to_owned();
            let name = format!("{service}/{}", method.name());
            let noun = kebab(service.trim_end_matches("Service"));
            let (input, output) = (method.input(), method.output());
            let call = Call { name, noun, input, output, is_stream: method.is_server_streaming() };
            let is_write = !is_reading(method.name()) && !TRAFFIC.contains(&call.name.as_str());
            is_write.then(|| (format!("/{PACKAGE}.{}", call.name), Arc::new(call)))
        });
        let calls = Arc::new(calls.collect());
        Ok(Self { log, calls, pool, limits, tracker: TaskTracker::new() })
    }

    /// Writes down that `caller` may not make the call of `path`, unless there is no such call.
    pub(super) async fn refused(
        &self,
        path: &str,
        caller: &Caller,
        extensions: &Extensions,
        status: &Status,
    ) {
        let name = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let is_known = name.is_some_and(|(service, method)| {
            let service = self.pool.get_service_by_name(service);
            service.is_some_and(|service| service.methods().any(|it| it.name() == method))
        });
        if !is_known {
            return;
        }
        let mut record = record_of(path, caller, extensions);
        record.code = status.code().into();
        status.message().clone_into(&mut record.error);
        if let Err(error) = self.log.refused(record).await {
            tracing::warn!(%error, "a refusal could not be recorded");
        }
    }

    async fn make(&self, call: &Call, request: Request, next: Next) -> Result<Response, Status> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, self.limits.request_bytes_max + PREFIX_BYTES).await;
        let body =
            body.map_err(|_| Status::out_of_range("the request is too long, or broke off"))?;
        let message = call.request(&body)?;
        let Some(caller) = parts.extensions.get::<Caller>() else {
            return Err(Status::unauthenticated("nobody makes the call"));
        };
        let mut record = record_of(parts.uri.path(), caller, &parts.extensions);
        record.resource = call.resource(&message, None);
        record.request = shown(&message);
        record.request_id = request_id(&message)?;
        if call.is_stream {
            // It has no end to wait for: it is written down when it begins, as done.
            self.log.note(record).await.map_err(|error| status::of_store(&error))?;
            return Ok(next.run(Request::from_parts(parts, Body::from(body))).await);
        }
        let claim = (!record.request_id.is_empty())
            .then(|| Claim::new(&record.caller, &record.request_id, &call.name, &body));
        let begun = match self.log.begin(&record, claim).await {
            Ok(Ok(begun)) => Some(begun),
            Ok(Err(claimed)) => return repeated(claimed),
            Err(error) if call.is_memory_only() => {
                tracing::warn!(%error, call = call.name, "a call is made before it is recorded");
                None
            }
            Err(error) => return Err(status::of_store(&error)),
        };
        let trail = Arc::default();
        let request = Request::from_parts(parts, Body::from(body));
        let running = TRAIL.scope(Arc::clone(&trail), next.run(request));
        let response = tokio::time::timeout(self.limits.call_time_max, running).await;
        let response = response.unwrap_or_else(|_| {
            status::of(Reason::TimedOut, "the call took too long").into_http::<Body>()
        });
        self.finish(call, message, begun, record, &trail, response).await
    }

    /// Writes down how a call ended, and only then lets it be answered.
    async fn finish(
        &self,
        call: &Call,
        request: DynamicMessage,
        begun: Option<Begun>,
        mut record: Record,
        trail: &Mutex<Trail>,
        response: Response,
    ) -> Result<Response, Status> {
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| Status::internal("the answer broke off"))?;
        let trailers = body.trailers().cloned();
        let body = body.to_bytes();
        let ended = Status::from_header_map(trailers.as_ref().unwrap_or(&head.headers));
        let ended = ended.unwrap_or_else(|| Status::unknown("the call did not say how it ended"));
        let Trail { before, after } =
            std::mem::take(&mut *trail.lock().unwrap_or_else(PoisonError::into_inner));
        record.before = self.rendered(before);
        record.code = ended.code().into();
        let mut kept = if changed_nothing(ended.code()) { Kept::Nothing } else { Kept::Unknown };
        if ended.code() == Code::Ok {
            let answer = call.answer(&body)?;
            record.resource = call.resource(&request, Some(&answer));
            record.after = match entity(&answer) {
                Some(entity) if after.is_none() => shown(&entity),
                _ => self.rendered(after),
            };
            kept = if has_secret(&answer) { Kept::Secret } else { Kept::Answer(&body) };
        } else {
            ended.message().clone_into(&mut record.error);
        }
        let recorded = match begun {
            Some(begun) => self.log.end(begun, record, kept).await,
            None => self.log.note(record).await,
        };
        recorded.or_else(|error| {
            tracing::error!(%error, call = call.name, "what an administrator did could not be recorded");
            if call.is_memory_only() {
                return Ok(());
            }
            let text = "the call was made and could not be recorded; look before asking again";
            Err(status::of(Reason::NotRecorded, text))
        })?;
        let frames = [Some(Frame::data(body)), trailers.map(Frame::trailers)];
        let frames = frames.into_iter().flatten().map(Ok::<_, std::convert::Infallible>);
        Ok(Response::from_parts(head, Body::new(StreamBody::new(stream::iter(frames)))))
    }

    fn rendered(&self, noted: Option<(&'static str, Vec<u8>)>) -> String {
        let message = noted.and_then(|(name, bytes)| {
            let descriptor = self.pool.get_message_by_name(&format!("{PACKAGE}.{name}"))?;
            DynamicMessage::decode(descriptor, bytes.as_slice()).ok()
        });
        message.as_ref().map(shown).unwrap_or_default()
    }
}

impl Call {
    fn is_memory_only(&self) -> bool {
        MEMORY_ONLY.contains(&self.name.as_str())
    }

    /// The one message of the body of a request.
    fn request(&self, body: &[u8]) -> Result<DynamicMessage, Status> {
        message(&self.input, body)
            .ok_or_else(|| status::invalid(["the request is not one message of its type"]))
    }

    fn answer(&self, body: &[u8]) -> Result<DynamicMessage, Status> {
        message(&self.output, body).ok_or_else(|| Status::internal("the answer can't be read"))
    }

    /// What a call is about: the entity of its answer, or else the first field of its request.
    fn resource(&self, request: &DynamicMessage, answer: Option<&DynamicMessage>) -> String {
        let made = answer.and_then(|answer| match entity(answer) {
            Some(entity) => first_name(&entity),
            None => {
                ["id", "handle"].iter().find_map(|name| text(&*answer.get_field_by_name(name)?))
            }
        });
        match made.or_else(|| first_name(request)) {
            // A bus has more than one way to write its name.
            Some(name) if self.noun == "bus" => {
                let bus = name.parse::<BusName>().map_or(name, |bus| bus.to_string());
                format!("bus/{bus}")
            }
            Some(name) => format!("{}/{name}", self.noun),
            None => self.noun.clone(),
        }
    }
}

/// The message of a body that is one message, not compressed.
fn message(descriptor: &MessageDescriptor, mut body: &[u8]) -> Option<DynamicMessage> {
    let flag = body.try_get_u8().ok()?;
    let length = usize::try_from(body.try_get_u32().ok()?).ok()?;
    let is_one = flag == 0 && length == body.len();
    is_one.then(|| DynamicMessage::decode(descriptor.clone(), body).ok())?
}

/// The entity that an answer shows.
fn entity(answer: &DynamicMessage) -> Option<DynamicMessage> {
    answer.fields().find_map(|(_, value)| value.as_message().cloned())
}

/// The first field that is a name.
fn first_name(message: &DynamicMessage) -> Option<String> {
    let name = message.descriptor().name().to_owned();
    message
        .fields()
        .filter(|(field, _)| is_shown(&name, field.name()))
        .find_map(|(_, value)| text(value))
}

fn text(value: &Value) -> Option<String> {
    let number = value.as_u64().map(|number| number.to_string());
    number.or_else(|| value.as_str().map(str::to_owned)).filter(|text| !text.is_empty())
}

/// A message as JSON, without what is secret.
fn shown(message: &DynamicMessage) -> String {
    let mut message = message.clone();
    hide(&mut message);
    serde_json::to_string(&message).unwrap_or_default()
}

fn hide(message: &mut DynamicMessage) {
    let name = message.descriptor().name().to_owned();
    let mut hidden = Vec::new();
    for (field, value) in message.fields_mut() {
        if !is_shown(&name, field.name()) {
            hidden.push(field);
            continue;
        }
        match value {
            Value::Message(inner) => hide(inner),
            Value::List(items) => items.iter_mut().filter_map(Value::as_message_mut).for_each(hide),
            _ => {}
        }
    }
    for field in hidden {
        match message.get_field_mut(&field) {
            Value::String(text) => HIDDEN.clone_into(text),
            _ => message.clear_field(&field),
        }
    }
}

/// Whether there is something in an answer that is shown once.
fn has_secret(answer: &DynamicMessage) -> bool {
    let name = answer.descriptor().name().to_owned();
    answer.fields().any(|(field, _)| !is_shown(&name, field.name()))
}

fn request_id(message: &DynamicMessage) -> Result<String, Status> {
    let id = message.get_field_by_name("request_id").and_then(|id| text(&id)).unwrap_or_default();
    if id.chars().count() <= REQUEST_ID_MAX {
        Ok(id)
    } else {
        Err(status::invalid([format!("request_id: at most {REQUEST_ID_MAX} characters")]))
    }
}

/// Whether a call that ended with `code` has certainly changed nothing.
const fn changed_nothing(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::Unimplemented
            | Code::Unauthenticated
    )
}

/// The answer to a request whose id is taken.
fn repeated(claimed: Claimed) -> Result<Response, Status> {
    match claimed {
        Claimed::Answered(body) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let frames = [Frame::data(Bytes::from(body)), Frame::trailers(trailers)];
            let frames = frames.map(Ok::<_, std::convert::Infallible>);
            let mut response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
            let kind = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            Ok(response)
        }
        Claimed::Secret => Err(status::of(
            Reason::SecretShownOnce,
            "this request was done; its answer held a secret, which is shown once",
        )),
        Claimed::UnderWay => {
            Err(status::of(Reason::RequestUnderWay, "the same request is under way"))
        }
        Claimed::Unknown => Err(status::of(
            Reason::OutcomeUnknown,
            "this request was made and nobody knows what came of it; look before you ask again, \
             with another id",
        )),
        Claimed::ByAnother => {
            Err(status::of(Reason::RequestIdReused, "request_id: another request had this id"))
        }
    }
}

/// `admin-token` of `AdminToken`.
fn kebab(camel: &str) -> String {
    let mut kebab = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}
