//! The settings of traces, described and read. Never here: what is traced.

use std::{path::PathBuf, time::Duration};

use buswire_message::SampleRatio;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::{
    gateway::bare_url,
    reader::Reader,
    schema::{Group, Kind, Setting, count, time},
};

/// Traces.
pub(crate) const TELEMETRY: Group = Group {
    title: "Traces",
    about: "Every message carries a W3C `traceparent`. With an endpoint, what the gateway does in sampled traces is sent to an OpenTelemetry collector over OTLP/gRPC; see `docs/tracing.md`.",
    settings: &[
        Setting::unset(
            "telemetry.otlp.endpoint",
            Kind::Url,
            "The collector, as `http://127.0.0.1:4317`. Nothing is sent if it is not set.",
        ),
        Setting::unset(
            "telemetry.otlp.headers",
            Kind::Text,
            "What is sent with every request, such as `authorization=Bearer TOKEN`; several are separated by commas.",
        )
        .hidden(),
        Setting::unset(
            "telemetry.otlp.ca",
            Kind::Path,
            "PEM file with the authorities that an `https:` endpoint is checked with, in place of those of the system.",
        ),
        Setting::new(
            "telemetry.otlp.sample_ratio",
            Kind::Text,
            "\"1\"",
            "Which part of the traces that begin at the gateway is sent, from `0` to `1`. Traces that came in are sent if whoever began them samples them.",
        ),
        Setting::new(
            "telemetry.otlp.timeout",
            time(100, 600),
            "\"10s\"",
            "How long the collector may take for one request, repetitions included; then its spans are dropped and counted.",
        ),
        Setting::new(
            "telemetry.otlp.queue",
            count(1, 1_000_000),
            "8192",
            "Spans that wait to be sent, about 500 bytes each. More are dropped and counted in `buswire_telemetry_spans_dropped_total`; nothing ever waits for the collector.",
        ),
        Setting::new(
            "telemetry.otlp.channels",
            Kind::Flag,
            "false",
            "Whether spans name channels. Whoever knows the name of a Backplane channel may be able to read it.",
        ),
    ],
};

/// The way of spans to a collector.
#[derive(Clone, Debug)]
pub struct OtlpConfig {
    /// Where the collector is.
    pub endpoint: Url,
    /// What is sent with every request; values are marked sensitive.
    pub headers: HeaderMap,
    /// PEM file with the authorities of an `https:` endpoint; `None` is those of the system.
    pub ca: Option<PathBuf>,
    /// Which part of the traces that begin here is sent.
    pub sample_ratio: SampleRatio,
    /// For one request, repetitions included.
    pub timeout: Duration,
    /// Spans that wait at most.
    pub queue: usize,
    /// Whether spans name channels.
    pub channels: bool,
}

pub(super) fn otlp(reader: &mut Reader<'_>) -> Option<OtlpConfig> {
    let endpoint = reader.checked("telemetry.otlp.endpoint", bare_url);
    let headers = reader.checked("telemetry.otlp.headers", headers).unwrap_or_default();
    let ca = reader.path("telemetry.otlp.ca");
    let sample_ratio = reader.checked("telemetry.otlp.sample_ratio", |text| {
        let ratio = text.parse().ok().and_then(SampleRatio::new);
        ratio.ok_or_else(|| "is not from 0 to 1".to_owned())
    });
    let timeout = reader.time("telemetry.otlp.timeout");
    let queue = usize::try_from(reader.count("telemetry.otlp.queue")).unwrap_or(usize::MAX);
    let channels = reader.flag("telemetry.otlp.channels");
    let (endpoint, sample_ratio) = (endpoint?, sample_ratio?);
    Some(OtlpConfig { endpoint, headers, ca, sample_ratio, timeout, queue, channels })
}

/// Reads `NAME=VALUE,…`. No message holds a part of it.
fn headers(text: &str) -> Result<HeaderMap, String> {
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(value.trim()).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    };
    let headers = text.split(',').map(header).collect::<Option<_>>();
    headers.ok_or_else(|| "is not NAME=VALUE,…".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_not_shown() {
        let read = headers("authorization=Bearer hunter2, x-tenant=a=b").unwrap();
        assert_eq!(read["authorization"], "Bearer hunter2");
        assert_eq!(read["x-tenant"], "a=b");
        assert!(!format!("{read:?}").contains("hunter2"));
        for bad in ["hunter2", "a=b,hunter2", "=hunter2", "a=hun\nter2"] {
            assert_eq!(headers(bad), Err("is not NAME=VALUE,…".to_owned()));
        }
    }
}
