//! Seeing an order change.

use posmesh_e2e::{Events, Http, Shape, Shop, line, within};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{OrderState, WatchOrderRequest},
};
use serde_json::json;

use crate::orders::{an_hour_from_now, key};

posmesh_e2e::on_both_shapes!(
    a_watcher_at_the_other_replica_sees_each_change_and_resumes_after_the_last_one_it_saw,
    a_guest_follows_the_order_by_server_sent_events_and_resumes_by_the_last_event_id,
    a_guest_who_has_seen_the_end_is_told_that_nothing_more_will_come,
);

async fn a_watcher_at_the_other_replica_sees_each_change_and_resumes_after_the_last_one_it_saw(shape: Shape) {
    let shop = Shop::open(shape).await;
    shop.pos.fault(json!({ "kind": "delay", "delay_ms": 700, "times": 1 })).await;
    let order = shop.place(0, shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await).await.unwrap();
    let watch = WatchOrderRequest { order_id: order.order_id.clone(), ..WatchOrderRequest::default() };
    let mut stream = shop.orders(1).watch_order(watch.clone()).await.unwrap().into_inner();
    let first = within("the snapshot", stream.message()).await.unwrap().unwrap();
    assert_eq!(first.order.as_ref().unwrap().state(), OrderState::Sending);
    let mut last = first.clone();
    while last.order.as_ref().unwrap().state() != OrderState::Placed {
        last = within("the next change", stream.message()).await.unwrap().expect("the stream goes on");
    }
    assert!(last.order.as_ref().unwrap().version > first.order.unwrap().version);
    assert_eq!(last.order.unwrap(), shop.order(0, &order.order_id).await.unwrap());

    let resumed = WatchOrderRequest { resume_token: first.resume_token, ..watch.clone() };
    let mut resumed = shop.orders(0).watch_order(resumed).await.unwrap().into_inner();
    let change = within("what came after the token", resumed.message()).await.unwrap().unwrap();
    assert_eq!(change.order.unwrap().state(), OrderState::Placed);

    let unknown = WatchOrderRequest { resume_token: "no-token-of-ours".into(), ..watch };
    let refused = shop.orders(1).watch_order(unknown).await.unwrap_err();
    assert_eq!(posmesh_e2e::refusal(&refused), ("RESUME_TOKEN_INVALID".into(), "resume_token".into()));
}

async fn a_guest_follows_the_order_by_server_sent_events_and_resumes_by_the_last_event_id(shape: Shape) {
    let shop = Shop::open(shape).await;
    shop.pos.fault(json!({ "kind": "delay", "delay_ms": 700, "times": 1 })).await;
    let (path, token) = place(&shop).await;
    let watch = |last: Option<String>| {
        let request = shop.http.get(&format!("{path}/events")).bearer_auth(&token);
        async move { Events::open(request, last.as_deref()).await.unwrap() }
    };
    let mut events = watch(None).await.unwrap();
    let first = within("the snapshot", events.next()).await.unwrap().unwrap();
    assert_eq!(first.data["state"], "SENDING", "{:#}", first.data);
    let mut last = within("the next change", events.next()).await.unwrap().unwrap();
    while last.data["state"] != "PLACED" {
        last = within("the next change", events.next()).await.unwrap().unwrap();
    }
    assert!(last.data["display_number"].is_string());
    assert_ne!(first.id, last.id);

    let mut resumed = watch(Some(first.id)).await.unwrap();
    let change = within("what came after the id", resumed.next()).await.unwrap().unwrap();
    assert_eq!((&change.id, &change.data["state"]), (&last.id, &json!("PLACED")));
}

async fn a_guest_who_has_seen_the_end_is_told_that_nothing_more_will_come(shape: Shape) {
    let shop = Shop::open(shape).await;
    shop.pos.fault(json!({ "kind": "refuse", "cause": "ITEM_SOLD_OUT", "times": 1 })).await;
    let (path, token) = place(&shop).await;
    let request = || shop.http.get(&format!("{path}/events")).bearer_auth(&token);
    let mut events = Events::open(request(), None).await.unwrap().unwrap();
    let mut last = None;
    while let Some(event) = within("the next change", events.next()).await.unwrap() {
        last = Some(event);
    }
    let last = last.expect("at least the end is told");
    assert_eq!((&last.data["state"], &last.data["ended"]), (&json!("REJECTED"), &json!(true)));
    assert_eq!(last.data["guest_message"]["code"], "SOLD_OUT");
    assert!(Events::open(request(), Some(&last.id)).await.unwrap().is_none(), "204");
}

/// Places a ToGo order without waiting for the POS: its path and its token.
pub(crate) async fn place(shop: &Shop) -> (String, String) {
    let path = format!("/togo/v1/stores/{}/orders", shop.store_id);
    let body = json!({ "lines": [{ "item_id": "yaki_onigiri", "quantity": 1 }],
        "expected_total": { "currency": "JPY", "amount": 250 }, "pickup_time": an_hour_from_now() });
    let placing = shop.http.post(&path, &body).header("idempotency-key", key());
    let placed = Http::send(placing).await.unwrap().ok();
    let order_id = placed["order"]["order_id"].as_str().unwrap();
    (format!("{path}/{order_id}"), placed["order_token"].as_str().unwrap().to_owned())
}
