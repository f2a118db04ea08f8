use posmesh_proto::order::v1::{AttemptOutcome, HoldReason};

use super::*;
use crate::storage::{SlotPlace, Turn, TurnTaken};

const SLOT_MS: i64 = 600_000;

/// For the slot that begins at noon, of which each takes two.
fn for_noon(request_id: &str) -> NewOrder {
    let slot = SlotPlace { pickup_ms: NOON_MS + 60_000, start_ms: NOON_MS, end_ms: NOON_MS + SLOT_MS, capacity: 2 };
    NewOrder { slot: Some(slot), ..new_order(request_id) }
}

fn later(new: NewOrder, by_ms: i64) -> NewOrder {
    let place = new.slot.unwrap();
    let slot = SlotPlace {
        pickup_ms: place.pickup_ms + by_ms,
        start_ms: place.start_ms + by_ms,
        end_ms: place.end_ms + by_ms,
        ..place
    };
    NewOrder { slot: Some(slot), ..new }
}

async fn pickups(storage: &Subject) -> Vec<(i64, i64)> {
    let mut pickups = storage.pickups(TENANT, "shibuya", NOON_MS, NOON_MS + 10 * SLOT_MS).await.unwrap();
    pickups.sort_unstable();
    pickups
}

pub(super) async fn a_slot_takes_so_many_orders_as_it_has_places(storage: Subject) {
    let batch = vec![for_noon("a"), for_noon("b"), for_noon("c"), new_order("at-once"), later(for_noon("d"), SLOT_MS)];
    let answers: Vec<Placement> = storage.place_batch(batch).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers[2], Placement::SlotFull);
    for (index, number) in [(0, "001"), (1, "002"), (3, "003"), (4, "004")] {
        assert_eq!(taken(answers[index].clone()).display_number, number);
    }
    assert_eq!(place(&storage, for_noon("e")).await, Placement::SlotFull);
    assert_eq!(storage.order_by_request(TENANT, "kiosk", "e").await.unwrap(), None, "a refusal leaves nothing");
    assert_eq!(pickups(&storage).await, [(NOON_MS + 60_000, 2), (NOON_MS + 60_000 + SLOT_MS, 1)]);
}

pub(super) async fn an_order_that_ended_without_reaching_the_pos_frees_its_place(storage: Subject) {
    for (index, end) in [OrderState::Rejected, OrderState::Expired, OrderState::Cancelled].into_iter().enumerate() {
        let hour = |new| later(new, index as i64 * 6 * SLOT_MS);
        let ended = take(&storage, hour(for_noon(&format!("{index}-a")))).await;
        let stays = take(&storage, hour(for_noon(&format!("{index}-b")))).await;
        change(&storage, to(&stays, OrderState::Completed)).await;
        assert_eq!(place(&storage, hour(for_noon(&format!("{index}-c")))).await, Placement::SlotFull);
        change(&storage, to(&ended, end)).await;
        take(&storage, hour(for_noon(&format!("{index}-d")))).await;
        assert_eq!(place(&storage, hour(for_noon(&format!("{index}-e")))).await, Placement::SlotFull);
    }
}

pub(super) async fn a_repeated_request_takes_no_second_place(storage: Subject) {
    let first = take(&storage, for_noon("a")).await;
    let known = Placement::Known { order: Box::new(first), same_request: true };
    let answers = storage.place_batch(vec![for_noon("a"), for_noon("a"), for_noon("b")]).await;
    assert_eq!(*answers[0].as_ref().unwrap(), known);
    assert_eq!(*answers[1].as_ref().unwrap(), known);
    taken(answers[2].clone().unwrap());
    assert_eq!(place(&storage, for_noon("a")).await, known, "it is known also when the slot is full");
    assert_eq!(pickups(&storage).await, [(NOON_MS + 60_000, 2)]);
}

pub(super) async fn slots_of_stores_and_tenants_and_times_are_counted_apart(storage: Subject) {
    for request_id in ["a", "b"] {
        take(&storage, for_noon(request_id)).await;
    }
    let mut elsewhere = for_noon("c");
    elsewhere.order.store_id = "shinjuku".into();
    take(&storage, elsewhere).await;
    take(&storage, NewOrder { tenant_id: "other".into(), ..for_noon("d") }).await;
    take(&storage, later(for_noon("e"), SLOT_MS)).await;
    assert_eq!(storage.pickups(TENANT, "shinjuku", NOON_MS, NOON_MS + SLOT_MS).await.unwrap(), [(NOON_MS + 60_000, 1)]);
    assert_eq!(storage.pickups(TENANT, "shibuya", NOON_MS, NOON_MS + 60_000).await.unwrap(), []);
}

