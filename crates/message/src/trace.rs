//! The place of work in a distributed trace, after W3C Trace Context.
//!
//! A [`Tracer`] gives every piece of work its [`TraceParent`] and, where spans are recorded, tells a
//! [`Recorder`] when the work is over. Where they are not, a context that came in is passed on as it
//! is, so that no span is named that nobody can find, and nothing is built.
//!
//! Never here: how spans are exported, what is done in one.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use crate::{
    id::MessageId,
    message::Door,
    name::{BusName, ChannelName, RouteName},
    secret::Entropy,
    time::Clock,
    tracestate::TraceState,
};

/// A W3C `traceparent`: the trace and the span that something comes from, with what other systems keep of
/// the trace, its `tracestate`. Written in version 00. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<TraceState>,
}

/// A text is not a W3C `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct TraceParentError;

const SAMPLED: u8 = 1;

impl TraceParent {
    /// The name of the HTTP header and of the gRPC metadata.
    pub const HEADER: &str = "traceparent";
    /// The length of the text.
    pub const LENGTH: usize = 55;

    /// Makes one from random ids; zero ids, which the W3C form forbids, become 1.
    pub fn new(trace_id: u128, span_id: u64, sampled: bool) -> Self {
        let flags = if sampled { SAMPLED } else { 0 };
        Self { trace_id: trace_id.max(1), span_id: span_id.max(1), flags, state: None }
    }

    /// Reads the values of the header [`HEADER`](Self::HEADER) in a request, and those of
    /// [`TraceState::HEADER`]. `None` without one of the first, and as Trace Context §4.3 says for one
    /// that is malformed or sent twice: a new trace begins then, without what is said of another.
    pub fn received<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
        states: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let mut values = values.into_iter();
        let only = values.next().filter(|_| values.next().is_none())?;
        let parent: Self = std::str::from_utf8(only).ok()?.parse().ok()?;
        Some(parent.with_state(TraceState::received(states)))
    }

    /// The same, with what other systems keep of the trace.
    #[must_use]
    pub fn with_state(self, state: Option<TraceState>) -> Self {
        Self { state, ..self }
    }

    /// What other systems keep of the trace.
    pub const fn state(&self) -> Option<&TraceState> {
        self.state.as_ref()
    }

    /// The trace.
    pub const fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The span in the trace.
    pub const fn span_id(&self) -> u64 {
        self.span_id
    }

    /// Whether whoever began the trace records it.
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same trace, seen from the span `span_id`.
    #[must_use]
    pub fn with_span(self, span_id: u64) -> Self {
        Self { span_id: span_id.max(1), ..self }
    }

    /// The text, without what other systems keep, and without allocating.
    pub fn to_text(&self) -> [u8; Self::LENGTH] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; Self::LENGTH];
        let mut places = text.iter_mut();
        let mut put = |bytes: &[u8]| {
            for byte in bytes {
                for digit in [byte >> 4, byte & 0xf] {
                    let digit = DIGITS.get(usize::from(digit)).copied().unwrap_or_default();
                    if let Some(place) = places.next() {
                        *place = digit;
                    }
                }
            }
            // The dash that follows.
            places.next();
        };
        put(&[0]);
        put(&self.trace_id.to_be_bytes());
        put(&self.span_id.to_be_bytes());
        put(&[self.flags]);
        text
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    /// Of a later version the fields of version 00 are read (Trace Context §4.3).
    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        let mut fields = text.splitn(5, '-');
        let mut field = |width: usize| {
            fields
                .next()
                .filter(|f| f.len() == width)
                .filter(|f| f.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
                .and_then(|f| u128::from_str_radix(f, 16).ok())
                .ok_or(TraceParentError)
        };
        let (version, trace_id, span_id, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let goes_on = fields.next().is_some();
        if version == 0xff || (version == 0 && goes_on) || trace_id == 0 || span_id == 0 {
            return Err(TraceParentError);
        }
        let span_id = u64::try_from(span_id).map_err(|_| TraceParentError)?;
        let flags = u8::try_from(flags).map_err(|_| TraceParentError)?;
        // What later versions say with flags is not known here.
        let flags = if version == 0 { flags } else { flags & SAMPLED };
        Ok(Self { trace_id, span_id, flags, state: None })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A piece of work that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace, and the span's own id.
    pub context: TraceParent,
    /// The span that it was done for; `None` if the trace begins here.
    pub parent: Option<u64>,
    /// When it began, since 1970.
    pub began: Duration,
    /// When it ended, since 1970; never before it began, though the clock may step.
    pub ended: Duration,
    /// What was done.
    pub work: Work,
    /// Why it failed, if it did; holds no secret.
    pub failure: Option<String>,
}

/// What is done in a span. It holds no payload and no secret but the channel, whose name may open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// A message is made durable on a bus.
    Publish {
        /// The bus.
        bus: BusName,
        /// The channel.
        channel: ChannelName,
        /// The door that it came in by; `None` if a route made it.
        door: Option<Door>,
        /// The message that it answers.
        in_reply_to: Option<MessageId>,
        /// What it is called; `None` if it was not published.
        id: Option<MessageId>,
    },
    /// A route hands a message to its sink, once.
    Deliver {
        /// The route.
        route: RouteName,
        /// The scheme of the sink, such as `mdp`.
        sink: &'static str,
        /// The bus of the message.
        bus: BusName,
        /// The channel of the message.
        channel: ChannelName,
        /// The message.
        id: MessageId,
        /// Which attempt it is, from 1.
        attempt: u32,
    },
    /// A capability is invoked.
    Invoke {
        /// The kind of its grant, such as `bus.publish`.
        kind: String,
        /// The method.
        method: &'static str,
        /// The status, as HTTP answers it.
        status: u16,
    },
    /// A Majordomo service is asked.
    Request {
        /// The service.
        service: String,
    },
}

