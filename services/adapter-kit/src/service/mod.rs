//! The gRPC surface of every adapter: checks the context, holds the limits and the deadlines, and turns what the
//! adapter says into the contract's messages.

mod write;

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::Stream;
use posmesh_kit::{
    Failure, call, cause,
    server::{MAX_MESSAGE_BYTES, Mounted},
    time,
};
use posmesh_proto::adapter::v1::{
    AdapterDescriptor, AvailabilitySet, BillRequested, CancelOrderRequest, CancelOrderResponse, CheckFailed,
    CheckSplit, DescribeAdapterRequest, DescribeAdapterResponse, FindFailed, FindOrderRequest, FindOrderResponse,
    GetCheckRequest, GetCheckResponse, LinkHealth, ListChecksRequest, ListChecksResponse, ListFailed,
    ListPosOrdersRequest, ListPosOrdersResponse, PollCatalogRequest, PollCatalogResponse, PollEventsRequest,
    PollEventsResponse, PollFailed, PosChecks, PosContext, ProbeLinkRequest, ProbeLinkResponse, PullCatalogRequest,
    PullCatalogResponse, PullEnd, PullFailed, RequestBillRequest, RequestBillResponse, SetAvailabilityRequest,
    SetAvailabilityResponse, SetFailed, SplitCheckRequest, SplitCheckResponse, SubmitOrderRequest, SubmitOrderResponse,
    VoidLinesRequest, VoidLinesResponse, find_order_response, get_check_response, list_checks_response,
    list_pos_orders_response, poll_catalog_response, poll_events_response,
    pos_adapter_service_server::{PosAdapterService, PosAdapterServiceServer},
    pull_catalog_response::Piece,
    request_bill_response, set_availability_response, split_check_response,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Response, Status, service::Routes};
use tracing::Instrument as _;

use crate::{
    Adapter, CatalogParts, Connection, PosError, Submit, Unchanged, Unplaced,
    limiter::{Instances, Limiter, NoTurn},
    outcome,
};

/// A call without any deadline of its caller ends after this.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a pull may take. The caller's deadline bounds the head of a stream only.
const MAX_PULL_DURATION: Duration = Duration::from_secs(600);
/// Kept from the caller's deadline, so that the answer still arrives: a tenth of what is left, at most this.
const MAX_ANSWER_MARGIN: Duration = Duration::from_millis(250);
/// Parts of a catalog that wait for a slow caller.
const PARTS_AHEAD: usize = 4;

/// The largest page, and the default one.
const MAX_PAGE: i32 = 500;
const DEFAULT_PAGE: i32 = 100;

/// Mounts an adapter as `posmesh.adapter.v1.PosAdapterService`, with the vendor's whole budget for itself.
/// [`crate::mount_registered`] shares it with the other instances.
pub fn mount(adapter: Arc<dyn Adapter>) -> Mounted {
    mount_sharing(adapter, Arc::default())
}

pub(crate) fn mount_sharing(adapter: Arc<dyn Adapter>, instances: Arc<Instances>) -> Mounted {
    let name = "adapter";
    let mut mounted = Mounted::new(name, Routes::default(), vec!["posmesh.adapter.v1.PosAdapterService"]);
    let descriptor = adapter.descriptor();
    let service = Service {
        limiter: Arc::new(Limiter::new(&descriptor.limits.unwrap_or_default(), instances)),
        adapter,
        tasks: mounted.background.clone(),
        stop: mounted.stop.clone(),
    };
    mounted.routes = Routes::new(
        PosAdapterServiceServer::new(service)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES),
    );
    mounted
}

