//! Each fault does what it says, as the journal tells.

use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Pos, in_memory, linked, order, round, spawned};
use posmesh_simpos::RunError;
use reqwest::Method;
use serde_json::{Value, json};

/// Sends an order that must end without an answer.
async fn unanswered(pos: &Pos, order: Value) {
    let error = pos.send(Method::POST, "/api/orders", order).await.expect_err("no answer");
    assert!(!error.is_timeout() && error.status().is_none(), "{error:?}");
}

async fn until_recorded(pos: &Pos, reference: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !pos.has(reference).await {
        assert!(Instant::now() < deadline, "{reference} was never recorded");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

#[tokio::test]
async fn a_delayed_order_is_recorded_even_if_its_caller_leaves() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.fault(json!({"kind": "delay", "delay_ms": 200, "times": 1})).await;
    assert_eq!(pos.get("/api/status").await["max_apply_delay_ms"], 200);
    let sent =
        tokio::time::timeout(Duration::from_millis(50), pos.send(Method::POST, "/api/orders", order("r1"))).await;
    assert!(sent.is_err(), "answered before the delay was over");
    assert!(!pos.has("r1").await);
    until_recorded(pos, "r1").await;
    let journal = pos.get("/control/journal").await;
    assert!(journal["entries"][0]["handling_us"].as_u64().unwrap() >= 200_000, "{journal}");
    assert_eq!(pos.get("/api/status").await["max_apply_delay_ms"], 0);
    linked.stop().await;
}

#[tokio::test]
async fn refusals_are_final_or_for_now_and_record_nothing() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.fault(json!({"kind": "refuse", "cause": "CHECK_LIMIT_REACHED", "times": 1})).await;
    pos.fault(json!({"kind": "refuse", "cause": "TABLE_LOCKED", "retry_after_ms": 1500, "times": 1})).await;
    let (status, body) = pos.ask(Method::POST, "/api/orders", order("r1")).await;
    assert_eq!((status.as_u16(), &body["error"]["final"]), (422, &json!(true)));
    assert_eq!(body["error"]["cause"], "CHECK_LIMIT_REACHED");
    let response = pos.send(Method::POST, "/api/orders", order("r1")).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"2".parse().unwrap()));
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["error"]["cause"], &body["error"]["final"]), (&json!("TABLE_LOCKED"), &json!(false)));
    assert!(!pos.has("r1").await);
    pos.post("/api/orders", order("r1")).await;
    linked.stop().await;
}

#[tokio::test]
async fn an_answer_is_lost_after_or_before_the_order_was_recorded() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.fault(json!({"kind": "drop_answer_after_record", "times": 1})).await;
    unanswered(pos, order("after")).await;
    assert!(pos.has("after").await);
    pos.fault(json!({"kind": "drop_before_record", "times": 1})).await;
    unanswered(pos, order("before")).await;
    assert!(!pos.has("before").await);
    assert_eq!(pos.post("/api/orders", order("after")).await["duplicate"], true);
    assert_eq!(pos.journaled_orders().await, ["after"]);
    linked.stop().await;
}

#[tokio::test]
async fn a_late_record_keeps_not_after_unless_told_to_break_the_promise() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let late = |ignore: bool| json!({"kind": "record_late", "delay_ms": 150, "ignore_not_after": ignore, "times": 1});
    pos.fault(late(false)).await;
    unanswered(pos, order("late")).await;
    assert!(!pos.has("late").await);
    until_recorded(pos, "late").await;

    let expiring = |reference: &str| {
        let mut order = order(reference);
        order["not_after"] = json!(now_ms() + 50);
        order
    };
    pos.fault(late(false)).await;
    unanswered(pos, expiring("expired")).await;
    // The second is sent after the first and recorded after it, so that the first has had its turn by then.
    pos.fault(late(true)).await;
    unanswered(pos, expiring("broken")).await;
    until_recorded(pos, "broken").await;
    assert_eq!(pos.journaled_orders().await, ["late", "broken"]);
    linked.stop().await;
}

#[tokio::test]
async fn without_paper_orders_are_taken_and_their_slips_print_in_order_once_it_is_mended() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    for (kind, state) in
        [("out_of_paper", "out_of_paper"), ("cover_open", "cover_open"), ("printer_offline", "offline")]
    {
        let id = pos.fault(json!({"kind": kind})).await["id"].clone();
        let first = pos.post("/api/orders", order(&format!("{kind}-1"))).await;
        pos.post("/api/orders", order(&format!("{kind}-2"))).await;
        assert_eq!(first["printed"], false);
        let status = pos.get("/api/status").await;
        assert_eq!((&status["printer"], &status["waiting_tickets"]), (&json!(state), &json!(2)));
        let before = first["order"]["ticket_number"].as_u64().unwrap() - 1;
        let printed = format!("/api/tickets?after={before}");
        assert!(pos.get(&printed).await["tickets"].as_array().unwrap().is_empty());

        let (deleted, _) = pos.ask(Method::DELETE, &format!("/control/faults/{id}"), Value::Null).await;
        assert_eq!(deleted, 204);
        let tickets = pos.get(&printed).await;
        let references: Vec<_> = tickets["tickets"].as_array().unwrap().iter().map(|t| &t["order_reference"]).collect();
        assert_eq!(references, [&json!(format!("{kind}-1")), &json!(format!("{kind}-2"))]);
        assert_eq!(pos.get(&format!("/api/orders/{kind}-1")).await["printed"], true);
    }
    linked.stop().await;
}

