//! What the staff do with checks, and how checks are split.

use crate::support::{in_memory, line, order, round, void};
use reqwest::Method;
use serde_json::{Value, json};

async fn total(pos: &crate::support::Pos, check: u64) -> i64 {
    pos.get(&format!("/api/checks/{check}")).await["totals"]["total"].as_i64().unwrap()
}

#[tokio::test]
async fn moved_guests_keep_their_check() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let check = pos.post("/api/orders", round("r1", "T1")).await["check_number"].clone();
    pos.staff("move_table", json!({"check_number": check, "table": "T2"})).await;
    let mut second = round("r2", "T2");
    second["check_number"] = check.clone();
    assert_eq!(pos.post("/api/orders", second).await["check_number"], check);
    let fresh = pos.post("/api/orders", round("r3", "T1")).await;
    assert_ne!(fresh["check_number"], check, "the next guests of the table do not join them");
    linked.stop().await;
}

#[tokio::test]
async fn a_check_that_is_joined_into_another_ends_there_with_its_orders() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.post("/api/orders", round("r1", "T1")).await;
    pos.post("/api/orders", round("r2", "T2")).await;
    pos.staff("merge_checks", json!({"check_number": 1, "into": 2})).await;
    let merged = pos.get("/api/checks/1").await;
    assert_eq!((&merged["state"], &merged["merged_into"], &merged["lines"]), (&json!("merged"), &json!(2), &json!([])));
    assert_eq!(total(pos, 2).await, 760);
    assert_eq!(pos.get("/api/orders/r1").await["check_number"], 2);
    let mut late = round("r3", "T1");
    late["check_number"] = json!(1);
    assert_eq!(pos.refused("/api/orders", late).await, (422, "CHECK_MERGED".into()));
    pos.post("/api/orders/r1/void", void("x1", "l1", 1)).await;
    assert_eq!(total(pos, 2).await, 380, "its orders are void where they are now");
    linked.stop().await;
}

#[tokio::test]
async fn an_even_split_is_right_to_the_yen_per_rate_and_made_once() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let mut mixed = round("r1", "T1");
    let mut takeaway = line("l2", "hiyayakko", 1);
    takeaway["service_mode"] = json!("takeaway");
    mixed["lines"] = json!([line("l1", "edamame", 1), takeaway, line("l3", "tataki_kyuri", 1)]);
    pos.post("/api/orders", mixed).await;
    let whole = total(pos, 1).await;
    let split = json!({"change_reference": "x1", "parts": 3});
    let checks = pos.post("/api/checks/1/split", split.clone()).await;
    let numbers: Vec<_> = checks["checks"].as_array().unwrap().iter().map(|c| c["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(pos.post("/api/checks/1/split", split).await, checks, "made once");
    let totals = [total(pos, 1).await, total(pos, 2).await, total(pos, 3).await];
    assert_eq!(totals.iter().sum::<i64>(), whole);
    // 800 at 10 % and 380 at 8 %: what does not divide stays on the first.
    assert_eq!(totals, [268 + 128, 266 + 126, 266 + 126]);
    assert_eq!(pos.get("/api/checks/2").await["split_from"], 1);
    let other = json!({"change_reference": "x1", "parts": 2});
    assert_eq!(pos.refused("/api/checks/1/split", other).await, (409, "REFERENCE_REUSED".into()));
    for wrong in [json!({"parts": 1}), json!({"parts": 100}), json!({}), json!({"by_item": [{"lines": []}]})] {
        let mut wrong = wrong;
        wrong["change_reference"] = json!("x2");
        assert_eq!(pos.refused("/api/checks/1/split", wrong).await.0, 400);
    }
    linked.stop().await;
}

#[tokio::test]
async fn a_split_by_item_moves_whole_units_and_voids_find_them_there() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let mut three = round("r1", "T1");
    three["lines"] = json!([line("l1", "edamame", 3)]);
    pos.post("/api/orders", three).await;
    let id = pos.get("/api/checks/1").await["lines"][0]["line_id"].clone();
    let part = |quantity: u32| json!([{"lines": [{"line_id": id, "quantity": quantity}]}]);
    let too_much = json!({"change_reference": "x1", "by_item": part(4)});
    assert_eq!(pos.refused("/api/checks/1/split", too_much).await, (422, "LINE_UNKNOWN".into()));
    pos.post("/api/checks/1/split", json!({"change_reference": "x1", "by_item": part(2)})).await;
    assert_eq!([total(pos, 1).await, total(pos, 2).await], [380, 760]);
    pos.post("/api/orders/r1/void", void("x2", "l1", 2)).await;
    assert_eq!([total(pos, 1).await, total(pos, 2).await], [0, 380]);
    pos.staff("split_check", json!({"check_number": 2, "parts": 2})).await;
    assert_eq!([total(pos, 2).await, total(pos, 3).await], [190, 190]);
    linked.stop().await;
}

