//! Table: what the staff do with a table at the POS, the guests' phones follow.

use posmesh_e2e::{Answer, Http, OPS_TOKEN, Shape, Shop, eventually};
use posmesh_proto::order::v1::OrderState;
use serde_json::{Value, json};

use crate::{
    orders::key,
    tables::{open_check, order_round},
};

posmesh_e2e::on_both_shapes!(
    paying_at_the_till_completes_the_rounds_although_nobody_asks,
    a_released_table_seats_the_next_guests_once_the_till_has_closed_the_check,
    guests_whom_the_staff_moved_go_on_ordering_on_their_check,
    guests_whose_check_was_joined_into_another_are_shown_it_and_order_on_it,
    guests_split_their_check_evenly_and_each_part_has_its_bill,
);

fn a_bowl() -> Value {
    json!([{ "item_id": "nikujaga", "quantity": 1 }])
}

async fn scan(shop: &Shop, table_id: &str) -> Answer {
    let code = shop.table_code(table_id).await;
    let path = format!("/table/v1/stores/{}/checks", shop.store_id);
    Http::send(shop.http.post(&path, &json!({ "table_code": code, "party_size": 2 }))).await.unwrap()
}

async fn check_number(shop: &Shop, order: &Value) -> Value {
    let recorded = shop.pos.recorded(order["order_id"].as_str().unwrap()).await;
    recorded[0]["check_number"].clone()
}

async fn paying_at_the_till_completes_the_rounds_although_nobody_asks(shape: Shape) {
    let shop = Shop::open(shape).await;
    let seated = shop.sit_down("T1").await;
    let token = seated["guest_token"].as_str().unwrap();
    let mut rounds = Vec::new();
    for _ in 0..2 {
        rounds.push(order_round(&shop, token, a_bowl()).await);
    }
    let number = check_number(&shop, &rounds[0]).await;
    shop.pos.close_check(&number).await;
    for round in rounds {
        let order = shop.ends_up(1, round["order_id"].as_str().unwrap(), OrderState::Completed).await;
        // The POS tells of the check, or of the order itself: whichever is heard first.
        assert!(["CHECK_CLOSED", ""].contains(&order.cause.as_str()), "{order:#?}");
    }
}

async fn a_released_table_seats_the_next_guests_once_the_till_has_closed_the_check(shape: Shape) {
    let shop = Shop::open(shape).await;
    let check = open_check(&shop, "T3").await;
    let seated = shop.sit_down("T3").await;
    assert_eq!(seated["check"]["check_id"], check.check_id);
    let token = seated["guest_token"].as_str().unwrap();
    let order = order_round(&shop, token, a_bowl()).await;
    let path = format!("/ops/v1/stores/{}/tables/T3/release", shop.store_id);
    let released = Http::send(shop.http.post(&path, &Value::Null).bearer_auth(OPS_TOKEN)).await.unwrap().ok();
    assert_eq!(released["check"]["check_id"], check.check_id);
    assert_eq!(scan(&shop, "T3").await.problem().1, "TABLE_NOT_FREE");
    let body = json!({ "lines": a_bowl(), "expected_total": { "currency": "JPY", "amount": 580 } });
    let late = shop.http.place("/table/v1/check/rounds", &key(), &body).bearer_auth(token);
    assert_eq!(Http::send(late).await.unwrap().problem().1, "CHECK_CLOSED");
    let number = check_number(&shop, &order).await;
    shop.pos.close_check(&number).await;
    let free = async || {
        let answer = scan(&shop, "T3").await;
        (answer.status == 200).then(|| answer.ok())
    };
    let next = eventually("the table is free", free).await;
    assert_eq!(next["joined"], false);
}

async fn guests_whom_the_staff_moved_go_on_ordering_on_their_check(shape: Shape) {
    let shop = Shop::open(shape).await;
    let seated = shop.sit_down("T1").await;
    let token = seated["guest_token"].as_str().unwrap();
    let first = order_round(&shop, token, a_bowl()).await;
    let number = check_number(&shop, &first).await;
    shop.pos.staff(json!({ "action": "move_table", "check_number": number, "table": "T5" })).await;
    let others = shop.sit_down("T1").await;
    assert_eq!(others["joined"], false, "the old table is free");
    let joined = shop.sit_down("T5").await;
    assert_eq!(joined["check"]["check_id"], seated["check"]["check_id"]);
    assert_eq!(joined["check"]["former_table_ids"], json!(["T1"]));
    let second = order_round(&shop, token, a_bowl()).await;
    assert_eq!((&second["state"], check_number(&shop, &second).await), (&json!("PLACED"), number));
}

async fn guests_whose_check_was_joined_into_another_are_shown_it_and_order_on_it(shape: Shape) {
    let shop = Shop::open(shape).await;
    let (one, two) = (shop.sit_down("T1").await, shop.sit_down("T2").await);
    let (token, other_token) = (one["guest_token"].as_str().unwrap(), two["guest_token"].as_str().unwrap());
    let first = order_round(&shop, token, a_bowl()).await;
    let other = order_round(&shop, other_token, a_bowl()).await;
    let (number, into) = (check_number(&shop, &first).await, check_number(&shop, &other).await);
    shop.pos.staff(json!({ "action": "merge_checks", "check_number": number, "into": into })).await;
    let read = async || {
        let shown = Http::send(shop.http.get("/table/v1/check").bearer_auth(token)).await.unwrap().ok();
        (shown["check"]["state"] == "MERGED").then_some(shown)
    };
    let shown = eventually("the phone is told", read).await;
    assert_eq!(shown["continued_by"]["check"]["check_id"], two["check"]["check_id"]);
    let body = json!({ "lines": a_bowl(), "expected_total": { "currency": "JPY", "amount": 580 } });
    let refused = shop.http.place("/table/v1/check/rounds", &key(), &body).bearer_auth(token);
    assert_eq!(Http::send(refused).await.unwrap().problem().1, "CHECK_MERGED");
    let next = order_round(&shop, shown["continued_by"]["guest_token"].as_str().unwrap(), a_bowl()).await;
    assert_eq!(check_number(&shop, &next).await, into);
    shop.pos.close_check(&into).await;
    for order in [first, other, next] {
        shop.ends_up(0, order["order_id"].as_str().unwrap(), OrderState::Completed).await;
    }
}

async fn guests_split_their_check_evenly_and_each_part_has_its_bill(shape: Shape) {
    let shop = Shop::open(shape).await;
    let seated = shop.sit_down("T1").await;
    let token = seated["guest_token"].as_str().unwrap();
    order_round(&shop, token, json!([{ "item_id": "nikujaga", "quantity": 2 }])).await;
    let key = key();
    let split = async || {
        let request = shop.http.place("/table/v1/check/split", &key, &json!({ "parts": 2 })).bearer_auth(token);
        Http::send(request).await.unwrap().ok()
    };
    let (done, again) = (split().await, split().await);
    assert_eq!(done["bills"].as_array().unwrap().len(), 2, "{done:#}");
    let total: i64 = done["bills"].as_array().unwrap().iter().map(|b| b["total"]["amount"].as_i64().unwrap()).sum();
    assert_eq!(total, 1160, "{done:#}");
    assert_eq!(again["checks"][1]["check"]["check_id"], done["checks"][1]["check"]["check_id"]);
}
