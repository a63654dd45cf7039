//! What the process tells of itself beside its metrics: log lines and, if the operator wants them, the
//! spans of traces.
//!
//! | module | does |
//! |---|---|
//! | [`log`] | lines on standard error |
//! | `traces` | the queue of spans and its way to a collector over OTLP |
//! | `spans` | how a span looks to OpenTelemetry |
//!
//! Never here: what is logged or traced.

pub mod log;
mod spans;
mod traces;

pub use traces::{TracesError, tracer};
