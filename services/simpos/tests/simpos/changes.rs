//! Orders that are taken back, and their way through the kitchen.

use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Pos, cancel, in_memory, line, linked, order, round, spawned, void};
use reqwest::Method;
use serde_json::{Value, json};

async fn unanswered(pos: &Pos, path: &str, body: Value) {
    let error = pos.send(Method::POST, path, body).await.expect_err("no answer");
    assert!(!error.is_timeout() && error.status().is_none(), "{error:?}");
}

async fn is_cancelled(pos: &Pos, reference: &str) -> bool {
    pos.get(&format!("/api/orders/{reference}")).await["cancelled_at"].is_i64()
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// An order of three edamame and one tofu (¥380 each).
fn two_lines(reference: &str) -> Value {
    let mut order = order(reference);
    order["lines"] = json!([line("l1", "edamame", 3), line("l2", "hiyayakko", 1)]);
    order
}

#[tokio::test]
async fn a_cancelled_order_is_void_once_and_its_slip_says_so() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let check = pos.post("/api/orders", round("r1", "T1")).await["check_number"].clone();
    let cancelled = pos.post("/api/orders/r1/cancel", cancel("x1")).await;
    assert_eq!((&cancelled["duplicate"], &cancelled["total"]), (&json!(false), &json!(0)));
    assert!(cancelled["cancelled_at"].is_i64());
    for change in ["x1", "x2"] {
        let again = pos.post("/api/orders/r1/cancel", cancel(change)).await;
        assert_eq!((&again["duplicate"], &again["cancelled_at"]), (&json!(true), &cancelled["cancelled_at"]));
    }
    assert_eq!(pos.marks("r1").await, ["normal", "void"]);
    let slip = pos.get("/api/tickets?after=1").await["tickets"][0]["text"].as_str().unwrap().to_owned();
    assert!(slip.contains("VOID") && slip.contains("changed their mind"), "{slip}");
    let check = pos.get(&format!("/api/checks/{check}")).await;
    assert_eq!((&check["totals"]["total"], &check["state"]), (&json!(0), &json!("open")));
    assert_eq!(pos.refused("/api/orders/none/cancel", cancel("x3")).await, (404, "ORDER_NOT_FOUND".into()));

    pos.post("/api/orders", round("r2", "T1")).await;
    assert_eq!(pos.refused("/api/orders/r2/cancel", cancel("x1")).await, (409, "REFERENCE_REUSED".into()));
    assert_eq!(pos.post("/api/orders", round("r1", "T1")).await["duplicate"], true, "its reference stays taken");
    linked.stop().await;
}

#[tokio::test]
async fn lines_are_void_by_how_much_in_all_and_repeating_it_changes_nothing() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.post("/api/orders", two_lines("r1")).await;
    let once = pos.post("/api/orders/r1/void", void("x1", "l1", 1)).await;
    assert_eq!((&once["voided"], &once["total"]), (&json!({"l1": 1}), &json!(380 * 3)));
    for change in ["x1", "x2"] {
        let again = pos.post("/api/orders/r1/void", void(change, "l1", 1)).await;
        assert_eq!((&again["duplicate"], &again["total"]), (&json!(true), &once["total"]), "{change}");
    }
    let more = pos.post("/api/orders/r1/void", void("x3", "l1", 3)).await;
    assert_eq!((&more["total"], &more["cancelled_at"]), (&json!(380), &Value::Null));
    assert_eq!(pos.refused("/api/orders/r1/void", void("x1", "l2", 1)).await, (409, "REFERENCE_REUSED".into()));
    assert_eq!(pos.refused("/api/orders/r1/void", void("x4", "l2", 2)).await, (422, "LINE_UNKNOWN".into()));
    assert_eq!(pos.refused("/api/orders/r1/void", void("x4", "l9", 1)).await, (422, "LINE_UNKNOWN".into()));
    let last = pos.post("/api/orders/r1/void", void("x5", "l2", 1)).await;
    assert!(last["cancelled_at"].is_i64(), "nothing is left of it: {last}");
    assert_eq!(pos.refused("/api/orders/r1/void", void("x6", "l2", 2)).await.1, "LINE_UNKNOWN");
    assert_eq!(pos.marks("r1").await, ["normal", "void", "void", "void"]);
    linked.stop().await;
}

