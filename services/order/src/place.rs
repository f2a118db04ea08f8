//! Taking an order: everything that is checked, then one durable write, then the POS.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{Failure, ambient, call::Identity, menu_time::MenuTime, telemetry, time};
use posmesh_kit_db::Rejected;
use posmesh_pricing::{Terms, default_service_mode, price_lines};
use posmesh_proto::{
    common::v1::{Product, ServiceMode},
    order::v1::{
        Attempt, CancelOrderRequest, Check, GateState, GetOrderRequest, HoldReason, Order, OrderLineInput,
        OrderPurpose, OrderState, PlaceOrderRequest, PosEntry, Quote, get_order_request,
    },
    store::v1::{ProductPolicy, Store},
};
use tokio::time::Instant;
use tonic::Code;

use crate::{
    checks,
    dispatch::{BEHIND_ENTRIES, Begun, Dispatcher, Place, round_wait},
    domain::{
        accept::{self, Facts},
        business_day::{business_date, end_of_day_ms, over_ms},
        gate::{Asked, deliver_within, hold_for, holds},
        lifecycle,
        pos::table_mode,
    },
    error::Error,
    gate::{self, Fallback, Gates},
    ledger::Ledger,
    peers::{Link, Reader},
    pickup::{Pickup, kitchen},
    storage::{NewOrder, Placement, StorageError},
    watch::Subscription,
};

const DEFAULT_COMPLETE_AFTER: Duration = Duration::from_secs(3600);
const MAX_WAIT: Duration = Duration::from_secs(30);
/// So long it is looked whether what is refused was taken before.
const REPLAY_WITHIN: Duration = Duration::from_secs(2);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) ledger: Ledger,
    pub(crate) reader: Reader,
    pub(crate) gates: Gates,
    pub(crate) dispatcher: Dispatcher,
}

impl Orders {
    /// What an order would cost now, and when it could be picked up.
    pub(crate) async fn quote_order(
        &self,
        who: &Identity,
        store: &Store,
        product: Product,
        lines: &[OrderLineInput],
        pickup_ms: Option<i64>,
        guest_locale: &str,
    ) -> Result<Quote, Error> {
        // A rehearsal may be quoted as well.
        let policy = accept::policy(store, product, OrderPurpose::Test)?;
        let at_ms = pickup_ms.unwrap_or_else(|| self.dispatcher.clock.now_unix_ms());
        let mut quote = self.quote(store, product, lines, (at_ms, guest_locale)).await?;
        if product == Product::ToGo {
            let kitchen = kitchen(store, policy, lines.iter().map(|line| line.item_id.as_str()))?;
            let now_ms = time::now_unix_ms();
            let next_ms = self.next_free(who, store, &kitchen, now_ms, now_ms).await?;
            quote.earliest_pickup_time = next_ms.map(time::from_unix_ms);
        }
        Ok(quote)
    }

    /// What the lines cost now. They must be sold at the time for which they are ordered.
    async fn quote(
        &self,
        store: &Store,
        product: Product,
        lines: &[OrderLineInput],
        (at_ms, guest_locale): (i64, &str),
    ) -> Result<Quote, Failure> {
        let catalog = self.reader.catalog(&store.store_id, product).await?;
        let closed = MenuTime::at(&catalog.catalog().menu_periods, &store.time_zone, at_ms).closed;
        let default_mode = default_service_mode(product);
        let terms = Terms { default_mode, locales: &store.locales, guest_locale, closed: &closed };
        price_lines(&catalog, lines, terms).map_err(|problems| accept::from_problems(&problems))
    }

