//! The peers of the order service, scripted: one store, one small catalog, and a POS that does what the test says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub(crate) mod checks;
mod peers;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use posmesh_kit::{
    Channel,
    server::{Mounted, ServerConfig},
    time,
};
use posmesh_order::{Config, Peers, mount_on, storage::Storage};
use posmesh_proto::{
    adapter::v1::{
        CancelOrderRequest, FindOrderResponse, ListOrders, NotFound, Placed, PosEvent, PosLine, PosOrder,
        PosOrderProgress, PosOrderRecord, PosOrderRecordLine, SubmitOrderResponse, SubmitOutcome, VoidLinesRequest,
        change_outcome, find_order_response, submit_outcome,
    },
    common::v1::{Evidence, EvidenceKind, Money, Product},
    order::v1::{
        CancelOrderRequest as TakeBack, EventResult, GetOrderRequest, Order, OrderLineInput, OrderState,
        PlaceOrderRequest, RecordOrderEventsRequest, ResolutionKind, ResolveOrderRequest, WatchOrderRequest,
        cancel_order_request, get_order_request, order_service_client::OrderServiceClient,
    },
    router::v1::{ConnectionRole, Link, LinkState},
    store::v1::{OpeningHours, ProductPolicy},
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const STORE: &str = "izakaya";
/// Has the same menu and the same policies.
pub(crate) const OTHER_STORE: &str = "ramen-ya";
/// The connection of the store's fallback.
pub(crate) const PRINTER: &str = "printer";
pub(crate) const BEER: &str = "beer";
pub(crate) const BEER_PRICE: i64 = 550;

/// What a link that is OFFLINE says to the staff.
pub(crate) const SAID_BY_ADAPTER: &str = "POST http://10.0.0.7/orders: 502 Bad Gateway";

/// What the POS does with one submit.
pub(crate) enum Act {
    /// Takes the order and says so.
    Take,
    /// Takes the order; the answer is lost.
    TakeAndLoseAnswer,
    /// Loses the call before it reaches the POS, without proof.
    Lose,
    /// Answers this.
    Answer(submit_outcome::Outcome),
    /// Fails with this.
    Fail(Status),
    /// Waits until it is let go, then takes the order.
    Hang(Arc<Notify>),
}

#[derive(Default)]
pub(crate) struct PosState {
    /// What happens to the next submits; then they are taken.
    pub(crate) script: VecDeque<Act>,
    /// What the POS has, by reference.
    pub(crate) orders: HashMap<String, PosOrder>,
    /// Every submit that arrived.
    pub(crate) submits: Vec<PosOrder>,
    /// Whether it can be asked.
    pub(crate) find_broken: bool,
    /// Whether absence proves anything.
    pub(crate) find_proves_nothing: bool,
    pub(crate) finds: usize,
    pub(crate) open_checks: Vec<posmesh_proto::adapter::v1::PosCheck>,
    pub(crate) till: checks::Till,
    pub(crate) price: i64,
    pub(crate) sold_out: bool,
    /// How often the router was asked where orders go.
    pub(crate) resolves: usize,
    /// ToGo orders go to another POS by now.
    pub(crate) moved: bool,
    /// Kiosk orders go to a POS of their own.
    pub(crate) second_pos: bool,
    /// How often the connection was changed.
    pub(crate) repointed: i64,
    /// What the store's policy for ToGo says besides.
    pub(crate) togo: ProductPolicy,
    /// Likewise for Table.
    pub(crate) table: ProductPolicy,
    /// When the store is open; empty: always.
    pub(crate) hours: Vec<OpeningHours>,
    /// When beer is sold; always, if there are none.
    pub(crate) beer_hours: Vec<OpeningHours>,
    /// The POS of this store answers nothing until it is let go.
    pub(crate) hangs: Option<(String, CancellationToken)>,
    /// The next submit of this store fails with this.
    pub(crate) refuses_once: Option<(String, Status)>,
    /// The beer is off the menu.
    pub(crate) gone: bool,
    /// What happens to the next cancels and voids; then they are carried out.
    pub(crate) changes: VecDeque<ChangeAct>,
    /// Every cancel that arrived.
    pub(crate) cancels: Vec<CancelOrderRequest>,
    /// Every void that arrived.
    pub(crate) voids: Vec<VoidLinesRequest>,
    /// References of orders that were taken back here.
    pub(crate) cancelled: HashSet<String>,
    /// Capabilities that it does not have, with what the staff must do instead.
    pub(crate) cannot: HashMap<String, String>,
    /// It recognizes a submit that it has seen before.
    pub(crate) recognizes: bool,
    /// It cannot be asked for an order at all.
    pub(crate) finds_nothing: bool,
    /// How far its orders are.
    pub(crate) progress: PosOrderProgress,
    /// How it lists its orders.
    pub(crate) lists: ListOrders,
    /// What stands in its list besides, and instead of an order of the same number.
    pub(crate) records: Vec<PosOrderRecord>,
    /// It cannot be asked for its list.
    pub(crate) list_broken: bool,
    /// The least time between two polls; without it, it cannot be polled.
    pub(crate) poll_interval: Option<Duration>,
    /// What happened to its orders; a cursor is a number of events.
    pub(crate) events: Vec<PosEvent>,
    /// It knows no cursor before this number.
    pub(crate) oldest_cursor: usize,
    /// It is a kitchen printer: what it takes is printed, and it knows no checks.
    pub(crate) prints: bool,
    /// Its connection was deleted.
    pub(crate) disconnected: bool,
    /// It takes an order without printing its ticket.
    pub(crate) takes_entries: bool,
    /// Every poll that arrived: when, and its cursor.
    pub(crate) polls: Vec<(tokio::time::Instant, String)>,
}

/// What the POS does with one cancel or void.
pub(crate) enum ChangeAct {
    /// Carries it out; the answer is lost.
    DoAndLoseAnswer,
    /// Loses the call before it reaches the POS, without proof.
    Lose,
    /// Answers this.
    Answer(change_outcome::Outcome),
    /// Waits until it is let go, then carries it out.
    Hang(Arc<Notify>),
}

#[derive(Clone, Default)]
pub(crate) struct Pos {
    pub(crate) state: Arc<Mutex<PosState>>,
    pub(crate) submitted: Arc<Notify>,
    /// What the router tells of its links. `None`: it keeps none.
    pub(crate) links: Arc<watch::Sender<Option<Vec<Link>>>>,
    /// What stands in for it, behind the connection [`PRINTER`].
    pub(crate) printer: Option<Box<Pos>>,
}

impl Pos {
    pub(crate) fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.state.lock().unwrap().script.extend(acts);
    }

    /// A POS whose store has a kitchen printer beside it.
    pub(crate) fn with_printer() -> Self {
        let printer = Self::default();
        printer.state.lock().unwrap().prints = true;
        Self { printer: Some(Box::new(printer)), ..Self::default() }
    }

    pub(crate) fn printer(&self) -> &Self {
        self.printer.as_deref().unwrap()
    }

    /// The router tells this of the way to the POS, as the link's next version.
    pub(crate) fn link(&self, state: LinkState, probes_passed: i32) {
        self.link_to("till", state, probes_passed);
    }

    /// Likewise of the way to any of the store's connections.
    pub(crate) fn link_to(&self, connection_id: &str, state: LinkState, probes_passed: i32) {
        self.links.send_modify(|links| {
            let is_first = links.is_none();
            let links = links.get_or_insert_default();
            if is_first && self.printer.is_some() {
                let unknown = LinkState::Unknown.into();
                let role = ConnectionRole::Fallback.into();
                links.push(Link {
                    connection_id: PRINTER.into(),
                    store_id: STORE.into(),
                    state: unknown,
                    role,
                    ..Link::default()
                });
            }
            let before = links.iter().find(|link| link.connection_id == connection_id).cloned().unwrap_or_default();
            let is_changed = before.state != i32::from(state);
            let failing = if state == LinkState::Offline { ("pos", "POS_APP_NOT_RUNNING") } else { ("", "") };
            let link = Link {
                connection_id: connection_id.into(),
                store_id: STORE.into(),
                state: state.into(),
                failing_hop: failing.0.into(),
                cause: failing.1.into(),
                message: if failing.1.is_empty() { String::new() } else { SAID_BY_ADAPTER.into() },
                since: Some(time::from_unix_ms(before.since.map_or(0, |since| time::to_unix_ms(&since)) + 1)),
                version: before.version + i64::from(is_changed),
                probes_passed,
                ..before
            };
            links.retain(|link| link.connection_id != connection_id);
            links.push(link);
        });
    }

    pub(crate) fn orders(&self) -> usize {
        self.state.lock().unwrap().orders.len()
    }

    pub(crate) fn submits(&self) -> usize {
        self.state.lock().unwrap().submits.len()
    }

    /// Returns at once unless the store's POS hangs.
    async fn hang(&self, store_id: &str) {
        let hangs = self.state.lock().unwrap().hangs.clone();
        if let Some((_, until)) = hangs.filter(|(hanging, _)| hanging == store_id) {
            until.cancelled().await;
        }
    }

    pub(crate) fn script_changes(&self, acts: impl IntoIterator<Item = ChangeAct>) {
        self.state.lock().unwrap().changes.extend(acts);
    }

    /// The staff bring an order on.
    pub(crate) fn report(&self, order_id: &str, progress: PosOrderProgress) {
        let event = PosEvent {
            reference: order_id.to_owned(),
            pos_order_reference: format!("pos-{order_id}"),
            progress: progress.into(),
            ..PosEvent::default()
        };
        self.state.lock().unwrap().events.push(event);
    }

    pub(crate) fn polls(&self) -> usize {
        self.state.lock().unwrap().polls.len()
    }

    pub(crate) fn cancels(&self) -> usize {
        self.state.lock().unwrap().cancels.len()
    }

    fn take(&self, mut order: PosOrder) -> submit_outcome::Outcome {
        let mut state = self.state.lock().unwrap();
        let number = state.orders.len() + 1;
        if state.prints {
            state.orders.entry(order.reference.clone()).or_insert(order.clone());
            return submit_outcome::Outcome::Placed(printed(&order, number));
        }
        if let Err(gone) = state.put_on_check(&mut order) {
            return submit_outcome::Outcome::Rejected(gone);
        }
        state.cancelled.remove(&order.reference);
        state.orders.entry(order.reference.clone()).or_insert(order.clone());
        submit_outcome::Outcome::Placed(placed(&order, number))
    }
}

