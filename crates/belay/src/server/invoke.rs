//! Invocations: look up, check, count, do (Belay §20.1, §21.3).
//!
//! Never here: HTTP; it opens a capability, decodes in between, and performs.

use std::{panic::AssertUnwindSafe, sync::Arc};

use buswire_message::{Door, OpenSpan, Secret, SecretHash, Timestamp, Work};
use futures::{FutureExt as _, future::BoxFuture};

use crate::{
    audit::{AuditAction, Invoked, Peer},
    config::is_id,
    error::{BcapError, of_store},
    grants::{Chain, Designated as Found, Role, Verdict},
    limits::Bounds,
    method::{Method, MethodSet},
    names::{Handle, Kind},
    operation::{Host, Invocation, InvocationId},
    origin::Origin,
    server::{
        CapServer, Designated, Inner,
        live::{Entered, Refused},
    },
    wire::{Bcap, BcapValue, encode},
};

/// How often a chain is read again because something was revoked while it was read.
const READINGS_MAX: usize = 64;

/// How many invocations may hang on one another, each made by the one before.
const NESTING_MAX: u8 = 8;

/// What a capability designates.
enum Item {
    Operation(Designated),
    Grantor,
    Control,
}

/// A capability that was found alive, its invocation not yet made.
pub(crate) struct Opened {
    inner: Arc<Inner>,
    chain: Arc<Chain>,
    item: Item,
    methods: MethodSet,
    /// What the chain and whoever invokes leave.
    bounds: Arc<Bounds>,
    /// How many invocations this one hangs on.
    nesting: u8,
    entered: Entered,
    since: Timestamp,
    /// Ends with the audit record; `None` if nothing is recorded.
    span: Option<OpenSpan>,
    /// Where it came from; its place in a trace goes on with whatever is done.
    origin: Origin,
}

impl CapServer {
    /// Invokes a capability of this server, as HTTP does but in the process.
    ///
    /// # Errors
    ///
    /// [`BcapError`], as HTTP would answer it.
    ///
    /// # Cancel safety
    ///
    /// The operation is dropped with the call; whether that undoes anything is the operation's. A use
    /// that was counted stays counted.
    pub async fn invoke(
        &self,
        id: &str,
        method: Method,
        data: Option<BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        self.invoke_from(Origin::new(Door::Belay), id, method, data).await
    }

    /// Invokes a capability on behalf of another door, or as a part of a trace.
    ///
    /// # Errors
    ///
    /// As [`invoke`](Self::invoke).
    ///
    /// # Cancel safety
    ///
    /// As [`invoke`](Self::invoke).
    pub async fn invoke_from(
        &self,
        origin: Origin,
        id: &str,
        method: Method,
        data: Option<BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        self.invoke_opened(&self.open(id, origin).await?, method, data).await
    }

    /// Invokes a capability that must be of a kind: for a door that has an
    /// operation of its own for each, and takes a capability as the authority for it.
    ///
    /// # Errors
    ///
    /// [`BcapError::Forbidden`] for a capability of another kind, and as [`invoke`](Self::invoke).
    ///
    /// # Cancel safety
    ///
    /// As [`invoke`](Self::invoke).
    pub async fn invoke_as(
        &self,
        origin: Origin,
        kind: &str,
        id: &str,
        method: Method,
        data: Option<BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let opened = self.open(id, origin).await?;
        if matches!(opened.item, Item::Control) || opened.chain.grant().kind.as_str() != kind {
            opened.audit(method, BcapError::Forbidden.status(), [0, 0], Peer::InProcess);
            return Err(BcapError::Forbidden);
        }
        self.invoke_opened(&opened, method, data).await
    }

    async fn invoke_opened(
        &self,
        opened: &Opened,
        method: Method,
        data: Option<BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let (outcome, bytes) = match opened.check_data(method, data.as_ref()) {
            Ok(bytes) => (opened.perform(method, data, bytes).await, bytes),
            Err(error) => (Err(error), 0),
        };
        let status = outcome.as_ref().map_or_else(|error| error.status(), |_| 200);
        opened.audit(method, status, [bytes, 0], Peer::InProcess);
        outcome
    }

