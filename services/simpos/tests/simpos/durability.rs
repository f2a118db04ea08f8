//! What was answered is in the journal, whatever happens to the process.

use std::sync::Arc;

use crate::support::{Spawned, order, round, spawned};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::{Value, json};

fn kill_hard(spawned: &Spawned) {
    kill(Pid::from_raw(spawned.process.id().unwrap() as i32), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn every_answered_order_survives_kill_9_under_load_once() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let mut first = spawned(&journal).await;
    let pos = Arc::new(crate::support::Pos::at(first.pos.url.clone()));
    let mut callers = Vec::new();
    for caller in 0..8 {
        let pos = pos.clone();
        callers.push(tokio::spawn(async move {
            let mut answered = Vec::new();
            for index in 0.. {
                let reference = format!("c{caller}-{index}");
                match pos.send(Method::POST, "/api/orders", order(&reference)).await {
                    Ok(response) if response.status().is_success() => answered.push(reference),
                    _ => break,
                }
            }
            answered
        }));
    }
    while first.pos.get("/api/orders?limit=50").await["orders"].as_array().unwrap().len() < 50 {}
    kill_hard(&first);
    first.process.wait().await.unwrap();

    let second = spawned(&journal).await;
    let (mut recorded, mut after) = (Vec::new(), 0);
    loop {
        let page = second.pos.get(&format!("/api/orders?after={after}&limit=1000")).await;
        for answer in page["orders"].as_array().unwrap() {
            after = answer["order"]["order_number"].as_u64().unwrap();
            recorded.push(answer["order"]["request"]["reference"].as_str().unwrap().to_owned());
        }
        if page["more"] == false {
            break;
        }
    }
    let unique: std::collections::BTreeSet<_> = recorded.iter().cloned().collect();
    assert_eq!(unique.len(), recorded.len());
    let mut answered = 0;
    for caller in callers {
        for reference in caller.await.unwrap() {
            answered += 1;
            assert!(unique.contains(&reference), "{reference} was answered and is lost");
        }
    }
    assert!(answered >= 50 - 8, "{answered}");
}

#[tokio::test]
async fn checks_tickets_menu_and_numbers_are_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let mut first = spawned(&journal).await;
    let pos = &first.pos;
    pos.post("/api/checks", json!({"table": "T1", "party_size": 2, "staff": "sato"})).await;
    pos.post("/api/orders", round("t1", "T1")).await;
    let staff = json!({"staff": "sato", "lines": [crate::support::line("s1", "hiyayakko", 1)]});
    pos.post("/api/staff/checks/1/lines", staff).await;
    pos.post("/api/checks/1/bill", Value::Null).await;
    let mut paid = order("k1");
    paid["tenders"] = json!([{"tender_id": "qr", "amount": 380}]);
    pos.post("/api/orders", paid).await;
    pos.ask(Method::PUT, "/api/items/momo/availability", json!({"available": false})).await;
    pos.fault(json!({"kind": "change_price", "on": "status", "item_id": "kawa", "price": 175, "times": 1})).await;
    pos.get("/api/status").await;
    let close = json!({"staff": "sato", "tenders": [{"tender_id": "cash", "amount": 760}]});
    pos.post("/api/checks/1/close", close).await;

    let paths = ["/api/checks/1", "/api/checks/2", "/api/checks", "/api/tickets", "/api/orders", "/api/menu"];
    let mut before = Vec::new();
    for path in paths {
        before.push(pos.get(path).await);
    }
    kill_hard(&first);
    first.process.wait().await.unwrap();

    let second = spawned(&journal).await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(second.pos.get(path).await, before, "{path}");
    }
    let next = second.pos.post("/api/orders", order("k2")).await;
    assert_eq!((&next["order"]["order_number"], &next["order"]["check_number"]), (&json!(3), &json!(3)));
}

#[tokio::test]
async fn slips_that_waited_for_paper_print_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let mut first = spawned(&journal).await;
    first.pos.fault(json!({"kind": "out_of_paper"})).await;
    first.pos.post("/api/orders", order("r1")).await;
    kill_hard(&first);
    first.process.wait().await.unwrap();

    let second = spawned(&journal).await;
    assert_eq!(second.pos.get("/api/orders/r1").await["printed"], true);
    assert_eq!(second.pos.get("/api/tickets").await["tickets"][0]["order_reference"], "r1");
}

/// As simpos wrote it before orders could be recorded without a ticket.
const OLD_ENTRY: &str = r#"{"seq":1,"at":1763773200000,"event":{"type":"order_recorded","order":{"order_number":1,"display_number":"1","check_number":1,"table":null,"ticket_number":1,"recorded_at":1763773200000,"lines":[{"reference":"l1","item_id":"edamame","name":"枝豆","quantity":1,"voided":0,"service_mode":"dine_in","tax_rate_percent":10,"unit_price":380,"total":380,"modifiers":[],"note":null}],"totals":{"total":380,"taxes":[{"rate_percent":10,"gross":380,"tax":34}]},"request":{"reference":"r1","product":"kiosk","lines":[{"reference":"l1","item_id":"edamame","quantity":1,"service_mode":"dine_in"}]}},"opened_check":{"number":1,"table":null,"party_size":null,"opened_by":"api"},"closes_check":false,"ticket":{"number":1,"kind":"kitchen","mark":"normal","reprint_of":null,"check_number":1,"table":null,"order_reference":"r1","display_number":"1","text":"slip","created_at":1763773200000,"printed_at":1763773200000}}}
"#;

#[tokio::test]
async fn a_journal_of_before_is_read_and_orders_without_a_ticket_stay_so_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    std::fs::write(&journal, OLD_ENTRY).unwrap();
    let mut first = spawned(&journal).await;
    let old = first.pos.get("/api/orders/r1").await;
    assert_eq!((&old["printed"], &old["order"]["ticket_number"]), (&json!(true), &json!(1)));
    assert_eq!(first.pos.post("/api/orders", order("r1")).await["duplicate"], true);
    let mut silent = order("r2");
    silent["without_ticket"] = json!(true);
    let recorded = first.pos.post("/api/orders", silent).await;
    kill_hard(&first);
    first.process.wait().await.unwrap();

    let second = spawned(&journal).await;
    assert_eq!(second.pos.get("/api/orders/r2").await["order"], recorded["order"]);
    assert_eq!(second.pos.get("/api/tickets").await["tickets"].as_array().unwrap().len(), 1);
    assert_eq!(second.pos.post("/api/orders", order("r3")).await["order"]["ticket_number"], 2);
}
