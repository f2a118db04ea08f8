//! Table: a visit of guests, in rounds on one check, which the staff see and end at the POS.

use futures_util::future::join_all;
use posmesh_e2e::{Http, Shape, Shop, eventually, line};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{Check, OpenCheckRequest, OrderLineInput, PlaceOrderRequest},
};
use serde_json::{Value, json};

use crate::orders::{is_once_at_the_pos, is_truly_placed, key};

posmesh_e2e::on_both_shapes!(
    two_rounds_make_one_check_the_bill_can_be_asked_for_and_paying_at_the_till_ends_the_guests_token,
    a_check_that_staff_opened_is_joined_and_their_lines_are_on_the_bill,
    guests_who_scan_the_same_table_share_its_check,
    rounds_ordered_at_once_at_two_replicas_reach_the_pos_in_their_order,
);

pub(crate) async fn open_check(shop: &Shop, table_id: &str) -> Check {
    let store_id = shop.store_id.clone();
    let request = OpenCheckRequest { store_id, table_id: table_id.into(), party_size: 2 };
    shop.orders(0).open_check(request).await.unwrap().into_inner().check.unwrap()
}

pub(crate) async fn round(shop: &Shop, check_id: &str, lines: &[OrderLineInput]) -> PlaceOrderRequest {
    PlaceOrderRequest { check_id: check_id.into(), ..shop.request(Product::Table, lines).await }
}

/// What a guest orders who agrees to the quote.
pub(crate) async fn order_round(shop: &Shop, token: &str, lines: Value) -> Value {
    let quote = shop.http.post("/table/v1/check/quote", &json!({ "lines": lines })).bearer_auth(token);
    let total = Http::send(quote).await.unwrap().ok()["price"]["total"].clone();
    let body = json!({ "lines": lines, "expected_total": total });
    let round = shop.http.place("/table/v1/check/rounds", &key(), &body).bearer_auth(token);
    Http::send(round).await.unwrap().ok()["order"].take()
}

async fn two_rounds_make_one_check_the_bill_can_be_asked_for_and_paying_at_the_till_ends_the_guests_token(
    shape: Shape,
) {
    let shop = Shop::open(shape).await;
    let seated = shop.sit_down("T4").await;
    assert_eq!((&seated["joined"], &seated["check"]["state"]), (&json!(false), &json!("OPEN")));
    let token = seated["guest_token"].as_str().unwrap();
    let nothing_yet =
        Http::send(shop.http.post("/table/v1/check/bill", &Value::Null).bearer_auth(token)).await.unwrap();
    assert_eq!(nothing_yet.problem().1, "NOTHING_ORDERED");

    let first = order_round(&shop, token, json!([{ "item_id": "yaki_onigiri", "quantity": 2 }])).await;
    let second = order_round(&shop, token, json!([{ "item_id": "nikujaga", "quantity": 1 }])).await;
    assert_eq!((&first["state"], &second["state"]), (&json!("PLACED"), &json!("PLACED")), "{first:#} {second:#}");
    assert_eq!((&first["round"], &second["round"]), (&json!(1), &json!(2)));
    let mut numbers = Vec::new();
    for (round, total) in [(&first, 500), (&second, 580)] {
        let number = round["display_number"].as_str().unwrap();
        let recorded = is_once_at_the_pos(&shop, round["order_id"].as_str().unwrap(), number, total).await;
        assert_eq!(recorded["table"], "T4");
        numbers.push(recorded["check_number"].clone());
    }
    assert_eq!(numbers[0], numbers[1], "both rounds are on one check");

    let rounds = Http::send(shop.http.get("/table/v1/check/rounds").bearer_auth(token)).await.unwrap().ok();
    assert_eq!(rounds["rounds"].as_array().unwrap().len(), 2);
    assert_eq!(rounds["rounds"][0]["order_id"], second["order_id"], "newest first");

    let bill = Http::send(shop.http.post("/table/v1/check/bill", &Value::Null).bearer_auth(token)).await.unwrap().ok();
    assert_eq!(bill["check"]["state"], "BILL_REQUESTED");
    assert_eq!(bill["bill"]["total"], json!({ "currency": "JPY", "amount": 1080 }));
    let at_pos = shop.pos.check(&numbers[0]).await;
    assert_eq!((&at_pos["state"], &at_pos["totals"]["total"]), (&json!("bill_requested"), &json!(1080)));

    shop.pos.close_check(&numbers[0]).await;
    let read = async || {
        let answer = Http::send(shop.http.get("/table/v1/check").bearer_auth(token)).await.unwrap();
        (answer.status != 200).then_some(answer)
    };
    let over = eventually("the guest's token dies with the check", read).await;
    assert_eq!((over.problem().0, over.problem().1.as_str()), (410, "CHECK_CLOSED"));
    let body = json!({ "lines": [{ "item_id": "nikujaga", "quantity": 1 }],
        "expected_total": { "currency": "JPY", "amount": 580 } });
    let late = shop.http.place("/table/v1/check/rounds", &key(), &body).bearer_auth(token);
    assert_eq!(Http::send(late).await.unwrap().problem().1, "CHECK_CLOSED");
    assert_eq!(shop.pos.orders().await.len(), 2);

    let next = shop.sit_down("T4").await;
    assert_ne!(next["check"]["check_id"], seated["check"]["check_id"], "the next guests have a check of their own");
}

