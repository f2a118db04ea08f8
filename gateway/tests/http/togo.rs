use posmesh_kit::Failure;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{OrderChangeState, OrderState},
};
use serde_json::json;
use tonic::Code;

use crate::support::*;

const ORDERS: &str = "/togo/v1/stores/shibuya/orders";

#[tokio::test]
async fn an_order_ahead_carries_its_pickup_time_contact_and_tenders() {
    let gateway = gateway().await;
    let placed = body(gateway.place(ORDERS, KEY, &togo()).await, 201).await;
    assert_eq!(placed["order"]["pickup_time"], "2026-11-22T09:30:00Z");
    assert_eq!(placed["order"]["state"], "SENDING");
    let sent = gateway.fakes.orders.placed().remove(0);
    assert_eq!(sent.product(), Product::ToGo);
    assert_eq!(sent.request_id, format!("togo:shibuya:{KEY}"));
    assert_eq!(sent.guest_contact.map(|contact| contact.phone).as_deref(), Some("+819012345678"));
    assert_eq!(sent.tenders[0].reference, "pay_8Xk2");
    assert_eq!(sent.lines[0].modifiers[0].modifier_id, "salt");
    assert_eq!(sent.lines[0].modifiers[0].quantity, 1);
    assert!(sent.wait.is_none());
}

#[tokio::test]
async fn nothing_internal_and_nothing_about_the_guest_is_in_the_answer() {
    let gateway = gateway().await;
    let answer = gateway.place(ORDERS, KEY, &togo()).await;
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let answer = answer.text().await.unwrap();
    assert!(!answer.contains("10.1.2.3") && !answer.contains("+8190") && !answer.contains("Sato"), "{answer}");
}

#[tokio::test]
async fn the_order_token_opens_its_own_order_and_no_other() {
    let gateway = gateway().await;
    let (mine, my_token) = gateway.order_ahead(KEY).await;
    let (theirs, their_token) = gateway.order_ahead(OTHER_KEY).await;
    assert_ne!(mine, theirs);
    let read = body(gateway.get(&mine).bearer_auth(&my_token).send().await.unwrap(), 200).await;
    assert!(mine.ends_with(&text(&read["order_id"])));

    problem(gateway.get(&mine).send().await.unwrap(), 401, "TOKEN_REQUIRED").await;
    for path in [mine.clone(), format!("{mine}/events")] {
        problem(gateway.get(&path).bearer_auth(&their_token).send().await.unwrap(), 401, "TOKEN_INVALID").await;
    }
    let stolen = gateway.post(&format!("{mine}/cancel")).bearer_auth(&their_token).send().await.unwrap();
    problem(stolen, 401, "TOKEN_INVALID").await;
    let as_kiosk = gateway.get(&mine.replace("/togo/", "/kiosk/")).bearer_auth(&my_token).send().await.unwrap();
    problem(as_kiosk, 401, "TOKEN_INVALID").await;
}

#[tokio::test]
async fn an_order_can_be_taken_back_until_the_store_has_it() {
    let gateway = gateway().await;
    let (early, token) = gateway.order_ahead(KEY).await;
    let cancelled = gateway.post(&format!("{early}/cancel")).bearer_auth(&token).send().await.unwrap();
    let cancelled = body(cancelled, 200).await;
    assert_eq!((&cancelled["state"], &cancelled["ended"]), (&json!("CANCELLED"), &json!(true)));

    let (late, token) = gateway.order_ahead(OTHER_KEY).await;
    let id = late.rsplit('/').next().unwrap();
    gateway.fakes.orders.advance(id, OrderState::Ready, |_| ());
    let refused = gateway.post(&format!("{late}/cancel")).bearer_auth(&token).send().await.unwrap();
    problem(refused, 409, "CANCEL_TOO_LATE").await;
}

