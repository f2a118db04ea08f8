//! A scripted adapter in a runtime of its own, so that it can die like a process.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _};
use posmesh_kit::{
    Failure, call, cause,
    server::{self, Mounted, ServerConfig},
};
use posmesh_proto::{
    adapter::v1::{
        AdapterDescriptor, CancelOrderRequest, CancelOrderResponse, ChangeOutcome, Changed, DescribeAdapterRequest,
        DescribeAdapterResponse, FindOrderRequest, FindOrderResponse, GetCheckRequest, GetCheckResponse, LinkHealth,
        ListChecksRequest, ListChecksResponse, ListPosOrdersRequest, ListPosOrdersResponse, Placed, PollCatalogRequest,
        PollCatalogResponse, PollEventsRequest, PollEventsResponse, PosContext, ProbeLinkRequest, ProbeLinkResponse,
        PullCatalogRequest, PullCatalogResponse, PullEnd, RequestBillRequest, RequestBillResponse,
        SetAvailabilityRequest, SetAvailabilityResponse, SplitCheckRequest, SplitCheckResponse, SubmitOrderRequest,
        SubmitOrderResponse, SubmitOutcome, VoidLinesRequest, VoidLinesResponse, change_outcome,
        pos_adapter_service_server::{PosAdapterService, PosAdapterServiceServer},
        pull_catalog_response::Piece,
        submit_outcome::Outcome,
    },
    catalog::v1::Catalog,
    router::v1::RegisterAdapterRequest,
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};

/// What the adapter does with each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Answer,
    Hang,
    /// As its limits would.
    RateLimited,
    /// Sends pieces of a catalog without end.
    Endless,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) context: Option<PosContext>,
    pub(crate) time_left: Option<Duration>,
}

#[derive(Clone)]
pub(crate) struct Script {
    name: Arc<str>,
    mode: Arc<Mutex<Mode>>,
    probe: Arc<Mutex<ProbeLinkResponse>>,
    outcome: Arc<Mutex<Option<Outcome>>>,
    limits: Arc<Mutex<AdapterDescriptor>>,
    calls: Arc<Mutex<Vec<Call>>>,
    pieces: Arc<Mutex<usize>>,
}

impl Script {
    async fn enter(&self, method: &'static str, context: Option<PosContext>) -> Result<(), Status> {
        self.calls.lock().unwrap().push(Call { method, context, time_left: call::time_left() });
        let mode = *self.mode.lock().unwrap();
        match mode {
            Mode::Answer | Mode::Endless => Ok(()),
            Mode::Hang => std::future::pending().await,
            Mode::RateLimited => Err(Failure::not_handed_over(cause::RATE_LIMITED, "its limits").into()),
        }
    }
}

#[tonic::async_trait]
impl PosAdapterService for Script {
    async fn describe_adapter(
        &self,
        _: Request<DescribeAdapterRequest>,
    ) -> Result<Response<DescribeAdapterResponse>, Status> {
        self.enter("describe_adapter", None).await?;
        Ok(Response::new(DescribeAdapterResponse { descriptor: Some(descriptor("acme")) }))
    }

    async fn probe_link(&self, request: Request<ProbeLinkRequest>) -> Result<Response<ProbeLinkResponse>, Status> {
        self.enter("probe_link", request.into_inner().context).await?;
        let answer = self.probe.lock().unwrap().clone();
        Ok(Response::new(ProbeLinkResponse { pos_version: self.name.to_string(), ..answer }))
    }

    async fn submit_order(
        &self,
        request: Request<SubmitOrderRequest>,
    ) -> Result<Response<SubmitOrderResponse>, Status> {
        self.enter("submit_order", request.into_inner().context).await?;
        let placed = Placed { pos_order_reference: self.name.to_string(), ..Placed::default() };
        let scripted = self.outcome.lock().unwrap().clone();
        let outcome = Some(SubmitOutcome { outcome: Some(scripted.unwrap_or(Outcome::Placed(placed))) });
        Ok(Response::new(SubmitOrderResponse { outcome, ..SubmitOrderResponse::default() }))
    }

    async fn find_order(&self, request: Request<FindOrderRequest>) -> Result<Response<FindOrderResponse>, Status> {
        self.enter("find_order", request.into_inner().context).await?;
        Ok(Response::new(FindOrderResponse::default()))
    }

    type PullCatalogStream = Pin<Box<dyn Stream<Item = Result<PullCatalogResponse, Status>> + Send>>;