#[tokio::test]
async fn a_prepaid_order_that_is_cancelled_gives_its_money_back() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let mut paid = order("k1");
    paid["tenders"] = json!([{"tender_id": "qr", "amount": 380}]);
    let check = pos.post("/api/orders", paid).await["check_number"].clone();
    pos.post("/api/orders/k1/cancel", cancel("x1")).await;
    let check = pos.get(&format!("/api/checks/{check}")).await;
    assert_eq!((&check["state"], &check["tenders"], &check["due"]), (&json!("cancelled"), &json!([]), &json!(0)));
    linked.stop().await;
}

#[tokio::test]
async fn the_api_takes_nothing_back_once_the_kitchen_is_too_far_but_the_staff_may() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    for reference in ["r1", "r2"] {
        pos.post("/api/orders", two_lines(reference)).await;
        pos.staff("progress", json!({"reference": reference, "to": "in_preparation"})).await;
    }
    assert_eq!(pos.refused("/api/orders/r1/cancel", cancel("x1")).await, (422, "TOO_LATE".into()));
    assert_eq!(pos.refused("/api/orders/r1/void", void("x2", "l1", 1)).await, (422, "TOO_LATE".into()));
    pos.set(json!({"cancellable_until": "in_preparation"})).await;
    pos.post("/api/orders/r1/void", void("x2", "l1", 1)).await;
    pos.set(json!({"cancellable_until": null})).await;
    assert_eq!(pos.refused("/api/orders/r1/cancel", cancel("x1")).await, (422, "TOO_LATE".into()));
    pos.staff("void_lines", json!({"reference": "r1", "lines": [{"reference": "l1", "quantity_voided": 2}]})).await;
    assert_eq!(pos.get("/api/orders/r1").await["voided"], json!({"l1": 2}));
    pos.staff("cancel_order", json!({"reference": "r2"})).await;
    assert!(is_cancelled(pos, "r2").await);
    linked.stop().await;
}

#[tokio::test]
async fn what_is_billed_closed_or_shut_is_not_taken_back_by_api() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let number = pos.post("/api/orders", round("r1", "T1")).await["check_number"].clone();
    pos.fault(json!({"kind": "business_day_closed"})).await;
    assert_eq!(pos.refused("/api/orders/r1/cancel", cancel("x1")).await, (503, "BUSINESS_DAY_NOT_OPEN".into()));
    pos.ask(Method::DELETE, "/control/faults", Value::Null).await;
    pos.post(&format!("/api/checks/{number}/bill"), Value::Null).await;
    assert_eq!(pos.refused("/api/orders/r1/cancel", cancel("x1")).await, (422, "CHECK_AWAITING_PAYMENT".into()));
    pos.staff("close", json!({"check_number": number})).await;
    assert_eq!(pos.refused("/api/orders/r1/cancel", cancel("x1")).await, (422, "CHECK_CLOSED".into()));
    let closed = pos.get("/api/orders/r1").await;
    assert_eq!(closed["progress"], "completed", "its table has paid");
    linked.stop().await;
}