    /// Takes an order, and waits for the POS as long as the request asks.
    pub(crate) async fn place(&self, who: &Identity, request: PlaceOrderRequest) -> Result<Order, Error> {
        let until = Instant::now() + check_wait(request.wait.as_ref())?;
        let request_id = request.request_id.clone();
        let request_hash = accept::request_hash(&request);
        let refused = match self.take(who, request).await {
            Ok((order, subscription)) => return Ok(self.wait_for_pos(order, subscription, until).await),
            Err(error) => error,
        };
        // What was taken before stays taken, whatever speaks against it now: the pickup time may be over by now, and the
        // item gone from the menu.
        if matches!(refused, Error::Refused(_)) && accept::check_request_id(&request_id).is_ok() {
            let known = self.ledger.storage.order_by_request(&who.tenant_id, &who.caller, &request_id);
            let known = tokio::time::timeout(REPLAY_WITHIN, known).await;
            let no_answer = |_| Error::Read(StorageError::Refused("no answer in time".to_owned()));
            if let Some(known) = known.map_err(no_answer)?? {
                if !known.is_same(&request_hash) {
                    return Err(request_id_reused(&known.order).into());
                }
                let subscription = self.ledger.hub.watch(&who.tenant_id, &known.order, None);
                return Ok(self.wait_for_pos(known.order, subscription, until).await);
            }
        }
        Err(refused)
    }

