//! Doors that only remember what they were told.

mod people;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use buswire::admin::ports::{
    AccessAdmin, AdminError, AuditActionView, AuditView, AuthorizationRequestView, BrokerAdmin,
    BusRemoval, CapabilityAdmin, CapabilityChange, CapabilityState, CapabilityView, ChangedRoute,
    ChannelView, ClientView, CodeState, CodeView, DecisionView, GrantView, GrantedCapability,
    Issued, NewCapability, NewRoute, NewWrap, Page, PageRequest, Permission, Ports, RetryView,
    Revoked, RouteAdmin, RouteState, RouteView, SignInView, TokenFilter, TokenKind, TokenState,
    TokenView,
};
use buswire_mdp::{
    core::{
        Dismissal, RequestCounters, ServiceInfo, ServiceKind, WorkerId, WorkerInfo, WorkerState,
    },
    wire::{Shape, Version as MdpVersion},
};
use buswire_message::{BusName, Secret, Timestamp};
use buswire_store::Revision;
use bytes::Bytes;
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};

pub(crate) const AT: Timestamp = Timestamp::from_millis(1_709_993_121_000);

#[derive(Default)]
struct Memory {
    routes: BTreeMap<String, RouteView>,
    capabilities: BTreeMap<String, CapabilityView>,
    owners: BTreeMap<String, Vec<BusName>>,
    clients: BTreeMap<String, ClientView>,
    grants: BTreeMap<String, GrantView>,
    users: BTreeMap<String, BTreeMap<BusName, Vec<Permission>>>,
    services: BTreeMap<String, ServiceInfo>,
    workers: BTreeMap<WorkerId, WorkerInfo>,
}

pub(crate) struct Fake(Mutex<Memory>);

impl Default for Fake {
    /// Nothing, but for a broker with two services and three workers of one of them.
    fn default() -> Self {
        let services = [service("echo", 3), service("a service", 0)];
        let workers = [
            worker(1, WorkerState::Idle),
            worker(20, WorkerState::Busy),
            worker(3, WorkerState::Busy),
        ];
        Self(Mutex::new(Memory {
            services: services.map(|it| (it.name.to_string(), it)).into(),
            workers: workers.map(|it| (it.id, it)).into(),
            ..Memory::default()
        }))
    }
}

fn service(name: &str, workers: usize) -> ServiceInfo {
    ServiceInfo {
        name: name.parse().unwrap(),
        kind: ServiceKind::Remote,
        paused: false,
        workers,
        idle: workers / 3,
        busy: workers - workers / 3,
        queued: 7,
        oldest_wait: Duration::from_millis(1500),
        counters: RequestCounters { accepted: 9, completed: 2, ..RequestCounters::default() },
        elsewhere: vec!["b".into()],
    }
}

fn worker(id: u64, state: WorkerState) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId(id),
        service: "echo".parse().unwrap(),
        version: MdpVersion::V01,
        shape: Shape::Delimited,
        user: (id == 3).then(|| "key".into()),
        state,
        registered: Duration::from_secs(60),
        since: Duration::from_secs(2),
        last_received: Duration::from_millis(300),
        answered: id,
    }
}

pub(crate) fn done<T: Send + 'static>(
    value: Result<T, AdminError>,
) -> BoxFuture<'static, Result<T, AdminError>> {
    Box::pin(std::future::ready(value))
}

fn not_found(what: &'static str, name: &str) -> AdminError {
    AdminError::missing(what, name)
}

impl Fake {
    pub(crate) fn ports() -> Ports {
        let fake = Arc::new(Self::default());
        Ports {
            routes: Some(fake.clone()),
            capabilities: Some(fake.clone()),
            owners: Some(fake.clone()),
            clients: Some(fake.clone()),
            grants: Some(fake.clone()),
            access: Some(fake.clone()),
            users: Some(fake.clone()),
            push: Some(fake.clone()),
            subscriptions: Some(fake.clone()),
            inbounds: Some(fake.clone()),
            broker: Some(fake.clone()),
            system: Some(fake),
            ..Ports::default()
        }
    }

    /// Doors that delete a bus with its grants, and nothing of the bus itself.
    pub(crate) fn with_removal() -> Ports {
        let fake = Arc::new(Self::default());
        Ports {
            removal: Some(fake.clone()),
            clients: Some(fake.clone()),
            grants: Some(fake),
            ..Ports::default()
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap()
    }

    fn set_state(&self, name: &str, state: RouteState) -> Result<(), AdminError> {
        let mut memory = self.memory();
        let route = memory.routes.get_mut(name).ok_or_else(|| not_found("route", name))?;
        route.state = state;
        Ok(())
    }
}

impl BusRemoval for Fake {
    fn delete<'a>(
        &'a self,
        bus: &'a BusName,
        _expected: Option<Revision>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        let mut memory = self.memory();
        let before = memory.grants.len();
        memory.grants.retain(|_, grant| !grant.buses.contains(bus));
        done(Ok(memory.grants.len() < before))
    }
}

