//! The gate of a store's product: whether an order is taken now, from everything that is known at this moment. Pure, and
//! asked on the way of every order.

use std::time::Duration;

use posmesh_kit::{
    hours::Opening,
    time::{from_proto_duration, from_unix_ms, to_unix_ms},
};
use posmesh_proto::{
    common::v1::{EvidenceKind, Product},
    order::v1::{Gate, GateReason, GateState, Pause},
    router::v1::{Link, LinkState},
    store::v1::{GateAction, GatePolicy, ProductPolicy, Store, StoreLifecycle},
};

const DEFAULT_DELIVER_WITHIN: Duration = Duration::from_secs(120);
const DEFAULT_HOLD_FOR: Duration = Duration::from_secs(15 * 60);
const DEFAULT_MAX_HELD: i32 = 100;
const DEFAULT_MAX_IN_DOUBT: i32 = 5;
const DEFAULT_MAX_WAITING: i32 = 100;
/// As the hop of a link that has failed.
const PRINTER: &str = "printer";

/// What a store has under way that speaks against more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    /// Nobody knows whether the POS has them.
    pub(crate) in_doubt: i64,
    /// Tried in vain; they wait to be sent again.
    pub(crate) waiting: i64,
    /// Held until the POS is back.
    pub(crate) held: i64,
}

/// What is known of the way to the POS.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Way<'a> {
    /// `None`: nothing is known of it.
    pub(crate) link: Option<&'a Link>,
    /// It was away, and no order has arrived there since.
    pub(crate) is_reopening: bool,
    /// The order that was let through then, of which nobody knows whether the POS has it.
    pub(crate) in_doubt: Option<&'a str>,
    /// The store has a fallback for such orders, which can be reached.
    pub(crate) can_divert: bool,
}

/// Everything that the rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The store.
    pub(crate) store: &'a Store,
    /// Which of its gates.
    pub(crate) product: Product,
    /// The store's hours at `now_ms`.
    pub(crate) opening: Opening,
    /// The way to the POS that takes the product's orders.
    pub(crate) way: Way<'a>,
    /// Of the store.
    pub(crate) load: Load,
    /// Of the store.
    pub(crate) pause: Option<&'a Pause>,
    /// Now.
    pub(crate) now_ms: i64,
}

/// What the gate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// An order that shall be sent now; or nothing but what to show.
    Now,
    /// An order that shall be sent later: only whether the staff take any.
    Later,
    /// An order that is to be brought to the POS whatever the store's hours and staff say: one that was taken before, or
    /// a test.
    AtPos,
}

/// The gate as it is.
pub(crate) fn gate(facts: &Facts<'_>, asked: Asked) -> Gate {
    let is_live = facts.store.lifecycle() == StoreLifecycle::Live || asked == Asked::AtPos;
    let Some(policy) = policy_of(facts.store, facts.product).filter(|_| is_live) else {
        return closed(facts, GateReason::NotSold, "the store is not live, or does not sell the product");
    };
    let found = match asked {
        Asked::Now => paused(facts).or_else(|| outside_hours(facts, policy)).or_else(|| at_pos(facts, policy)),
        Asked::Later => paused(facts),
        Asked::AtPos => at_pos(facts, policy),
    };
    found.unwrap_or_else(|| bare(facts, GateState::Open, GateReason::Unspecified, String::new()))
}

/// The gate of a product for whose orders the store has no connection.
pub(crate) fn unconnected(store: &Store, product: Product) -> Gate {
    Gate {
        store_id: store.store_id.clone(),
        product: product.into(),
        state: GateState::Closed.into(),
        reason: GateReason::NotSold.into(),
        message: "the store has no connection to a POS for such orders".to_owned(),
        ..Gate::default()
    }
}

/// How long a product's order may take to its POS, but for the time that it is held.
pub(crate) fn deliver_within(policy: &ProductPolicy) -> Duration {
    let said = policy.deliver_within.as_ref().and_then(from_proto_duration);
    said.filter(|within| !within.is_zero()).unwrap_or(DEFAULT_DELIVER_WITHIN)
}

/// How long an order of a product may be held.
pub(crate) fn hold_for(store: &Store, product: Product) -> Duration {
    let policy = policy_of(store, product).and_then(|policy| policy.gate.as_ref()?.hold_for.as_ref());
    policy.and_then(from_proto_duration).filter(|d| !d.is_zero()).unwrap_or(DEFAULT_HOLD_FOR)
}

