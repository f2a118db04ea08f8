//! Logs, traces and metrics. Logs go to standard error, for people or as JSON; traces and metrics go by OTLP once an
//! endpoint is set. The W3C trace context goes along with every call.

use std::{io::IsTerminal as _, time::Duration};

use http::HeaderMap;
use opentelemetry::{
    KeyValue, global,
    metrics::Histogram,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use serde::Deserialize;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::ConfigError;

/// What is told, how, and to whom.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Filter directives as of `tracing-subscriber`, e.g. `info,posmesh_order=debug`.
    pub log_filter: String,
    /// `human` or `json`.
    pub log_format: LogFormat,
    /// OTLP over gRPC, e.g. `http://collector:4317`. Empty: no traces and metrics leave the process.
    pub otlp_endpoint: String,
    /// `service.name` of the resource.
    pub service_name: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line.
    Human,
    /// One JSON object a line.
    Json,
}

/// Keeps the exporters; [`Telemetry::shutdown`] sends what is still buffered.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);

impl Telemetry {
    /// Installs the process's logs and exporters. Once per process, within the runtime.
    pub fn install(config: &TelemetryConfig) -> Result<Self, ConfigError> {
        let filter = filter(&config.log_filter)?;
        global::set_text_map_propagator(TraceContextPropagator::new());
        let telemetry = Self::exporters(config)?;
        let lines = match config.log_format {
            LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed(),
            LogFormat::Human => {
                let ansi = std::io::stderr().is_terminal();
                tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(std::io::stderr).boxed()
            }
        };
        let tracer = telemetry.traces.clone().unwrap_or_else(without_exporter).tracer("posmesh");
        // What is left out would be paid for whenever a call is polled.
        let spans = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_context_activation(false);
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .with(spans)
            .try_init()
            .map_err(|e| ConfigError::invalid("telemetry", e))?;
        Ok(telemetry)
    }

    fn exporters(config: &TelemetryConfig) -> Result<Self, ConfigError> {
        if config.otlp_endpoint.is_empty() {
            return Ok(Self::default());
        }
        let wrong = |e: opentelemetry_otlp::ExporterBuildError| ConfigError::invalid("telemetry.otlp_endpoint", e);
        let resource = Resource::builder().with_service_name(config.service_name.clone()).build();
        let spans = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&config.otlp_endpoint)
            .build()
            .map_err(wrong)?;
        let numbers = opentelemetry_otlp::MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&config.otlp_endpoint)
            .build()
            .map_err(wrong)?;
        let traces = SdkTracerProvider::builder().with_batch_exporter(spans).with_resource(resource.clone()).build();
        let metrics = SdkMeterProvider::builder().with_periodic_exporter(numbers).with_resource(resource).build();
        global::set_meter_provider(metrics.clone());
        Ok(Self { traces: Some(traces), metrics: Some(metrics) })
    }

    /// Sends what is buffered, within a few seconds.
    pub fn shutdown(self) {
        if let Some(Err(error)) = self.traces.map(|t| t.shutdown_with_timeout(SHUTDOWN_LIMIT)) {
            tracing::warn!(%error, "the last traces were not sent");
        }
        if let Some(Err(error)) = self.metrics.map(|m| m.shutdown_with_timeout(SHUTDOWN_LIMIT)) {
            tracing::warn!(%error, "the last metrics were not sent");
        }
    }
}

/// Directives that name spans or fields are looked up whenever a span is entered; plain ones are decided once for each
/// place in the code.
fn filter(directives: &str) -> Result<Box<dyn Layer<Registry> + Send + Sync>, ConfigError> {
    let is_plain = directives.split(',').all(|one| !one.is_empty() && !one.contains(['[', ' ']));
    match directives.parse::<Targets>() {
        Ok(targets) if is_plain => Ok(targets.boxed()),
        _ => Ok(EnvFilter::try_new(directives).map_err(|e| ConfigError::invalid("telemetry.log_filter", e))?.boxed()),
    }
}

/// Nobody reads the spans, so nothing is recorded in them unless the caller records. They still need ids: the context of an
/// inbound call goes on unbroken.
fn without_exporter() -> SdkTracerProvider {
    SdkTracerProvider::builder().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).build()
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(key), http::HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// Makes the trace of an inbound call the parent of `span`.
pub fn adopt_context(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    if context.span().span_context().is_valid() {
        // Fails only where no trace layer is installed, and then there is nothing to continue.
        let _ = span.set_parent(context);
    }
}

/// Writes the current trace context into the headers of an outbound call.
pub fn inject_context(headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut HeadersMut(headers));
}

/// The current W3C `traceparent`, to be stored with work that goes on later; empty when there is no trace.
pub fn traceparent() -> String {
    let mut headers = HeaderMap::new();
    inject_context(&mut headers);
    headers.get("traceparent").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

/// Counts something, by labels. Rare events only: the counter is looked up each time.
pub fn count(name: &'static str, value: u64, labels: &[(&'static str, &'static str)]) {
    let labels: Vec<KeyValue> = labels.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect();
    global::meter("posmesh").u64_counter(name).build().add(value, &labels);
}

/// A distribution of durations, for what happens often: looked up once, when the process's exporters are installed.
#[derive(Debug, Clone)]
pub struct Durations(Histogram<f64>);

impl Durations {
    /// From a millisecond to ten seconds.
    const BOUNDS_S: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

    /// Under this name; `description` says of what.
    pub fn new(name: &'static str, description: &'static str) -> Self {
        let meter = global::meter("posmesh");
        let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
        Self(histogram.with_boundaries(Self::BOUNDS_S.to_vec()).build())
    }

    /// Notes one of them, with a label.
    pub fn record(&self, duration: Duration, label: (&'static str, &'static str)) {
        self.0.record(duration.as_secs_f64(), &[KeyValue::new(label.0, label.1)]);
    }
}

/// Makes a stored `traceparent` the parent of `span`.
pub fn continue_trace(span: &Span, traceparent: &str) {
    let mut headers = HeaderMap::new();
    HeadersMut(&mut headers).set("traceparent", traceparent.to_owned());
    adopt_context(span, &headers);
}