#[tokio::test]
async fn a_closed_day_and_loading_master_data_refuse_orders_for_now() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    for (kind, cause) in [("business_day_closed", "BUSINESS_DAY_NOT_OPEN"), ("master_updating", "MASTER_UPDATING")] {
        pos.post("/api/orders", order(kind)).await;
        pos.fault(json!({"kind": kind})).await;
        assert_eq!(pos.refused("/api/orders", round("t1", "T1")).await, (503, cause.into()));
        assert_eq!(pos.post("/api/orders", order(kind)).await["duplicate"], true, "a replay is answered all the same");
        let status = pos.get("/api/status").await;
        assert_eq!(status["business_day_open"], kind != "business_day_closed");
        assert_eq!(status["app"], if kind == "master_updating" { "master_updating" } else { "running" });
        pos.ask(Method::DELETE, "/control/faults", Value::Null).await;
    }
    pos.post("/api/orders", round("t1", "T1")).await;
    linked.stop().await;
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.fault(json!({"kind": "rate_limit", "per_second": 0})).await;
    let response = pos.send(Method::POST, "/api/orders", order("r1")).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    pos.get("/api/menu").await;
    linked.stop().await;
}

#[tokio::test]
async fn a_price_and_stock_that_change_between_menu_and_order_are_noticed() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let mut submit = order("r1");
    submit["expected_total"] = json!(380);
    pos.fault(json!({"kind": "change_price", "item_id": "edamame", "price": 400, "times": 1})).await;
    assert_eq!(pos.refused("/api/orders", submit.clone()).await, (422, "PRICE_CHANGED".into()));
    submit["expected_total"] = json!(400);
    pos.fault(json!({"kind": "sold_out", "item_id": "edamame", "times": 1})).await;
    assert_eq!(pos.refused("/api/orders", submit).await, (422, "ITEM_SOLD_OUT".into()));
    linked.stop().await;
}

#[tokio::test]
async fn broken_master_data_is_served_as_it_is_and_orders_of_it_are_refused() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let mut menu = pos.get("/api/menu").await;
    let revision = menu["revision"].as_u64().unwrap();
    menu["categories"][0]["items"][0]["groups"] = json!(["no_such_group"]);
    menu["categories"][0]["items"][1]["price"] = json!(-100);
    let (status, _) = pos.ask(Method::POST, "/control/master", menu.clone()).await;
    assert_eq!(status, 204);
    let served = pos.get("/api/menu").await;
    assert_eq!((&served["categories"], &served["revision"]), (&menu["categories"], &json!(revision + 1)));
    for item in ["edamame", "hiyayakko"] {
        let mut submit = order("r1");
        submit["lines"] = json!([crate::support::line("l1", item, 1)]);
        assert_eq!(pos.refused("/api/orders", submit).await, (422, "MASTER_BROKEN".into()), "{item}");
    }
    pos.ask(Method::DELETE, "/control/master", Value::Null).await;
    pos.post("/api/orders", order("r1")).await;
    linked.stop().await;
}

#[tokio::test]
async fn a_rule_with_nonsense_is_refused() {
    let linked = in_memory().await;
    for rule in [json!({"kind": "earthquake"}), json!({"kind": "delay"}), json!({"kind": "cover_open", "on": "moon"})] {
        assert_eq!(linked.pos.refused("/control/faults", rule).await, (400, "INVALID_REQUEST".into()));
    }
    linked.stop().await;
}

#[tokio::test]
async fn a_crash_before_or_after_recording_ends_the_process_with_70_and_the_journal_tells_which() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    for (kind, recorded) in [("crash_before_record", false), ("crash_after_record", true)] {
        let mut spawned = spawned(&journal).await;
        spawned.pos.fault(json!({"kind": kind})).await;
        unanswered(&spawned.pos, round(kind, "T1")).await;
        let exit = tokio::time::timeout(PATIENCE, spawned.process.wait()).await.expect("exits").unwrap();
        assert_eq!(exit.code(), Some(70));

        let again = crate::support::spawned(&journal).await;
        assert_eq!(again.pos.has(kind).await, recorded);
        assert_eq!(again.pos.post("/api/orders", round(kind, "T1")).await["duplicate"], recorded);
    }
}

#[tokio::test]
async fn in_process_a_crash_ends_run_and_frees_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let crashing = linked(Some(&journal)).await;
    crashing.pos.fault(json!({"kind": "crash_after_record"})).await;
    unanswered(&crashing.pos, order("r1")).await;
    let ended = tokio::time::timeout(PATIENCE, crashing.ended).await.expect("ends").unwrap();
    assert!(matches!(ended, Err(RunError::Crashed)), "{ended:?}");

    let again = linked(Some(&journal)).await;
    assert!(again.pos.has("r1").await);
    again.stop().await;
}