/// Whether a product's orders are held while the POS is away, and nothing stands in for it.
pub(crate) fn holds(store: &Store, product: Product) -> bool {
    policy_of(store, product).is_some_and(|policy| when_offline(policy, false) == GateAction::Hold)
}

/// A product's policy, if its orders go to the store's fallback while the POS is away and the fallback is not.
pub(crate) fn diverting(store: &Store, product: Product) -> Option<&ProductPolicy> {
    policy_of(store, product).filter(|policy| when_offline(policy, true) == GateAction::Divert)
}

/// Whether orders of a product that were taken before wait while the POS is away. Only where the policy says that it is
/// sent whatever the link says, they do not.
pub(crate) fn waits_for_pos(store: &Store, product: Product) -> bool {
    policy_of(store, product).is_some_and(|policy| when_offline(policy, false) != GateAction::Take)
}

/// Whether the POS that a link leads to takes no orders: also one that died before its store closed, or since.
pub(crate) fn is_away(link: &Link) -> bool {
    match link.state() {
        LinkState::Offline => true,
        LinkState::Dormant => !link.cause.is_empty(),
        _ => false,
    }
}

/// Whether no order comes through to what this link leads to, or no ticket comes out there.
pub(crate) fn is_cut_off(link: &Link) -> bool {
    is_away(link) || prints_nothing(link)
}

/// Whether a pause is about a product now.
fn is_paused(pause: &Pause, product: Product, now_ms: i64) -> bool {
    !is_over(pause, now_ms) && (pause.products.is_empty() || pause.products.contains(&product.into()))
}

/// Whether a pause has ended by itself.
pub(crate) fn is_over(pause: &Pause, now_ms: i64) -> bool {
    pause.until.as_ref().is_some_and(|until| to_unix_ms(until) <= now_ms)
}

pub(crate) fn policy_of(store: &Store, product: Product) -> Option<&ProductPolicy> {
    store.product_policies.iter().find(|policy| policy.product() == product)
}

fn paused(facts: &Facts<'_>) -> Option<Gate> {
    let pause = facts.pause.filter(|pause| is_paused(pause, facts.product, facts.now_ms))?;
    // The staff's own words, or none.
    let gate = closed(facts, GateReason::Paused, pause.reason.as_str());
    Some(Gate { since: pause.pause_time, open_time: pause.until, ..gate })
}

/// What is picked up later is ordered at any time.
fn outside_hours(facts: &Facts<'_>, policy: &ProductPolicy) -> Option<Gate> {
    let ignores = policy.gate.as_ref().is_some_and(|gate| gate.ignores_opening_hours);
    let Opening::Closed { since_ms, until_ms } = facts.opening else { return None };
    if ignores || facts.product == Product::ToGo {
        return None;
    }
    let gate = closed(facts, GateReason::OutsideHours, "the store is closed now");
    Some(Gate { since: since_ms.map(from_unix_ms), open_time: until_ms.map(from_unix_ms), ..gate })
}

fn at_pos(facts: &Facts<'_>, policy: &ProductPolicy) -> Option<Gate> {
    offline(facts, policy)
        .or_else(|| without_printer(facts, policy))
        .or_else(|| overloaded(facts, policy))
        .or_else(|| reopening(facts, policy))
        .or_else(|| unknown(facts, policy))
}

fn offline(facts: &Facts<'_>, policy: &ProductPolicy) -> Option<Gate> {
    facts.way.link.filter(|link| is_away(link))?;
    act(facts, policy, when_offline(policy, facts.way.can_divert), GateReason::LinkOffline)
}

/// Orders are taken by the POS, but no ticket comes out.
fn without_printer(facts: &Facts<'_>, policy: &ProductPolicy) -> Option<Gate> {
    facts.way.link.filter(|link| prints_nothing(link))?;
    let action = match policy.gate.as_ref().map_or(GateAction::Unspecified, GatePolicy::when_printer_fails) {
        GateAction::Unspecified if needs_ticket(policy) => when_offline(policy, facts.way.can_divert),
        GateAction::Unspecified => GateAction::Take,
        said => said,
    };
    act(facts, policy, action, GateReason::Printer)
}