#[tokio::test]
async fn an_order_that_the_store_has_is_told_as_wished_back_until_the_store_has_decided() {
    let gateway = gateway().await;
    let (path, token) = gateway.order_ahead(KEY).await;
    let id = path.rsplit('/').next().unwrap();
    gateway.fakes.orders.advance(id, OrderState::Placed, |_| ());
    let cancel = gateway.post(&format!("{path}/cancel")).bearer_auth(&token).header("prefer", "wait=1");
    let wished = body(cancel.send().await.unwrap(), 202).await;
    assert_eq!((&wished["state"], &wished["change"]["state"]), (&json!("PLACED"), &json!("REQUESTED")));
    assert_eq!(wished["guest_message"]["code"], "CANCELLING");
    gateway.fakes.orders.advance(id, OrderState::Placed, |order| {
        order.changes[0].set_state(OrderChangeState::Refused);
        order.changes[0].cause = "TOO_LATE".to_owned();
    });
    let kept = body(gateway.get(&path).bearer_auth(&token).send().await.unwrap(), 200).await;
    assert_eq!((&kept["change"]["state"], &kept["change"]["cause"]), (&json!("REFUSED"), &json!("TOO_LATE")));
    assert_eq!(kept["guest_message"]["code"], "NOT_CANCELLED");
}

#[tokio::test]
async fn repeating_a_request_with_its_key_gives_the_same_order() {
    let gateway = gateway().await;
    let first = body(gateway.place(ORDERS, KEY, &togo()).await, 201).await;
    let quoted = format!("\"{KEY}\"");
    for key in [KEY, &quoted] {
        let again = body(gateway.place(ORDERS, key, &togo()).await, 201).await;
        assert_eq!(again["order"]["order_id"], first["order"]["order_id"]);
    }
    assert_eq!(gateway.fakes.orders.placed().len(), 1);
}

#[tokio::test]
async fn a_key_used_again_with_another_body_is_refused() {
    let gateway = gateway().await;
    body(gateway.place(ORDERS, KEY, &togo()).await, 201).await;
    let mut other = togo();
    other["note"] = json!("extra chopsticks");
    problem(gateway.place(ORDERS, KEY, &other).await, 409, "REQUEST_ID_REUSED").await;
}

#[tokio::test]
async fn placing_needs_an_idempotency_key_that_nobody_can_guess() {
    let gateway = gateway().await;
    let without = gateway.send(ORDERS, &togo()).await;
    let told = problem(without, 400, "IDEMPOTENCY_KEY_REQUIRED").await;
    assert_eq!(told["errors"][0]["in"], "header");
    assert_eq!(told["errors"][0]["field"], "Idempotency-Key");
    for bad in ["1", "fifteen-letters", &"x".repeat(256), "with a blank in the middle"] {
        problem(gateway.place(ORDERS, bad, &togo()).await, 400, "INVALID_IDEMPOTENCY_KEY").await;
    }
    assert!(gateway.fakes.orders.placed().is_empty());
    body(gateway.place(ORDERS, &"x".repeat(255), &togo()).await, 201).await;
    assert!(gateway.fakes.orders.placed()[0].request_id.len() <= 128);
}

#[tokio::test]
async fn prefer_wait_lets_the_answer_wait_for_the_pos() {
    let gateway = gateway().await;
    let orders = gateway.fakes.orders.clone();
    let pos = tokio::spawn(async move {
        while orders.placed().is_empty() {
            tokio::task::yield_now().await;
        }
        orders.advance("order-0", OrderState::Placed, |_| ());
    });
    let request = gateway.post(ORDERS).header("Idempotency-Key", KEY).header("Prefer", "respond-async, wait=60");
    let answer = request.json(&togo()).send().await.unwrap();
    assert_eq!(header(&answer, "preference-applied"), "wait=30");
    let placed = body(answer, 201).await;
    assert_eq!(placed["order"]["state"], "PLACED");
    assert_eq!(placed["order"]["display_number"], "A-12");
    pos.await.unwrap();
    assert_eq!(gateway.fakes.orders.placed()[0].wait.map(|wait| wait.seconds), Some(30));
}

