//! What the POS reports of its orders.

use posmesh_kit::failure;
use posmesh_proto::{
    adapter::v1::{PosEvent, PosOrderProgress as Progress},
    common::v1::{Evidence, EvidenceKind},
    order::v1::{EventResult, Order, OrderState, RecordOrderEventsRequest},
};
use tonic::Code;

use crate::{
    fakes::{Act, Pos, beer_to_go, config, replica},
    memory,
};

fn event(order: &Order, progress: Progress) -> PosEvent {
    PosEvent {
        event_id: format!("{progress:?}"),
        reference: order.order_id.clone(),
        pos_order_reference: format!("pos-{}", order.order_id),
        progress: progress.into(),
        ..PosEvent::default()
    }
}

#[tokio::test]
async fn progress_moves_an_order_on_in_any_order_and_repeated_and_never_back() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let of = |progress| event(&order, progress);
    let results = replica.report("till", vec![of(Progress::InPreparation)]).await;
    assert_eq!(results, [EventResult::Applied]);
    assert_eq!(replica.order(&order.order_id).await.state(), OrderState::InPreparation);
    let results = replica.report("till", vec![of(Progress::Ready), of(Progress::InPreparation)]).await;
    assert_eq!(results.len(), 2);
    let again = vec![of(Progress::Ready), of(Progress::Accepted), of(Progress::InPreparation)];
    assert_eq!(replica.report("till", again).await, [EventResult::NoNews; 3]);
    assert_eq!(replica.order(&order.order_id).await.state(), OrderState::Ready);
    let refused = replica.cancel(&order.order_id).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "CANCEL_TOO_LATE");
    replica.report("till", vec![of(Progress::Completed)]).await;
    assert_eq!(replica.order(&order.order_id).await.state(), OrderState::Completed);
}

#[tokio::test]
async fn an_order_that_the_staff_cancelled_at_the_pos_is_told_as_cancelled() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    replica.report("till", vec![event(&order, Progress::Cancelled)]).await;
    let cancelled = replica.order(&order.order_id).await;
    assert_eq!((cancelled.state(), cancelled.cause.as_str()), (OrderState::Cancelled, "CANCELLED_AT_POS"));
    let late = replica.report("till", vec![event(&order, Progress::Ready)]).await;
    assert_eq!(late, [EventResult::NoNews]);
}

#[tokio::test]
async fn an_event_settles_an_order_in_doubt() {
    let pos = Pos::default();
    pos.script([Act::TakeAndLoseAnswer]);
    pos.state.lock().unwrap().find_broken = true;
    let replica = replica(memory(), &pos, &config());
    let request = posmesh_proto::order::v1::PlaceOrderRequest { wait: None, ..beer_to_go("r1") };
    let order = replica.place(request).await.unwrap();
    replica.until(&order.order_id, OrderState::InDoubt).await;
    let printed = PosEvent {
        evidence: vec![Evidence { kind: EvidenceKind::Printed.into(), reference: "t1".into(), ..Evidence::default() }],
        ..event(&order, Progress::Accepted)
    };
    replica.report("till", vec![printed]).await;
    let placed = replica.order(&order.order_id).await;
    assert_eq!((placed.state(), placed.evidence.len()), (OrderState::Placed, 2));
    assert!(placed.evidence.iter().all(|e| e.connection_id == "till"));
}

#[tokio::test]
async fn only_orders_that_went_over_the_connection_hear_its_events() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let nobody = PosEvent { reference: "x".into(), ..PosEvent::default() };
    let unreadable = PosEvent { reference: "\u{0}".into(), ..PosEvent::default() };
    let ready = event(&order, Progress::Ready);
    assert_eq!(replica.report("bar", vec![ready]).await, [EventResult::OrderNotFound]);
    assert_eq!(replica.report("till", vec![nobody, unreadable]).await, [EventResult::OrderNotFound; 2]);
    assert_eq!(replica.order(&order.order_id).await.version, order.version);
    for request in [
        RecordOrderEventsRequest { connection_id: "till".into(), events: vec![] },
        RecordOrderEventsRequest { connection_id: "till".into(), events: vec![PosEvent::default(); 501] },
        RecordOrderEventsRequest { connection_id: String::new(), events: vec![PosEvent::default()] },
    ] {
        let refused = replica.client.clone().record_order_events(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}
