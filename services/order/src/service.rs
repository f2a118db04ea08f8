//! The gRPC surface.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use posmesh_kit::{Failure, call};
use posmesh_proto::order::v1::{
    CancelOrderRequest, CancelOrderResponse, CloseCheckRequest, CloseCheckResponse, GetCheckRequest, GetCheckResponse,
    GetGatesRequest, GetGatesResponse, GetOrderRequest, GetOrderResponse, ListChecksRequest, ListChecksResponse,
    ListOrdersRequest, ListOrdersResponse, ListPickupSlotsRequest, ListPickupSlotsResponse, OpenCheckRequest,
    OpenCheckResponse, OrderPurpose, PauseStoreRequest, PauseStoreResponse, PlaceOrderRequest, PlaceOrderResponse,
    QuoteOrderRequest, QuoteOrderResponse, ReconcileOrdersRequest, ReconcileOrdersResponse, RecordOrderEventsRequest,
    RecordOrderEventsResponse, ReleaseTableRequest, ReleaseTableResponse, RequestBillRequest, RequestBillResponse,
    ResolveOrderRequest, ResolveOrderResponse, ResumeStoreRequest, ResumeStoreResponse, SplitCheckRequest,
    SplitCheckResponse, VoidLinesRequest, VoidLinesResponse, WatchAttentionRequest, WatchAttentionResponse,
    WatchGatesRequest, WatchGatesResponse, WatchOrderRequest, WatchOrderResponse, cancel_order_request,
    get_order_request, order_service_server::OrderService,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use crate::{
    checks::Checks,
    domain::accept,
    error::Error,
    list,
    place::{Orders, check_wait},
    progress,
    reconcile::Reconciler,
    watch::{self, Attention},
};

/// The service as tonic calls it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) orders: Orders,
    pub(crate) checks: Checks,
    pub(crate) attention: Attention,
    pub(crate) reconciler: Reconciler,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    /// A place among the watchers of this replica.
    fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| watch::too_many())
    }

    /// A watcher that came too late to be ended with the others.
    fn unless_stopping<T>(&self, stream: T) -> Result<Response<T>, Status> {
        if self.stop.is_cancelled() { Err(watch::shutting_down()) } else { Ok(Response::new(stream)) }
    }
}

#[tonic::async_trait]
impl OrderService for Service {
    type WatchOrderStream = Streamed<WatchOrderResponse>;
    type WatchAttentionStream = Streamed<WatchAttentionResponse>;
    type WatchGatesStream = Streamed<WatchGatesResponse>;

    async fn quote_order(&self, request: Request<QuoteOrderRequest>) -> Result<Response<QuoteOrderResponse>, Status> {
        let request = request.into_inner();
        let product = accept::check_product(request.product)?;
        let now_ms = self.orders.dispatcher.clock.now_unix_ms();
        let pickup_ms = accept::check_pickup_time(product, request.pickup_time.as_ref(), now_ms)?;
        accept::check_locale(&request.locale)?;
        let store = self.orders.reader.stores.get(&request.store_id).await?;
        let (who, QuoteOrderRequest { lines, locale, .. }) = (call::identity(), &request);
        let quote = self.orders.quote_order(&who, &store, product, lines, pickup_ms, locale).await?;
        Ok(Response::new(QuoteOrderResponse { quote: Some(quote) }))
    }

    async fn place_order(&self, request: Request<PlaceOrderRequest>) -> Result<Response<PlaceOrderResponse>, Status> {
        let order = self.orders.place(&call::identity(), request.into_inner()).await?;
        Ok(Response::new(PlaceOrderResponse { order: Some(order) }))
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        let order = self.orders.find(&call::identity(), request.get_ref()).await?;
        Ok(Response::new(GetOrderResponse { order: Some(order) }))
    }