#[tokio::test]
async fn a_faulty_answer_to_a_split_is_repeated_without_harm() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.post("/api/orders", round("r1", "T1")).await;
    pos.fault(json!({"kind": "drop_answer_after_record", "on": "split", "times": 1})).await;
    let split = json!({"change_reference": "x1", "parts": 2});
    pos.send(Method::POST, "/api/checks/1/split", split.clone()).await.expect_err("no answer");
    let checks = pos.post("/api/checks/1/split", split).await;
    assert_eq!(checks["checks"].as_array().unwrap().len(), 2);
    assert_eq!(pos.get("/api/checks").await["checks"].as_array().unwrap().len(), 2);
    linked.stop().await;
}

#[tokio::test]
async fn discounts_and_charges_of_the_staff_are_on_the_bill_and_taxed() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.post("/api/orders", round("r1", "T1")).await;
    let adjust =
        |name: &str, amount: i64| json!({"check_number": 1, "name": name, "amount": amount, "tax_rate_percent": 10});
    pos.staff("adjust", adjust("サービス料", 38)).await;
    pos.staff("adjust", adjust("値引", -100)).await;
    let check = pos.get("/api/checks/1").await;
    assert_eq!(check["totals"], json!({"total": 318, "taxes": [{"rate_percent": 10, "gross": 318, "tax": 28}]}));
    let mut below = adjust("値引", -319);
    below["staff"] = json!("sato");
    below["action"] = json!("adjust");
    assert_eq!(pos.refused("/control/staff", below).await, (400, "INVALID_REQUEST".into()));
    pos.post("/api/checks/1/bill", Value::Null).await;
    let bill = pos.get("/api/tickets?after=1").await["tickets"][0]["text"].as_str().unwrap().to_owned();
    assert!(bill.contains("サービス料") && bill.contains("¥318"), "{bill}");
    let tenders = json!([{"tender_id": "cash", "amount": 318}]);
    pos.staff("close", json!({"check_number": 1, "tenders": tenders})).await;
    assert_eq!(pos.get("/api/checks/1").await["due"], 0);
    linked.stop().await;
}

#[tokio::test]
async fn orders_are_listed_by_time_and_by_business_date_in_pages() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    for index in 0..5 {
        pos.post("/api/orders", order(&format!("r{index}"))).await;
    }
    let all = pos.get("/api/orders").await["orders"].clone();
    let at = |index: usize| all[index]["order"]["recorded_at"].as_i64().unwrap();
    let listed = async |query: String| -> Vec<u64> {
        let list = pos.get(&format!("/api/orders?{query}")).await;
        list["orders"].as_array().unwrap().iter().map(|o| o["order"]["order_number"].as_u64().unwrap()).collect()
    };
    let within = listed(format!("since={}&before={}", at(0), at(4))).await;
    let expected: Vec<u64> = (0..5).filter(|i| at(*i) < at(4)).map(|i| i as u64 + 1).collect();
    assert_eq!(within, expected);
    let date = pos.get("/api/status").await["business_date"].as_str().unwrap().to_owned();
    assert_eq!(listed(format!("business_date={date}&limit=2")).await, [1, 2]);
    assert_eq!(listed(format!("business_date={date}&limit=9&after=2")).await, [3, 4, 5]);
    assert!(listed("business_date=1999-01-01".to_owned()).await.is_empty());
    linked.stop().await;
}
