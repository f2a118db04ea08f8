use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
};

use posmesh_kit::{Failure, time};
use posmesh_proto::{
    common::v1::{Evidence, EvidenceKind, Money},
    order::v1::{order_service_server::OrderService, *},
};
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};

use super::unused;

const UNIT_PRICE: i64 = 490;

/// An order service in memory: takes orders as SENDING, and lets the test move them on.
#[derive(Clone)]
pub struct FakeOrders {
    state: Arc<Mutex<State>>,
    /// Counts the changes of any order.
    changes: Arc<watch::Sender<u64>>,
    /// Counts how often all watches were cut.
    cuts: Arc<watch::Sender<u64>>,
    /// Of all stores.
    pub gates: Arc<watch::Sender<Vec<Gate>>>,
}

#[derive(Default)]
struct State {
    orders: BTreeMap<String, Order>,
    checks: BTreeMap<String, Check>,
    placed: Vec<PlaceOrderRequest>,
    watched: Vec<WatchOrderRequest>,
    listed: usize,
    metadata: Vec<MetadataMap>,
    place_failures: Vec<Status>,
    hanging: bool,
    panicking: bool,
}

impl Default for FakeOrders {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
            cuts: Arc::new(watch::Sender::new(0)),
            gates: Arc::default(),
        }
    }
}

impl FakeOrders {
    /// The next placing fails so, before anything is taken.
    pub fn fail_next_place(&self, status: impl Into<Status>) {
        self.state.lock().unwrap().place_failures.push(status.into());
    }

    /// No call is answered any more.
    pub fn hang(&self) {
        self.state.lock().unwrap().hanging = true;
    }

    /// Every GetOrder and PlaceOrder panics, which breaks its stream.
    pub fn panic(&self) {
        self.state.lock().unwrap().panicking = true;
    }

