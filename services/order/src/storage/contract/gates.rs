use posmesh_proto::order::v1::{AttemptKind, AttemptOutcome, HoldReason, Pause, PosEntry};

use super::*;
use crate::storage::{GateFacts, HeldOrders, LetThrough, Offline, Pace, ProbationClaim, Troubled};

async fn facts(storage: &Subject) -> GateFacts {
    storage.gate_facts().await.unwrap()
}

fn offline(version: i64) -> Offline {
    Offline { tenant_id: TENANT.into(), connection_id: "till".into(), version }
}

fn claim(order_id: &str, version: i64) -> ProbationClaim {
    ProbationClaim { offline: offline(version), order_id: order_id.into(), lease: LEASE }
}

async fn let_through(storage: &Subject, order_id: &str, version: i64) -> LetThrough {
    storage.claim_probation(&claim(order_id, version)).await.unwrap()
}

/// Held for the connection, the first of them the oldest.
async fn hold(storage: &Subject, request_id: &str, age: i64) -> Order {
    let mut new = new_order(request_id);
    new.order.attempts.clear();
    new.order.set_state(OrderState::Held);
    new.order.set_hold_reason(HoldReason::Link);
    new.order.awaited_connection_id = "till".into();
    new.order.create_time = Some(from_unix_ms(NOON_MS - age));
    take(storage, new).await
}

/// Due within this: at once, but for the time of a slow test.
const SOON: Pace = Pace { first_in: Duration::ZERO, gap: Duration::from_secs(3600), limit: 100 };

async fn due(storage: &Subject) -> Vec<String> {
    let claimed = storage.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap();
    claimed.into_iter().map(|claimed| claimed.order.order_id).collect()
}

pub(super) async fn what_waits_and_what_is_in_doubt_is_counted_by_store(storage: Subject) {
    let mut orders = Vec::new();
    for request_id in ["a", "b", "c", "d"] {
        let mut new = new_order(request_id);
        new.order.create_time = Some(posmesh_kit::time::now());
        orders.push(take(&storage, new).await);
    }
    // One of long ago.
    let mut old = new_order("old");
    old.order.create_time = Some(from_unix_ms(posmesh_kit::time::now_unix_ms() - 25 * 3600 * 1000));
    let old = take(&storage, old).await;
    change(&storage, to(&old, OrderState::InDoubt)).await;
    assert_eq!(facts(&storage).await, GateFacts::default(), "what goes well is not counted");
    for (order, state) in orders.iter().zip([OrderState::Pending, OrderState::InDoubt, OrderState::InDoubt]) {
        change(&storage, to(order, state)).await;
    }
    let count = |state, count| Troubled { tenant_id: TENANT.into(), store_id: "shibuya".into(), state, count };
    let mut troubled = facts(&storage).await.troubled;
    troubled.sort_by_key(|troubled| troubled.state as i32);
    assert_eq!(troubled, [count(OrderState::Pending, 1), count(OrderState::InDoubt, 2)]);
}

pub(super) async fn orders_that_wait_for_a_connection_are_counted_until_they_go(storage: Subject) {
    let held = hold(&storage, "a", 0).await;
    hold(&storage, "b", 0).await;
    let count = |count| HeldOrders {
        tenant_id: TENANT.into(),
        store_id: "shibuya".into(),
        connection_id: "till".into(),
        count,
        entries: 0,
    };
    assert_eq!(facts(&storage).await.held, [count(2)]);
    change(&storage, to(&held, OrderState::Sending)).await;
    assert_eq!(facts(&storage).await.held, [count(1)]);
}

pub(super) async fn held_orders_fall_due_one_after_the_other_oldest_first(storage: Subject) {
    for (request_id, age) in [("young", 1), ("old", 3), ("middle", 2)] {
        hold(&storage, request_id, age).await;
    }
    assert_eq!(due(&storage).await, Vec::<String>::new());
    storage.release_held(TENANT, "another", SOON).await.unwrap();
    storage.release_held("another", "till", SOON).await.unwrap();
    assert_eq!(due(&storage).await, Vec::<String>::new());
    storage.release_held(TENANT, "till", SOON).await.unwrap();
    assert_eq!(due(&storage).await, ["order-of-old"]);
    let at_once = Pace { gap: Duration::ZERO, limit: 2, ..SOON };
    storage.release_held(TENANT, "till", at_once).await.unwrap();
    assert_eq!(due(&storage).await, ["order-of-middle"], "the oldest one is under way, and counts");
}

pub(super) async fn a_release_brings_held_orders_forward_and_never_puts_them_off(storage: Subject) {
    hold(&storage, "a", 0).await;
    storage.release_held(TENANT, "till", SOON).await.unwrap();
    let later = Pace { first_in: Duration::from_secs(3600), ..SOON };
    storage.release_held(TENANT, "till", later).await.unwrap();
    assert_eq!(due(&storage).await, ["order-of-a"]);
}