pub(crate) fn placed(order: &PosOrder, number: usize) -> Placed {
    let reference = format!("pos-{}", order.reference);
    Placed {
        evidence: vec![Evidence {
            kind: EvidenceKind::Pos.into(),
            reference: reference.clone(),
            ..Evidence::default()
        }],
        pos_order_reference: reference,
        pos_check_reference: order.check.as_ref().map(|c| c.pos_check_reference.clone()).unwrap_or_default(),
        display_number: format!("K{number}"),
        total: order.expected_total.clone(),
        ..Placed::default()
    }
}

/// What a kitchen printer says.
pub(crate) fn printed(order: &PosOrder, number: usize) -> Placed {
    let reference = format!("ticket-{number}");
    Placed {
        evidence: vec![Evidence {
            kind: EvidenceKind::Printed.into(),
            reference: reference.clone(),
            ..Evidence::default()
        }],
        pos_order_reference: reference,
        pos_check_reference: order.check.as_ref().map(|_| "none-of-the-pos".to_owned()).unwrap_or_default(),
        display_number: format!("P{number}"),
        ..Placed::default()
    }
}

/// The order as the POS lists it.
pub(crate) fn record(order: &PosOrder, progress: PosOrderProgress) -> PosOrderRecord {
    let line = |line: &PosLine| PosOrderRecordLine {
        line_id: line.line_id.clone(),
        quantity_milli: i64::from(line.quantity) * 1000,
    };
    PosOrderRecord {
        pos_order_reference: format!("pos-{}", order.reference),
        reference: order.reference.clone(),
        progress: progress.into(),
        take_time: order.place_time,
        total: order.expected_total.clone(),
        lines: order.lines.iter().map(line).collect(),
        ..PosOrderRecord::default()
    }
}

