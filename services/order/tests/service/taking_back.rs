//! Taking orders back, or lines of them, in every state.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{cause, failure};
use posmesh_order::storage::{CheckChange, OrderChange as StoredChange, Storage as _};
use posmesh_proto::{
    adapter::v1::{
        NotFound, PosEvent, PosOrderProgress, RefusedForNow, Rejected, change_outcome::Outcome as Change,
        submit_outcome::Outcome,
    },
    order::v1::{
        AttemptOutcome, EventResult, LineVoid, Order, OrderChange, OrderChangeKind, OrderChangeState, OrderState,
        PlaceOrderRequest, ResolutionKind, VoidLinesRequest,
    },
};
use tokio::sync::Notify;
use tonic::{Code, Status};

use crate::{
    attempts,
    fakes::{Act, BEER_PRICE, ChangeAct, Pos, Replica, beer, beer_to_go, config, replica, yen},
    field, memory,
};

fn changes(order: &Order) -> Vec<OrderChangeState> {
    order.changes.iter().map(|change| change.state()).collect()
}

fn now(request_id: &str) -> PlaceOrderRequest {
    PlaceOrderRequest { wait: None, ..beer_to_go(request_id) }
}

fn no(cause: &str) -> ChangeAct {
    ChangeAct::Answer(Change::Rejected(Rejected { cause: cause.into(), message: "no".into(), ..Rejected::default() }))
}

#[tokio::test]
async fn an_order_that_waits_for_a_retry_is_taken_back_at_once() {
    let pos = Pos::default();
    let busy = RefusedForNow { cause: cause::RATE_LIMITED.into(), ..RefusedForNow::default() };
    pos.script([Act::Answer(Outcome::RefusedForNow(busy))]);
    let slow =
        posmesh_order::Config { retry_base: Duration::from_secs(60), retry_cap: Duration::from_secs(60), ..config() };
    let replica = replica(memory(), &pos, &slow);
    let order = replica.place(now("r1")).await.unwrap();
    replica.until(&order.order_id, OrderState::Pending).await;
    let cancelled = replica.cancel_within(&order.order_id, 0).await.unwrap();
    assert_eq!((cancelled.state(), changes(&cancelled)), (OrderState::Cancelled, vec![OrderChangeState::Confirmed]));
    let again = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!(again.version, cancelled.version, "repeating it is no error and changes nothing");
    assert_eq!(pos.cancels(), 0);
}

