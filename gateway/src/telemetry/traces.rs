//! The way of spans to a collector: a bounded queue and one task that sends what is in it over OTLP.
//!
//! The queue never waits: what it has no room for is dropped and counted, so a collector that hangs or
//! is absent slows nothing. Never here: what a span says.

use std::{error::Error, fs, pin::pin, sync::Arc, time::Duration};

use buswire_message::{Clock, Entropy, Recorder, Span, Tracer, mint_hex};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;
use tonic::{
    metadata::MetadataMap,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::spans::{Channels, to_otlp};
use crate::{config::OtlpConfig, tasks::Tasks};

/// Spans of one request: what the SDK of OpenTelemetry sends at once by default.
const BATCH: usize = 512;
/// How long a span waits for others to be sent with.
const LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take for what is left at the end. Less than tasks may take to end.
const CLOSING: Duration = Duration::from_millis(400);

/// Why spans can't be exported.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.otlp: {what}")]
pub struct TracesError {
    what: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

fn failed<E: Into<Box<dyn Error + Send + Sync>>>(
    what: &'static str,
) -> impl FnOnce(E) -> TracesError {
    move |source| TracesError { what, source: source.into() }
}

/// A tracer that records what `config` asks for; nothing if that is `None`. What it records is sent by a
/// task of `tasks`. Call it on a tokio runtime. Does not connect yet.
///
/// # Errors
///
/// [`TracesError`] if the certificates of the collector can't be used.
pub fn tracer(
    config: Option<&OtlpConfig>,
    tasks: &Tasks,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Tracer, TracesError> {
    let Some(config) = config else { return Ok(Tracer::new(clock, entropy)) };
    let exporter = exporter(config, &*entropy)?;
    let (queue, spans) = mpsc::channel(config.queue);
    let channels = if config.channels { Channels::Told } else { Channels::Hidden };
    let sender = Sender { exporter, channels, spans, is_failing: false };
    tasks.spawn("traces", sender.run(tasks.stop()));
    Ok(Tracer::new(clock, entropy).recording(Arc::new(Queue(queue)), config.sample_ratio))
}

fn exporter(
    config: &OtlpConfig,
    entropy: &dyn Entropy,
) -> Result<opentelemetry_otlp::SpanExporter, TracesError> {
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_channel(channel(config)?)
        .with_metadata(MetadataMap::from_headers(config.headers.clone()))
        .with_timeout(config.timeout)
        .build()
        .map_err(failed("there is no exporter"))?;
    // One of several gateways is told from the others by an id that it has as long as it runs.
    let instance = mint_hex(entropy, 16);
    let resource = Resource::builder_empty().with_service_name("buswire").with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance.expose().clone()),
    ]);
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

fn channel(config: &OtlpConfig) -> Result<Channel, TracesError> {
    let endpoint = Endpoint::from_shared(config.endpoint.to_string())
        .map_err(failed("the endpoint is no URL"))?
        .timeout(config.timeout)
        .connect_timeout(config.timeout);
    if config.endpoint.scheme() != "https" {
        return Ok(endpoint.connect_lazy());
    }
    let tls = match &config.ca {
        None => ClientTlsConfig::new().with_native_roots(),
        Some(path) => {
            let pem = fs::read(path).map_err(failed("the certificates of ca can't be read"))?;
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
        }
    };
    let endpoint = endpoint.tls_config(tls).map_err(failed("the certificates can't be used"))?;
    Ok(endpoint.connect_lazy())
}

/// Spans on their way to the task; one that finds no room is dropped and counted.
#[derive(Debug)]
struct Queue(mpsc::Sender<Span>);

impl Recorder for Queue {
    fn record(&self, span: Span) {
        if self.0.try_send(span).is_err() {
            dropped("queue", 1);
        }
    }
}

fn dropped(reason: &'static str, spans: usize) {
    let counter = metrics::counter!("buswire_telemetry_spans_dropped_total", "reason" => reason);
    counter.increment(spans as u64);
}

/// Sends what is in the queue.
struct Sender {
    exporter: opentelemetry_otlp::SpanExporter,
    channels: Channels,
    spans: mpsc::Receiver<Span>,
    /// Whether the last request failed, so that the log says it once.
    is_failing: bool,
}

impl Sender {
    /// Sends until `stop`, and then what is left, as far as there is time.
    async fn run(mut self, stop: CancellationToken) {
        let mut closing = pin!(async {
            stop.cancelled().await;
            time::sleep(CLOSING).await;
        });
        loop {
            let batch = self.collect(&stop).await;
            if batch.is_empty() {
                return;
            }
            let count = batch.len();
            tokio::select! {
                () = self.send(batch) => {}
                () = &mut closing => return dropped("export", count + self.spans.len()),
            }
        }
    }

    /// Takes what is to be sent next; nothing once all is sent and `stop` is cancelled.
    async fn collect(&mut self, stop: &CancellationToken) -> Vec<SpanData> {
        let mut spans = Vec::new();
        let lingering = async {
            if self.spans.recv_many(&mut spans, BATCH).await == 0 {
                return;
            }
            let full = async {
                while spans.len() < BATCH {
                    let room = BATCH - spans.len();
                    if self.spans.recv_many(&mut spans, room).await == 0 {
                        return;
                    }
                }
            };
            // Whether the batch is full or the time over, it is sent.
            time::timeout(LINGER, full).await.unwrap_or_default();
        };
        if stop.run_until_cancelled(lingering).await.is_none() {
            let room = BATCH.saturating_sub(spans.len());
            spans.extend(std::iter::from_fn(|| self.spans.try_recv().ok()).take(room));
        }
        spans.into_iter().map(|span| to_otlp(span, self.channels)).collect()
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len();
        match self.exporter.export(batch).await {
            Ok(()) => {
                metrics::counter!("buswire_telemetry_spans_exported_total").increment(count as u64);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                dropped("export", count);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "spans can't be exported and are dropped");
                }
            }
        }
    }
}