pub(crate) fn outcome(outcome: submit_outcome::Outcome) -> SubmitOrderResponse {
    SubmitOrderResponse {
        outcome: Some(SubmitOutcome { outcome: Some(outcome) }),
        connection_id: "till".into(),
        ..SubmitOrderResponse::default()
    }
}

pub(crate) fn not_found(authoritative: bool) -> FindOrderResponse {
    FindOrderResponse { result: Some(find_order_response::Result::NotFound(NotFound { authoritative })) }
}

/// One replica of the order service and a client of it.
pub(crate) struct Replica {
    pub(crate) client: OrderServiceClient<Channel>,
    pub(crate) mounted: Mounted,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.mounted.stop.cancel();
    }
}

pub(crate) fn config() -> Config {
    Config {
        attempt_timeout: Duration::from_millis(400),
        lease_margin: Duration::from_millis(100),
        sweep_interval: Duration::from_millis(20),
        check_interval: Duration::from_secs(60),
        retry_base: Duration::from_millis(20),
        retry_cap: Duration::from_millis(200),
        max_in_flight: 64,
        max_in_flight_per_store: 64,
        max_watchers: 16,
        errands_at_once: 16,
        watcher_max_lag: Duration::from_secs(10),
        cache_age: Duration::from_millis(50),
        contact_retention: Duration::from_secs(3600),
    }
}

