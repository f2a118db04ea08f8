//! Taking back what was not sent.

use posmesh_e2e::{Http, Shape, Shop, line, refusal};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{CancelOrderRequest, OrderState, cancel_order_request::Key},
};
use serde_json::{Value, json};
use tonic::Code;

use crate::orders::{an_hour_from_now, key};

posmesh_e2e::on_both_shapes!(
    an_order_that_was_not_taken_yet_can_be_taken_back_and_never_reaches_the_pos,
    an_order_at_a_pos_that_cannot_take_it_back_stays,
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

async fn an_order_at_a_pos_that_cannot_take_it_back_stays(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = shop.placed(0, shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await).await;
    let refused = shop.orders(1).cancel_order(by_id(&order.order_id)).await.unwrap_err();
    assert_eq!((refused.code(), refusal(&refused).0.as_str()), (Code::FailedPrecondition, "CANCEL_NOT_SUPPORTED"));
    assert_eq!(shop.order(0, &order.order_id).await.unwrap().state(), OrderState::Placed);
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
