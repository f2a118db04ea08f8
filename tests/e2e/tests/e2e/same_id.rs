//! One request_id, one order.

use futures_util::future::join_all;
use posmesh_e2e::{Http, Shape, Shop, line, refusal};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{GetOrderRequest, OrderState, PlaceOrderRequest, get_order_request::Key},
};
use serde_json::{Value, json};
use tonic::Code;

use crate::orders::{is_truly_placed, key};

posmesh_e2e::on_both_shapes!(
    a_repeated_call_gets_the_same_order_as_it_is_now,
    a_request_id_used_for_another_order_is_refused_and_changes_nothing,
    twenty_equal_calls_at_once_over_two_replicas_make_one_order_at_the_pos,
    a_repeated_call_gets_its_order_even_when_the_menu_has_changed_since,
);

async fn a_repeated_call_gets_the_same_order_as_it_is_now(shape: Shape) {
    let shop = Shop::open(shape).await;
    let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;
    let order = shop.placed(0, request.clone()).await;
    let again = shop.place(1, request.clone()).await.unwrap();
    assert_eq!(again, order);
    let key = Some(Key::RequestId(request.request_id));
    let by_request = shop.orders(1).get_order(GetOrderRequest { key }).await.unwrap().into_inner().order;
    assert_eq!(by_request, Some(order.clone()));
    is_truly_placed(&shop, &order).await;
    assert_eq!(shop.list().await.len(), 1);
}

async fn a_request_id_used_for_another_order_is_refused_and_changes_nothing(shape: Shape) {
    let shop = Shop::open(shape).await;
    let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;
    let order = shop.placed(0, request.clone()).await;
    let other = shop.request(Product::Kiosk, &[line("yaki_onigiri", 2)]).await;
    let other = PlaceOrderRequest { request_id: request.request_id, ..other };
    let refused = shop.place(1, other).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(refusal(&refused), ("REQUEST_ID_REUSED".into(), "request_id".into()));

    let path = format!("/kiosk/v1/stores/{}/orders", shop.store_id);
    let body = |quantity: i64| {
        json!({ "lines": [{ "item_id": "yaki_onigiri", "quantity": quantity }], "service_mode": "eat_in",
            "expected_total": { "currency": "JPY", "amount": 250 * quantity } })
    };
    let key = key();
    let placed = Http::send(shop.http.place(&path, &key, &body(1))).await.unwrap().ok();
    let again = Http::send(shop.http.place(&path, &key, &body(1))).await.unwrap().ok();
    assert_eq!(again["order"], placed["order"]);
    let refused = Http::send(shop.http.place(&path, &key, &body(2))).await.unwrap();
    assert_eq!(refused.problem(), (409, "REQUEST_ID_REUSED".into(), "Idempotency-Key".into()));

    let at_pos: Vec<Value> =
        shop.pos.orders().await.iter().map(|order| order["request"]["reference"].clone()).collect();
    assert_eq!(at_pos, [Value::from(order.order_id), placed["order"]["order_id"].clone()]);
    assert_eq!(shop.list().await.len(), 2);
}

async fn twenty_equal_calls_at_once_over_two_replicas_make_one_order_at_the_pos(shape: Shape) {
    let shop = Shop::open(shape).await;
    let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;
    let request = PlaceOrderRequest { wait: Some(prost_types::Duration { seconds: 20, nanos: 0 }), ..request };
    let calls = join_all((0..20).map(|at| shop.place(at % 2, request.clone()))).await;
    let orders: Vec<_> = calls.into_iter().map(Result::unwrap).collect();
    assert!(orders.iter().all(|order| order.order_id == orders[0].order_id));
    assert!(orders.iter().all(|order| order.state() == OrderState::Placed), "{:?}", orders[0]);
    is_truly_placed(&shop, &orders[0]).await;
    assert_eq!(shop.pos.orders().await.len(), 1);
    assert_eq!(shop.list().await.len(), 1);
}

async fn a_repeated_call_gets_its_order_even_when_the_menu_has_changed_since(shape: Shape) {
    let shop = Shop::open(shape).await;
    let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;
    let order = shop.placed(0, request.clone()).await;
    shop.pos.set_available("yaki_onigiri", false).await;
    let published = shop.sync().await.unwrap().catalog_version;
    let sold_out = async || {
        let fresh = PlaceOrderRequest { request_id: key(), ..request.clone() };
        let refused = shop.place(1, fresh).await.err()?;
        (refusal(&refused).0 == "ITEM_UNAVAILABLE").then_some(())
    };
    posmesh_e2e::eventually(&format!("version {published} counts"), sold_out).await;
    assert_eq!(shop.place(1, request).await.unwrap().order_id, order.order_id);
}