    /// Finds a capability that is alive.
    pub(crate) async fn open(&self, id: &str, origin: Origin) -> Result<Opened, BcapError> {
        self.open_within(id, None, origin).await
    }

    // Within the limits of another invocation, if that is what invokes.
    async fn open_within(
        &self,
        id: &str,
        outer: Option<&Outer>,
        origin: Origin,
    ) -> Result<Opened, BcapError> {
        if !is_id(id) {
            return Err(BcapError::NotFound);
        }
        if self.0.draining.is_cancelled() {
            return Err(BcapError::unavailable());
        }
        let tracer = self.0.config.tracer.as_ref();
        let span = tracer.and_then(|tracer| tracer.enter(origin.traceparent().cloned()));
        let origin = match &span {
            Some(span) => origin.traced(Some(span.context().clone())),
            None => origin,
        };
        let hash = SecretHash::of(id);
        for _ in 0..READINGS_MAX {
            let seen = self.0.live.generation();
            let now = self.0.now();
            let found = self.0.find(&hash, now).await?;
            let (chain, item) = found.ok_or(BcapError::NotFound)?;
            match self.0.live.enter(seen, chain.handles()) {
                Ok(entered) => {
                    let inner = Arc::clone(&self.0);
                    let own = &chain.grant().bounds;
                    let bounds = outer.map_or_else(
                        || Arc::clone(own),
                        |outer| Arc::new(own.intersection(&outer.bounds.through())),
                    );
                    let nesting = outer.map_or(0, |outer| outer.nesting + 1);
                    let methods = item.methods(&bounds);
                    let chain = Arc::new(chain);
                    let since = now;
                    return Ok(Opened {
                        inner,
                        chain,
                        item,
                        methods,
                        bounds,
                        nesting,
                        entered,
                        since,
                        span,
                        origin,
                    });
                }
                Err(Refused::Stale) => {}
                Err(Refused::Full) => break,
            }
        }
        Err(BcapError::unavailable())
    }
}

impl Inner {
    async fn find(
        &self,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Result<Option<(Chain, Item)>, BcapError> {
        let store_failed = |error| {
            tracing::warn!(error = %error, "a capability could not be read");
            of_store(&error)
        };
        let designated = self.grants.designated(hash, now).await.map_err(store_failed)?;
        let Some(Found { tree, handle, role }) = designated else {
            // An id that nobody has takes as long as one whose grant is dead (Belay §20.8).
            let decoy = Handle::decoy(hash);
            self.grants.load(&decoy, &decoy, now).await.map_err(store_failed)?;
            return Ok(None);
        };
        let chain = self.grants.chain(&tree, &handle, now).await.map_err(store_failed)?;
        let Some(chain) = chain else { return Ok(None) };
        let grant = chain.grant();
        if role == Role::Control {
            return Ok(Some((chain, Item::Control)));
        }
        if !chain.is_live(now) {
            return Ok(None);
        }
        if grant.kind.as_str() == Kind::GRANTOR {
            return Ok(Some((chain, Item::Grantor)));
        }
        // A kind that is not registered is a dead capability, as a named grant without its handler
        // is (Belay §6.10).
        let Some(designated) = self.designated(&grant.kind, &grant.target) else { return Ok(None) };
        let is_bound = designated.operation.is_bound(&designated.target).await?;
        Ok(is_bound.then_some((chain, Item::Operation(designated))))
    }
}

impl Item {
    /// The methods that the limits leave. Those of a control capability are not limited: the limits
    /// are those of what it controls.
    fn methods(&self, bounds: &Bounds) -> MethodSet {
        match self {
            Self::Control => MethodSet::of(&[Method::Get, Method::Put, Method::Delete]),
            Self::Grantor => {
                bounds.methods(MethodSet::of(&[Method::Get, Method::Post]), MethodSet::GET)
            }
            Self::Operation(Designated { operation, target }) => {
                bounds.methods(operation.methods(target), operation.reading_methods())
            }
        }
    }
}

impl Opened {
    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The methods that may be used.
    pub(super) const fn methods(&self) -> MethodSet {
        self.methods
    }

