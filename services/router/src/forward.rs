//! PosAdapterService in front of all adapters: finds the connection, adds its context, picks the instance, forwards.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use posmesh_kit::{Failure, Violation, call, cause, server::MAX_MESSAGE_BYTES, time::NotAfter};
use posmesh_proto::adapter::v1::{
    CancelOrderRequest, CancelOrderResponse, ChangeOutcome, DescribeAdapterRequest, DescribeAdapterResponse,
    FindOrderRequest, FindOrderResponse, GetCheckRequest, GetCheckResponse, ListChecksRequest, ListChecksResponse,
    ListPosOrdersRequest, ListPosOrdersResponse, NotHandedOver, PollCatalogRequest, PollCatalogResponse,
    PollEventsRequest, PollEventsResponse, PosContext, PosTarget, ProbeLinkRequest, ProbeLinkResponse,
    PullCatalogRequest, PullCatalogResponse, RequestBillRequest, RequestBillResponse, SetAvailabilityRequest,
    SetAvailabilityResponse, SplitCheckRequest, SplitCheckResponse, SubmitOrderRequest, SubmitOrderResponse,
    SubmitOutcome, VoidLinesRequest, VoidLinesResponse, change_outcome,
    pos_adapter_service_server::{PosAdapterService, PosAdapterServiceServer},
    submit_outcome,
};
use prost_types::Timestamp;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    caller::{Caller, Client, Repeat, Route},
    error::Error,
    links::{Links, judge},
    outcome::{Verdict, no_answer, read_failed, relayed, verdict},
    snapshot::Way,
};

/// What a connection's revision in a target is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// An order begins its life at the POS: that must be where the connection leads now.
    Begin,
    /// About what is at a POS: goes to that one, wherever the connection leads now.
    Settle,
}

pub(crate) struct Forwarder {
    caller: Arc<Caller>,
    links: Arc<Links>,
    stop: CancellationToken,
}

impl Forwarder {
    pub(crate) fn new(caller: Arc<Caller>, links: Arc<Links>, stop: CancellationToken) -> Self {
        Self { caller, links, stop }
    }