impl Fake {
    fn expect_route(&self, name: &str, expected: Option<u64>) -> Result<(), AdminError> {
        match self.memory().routes.get(name) {
            Some(route) if expected.is_some_and(|expected| expected != route.revision) => {
                Err(AdminError::Changed { kind: "route", name: name.into() })
            }
            _ => Ok(()),
        }
    }
}

impl RouteAdmin for Fake {
    fn create(&self, route: NewRoute) -> BoxFuture<'_, Result<(), AdminError>> {
        if !route.scope.starts_with("bus:") {
            return done(Err(AdminError::invalid("scope: name at least one bus")));
        }
        if self.memory().routes.contains_key(&route.name) {
            let text = format!("there is a route {} already", route.name);
            return done(Err(AdminError::Exists(text)));
        }
        let retry = RetryView {
            first_delay: route.retry.first_delay.unwrap_or(Duration::from_millis(200)),
            longest_delay: route.retry.longest_delay.unwrap_or(Duration::from_secs(30)),
            attempts_max: route.retry.attempts_max.unwrap_or(12),
            timeout: route.retry.timeout.unwrap_or(Duration::from_secs(10)),
        };
        let state = match route.sink.strip_prefix("mdp:blocked") {
            Some(_) => RouteState::Blocked("no such sink".into()),
            None => RouteState::Running,
        };
        let view = RouteView {
            name: route.name.clone(),
            scope: route.scope,
            sink: route.sink,
            reply_type: route.reply_type,
            retry,
            state,
            owner: Some("here".to_owned()),
            delivered: 0,
            failed_attempts: 0,
            dead_letters: 0,
            dead_letters_kept: 0,
            map: route.map,
            pending: u64::from(route.from == "beginning"),
            revision: 1,
        };
        self.memory().routes.insert(route.name, view);
        done(Ok(()))
    }

    fn change<'a>(
        &'a self,
        name: &'a str,
        change: ChangedRoute,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        if let Err(error) = self.expect_route(name, expected) {
            return done(Err(error));
        }
        let mut memory = self.memory();
        let Some(route) = memory.routes.get_mut(name) else {
            return done(Err(not_found("route", name)));
        };
        route.revision += 1;
        route.scope = change.scope.unwrap_or_else(|| route.scope.clone());
        route.sink = change.sink.unwrap_or_else(|| route.sink.clone());
        route.reply_type = change.reply_type.unwrap_or_else(|| route.reply_type.clone());
        route.map = change.map.unwrap_or_else(|| route.map.clone());
        route.retry.attempts_max = change.retry.attempts_max.unwrap_or(route.retry.attempts_max);
        done(Ok(()))
    }

    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RouteView, AdminError>> {
        done(self.memory().routes.get(name).cloned().ok_or_else(|| not_found("route", name)))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<RouteView>, AdminError>> {
        done(Ok(self.memory().routes.values().cloned().collect()))
    }

    fn pause<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        let expected = self.expect_route(name, expected);
        done(expected.and_then(|()| self.set_state(name, RouteState::Paused)))
    }

    fn resume<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        let expected = self.expect_route(name, expected);
        done(expected.and_then(|()| self.set_state(name, RouteState::Running)))
    }

    fn delete<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        if let Err(error) = self.expect_route(name, expected) {
            return done(Err(error));
        }
        let removed = self.memory().routes.remove(name);
        done(removed.map(|_| ()).ok_or_else(|| not_found("route", name)))
    }
}