    /// Whether it controls the grant instead of being it.
    pub(super) const fn is_control(&self) -> bool {
        matches!(self.item, Item::Control)
    }

    /// Whether the method may be used.
    pub(crate) fn check_method(&self, method: Method) -> Result<(), BcapError> {
        if self.methods.contains(method) {
            Ok(())
        } else {
            Err(BcapError::MethodNotAllowed { allow: self.methods })
        }
    }

    // In the process there is no text; its length is asked for only if it is limited.
    fn check_data(&self, method: Method, data: Option<&BcapValue>) -> Result<u64, BcapError> {
        self.check_method(method)?;
        if data.is_some() && !method.takes_data() {
            return Err(BcapError::BadRequest);
        }
        let text = encode(data, self.inner.config.wire).map_err(|_| BcapError::BadRequest)?;
        if text.len() > self.inner.config.body_bytes_max {
            return Err(BcapError::TooLarge);
        }
        Ok(text.len() as u64)
    }

    /// Makes the invocation: the last checks, counting, and the item.
    pub(crate) async fn perform(
        &self,
        method: Method,
        data: Option<BcapValue>,
        bytes: u64,
    ) -> Result<Option<BcapValue>, BcapError> {
        if let Item::Control = self.item {
            return self.inner.invoke_control(&self.chain, method, data).await;
        }
        self.check_limits(method, data.as_ref(), bytes)?;
        self.take_use().await?;
        let inner = &self.inner;
        let grant = self.chain.grant();
        if inner.usage.count(grant.root(), &grant.handle, inner.now()) {
            let inner = Arc::clone(inner);
            self.inner.tracker.spawn(async move {
                if let Err(error) = inner.grants.write_usage(&inner.usage, inner.now()).await {
                    tracing::warn!(error = %error, "usage counts could not be written");
                }
            });
        }
        let result = match &self.item {
            Item::Operation(designated) => self.operate(designated, method, data).await?,
            Item::Grantor => inner.invoke_grantor(&self.chain, &self.bounds, method, data).await?,
            Item::Control => None,
        };
        if result.is_some() && !method.gives_data() {
            tracing::error!(kind = %grant.kind, method = %method, "an operation gave a result to a method that has none");
            return Err(BcapError::Internal);
        }
        Ok(result)
    }

    fn check_limits(
        &self,
        method: Method,
        data: Option<&BcapValue>,
        bytes: u64,
    ) -> Result<(), BcapError> {
        if let Item::Operation(Designated { operation, target }) = &self.item {
            let subject = operation.subject(target, method, data)?;
            if !subject.is_within(&self.bounds) {
                return Err(BcapError::Forbidden);
            }
        }
        if self.bounds.max_bytes().is_some_and(|most| bytes > most) {
            return Err(BcapError::TooLarge);
        }
        Ok(())
    }

    async fn take_use(&self) -> Result<(), BcapError> {
        let Some(levels) = self.chain.levels() else { return Ok(()) };
        let verdict = self.inner.admission.admit(self.chain.grant().root(), levels).await;
        match verdict {
            Ok(Verdict::Admitted) => Ok(()),
            Ok(Verdict::Gone) => Err(BcapError::NotFound),
            Ok(Verdict::Limited { retry_after_secs }) => {
                Err(BcapError::TooManyRequests { retry_after_secs })
            }
            Err(error) => {
                tracing::warn!(error = %error, "an invocation could not be counted");
                Err(of_store(&error))
            }
        }
    }

