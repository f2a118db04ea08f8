//! Whatever breaks between the accept and the POS's answer: the POS has the order once, and the guest is told so.

use std::time::{Duration, SystemTime};

use posmesh_e2e::{Shape, Shop, eventually, line};
use posmesh_proto::{
    adapter::v1::{
        PosContext, PosLine, PosOrder, PosTarget, SubmitOrderRequest,
        pos_adapter_service_client::PosAdapterServiceClient, submit_outcome,
    },
    common::v1::{Product, ServiceMode},
    order::v1::{AttemptOutcome, Order, OrderState},
};
use serde_json::json;
use tonic::Code;

use crate::orders::is_truly_placed;

posmesh_e2e::on_both_shapes!(
    an_order_whose_service_is_killed_after_the_commit_and_before_the_send_reaches_the_pos_once,
    an_order_whose_service_is_killed_after_the_send_reaches_the_pos_once,
    an_order_whose_service_is_frozen_past_its_lease_before_the_send_reaches_the_pos_once,
    a_send_that_was_stuck_on_the_wire_and_arrives_after_its_time_is_not_carried_out,
    answers_that_are_lost_on_the_wire_make_no_second_order,
    a_refused_connection_is_the_proof_that_nothing_was_sent,
    a_write_past_its_not_after_and_one_with_a_context_of_the_callers_never_reach_the_pos,
    an_answer_that_is_lost_after_the_pos_recorded_the_order_makes_no_second_one,
    an_answer_that_is_lost_before_the_pos_recorded_the_order_is_made_up_for,
    a_pos_that_crashes_before_recording_has_the_order_once_after_its_restart,
    a_pos_that_crashes_after_recording_has_the_order_once_after_its_restart,
    a_pos_that_records_late_has_the_order_once,
    a_pos_that_limits_the_rate_gets_every_order_once,
);

/// The replica whose way to the POS goes through the gate, and the other one.
const GATED: usize = 0;
const OTHER: usize = 1;

/// Makes the gated replica learn everything that it needs besides the sending itself.
async fn warm_up(shop: &Shop) {
    shop.placed(GATED, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await;
}

async fn order_at_gate(shop: &Shop) -> Order {
    let order = shop.place(GATED, shop.request(Product::Kiosk, &[line("yaki_onigiri", 2)]).await).await.unwrap();
    assert_eq!(order.state(), OrderState::Sending);
    assert_eq!(shop.ends_up(OTHER, &order.order_id, OrderState::Sending).await.attempts.len(), 1);
    order
}

/// Where there is one replica, nobody else takes over: it is started again.
async fn let_somebody_take_over(shop: &Shop) {
    if shop.mesh.shape() == Shape::Sqlite {
        shop.mesh.order_replica(GATED).restart().unwrap();
        shop.mesh.wait_until_ready().await.unwrap();
    }
}

/// The lease of the order's last attempt, which nobody but the clock ends.
async fn lease_is_over(order: &Order) {
    let not_after = SystemTime::try_from(order.attempts.last().unwrap().not_after.unwrap()).unwrap();
    let margin = Duration::from_secs(1);
    tokio::time::sleep((not_after + margin).duration_since(SystemTime::now()).unwrap_or_default()).await;
}

async fn is_there_once(shop: &Shop, order_id: &str) -> Order {
    let order = shop.ends_up(OTHER, order_id, OrderState::Placed).await;
    is_truly_placed(shop, &order).await;
    order
}

/// Once more, after everything that was under way has come to its end: an order that is placed now comes after it.
async fn is_still_there_once(shop: &Shop, order: &Order) {
    shop.placed(GATED, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await;
    let now = shop.order(OTHER, &order.order_id).await.unwrap();
    is_truly_placed(shop, &now).await;
    assert_eq!(now.evidence, order.evidence);
}

async fn an_order_whose_service_is_killed_after_the_commit_and_before_the_send_reaches_the_pos_once(shape: Shape) {
    let shop = Shop::open_for_faults(shape).await;
    warm_up(&shop).await;
    shop.gate().hold();
    let order = order_at_gate(&shop).await;
    shop.mesh.order_replica(GATED).kill().unwrap();
    assert!(shop.pos.recorded(&order.order_id).await.is_empty(), "it was killed before the send");
    shop.gate().cut();
    shop.gate().forward().await;
    let_somebody_take_over(&shop).await;

    let order = is_there_once(&shop, &order.order_id).await;
    let outcomes: Vec<_> = order.attempts.iter().map(|attempt| attempt.outcome()).collect();
    assert_eq!(outcomes, [AttemptOutcome::Absent, AttemptOutcome::Placed], "settled first, then sent: {order:#?}");
}

async fn an_order_whose_service_is_killed_after_the_send_reaches_the_pos_once(shape: Shape) {
    let shop = Shop::open_for_faults(shape).await;
    warm_up(&shop).await;
    shop.pos.fault(json!({ "kind": "drop_answer_after_record", "delay_ms": 1500, "times": 1 })).await;
    let order = order_at_gate(&shop).await;
    let recorded = async || (!shop.pos.recorded(&order.order_id).await.is_empty()).then_some(());
    eventually("the POS records the order", recorded).await;
    shop.mesh.order_replica(GATED).kill().unwrap();
    let_somebody_take_over(&shop).await;

    let order = is_there_once(&shop, &order.order_id).await;
    assert_eq!(order.attempts.len(), 1, "it was found, not sent again: {order:#?}");
}

async fn an_order_whose_service_is_frozen_past_its_lease_before_the_send_reaches_the_pos_once(shape: Shape) {
    let shop = Shop::open_for_faults(shape).await;
    warm_up(&shop).await;
    // It cannot even connect, so that nothing of the order has left it.
    shop.gate().block().await;
    let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 2)]).await;
    let order = shop.place(GATED, request).await.unwrap();
    assert_eq!(order.state(), OrderState::Sending);
    shop.mesh.order_replica(GATED).freeze().unwrap();
    if shape == Shape::Sqlite {
        lease_is_over(&order).await;
    } else {
        is_there_once(&shop, &order.order_id).await;
    }
    shop.gate().forward().await;
    shop.mesh.order_replica(GATED).thaw().unwrap();

    let order = is_there_once(&shop, &order.order_id).await;
    is_still_there_once(&shop, &order).await;
    let (last, earlier) = order.attempts.split_last().unwrap();
    assert!(last.outcome() == AttemptOutcome::Placed && !earlier.is_empty(), "{order:#?}");
    let unsent = |outcome| matches!(outcome, AttemptOutcome::Absent | AttemptOutcome::NotHandedOver);
    assert!(earlier.iter().all(|attempt| unsent(attempt.outcome())), "{order:#?}");
}