pub(super) async fn a_held_order_that_a_replica_has_claimed_is_left_alone(storage: Subject) {
    let held = hold(&storage, "a", 0).await;
    storage.release_held(TENANT, "till", SOON).await.unwrap();
    assert_eq!(due(&storage).await, ["order-of-a"]);
    storage.release_held(TENANT, "till", SOON).await.unwrap();
    assert_eq!(due(&storage).await, Vec::<String>::new());
    assert!(storage.put_off(TENANT, &held.order_id, held.version + 1, Some(LEASE)).await.unwrap());
    storage.release_held(TENANT, "till", SOON).await.unwrap();
    assert_eq!(due(&storage).await, ["order-of-a"]);
}

/// The kitchen has it, and the POS must be told when its connection is back.
pub(super) fn to_be_entered(order: &Order) -> OrderChange {
    let mut placed = to(order, OrderState::Placed);
    placed.order.set_pos_entry(PosEntry::Due);
    placed.order.awaited_connection_id = "till".into();
    let attempt = &mut placed.order.attempts[0];
    attempt.set_kind(AttemptKind::Divert);
    attempt.set_outcome(AttemptOutcome::Placed);
    OrderChange { due_in: Some(LEASE), ..placed }
}

pub(super) async fn what_the_pos_must_be_told_of_is_counted_apart_and_falls_due_with_what_is_held(storage: Subject) {
    let printed = take(&storage, new_order("printed")).await;
    change(&storage, to_be_entered(&printed)).await;
    hold(&storage, "held", -5).await;
    let held = facts(&storage).await.held;
    assert_eq!(held.iter().map(|held| (held.count, held.entries)).collect::<Vec<_>>(), [(1, 1)]);
    let at_once = Pace { gap: Duration::ZERO, limit: 1, ..SOON };
    storage.release_held(TENANT, "till", at_once).await.unwrap();
    assert_eq!(due(&storage).await, ["order-of-printed"], "the oldest first");
    // While it is being entered it waits for nothing.
    let claimed = read(&storage, "order-of-printed").await;
    let mut entering = to(&claimed, OrderState::Placed);
    entering.order.attempts.push(Attempt { kind: AttemptKind::Enter.into(), ..attempt(2) });
    change(&storage, OrderChange { due_in: Some(LEASE), ..entering.clone() }).await;
    assert_eq!(facts(&storage).await.held[0].entries, 0);
    storage.release_held(TENANT, "till", Pace { limit: 10, ..at_once }).await.unwrap();
    assert_eq!(due(&storage).await, ["order-of-held"]);
}

pub(super) async fn an_order_that_the_pos_must_be_told_of_proves_nothing_until_it_was(storage: Subject) {
    let printed = take(&storage, new_order("a")).await;
    let waiting = to_be_entered(&printed);
    change(&storage, waiting.clone()).await;
    assert_eq!(let_through(&storage, "order-of-a", 7).await, LetThrough::Alone);
    let holder = facts(&storage).await.probations.remove(0).holder.unwrap();
    assert_eq!(holder.state, Some(OrderState::Sending));
    assert_eq!(let_through(&storage, "order-of-b", 7).await, LetThrough::NotYet);
    let mut entered = to(&waiting.order, OrderState::Placed);
    entered.order.set_pos_entry(PosEntry::Entered);
    change(&storage, entered).await;
    assert_eq!(let_through(&storage, "order-of-b", 7).await, LetThrough::Open);
}

pub(super) async fn a_pause_is_known_until_it_is_ended(storage: Subject) {
    let pause = |reason: &str| Pause { store_id: "shibuya".into(), reason: reason.into(), ..Pause::default() };
    storage.put_pause(TENANT, &pause("party")).await.unwrap();
    storage.put_pause(TENANT, &pause("flood")).await.unwrap();
    storage.put_pause("another", &pause("theirs")).await.unwrap();
    let mut pauses = facts(&storage).await.pauses;
    pauses.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(pauses, [("another".into(), pause("theirs")), (TENANT.into(), pause("flood"))]);
    storage.end_pause(TENANT, "shibuya").await.unwrap();
    storage.end_pause(TENANT, "unknown").await.unwrap();
    assert_eq!(facts(&storage).await.pauses, [("another".into(), pause("theirs"))]);
}

pub(super) async fn a_pause_that_is_over_is_forgotten_unless_another_one_took_its_place(storage: Subject) {
    let pause = |reason: &str| Pause { store_id: "shibuya".into(), reason: reason.into(), ..Pause::default() };
    storage.put_pause(TENANT, &pause("flood")).await.unwrap();
    storage.forget_pause(TENANT, &pause("party")).await.unwrap();
    storage.forget_pause("another", &pause("flood")).await.unwrap();
    assert_eq!(facts(&storage).await.pauses, [(TENANT.into(), pause("flood"))]);
    storage.forget_pause(TENANT, &pause("flood")).await.unwrap();
    assert_eq!(facts(&storage).await.pauses, []);
}