pub(super) async fn orders_at_once_never_overbook_a_slot(storage: Subject) {
    for slot in 0..10 {
        let guests = (0..6).map(|guest| {
            let (storage, new) = (Arc::clone(&storage), later(for_noon(&format!("{slot}-{guest}")), slot * SLOT_MS));
            tokio::spawn(async move { place(&storage, new).await })
        });
        let placements = futures_util::future::join_all(guests).await.into_iter().map(Result::unwrap);
        let full = placements.filter(|placement| *placement == Placement::SlotFull).count();
        assert_eq!(full, 4);
    }
}

pub(super) async fn places_long_past_are_forgotten(storage: Subject) {
    take(&storage, for_noon("a")).await;
    take(&storage, later(for_noon("b"), SLOT_MS)).await;
    storage.forget_pickups(NOON_MS + SLOT_MS).await.unwrap();
    assert_eq!(pickups(&storage).await, [(NOON_MS + 60_000 + SLOT_MS, 1)]);
}

fn over(request_id: &str) -> NewOrder {
    NewOrder { complete_in: Some(Duration::ZERO), ..new_order(request_id) }
}

async fn complete(storage: &Subject) -> Vec<Order> {
    let completed = storage.complete_due(10, from_unix_ms(NOON_MS + 5000)).await.unwrap();
    completed.into_iter().map(|(tenant_id, order)| (assert_eq!(&*tenant_id, TENANT), order).1).collect()
}

pub(super) async fn an_order_that_the_pos_has_is_completed_when_its_time_is_over(storage: Subject) {
    for (request_id, state) in [("a", OrderState::Placed), ("b", OrderState::InPreparation), ("c", OrderState::Ready)] {
        let order = take(&storage, over(request_id)).await;
        change(&storage, to(&order, state)).await;
    }
    let not_yet = take(&storage, NewOrder { complete_in: Some(LEASE), ..new_order("d") }).await;
    change(&storage, to(&not_yet, OrderState::Placed)).await;
    let never = take(&storage, new_order("e")).await;
    change(&storage, to(&never, OrderState::Placed)).await;
    let mut completed = complete(&storage).await;
    completed.sort_by(|a, b| a.order_id.cmp(&b.order_id));
    let ids: Vec<&str> = completed.iter().map(|order| order.order_id.as_str()).collect();
    assert_eq!(ids, ["order-of-a", "order-of-b", "order-of-c"]);
    for order in &completed {
        assert_eq!((order.state(), order.cause.as_str()), (OrderState::Completed, "BUSINESS_DAY_ENDED"));
        assert_eq!((order.version, order.update_time), (3, Some(from_unix_ms(NOON_MS + 5000))));
        assert_eq!(read(&storage, &order.order_id).await, *order);
    }
    assert_eq!(complete(&storage).await, []);
}

pub(super) async fn an_order_that_the_pos_does_not_have_is_not_completed_by_time(storage: Subject) {
    use OrderState as S;
    for (index, state) in [S::Pending, S::Held, S::Sending, S::InDoubt, S::Rejected, S::Expired].iter().enumerate() {
        let order = take(&storage, over(&index.to_string())).await;
        change(&storage, to(&order, *state)).await;
    }
    assert_eq!(complete(&storage).await, []);
}

pub(super) async fn an_order_that_is_being_changed_is_not_completed_meanwhile(storage: Subject) {
    let order = take(&storage, over("a")).await;
    let being_changed = OrderChange { due_in: Some(LEASE), ..to(&order, OrderState::Placed) };
    change(&storage, being_changed.clone()).await;
    assert_eq!(complete(&storage).await, []);
    change(&storage, to(&being_changed.order, OrderState::Placed)).await;
    assert_eq!(complete(&storage).await.len(), 1);
}

pub(super) async fn an_order_that_waits_to_be_entered_is_completed_and_waits_on(storage: Subject) {
    let order = take(&storage, over("a")).await;
    change(&storage, super::gates::to_be_entered(&order)).await;
    let completed = complete(&storage).await;
    assert_eq!(completed.iter().map(Order::state).collect::<Vec<_>>(), [OrderState::Completed]);
    let claimed = storage.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap();
    assert_eq!(claimed.len(), 1, "the POS must still be told");
    assert_eq!(complete(&storage).await, []);
}