async fn a_send_that_was_stuck_on_the_wire_and_arrives_after_its_time_is_not_carried_out(shape: Shape) {
    let shop = Shop::open_for_faults(shape).await;
    warm_up(&shop).await;
    shop.gate().hold();
    let order = order_at_gate(&shop).await;
    shop.mesh.order_replica(GATED).freeze().unwrap();
    lease_is_over(&order).await;
    if shape == Shape::Postgres {
        is_there_once(&shop, &order.order_id).await;
    }
    // What was sent long ago arrives now.
    shop.gate().forward().await;
    shop.mesh.order_replica(GATED).thaw().unwrap();

    let order = is_there_once(&shop, &order.order_id).await;
    is_still_there_once(&shop, &order).await;
}

async fn answers_that_are_lost_on_the_wire_make_no_second_order(shape: Shape) {
    let shop = Shop::open_for_faults(shape).await;
    warm_up(&shop).await;
    shop.gate().lose_answers();
    let order = order_at_gate(&shop).await;
    let known = async || {
        let order = shop.order(OTHER, &order.order_id).await.ok()?;
        (order.state() != OrderState::Sending).then_some(order)
    };
    let doubtful = eventually("the attempt ends without an answer", known).await;
    // Where another replica settles it, it may have been found already.
    assert!(matches!(doubtful.state(), OrderState::InDoubt | OrderState::Placed), "{doubtful:#?}");
    assert_eq!(shop.pos.recorded(&order.order_id).await.len(), 1);
    shop.gate().forward().await;
    shop.gate().cut();

    let order = is_there_once(&shop, &order.order_id).await;
    assert_eq!(order.attempts.len(), 1, "it was found, not sent again: {order:#?}");
}

async fn a_refused_connection_is_the_proof_that_nothing_was_sent(shape: Shape) {
    let shop = Shop::open_for_faults(shape).await;
    warm_up(&shop).await;
    shop.gate().shut().await;
    let order = shop.place(GATED, shop.request(Product::Kiosk, &[line("yaki_onigiri", 2)]).await).await.unwrap();
    let tried = async || {
        let order = shop.order(OTHER, &order.order_id).await.ok()?;
        order.attempts.iter().any(|a| a.outcome() == AttemptOutcome::NotHandedOver).then_some(order)
    };
    let told = eventually("the first attempt ends", tried).await;
    assert!(told.state() != OrderState::InDoubt, "{told:#?}");
    shop.gate().forward().await;

    let order = is_there_once(&shop, &order.order_id).await;
    let (last, earlier) = order.attempts.split_last().unwrap();
    assert_eq!(last.outcome(), AttemptOutcome::Placed);
    assert!(earlier.iter().all(|a| a.outcome() == AttemptOutcome::NotHandedOver), "{order:#?}");
}