struct Service {
    adapter: Arc<dyn Adapter>,
    limiter: Arc<Limiter>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn caller_deadline() -> Instant {
    let left = call::time_left().unwrap_or(DEFAULT_TIMEOUT);
    Instant::now() + left.saturating_sub((left / 10).min(MAX_ANSWER_MARGIN))
}

/// A call that did not come through the router. Holds the field that is missing.
struct ContextMissing(&'static str);

impl From<ContextMissing> for Failure {
    fn from(ContextMissing(field): ContextMissing) -> Self {
        Failure::field("CONTEXT_MISSING", field, "is missing; call the adapter through the router")
    }
}

impl From<ContextMissing> for Status {
    fn from(missing: ContextMissing) -> Self {
        Failure::from(missing).into()
    }
}

fn connection(context: Option<PosContext>) -> Result<Connection, ContextMissing> {
    let context = context.ok_or(ContextMissing("context"))?;
    if context.connection_id.is_empty() {
        return Err(ContextMissing("context.connection_id"));
    }
    Ok(Connection::new(context))
}

impl Service {
    async fn turn(&self, connection: &Connection, deadline: Instant) -> Result<OwnedSemaphorePermit, NoTurn> {
        self.limiter.turn(&connection.tenant_id, &connection.connection_id, deadline).await
    }

    /// Runs one call that writes no order: context, turn, deadline. The inner error is for the `failed` of the answer.
    async fn run<T, F>(
        &self,
        context: Option<PosContext>,
        work: impl FnOnce(Arc<dyn Adapter>, Connection) -> F,
    ) -> Result<Result<T, PosFault>, Status>
    where
        F: Future<Output = Result<T, PosError>>,
    {
        let connection = connection(context)?;
        let deadline = caller_deadline();
        let _running = self.turn(&connection, deadline).await.map_err(|no| no_turn(&connection, no))?;
        match timeout_at(deadline, work(Arc::clone(&self.adapter), connection)).await {
            Ok(Ok(value)) => Ok(Ok(value)),
            Ok(Err(PosError::Failed { cause, message })) => Ok(Err(PosFault { cause, message })),
            Ok(Err(PosError::Call(failure))) => Err(failure.into()),
            Err(_) => Ok(Err(PosFault {
                cause: cause::TIMED_OUT.to_owned(),
                message: "the POS did not answer before the caller's deadline".to_owned(),
            })),
        }
    }
}

struct PosFault {
    cause: String,
    message: String,
}

fn no_turn(connection: &Connection, no: NoTurn) -> Failure {
    let message = format!("connection {}: {no}", connection.connection_id);
    Failure::not_handed_over(cause::RATE_LIMITED, message).retry_after(no.retry_after())
}

/// A page as it was asked for, within its bounds.
fn page(asked: i32, field: &str) -> Result<i32, Failure> {
    match asked {
        0 => Ok(DEFAULT_PAGE),
        1.. => Ok(asked.min(MAX_PAGE)),
        _ => Err(Failure::field("PAGE_SIZE_INVALID", field, "a page size is not negative")),
    }
}

#[tonic::async_trait]
impl PosAdapterService for Service {
    async fn describe_adapter(
        &self,
        _: Request<DescribeAdapterRequest>,
    ) -> Result<Response<DescribeAdapterResponse>, Status> {
        let descriptor: AdapterDescriptor = self.adapter.descriptor();
        Ok(Response::new(DescribeAdapterResponse { descriptor: Some(descriptor) }))
    }

    async fn probe_link(&self, request: Request<ProbeLinkRequest>) -> Result<Response<ProbeLinkResponse>, Status> {
        let begun = Instant::now();
        let context = request.into_inner().context;
        let connection_id = context.as_ref().map(|context| context.connection_id.clone()).unwrap_or_default();
        let probed = self.run(context, |adapter, connection| async move { adapter.probe_link(&connection).await });
        let mut answer = probed.await?.unwrap_or_else(|fault| ProbeLinkResponse {
            health: LinkHealth::Offline.into(),
            failing_hop: "pos".to_owned(),
            cause: fault.cause,
            message: fault.message,
            ..ProbeLinkResponse::default()
        });
        answer.pos_latency.get_or_insert_with(|| time::to_proto_duration(begun.elapsed()));
        answer.connection_id = connection_id;
        Ok(Response::new(answer))
    }

    async fn submit_order(
        &self,
        request: Request<SubmitOrderRequest>,
    ) -> Result<Response<SubmitOrderResponse>, Status> {
        let SubmitOrderRequest { context, order, attempt, not_after, .. } = request.into_inner();
        let connection = connection(context)?;
        let order = order.ok_or_else(|| Failure::field("REQUIRED", "order", "is missing"))?;
        let submit = move |adapter: Arc<dyn Adapter>, connection: Connection, deadline| async move {
            adapter.submit_order(&connection, Submit { order, attempt, deadline }).await
        };
        let written = self.write::<_, Unplaced, _>(connection, not_after, submit).await?;
        Ok(Response::new(SubmitOrderResponse {
            outcome: Some(outcome::submitted(written.result)),
            pos_latency: written.heard.then(|| time::to_proto_duration(written.took)),
            ..SubmitOrderResponse::default()
        }))
    }

    async fn find_order(&self, request: Request<FindOrderRequest>) -> Result<Response<FindOrderResponse>, Status> {
        let mut request = request.into_inner();
        request.target = None;
        let context = request.context.take();
        let found =
            self.run(context, |adapter, connection| async move { adapter.find_order(&connection, request).await });
        let result = found.await?.unwrap_or_else(|PosFault { cause, message }| {
            find_order_response::Result::Failed(FindFailed { cause, message })
        });
        Ok(Response::new(FindOrderResponse { result: Some(result) }))
    }

    type PullCatalogStream = Pin<Box<dyn Stream<Item = Result<PullCatalogResponse, Status>> + Send>>;

    async fn pull_catalog(
        &self,
        request: Request<PullCatalogRequest>,
    ) -> Result<Response<Self::PullCatalogStream>, Status> {
        let connection = connection(request.into_inner().context)?;
        let running = self.turn(&connection, caller_deadline()).await.map_err(|no| no_turn(&connection, no))?;
        let (stream, parts) = mpsc::channel(PARTS_AHEAD);
        let adapter = Arc::clone(&self.adapter);
        let stop = self.stop.clone();
        let pull = async move {
            let sink = CatalogParts::new(stream.clone());
            let last = tokio::select! {
                last = pull(&*adapter, &connection, &sink) => last,
                () = stream.closed() => return,
                () = stop.cancelled() => Err(Failure::not_handed_over(cause::ADAPTER_DOWN, "the adapter shuts down").into()),
            };
            drop(running);
            // Fails only if the caller has gone.
            let _ = stream.send(last.map(|piece| PullCatalogResponse { piece: Some(piece) })).await;
        };
        self.tasks.spawn(pull.in_current_span());
        Ok(Response::new(Box::pin(ReceiverStream::new(parts))))
    }

    async fn list_checks(&self, request: Request<ListChecksRequest>) -> Result<Response<ListChecksResponse>, Status> {
        let ListChecksRequest { context, table_id, .. } = request.into_inner();
        let listed =
            self.run(context, |adapter, connection| async move { adapter.list_checks(&connection, &table_id).await });
        let result = match listed.await? {
            Ok(checks) => list_checks_response::Result::Checks(PosChecks { checks }),
            Err(fault) => list_checks_response::Result::Failed(check_failed(fault)),
        };
        Ok(Response::new(ListChecksResponse { result: Some(result) }))
    }

    async fn get_check(&self, request: Request<GetCheckRequest>) -> Result<Response<GetCheckResponse>, Status> {
        let GetCheckRequest { context, pos_check_reference, .. } = request.into_inner();
        let got = self.run(context, |adapter, connection| async move {
            adapter.get_check(&connection, &pos_check_reference).await
        });
        let result = match got.await? {
            Ok(check) => get_check_response::Result::Check(check),
            Err(fault) => get_check_response::Result::Failed(check_failed(fault)),
        };
        Ok(Response::new(GetCheckResponse { result: Some(result) }))
    }

    async fn request_bill(
        &self,
        request: Request<RequestBillRequest>,
    ) -> Result<Response<RequestBillResponse>, Status> {
        let RequestBillRequest { context, pos_check_reference, .. } = request.into_inner();
        let asked = self.run(context, |adapter, connection| async move {
            adapter.request_bill(&connection, &pos_check_reference).await
        });
        let result = match asked.await? {
            Ok(check) => request_bill_response::Result::Requested(BillRequested { check: Some(check) }),
            Err(fault) => request_bill_response::Result::Failed(check_failed(fault)),
        };
        Ok(Response::new(RequestBillResponse { result: Some(result) }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let mut request = request.into_inner();
        let connection = connection(request.context.take())?;
        required("order", request.order.is_some())?;
        required("change_reference", !request.change_reference.is_empty())?;
        request.target = None;
        let not_after = request.not_after;
        let cancel = move |adapter: Arc<dyn Adapter>, connection: Connection, deadline| async move {
            adapter.cancel_order(&connection, request, deadline).await
        };
        let written = self.write::<_, Unchanged, _>(connection, not_after, cancel).await?;
        Ok(Response::new(CancelOrderResponse { outcome: Some(outcome::changed(written.result)) }))
    }

    async fn void_lines(&self, request: Request<VoidLinesRequest>) -> Result<Response<VoidLinesResponse>, Status> {
        let mut request = request.into_inner();
        let connection = connection(request.context.take())?;
        required("order", request.order.is_some())?;
        required("change_reference", !request.change_reference.is_empty())?;
        required("lines", !request.lines.is_empty())?;
        request.target = None;
        let not_after = request.not_after;
        let void = move |adapter: Arc<dyn Adapter>, connection: Connection, deadline| async move {
            adapter.void_lines(&connection, request, deadline).await
        };
        let written = self.write::<_, Unchanged, _>(connection, not_after, void).await?;
        Ok(Response::new(VoidLinesResponse { outcome: Some(outcome::changed(written.result)) }))
    }

    async fn list_pos_orders(
        &self,
        request: Request<ListPosOrdersRequest>,
    ) -> Result<Response<ListPosOrdersResponse>, Status> {
        let mut request = request.into_inner();
        request.page_size = page(request.page_size, "page_size")?;
        request.target = None;
        let context = request.context.take();
        let listed =
            self.run(context, |adapter, connection| async move { adapter.list_pos_orders(&connection, request).await });
        let result = match listed.await? {
            Ok(orders) => list_pos_orders_response::Result::Orders(orders),
            Err(PosFault { cause, message }) => list_pos_orders_response::Result::Failed(ListFailed { cause, message }),
        };
        Ok(Response::new(ListPosOrdersResponse { result: Some(result) }))
    }

    async fn poll_catalog(
        &self,
        request: Request<PollCatalogRequest>,
    ) -> Result<Response<PollCatalogResponse>, Status> {
        let context = request.into_inner().context;
        let polled = self.run(context, |adapter, connection| async move { adapter.poll_catalog(&connection).await });
        let result = match polled.await? {
            Ok(state) => poll_catalog_response::Result::State(state),
            Err(PosFault { cause, message }) => poll_catalog_response::Result::Failed(PollFailed { cause, message }),
        };
        Ok(Response::new(PollCatalogResponse { result: Some(result) }))
    }

    async fn set_availability(
        &self,
        request: Request<SetAvailabilityRequest>,
    ) -> Result<Response<SetAvailabilityResponse>, Status> {
        let mut request = request.into_inner();
        request.target = None;
        let context = request.context.take();
        let set = self
            .run(context, |adapter, connection| async move { adapter.set_availability(&connection, request).await });
        let result = match set.await? {
            Ok(()) => set_availability_response::Result::Set(AvailabilitySet {}),
            Err(PosFault { cause, message }) => set_availability_response::Result::Failed(SetFailed { cause, message }),
        };
        Ok(Response::new(SetAvailabilityResponse { result: Some(result) }))
    }

    async fn poll_events(&self, request: Request<PollEventsRequest>) -> Result<Response<PollEventsResponse>, Status> {
        let mut request = request.into_inner();
        request.max_events = page(request.max_events, "max_events")?;
        request.target = None;
        let context = request.context.take();
        let polled =
            self.run(context, |adapter, connection| async move { adapter.poll_events(&connection, request).await });
        let result = match polled.await? {
            Ok(events) => poll_events_response::Result::Events(events),
            Err(PosFault { cause, message }) => poll_events_response::Result::Failed(PollFailed { cause, message }),
        };
        Ok(Response::new(PollEventsResponse { result: Some(result) }))
    }

    async fn split_check(&self, request: Request<SplitCheckRequest>) -> Result<Response<SplitCheckResponse>, Status> {
        let mut request = request.into_inner();
        let connection = connection(request.context.take())?;
        required("pos_check_reference", !request.pos_check_reference.is_empty())?;
        required("change_reference", !request.change_reference.is_empty())?;
        required("how", request.how.is_some())?;
        request.target = None;
        let not_after = request.not_after;
        let split = move |adapter: Arc<dyn Adapter>, connection: Connection, deadline| async move {
            adapter.split_check(&connection, request, deadline).await
        };
        let written = self.write::<_, Unchanged, _>(connection, not_after, split).await?;
        let result = match written.result {
            Ok(checks) => split_check_response::Result::Split(CheckSplit { checks }),
            Err(unchanged) => split_check_response::Result::Failed(not_split(unchanged)?),
        };
        Ok(Response::new(SplitCheckResponse { result: Some(result) }))
    }
}

fn required(field: &str, is_there: bool) -> Result<(), Failure> {
    if is_there { Ok(()) } else { Err(Failure::field("REQUIRED", field, "is missing")) }
}

/// What the POS said against a split. What it did not say is an error of the call.
fn not_split(unchanged: Unchanged) -> Result<CheckFailed, Failure> {
    let (cause, message) = match unchanged {
        Unchanged::NotFound(_) => (cause::CHECK_NOT_FOUND.to_owned(), "the POS has no such check".to_owned()),
        Unchanged::Attempt(Unplaced::Rejected(rejected)) => (rejected.cause, rejected.message),
        Unchanged::Attempt(Unplaced::RefusedForNow(refused)) => (refused.cause, refused.message),
        Unchanged::Attempt(Unplaced::NotHandedOver(proof)) => {
            let failure = Failure::not_handed_over(&proof.cause, proof.message);
            let retry_after = proof.retry_after.as_ref().and_then(time::from_proto_duration);
            return Err(retry_after.into_iter().fold(failure, Failure::retry_after));
        }
        Unchanged::Attempt(Unplaced::InDoubt(doubt)) => {
            let failure = Failure::new(Code::Unknown, "OUTCOME_UNKNOWN", doubt.message);
            return Err(failure.meta("cause", doubt.cause));
        }
    };
    Ok(CheckFailed { cause, message })
}

fn check_failed(PosFault { cause, message }: PosFault) -> CheckFailed {
    CheckFailed { cause, message }
}

async fn pull(adapter: &dyn Adapter, connection: &Connection, parts: &CatalogParts) -> Result<Piece, Status> {
    let failed = |cause: String, message: String| Ok(Piece::Failed(PullFailed { cause, message }));
    match tokio::time::timeout(MAX_PULL_DURATION, adapter.pull_catalog(connection, parts)).await {
        Ok(Ok(warnings)) => Ok(Piece::End(PullEnd { warnings })),
        Ok(Err(PosError::Failed { cause, message })) => failed(cause, message),
        Ok(Err(PosError::Call(failure))) => Err(failure.into()),
        Err(_) => failed(cause::TIMED_OUT.to_owned(), format!("the pull took longer than {MAX_PULL_DURATION:?}")),
    }
}