impl CapabilityAdmin for Fake {
    fn grant(&self, new: NewCapability) -> BoxFuture<'_, Result<GrantedCapability, AdminError>> {
        if new.kind != "bus.publish" {
            return done(Err(AdminError::invalid(format!("kind: {} is unknown", new.kind))));
        }
        if new.label.as_deref() == Some("lost") {
            return done(Err(AdminError::Unavailable("the store did not answer".to_owned())));
        }
        let handle = format!("g_{}", self.memory().capabilities.len());
        let view = CapabilityView {
            handle: handle.clone(),
            kind: new.kind,
            label: new.label,
            state: CapabilityState::Live,
            parent: None,
            created_at: AT,
            expires_at: None,
            uses_left: new.limits.get("uses").and_then(serde_json::Value::as_u64),
            children: 0,
            invocations: 0,
            last_used_at: None,
            target: serde_json::Value::Object(new.target).to_string(),
            limits: serde_json::Value::Object(new.limits).to_string(),
        };
        self.memory().capabilities.insert(handle.clone(), view);
        done(Ok(GrantedCapability {
            cap: Secret::new("https://gateway.example/cap/x".into()),
            control: Secret::new("https://gateway.example/cap/y".into()),
            handle,
        }))
    }

    fn revoke<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Revoked, AdminError>> {
        let mut memory = self.memory();
        let Some(capability) = memory.capabilities.get_mut(handle) else {
            return done(Err(not_found("capability", handle)));
        };
        let before = std::mem::replace(&mut capability.state, CapabilityState::Revoked);
        done(Ok(match before {
            CapabilityState::Revoked => Revoked::Before,
            _ => Revoked::Newly,
        }))
    }

    fn wrap(&self, new: NewWrap) -> BoxFuture<'_, Result<GrantedCapability, AdminError>> {
        let parent = self.memory().capabilities.get(&new.handle).cloned();
        let Some(parent) = parent else { return done(Err(not_found("capability", &new.handle))) };
        let handle = format!("g_{}", self.memory().capabilities.len());
        let view = CapabilityView {
            handle: handle.clone(),
            label: new.label,
            parent: Some(parent.handle.clone()),
            ..parent
        };
        self.memory().capabilities.insert(handle.clone(), view);
        done(Ok(GrantedCapability {
            cap: Secret::new("https://gateway.example/cap/x".into()),
            control: Secret::new("https://gateway.example/cap/y".into()),
            handle,
        }))
    }

    fn show<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<CapabilityView, AdminError>> {
        let shown = self.memory().capabilities.get(handle).cloned();
        done(shown.ok_or_else(|| not_found("capability", handle)))
    }

    fn change<'a>(
        &'a self,
        handle: &'a str,
        change: CapabilityChange,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        let mut memory = self.memory();
        let Some(capability) = memory.capabilities.get_mut(handle) else {
            return done(Err(not_found("capability", handle)));
        };
        if let Some(label) = change.label {
            capability.label = Some(label);
        }
        capability.state = match change.suspended {
            Some(true) => CapabilityState::Suspended,
            Some(false) => CapabilityState::Live,
            None => capability.state,
        };
        done(Ok(()))
    }

    fn audit(&self, follow: bool) -> BoxStream<'static, AuditView> {
        let event = AuditView {
            sequence: 8,
            at: AT,
            handle: "g_1".into(),
            kind: "bus.publish".into(),
            above: vec!["g_0".into()],
            action: AuditActionView::Granted { by: Some("g_0".into()) },
            missed: 7,
        };
        let invoked = AuditActionView::Invoked {
            control: false,
            method: "POST",
            status: 200,
            bytes: [5, 7],
            took: Duration::from_millis(3),
            peer: "public",
        };
        let revoked = AuditActionView::Revoked { by: None };
        let changed = AuditActionView::Changed { by: None, suspended: Some(true) };
        let more = [invoked, changed, revoked]
            .into_iter()
            .zip(9..)
            .map(|(action, sequence)| AuditView { sequence, action, missed: 0, ..event.clone() });
        let kept: Vec<_> = std::iter::once(event.clone()).chain(more).collect();
        let further =
            stream::iter(follow.then_some(AuditView { sequence: 12, missed: 0, ..event }));
        stream::iter(kept).chain(further).boxed()
    }

    fn list(&self, wanted: PageRequest) -> BoxFuture<'_, Result<Page<CapabilityView>, AdminError>> {
        let all = self.memory().capabilities.values().cloned().collect();
        done(Ok(Page::cut(all, &wanted, |capability| capability.handle.clone())))
    }
}