async fn a_write_past_its_not_after_and_one_with_a_context_of_the_callers_never_reach_the_pos(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = PosOrder {
        reference: crate::orders::key(),
        product: Product::Kiosk.into(),
        lines: vec![PosLine {
            line_id: crate::orders::key(),
            item_id: "yaki_onigiri".into(),
            quantity: 1,
            service_mode: ServiceMode::DineIn.into(),
            ..PosLine::default()
        }],
        ..PosOrder::default()
    };
    let in_time = SubmitOrderRequest {
        target: Some(PosTarget { store_id: shop.store_id.clone(), ..PosTarget::default() }),
        order: Some(order),
        attempt: 1,
        not_after: Some((SystemTime::now() + Duration::from_secs(20)).into()),
        ..SubmitOrderRequest::default()
    };
    let mut router = PosAdapterServiceClient::new(shop.mesh.router().unwrap());
    let too_late = Some((SystemTime::now() - Duration::from_millis(1)).into());
    let too_late = SubmitOrderRequest { not_after: too_late, ..in_time.clone() };
    let outcome = router.submit_order(too_late).await.unwrap().into_inner().outcome.unwrap().outcome;
    assert!(matches!(outcome, Some(submit_outcome::Outcome::NotHandedOver(_))), "{outcome:?}");

    let context = Some(PosContext { store_id: "another".into(), ..PosContext::default() });
    let forged = SubmitOrderRequest { context, ..in_time.clone() };
    let refused = router.submit_order(forged).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let endless = SubmitOrderRequest { not_after: None, ..in_time.clone() };
    assert_eq!(router.submit_order(endless).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(shop.pos.orders().await.is_empty());

    // Were it not for that, it would have been placed.
    let outcome = router.submit_order(in_time).await.unwrap().into_inner().outcome.unwrap().outcome;
    assert!(matches!(outcome, Some(submit_outcome::Outcome::Placed(_))), "{outcome:?}");
}

/// Places an order while the POS suffers `fault` once.
async fn with_fault(shop: &Shop, fault: serde_json::Value) -> Order {
    shop.pos.fault(fault).await;
    shop.place(GATED, shop.request(Product::Kiosk, &[line("yaki_onigiri", 2)]).await).await.unwrap()
}

async fn an_answer_that_is_lost_after_the_pos_recorded_the_order_makes_no_second_one(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = with_fault(&shop, json!({ "kind": "drop_answer_after_record", "times": 1 })).await;
    let order = is_there_once(&shop, &order.order_id).await;
    assert_eq!(order.attempts.len(), 1, "it was found, not sent again: {order:#?}");
}

async fn an_answer_that_is_lost_before_the_pos_recorded_the_order_is_made_up_for(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = with_fault(&shop, json!({ "kind": "drop_before_record", "times": 1 })).await;
    let order = is_there_once(&shop, &order.order_id).await;
    assert_eq!(order.attempts[0].outcome(), AttemptOutcome::Absent, "{order:#?}");
}

async fn a_pos_that_crashes_before_recording_has_the_order_once_after_its_restart(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = with_fault(&shop, json!({ "kind": "crash_before_record", "times": 1 })).await;
    shop.pos.restart_after_crash().await;
    is_there_once(&shop, &order.order_id).await;
}

async fn a_pos_that_crashes_after_recording_has_the_order_once_after_its_restart(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = with_fault(&shop, json!({ "kind": "crash_after_record", "times": 1 })).await;
    shop.pos.restart_after_crash().await;
    let order = is_there_once(&shop, &order.order_id).await;
    assert_eq!(order.attempts.len(), 1, "it was found, not sent again: {order:#?}");
}

async fn a_pos_that_records_late_has_the_order_once(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = with_fault(&shop, json!({ "kind": "record_late", "delay_ms": 1500, "times": 1 })).await;
    let order = is_there_once(&shop, &order.order_id).await;
    assert_eq!(order.attempts.len(), 1, "absence was no proof while the attempt could still arrive: {order:#?}");
}

async fn a_pos_that_limits_the_rate_gets_every_order_once(shape: Shape) {
    let shop = Shop::open(shape).await;
    shop.pos.fault(json!({ "kind": "rate_limit", "per_second": 4 })).await;
    let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;
    let orders = (0..12).map(|at| {
        let request =
            posmesh_proto::order::v1::PlaceOrderRequest { request_id: crate::orders::key(), ..request.clone() };
        let shop = &shop;
        async move { shop.placed(at % 2, request).await }
    });
    for order in futures_util::future::join_all(orders).await {
        is_truly_placed(&shop, &order).await;
    }
    assert!(shop.pos.happened("rate_limit").await > 0, "the limit was met");
}
