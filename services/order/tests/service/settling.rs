//! What becomes of orders of which nobody knows whether the POS has them.

use posmesh_kit::failure;
use posmesh_proto::order::v1::{AttemptOutcome, Order, OrderState, PlaceOrderRequest, ResolutionKind};

use crate::{
    attempts,
    fakes::{Act, Pos, Replica, beer_to_go, config, replica},
    memory,
};

fn now(request_id: &str) -> PlaceOrderRequest {
    PlaceOrderRequest { wait: None, ..beer_to_go(request_id) }
}

#[tokio::test]
async fn an_order_that_was_cancelled_at_the_pos_is_told_so_and_never_sent_again() {
    let pos = Pos::default();
    pos.script([Act::TakeAndLoseAnswer]);
    pos.state.lock().unwrap().find_broken = true;
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(now("r1")).await.unwrap();
    replica.until(&order.order_id, OrderState::InDoubt).await;
    pos.state.lock().unwrap().cancelled.insert(order.order_id.clone());
    pos.state.lock().unwrap().find_broken = false;
    let cancelled = replica.until_it(&order.order_id, |o| o.state() == OrderState::Cancelled).await;
    assert_eq!((cancelled.cause.as_str(), pos.submits()), ("CANCELLED_AT_POS", 1));
}

#[tokio::test]
async fn an_order_in_doubt_is_sent_once_more_where_the_vendor_recognizes_it_and_absence_proves_nothing() {
    for finds_nothing in [false, true] {
        let pos = Pos::default();
        pos.state.lock().unwrap().find_proves_nothing = true;
        pos.state.lock().unwrap().finds_nothing = finds_nothing;
        pos.state.lock().unwrap().recognizes = true;
        pos.script([Act::Lose]);
        let replica = replica(memory(), &pos, &config());
        let order = replica.place(beer_to_go("r1")).await.unwrap();
        assert_eq!(order.state(), OrderState::Placed);
        assert_eq!(attempts(&order), [AttemptOutcome::InDoubt, AttemptOutcome::Placed]);
        let ms = |time: &Option<prost_types::Timestamp>| posmesh_kit::time::to_unix_ms(time.as_ref().unwrap());
        assert!(ms(&order.attempts[1].begin_time) > ms(&order.attempts[0].not_after), "two writers at once");
        let submits = pos.state.lock().unwrap().submits.clone();
        assert_eq!((submits.len(), &submits[0]), (2, &submits[1]), "the same reference and the same body");
    }
}

#[tokio::test]
async fn an_order_in_doubt_is_not_sent_once_more_when_it_is_wished_back_or_the_connection_has_changed() {
    let pos = Pos::default();
    pos.state.lock().unwrap().find_proves_nothing = true;
    pos.state.lock().unwrap().recognizes = true;
    pos.script([Act::Lose]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(now("r1")).await.unwrap();
    pos.submitted.notified().await;
    pos.state.lock().unwrap().repointed = 1;
    let enough = pos.state.lock().unwrap().finds + 12;
    replica
        .until_it(&order.order_id, |o| o.state() == OrderState::InDoubt && pos.state.lock().unwrap().finds > enough)
        .await;
    assert_eq!(pos.submits(), 1);
}

async fn in_doubt(pos: &Pos, replica: &Replica, request_id: &str) -> Order {
    pos.state.lock().unwrap().find_proves_nothing = true;
    pos.script([Act::Lose]);
    let order = replica.place(now(request_id)).await.unwrap();
    replica.until(&order.order_id, OrderState::InDoubt).await
}

#[tokio::test]
async fn a_person_settles_what_the_platform_cannot() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let order = in_doubt(&pos, &replica, "r1").await;
    let early = replica.resolve(&order.order_id, ResolutionKind::SendAgain).await.unwrap_err();
    assert_eq!(failure::reason(&early), "ATTEMPT_UNDER_WAY");
    let over = |o: &Order| posmesh_kit::time::until(o.attempts[0].not_after.as_ref().unwrap()).is_zero();
    replica.until_it(&order.order_id, over).await;
    tokio::time::sleep(config().lease_margin).await;
    let sent = replica.resolve(&order.order_id, ResolutionKind::SendAgain).await.unwrap();
    assert_eq!((sent.resolutions.len(), sent.attempts[0].outcome()), (1, AttemptOutcome::Absent));
    let placed = replica.until(&order.order_id, OrderState::Placed).await;
    assert_eq!((placed.attempts.len(), pos.orders()), (2, 1));
    let healthy = replica.resolve(&order.order_id, ResolutionKind::NotAtPos).await.unwrap_err();
    assert_eq!(failure::reason(&healthy), "NOT_IN_DOUBT");

    let order = in_doubt(&pos, &replica, "r2").await;
    let entered = replica.resolve(&order.order_id, ResolutionKind::EnteredByStaff).await.unwrap();
    assert_eq!(entered.state(), OrderState::Placed);
    let again = replica.resolve(&order.order_id, ResolutionKind::EnteredByStaff).await.unwrap();
    assert_eq!(again.version, entered.version, "said twice is said once");
    let refused = replica.cancel(&order.order_id).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "CANCEL_NOT_SUPPORTED", "what the staff typed in they take out");
}