#[tokio::test]
async fn each_fault_strikes_a_change_as_it_strikes_an_order() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    for (on, path, body) in [("cancel", "cancel", cancel("x")), ("void", "void", void("x", "l1", 1))] {
        let changes = async |reference: &str| pos.get(&format!("/api/orders/{reference}")).await["total"] != 380 * 4;
        let prepare = async |reference: &str| {
            pos.post("/api/orders", two_lines(reference)).await;
            let mut body = body.clone();
            body["change_reference"] = json!(reference);
            (format!("/api/orders/{reference}/{path}"), body)
        };
        let (call, body) = prepare(&format!("{on}-lost")).await;
        pos.fault(json!({"kind": "drop_answer_after_record", "on": on, "times": 1})).await;
        unanswered(pos, &call, body.clone()).await;
        assert!(changes(&format!("{on}-lost")).await);
        assert_eq!(pos.post(&call, body).await["duplicate"], true);

        let (call, body) = prepare(&format!("{on}-dropped")).await;
        pos.fault(json!({"kind": "drop_before_record", "on": on, "times": 1})).await;
        unanswered(pos, &call, body).await;
        assert!(!changes(&format!("{on}-dropped")).await);

        let (call, body) = prepare(&format!("{on}-refused")).await;
        pos.fault(json!({"kind": "refuse", "cause": "TABLE_LOCKED", "retry_after_ms": 10, "on": on, "times": 1})).await;
        assert_eq!(pos.refused(&call, body.clone()).await, (503, "TABLE_LOCKED".into()));
        pos.fault(json!({"kind": "refuse", "cause": "NOT_HERE", "on": on, "times": 1})).await;
        assert_eq!(pos.refused(&call, body).await, (422, "NOT_HERE".into()));
        assert!(!changes(&format!("{on}-refused")).await);

        // The first is sent before the second and would be recorded before it.
        let (call, mut body) = prepare(&format!("{on}-expired")).await;
        body["not_after"] = json!(now_ms() + 50);
        pos.fault(json!({"kind": "record_late", "delay_ms": 150, "on": on, "times": 1})).await;
        unanswered(pos, &call, body).await;
        let (call, mut body) = prepare(&format!("{on}-broken")).await;
        body["not_after"] = json!(now_ms() + 50);
        let broken = json!({"kind": "record_late", "delay_ms": 150, "ignore_not_after": true, "on": on, "times": 1});
        pos.fault(broken).await;
        unanswered(pos, &call, body).await;
        let deadline = Instant::now() + PATIENCE;
        while !changes(&format!("{on}-broken")).await {
            assert!(Instant::now() < deadline, "it was never carried out");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!changes(&format!("{on}-expired")).await);
    }
    linked.stop().await;
}

#[tokio::test]
async fn a_crash_before_or_after_a_change_was_recorded_shows_after_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    for (kind, recorded) in [("crash_before_record", false), ("crash_after_record", true)] {
        let mut first = spawned(&journal).await;
        first.pos.post("/api/orders", two_lines(kind)).await;
        first.pos.fault(json!({"kind": kind, "on": "cancel"})).await;
        unanswered(&first.pos, &format!("/api/orders/{kind}/cancel"), cancel(kind)).await;
        let exit = tokio::time::timeout(PATIENCE, first.process.wait()).await.expect("exits").unwrap();
        assert_eq!(exit.code(), Some(70));

        let again = spawned(&journal).await;
        assert_eq!(is_cancelled(&again.pos, kind).await, recorded);
        let cancelled = again.pos.post(&format!("/api/orders/{kind}/cancel"), cancel(kind)).await;
        assert_eq!(cancelled["duplicate"], recorded);
        assert_eq!(again.pos.marks(kind).await, ["normal", "void"]);
    }
}

#[tokio::test]
async fn the_kitchen_goes_on_by_itself_and_events_tell_each_step_once() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let begin = pos.get("/api/events").await;
    assert_eq!((&begin["events"], &begin["cursor"]), (&json!([]), &json!(0)));
    pos.set(json!({"progress_after_ms": [20, 20, 20]})).await;
    pos.post("/api/orders", order("r1")).await;
    pos.post("/api/orders", order("r2")).await;
    pos.post("/api/orders/r2/cancel", cancel("x1")).await;
    let deadline = Instant::now() + PATIENCE;
    while pos.get("/api/orders/r1").await["progress"] != "completed" {
        assert!(Instant::now() < deadline, "it never came to an end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (mut cursor, mut told) = (0, Vec::new());
    loop {
        let page = pos.get(&format!("/api/events?after={cursor}&limit=2")).await;
        told.extend(page["events"].as_array().unwrap().iter().cloned());
        cursor = page["cursor"].as_u64().unwrap();
        if page["more"] == false {
            break;
        }
    }
    let steps = |reference: &str| -> Vec<String> {
        let own = told.iter().filter(|event| event["reference"] == reference);
        own.map(|e| e["to"].as_str().unwrap_or(e["event"].as_str().unwrap()).to_owned()).collect()
    };
    assert_eq!(steps("r1"), ["recorded", "printed", "in_preparation", "ready", "completed"]);
    assert_eq!(steps("r2"), ["recorded", "printed", "cancelled"]);
    let (status, body) = pos.ask(Method::GET, &format!("/api/events?after={}", cursor + 1), Value::Null).await;
    assert_eq!((status.as_u16(), &body["error"]["cause"]), (410, &json!("CURSOR_TOO_OLD")), "never given");
    pos.set(json!({"keep_events": 2})).await;
    pos.post("/api/orders", order("r3")).await;
    let (_, body) = pos.ask(Method::GET, "/api/events?after=0", Value::Null).await;
    assert_eq!(body["error"]["cause"], "CURSOR_TOO_OLD");
    assert_eq!(pos.get(&format!("/api/events?after={cursor}")).await["events"].as_array().unwrap().len(), 2);
    linked.stop().await;
}

#[tokio::test]
async fn an_order_never_goes_back_in_the_kitchen() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.post("/api/orders", order("r1")).await;
    pos.staff("progress", json!({"reference": "r1", "to": "ready"})).await;
    pos.staff("progress", json!({"reference": "r1", "to": "in_preparation"})).await;
    assert_eq!(pos.get("/api/orders/r1").await["progress"], "ready");
    linked.stop().await;
}