    pub(crate) fn into_server(self) -> PosAdapterServiceServer<Self> {
        PosAdapterServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn route(
        &self,
        purpose: Use,
        target: Option<&PosTarget>,
        context: Option<&PosContext>,
    ) -> Result<Route, Error> {
        if context.is_some() {
            return Err(Error::ContextNotAllowed);
        }
        let named = |target: &&PosTarget| !target.store_id.is_empty() || !target.connection_id.is_empty();
        let target = target
            .filter(named)
            .ok_or_else(|| Violation::new("REQUIRED", "target", "name the store, or the very connection"))?;
        let way = self.way(purpose, target).await?;
        let context = self.caller.context(&way)?;
        let instances = self.caller.directory.instances(&way).await?;
        Ok(Route { way, context, instances })
    }

    /// The connection that a target means, at the revision that it means.
    async fn way(&self, purpose: Use, target: &PosTarget) -> Result<Arc<Way>, Error> {
        let tenant_id = call::identity().tenant_id;
        let expected = target.connection_revision;
        let mut found = self.caller.directory.find(&tenant_id, target).await;
        if found.as_ref().is_ok_and(|way| way.stored.connection.revision < expected) {
            // Another replica has written what this one has not read yet.
            self.caller.directory.refresh().await;
            found = self.caller.directory.find(&tenant_id, target).await;
        }
        if expected == 0 || found.as_ref().is_ok_and(|way| way.stored.connection.revision == expected) {
            return found;
        }
        let current = found.as_ref().map_or(0, |way| way.stored.connection.revision);
        let changed = || Error::RevisionChanged { connection_id: target.connection_id.clone(), expected, current };
        match (purpose, target.connection_id.is_empty()) {
            (Use::Settle, false) => {
                self.caller.directory.at_revision(&tenant_id, target, found.ok()).await?.ok_or_else(changed)
            }
            (Use::Settle, true) | (Use::Begin, _) => found.and(Err(changed())),
        }
    }
}

/// Routes a request, puts the context into it, and forwards it.
macro_rules! forward {
    ($self:ident, $request:ident, $repeat:ident, $method:ident) => {{
        let mut request = $request.into_inner();
        let route = $self.route(Use::Settle, request.target.as_ref(), request.context.as_ref()).await?;
        request.context = Some(route.context.clone());
        let call = |mut client: Client, request| async move { client.$method(request).await };
        let (answer, _) = $self.caller.call(&route, Repeat::$repeat, request, call).await?;
        Ok(Response::new(answer))
    }};
}

/// The same for a write to a POS: once only, and not after its time. `$late` answers what comes too late, before it is
/// handed on. The time is looked at before each try: the one before may have taken a while. `$judge` says what an answer
/// tells of the connection's link.
macro_rules! forward_write {
    ($self:ident, $purpose:ident, $request:ident, $method:ident, $late:expr, $judge:expr) => {{
        let mut request = $request.into_inner();
        let not_after = not_after(request.not_after)?;
        let route = $self.route(Use::$purpose, request.target.as_ref(), request.context.as_ref()).await?;
        request.context = Some(route.context.clone());
        let call = |mut client: Client, request| async move {
            if not_after.has_passed() { $late } else { client.$method(request).await }
        };
        let result = $self.caller.call(&route, Repeat::Never, request, call).await;
        $self.links.saw_call(&route.way, judge::call(result.as_ref().map(|(answer, _)| answer), $judge));
        let (answer, _) = result?;
        (answer, route)
    }};
}

fn not_after(time: Option<Timestamp>) -> Result<NotAfter, Failure> {
    let time = time.ok_or_else(|| Failure::field("REQUIRED", "not_after", "say until when it may be written"))?;
    Ok(NotAfter::new(&time))
}

#[tonic::async_trait]
impl PosAdapterService for Forwarder {
    async fn describe_adapter(
        &self,
        request: Request<DescribeAdapterRequest>,
    ) -> Result<Response<DescribeAdapterResponse>, Status> {
        let request = request.into_inner();
        let route = self.route(Use::Settle, request.target.as_ref(), None).await?;
        let call = |mut client: Client, request| async move { client.describe_adapter(request).await };
        let (answer, _) = self.caller.call(&route, Repeat::Harmless, request, call).await?;
        Ok(Response::new(answer))
    }

    async fn probe_link(&self, request: Request<ProbeLinkRequest>) -> Result<Response<ProbeLinkResponse>, Status> {
        forward!(self, request, Harmless, probe_link)
    }

    async fn submit_order(
        &self,
        request: Request<SubmitOrderRequest>,
    ) -> Result<Response<SubmitOrderResponse>, Status> {
        let late = || Ok(Response::new(SubmitOrderResponse { outcome: Some(submitted_late()), ..Default::default() }));
        let (mut answer, route) = forward_write!(self, Begin, request, submit_order, late(), judge::submitted);
        answer.connection_id = route.context.connection_id;
        answer.connection_revision = route.context.revision;
        Ok(Response::new(answer))
    }

    async fn find_order(&self, request: Request<FindOrderRequest>) -> Result<Response<FindOrderResponse>, Status> {
        forward!(self, request, Harmless, find_order)
    }

    type PullCatalogStream = Pin<Box<dyn Stream<Item = Result<PullCatalogResponse, Status>> + Send>>;

