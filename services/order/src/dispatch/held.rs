//! What waits: orders for their fire time, rounds for their turn.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{ambient, menu_time::MenuTime, time};
use posmesh_pricing::{Terms, default_service_mode, price_lines};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{
        Attempt, Check, GateState, HoldReason, LineModifier, ModifierInput, Order, OrderLineInput, OrderState,
    },
    store::v1::{ProductPolicy, Store},
};
use tokio::time::Instant;

use super::{Begun, Dispatcher};
use crate::{
    domain::{
        business_day::end_of_day_ms,
        entry::may_divert,
        gate::{Asked, hold_for, waits_for_pos},
        lifecycle::{Event, Why, is_divert, submits},
        pos::service_mode,
    },
    gate::Fallback,
    ledger::Applied,
    peers::Link,
    storage::{CheckChange, Turn, TurnTaken},
};

const DEFAULT_ROUND_WAIT: Duration = Duration::from_secs(10);
/// A round that may pass looks this often, at most and at least, whether it may by now.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A round looks this often whether those before it, which the kitchen has, are entered at the POS.
pub(crate) const BEHIND_ENTRIES: Duration = Duration::from_millis(500);
/// What falls due while the clocks cannot be trusted is looked at again after about this.
const PAUSE: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// Looks at an order again when the clocks may be trusted by then.
    pub(super) async fn pause(&self, tenant_id: &str, order: &Order) {
        self.look_again(tenant_id, order, PAUSE.mul_f64(ambient::jitter(0.5, 1.5))).await;
    }

    pub(super) async fn look_again(&self, tenant_id: &str, order: &Order, due_in: Duration) {
        if let Err(error) = self.ledger.storage.put_off(tenant_id, &order.order_id, order.version, Some(due_in)).await {
            tracing::warn!(%error, order.id = %order.order_id, "an order could not be put off; its lease will end");
        }
    }

    /// Whether the business day of an order that waits is over. A store that is not known now does not end it.
    pub(super) async fn is_of_yesterday(&self, order: &Order) -> bool {
        let Ok(store) = self.reader.stores.get(&order.store_id).await else { return false };
        end_of_day_ms(&store, &order.business_date).is_some_and(|end_ms| end_ms <= time::now_unix_ms())
    }

    /// Sends an order whose fire time has come, or whose connection is back. The guest has been told that it is taken: what speaks against it by now
    /// is noted, and the POS decides.
    pub(super) async fn fire(&self, tenant_id: &Arc<str>, order: Order) {
        let is_timed = order.hold_reason() == HoldReason::FireTime;
        let early = order.fire_time.as_ref().filter(|_| is_timed).map(time::until).unwrap_or_default();
        if early > self.config.lease_margin {
            // The database's clock runs ahead of this one.
            return self.look_again(tenant_id, &order, early).await;
        }
        let mode = service_mode(&order);
        let link = match self.reader.link_now(&order.store_id, order.product(), mode).await {
            Ok(link) => link,
            Err(failure) => {
                tracing::warn!(order.id = %order.order_id, %failure, "it is time, but nobody tells where the order goes");
                let why = Why::new(failure.reason(), failure.message());
                let noted = self.note(tenant_id, order, why).await;
                let pause = self.config.retry_cap.mul_f64(ambient::jitter(0.3, 0.7));
                // Unless somebody took it back meanwhile, or sent it.
                if noted.state() == OrderState::Held {
                    self.look_again(tenant_id, &noted, pause).await;
                }
                return;
            }
        };
        let fallback = match self.way(tenant_id, &order, &link).await {
            Way::Wait => return self.await_link(tenant_id, order, &link).await,
            Way::ToPos => None,
            Way::ToFallback(fallback) => Some(fallback),
        };
        let order = match self.objection(&order, &link).await {
            Some(why) => {
                tracing::warn!(order.id = %order.order_id, cause = why.cause, "sent all the same: {}", why.message);
                self.note(tenant_id, order, why).await
            }
            None => order,
        };
        let since = Instant::now();
        let (attempt, lease) = match &fallback {
            Some(fallback) => self.divert_attempt(0, fallback),
            None => self.next_attempt(0, Some(&link)),
        };
        self.send(tenant_id, order, None, attempt, lease, since).await;
    }

    /// Where the gate lets an order go that was taken before. Where its product is not held, it goes in any case: the
    /// guest has been told that it is taken.
    async fn way(&self, tenant_id: &Arc<str>, order: &Order, link: &Link) -> Way {
        let Ok(store) = self.reader.stores.get(&order.store_id).await else { return Way::ToPos };
        let (product, connection_id) = (order.product(), link.connection.connection_id.as_str());
        let is_held = order.hold_reason() == HoldReason::Link;
        let otherwise = if is_held || waits_for_pos(&store, product) { Way::Wait } else { Way::ToPos };
        // What was heard of its POS may not be so any more.
        if matches!(otherwise, Way::Wait) && self.gates.has_lost_links(!is_held) {
            return otherwise;
        }
        let kind = (product, service_mode(order));
        let (gate, fallback) = self.gates.at(tenant_id, &store, kind, Some(connection_id), Asked::AtPos).await;
        let fallback = fallback.filter(|_| may_divert(order));
        match (gate.state(), fallback) {
            (GateState::Open | GateState::Unspecified, _) => Way::ToPos,
            (GateState::Diverted, Some(fallback)) => Way::ToFallback(fallback),
            (GateState::Hold | GateState::Closed | GateState::Diverted, _) => otherwise,
            (GateState::Probation, fallback) => {
                let let_through = self.is_let_through(tenant_id, connection_id, &order.order_id).await;
                if let_through { Way::ToPos } else { fallback.map_or(otherwise, Way::ToFallback) }
            }
        }
    }

    async fn is_let_through(&self, tenant_id: &Arc<str>, connection_id: &str, order_id: &str) -> bool {
        self.gates.let_through(tenant_id, connection_id, order_id).await.unwrap_or_else(|error| {
            tracing::warn!(%error, order.id = order_id, "nobody tells whether the order may go");
            false
        })
    }

    /// Whether an order that is about to be sent again, or a round, may go to its POS: not while that is away, and one at a
    /// time until one is there.
    pub(super) async fn may_reach_pos(&self, tenant_id: &Arc<str>, order: &Order, connection_id: &str) -> bool {
        let store = self.reader.stores.get(&order.store_id).await;
        if store.is_ok_and(|store| !waits_for_pos(&store, order.product())) {
            return true;
        }
        if self.gates.is_away(connection_id) {
            return false;
        }
        !self.gates.is_on_probation(connection_id)
            || self.is_let_through(tenant_id, connection_id, &order.order_id).await
    }

    /// Keeps an order back whose POS is away; it is looked at again soon, and at its deadline at the latest.
    pub(super) async fn keep_back(&self, tenant_id: &str, order: &Order) {
        let left = order.deliver_by.as_ref().map_or(Duration::MAX, time::until);
        let pause = self.config.retry_cap.mul_f64(ambient::jitter(0.3, 0.7));
        self.look_again(tenant_id, order, pause.min(left)).await;
    }

    /// Holds an order until its connection is back; from its fire time on it has as long as one that comes then.
    async fn await_link(&self, tenant_id: &Arc<str>, order: Order, link: &Link) {
        let connection_id = link.connection.connection_id.clone();
        if order.hold_reason() == HoldReason::Link && order.awaited_connection_id == connection_id {
            return self.put_off(tenant_id, &order).await;
        }
        let deliver_by = match self.reader.stores.get(&order.store_id).await {
            Ok(store) if order.hold_reason() != HoldReason::Link => {
                let hold_for = i64::try_from(hold_for(&store, order.product()).as_millis()).unwrap_or(i64::MAX);
                let by_ms = self.clock.now_unix_ms().saturating_add(hold_for);
                let end_ms = end_of_day_ms(&store, &order.business_date).unwrap_or(i64::MAX);
                time::from_unix_ms(by_ms.min(end_ms))
            }
            _ => order.deliver_by.unwrap_or_default(),
        };
        let event = Event::LinkAwaited { connection_id, deliver_by };
        if let Err(error) = self.apply(tenant_id, order, event).await {
            tracing::warn!(%error, "an order whose POS is away could not be held yet");
        }
    }

    /// Notes why an order waits, or what speaks against it, and tells it as it is then.
    async fn note(&self, tenant_id: &Arc<str>, order: Order, why: Why) -> Order {
        let due = |next: &Order| self.due(next).map(|_| self.lease());
        let noted = self.ledger.apply(tenant_id, order.clone(), Event::Noticed(why), CheckChange::default(), due).await;
        match noted {
            Ok(Applied::Changed { order, .. } | Applied::Unchanged(order)) => Arc::unwrap_or_clone(order),
            Err(error) => {
                tracing::warn!(%error, order.id = %order.order_id, "what speaks against an order could not be noted");
                order
            }
        }
    }

    /// What the menu says by now against an order that was taken.
    async fn objection(&self, order: &Order, link: &Link) -> Option<Why> {
        let menu = self.reader.menu_link(&order.store_id).await.ok()?;
        if menu.connection.connection_id != link.connection.connection_id {
            return Some(Why::new("MENU_OF_ANOTHER_POS", "the store's menu is that of another POS by now"));
        }
        let store = self.reader.stores.get(&order.store_id).await.ok()?;
        let catalog = self.reader.catalog(&order.store_id, order.product()).await.ok()?;
        let lines: Vec<OrderLineInput> = order.lines.iter().map(to_input).collect();
        let wanted_ms = order.pickup_time.as_ref().map_or_else(|| self.clock.now_unix_ms(), time::to_unix_ms);
        let closed = MenuTime::at(&catalog.catalog().menu_periods, &store.time_zone, wanted_ms).closed;
        let default_mode = default_service_mode(order.product());
        let terms = Terms { default_mode, locales: &store.locales, guest_locale: "", closed: &closed };
        match price_lines(&catalog, &lines, terms) {
            Err(problems) => {
                let problem = problems.first()?;
                Some(Why::new(problem.reason.as_str(), problem.to_string()))
            }
            Ok(quote) => {
                let total = |price: &Option<posmesh_proto::order::v1::Price>| price.as_ref()?.total.clone();
                let (agreed, now) = (total(&order.price)?, total(&quote.price)?);
                let words = || format!("it costs {} {} by now, not {}", now.amount, now.currency_code, agreed.amount);
                (agreed != now).then(|| Why::new("PRICE_CHANGED", words()))
            }
        }
    }

    /// Begins the attempt of a round if it is its turn by now.
    pub(super) async fn take_turn(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>) {
        let since = Instant::now();
        let sent = submits(&order).rev().find(|attempt| !is_divert(attempt));
        let (attempt, lease) = match sent {
            // A round stays on its check's connection, as that is now.
            Some(before) => match self.reader.link_to(&before.connection_id, 0).await {
                Ok(link) => self.next_attempt(0, Some(&link)),
                Err(_) => self.attempt_like(before),
            },
            None => self.first_attempt(&order, check.as_ref()).await,
        };
        let diversion = self.diversion(tenant_id, &order, &attempt.connection_id).await;
        if diversion.is_none() && self.must_let_entries_pass(tenant_id, &order, &attempt.connection_id).await {
            return self.look_again(tenant_id, &order, BEHIND_ENTRIES.mul_f64(ambient::jitter(0.5, 1.5))).await;
        }
        let probation = attempt.connection_id.clone();
        let is_alone = diversion.is_none() && self.gates.is_on_probation(&probation);
        if diversion.is_none() && !self.may_reach_pos(tenant_id, &order, &probation).await {
            return self.keep_back(tenant_id, &order).await;
        }
        let order_id = order.order_id.clone();
        let (attempt, lease) = diversion.unwrap_or((attempt, lease));
        let round_wait = self.round_wait(&order).await;
        let left = order.deliver_by.as_ref().map(time::until).unwrap_or_default();
        let hold = round_wait.map_or(left, |wait| (wait / 4).clamp(LOOKS.0, LOOKS.1).min(left));
        let now_ms = time::now_unix_ms();
        let turn = Turn {
            tenant_id: Arc::clone(tenant_id),
            order,
            attempt,
            lease,
            hold,
            passes_doubt_before_ms: round_wait.map(|wait| now_ms - i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
            now: time::from_unix_ms(now_ms),
        };
        let taken = self.ledger.storage.take_turn(turn).await;
        if is_alone && !matches!(taken, Ok(TurnTaken::Begun(_)) | Err(_)) {
            self.gates.give_back(tenant_id, &probation, &order_id).await;
        }
        match taken {
            Ok(TurnTaken::Begun(begun)) => {
                let (order, check) = *begun;
                self.ledger.tell(&Arc::new(order.clone()));
                if order.passed_doubtful_round {
                    tracing::warn!(order.id = %order.order_id, check.id = %check.check_id, "passes a round in doubt");
                }
                let guest_name = self.guest_name(tenant_id, &order).await;
                let tenant_id = Arc::clone(tenant_id);
                self.carry_out(Begun { tenant_id, order, check: Some(check), guest_name, since, place: None }).await;
            }
            Ok(TurnTaken::Waits(order)) => self.ledger.tell(&Arc::new(*order)),
            Ok(TurnTaken::Conflict(_) | TurnTaken::Missing) => {}
            Err(error) => tracing::warn!(%error, "a round could not take its turn yet"),
        }
    }

    /// The first attempt of a round: on its check's connection.
    async fn first_attempt(&self, order: &Order, check: Option<&Check>) -> (Attempt, Duration) {
        let connection_id = check.map(|check| check.connection_id.clone()).unwrap_or_default();
        let link = self.reader.link(&order.store_id, order.product(), service_mode(order)).await.ok();
        let link = match link.filter(|link| connection_id.is_empty() || link.connection.connection_id == connection_id)
        {
            None if !connection_id.is_empty() => self.reader.link_to(&connection_id, 0).await.ok().map(Arc::new),
            link => link,
        };
        let (attempt, lease) = self.next_attempt(0, link.as_deref());
        if link.is_some() { (attempt, lease) } else { (Attempt { connection_id, ..attempt }, lease) }
    }

    /// How long a round waits before it passes one in doubt; `None`: for ever.
    async fn round_wait(&self, order: &Order) -> Option<Duration> {
        let store = self.reader.stores.get(&order.store_id).await.ok()?;
        round_wait(policy_of(&store, Product::Table)?)
    }
}

