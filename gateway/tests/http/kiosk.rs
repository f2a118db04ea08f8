use posmesh_proto::common::v1::{Product, ServiceMode};
use serde_json::json;

use crate::support::*;

const ORDERS: &str = "/kiosk/v1/stores/shibuya/orders";

#[tokio::test]
async fn a_kiosk_order_carries_its_pager_its_service_modes_and_the_terminals_tender() {
    let gateway = gateway().await;
    let answer = gateway.place(ORDERS, KEY, &kiosk()).await;
    let location = header(&answer, "location");
    let placed = body(answer, 201).await;
    assert_eq!(placed["order"]["pager_number"], "17");
    assert_eq!(placed["order"]["lines"][0]["service_mode"], "eat_in");
    assert_eq!(placed["order"]["lines"][1]["service_mode"], "take_away");
    assert!(placed["order"].get("pickup_time").is_none());

    let sent = gateway.fakes.orders.placed().remove(0);
    assert_eq!((sent.product(), sent.pager_number.as_str()), (Product::Kiosk, "17"));
    assert_eq!(sent.request_id, format!("kiosk:shibuya:{KEY}"));
    assert_eq!(sent.tenders[0].reference, "term-4-001923");
    let modes: Vec<_> = sent.lines.iter().map(|line| line.service_mode()).collect();
    assert_eq!(modes, [ServiceMode::DineIn, ServiceMode::Takeaway]);

    let token = text(&placed["order_token"]);
    let read = body(gateway.get(&location).bearer_auth(&token).send().await.unwrap(), 200).await;
    assert_eq!(read["order_id"], placed["order"]["order_id"]);
    let cancelled = gateway.post(&format!("{location}/cancel")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(body(cancelled, 200).await["state"], "CANCELLED");
}

#[tokio::test]
async fn a_kiosk_order_without_the_guests_choice_of_eat_in_or_take_away_is_refused() {
    let gateway = gateway().await;
    let mut order = kiosk();
    order.as_object_mut().unwrap().remove("service_mode");
    let told = problem(gateway.place(ORDERS, KEY, &order).await, 400, "INVALID_BODY").await;
    assert!(text(&told["detail"]).contains("service_mode"), "{told}");
    order["service_mode"] = json!("drive_in");
    let told = problem(gateway.place(ORDERS, KEY, &order).await, 400, "INVALID_BODY").await;
    assert_eq!(told["errors"][0]["field"], "/service_mode");
}

#[tokio::test]
async fn the_same_key_in_two_products_makes_two_orders() {
    let gateway = gateway().await;
    body(gateway.place(ORDERS, KEY, &kiosk()).await, 201).await;
    body(gateway.place("/togo/v1/stores/shibuya/orders", KEY, &togo()).await, 201).await;
    assert_eq!(gateway.fakes.orders.placed().len(), 2);
}

#[tokio::test]
async fn a_kiosk_quote_goes_by_the_chosen_service_mode() {
    let gateway = gateway().await;
    let lines = json!({"service_mode": "take_away", "lines": [{"item_id": "yakitori", "quantity": 1}]});
    let quote = body(gateway.send("/kiosk/v1/stores/shibuya/quote", &lines).await, 200).await;
    assert_eq!(quote["lines"][0]["service_mode"], "take_away");
}

#[tokio::test]
async fn an_order_is_refused_in_the_language_that_the_guest_likes_best() {
    let gateway = gateway().await;
    let order =
        gateway.post(ORDERS).header("idempotency-key", KEY).header("accept-language", "ja;q=0.8, ko-KR, en;q=0.2");
    body(order.json(&kiosk()).send().await.unwrap(), 201).await;
    assert_eq!(gateway.fakes.orders.placed().remove(0).locale, "ko-KR");
}