    async fn take(&self, who: &Identity, request: PlaceOrderRequest) -> Result<(Order, Subscription), Error> {
        self.gates.until_judging().await;
        if !self.dispatcher.clock.is_known(&*self.ledger.storage).await {
            let message = "this replica has just begun, and its clock is not that of its database; ask again";
            let failure = Failure::new(Code::Unavailable, "CLOCK_NOT_STEADY", message);
            return Err(failure.retry_after(Duration::from_secs(1)).into());
        }
        let now_ms = self.dispatcher.clock.now_unix_ms();
        let product = accept::check_request(&request, now_ms)?;
        let store = self.reader.stores.get(&request.store_id).await?;
        let policy = accept::policy(&store, product, purpose(&request))?;
        let kind = (product, mode(&request, product));
        let asked = asked(&store, policy, &request, now_ms)?;
        self.gates.refuse_at_once(&who.tenant_id, &store, kind, asked)?;
        let link = self.reader.link(&request.store_id, product, kind.1).await;
        let gate = self.gate(who, &store, kind, (asked, now_ms), link.as_deref().ok()).await?;
        let wanted_ms = request.pickup_time.as_ref().map_or(now_ms, time::to_unix_ms);
        let quote = self.quote(&store, product, &request.lines, (wanted_ms, &request.locale)).await?;
        accept::check_known_tenders(&request.tenders, &*self.reader.catalog(&store.store_id, product).await?)?;
        accept::check_price(&request, &quote)?;
        let link = link?;
        // Another POS may have other things under the same ids.
        if self.reader.menu_link(&request.store_id).await?.connection.connection_id != link.connection.connection_id {
            return Err(menu_of_another_pos(&link.connection.connection_id).into());
        }
        accept::check_limits(&request, link.descriptor.limits.as_ref())?;
        let pickup = match &request.pickup_time {
            Some(at) => {
                let kitchen = kitchen(&store, policy, request.lines.iter().map(|line| line.item_id.as_str()))?;
                Some(self.pickup(who, &store, kitchen, time::to_unix_ms(at), now_ms).await?)
            }
            None => None,
        };
        let fire_ms = pickup.as_ref().and_then(|pickup| pickup.fire_ms);
        let connection_id = link.connection.connection_id.as_str();
        let awaits = (matches!(gate, Passed::Held) && fire_ms.is_none()).then(|| connection_id.to_owned());
        // What waits is not under way.
        let waits = fire_ms.is_some() || awaits.is_some();
        let place = if waits { None } else { Some(self.dispatcher.admit(&who.tenant_id, &store.store_id)?) };

        let deliver_within = deliver_within(policy);
        // An advance order belongs to the day on which it is cooked.
        let day_ms = fire_ms.and(pickup.as_ref()).map_or(now_ms, |pickup| pickup.at_ms);
        let business_date = business_date(&store, day_ms).ok_or_else(|| time_zone_unknown(&store))?;
        let over_ms = match &pickup {
            Some(pickup) => {
                let after = positive(policy.complete_after.as_ref()).unwrap_or(DEFAULT_COMPLETE_AFTER);
                Some(pickup.at_ms.saturating_add(millis(after)))
            }
            None => over_ms(&store, &business_date),
        };
        let deliver_by_ms = if awaits.is_some() {
            let by_ms = now_ms.saturating_add(millis(hold_for(&store, product)));
            by_ms.min(end_of_day_ms(&store, &business_date).unwrap_or(i64::MAX))
        } else {
            fire_ms.unwrap_or(now_ms).saturating_add(millis(deliver_within))
        };
        let facts = Facts {
            quote,
            policy,
            business_date,
            fire_ms,
            awaits,
            deliver_by_ms,
            now_ms,
            traceparent: telemetry::traceparent(),
        };
        let (contact, request_id) = (request.guest_contact.clone(), request.request_id.clone());
        let guest_name = contact.as_ref().map(|c| c.name.clone()).unwrap_or_default();
        let request_hash = accept::request_hash(&request);
        let mut order = accept::new_order(request, facts);
        let way = if waits {
            Way::Later
        } else {
            self.way(&who.tenant_id, gate, &order, (&store, kind, connection_id)).await?
        };
        let since = Instant::now();
        let lease = match &way {
            Way::Later => until(fire_ms.unwrap_or(deliver_by_ms), now_ms),
            Way::AfterEntries => {
                order.set_state(OrderState::Held);
                order.set_hold_reason(HoldReason::RoundBefore);
                BEHIND_ENTRIES
            }
            // The accept itself begins the first attempt: no time is lost, and no crash leaves it unseen.
            Way::ToPos { .. } => begin(&mut order, self.dispatcher.next_attempt(1, Some(&link))),
            Way::ToFallback(fallback) => {
                order.set_pos_entry(PosEntry::NotDue);
                begin(&mut order, self.dispatcher.divert_attempt(1, fallback))
            }
        };
        let alone = matches!(way, Way::ToPos { alone: true });
        let alone = alone.then(|| (connection_id.to_owned(), order.order_id.clone()));

        let subscription = self.ledger.hub.subscribe(&who.tenant_id, &order.order_id);
        let new = NewOrder {
            tenant_id: Arc::clone(&who.tenant_id),
            caller: Arc::clone(&who.caller),
            request_id,
            request_hash,
            order,
            lease,
            hold: round_wait(policy).map_or(deliver_within, |wait| wait.min(deliver_within)),
            complete_in: over_ms.map(|over_ms| until(over_ms, now_ms)),
            slot: pickup.as_ref().and_then(|pickup| pickup.slot),
            contact,
        };
        let committed = self.commit(new, guest_name, since, place);
        let placement = self.dispatcher.see_through(committed).await?;
        if let Some((connection_id, order_id)) = alone
            && is_not_taken(&placement)
        {
            self.gates.give_back(&who.tenant_id, &connection_id, &order_id).await;
        }
        match placement? {
            Placement::Taken { order, .. } => Ok((*order, subscription)),
            Placement::Known { order, same_request: true } => {
                let subscription = self.ledger.hub.watch(&who.tenant_id, &order, None);
                Ok((*order, subscription))
            }
            Placement::Known { order, same_request: false } => Err(request_id_reused(&order).into()),
            Placement::CheckNotFound => Err(checks::not_found().into()),
            Placement::CheckClosed(check) => Err(checks::has_ended(&check).into()),
            Placement::CheckElsewhere(check) => Err(check_at_another_pos(&check).into()),
            Placement::SlotFull => Err(self.refuse_full(who, &store, pickup).await),
        }
    }