fn overloaded(facts: &Facts<'_>, policy: &ProductPolicy) -> Option<Gate> {
    let gate = policy.gate.unwrap_or_default();
    let Load { in_doubt, waiting, .. } = facts.load;
    if in_doubt >= limit(gate.max_in_doubt, DEFAULT_MAX_IN_DOUBT) {
        let words = format!("of {in_doubt} orders nobody knows whether the POS has them");
        return Some(closed(facts, GateReason::TooManyInDoubt, words));
    }
    let words = || format!("{waiting} orders could not be brought to the POS yet");
    let is_full = waiting >= limit(gate.max_waiting, DEFAULT_MAX_WAITING);
    is_full.then(|| closed(facts, GateReason::TooManyWaiting, words()))
}

fn reopening(facts: &Facts<'_>, policy: &ProductPolicy) -> Option<Gate> {
    let applies = facts.way.is_reopening && when_offline(policy, false) != GateAction::Take;
    let words = match facts.way.in_doubt {
        Some(order_id) => {
            format!("the POS was away, and nobody knows whether it has the order {order_id}: settle that")
        }
        None => "the POS was away; one order at a time is sent until one is there".to_owned(),
    };
    applies.then(|| of_link(facts, GateState::Probation, GateReason::LinkReopening, words))
}

fn unknown(facts: &Facts<'_>, policy: &ProductPolicy) -> Option<Gate> {
    let is_known = |link: &Link| matches!(link.state(), LinkState::Online | LinkState::Degraded | LinkState::Offline);
    if facts.way.link.is_some_and(is_known) {
        return None;
    }
    let action = policy.gate.as_ref().map_or(GateAction::Unspecified, GatePolicy::when_unknown);
    act(facts, policy, action, GateReason::LinkUnknown)
}

/// What the policy says about a link. `None`: orders are taken as far as this goes.
fn act(facts: &Facts<'_>, policy: &ProductPolicy, action: GateAction, reason: GateReason) -> Option<Gate> {
    let words = facts.way.link.map(|link| link.message.clone()).unwrap_or_default();
    let max_held = limit(policy.gate.unwrap_or_default().max_held, DEFAULT_MAX_HELD);
    match action {
        GateAction::Unspecified | GateAction::Take => None,
        GateAction::Divert if !facts.way.can_divert => None,
        GateAction::Divert => Some(of_link(facts, GateState::Diverted, reason, words)),
        GateAction::Hold if facts.load.held < max_held => Some(of_link(facts, GateState::Hold, reason, words)),
        GateAction::Hold => {
            let words = format!("{} orders are held already; {words}", facts.load.held);
            Some(of_link(facts, GateState::Closed, reason, words))
        }
        GateAction::Close => Some(of_link(facts, GateState::Closed, reason, words)),
    }
}

fn when_offline(policy: &ProductPolicy, can_divert: bool) -> GateAction {
    match policy.gate.as_ref().map_or(GateAction::Unspecified, GatePolicy::when_offline) {
        GateAction::Unspecified | GateAction::Divert if can_divert => GateAction::Divert,
        GateAction::Unspecified | GateAction::Divert if policy.product() == Product::ToGo => GateAction::Hold,
        GateAction::Unspecified | GateAction::Divert => GateAction::Close,
        said => said,
    }
}

fn prints_nothing(link: &Link) -> bool {
    link.state() == LinkState::Degraded && link.failing_hop == PRINTER
}

fn needs_ticket(policy: &ProductPolicy) -> bool {
    policy.success_evidence().any(|kind| matches!(kind, EvidenceKind::Kitchen | EvidenceKind::Printed))
}

fn limit(said: i32, default: i32) -> i64 {
    i64::from(if said > 0 { said } else { default })
}

fn closed(facts: &Facts<'_>, reason: GateReason, words: impl Into<String>) -> Gate {
    bare(facts, GateState::Closed, reason, words.into())
}

fn of_link(facts: &Facts<'_>, state: GateState, reason: GateReason, words: String) -> Gate {
    let link = facts.way.link;
    Gate {
        cause: link.map(|link| link.cause.clone()).unwrap_or_default(),
        failing_hop: link.map(|link| link.failing_hop.clone()).unwrap_or_default(),
        since: link.and_then(|link| link.since),
        ..bare(facts, state, reason, words)
    }
}

fn bare(facts: &Facts<'_>, state: GateState, reason: GateReason, message: String) -> Gate {
    Gate {
        store_id: facts.store.store_id.clone(),
        product: facts.product.into(),
        state: state.into(),
        reason: reason.into(),
        message,
        ..Gate::default()
    }
}

#[cfg(test)]
mod tests;