    /// Each piece is taken from the adapter only when the caller takes it. A stream that the router's shutdown ends has no
    /// `end`.
    async fn pull_catalog(
        &self,
        request: Request<PullCatalogRequest>,
    ) -> Result<Response<Self::PullCatalogStream>, Status> {
        let mut request = request.into_inner();
        let route = self.route(Use::Settle, request.target.as_ref(), request.context.as_ref()).await?;
        request.context = Some(route.context.clone());
        let call = |mut client: Client, request| async move { client.pull_catalog(request).await };
        let (pieces, instance) = self.caller.call(&route, Repeat::Harmless, request, call).await?;
        let directory = Arc::clone(&self.caller.directory);
        let pieces = pieces.map(move |piece| {
            piece.map_err(|status| match verdict(&status) {
                Verdict::NotSent | Verdict::Broken => {
                    directory.eject(&instance, status.message());
                    read_failed(&status)
                }
                Verdict::Answered => relayed(&status),
                Verdict::NoAnswer => no_answer(),
            })
        });
        Ok(Response::new(Box::pin(pieces.take_until(self.stop.clone().cancelled_owned()))))
    }

    async fn list_checks(&self, request: Request<ListChecksRequest>) -> Result<Response<ListChecksResponse>, Status> {
        forward!(self, request, Harmless, list_checks)
    }

    async fn get_check(&self, request: Request<GetCheckRequest>) -> Result<Response<GetCheckResponse>, Status> {
        forward!(self, request, Harmless, get_check)
    }

    /// Never repeated: it may print.
    async fn request_bill(
        &self,
        request: Request<RequestBillRequest>,
    ) -> Result<Response<RequestBillResponse>, Status> {
        forward!(self, request, Never, request_bill)
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let late = || Ok(Response::new(CancelOrderResponse { outcome: Some(changed_late()) }));
        let (answer, _) =
            forward_write!(self, Settle, request, cancel_order, late(), |a| judge::changed(a.outcome.as_ref()));
        Ok(Response::new(answer))
    }

    async fn void_lines(&self, request: Request<VoidLinesRequest>) -> Result<Response<VoidLinesResponse>, Status> {
        let late = || Ok(Response::new(VoidLinesResponse { outcome: Some(changed_late()) }));
        let (answer, _) =
            forward_write!(self, Settle, request, void_lines, late(), |a| judge::changed(a.outcome.as_ref()));
        Ok(Response::new(answer))
    }

    async fn list_pos_orders(
        &self,
        request: Request<ListPosOrdersRequest>,
    ) -> Result<Response<ListPosOrdersResponse>, Status> {
        forward!(self, request, Harmless, list_pos_orders)
    }

    async fn poll_catalog(
        &self,
        request: Request<PollCatalogRequest>,
    ) -> Result<Response<PollCatalogResponse>, Status> {
        forward!(self, request, Harmless, poll_catalog)
    }

    async fn set_availability(
        &self,
        request: Request<SetAvailabilityRequest>,
    ) -> Result<Response<SetAvailabilityResponse>, Status> {
        forward!(self, request, Harmless, set_availability)
    }

    async fn poll_events(&self, request: Request<PollEventsRequest>) -> Result<Response<PollEventsResponse>, Status> {
        forward!(self, request, Harmless, poll_events)
    }

    async fn split_check(&self, request: Request<SplitCheckRequest>) -> Result<Response<SplitCheckResponse>, Status> {
        let late = || Err(Failure::not_handed_over(cause::NOT_AFTER_PASSED, LATE).into());
        let (answer, _) = forward_write!(self, Settle, request, split_check, late(), |_| None);
        Ok(Response::new(answer))
    }
}

const LATE: &str = "the time until which the POS may be written to is over";

fn late() -> NotHandedOver {
    NotHandedOver { cause: cause::NOT_AFTER_PASSED.to_owned(), message: LATE.to_owned(), retry_after: None }
}

fn submitted_late() -> SubmitOutcome {
    SubmitOutcome { outcome: Some(submit_outcome::Outcome::NotHandedOver(late())) }
}

fn changed_late() -> ChangeOutcome {
    ChangeOutcome { outcome: Some(change_outcome::Outcome::NotHandedOver(late())) }
}