async fn a_check_that_staff_opened_is_joined_and_their_lines_are_on_the_bill(shape: Shape) {
    let shop = Shop::open(shape).await;
    let opened = shop.pos.open_check_by_staff("P1").await;
    shop.pos.enter_by_staff(&opened["number"], "ramune").await;
    let seated = shop.sit_down("P1").await;
    assert_eq!(seated["joined"], true);
    let token = seated["guest_token"].as_str().unwrap();

    let order = order_round(&shop, token, json!([{ "item_id": "yaki_onigiri", "quantity": 1 }])).await;
    assert_eq!(order["state"], "PLACED", "{order:#}");
    let number = order["display_number"].as_str().unwrap();
    let recorded = is_once_at_the_pos(&shop, order["order_id"].as_str().unwrap(), number, 250).await;
    assert_eq!(recorded["check_number"], opened["number"]);
    let at_pos = shop.pos.check(&opened["number"]).await;
    assert_eq!(at_pos["opened_by"], "staff:hanako");

    let bill = shop.http.get("/table/v1/check?include_bill=true").bearer_auth(token);
    let bill = Http::send(bill).await.unwrap().ok();
    assert_eq!(bill["bill"]["total"]["amount"], 630, "what staff entered counts: {bill:#}");
}

async fn guests_who_scan_the_same_table_share_its_check(shape: Shape) {
    let shop = Shop::open(shape).await;
    let seated = join_all((0..4).map(|_| shop.sit_down("C3"))).await;
    let mut ids: Vec<&str> = seated.iter().map(|seated| seated["check"]["check_id"].as_str().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{seated:#?}");
    assert_eq!(seated.iter().filter(|seated| seated["joined"] == false).count(), 1, "one of them opened it");
}

async fn rounds_ordered_at_once_at_two_replicas_reach_the_pos_in_their_order(shape: Shape) {
    let shop = Shop::open(shape).await;
    let check = open_check(&shop, "T2").await;
    // The POS dawdles with the first, so that a careless later one would overtake it.
    shop.pos.fault(json!({ "kind": "delay", "delay_ms": 400, "times": 1 })).await;
    let request = round(&shop, &check.check_id, &[line("yaki_onigiri", 1)]).await;
    let orders = (0..6).map(|at| {
        let request = PlaceOrderRequest { request_id: key(), ..request.clone() };
        let shop = &shop;
        async move { shop.placed(at % 2, request).await }
    });
    let mut orders = join_all(orders).await;
    orders.sort_by_key(|order| order.round);
    assert_eq!(orders.iter().map(|order| order.round).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    for order in &orders {
        is_truly_placed(&shop, order).await;
    }
    let recorded: Vec<Value> =
        shop.pos.orders().await.into_iter().map(|mut order| order["request"]["reference"].take()).collect();
    let told: Vec<&str> = orders.iter().map(|order| order.order_id.as_str()).collect();
    assert_eq!(recorded, told, "the POS has the rounds in the order of their numbers");
}
