//! Taking orders back.

use posmesh_e2e::{Http, Shape, Shop, line, refusal};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{CancelOrderRequest, Order, OrderChangeState, OrderState, cancel_order_request::Key},
};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    orders::{an_hour_from_now, key},
    tables::order_round,
};

posmesh_e2e::on_both_shapes!(
    an_order_that_was_not_taken_yet_can_be_taken_back_and_never_reaches_the_pos,
    an_order_that_the_pos_has_is_void_there_before_it_is_told_as_cancelled,
    guests_at_a_table_take_a_round_back_over_http,
    what_the_kitchen_has_begun_is_cooked_and_the_reason_is_told,
    a_cancel_whose_answer_is_lost_is_found_at_the_pos,
    an_order_whose_answer_is_lost_is_taken_back_once_it_is_found,
    a_wish_whose_replica_dies_is_carried_out_by_another_one,
    cancelling_a_request_id_that_was_not_seen_stops_the_order_that_comes_later,
);

fn by_id(order_id: &str) -> CancelOrderRequest {
    CancelOrderRequest { key: Some(Key::OrderId(order_id.to_owned())), ..CancelOrderRequest::default() }
}

async fn an_order_that_was_not_taken_yet_can_be_taken_back_and_never_reaches_the_pos(shape: Shape) {
    let shop = Shop::open(shape).await;
    // The POS says: not now.
    shop.pos.fault(json!({ "kind": "business_day_closed" })).await;
    let path = format!("/togo/v1/stores/{}/orders", shop.store_id);
    let body = json!({ "lines": [{ "item_id": "yaki_onigiri", "quantity": 1 }],
        "expected_total": { "currency": "JPY", "amount": 250 }, "pickup_time": an_hour_from_now() });
    let placing = shop.http.post(&path, &body).header("idempotency-key", key());
    let placed = Http::send(placing).await.unwrap().ok();
    let order_id = placed["order"]["order_id"].as_str().unwrap();
    // Between two attempts, as while one runs nobody may say that it was not sent.
    shop.ends_up(1, order_id, OrderState::Pending).await;
    let cancel = async || {
        let cancel = shop.http.post(&format!("{path}/{order_id}/cancel"), &Value::Null);
        let answer = Http::send(cancel.bearer_auth(placed["order_token"].as_str().unwrap())).await.unwrap();
        (answer.status != 409).then(|| answer.ok())
    };
    let cancelled = posmesh_e2e::eventually("the order is taken back between two attempts", cancel).await;
    assert_eq!((&cancelled["state"], &cancelled["ended"]), (&json!("CANCELLED"), &json!(true)));

    shop.pos.heal().await;
    // Repeating it is harmless, at the other replica too; an order that comes now shows that the way is free again.
    let again = shop.orders(1).cancel_order(by_id(order_id)).await.unwrap().into_inner().order.unwrap();
    assert_eq!(again.state(), OrderState::Cancelled);
    let next = shop.placed(0, shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await).await;
    let at_pos: Vec<Value> =
        shop.pos.orders().await.iter().map(|order| order["request"]["reference"].clone()).collect();
    assert_eq!(at_pos, [next.order_id.as_str()]);
}

/// Takes it back and waits for the POS's word.
async fn taken_back(shop: &Shop, replica: usize, order_id: &str) -> Order {
    let wait = Some(prost_types::Duration { seconds: 20, nanos: 0 });
    let answer = shop.orders(replica).cancel_order(CancelOrderRequest { wait, ..by_id(order_id) }).await;
    answer.unwrap().into_inner().order.unwrap()
}

fn wishes(order: &Order) -> Vec<OrderChangeState> {
    order.changes.iter().map(|change| change.state()).collect()
}

async fn guests_at_a_table_take_a_round_back_over_http(shape: Shape) {
    let shop = Shop::open(shape).await;
    let seated = shop.sit_down("T1").await;
    let token = seated["guest_token"].as_str().unwrap();
    let (kept, unwanted) = (a_bowl(&shop, token).await, a_bowl(&shop, token).await);
    let path = format!("/table/v1/check/rounds/{unwanted}/cancel");
    let cancel = shop.http.post(&path, &Value::Null).bearer_auth(token).header("prefer", "wait=20");
    let cancelled = Http::send(cancel).await.unwrap().ok();
    assert_eq!((&cancelled["state"], &cancelled["change"]["state"]), (&json!("CANCELLED"), &json!("CONFIRMED")));
    is_void_at_pos(&shop, &unwanted).await;
    assert_eq!(shop.order(1, &kept).await.unwrap().state(), OrderState::Placed, "the other round stays");
    let others = shop.sit_down("T2").await;
    let stolen = shop.http.post(&path.replace(&unwanted, &kept), &Value::Null);
    let stolen = Http::send(stolen.bearer_auth(others["guest_token"].as_str().unwrap())).await.unwrap();
    assert_eq!(stolen.problem().1, "ORDER_NOT_FOUND");
}

async fn a_bowl(shop: &Shop, token: &str) -> String {
    let round = order_round(shop, token, json!([{ "item_id": "nikujaga", "quantity": 1 }])).await;
    round["order_id"].as_str().unwrap().to_owned()
}