    async fn list_orders(&self, request: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        let request = request.into_inner();
        self.orders.reader.stores.get(&request.store_id).await?;
        let filter = list::order_filter(request)?;
        let orders = self.orders.ledger.storage.orders(&call::identity().tenant_id, &filter).await;
        Ok(Response::new(list::orders_page(orders.map_err(Error::Read)?, filter.limit)))
    }

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let request = request.into_inner();
        let seen = watch::parse_resume_token(&request.resume_token, &request.order_id)?;
        let who = call::identity();
        let key = Some(get_order_request::Key::OrderId(request.order_id));
        let order = self.orders.find(&who, &GetOrderRequest { key }).await?;
        let news = self.orders.ledger.hub.watch(&who.tenant_id, &order, Some(self.place()?));
        self.unless_stopping(Box::pin(watch::watch(news, order, seen)) as Self::WatchOrderStream)
    }

    async fn watch_attention(
        &self,
        request: Request<WatchAttentionRequest>,
    ) -> Result<Response<Self::WatchAttentionStream>, Status> {
        let store_id = request.into_inner().store_id;
        if !store_id.is_empty() {
            self.orders.reader.stores.get(&store_id).await?;
        }
        let stream = self.attention.watch(&call::identity().tenant_id, &store_id, self.place()?);
        self.unless_stopping(Box::pin(stream) as Self::WatchAttentionStream)
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let request = request.into_inner();
        let who = call::identity();
        let wait = check_wait(request.wait.as_ref())?;
        let (key, request_id) = match request.key.clone() {
            Some(cancel_order_request::Key::OrderId(id)) => (get_order_request::Key::OrderId(id), None),
            Some(cancel_order_request::Key::RequestId(id)) => (get_order_request::Key::RequestId(id.clone()), Some(id)),
            None => return Err(Failure::field("REQUIRED", "key", "give order_id or request_id").into()),
        };
        let found = self.orders.find(&who, &GetOrderRequest { key: Some(key) }).await;
        let order = match (found, request_id) {
            (Ok(order), _) => self.orders.cancel(&who, order, &request.reason, wait).await?,
            (Err(Error::Refused(f)), Some(id)) if f.code() == Code::NotFound => {
                self.orders.cancel_unseen(&who, id, &request, wait).await?
            }
            (Err(error), _) => return Err(error.into()),
        };
        Ok(Response::new(CancelOrderResponse { order: Some(order) }))
    }

    async fn open_check(&self, request: Request<OpenCheckRequest>) -> Result<Response<OpenCheckResponse>, Status> {
        let request = request.into_inner();
        let store = self.orders.reader.stores.get(&request.store_id).await?;
        accept::policy(&store, posmesh_proto::common::v1::Product::Table, OrderPurpose::Test)?;
        let (check, joined) =
            self.checks.open(&call::identity().tenant_id, &store, &request.table_id, request.party_size).await?;
        Ok(Response::new(OpenCheckResponse { check: Some(check), joined }))
    }

    async fn get_check(&self, request: Request<GetCheckRequest>) -> Result<Response<GetCheckResponse>, Status> {
        let request = request.into_inner();
        let tenant_id = call::identity().tenant_id;
        let (check, bill) = if request.include_bill {
            self.checks.get_with_bill(&tenant_id, &request.check_id).await?
        } else {
            (self.checks.get(&tenant_id, &request.check_id).await?, None)
        };
        Ok(Response::new(GetCheckResponse { check: Some(check), bill }))
    }

    async fn list_checks(&self, request: Request<ListChecksRequest>) -> Result<Response<ListChecksResponse>, Status> {
        let request = request.into_inner();
        self.orders.reader.stores.get(&request.store_id).await?;
        let filter = list::check_filter(request)?;
        let checks = self.orders.ledger.storage.checks(&call::identity().tenant_id, &filter).await;
        Ok(Response::new(list::checks_page(checks.map_err(Error::Read)?, filter.limit)))
    }

    async fn request_bill(
        &self,
        request: Request<RequestBillRequest>,
    ) -> Result<Response<RequestBillResponse>, Status> {
        let (check, bill) = self.checks.request_bill(&call::identity().tenant_id, &request.get_ref().check_id).await?;
        Ok(Response::new(RequestBillResponse { check: Some(check), bill }))
    }

    async fn close_check(&self, request: Request<CloseCheckRequest>) -> Result<Response<CloseCheckResponse>, Status> {
        let check = self.checks.close(&call::identity().tenant_id, &request.get_ref().check_id).await?;
        Ok(Response::new(CloseCheckResponse { check: Some(check) }))
    }

    async fn void_lines(&self, request: Request<VoidLinesRequest>) -> Result<Response<VoidLinesResponse>, Status> {
        let order = self.orders.void_lines(&call::identity(), request.into_inner()).await?;
        Ok(Response::new(VoidLinesResponse { order: Some(order) }))
    }

    async fn resolve_order(
        &self,
        request: Request<ResolveOrderRequest>,
    ) -> Result<Response<ResolveOrderResponse>, Status> {
        let order = self.orders.resolve(&call::identity(), request.into_inner()).await?;
        Ok(Response::new(ResolveOrderResponse { order: Some(order) }))
    }

    async fn record_order_events(
        &self,
        request: Request<RecordOrderEventsRequest>,
    ) -> Result<Response<RecordOrderEventsResponse>, Status> {
        let request = request.into_inner();
        progress::check_request(&request)?;
        let tenant_id = call::identity().tenant_id;
        let dispatcher = self.orders.dispatcher.clone();
        // All of them are written, whether or not the reporter stays.
        let written = async move { dispatcher.record_events(&tenant_id, &request.connection_id, request.events).await };
        let results = self.orders.dispatcher.see_through(written).await??;
        let results = results.into_iter().map(Into::into).collect();
        Ok(Response::new(RecordOrderEventsResponse { results }))
    }

    async fn reconcile_orders(
        &self,
        request: Request<ReconcileOrdersRequest>,
    ) -> Result<Response<ReconcileOrdersResponse>, Status> {
        let report = self.reconciler.reconcile(&call::identity().tenant_id, request.into_inner()).await?;
        Ok(Response::new(report))
    }

    async fn list_pickup_slots(
        &self,
        request: Request<ListPickupSlotsRequest>,
    ) -> Result<Response<ListPickupSlotsResponse>, Status> {
        let request = request.into_inner();
        let store = self.orders.reader.stores.get(&request.store_id).await?;
        let slots = self.orders.pickup_slots(&call::identity(), &store, &request).await?;
        Ok(Response::new(ListPickupSlotsResponse { slots }))
    }

    async fn release_table(
        &self,
        request: Request<ReleaseTableRequest>,
    ) -> Result<Response<ReleaseTableResponse>, Status> {
        let request = request.into_inner();
        let store = self.orders.reader.stores.get(&request.store_id).await?;
        let check = self.checks.release(&call::identity().tenant_id, &store, &request.table_id).await?;
        Ok(Response::new(ReleaseTableResponse { check }))
    }

    async fn split_check(&self, request: Request<SplitCheckRequest>) -> Result<Response<SplitCheckResponse>, Status> {
        Ok(Response::new(self.checks.split(&call::identity(), request.into_inner()).await?))
    }

    async fn get_gates(&self, request: Request<GetGatesRequest>) -> Result<Response<GetGatesResponse>, Status> {
        let store = self.orders.reader.stores.get(&request.get_ref().store_id).await?;
        Ok(Response::new(self.orders.gates.get(&call::identity().tenant_id, &store).await))
    }

    async fn watch_gates(
        &self,
        request: Request<WatchGatesRequest>,
    ) -> Result<Response<Self::WatchGatesStream>, Status> {
        let store_id = request.into_inner().store_id;
        if !store_id.is_empty() {
            self.orders.reader.stores.get(&store_id).await?;
        }
        let tenant_id = call::identity().tenant_id;
        let stream = self.orders.gates.watch(&tenant_id, store_id, self.place()?);
        self.unless_stopping(Box::pin(stream) as Self::WatchGatesStream)
    }

    async fn pause_store(&self, request: Request<PauseStoreRequest>) -> Result<Response<PauseStoreResponse>, Status> {
        let tenant_id = call::identity().tenant_id;
        Ok(Response::new(self.orders.gates.pause(&tenant_id, request.into_inner()).await?))
    }

    async fn resume_store(
        &self,
        request: Request<ResumeStoreRequest>,
    ) -> Result<Response<ResumeStoreResponse>, Status> {
        let gates = self.orders.gates.resume(&call::identity().tenant_id, &request.get_ref().store_id).await?;
        Ok(Response::new(ResumeStoreResponse { gates }))
    }
}