    /// Moves an order on, as the POS's answer would.
    pub fn advance(&self, order_id: &str, state: OrderState, edit: impl FnOnce(&mut Order)) {
        {
            let mut all = self.state.lock().unwrap();
            let order = all.orders.get_mut(order_id).unwrap();
            order.set_state(state);
            order.version += 1;
            if state == OrderState::Placed {
                order.place_time = Some(time::now());
                order.evidence.push(Evidence { kind: EvidenceKind::Pos.into(), ..Default::default() });
            }
            edit(order);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    pub fn close_check(&self, check_id: &str) {
        self.state.lock().unwrap().checks.get_mut(check_id).unwrap().set_state(CheckState::Closed);
    }

    /// As the staff do at the POS.
    pub fn merge_check(&self, check_id: &str, into: &str) {
        let mut state = self.state.lock().unwrap();
        let check = state.checks.get_mut(check_id).unwrap();
        check.set_state(CheckState::Merged);
        check.merged_into = into.to_owned();
    }

    /// Breaks every watch that is open.
    pub fn cut_watches(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    pub fn placed(&self) -> Vec<PlaceOrderRequest> {
        self.state.lock().unwrap().placed.clone()
    }

    /// How often orders were listed.
    pub fn listed(&self) -> usize {
        self.state.lock().unwrap().listed
    }

    pub fn watched(&self) -> Vec<WatchOrderRequest> {
        self.state.lock().unwrap().watched.clone()
    }

    /// Of every call so far.
    pub fn metadata(&self) -> Vec<MetadataMap> {
        self.state.lock().unwrap().metadata.clone()
    }

    /// The order as the service holds it.
    pub fn order(&self, order_id: &str) -> Order {
        self.state.lock().unwrap().orders[order_id].clone()
    }

    async fn enter(&self, metadata: &MetadataMap) {
        let hanging = {
            let mut state = self.state.lock().unwrap();
            state.metadata.push(metadata.clone());
            state.hanging
        };
        if hanging {
            std::future::pending::<()>().await;
        }
    }
}

fn failure(code: Code, reason: &str) -> Status {
    Failure::new(code, reason, format!("{reason}, says the order service")).into()
}

fn quote(lines: &[OrderLineInput]) -> Result<Quote, Status> {
    let mut priced = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if line.item_id != "yakitori" {
            return Err(
                Failure::field("ITEM_NOT_FOUND", format!("lines[{index}].item_id"), "is not on the menu").into()
            );
        }
        priced.push(OrderLine {
            item_id: line.item_id.clone(),
            name: "焼き鳥".to_owned(),
            quantity: line.quantity,
            service_mode: line.service_mode,
            line_price: jpy(UNIT_PRICE * i64::from(line.quantity)),
            ..Default::default()
        });
    }
    let total = priced.iter().map(|line| UNIT_PRICE * i64::from(line.quantity)).sum();
    let price = Price { status: PriceStatus::Estimate.into(), total: jpy(total), ..Default::default() };
    Ok(Quote { lines: priced, price: Some(price), catalog_version: 7, ..Quote::default() })
}

fn jpy(amount: i64) -> Option<Money> {
    Some(Money { currency_code: "JPY".to_owned(), amount })
}

#[tonic::async_trait]
impl OrderService for FakeOrders {
    type WatchOrderStream = Pin<Box<dyn Stream<Item = Result<WatchOrderResponse, Status>> + Send>>;

    async fn quote_order(&self, request: Request<QuoteOrderRequest>) -> Result<Response<QuoteOrderResponse>, Status> {
        self.enter(request.metadata()).await;
        Ok(Response::new(QuoteOrderResponse { quote: Some(quote(&request.into_inner().lines)?) }))
    }

    async fn place_order(&self, request: Request<PlaceOrderRequest>) -> Result<Response<PlaceOrderResponse>, Status> {
        self.enter(request.metadata()).await;
        let request = request.into_inner();
        let wait = request.wait.as_ref().and_then(time::from_proto_duration).unwrap_or_default();
        let order_id = {
            let mut state = self.state.lock().unwrap();
            assert!(!state.panicking, "told to panic");
            if let Some(failure) = state.place_failures.pop() {
                return Err(failure);
            }
            match state.placed.iter().position(|earlier| earlier.request_id == request.request_id) {
                Some(at)
                    if (PlaceOrderRequest { wait: None, ..state.placed[at].clone() })
                        == (PlaceOrderRequest { wait: None, ..request.clone() }) =>
                {
                    format!("order-{at}")
                }
                Some(_) => return Err(failure(Code::AlreadyExists, "REQUEST_ID_REUSED")),
                None => accept(&mut state, request)?,
            }
        };
        let mut changes = self.changes.subscribe();
        let answered = async {
            while self.order(&order_id).state() == OrderState::Sending {
                changes.changed().await.unwrap();
            }
        };
        let _ = tokio::time::timeout(wait, answered).await;
        Ok(Response::new(PlaceOrderResponse { order: Some(self.order(&order_id)) }))
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        self.enter(request.metadata()).await;
        let Some(get_order_request::Key::OrderId(order_id)) = request.into_inner().key else { panic!("no order_id") };
        let state = self.state.lock().unwrap();
        assert!(!state.panicking, "told to panic");
        match state.orders.get(&order_id) {
            Some(order) => Ok(Response::new(GetOrderResponse { order: Some(order.clone()) })),
            None => Err(failure(Code::NotFound, "ORDER_NOT_FOUND")),
        }
    }

    async fn list_orders(&self, request: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.state.lock().unwrap();
        state.listed += 1;
        let of_check = state.orders.values().rev().filter(|order| order.check_id == request.check_id);
        let skipped: usize = request.page_token.parse().unwrap_or(0);
        let size = if request.page_size == 0 { 50 } else { usize::try_from(request.page_size).unwrap() };
        let orders: Vec<Order> = of_check.skip(skipped).take(size).cloned().collect();
        let next_page_token = if orders.len() == size { (skipped + size).to_string() } else { String::new() };
        Ok(Response::new(ListOrdersResponse { orders, next_page_token }))
    }

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let request = request.into_inner();
        self.state.lock().unwrap().watched.push(request.clone());
        let mut seen: i64 = match request.resume_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| failure(Code::InvalidArgument, "BAD_RESUME_TOKEN"))?,
        };
        let (fake, (sender, receiver)) = (self.clone(), mpsc::channel(4));
        let (mut changes, mut cuts) = (self.changes.subscribe(), self.cuts.subscribe());
        tokio::spawn(async move {
            loop {
                let order = fake.order(&request.order_id);
                let ended = order.state() as i32 >= OrderState::Completed as i32;
                if order.version > seen {
                    seen = order.version;
                    let change = WatchOrderResponse { order: Some(order), resume_token: seen.to_string() };
                    if sender.send(Ok(change)).await.is_err() {
                        return;
                    }
                }
                if ended {
                    return;
                }
                tokio::select! {
                    _ = changes.changed() => {}
                    _ = cuts.changed() => {
                        let _ = sender.send(Err(Status::unavailable("cut"))).await;
                        return;
                    }
                    () = sender.closed() => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let Some(cancel_order_request::Key::OrderId(order_id)) = request.into_inner().key else {
            panic!("no order_id")
        };
        match self.order(&order_id).state() {
            OrderState::Ready => return Err(failure(Code::FailedPrecondition, "CANCEL_TOO_LATE")),
            // The POS has it: that it is wished back is noted, and no more.
            OrderState::Placed => self.advance(&order_id, OrderState::Placed, |order| {
                order.changes.push(OrderChange {
                    kind: OrderChangeKind::Cancel.into(),
                    state: OrderChangeState::Requested.into(),
                    requested_by: "gateway".to_owned(),
                    ..OrderChange::default()
                });
            }),
            _ => self.advance(&order_id, OrderState::Cancelled, |_| ()),
        }
        Ok(Response::new(CancelOrderResponse { order: Some(self.order(&order_id)) }))
    }

    async fn open_check(&self, request: Request<OpenCheckRequest>) -> Result<Response<OpenCheckResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.state.lock().unwrap();
        let open = state.checks.values().find(|c| c.table_id == request.table_id && c.state() != CheckState::Closed);
        if let Some(check) = open {
            return Ok(Response::new(OpenCheckResponse { check: Some(check.clone()), joined: true }));
        }
        let check = Check {
            check_id: format!("check-{}", state.checks.len()),
            store_id: request.store_id,
            table_id: request.table_id,
            party_size: request.party_size,
            state: CheckState::Open.into(),
            ..Default::default()
        };
        state.checks.insert(check.check_id.clone(), check.clone());
        Ok(Response::new(OpenCheckResponse { check: Some(check), joined: false }))
    }

    async fn get_check(&self, request: Request<GetCheckRequest>) -> Result<Response<GetCheckResponse>, Status> {
        self.enter(request.metadata()).await;
        let request = request.into_inner();
        let state = self.state.lock().unwrap();
        let check = state.checks.get(&request.check_id).ok_or_else(|| failure(Code::NotFound, "CHECK_NOT_FOUND"))?;
        let bill = request.include_bill.then(|| bill(&state, &request.check_id));
        Ok(Response::new(GetCheckResponse { check: Some(check.clone()), bill }))
    }

    async fn request_bill(
        &self,
        request: Request<RequestBillRequest>,
    ) -> Result<Response<RequestBillResponse>, Status> {
        let check_id = request.into_inner().check_id;
        let mut state = self.state.lock().unwrap();
        if !state.orders.values().any(|order| order.check_id == check_id) {
            return Err(failure(Code::FailedPrecondition, "NOTHING_ORDERED"));
        }
        let bill = bill(&state, &check_id);
        let check = state.checks.get_mut(&check_id).unwrap();
        check.set_state(CheckState::BillRequested);
        Ok(Response::new(RequestBillResponse { check: Some(check.clone()), bill: Some(bill) }))
    }

    unused! {
        list_checks(ListChecksRequest) -> ListChecksResponse;
        close_check(CloseCheckRequest) -> CloseCheckResponse;
    }

    async fn void_lines(
        &self,
        _: Request<posmesh_proto::order::v1::VoidLinesRequest>,
    ) -> Result<Response<posmesh_proto::order::v1::VoidLinesResponse>, Status> {
        Err(Status::unimplemented("void_lines"))
    }

    async fn resolve_order(
        &self,
        _: Request<posmesh_proto::order::v1::ResolveOrderRequest>,
    ) -> Result<Response<posmesh_proto::order::v1::ResolveOrderResponse>, Status> {
        Err(Status::unimplemented("resolve_order"))
    }

    async fn record_order_events(
        &self,
        _: Request<posmesh_proto::order::v1::RecordOrderEventsRequest>,
    ) -> Result<Response<posmesh_proto::order::v1::RecordOrderEventsResponse>, Status> {
        Err(Status::unimplemented("record_order_events"))
    }

    async fn reconcile_orders(
        &self,
        _: Request<posmesh_proto::order::v1::ReconcileOrdersRequest>,
    ) -> Result<Response<posmesh_proto::order::v1::ReconcileOrdersResponse>, Status> {
        Err(Status::unimplemented("reconcile_orders"))
    }

    /// At half past six, four are free for each item that is asked for.
    async fn list_pickup_slots(
        &self,
        request: Request<ListPickupSlotsRequest>,
    ) -> Result<Response<ListPickupSlotsResponse>, Status> {
        let request = request.into_inner();
        let pickup_time = Some("2026-11-22T18:30:00+09:00".parse().unwrap());
        let slots = request.item_ids.iter().map(|_| PickupSlot { pickup_time, free: 4 });
        let unlimited = PickupSlot { pickup_time, free: 0 };
        let limit = usize::try_from(request.limit).unwrap();
        Ok(Response::new(ListPickupSlotsResponse { slots: slots.chain([unlimited]).take(limit).collect() }))
    }

    async fn release_table(
        &self,
        request: Request<ReleaseTableRequest>,
    ) -> Result<Response<ReleaseTableResponse>, Status> {
        let mut state = self.state.lock().unwrap();
        let table_id = request.into_inner().table_id;
        let check = state.checks.values_mut().find(|c| c.table_id == table_id && c.state() == CheckState::Open);
        let check = check.map(|check| {
            check.set_state(CheckState::Closed);
            check.clone()
        });
        Ok(Response::new(ReleaseTableResponse { check }))
    }

    /// Whatever is asked for, one more check comes of it.
    async fn split_check(&self, request: Request<SplitCheckRequest>) -> Result<Response<SplitCheckResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.state.lock().unwrap();
        let Some(how) = request.how.clone() else { return Err(Failure::field("REQUIRED", "how", "say how").into()) };
        if let split_check_request::How::ByItem(_) = how {
            let field = "by_item.parts[0].lines[0].pos_line_reference";
            return Err(Failure::field("LINE_NOT_FOUND", field, "names no line of the bill").into());
        }
        let check = state.checks[&request.check_id].clone();
        let part =
            Check { check_id: format!("{}-part", check.check_id), split_from: check.check_id.clone(), ..check.clone() };
        state.checks.insert(part.check_id.clone(), part.clone());
        let bills = vec![bill(&state, &check.check_id), CheckBill::default()];
        Ok(Response::new(SplitCheckResponse { checks: vec![check, part], bills }))
    }

    type WatchAttentionStream =
        Pin<Box<dyn Stream<Item = Result<posmesh_proto::order::v1::WatchAttentionResponse, Status>> + Send>>;

    async fn watch_attention(
        &self,
        _: Request<posmesh_proto::order::v1::WatchAttentionRequest>,
    ) -> Result<Response<Self::WatchAttentionStream>, Status> {
        Err(Status::unimplemented("watch_attention"))
    }

    async fn get_gates(
        &self,
        _: Request<posmesh_proto::order::v1::GetGatesRequest>,
    ) -> Result<Response<posmesh_proto::order::v1::GetGatesResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
    type WatchGatesStream = std::pin::Pin<
        Box<dyn tokio_stream::Stream<Item = Result<posmesh_proto::order::v1::WatchGatesResponse, Status>> + Send>,
    >;
    async fn watch_gates(
        &self,
        _: Request<posmesh_proto::order::v1::WatchGatesRequest>,
    ) -> Result<Response<Self::WatchGatesStream>, Status> {
        let gates = tokio_stream::wrappers::WatchStream::new(self.gates.subscribe());
        let told = |gates| posmesh_proto::order::v1::WatchGatesResponse { gates, current: true };
        Ok(Response::new(Box::pin(tokio_stream::StreamExt::map(gates, move |gates| Ok(told(gates))))))
    }
    async fn pause_store(
        &self,
        _: Request<posmesh_proto::order::v1::PauseStoreRequest>,
    ) -> Result<Response<posmesh_proto::order::v1::PauseStoreResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
    async fn resume_store(
        &self,
        _: Request<posmesh_proto::order::v1::ResumeStoreRequest>,
    ) -> Result<Response<posmesh_proto::order::v1::ResumeStoreResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}

fn accept(state: &mut State, request: PlaceOrderRequest) -> Result<String, Status> {
    if state.checks.get(&request.check_id).is_some_and(|check| check.state() == CheckState::Merged) {
        return Err(failure(Code::FailedPrecondition, "CHECK_MERGED"));
    }
    if state.checks.get(&request.check_id).is_some_and(|check| check.state() == CheckState::Closed) {
        return Err(failure(Code::FailedPrecondition, "CHECK_CLOSED"));
    }
    let quote = quote(&request.lines)?;
    let total = quote.price.as_ref().and_then(|price| price.total.clone());
    if total != request.expected_total {
        let changed = Failure::new(Code::FailedPrecondition, "PRICE_CHANGED", "the price is another one now");
        return Err(changed.detail(&quote).into());
    }
    let order_id = format!("order-{}", state.placed.len());
    let order = Order {
        order_id: order_id.clone(),
        store_id: request.store_id.clone(),
        product: request.product,
        state: OrderState::Sending.into(),
        version: 1,
        display_number: "A-12".to_owned(),
        check_id: request.check_id.clone(),
        round: if request.check_id.is_empty() { 0 } else { 1 },
        lines: quote.lines,
        price: quote.price,
        note: request.note.clone(),
        pickup_time: request.pickup_time,
        pager_number: request.pager_number.clone(),
        cause_message: "adapter at 10.1.2.3".to_owned(),
        create_time: Some(time::now()),
        ..Default::default()
    };
    state.orders.insert(order_id.clone(), order);
    state.placed.push(request);
    Ok(order_id)
}

fn bill(state: &State, check_id: &str) -> CheckBill {
    let lines = state.orders.values().filter(|order| order.check_id == check_id).flat_map(|order| &order.lines);
    let lines: Vec<_> = lines
        .map(|line| CheckBillLine {
            name: line.name.clone(),
            quantity_milli: i64::from(line.quantity) * 1000,
            total: line.line_price.clone(),
            ..Default::default()
        })
        .collect();
    let total = lines.iter().filter_map(|line| line.total.as_ref()).map(|total| total.amount).sum();
    CheckBill { lines, total: jpy(total), ..Default::default() }
}