    /// How the order comes through its gate, which refuses it before anything is done about it.
    async fn gate(
        &self,
        who: &Identity,
        store: &Store,
        kind: (Product, ServiceMode),
        (asked, now_ms): (Asked, i64),
        link: Option<&Link>,
    ) -> Result<Passed, Failure> {
        let connection_id = link.map(|link| link.connection.connection_id.as_str());
        let (gate, fallback) = self.gates.at(&who.tenant_id, store, kind, connection_id, asked).await;
        match (gate.state(), fallback) {
            (GateState::Diverted, Some(fallback)) => Ok(Passed::Diverted(fallback)),
            (GateState::Open | GateState::Diverted | GateState::Unspecified, _) => Ok(Passed::Open),
            (GateState::Hold, _) => Ok(Passed::Held),
            // Those that are held already go before it.
            (GateState::Probation, None) if holds(store, kind.0) => Ok(Passed::Held),
            (GateState::Probation, fallback) => Ok(Passed::Alone(fallback)),
            (GateState::Closed, _) => Err(gate::closed(&gate, now_ms)),
        }
    }

    /// Where an order goes that came through its gate and does not wait.
    async fn way(
        &self,
        tenant_id: &Arc<str>,
        gate: Passed,
        order: &Order,
        (store, kind, connection_id): (&Store, (Product, ServiceMode), &str),
    ) -> Result<Way, Error> {
        let fallback = match gate {
            Passed::Diverted(fallback) => return Ok(Way::ToFallback(fallback)),
            _ if self.dispatcher.must_let_entries_pass(tenant_id, order, connection_id).await => {
                return Ok(Way::AfterEntries);
            }
            Passed::Open | Passed::Held => return Ok(Way::ToPos { alone: false }),
            Passed::Alone(fallback) => fallback,
        };
        if self.gates.let_through(tenant_id, connection_id, &order.order_id).await? {
            return Ok(Way::ToPos { alone: true });
        }
        match fallback {
            Some(fallback) => Ok(Way::ToFallback(fallback)),
            None => {
                let gate = self.gates.at(tenant_id, store, kind, Some(connection_id), Asked::AtPos).await.0;
                Err(gate::closed(&gate, self.dispatcher.clock.now_unix_ms()).into())
            }
        }
    }

    async fn refuse_full(&self, who: &Identity, store: &Store, pickup: Option<Pickup>) -> Error {
        match pickup {
            Some(pickup) => self.slot_full(who, store, &pickup).await,
            None => Failure::internal("an order without a pickup time found its slot full", &store.store_id).into(),
        }
    }

    /// Writes the order and begins to send it.
    fn commit(
        &self,
        new: NewOrder,
        guest_name: String,
        since: Instant,
        place: Option<Place>,
    ) -> impl Future<Output = Result<Placement, Error>> + Send + use<> {
        let this = self.clone();
        async move {
            let tenant_id = Arc::clone(&new.tenant_id);
            let placement = this.ledger.place(new).await?;
            if let Placement::Taken { order, check } = &placement {
                this.ledger.tell(&Arc::new(Order::clone(order)));
                tracing::debug!(order.id = %order.order_id, store.id = %order.store_id, state = ?order.state(), "taken");
                if order.state() == OrderState::Sending {
                    let (order, check) = (Order::clone(order), check.as_deref().cloned());
                    this.dispatcher.begin(Begun { tenant_id, order, check, guest_name, since, place });
                }
            }
            Ok(placement)
        }
    }

    /// Waits until the POS has answered, or the time is over, and tells the order as it is then.
    async fn wait_for_pos(&self, order: Order, news: Subscription, until: Instant) -> Order {
        wait_until(order, news, until, |order| !goes_on(order)).await
    }

    /// An order by either key.
    pub(crate) async fn find(&self, who: &Identity, request: &GetOrderRequest) -> Result<Order, Error> {
        let storage = &self.ledger.storage;
        let (found, field, key) = match &request.key {
            Some(get_order_request::Key::OrderId(id)) if !accept::can_be_id(id) => (Ok(None), "order_id", id),
            Some(get_order_request::Key::RequestId(id)) if !accept::can_be_id(id) => (Ok(None), "request_id", id),
            Some(get_order_request::Key::OrderId(id)) => (storage.order(&who.tenant_id, id).await, "order_id", id),
            Some(get_order_request::Key::RequestId(id)) => {
                let known = storage.order_by_request(&who.tenant_id, &who.caller, id).await;
                (known.map(|known| known.map(|known| known.order)), "request_id", id)
            }
            None => {
                return Err(Failure::field("REQUIRED", "key", "give order_id or request_id").into());
            }
        };
        found.map_err(Error::Read)?.ok_or_else(|| order_not_found(field, key).into())
    }