/// Takes spans that are over.
pub trait Recorder: Send + Sync + fmt::Debug {
    /// Takes one. Never waits: what there is no room for is dropped and counted.
    fn record(&self, span: Span);
}

/// Which part of the traces that begin here is recorded, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleRatio(f64);

impl SampleRatio {
    /// Every trace.
    pub const ALL: Self = Self(1.0);

    /// A part; `None` if it is not from 0 to 1.
    pub fn new(part: f64) -> Option<Self> {
        (0.0..=1.0).contains(&part).then_some(Self(part))
    }

    /// Whether a trace of that random id is in the part.
    fn has(self, trace_id: u128) -> bool {
        // The low bits, which Trace Context level 2 wants random, as many as a float holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "there are 53 bits")]
        let [place, all] = [trace_id & ((1 << 53) - 1), 1 << 53].map(|number| number as f64);
        place < self.0 * all
    }
}

/// Gives work its place in a trace, and records it if it is to be. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tracer {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    recording: Option<(Arc<dyn Recorder>, SampleRatio)>,
}

/// Work that goes on.
#[derive(Clone, Debug)]
pub struct OpenSpan {
    context: TraceParent,
    parent: Option<u64>,
    /// When it began; `None` if it is not recorded.
    began: Option<Duration>,
}

impl OpenSpan {
    /// What is passed on with the work.
    pub const fn context(&self) -> &TraceParent {
        &self.context
    }

    /// Whether anybody will be told.
    pub const fn is_recorded(&self) -> bool {
        self.began.is_some()
    }
}