impl AccessAdmin for Fake {
    fn channels<'a>(
        &'a self,
        bus: &'a BusName,
        wanted: PageRequest,
    ) -> BoxFuture<'a, Result<Page<ChannelView>, AdminError>> {
        if bus.name() != "shop.example" {
            return done(Err(not_found("bus", bus.name())));
        }
        let view = |(name, messages): (&str, usize)| ChannelView {
            name: name.parse().unwrap(),
            expires_at: AT,
            messages,
        };
        let all = [("c1", 3), ("c2", 0), ("c3", 1)].map(view).into();
        done(Ok(Page::cut(all, &wanted, |channel| channel.name.to_string())))
    }

    fn revoke_tokens<'a>(&'a self, client_id: &'a str) -> BoxFuture<'a, Result<bool, AdminError>> {
        done(Ok(self.memory().clients.contains_key(client_id)))
    }

    fn end_sign_ins<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<usize, AdminError>> {
        done(Ok(if self.memory().owners.contains_key(owner) { 2 } else { 0 }))
    }

    fn tokens(
        &self,
        filter: TokenFilter,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<TokenView>, AdminError>> {
        let token = |handle: &str, kind, client: &str| TokenView {
            handle: handle.into(),
            kind,
            state: TokenState::Good,
            scope: "bus:shop.example".into(),
            expires_at: Some(AT),
            client_id: Some(client.into()),
            grants: vec!["g1".into()],
            chain: "chain".into(),
        };
        let mut all = vec![
            token(HANDLE, TokenKind::ClientAccess, "shop"),
            token("0000000000000002", TokenKind::PrivilegedRefresh, "shop"),
        ];
        all.retain(|token| filter.kind.is_none_or(|kind| kind == token.kind));
        all.retain(|token| filter.client_id.is_none() || filter.client_id == token.client_id);
        done(Ok(Page::cut(all, &wanted, |token| token.handle.clone())))
    }

    fn codes(
        &self,
        client_id: Option<String>,
        _wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<CodeView>, AdminError>> {
        let code = CodeView {
            handle: HANDLE.into(),
            client_id: client_id.unwrap_or_else(|| "shop".into()),
            owner: "ann".into(),
            buses: vec!["shop.example".parse().unwrap()],
            state: CodeState::Used("g1".into()),
            expires_at: AT,
        };
        done(Ok(Page { items: vec![code], next: None }))
    }

    fn sign_ins(
        &self,
        owner: Option<String>,
        _wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<SignInView>, AdminError>> {
        let owner = owner.unwrap_or_else(|| "ann".into());
        let sign_in = SignInView { handle: HANDLE.into(), owner, expires_at: Some(AT) };
        done(Ok(Page { items: vec![sign_in], next: None }))
    }

    fn authorization_requests(
        &self,
        client_id: Option<String>,
        _wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<AuthorizationRequestView>, AdminError>> {
        let request = AuthorizationRequestView {
            handle: HANDLE.into(),
            client_id: client_id.unwrap_or_else(|| "shop".into()),
            redirect_uri: "https://shop.example/cb".into(),
            scope: String::new(),
            expires_at: Some(AT),
        };
        done(Ok(Page { items: vec![request], next: None }))
    }

    fn decisions(
        &self,
        _wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<DecisionView>, AdminError>> {
        let [handle, sign_in, request] = [HANDLE; 3].map(str::to_owned);
        let decision = DecisionView { handle, sign_in, request, expires_at: Some(AT) };
        done(Ok(Page { items: vec![decision], next: None }))
    }

    fn end<'a>(
        &'a self,
        _kind: Issued,
        handle: &'a str,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        done(Ok(handle == HANDLE))
    }
}

/// The handle of what there is one of.
const HANDLE: &str = "0000000000000001";

impl BrokerAdmin for Fake {
    fn services(&self) -> BoxFuture<'_, Result<Vec<ServiceInfo>, AdminError>> {
        done(Ok(self.memory().services.values().cloned().collect()))
    }

    fn set_paused<'a>(
        &'a self,
        service: &'a str,
        paused: bool,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        if service.starts_with("mmi.") {
            return done(Err(AdminError::invalid("mmi. is the broker's own")));
        }
        let mut memory = self.memory();
        if let Some(known) = memory.services.get_mut(service) {
            known.paused = paused;
        } else if paused {
            let new = ServiceInfo { paused, ..self::service(service, 0) };
            memory.services.insert(service.to_owned(), new);
        }
        done(Ok(()))
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerInfo>, AdminError>> {
        done(Ok(self.memory().workers.values().cloned().collect()))
    }

    fn dismiss(&self, id: WorkerId, when: Dismissal) -> BoxFuture<'_, Result<(), AdminError>> {
        let mut memory = self.memory();
        let Some(worker) = memory.workers.get_mut(&id) else {
            return done(Err(not_found("worker", &id.to_string())));
        };
        if when == Dismissal::Drain && worker.state != WorkerState::Idle {
            worker.state = WorkerState::Draining;
        } else {
            memory.workers.remove(&id);
        }
        done(Ok(()))
    }

    fn request<'a>(
        &'a self,
        service: &'a str,
        frames: Vec<Bytes>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, AdminError>> {
        match service {
            "echo" => done(Ok(frames)),
            "slow" => {
                let text = format!("no answer in {} ms", timeout.as_millis());
                done(Err(AdminError::TimedOut(text)))
            }
            "stuck" => Box::pin(std::future::pending()),
            _ => done(Err(AdminError::Unavailable(format!("no worker offers {service}")))),
        }
    }
}