    /// An order by its id.
    pub(crate) async fn find_by_id(&self, who: &Identity, order_id: String) -> Result<Order, Error> {
        self.find(who, &GetOrderRequest { key: Some(get_order_request::Key::OrderId(order_id)) }).await
    }

    /// Cancels an order that has not arrived yet: its request_id is taken by a cancelled order without content.
    pub(crate) async fn cancel_unseen(
        &self,
        who: &Identity,
        request_id: String,
        request: &CancelOrderRequest,
        wait: Duration,
    ) -> Result<Order, Error> {
        accept::check_request_id(&request_id)?;
        let product = accept::check_product(request.product)?;
        let store = self.reader.stores.get(&request.store_id).await?;
        let now_ms = time::now_unix_ms();
        let now = time::from_unix_ms(now_ms);
        let order = Order {
            order_id: ambient::new_id().to_string(),
            store_id: store.store_id.clone(),
            product: product.into(),
            state: OrderState::Cancelled.into(),
            version: 1,
            business_date: business_date(&store, now_ms).unwrap_or_default(),
            cause: "CANCELLED_BEFORE_SEEN".to_owned(),
            create_time: Some(now),
            update_time: Some(now),
            ..Order::default()
        };
        let new = NewOrder {
            tenant_id: Arc::clone(&who.tenant_id),
            caller: Arc::clone(&who.caller),
            request_id,
            request_hash: Vec::new(),
            order,
            lease: Duration::ZERO,
            hold: Duration::ZERO,
            complete_in: None,
            slot: None,
            contact: None,
        };
        match self.ledger.place(new).await? {
            Placement::Taken { order, .. } => Ok(*order),
            // It arrived at the same moment.
            Placement::Known { order, .. } => self.cancel(who, *order, &request.reason, wait).await,
            Placement::CheckNotFound
            | Placement::CheckClosed(_)
            | Placement::CheckElsewhere(_)
            | Placement::SlotFull => Err(checks::not_found().into()),
        }
    }
}

/// Whether an order provably was not stored.
fn is_not_taken(placement: &Result<Placement, Error>) -> bool {
    match placement {
        Ok(placement) => !matches!(placement, Placement::Taken { .. }),
        Err(Error::Storage(StorageError::Refused(_)) | Error::Queue(Rejected::Overloaded)) => true,
        Err(_) => false,
    }
}

/// What its gate is asked for an order.
fn asked(store: &Store, policy: &ProductPolicy, request: &PlaceOrderRequest, now_ms: i64) -> Result<Asked, Failure> {
    Ok(match &request.pickup_time {
        _ if purpose(request) == OrderPurpose::Test => Asked::AtPos,
        Some(at) => {
            let kitchen = kitchen(store, policy, request.lines.iter().map(|line| line.item_id.as_str()))?;
            let fires_later = kitchen.fire_ms(time::to_unix_ms(at)).is_some_and(|fire_ms| fire_ms > now_ms);
            if fires_later { Asked::Later } else { Asked::Now }
        }
        None => Asked::Now,
    })
}

/// How an order comes through its gate.
#[derive(Debug)]
enum Passed {
    Open,
    /// It is taken, and kept until its connection is back.
    Held,
    /// If no other one is under way to the connection; else to the fallback, if there is one.
    Alone(Option<Fallback>),
    /// To what stands in for the POS.
    Diverted(Fallback),
}

/// Where an order goes.
#[derive(Debug)]
enum Way {
    /// It waits for its fire time or its connection.
    Later,
    /// The POS is told first of the rounds before it, which the kitchen has.
    AfterEntries,
    ToPos {
        /// To a connection on probation, which it has claimed.
        alone: bool,
    },
    ToFallback(Fallback),
}