pub(super) async fn completers_at_once_never_complete_the_same_order(storage: Subject) {
    for index in 0..40 {
        let order = take(&storage, over(&index.to_string())).await;
        change(&storage, to(&order, OrderState::Placed)).await;
    }
    let replicas = (0..4).map(|_| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let some = complete(&storage).await;
                if some.is_empty() {
                    return mine;
                }
                mine.extend(some.into_iter().map(|order| (order.order_id, order.version)));
            }
        })
    });
    let completed = futures_util::future::join_all(replicas).await.into_iter().flat_map(Result::unwrap);
    let mut completed: Vec<_> = completed.collect();
    completed.sort();
    completed.dedup();
    // One that another replica had locked at that moment may remain.
    completed.extend(complete(&storage).await.into_iter().map(|order| (order.order_id, order.version)));
    assert_eq!(completed.len(), 40);
    assert!(completed.iter().all(|(_, version)| *version == 3));
}

fn due_at(store_id: &str, request_id: &str) -> NewOrder {
    let mut new = NewOrder { lease: Duration::ZERO, ..new_order(request_id) };
    new.order.store_id = store_id.into();
    new
}

async fn claim(storage: &Subject, room: &Room) -> Vec<String> {
    let claimed = storage.claim_due("replica-2", LEASE, room).await.unwrap();
    let mut stores: Vec<String> = claimed.into_iter().map(|claimed| claimed.order.store_id).collect();
    stores.sort();
    stores
}

pub(super) async fn a_store_with_many_due_orders_leaves_room_for_others(storage: Subject) {
    for index in 0..30 {
        take(&storage, due_at("busy", &format!("busy-{index}"))).await;
    }
    take(&storage, due_at("calm", "calm")).await;
    let room = Room { orders: 8, per_store: 3, stores: Vec::new() };
    assert_eq!(claim(&storage, &room).await, ["busy", "busy", "busy", "calm"]);
}

pub(super) async fn a_store_that_is_full_gets_nothing(storage: Subject) {
    for index in 0..30 {
        take(&storage, due_at("full", &format!("full-{index}"))).await;
    }
    for index in 0..3 {
        take(&storage, due_at("some", &format!("some-{index}"))).await;
    }
    take(&storage, due_at("calm", "calm")).await;
    let stores = vec![(TENANT.into(), "full".to_owned(), 0), (TENANT.into(), "some".to_owned(), 1)];
    let room = Room { orders: 4, per_store: 2, stores };
    assert_eq!(claim(&storage, &room).await, ["calm", "some"]);
}

/// A round that wants its turn, and may pass what has been in doubt since five seconds past noon.
fn turn(order: &Order) -> Turn {
    Turn {
        tenant_id: TENANT.into(),
        order: order.clone(),
        attempt: attempt(0),
        lease: LEASE,
        hold: LEASE,
        passes_doubt_before_ms: Some(NOON_MS + 5000),
        now: from_unix_ms(NOON_MS + 9000),
    }
}

/// In doubt since then.
async fn doubt(storage: &Subject, order: &Order, since_ms: i64) -> Order {
    let mut doubted = to(order, OrderState::InDoubt);
    let attempt = doubted.order.attempts.last_mut().unwrap();
    attempt.set_outcome(AttemptOutcome::InDoubt);
    attempt.end_time = Some(from_unix_ms(since_ms));
    assert_eq!(change(storage, doubted.clone()).await, Changed::Done { next_round: None });
    doubted.order
}

/// Three rounds on a check: one in doubt since noon, two that wait.
async fn three_rounds(storage: &Subject) -> [Order; 3] {
    let check = open(storage, "t1").await;
    let first = take(storage, new_round("a", &check.check_id)).await;
    let second = take(storage, new_round("b", &check.check_id)).await;
    let third = take(storage, new_round("c", &check.check_id)).await;
    [doubt(storage, &first, NOON_MS).await, second, third]
}

async fn begun(storage: &Subject, turn: Turn) -> Order {
    match storage.take_turn(turn).await.unwrap() {
        TurnTaken::Begun(begun) => begun.0,
        other => panic!("not begun: {other:?}"),
    }
}

pub(super) async fn a_round_that_waits_passes_one_that_is_long_in_doubt_and_is_marked(storage: Subject) {
    let [first, second, third] = three_rounds(&storage).await;
    let passed = begun(&storage, turn(&second)).await;
    assert_eq!((passed.state(), passed.passed_doubtful_round), (OrderState::Sending, true));
    assert_eq!((passed.version, passed.attempts.clone()), (second.version + 1, vec![attempt(1)]));
    assert_eq!(read(&storage, &second.order_id).await, passed);
    // The doubtful one does not have the turn any more: its end hands nothing on, that of the one that passed does.
    assert_eq!(end(&storage, &first).await, None);
    assert_eq!(end(&storage, &passed).await.unwrap().order_id, third.order_id);
    assert!(!read(&storage, &third.order_id).await.passed_doubtful_round);
}