    async fn operate(
        &self,
        Designated { operation, target }: &Designated,
        method: Method,
        data: Option<BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let grant = self.chain.grant();
        let cancelled = self.entered.token();
        // Between being entered and here the invocation may have waited to be counted.
        if cancelled.is_cancelled() {
            return Err(BcapError::NotFound);
        }
        let cx = Invocation {
            id: InvocationId::mint(&*self.inner.entropy),
            handle: grant.handle.clone(),
            target: Arc::clone(target),
            bounds: Arc::clone(&self.bounds),
            cancelled: cancelled.clone(),
            origin: self.origin.clone(),
            host: Arc::new(Outer {
                server: CapServer(Arc::clone(&self.inner)),
                chain: Arc::clone(&self.chain),
                bounds: Arc::clone(&self.bounds),
                nesting: self.nesting,
                origin: self.origin.within(),
            }),
        };
        // A panic is a bug of the operation and ends this invocation, not the connection.
        let work = AssertUnwindSafe(operation.invoke(cx, method, data)).catch_unwind();
        let done = if operation.reading_methods().contains(method) {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => return Err(BcapError::NotFound),
                () = self.inner.draining.cancelled() => return Err(BcapError::unavailable()),
                done = work => done,
            }
        } else {
            work.await
        };
        done.unwrap_or_else(|_| {
            tracing::error!(kind = %grant.kind, method = %method, "an operation panicked");
            Err(BcapError::Internal)
        })
    }

    /// Records what became of the invocation, and ends its span.
    pub(crate) fn audit(&self, method: Method, status: u16, bytes: [u64; 2], peer: Peer) {
        let (now, [bytes_in, bytes_out]) = (self.inner.now(), bytes);
        let took = now.saturating_since(self.since);
        let control = matches!(self.item, Item::Control);
        let invoked = Invoked { control, method, status, bytes_in, bytes_out, took, peer };
        self.inner.audit.record(now, self.chain.grant(), AuditAction::Invoked(invoked));
        if let (Some(tracer), Some(span)) = (&self.inner.config.tracer, self.span.clone()) {
            let kind = if control { Kind::CONTROL } else { self.chain.grant().kind.as_str() };
            tracer.end(span, || {
                let work = Work::Invoke { kind: kind.to_owned(), method: method.as_str(), status };
                (work, (status >= 500).then(|| format!("it was answered {status}")))
            });
        }
    }
}

/// An invocation, as what it makes of the server sees it.
struct Outer {
    server: CapServer,
    chain: Arc<Chain>,
    bounds: Arc<Bounds>,
    nesting: u8,
    origin: Origin,
}

impl Host for Outer {
    fn still_valid(&self) -> BoxFuture<'_, Result<(), BcapError>> {
        Box::pin(async move {
            let Inner { grants, .. } = &*self.server.0;
            let (grant, now) = (self.chain.grant(), self.server.0.now());
            let chain = grants.chain(grant.root(), &grant.handle, now).await;
            match chain.map_err(|error| of_store(&error))? {
                // The use of this very invocation may have been the last.
                Some(chain) if chain.is_current(now) => Ok(()),
                _ => Err(BcapError::NotFound),
            }
        })
    }

    fn invoke<'a>(
        &'a self,
        id: &'a str,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'a, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move {
            if self.nesting >= NESTING_MAX {
                return Err(BcapError::BadGateway);
            }
            let opened = self.server.open_within(id, Some(self), self.origin.clone()).await?;
            self.server.invoke_opened(&opened, method, data).await
        })
    }

    fn local_id(&self, cap: &Bcap) -> Option<Secret<String>> {
        self.server.local_id(cap)
    }

    fn forward<'a>(
        &'a self,
        name: &'a str,
        cap: &'a Bcap,
        fresh: bool,
    ) -> BoxFuture<'a, Result<Bcap, BcapError>> {
        Box::pin(async move {
            let granted = self.server.0.forward(&self.chain, &self.bounds, name, cap, fresh).await;
            granted.map(|granted| granted.cap).map_err(|error| error.to_bcap_error())
        })
    }
}