#[tokio::test]
async fn a_slip_that_comes_out_long_after_it_was_made_is_marked_late() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.set(json!({"late_after_ms": 0})).await;
    pos.fault(json!({"kind": "out_of_paper"})).await;
    pos.post("/api/orders", order("r1")).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    pos.ask(Method::DELETE, "/control/faults", Value::Null).await;
    assert_eq!(pos.marks("r1").await, ["late"]);
    let journal = pos.get("/control/journal").await;
    let last = &journal["entries"].as_array().unwrap().last().unwrap()["event"];
    assert_eq!((&last["printed_tickets"], &last["late_tickets"]), (&json!([1]), &json!([1])));
    pos.post("/api/tickets/1/reprint", Value::Null).await;
    assert_eq!(pos.marks("r1").await, ["late", "reprint"]);
    linked.stop().await;
}

#[tokio::test]
async fn a_poorer_pos_forgets_references_and_makes_the_order_again() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let poor = |reference: &str, uniqueness: Value| {
        let mut order = order(reference);
        order["uniqueness"] = uniqueness;
        order
    };
    let none = || poor("none", json!({"kind": "none"}));
    pos.post("/api/orders", none()).await;
    assert_eq!(pos.post("/api/orders", none()).await["copies"], json!([1]));
    assert_eq!(pos.journaled_orders().await, ["none", "none"]);
    pos.post("/api/orders/none/cancel", cancel("x1")).await;
    assert_eq!(pos.marks("none").await, ["normal", "normal", "void", "void"], "all of them are taken back");

    let window = |ms: u64| poor("window", json!({"kind": "window", "window_ms": ms}));
    pos.post("/api/orders", window(60_000)).await;
    assert_eq!(pos.post("/api/orders", window(60_000)).await["duplicate"], true);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(pos.post("/api/orders", window(1)).await["duplicate"], false);
    linked.stop().await;
}

#[tokio::test]
async fn changes_are_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let first = linked(Some(&journal)).await;
    let pos = &first.pos;
    pos.set(json!({"cancellable_until": "ready", "keep_events": 50})).await;
    for reference in ["r1", "r2", "r3", "r4"] {
        pos.post("/api/orders", two_lines(reference)).await;
    }
    pos.post("/api/orders/r1/void", void("x1", "l1", 2)).await;
    pos.post("/api/orders/r2/cancel", cancel("x2")).await;
    pos.staff("progress", json!({"reference": "r3", "to": "ready"})).await;
    pos.staff("lose_order", json!({"reference": "r4"})).await;
    assert!(!pos.has("r4").await);
    let paths = ["/api/orders", "/api/events?after=0", "/api/tickets", "/control/settings", "/api/checks"];
    let mut before = Vec::new();
    for path in paths {
        before.push(pos.get(path).await);
    }
    first.stop().await;
    let second = linked(Some(&journal)).await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(second.pos.get(path).await, before, "{path}");
    }
    assert_eq!(second.pos.post("/api/orders/r1/void", void("x1", "l1", 2)).await["duplicate"], true);
    assert_eq!(second.pos.post("/api/orders", two_lines("r4")).await["duplicate"], false, "a lost order is not there");
    second.stop().await;
}