#[tokio::test]
async fn an_order_that_the_pos_has_is_cancelled_when_the_pos_confirms_it_and_not_before() {
    let pos = Pos::default();
    let go = Arc::new(Notify::new());
    pos.script_changes([ChangeAct::Hang(Arc::clone(&go))]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let wished = replica.cancel_within(&order.order_id, 0).await.unwrap();
    assert_eq!((wished.state(), changes(&wished)), (OrderState::Placed, vec![OrderChangeState::Requested]));
    go.notify_one();
    let cancelled = replica.until_it(&order.order_id, |o| o.state() == OrderState::Cancelled).await;
    assert_eq!(
        (cancelled.cause.as_str(), changes(&cancelled)),
        ("CANCELLED_BY_CALLER", vec![OrderChangeState::Confirmed])
    );
    assert_eq!(attempts(&cancelled), [AttemptOutcome::Placed, AttemptOutcome::Changed]);
    let cancel = pos.state.lock().unwrap().cancels[0].clone();
    assert_eq!((cancel.change_reference, cancel.attempt), (cancelled.changes[0].change_id.clone(), 1));
    assert_eq!(cancel.order.unwrap().pos_order_references, cancelled.pos_order_references);
}

#[tokio::test]
async fn what_the_kitchen_has_begun_stays_and_the_caller_is_told_why() {
    let pos = Pos::default();
    pos.script_changes([no(cause::TOO_LATE)]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let refused = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!((refused.state(), changes(&refused)), (OrderState::Placed, vec![OrderChangeState::Refused]));
    assert_eq!((refused.changes[0].cause.as_str(), refused.attention.len()), (cause::TOO_LATE, 0));
    let again = replica.cancel(&order.order_id).await.unwrap_err();
    assert_eq!((again.code(), failure::reason(&again).as_str()), (Code::FailedPrecondition, "CANCEL_TOO_LATE"));
    assert_eq!(pos.cancels(), 1, "a kitchen that has begun is not asked again");
}

#[tokio::test]
async fn where_the_pos_cannot_the_staff_s_step_is_told_before_anything_is_written() {
    let pos = Pos::default();
    let step = "void it at the till".to_owned();
    pos.state.lock().unwrap().cannot =
        [("CANCEL_ORDER", &step), ("VOID_LINES", &step)].map(|(name, step)| (name.to_owned(), step.clone())).into();
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(two_beers("r1")).await.unwrap();
    let refused = replica.cancel(&order.order_id).await.unwrap_err();
    assert_eq!(
        (failure::reason(&refused).as_str(), refused.message()),
        ("CANCEL_NOT_SUPPORTED", "void it at the till")
    );
    let refused = void(&replica, &order, 1).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "VOID_NOT_SUPPORTED");
    assert_eq!(replica.order(&order.order_id).await, order);
}

#[tokio::test]
async fn a_wish_while_the_order_is_being_sent_is_carried_out_as_soon_as_the_pos_has_it() {
    let pos = Pos::default();
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(now("r1")).await.unwrap();
    pos.submitted.notified().await;
    let wished = replica.cancel_within(&order.order_id, 0).await.unwrap();
    assert_eq!((wished.state(), changes(&wished)), (OrderState::Sending, vec![OrderChangeState::Requested]));
    go.notify_one();
    let cancelled = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!((cancelled.state(), pos.cancels()), (OrderState::Cancelled, 1));
    assert!(cancelled.place_time.is_some(), "it was there");
}

#[tokio::test]
async fn a_wish_for_an_order_in_doubt_wins_when_its_absence_is_proven_and_nothing_more_is_sent() {
    let pos = Pos::default();
    pos.script([Act::Lose]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(now("r1")).await.unwrap();
    replica.until(&order.order_id, OrderState::InDoubt).await;
    let cancelled = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!((cancelled.state(), attempts(&cancelled)), (OrderState::Cancelled, vec![AttemptOutcome::Absent]));
    assert_eq!((pos.submits(), pos.cancels(), pos.orders()), (1, 0, 0));
}

#[tokio::test]
async fn a_wish_for_an_order_in_doubt_loses_when_it_is_there_and_the_kitchen_has_begun() {
    let pos = Pos::default();
    pos.script([Act::TakeAndLoseAnswer]);
    pos.script_changes([no(cause::TOO_LATE)]);
    pos.state.lock().unwrap().find_broken = true;
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(now("r1")).await.unwrap();
    replica.until(&order.order_id, OrderState::InDoubt).await;
    replica.cancel_within(&order.order_id, 0).await.unwrap();
    pos.state.lock().unwrap().find_broken = false;
    let kept = replica.until_it(&order.order_id, |o| changes(o) == [OrderChangeState::Refused]).await;
    assert_eq!(kept.state(), OrderState::Placed);
}

#[tokio::test]
async fn a_cancel_whose_answer_was_lost_is_found_and_not_asked_again() {
    let pos = Pos::default();
    pos.script_changes([ChangeAct::DoAndLoseAnswer]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let cancelled = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!((cancelled.state(), changes(&cancelled)), (OrderState::Cancelled, vec![OrderChangeState::Confirmed]));
    assert_eq!(pos.cancels(), 1);
}

#[tokio::test]
async fn a_cancel_that_got_lost_is_asked_again_once_it_can_take_effect_no_more() {
    let pos = Pos::default();
    pos.script_changes([ChangeAct::Lose]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let cancelled = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!(cancelled.state(), OrderState::Cancelled);
    assert_eq!(attempts(&cancelled), [AttemptOutcome::Placed, AttemptOutcome::Absent, AttemptOutcome::Changed]);
    let (first, second) = (&cancelled.attempts[1], &cancelled.attempts[2]);
    let ms = |time: &Option<prost_types::Timestamp>| posmesh_kit::time::to_unix_ms(time.as_ref().unwrap());
    assert!(ms(&second.begin_time) > ms(&first.not_after), "two writers at once");
    let references: Vec<String> =
        pos.state.lock().unwrap().cancels.iter().map(|c| c.change_reference.clone()).collect();
    assert_eq!(references[0], references[1], "the same reference, so that the POS recognizes it");
}

#[tokio::test]
async fn a_cancel_that_nobody_can_tell_the_end_of_goes_to_a_person_and_late_proof_still_counts() {
    let pos = Pos::default();
    pos.script_changes([ChangeAct::DoAndLoseAnswer]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    pos.state.lock().unwrap().find_broken = true;
    pos.script_changes((0..100).map(|_| ChangeAct::Lose));
    replica.cancel_within(&order.order_id, 0).await.unwrap();
    let told = replica.until_it(&order.order_id, |o| o.attention == ["CHANGE_IN_DOUBT"]).await;
    assert_eq!((told.state(), changes(&told)), (OrderState::Placed, vec![OrderChangeState::Requested]));
    pos.state.lock().unwrap().find_broken = false;
    let cancelled = replica.until_it(&order.order_id, |o| o.state() == OrderState::Cancelled).await;
    assert!(cancelled.attention.is_empty(), "the platform has found out");
}

#[tokio::test]
async fn a_cancel_that_the_pos_cannot_be_reached_for_is_refused_in_the_end_and_told_to_a_person() {
    let pos = Pos::default();
    let away = || {
        let why = posmesh_proto::adapter::v1::NotHandedOver { cause: cause::NETWORK_DOWN.into(), ..Default::default() };
        ChangeAct::Answer(Change::NotHandedOver(why))
    };
    pos.script_changes((0..1_000).map(|_| away()));
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let kept = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!((kept.state(), changes(&kept)), (OrderState::Placed, vec![OrderChangeState::Refused]));
    assert_eq!(
        (kept.changes[0].cause.as_str(), kept.attention.as_slice()),
        (cause::NETWORK_DOWN, &["CHANGE_REFUSED".to_owned()][..])
    );
}

#[tokio::test]
async fn a_pos_that_says_when_to_come_back_is_not_asked_before() {
    let pos = Pos::default();
    let later = RefusedForNow {
        cause: cause::TABLE_LOCKED.into(),
        retry_after: Some(prost_types::Duration { seconds: 0, nanos: 700_000_000 }),
        ..RefusedForNow::default()
    };
    pos.script([Act::Answer(Outcome::RefusedForNow(later.clone()))]);
    pos.script_changes([ChangeAct::Answer(Change::RefusedForNow(later))]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let cancelled = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!(cancelled.state(), OrderState::Cancelled);
    let begin_ms: Vec<i64> =
        cancelled.attempts.iter().map(|a| posmesh_kit::time::to_unix_ms(a.begin_time.as_ref().unwrap())).collect();
    assert!(begin_ms[1] - begin_ms[0] >= 700 && begin_ms[3] - begin_ms[2] >= 700, "{begin_ms:?}");
}

#[tokio::test]
async fn a_replica_that_dies_between_the_wish_and_the_attempt_leaves_it_to_another_one() {
    let (pos, storage) = (Pos::default(), memory());
    let dead = replica(storage.clone(), &pos, &config());
    let mut order = dead.place(beer_to_go("r1")).await.unwrap();
    drop(dead);
    order.version += 1;
    order.changes.push(OrderChange {
        change_id: "w".into(),
        kind: OrderChangeKind::Cancel.into(),
        state: OrderChangeState::Requested.into(),
        requested_by: "guest".into(),
        request_time: Some(posmesh_kit::time::now()),
        ..OrderChange::default()
    });
    let order_id = order.order_id.clone();
    let wish = StoredChange {
        tenant_id: "default".into(),
        order,
        due_in: Some(Duration::ZERO),
        check: CheckChange::default(),
    };
    storage.change_batch(vec![wish]).await.pop().unwrap().unwrap();
    let heir = replica(storage, &pos, &config());
    let cancelled = heir.until_it(&order_id, |o| o.state() == OrderState::Cancelled).await;
    assert_eq!((changes(&cancelled), pos.cancels()), (vec![OrderChangeState::Confirmed], 1));
}

#[tokio::test]
async fn a_replica_that_dies_while_it_cancels_leaves_an_attempt_that_is_settled_first() {
    let (pos, storage) = (Pos::default(), memory());
    let never = Arc::new(Notify::new());
    pos.script_changes([ChangeAct::Hang(never)]);
    let dead = replica(storage.clone(), &pos, &config());
    let order = dead.place(beer_to_go("r1")).await.unwrap();
    pos.submitted.notified().await;
    dead.cancel_within(&order.order_id, 0).await.unwrap();
    pos.submitted.notified().await;
    // It had reached the POS.
    pos.state.lock().unwrap().cancelled.insert(order.order_id.clone());
    drop(dead);
    let heir = replica(storage, &pos, &config());
    let cancelled = heir.until_it(&order.order_id, |o| o.state() == OrderState::Cancelled).await;
    assert_eq!((cancelled.attempts.len(), pos.cancels()), (2, 1));
}

#[tokio::test]
async fn an_order_that_is_gone_from_the_pos_counts_as_taken_back_only_at_the_pos_that_had_it() {
    let gone = |authoritative| ChangeAct::Answer(Change::NotFound(NotFound { authoritative }));
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    pos.script_changes([gone(true)]);
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    assert_eq!(replica.cancel(&order.order_id).await.unwrap().state(), OrderState::Cancelled);

    let order = replica.place(beer_to_go("r2")).await.unwrap();
    pos.state.lock().unwrap().repointed = 1;
    tokio::time::sleep(config().cache_age * 2).await;
    let kept = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!((kept.state(), changes(&kept)), (OrderState::Placed, vec![OrderChangeState::Refused]));
    assert_eq!(
        (kept.attention.as_slice(), pos.cancels()),
        (&["CHANGE_REFUSED".to_owned()][..], 1),
        "no other POS is asked"
    );
}

#[tokio::test]
async fn an_order_in_doubt_at_a_pos_that_cannot_be_asked_is_taken_back_by_asking_for_that() {
    let pos = Pos::default();
    pos.state.lock().unwrap().finds_nothing = true;
    pos.script([Act::TakeAndLoseAnswer]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(now("r1")).await.unwrap();
    replica.until(&order.order_id, OrderState::InDoubt).await;
    let cancelled = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!((cancelled.state(), pos.submits(), pos.cancels()), (OrderState::Cancelled, 1, 1));
}

#[tokio::test]
async fn what_was_told_as_refused_and_is_there_after_all_is_taken_back_by_the_platform() {
    let pos = Pos::default();
    let sold_out = Rejected { cause: cause::ITEM_SOLD_OUT.into(), ..Rejected::default() };
    pos.script([Act::Answer(Outcome::Rejected(sold_out.clone())), Act::Answer(Outcome::Rejected(sold_out))]);
    pos.script_changes([]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let there = |order: &Order| PosEvent {
        event_id: "1".into(),
        reference: order.order_id.clone(),
        pos_order_reference: format!("pos-{}", order.order_id),
        progress: PosOrderProgress::Accepted.into(),
        ..PosEvent::default()
    };
    assert_eq!(replica.report("till", vec![there(&order)]).await, [EventResult::Applied]);
    let mended = replica.until_it(&order.order_id, |o| changes(o) == [OrderChangeState::Confirmed]).await;
    assert_eq!((mended.state(), mended.changes[0].requested_by.as_str()), (OrderState::Rejected, "PLATFORM"));
    assert!(mended.attention.is_empty(), "what the guest was told is true again");

    pos.script_changes([no(cause::TOO_LATE)]);
    let order = replica.place(beer_to_go("r2")).await.unwrap();
    replica.report("till", vec![there(&order)]).await;
    let cooked = replica.until_it(&order.order_id, |o| changes(o) == [OrderChangeState::Refused]).await;
    assert_eq!(cooked.attention, ["CONTRADICTED_END"]);
    let seen = replica.resolve(&order.order_id, ResolutionKind::Seen).await.unwrap();
    assert_eq!((seen.state(), seen.attention.len()), (OrderState::Rejected, 0));
}

fn two_beers(request_id: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        lines: vec![beer(2), beer(1)],
        expected_total: Some(yen(3 * BEER_PRICE)),
        ..beer_to_go(request_id)
    }
}

async fn void(replica: &Replica, order: &Order, quantity_voided: i32) -> Result<Order, Status> {
    let line = LineVoid { line_id: order.lines[0].line_id.clone(), quantity_voided };
    void_lines(replica, order, vec![line]).await
}

async fn void_lines(replica: &Replica, order: &Order, lines: Vec<LineVoid>) -> Result<Order, Status> {
    let request = VoidLinesRequest {
        order_id: order.order_id.clone(),
        lines,
        wait: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        ..VoidLinesRequest::default()
    };
    Ok(replica.client.clone().void_lines(request).await?.into_inner().order.unwrap())
}

#[tokio::test]
async fn a_line_is_void_as_far_as_the_pos_confirmed_it() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(two_beers("r1")).await.unwrap();
    let less = void(&replica, &order, 1).await.unwrap();
    assert_eq!((less.state(), less.lines[0].quantity_voided), (OrderState::Placed, 1));
    assert_eq!(less.price, order.price, "what was agreed stays");
    let again = void(&replica, &order, 1).await.unwrap();
    assert_eq!((again.version, pos.state.lock().unwrap().voids.len()), (less.version, 1), "it is void already");
    pos.script_changes([no(cause::TOO_LATE)]);
    let refused = void(&replica, &order, 2).await.unwrap();
    assert_eq!((refused.lines[0].quantity_voided, refused.changes[1].cause.as_str()), (1, cause::TOO_LATE));
    // The answer that was lost is asked for again under the same reference: it changes nothing more.
    let order = replica.place(two_beers("r2")).await.unwrap();
    pos.script_changes([ChangeAct::DoAndLoseAnswer]);
    let less = void(&replica, &order, 2).await.unwrap();
    assert_eq!((less.lines[0].quantity_voided, changes(&less)), (2, vec![OrderChangeState::Confirmed]));
}

#[tokio::test]
async fn a_void_of_what_the_order_does_not_have_is_refused_by_line() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(two_beers("r1")).await.unwrap();
    void(&replica, &order, 1).await.unwrap();
    let of = |i: usize, quantity_voided| LineVoid { line_id: order.lines[i].line_id.clone(), quantity_voided };
    let nobody = LineVoid { line_id: "x".into(), quantity_voided: 1 };
    for (reason, at, lines) in [
        ("REQUIRED", "lines", vec![]),
        ("LINE_NOT_FOUND", "lines[0].line_id", vec![nobody]),
        ("OUT_OF_RANGE", "lines[0].quantity_voided", vec![of(0, 3)]),
        ("OUT_OF_RANGE", "lines[0].quantity_voided", vec![of(0, 0)]),
        ("TOO_MANY", "lines[1].line_id", vec![of(0, 2), of(0, 2)]),
        ("NOT_ALLOWED", "lines", vec![of(0, 2), of(1, 1)]),
    ] {
        let refused = void_lines(&replica, &order, lines).await.unwrap_err();
        assert_eq!((failure::reason(&refused).as_str(), field(&refused).as_str()), (reason, at));
    }
    pos.script([Act::Lose]);
    let doubtful = replica.place(PlaceOrderRequest { wait: None, ..two_beers("r2") }).await.unwrap();
    let refused = void(&replica, &doubtful, 1).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "NOT_AT_POS");
}

#[tokio::test]
async fn two_wishes_at_once_are_decided_one_after_the_other() {
    let pos = Pos::default();
    let go = Arc::new(Notify::new());
    pos.script_changes([ChangeAct::Hang(Arc::clone(&go))]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(two_beers("r1")).await.unwrap();
    pos.submitted.notified().await;
    let voiding = {
        let (client, order) = (replica.client.clone(), order.clone());
        tokio::spawn(async move {
            let line = LineVoid { line_id: order.lines[0].line_id.clone(), quantity_voided: 1 };
            let wait = Some(prost_types::Duration { seconds: 10, nanos: 0 });
            let request = VoidLinesRequest { order_id: order.order_id, lines: vec![line], wait, ..Default::default() };
            client.clone().void_lines(request).await
        })
    };
    pos.submitted.notified().await;
    let refused = replica.cancel(&order.order_id).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "CHANGE_UNDER_WAY");
    go.notify_one();
    assert_eq!(voiding.await.unwrap().unwrap().into_inner().order.unwrap().lines[0].quantity_voided, 1);
    assert_eq!(replica.cancel(&order.order_id).await.unwrap().state(), OrderState::Cancelled);
}