/// The order is void at the POS, and its kitchen was told once.
async fn is_void_at_pos(shop: &Shop, order_id: &str) {
    let order = shop.pos.try_ask(Method::GET, &format!("/api/orders/{order_id}"), None).await.unwrap();
    assert!(order["cancelled_at"].is_i64(), "{order}");
    let slips = shop.pos.slips(order_id).await;
    let marks: Vec<&str> = slips.iter().filter_map(|slip| slip["mark"].as_str()).collect();
    assert_eq!(marks, ["normal", "void"], "{slips:?}");
}

async fn kiosk(shop: &Shop, replica: usize) -> Order {
    shop.placed(replica, shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await).await
}

async fn an_order_that_the_pos_has_is_void_there_before_it_is_told_as_cancelled(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = kiosk(&shop, 0).await;
    let cancelled = taken_back(&shop, 1, &order.order_id).await;
    assert_eq!((cancelled.state(), wishes(&cancelled)), (OrderState::Cancelled, vec![OrderChangeState::Confirmed]));
    is_void_at_pos(&shop, &order.order_id).await;
    let again = taken_back(&shop, 0, &order.order_id).await;
    assert_eq!(again.changes, cancelled.changes, "repeating it is harmless");
}

async fn what_the_kitchen_has_begun_is_cooked_and_the_reason_is_told(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = kiosk(&shop, 0).await;
    shop.pos.staff(json!({ "action": "progress", "reference": order.order_id, "to": "in_preparation" })).await;
    let kept = taken_back(&shop, 1, &order.order_id).await;
    assert!(matches!(kept.state(), OrderState::Placed | OrderState::InPreparation), "{kept:#?}");
    assert_eq!((wishes(&kept), kept.changes[0].cause.as_str()), (vec![OrderChangeState::Refused], "TOO_LATE"));
    let refused = shop.orders(0).cancel_order(by_id(&order.order_id)).await.unwrap_err();
    assert_eq!((refused.code(), refusal(&refused).0.as_str()), (Code::FailedPrecondition, "CANCEL_TOO_LATE"));
    let at_pos = shop.pos.try_ask(Method::GET, &format!("/api/orders/{}", order.order_id), None).await.unwrap();
    assert!(at_pos["cancelled_at"].is_null(), "{at_pos}");
}

async fn a_cancel_whose_answer_is_lost_is_found_at_the_pos(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = kiosk(&shop, 0).await;
    shop.pos.fault(json!({ "kind": "drop_answer_after_record", "on": "cancel", "times": 1 })).await;
    let cancelled = taken_back(&shop, 0, &order.order_id).await;
    assert_eq!(cancelled.state(), OrderState::Cancelled, "{cancelled:#?}");
    assert_eq!(shop.pos.happened("drop_answer_after_record").await, 1);
    is_void_at_pos(&shop, &order.order_id).await;
}

async fn an_order_whose_answer_is_lost_is_taken_back_once_it_is_found(shape: Shape) {
    let shop = Shop::open(shape).await;
    shop.pos.fault(json!({ "kind": "drop_answer_after_record", "delay_ms": 500, "times": 1 })).await;
    let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;
    let order = shop.place(0, request).await.unwrap();
    let cancelled = taken_back(&shop, 1, &order.order_id).await;
    assert_eq!((cancelled.state(), wishes(&cancelled)), (OrderState::Cancelled, vec![OrderChangeState::Confirmed]));
    is_void_at_pos(&shop, &order.order_id).await;
    assert_eq!(shop.pos.recorded(&order.order_id).await.len(), 1, "nothing more was sent");
}

/// The first order replica dies while its cancel has not reached the POS.
async fn a_wish_whose_replica_dies_is_carried_out_by_another_one(shape: Shape) {
    let shop = Shop::open_for_faults(shape).await;
    let order = kiosk(&shop, 0).await;
    shop.gate().hold();
    let wished = shop.orders(0).cancel_order(by_id(&order.order_id)).await.unwrap().into_inner().order.unwrap();
    assert_eq!((wished.state(), wishes(&wished)), (OrderState::Placed, vec![OrderChangeState::Requested]));
    shop.mesh.order_replica(0).kill().unwrap();
    shop.gate().cut();
    shop.gate().forward().await;
    if shape == Shape::Sqlite {
        shop.mesh.order_replica(0).restart().unwrap();
        shop.mesh.wait_until_ready().await.unwrap();
    }
    let cancelled = shop.ends_up(1, &order.order_id, OrderState::Cancelled).await;
    assert_eq!(wishes(&cancelled), [OrderChangeState::Confirmed], "{cancelled:#?}");
    is_void_at_pos(&shop, &order.order_id).await;
}

async fn cancelling_a_request_id_that_was_not_seen_stops_the_order_that_comes_later(shape: Shape) {
    let shop = Shop::open(shape).await;
    let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;
    let cancel = CancelOrderRequest {
        key: Some(Key::RequestId(request.request_id.clone())),
        store_id: shop.store_id.clone(),
        product: Product::Kiosk.into(),
        ..CancelOrderRequest::default()
    };
    let tombstone = shop.orders(0).cancel_order(cancel.clone()).await.unwrap().into_inner().order.unwrap();
    assert_eq!(tombstone.state(), OrderState::Cancelled);
    let again = shop.orders(1).cancel_order(cancel).await.unwrap().into_inner().order.unwrap();
    assert_eq!(again.order_id, tombstone.order_id);

    let late = shop.place(1, request).await.unwrap();
    assert_eq!((late.order_id, late.state), (tombstone.order_id, OrderState::Cancelled.into()));
    shop.placed(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await;
    assert_eq!(shop.pos.orders().await.len(), 1);
}