impl Tracer {
    /// A tracer that records nothing.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, recording: None }
    }

    /// The same, telling `recorder` of work in traces that are sampled: those that came in so, and
    /// `ratio` of those that begin here.
    #[must_use]
    pub fn recording(self, recorder: Arc<dyn Recorder>, ratio: SampleRatio) -> Self {
        Self { recording: Some((recorder, ratio)), ..self }
    }

    /// Whether anything is recorded.
    pub const fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Begins work that came in with the context `given`; without one a trace begins. Where nothing is
    /// recorded, a given context stays as it is.
    pub fn begin(&self, given: Option<TraceParent>) -> OpenSpan {
        match given {
            Some(context) if !self.is_recording() => {
                OpenSpan { context, parent: None, began: None }
            }
            given => self.child(given),
        }
    }

    /// As [`begin`](Self::begin), if anything is recorded at all: for work that leaves nothing behind
    /// which needs a place in a trace.
    pub fn enter(&self, given: Option<TraceParent>) -> Option<OpenSpan> {
        self.is_recording().then(|| self.child(given))
    }

    /// Begins work that is derived from that of `parent`: it has a span of its own in the same trace,
    /// recorded or not. Without a parent a trace begins.
    pub fn child(&self, parent: Option<TraceParent>) -> OpenSpan {
        let parent_id = parent.as_ref().map(TraceParent::span_id);
        let context = match parent {
            Some(parent) => {
                let mut span = [0; 8];
                self.entropy.fill(&mut span);
                parent.with_span(u64::from_le_bytes(span))
            }
            None => self.root(),
        };
        let is_recorded = self.is_recording() && context.is_sampled();
        let began = is_recorded.then(|| self.clock.since_epoch());
        OpenSpan { context, parent: parent_id, began }
    }

    fn root(&self) -> TraceParent {
        // One call of the operating system for both ids: every message without a trace needs them.
        let mut ids = [[0; 8]; 3];
        self.entropy.fill(ids.as_flattened_mut());
        let [high, low, span] = ids.map(u64::from_le_bytes);
        let trace = u128::from(high) << 64 | u128::from(low);
        let is_sampled = self.recording.as_ref().is_some_and(|(_, ratio)| ratio.has(trace));
        TraceParent::new(trace, span, is_sampled)
    }

    /// Ends work: what it was and why it failed, if it did, is asked for only if it is recorded.
    pub fn end(&self, span: OpenSpan, what: impl FnOnce() -> (Work, Option<String>)) {
        let OpenSpan { context, parent, began } = span;
        let (Some((recorder, _)), Some(began)) = (&self.recording, began) else { return };
        let (work, failure) = what();
        let ended = self.clock.since_epoch().max(began);
        recorder.record(Span { context, parent, began, ended, work, failure });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;
    use crate::time::Timestamp;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(7)
        }
    }

    #[derive(Debug, Default)]
    struct Counting(Mutex<u8>);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            let mut last = self.0.lock().unwrap();
            *last += 1;
            bytes.fill(*last);
        }
    }

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<Span>>);

    impl Recorder for Kept {
        fn record(&self, span: Span) {
            self.0.lock().unwrap().push(span);
        }
    }

    fn quiet() -> Tracer {
        Tracer::new(Arc::new(Still), Arc::new(Counting::default()))
    }

    fn given() -> TraceParent {
        GIVEN.parse().unwrap()
    }

    fn request() -> (Work, Option<String>) {
        (Work::Request { service: "echo".into() }, None)
    }

    #[test]
    fn a_traceparent_is_taken_in_the_w3c_form_only() {
        assert_eq!(given().to_string(), GIVEN);
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(TraceParentError), "{text}");
        }
    }

    #[test]
    fn of_a_later_version_the_fields_of_version_00_are_read() {
        for tail in ["01", "03", "01-what-comes-next"] {
            let text = format!("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{tail}");
            assert_eq!(text.parse(), Ok(given()), "{text}");
        }
    }

    #[test]
    fn a_header_that_is_sent_twice_is_none() {
        let read = |values: &[&str]| TraceParent::received(values.iter().map(|v| v.as_bytes()), []);
        assert_eq!(read(&[GIVEN]), Some(given()));
        for values in [&[][..], &["x"], &[GIVEN, GIVEN]] {
            assert_eq!(read(values), None, "{values:?}");
        }
        assert_eq!(TraceParent::received([&b"\xff"[..]], []), None);
    }

    #[test]
    fn what_others_keep_of_a_trace_goes_with_it_and_not_with_another() {
        let received = |parent: &'static str| {
            TraceParent::received([parent.as_bytes()], [&b"a=1"[..], b"b=2"])
        };
        let state = |parent: &TraceParent| parent.state().map(ToString::to_string);
        let parent = received(GIVEN).unwrap();
        assert_eq!(state(&parent).as_deref(), Some("a=1,b=2"));
        assert_eq!(received("x"), None);
        for tracer in [quiet(), quiet().recording(Arc::new(Kept::default()), SampleRatio::ALL)] {
            assert_eq!(state(tracer.begin(Some(parent.clone())).context()), state(&parent));
            assert_eq!(state(tracer.child(Some(parent.clone())).context()), state(&parent));
            assert_eq!(state(tracer.begin(None).context()), None);
        }
        let malformed = TraceParent::received([GIVEN.as_bytes()], [&b"a"[..]]);
        assert_eq!(malformed, Some(given()), "the trace goes on without it");
    }

    #[test]
    fn where_nothing_is_recorded_a_context_passes_and_nothing_is_built() {
        let tracer = quiet();
        assert_eq!(tracer.begin(Some(given())).context(), &given());
        assert!(tracer.enter(Some(given())).is_none());
        let minted = tracer.begin(None);
        assert!(!minted.is_recorded() && !minted.context().is_sampled());
        let derived = tracer.child(Some(given()));
        assert_eq!(derived.context().trace_id(), given().trace_id());
        assert_ne!(derived.context().span_id(), given().span_id());
        for span in [minted, derived] {
            tracer.end(span, || panic!("nobody asks"));
        }
    }

    #[test]
    fn a_span_is_recorded_with_its_parent_if_the_trace_is_sampled() {
        let kept = Arc::new(Kept::default());
        let tracer = quiet().recording(kept.clone(), SampleRatio::ALL);
        let unsampled = TraceParent::new(1, 2, false);
        for parent in [Some(given()), None, Some(unsampled)] {
            tracer.end(tracer.begin(parent), request);
        }
        let spans = kept.0.lock().unwrap();
        let parents: Vec<_> = spans.iter().map(|span| span.parent).collect();
        assert_eq!(parents, [Some(given().span_id()), None]);
        assert_eq!(spans[0].context.trace_id(), given().trace_id());
        assert_eq!([spans[0].began, spans[0].ended], [Duration::from_secs(7); 2]);
        assert!(spans[1].context.is_sampled());
    }

    #[test]
    fn a_ratio_chooses_by_the_trace() {
        assert_eq!([SampleRatio::new(-0.1), SampleRatio::new(1.1)], [None, None]);
        let quarter = SampleRatio::new(0.25).unwrap();
        let sampled = (0..256_u128).filter(|n| quarter.has(n << 45)).count();
        assert_eq!(sampled, 64);
        assert!(SampleRatio::ALL.has(u128::MAX) && !SampleRatio::new(0.0).unwrap().has(0));
    }

    proptest! {
        #[test]
        fn parse_undoes_print(trace_id in 1_u128.., span_id in 1_u64.., sampled: bool) {
            let context = TraceParent::new(trace_id, span_id, sampled);
            let text = context.to_string();
            prop_assert_eq!(text.parse(), Ok(context.clone()));
            prop_assert_eq!(text.as_bytes(), &context.to_text()[..]);
        }
    }
}