pub(crate) fn replica(storage: Arc<dyn Storage>, pos: &Pos, config: &Config) -> Replica {
    let server = ServerConfig::default();
    let peers = peers::mounted(pos).channel(&server);
    let peers = Peers { store: peers.clone(), catalog: peers.clone(), router: peers };
    let mounted = mount_on(config, storage, peers);
    Replica { client: OrderServiceClient::new(mounted.channel(&server)), mounted }
}

pub(crate) fn beer_to_go(request_id: &str) -> PlaceOrderRequest {
    let in_an_hour = posmesh_kit::time::now_unix_ms() + 3_600_000;
    PlaceOrderRequest {
        request_id: request_id.into(),
        store_id: STORE.into(),
        product: Product::ToGo.into(),
        lines: vec![beer(1)],
        expected_total: Some(yen(BEER_PRICE)),
        pickup_time: Some(posmesh_kit::time::from_unix_ms(in_an_hour)),
        wait: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        ..PlaceOrderRequest::default()
    }
}

pub(crate) fn beer(quantity: i32) -> OrderLineInput {
    OrderLineInput { item_id: BEER.into(), quantity, ..OrderLineInput::default() }
}

pub(crate) fn yen(amount: i64) -> Money {
    Money { currency_code: "JPY".into(), amount }
}

impl Replica {
    pub(crate) async fn place(&self, request: PlaceOrderRequest) -> Result<Order, Status> {
        Ok(self.client.clone().place_order(request).await?.into_inner().order.unwrap())
    }

    /// Follows the order until it is in this state.
    pub(crate) async fn until(&self, order_id: &str, state: OrderState) -> Order {
        let follow = async {
            let request = WatchOrderRequest { order_id: order_id.into(), ..WatchOrderRequest::default() };
            let mut changes = self.client.clone().watch_order(request).await.unwrap().into_inner();
            loop {
                let order = changes.message().await.unwrap().expect("the order ended otherwise").order.unwrap();
                if order.state() == state {
                    return order;
                }
            }
        };
        tokio::time::timeout(PATIENCE, follow).await.expect("the order never got there")
    }

    /// Waits until the order is as it should be.
    pub(crate) async fn until_it(&self, order_id: &str, is_so: impl Fn(&Order) -> bool) -> Order {
        let look = async {
            loop {
                let order = self.order(order_id).await;
                if is_so(&order) {
                    return order;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(order) => order,
            Err(_) => panic!("the order never got there: {:?}", self.order(order_id).await),
        }
    }

    pub(crate) async fn order(&self, order_id: &str) -> Order {
        let key = Some(get_order_request::Key::OrderId(order_id.into()));
        self.client.clone().get_order(GetOrderRequest { key }).await.unwrap().into_inner().order.unwrap()
    }

    /// Takes the order back and waits for the POS's word.
    pub(crate) async fn cancel(&self, order_id: &str) -> Result<Order, Status> {
        self.cancel_within(order_id, 10).await
    }

    pub(crate) async fn cancel_within(&self, order_id: &str, seconds: i64) -> Result<Order, Status> {
        let request = TakeBack {
            key: Some(cancel_order_request::Key::OrderId(order_id.into())),
            wait: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..TakeBack::default()
        };
        Ok(self.client.clone().cancel_order(request).await?.into_inner().order.unwrap())
    }

    pub(crate) async fn resolve(&self, order_id: &str, kind: ResolutionKind) -> Result<Order, Status> {
        let request = ResolveOrderRequest {
            order_id: order_id.into(),
            kind: kind.into(),
            resolved_by: "kim".into(),
            ..ResolveOrderRequest::default()
        };
        Ok(self.client.clone().resolve_order(request).await?.into_inner().order.unwrap())
    }

    /// What the POS reports over a connection.
    pub(crate) async fn report(&self, connection_id: &str, events: Vec<PosEvent>) -> Vec<EventResult> {
        let request = RecordOrderEventsRequest { connection_id: connection_id.into(), events };
        let answer = self.client.clone().record_order_events(request).await.unwrap().into_inner();
        answer.results().collect()
    }
}
