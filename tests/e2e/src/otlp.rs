//! Collects the traces and distributions that the processes send by OTLP.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{HistogramDataPoint, metric::Data},
};
use tokio::task::AbortHandle;
use tonic::{Request, Response, Status, transport::Server, transport::server::TcpIncoming};

/// A span as a process sent it.
#[derive(Debug, Clone)]
pub struct SeenSpan {
    /// `service.name` of the process.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Lower-case hexadecimal.
    pub trace_id: String,
    /// Lower-case hexadecimal.
    pub span_id: String,
    /// Lower-case hexadecimal; empty at the root.
    pub parent_span_id: String,
}

/// A distribution since its process was started: how many were at most each bound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// Upper bounds, ascending.
    pub bounds: Vec<f64>,
    /// How many lie in each bucket; one more than bounds.
    pub counts: Vec<u64>,
}

/// Of one metric, by the values of its labels.
type Distributions = BTreeMap<(String, Vec<String>), Distribution>;

/// An OTLP receiver. Ends when dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<SeenSpan>>>,
    distributions: Arc<Mutex<Distributions>>,
    task: AbortHandle,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = incoming.local_addr()?;
        let spans: Arc<Mutex<Vec<SeenSpan>>> = Arc::default();
        let distributions: Arc<Mutex<Distributions>> = Arc::default();
        let receiver = Receiver { spans: Arc::clone(&spans), distributions: Arc::clone(&distributions) };
        let serving = Server::builder()
            .add_service(TraceServiceServer::new(receiver.clone()))
            .add_service(MetricsServiceServer::new(receiver))
            .serve_with_incoming(incoming);
        let task = tokio::spawn(serving).abort_handle();
        Ok(Self { address, spans, distributions, task })
    }

    /// For `telemetry.otlp_endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of a trace that have come so far.
    pub fn trace(&self, trace_id: &str) -> Vec<SeenSpan> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.trace_id == trace_id).cloned().collect()
    }

    /// A distribution as it was sent last, by its name and the values of its labels; empty before that.
    pub fn distribution(&self, name: &str, labels: &[&str]) -> Distribution {
        let key = (name.to_owned(), labels.iter().map(|label| (*label).to_owned()).collect());
        self.distributions.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned().unwrap_or_default()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Receiver {
    spans: Arc<Mutex<Vec<SeenSpan>>>,
    distributions: Arc<Mutex<Distributions>>,
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let of_resources = request.into_inner().resource_metrics.into_iter();
        let metrics = of_resources.flat_map(|of| of.scope_metrics).flat_map(|scope| scope.metrics);
        let mut distributions = self.distributions.lock().unwrap_or_else(PoisonError::into_inner);
        for metric in metrics {
            let Some(Data::Histogram(histogram)) = metric.data else { continue };
            for HistogramDataPoint { attributes, explicit_bounds, bucket_counts, .. } in histogram.data_points {
                let labels = attributes.into_iter().filter_map(text_of).collect();
                let told = Distribution { bounds: explicit_bounds, counts: bucket_counts };
                distributions.insert((metric.name.clone(), labels), told);
            }
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// The value of a label that is a text.
fn text_of(label: KeyValue) -> Option<String> {
    match label.value?.value? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut seen = Vec::new();
        for resource_spans in request.into_inner().resource_spans {
            let attributes = resource_spans.resource.unwrap_or_default().attributes;
            let service = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let service = service.and_then(text_of).unwrap_or_default();
            seen.extend(resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans).map(|span| SeenSpan {
                service: service.clone(),
                name: span.name,
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_span_id: hex(&span.parent_span_id),
            }));
        }
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