pub(super) async fn a_replica_that_missed_another_outage_does_not_find_the_connection_open(storage: Subject) {
    storage.note_offline(&[offline(7)]).await.unwrap();
    storage.open_probation(&offline(7)).await.unwrap();
    assert_eq!(let_through(&storage, "order-of-a", 7).await, LetThrough::Open);
    storage.note_offline(&[offline(9)]).await.unwrap();
    assert_eq!(let_through(&storage, "order-of-b", 7).await, LetThrough::Alone);
    assert_eq!(let_through(&storage, "order-of-c", 7).await, LetThrough::NotYet);
}

pub(super) async fn a_connection_on_probation_lets_one_order_through_at_a_time(storage: Subject) {
    storage.note_offline(&[offline(7)]).await.unwrap();
    let shown = facts(&storage).await.probations;
    assert_eq!((shown[0].offline.clone(), shown[0].opened_version, shown[0].holder.clone()), (offline(7), 0, None));
    assert_eq!(let_through(&storage, "order-of-a", 7).await, LetThrough::Alone);
    assert_eq!(let_through(&storage, "order-of-a", 7).await, LetThrough::Alone, "it has the turn already");
    assert_eq!(let_through(&storage, "order-of-b", 7).await, LetThrough::NotYet);
    take(&storage, new_order("a")).await;
    assert_eq!(let_through(&storage, "order-of-b", 7).await, LetThrough::NotYet);
    let holder = facts(&storage).await.probations.remove(0).holder.unwrap();
    assert_eq!((&*holder.order_id, holder.version, holder.state), ("order-of-a", 7, Some(OrderState::Sending)));
    // Another connection has a turn of its own.
    let mut other = claim("order-of-c", 1);
    other.offline.connection_id = "bar".into();
    assert_eq!(storage.claim_probation(&other).await.unwrap(), LetThrough::Alone);
    storage.give_back_probation(&other).await.unwrap();
    other.order_id = "order-of-d".into();
    assert_eq!(storage.claim_probation(&other).await.unwrap(), LetThrough::Alone);
}

pub(super) async fn one_in_doubt_blocks_the_next_and_one_that_was_refused_does_not(storage: Subject) {
    let_through(&storage, "order-of-a", 7).await;
    let order = take(&storage, new_order("a")).await;
    change(&storage, to(&order, OrderState::InDoubt)).await;
    assert_eq!(let_through(&storage, "order-of-b", 7).await, LetThrough::NotYet);
    let order = read(&storage, "order-of-a").await;
    change(&storage, to(&order, OrderState::Rejected)).await;
    assert_eq!(let_through(&storage, "order-of-b", 7).await, LetThrough::Alone);
}

pub(super) async fn an_order_that_is_there_opens_the_connection_until_it_is_offline_again(storage: Subject) {
    let_through(&storage, "order-of-a", 7).await;
    let order = take(&storage, new_order("a")).await;
    change(&storage, to(&order, OrderState::Placed)).await;
    assert_eq!(let_through(&storage, "order-of-b", 7).await, LetThrough::Open);
    assert_eq!(let_through(&storage, "order-of-c", 7).await, LetThrough::Open);
    assert_eq!(facts(&storage).await.probations[0].opened_version, 7, "others learn of it");
    storage.note_offline(&[offline(9)]).await.unwrap();
    storage.note_offline(&[offline(8)]).await.unwrap();
    assert_eq!(facts(&storage).await.probations[0].offline, offline(9));
    assert_eq!(let_through(&storage, "order-of-b", 9).await, LetThrough::Alone);
    storage.open_probation(&offline(9)).await.unwrap();
    assert_eq!(let_through(&storage, "order-of-c", 9).await, LetThrough::Open);
    storage.open_probation(&offline(7)).await.unwrap();
    assert_eq!(let_through(&storage, "order-of-c", 9).await, LetThrough::Open);
}

pub(super) async fn an_order_that_was_there_before_proves_nothing_after_another_outage(storage: Subject) {
    let_through(&storage, "order-of-a", 7).await;
    let order = take(&storage, new_order("a")).await;
    change(&storage, to(&order, OrderState::Placed)).await;
    assert_eq!(let_through(&storage, "order-of-b", 9).await, LetThrough::Alone);
    assert_eq!(let_through(&storage, "order-of-c", 9).await, LetThrough::NotYet);
}

pub(super) async fn a_claim_whose_order_never_came_does_not_last(storage: Subject) {
    let_through(&storage, "order-of-a", 7).await;
    assert_eq!(let_through(&storage, "order-of-b", 7).await, LetThrough::NotYet);
    let impatient = ProbationClaim { lease: Duration::ZERO, ..claim("order-of-b", 7) };
    assert_eq!(storage.claim_probation(&impatient).await.unwrap(), LetThrough::Alone);
}

pub(super) async fn of_many_that_claim_at_once_one_is_let_through(storage: Subject) {
    let claims = (0..20).map(|i| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move { let_through(&storage, &format!("order-{i}"), 7).await })
    });
    let mut alone = 0;
    for claimed in claims.collect::<Vec<_>>() {
        alone += usize::from(claimed.await.unwrap() == LetThrough::Alone);
    }
    assert_eq!(alone, 1);
}