    async fn pull_catalog(
        &self,
        request: Request<PullCatalogRequest>,
    ) -> Result<Response<Self::PullCatalogStream>, Status> {
        self.enter("pull_catalog", request.into_inner().context).await?;
        let count = if *self.mode.lock().unwrap() == Mode::Endless { usize::MAX } else { 3 };
        let pieces = Arc::clone(&self.pieces);
        let parts = futures_util::stream::iter(0..count).map(move |_| {
            *pieces.lock().unwrap() += 1;
            Piece::Part(Catalog { currency_code: "J".repeat(64 << 10), ..Catalog::default() })
        });
        let end = futures_util::stream::iter([Piece::End(PullEnd::default())]);
        let stream = parts.chain(end).map(|piece| Ok(PullCatalogResponse { piece: Some(piece) }));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn list_checks(&self, request: Request<ListChecksRequest>) -> Result<Response<ListChecksResponse>, Status> {
        self.enter("list_checks", request.into_inner().context).await?;
        Ok(Response::new(ListChecksResponse::default()))
    }

    async fn get_check(&self, request: Request<GetCheckRequest>) -> Result<Response<GetCheckResponse>, Status> {
        self.enter("get_check", request.into_inner().context).await?;
        Ok(Response::new(GetCheckResponse::default()))
    }

    async fn request_bill(
        &self,
        request: Request<RequestBillRequest>,
    ) -> Result<Response<RequestBillResponse>, Status> {
        self.enter("request_bill", request.into_inner().context).await?;
        Ok(Response::new(RequestBillResponse::default()))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        self.enter("cancel_order", request.into_inner().context).await?;
        Ok(Response::new(CancelOrderResponse { outcome: changed() }))
    }

    async fn void_lines(&self, request: Request<VoidLinesRequest>) -> Result<Response<VoidLinesResponse>, Status> {
        self.enter("void_lines", request.into_inner().context).await?;
        Ok(Response::new(VoidLinesResponse { outcome: changed() }))
    }

    async fn list_pos_orders(
        &self,
        request: Request<ListPosOrdersRequest>,
    ) -> Result<Response<ListPosOrdersResponse>, Status> {
        self.enter("list_pos_orders", request.into_inner().context).await?;
        Ok(Response::new(ListPosOrdersResponse::default()))
    }

    async fn poll_catalog(
        &self,
        request: Request<PollCatalogRequest>,
    ) -> Result<Response<PollCatalogResponse>, Status> {
        self.enter("poll_catalog", request.into_inner().context).await?;
        Ok(Response::new(PollCatalogResponse::default()))
    }

    async fn set_availability(
        &self,
        request: Request<SetAvailabilityRequest>,
    ) -> Result<Response<SetAvailabilityResponse>, Status> {
        self.enter("set_availability", request.into_inner().context).await?;
        Ok(Response::new(SetAvailabilityResponse::default()))
    }

    async fn poll_events(&self, request: Request<PollEventsRequest>) -> Result<Response<PollEventsResponse>, Status> {
        self.enter("poll_events", request.into_inner().context).await?;
        Ok(Response::new(PollEventsResponse::default()))
    }

    async fn split_check(&self, request: Request<SplitCheckRequest>) -> Result<Response<SplitCheckResponse>, Status> {
        self.enter("split_check", request.into_inner().context).await?;
        Ok(Response::new(SplitCheckResponse::default()))
    }
}

fn changed() -> Option<ChangeOutcome> {
    Some(ChangeOutcome { outcome: Some(change_outcome::Outcome::Changed(Changed::default())) })
}

/// A running adapter. It dies when dropped.
pub(crate) struct Adapter {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) instance_id: String,
    script: Script,
    runtime: Option<Runtime>,
}

impl Adapter {
    pub(crate) fn start(name: &str) -> Self {
        Self::start_at(name, "127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_at(name: &str, address: SocketAddr) -> Self {
        let script = Script {
            name: name.into(),
            mode: Arc::new(Mutex::new(Mode::Answer)),
            probe: Arc::new(Mutex::new(well())),
            outcome: Arc::default(),
            limits: Arc::new(Mutex::new(descriptor("acme"))),
            calls: Arc::default(),
            pieces: Arc::default(),
        };
        let listener = std::net::TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = PosAdapterServiceServer::new(script.clone());
        let mounted = Mounted::new("adapter", Routes::new(service), vec!["posmesh.adapter.v1.PosAdapterService"]);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            server::serve(&ServerConfig::default(), listener, vec![mounted], CancellationToken::new()).await.unwrap();
        });
        let instance_id = uuid::Uuid::now_v7().to_string();
        Self { name: name.to_owned(), address, instance_id, script, runtime: Some(runtime) }
    }

    /// Ends it at once, with all its sockets, as SIGKILL does. They are closed when this returns.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime may not be waited for within another one.
            std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5))).join().unwrap();
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.script.mode.lock().unwrap() = mode;
    }

    /// What it answers to probes, but for the version.
    pub(crate) fn answer_probes(&self, answer: ProbeLinkResponse) {
        *self.script.probe.lock().unwrap() = answer;
    }

    /// What becomes of orders; `None`: they are placed.
    pub(crate) fn answer_orders(&self, outcome: Option<Outcome>) {
        *self.script.outcome.lock().unwrap() = outcome;
    }

    /// What it registers with from now on.
    pub(crate) fn describe(&self, descriptor: AdapterDescriptor) {
        *self.script.limits.lock().unwrap() = descriptor;
    }

    pub(crate) fn probes(&self) -> usize {
        self.calls().iter().filter(|call| call.method == "probe_link").count()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.script.calls.lock().unwrap().clone()
    }

    pub(crate) fn pieces_sent(&self) -> usize {
        *self.script.pieces.lock().unwrap()
    }

    pub(crate) fn registration(&self) -> RegisterAdapterRequest {
        RegisterAdapterRequest {
            instance_id: self.instance_id.clone(),
            endpoint: format!("http://{}", self.address),
            descriptor: Some(self.script.limits.lock().unwrap().clone()),
            connection_ids: Vec::new(),
        }
    }
}

/// A probe's answer of a POS that works.
pub(crate) fn well() -> ProbeLinkResponse {
    ProbeLinkResponse { health: LinkHealth::Online.into(), ..ProbeLinkResponse::default() }
}

/// One of a POS that does not.
pub(crate) fn offline(cause: &str) -> ProbeLinkResponse {
    let (health, failing_hop) = (LinkHealth::Offline.into(), "pos".to_owned());
    ProbeLinkResponse { health, failing_hop, cause: cause.into(), ..ProbeLinkResponse::default() }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn descriptor(vendor: &str) -> AdapterDescriptor {
    AdapterDescriptor {
        vendor: vendor.into(),
        settings_schema: r#"{"type":"object","properties":{"url":{"type":"string"}},"required":["url"]}"#.into(),
        max_apply_delay: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
        credential_names: vec!["api_key".into()],
        ..AdapterDescriptor::default()
    }
}