/// Begins the first attempt of an order. Returns its lease.
fn begin(order: &mut Order, (attempt, lease): (Attempt, Duration)) -> Duration {
    order.attempts.push(attempt);
    order.set_state(OrderState::Sending);
    lease
}

/// How the order's first line is served, by which its connection is found. A check stays on the connection that it was
/// opened on, however its lines are served.
fn mode(request: &PlaceOrderRequest, product: Product) -> ServiceMode {
    match (product, request.lines.first().map(|line| line.service_mode())) {
        (Product::Table, _) => table_mode().1,
        (_, None) => ServiceMode::Unspecified,
        (_, Some(ServiceMode::Unspecified)) => default_service_mode(product),
        (_, Some(said)) => said,
    }
}

fn purpose(request: &PlaceOrderRequest) -> OrderPurpose {
    match request.purpose() {
        OrderPurpose::Unspecified => OrderPurpose::Live,
        known => known,
    }
}

/// Whether news of the POS may come soon: not while it waits for its fire time, or for its POS to be back.
fn goes_on(order: &Order) -> bool {
    let waits = matches!(order.hold_reason(), HoldReason::FireTime | HoldReason::Link);
    lifecycle::is_in_flight(order.state()) && !waits
}

fn positive(duration: Option<&prost_types::Duration>) -> Option<Duration> {
    duration.and_then(time::from_proto_duration).filter(|duration| !duration.is_zero())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn until(unix_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(unix_ms.saturating_sub(now_ms)).unwrap_or(0))
}

pub(crate) fn time_zone_unknown(store: &Store) -> Failure {
    Failure::internal("a store's time zone is unknown here", &store.time_zone)
}

/// Waits until the order is as it should be, or the time is over, and tells it as it is then.
pub(crate) async fn wait_until(
    mut order: Order,
    news: Subscription,
    until: Instant,
    is_done: impl Fn(&Order) -> bool,
) -> Order {
    while !is_done(&order)
        && let Ok(Ok(newer)) = tokio::time::timeout_at(until, news.next()).await
    {
        if newer.version > order.version {
            order = Arc::unwrap_or_clone(newer);
        }
    }
    order
}

/// How long an answer may wait for the POS's.
pub(crate) fn check_wait(wait: Option<&prost_types::Duration>) -> Result<Duration, Failure> {
    let Some(wait) = wait else { return Ok(Duration::ZERO) };
    match time::from_proto_duration(wait) {
        Some(wait) if wait <= MAX_WAIT => Ok(wait),
        _ => Err(Failure::field("OUT_OF_RANGE", "wait", "must be 0 to 30 s")),
    }
}

fn order_not_found(field: &str, key: &str) -> Failure {
    let shown: String = key.chars().take(64).collect();
    Failure::new(Code::NotFound, "ORDER_NOT_FOUND", format!("there is no order {shown:?}"))
        .violation(field, "names no order")
}

fn menu_of_another_pos(connection_id: &str) -> Failure {
    let message = format!(
        "such orders go to the connection {connection_id:?}, but the store's menu is that of another POS; give the store \
         one connection, or let this one serve the menu as well"
    );
    Failure::new(Code::FailedPrecondition, "MENU_OF_ANOTHER_POS", message).meta("connection_id", connection_id)
}

fn check_at_another_pos(check: &Check) -> Failure {
    let connection_id = &check.connection_id;
    let message = format!(
        "the table's check stands at the POS of the connection {connection_id:?}, and orders go to another one by now; ask \
         the staff to close it there, then open a new check"
    );
    Failure::new(Code::FailedPrecondition, "CHECK_AT_ANOTHER_POS", message).meta("connection_id", connection_id)
}

fn request_id_reused(order: &Order) -> Failure {
    let message = "this request_id was used for another order; choose a new one for a new order";
    Failure::new(Code::AlreadyExists, "REQUEST_ID_REUSED", message)
        .meta("order_id", &order.order_id)
        .violation("request_id", "was used with another body")
}