pub(super) async fn a_round_passes_nothing_that_may_still_be_sent_or_is_in_doubt_for_too_short(storage: Subject) {
    let check = open(&storage, "t1").await;
    let first = take(&storage, new_round("a", &check.check_id)).await;
    let second = take(&storage, new_round("b", &check.check_id)).await;
    let waits = TurnTaken::Waits(Box::new(second.clone()));
    assert_eq!(storage.take_turn(turn(&second)).await.unwrap(), waits, "the first is being sent");
    doubt(&storage, &first, NOON_MS + 5001).await;
    assert_eq!(storage.take_turn(turn(&second)).await.unwrap(), waits, "it is in doubt for a short while");
    let never = Turn { passes_doubt_before_ms: None, ..turn(&second) };
    assert_eq!(storage.take_turn(never).await.unwrap(), waits, "the store does not want it");
    let patient = Turn { passes_doubt_before_ms: Some(NOON_MS + 5001), ..turn(&second) };
    assert!(begun(&storage, patient).await.passed_doubtful_round);
}

pub(super) async fn a_round_never_passes_one_that_waits_before_it(storage: Subject) {
    let [_, second, third] = three_rounds(&storage).await;
    assert_eq!(storage.take_turn(turn(&third)).await.unwrap(), TurnTaken::Waits(Box::new(third)));
    begun(&storage, turn(&second)).await;
}

pub(super) async fn a_doubtful_round_that_was_passed_goes_again_after_the_one_in_flight(storage: Subject) {
    let [first, second, third] = three_rounds(&storage).await;
    let passed = begun(&storage, turn(&second)).await;
    let absent = OrderChange { due_in: Some(Duration::ZERO), ..to(&first, OrderState::Pending) };
    assert_eq!(change(&storage, absent.clone()).await, Changed::Done { next_round: None });
    let TurnTaken::Waits(waits) = storage.take_turn(turn(&absent.order)).await.unwrap() else { panic!() };
    assert_eq!((waits.state(), waits.hold_reason()), (OrderState::Held, HoldReason::RoundBefore));
    assert_eq!(read(&storage, &first.order_id).await, *waits);
    let next = end(&storage, &passed).await.unwrap();
    assert_eq!((next.order_id.as_str(), next.attempts.len()), (first.order_id.as_str(), 2));
    assert_eq!(end(&storage, &next).await.unwrap().order_id, third.order_id);
}

pub(super) async fn a_doubtful_round_has_the_turn_again_when_the_one_that_passed_it_ends(storage: Subject) {
    let [_, second, third] = three_rounds(&storage).await;
    let passed = begun(&storage, turn(&second)).await;
    assert_eq!(end(&storage, &passed).await, None);
    let too_soon = Turn { passes_doubt_before_ms: Some(NOON_MS - 1), ..turn(&third) };
    assert_eq!(storage.take_turn(too_soon).await.unwrap(), TurnTaken::Waits(Box::new(third.clone())));
    assert!(begun(&storage, turn(&third)).await.passed_doubtful_round);
}

pub(super) async fn a_round_whose_turn_came_and_that_nobody_began_takes_it(storage: Subject) {
    let check = open(&storage, "t1").await;
    let first = take(&storage, new_round("a", &check.check_id)).await;
    take(&storage, new_round("b", &check.check_id)).await;
    let mut placed = to(&first, OrderState::Placed);
    placed.check.next_attempt = None;
    change(&storage, placed).await;
    let second = storage.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap().remove(0).order;
    let stale = Order { version: second.version - 1, ..second.clone() };
    assert_eq!(storage.take_turn(turn(&stale)).await.unwrap(), TurnTaken::Conflict(Box::new(second.clone())));
    let sent = begun(&storage, turn(&second)).await;
    assert!(!sent.passed_doubtful_round);
    assert_eq!(storage.claim_due("replica-3", LEASE, &Room::of(10)).await.unwrap(), [], "it is leased");
}

pub(super) async fn of_two_that_pass_at_once_one_does(storage: Subject) {
    for table in 0..10 {
        let check = open(&storage, &format!("t{table}")).await;
        let first = take(&storage, new_round(&format!("{table}-a"), &check.check_id)).await;
        let second = take(&storage, new_round(&format!("{table}-b"), &check.check_id)).await;
        doubt(&storage, &first, NOON_MS).await;
        let (one, other) = tokio::join!(storage.take_turn(turn(&second)), storage.take_turn(turn(&second)));
        let begun = [one.unwrap(), other.unwrap()].into_iter().filter(|t| matches!(t, TurnTaken::Begun(_))).count();
        assert_eq!(begun, 1);
        assert_eq!(read(&storage, &second.order_id).await.attempts.len(), 1);
    }
}