#[tokio::test]
async fn a_price_that_moved_is_told_with_the_new_quote() {
    let gateway = gateway().await;
    let mut stale = togo();
    stale["expected_total"]["amount"] = json!(900);
    let told = problem(gateway.place(ORDERS, KEY, &stale).await, 409, "PRICE_CHANGED").await;
    assert_eq!(told["quote"]["price"]["total"], json!({"currency": "JPY", "amount": 980}));
    assert_eq!(told["quote"]["lines"][0]["item_id"], "yakitori");
    assert!(gateway.fakes.orders.placed().is_empty());
}

#[tokio::test]
async fn free_pickup_times_are_told_for_what_shall_be_picked_up() {
    let gateway = gateway().await;
    let path = "/togo/v1/stores/shibuya/pickup-slots";
    let told = body(gateway.get(&format!("{path}?items=yakitori,beer&limit=3")).send().await.unwrap(), 200).await;
    let (time, free) = ("2026-11-22T09:30:00Z", json!({"pickup_time": "2026-11-22T09:30:00Z", "free": 4}));
    assert_eq!(told["slots"], json!([free, free, {"pickup_time": time}]), "no limit is set for the last one");
    problem(gateway.get(&format!("{path}?limit=many")).send().await.unwrap(), 400, "INVALID_PARAMETER").await;
}

#[tokio::test]
async fn a_pickup_time_that_is_taken_is_refused_with_the_next_one() {
    let gateway = gateway().await;
    let next = "2026-11-22T18:40:00+09:00";
    let full = Failure::new(Code::FailedPrecondition, "PICKUP_SLOT_FULL", "taken").meta("next_pickup_time", next);
    gateway.fakes.orders.fail_next_place(full);
    let told = problem(gateway.place(ORDERS, KEY, &togo()).await, 409, "PICKUP_SLOT_FULL").await;
    assert_eq!(told["next_pickup_time"], next);
}

#[tokio::test]
async fn a_store_that_has_enough_under_way_is_told_as_busy_and_when_to_come_back() {
    let gateway = gateway().await;
    let busy = Failure::new(Code::ResourceExhausted, "STORE_BUSY", "too many");
    gateway.fakes.orders.fail_next_place(busy.retry_after(std::time::Duration::from_secs(2)));
    let answer = gateway.place(ORDERS, KEY, &togo()).await;
    assert_eq!(header(&answer, "retry-after"), "2");
    problem(answer, 503, "STORE_BUSY").await;
}

#[tokio::test]
async fn an_outcome_that_nobody_knows_is_told_with_what_to_do() {
    let gateway = gateway().await;
    let unknown = Failure::new(Code::Unavailable, "OUTCOME_UNKNOWN", "commit lost at 10.1.2.3");
    gateway.fakes.orders.fail_next_place(unknown);
    let answer = gateway.place(ORDERS, KEY, &togo()).await;
    assert_eq!(header(&answer, "retry-after"), "1");
    let told = problem(answer, 503, "OUTCOME_UNKNOWN").await;
    assert!(text(&told["detail"]).contains("same Idempotency-Key"), "{told}");
    assert!(!text(&told["detail"]).contains("10.1.2.3"), "{told}");
}

#[tokio::test]
async fn an_order_in_doubt_is_told_as_one_being_checked() {
    let gateway = gateway().await;
    let (path, token) = gateway.order_ahead(KEY).await;
    gateway.fakes.orders.advance("order-0", OrderState::InDoubt, |_| ());
    let told = body(gateway.get(&path).bearer_auth(&token).send().await.unwrap(), 200).await;
    assert_eq!(told["state"], "IN_DOUBT");
    assert_eq!(told["ended"], false);
    assert_eq!(told["guest_message"]["code"], "CHECKING_WITH_STORE");
    assert!(text(&told["guest_message"]["texts"]["ja"]).contains("お店に確認しています"));
}

#[tokio::test]
async fn a_quote_tells_the_total_to_send_back() {
    let gateway = gateway().await;
    let lines = json!({"lines": [{"item_id": "yakitori", "quantity": 3}]});
    let quote = body(gateway.send("/togo/v1/stores/shibuya/quote", &lines).await, 200).await;
    assert_eq!(quote["price"]["total"]["amount"], 1470);
    assert_eq!(quote["catalog_version"], 7);
}