fn policy_of(store: &Store, product: Product) -> Option<&ProductPolicy> {
    store.product_policies.iter().find(|policy| policy.product() == product)
}

/// Where an order goes that was taken before.
enum Way {
    ToPos,
    ToFallback(Fallback),
    /// Nowhere yet.
    Wait,
}

/// How long rounds wait for one in doubt by a policy; `None`: for ever.
pub(crate) fn round_wait(policy: &ProductPolicy) -> Option<Duration> {
    let wait = policy.round_wait.as_ref().and_then(time::from_proto_duration).unwrap_or(DEFAULT_ROUND_WAIT);
    policy.rounds_may_pass.then_some(wait)
}

fn to_input(line: &posmesh_proto::order::v1::OrderLine) -> OrderLineInput {
    OrderLineInput {
        item_id: line.item_id.clone(),
        quantity: line.quantity,
        modifiers: line.modifiers.iter().map(to_modifier_input).collect(),
        service_mode: line.service_mode,
        note: line.note.clone(),
    }
}

fn to_modifier_input(modifier: &LineModifier) -> ModifierInput {
    ModifierInput {
        group_id: modifier.group_id.clone(),
        modifier_id: modifier.modifier_id.clone(),
        quantity: modifier.quantity,
        modifiers: modifier.modifiers.iter().map(to_modifier_input).collect(),
    }
}
