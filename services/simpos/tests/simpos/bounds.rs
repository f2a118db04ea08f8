//! A POS that runs for long keeps what is young, and says what it has forgotten.

use crate::support::{KEY, cancel, configured, order, round};
use posmesh_simpos::Config;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn what_is_old_is_forgotten_and_the_pos_says_since_when_it_knows_all() {
    let linked = configured(Config { keep_entries: 20, ..Config::new(KEY) }).await;
    let pos = &linked.pos;
    assert_eq!(pos.get("/api/status").await["complete_since"], Value::Null);
    let table = pos.post("/api/orders", round("table", "T1")).await["check_number"].clone();
    for index in 0..50 {
        pos.post("/api/orders", order(&format!("r{index}"))).await;
        if index % 10 == 0 {
            pos.staff("adjust", json!({"check_number": table, "name": "x", "amount": 1, "tax_rate_percent": 10})).await;
        }
    }
    let (status, body) = pos.ask(Method::GET, "/api/orders/r0", Value::Null).await;
    assert_eq!((status.as_u16(), &body["error"]["cause"]), (404, &json!("ORDER_NOT_FOUND")));
    let since = body["error"]["complete_since"].as_i64().unwrap();
    let kept = pos.get("/api/orders").await;
    assert_eq!(kept["complete_since"], since);
    assert!(
        kept["orders"].as_array().unwrap().iter().all(|o| o["order"]["recorded_at"].as_i64().unwrap() + 1 >= since)
    );
    assert_eq!(pos.get("/api/orders/r49").await["order"]["order_number"], 51);
    let check = pos.get(&format!("/api/checks/{table}")).await;
    assert_eq!(check["totals"]["total"], 385, "a check that still changes is kept whole");
    assert_eq!(pos.ask(Method::GET, "/api/checks/2", Value::Null).await.0, 404);

    let (status, body) = pos.ask(Method::GET, "/control/journal?after=0", Value::Null).await;
    assert_eq!((status.as_u16(), &body["error"]["cause"]), (410, &json!("CURSOR_TOO_OLD")));
    let journal = pos.get("/control/journal?after=36").await;
    let seqs: Vec<_> = journal["entries"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (37..=56).collect::<Vec<_>>());
    linked.stop().await;
}

#[tokio::test]
async fn a_journal_that_grew_begins_anew_and_nothing_that_is_kept_changes_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let config =
        || Config { journal: Some(journal.clone()), keep_entries: 30, max_journal_bytes: 10_000, ..Config::new(KEY) };
    let first = configured(config()).await;
    let pos = &first.pos;
    for index in 0..400 {
        pos.post("/api/orders", order(&format!("r{index}"))).await;
    }
    pos.post("/api/orders/r399/cancel", cancel("x1")).await;
    let length = std::fs::metadata(&journal).unwrap().len();
    assert!(length < 500_000, "400 orders are in a file of {length} bytes");
    assert!(folder.path().join("journal.jsonl.old").exists());
    let paths = ["/api/orders", "/api/checks", "/api/tickets?after=380", "/api/events?after=780", "/api/menu"];
    let mut before = Vec::new();
    for path in paths {
        before.push(pos.get(path).await);
    }
    first.stop().await;

    let second = configured(config()).await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(second.pos.get(path).await, before, "{path}");
    }
    assert_eq!(second.pos.post("/api/orders/r399/cancel", cancel("x1")).await["duplicate"], true);
    let next = second.pos.post("/api/orders", order("next")).await;
    assert_eq!(next["order"]["order_number"], 401);
    let journal = second.pos.get("/control/journal?after=380").await;
    assert_eq!(journal["entries"][0]["seq"], 381, "the tail is there for audits");
    second.stop().await;
}
