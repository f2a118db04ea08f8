//! Orders, checks, slips and money over real sockets.

use crate::support::{cancel, in_memory, line, order, round, void};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_replayed_reference_answers_the_recorded_order_and_another_body_is_refused() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let first = pos.post("/api/orders", order("r1")).await;
    assert_eq!((&first["duplicate"], &first["printed"]), (&json!(false), &json!(true)));

    let mut later = order("r1");
    later["not_after"] = json!(1);
    let replay = pos.post("/api/orders", later).await;
    assert_eq!(replay["duplicate"], true);
    assert_eq!(replay["order"], first["order"]);
    assert_eq!(pos.get("/api/orders/r1").await["order"], first["order"]);

    let mut other = order("r1");
    other["lines"][0]["quantity"] = json!(2);
    assert_eq!(pos.refused("/api/orders", other).await, (409, "REFERENCE_REUSED".into()));
    assert_eq!(pos.journaled_orders().await, ["r1"]);
    assert_eq!(pos.get("/api/tickets").await["tickets"].as_array().unwrap().len(), 1);
    linked.stop().await;
}

#[tokio::test]
async fn a_kiosk_order_that_mixes_rates_is_right_to_the_yen_and_closes_when_paid() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let mut takeaway = line("l2", "karaage", 3);
    takeaway["service_mode"] = json!("takeaway");
    takeaway["modifiers"] = json!([
        {"group_id": "karaage_pieces", "option_id": "eight"},
        {"group_id": "karaage_sauce", "option_id": "tartar", "quantity": 2},
    ]);
    let mut makgeolli = line("l3", "makgeolli", 1);
    makgeolli["service_mode"] = json!("takeaway");
    // 380 here; 3 × (680 + 300 + 2 × 80) = 3420 food taken away; 520 alcohol taken away.
    let submit = json!({
        "reference": "k1", "product": "kiosk", "display_number": "K-07", "pager": "12", "expected_total": 4320,
        "lines": [line("l1", "edamame", 1), takeaway, makgeolli],
        "tenders": [{"tender_id": "card", "amount": 4320, "external_reference": "auth-9"}],
    });
    let answer = pos.post("/api/orders", submit.clone()).await;
    let totals = &answer["order"]["totals"];
    assert_eq!(totals["total"], 4320);
    // 3420 × 8 / 108 = 253.3…; 900 × 10 / 110 = 81.8…
    assert_eq!(
        totals["taxes"],
        json!([
            {"rate_percent": 8, "gross": 3420, "tax": 253},
            {"rate_percent": 10, "gross": 900, "tax": 81},
        ])
    );
    let check = pos.get(&format!("/api/checks/{}", answer["order"]["check_number"])).await;
    assert_eq!((&check["state"], &check["due"], &check["table"]), (&json!("closed"), &json!(0), &Value::Null));

    let mut wrong = submit;
    wrong["reference"] = json!("k2");
    wrong["tenders"][0]["amount"] = json!(4319);
    assert_eq!(pos.refused("/api/orders", wrong.clone()).await, (422, "TENDER_MISMATCH".into()));
    wrong["expected_total"] = json!(4319);
    assert_eq!(pos.refused("/api/orders", wrong).await, (422, "PRICE_CHANGED".into()));
    linked.stop().await;
}

#[tokio::test]
async fn rounds_join_the_check_that_staff_opened_and_see_what_staff_entered() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let opened = pos.post("/api/checks", json!({"table": "T5", "party_size": 3, "staff": "sato"})).await;
    let number = opened["check"]["number"].clone();
    assert_eq!(opened["opened"], true);
    let joined = pos.post("/api/checks", json!({"table": "T5", "party_size": 3})).await;
    assert_eq!((&joined["opened"], &joined["check"]["number"]), (&json!(false), &number));

    let entered = json!({"staff": "sato", "lines": [line("s1", "hiyayakko", 2)]});
    pos.post(&format!("/api/staff/checks/{number}/lines"), entered).await;
    for reference in ["t1", "t2"] {
        let answer = pos.post("/api/orders", round(reference, "T5")).await;
        assert_eq!((&answer["order"]["check_number"], &answer["order"]["table"]), (&number, &json!("T5")));
    }

    let check = pos.get(&format!("/api/checks/{number}")).await;
    let lines = check["lines"].as_array().unwrap();
    let origins: Vec<_> = lines.iter().map(|l| (l["entered_by"].clone(), l["order_reference"].clone())).collect();
    let api = |reference: &str| (json!("api"), json!(reference));
    assert_eq!(origins, [(json!("staff:sato"), Value::Null), api("t1"), api("t2")]);
    // The receipt's tax is found once in 1520, not three times in its parts: 1520 × 10 / 110 = 138.1…
    assert_eq!(check["totals"], json!({"total": 1520, "taxes": [{"rate_percent": 10, "gross": 1520, "tax": 138}]}));
    assert_eq!(check["opened_by"], "staff:sato");
    linked.stop().await;
}

#[tokio::test]
async fn a_billed_check_takes_no_rounds_and_closing_it_frees_the_table() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let number = pos.post("/api/orders", round("t1", "T1")).await["order"]["check_number"].clone();
    let path = format!("/api/checks/{number}");
    pos.post(&format!("{path}/bill"), Value::Null).await;
    let billed = pos.post(&format!("{path}/bill"), Value::Null).await;
    assert_eq!(billed["state"], "bill_requested");
    assert_eq!(pos.refused("/api/orders", round("t2", "T1")).await, (422, "CHECK_AWAITING_PAYMENT".into()));

    let tickets = pos.get("/api/tickets?after=1").await;
    let bills: Vec<&str> = tickets["tickets"].as_array().unwrap().iter().map(|t| t["text"].as_str().unwrap()).collect();
    assert!(bills[0].contains("TOTAL ¥380") && !bills[0].contains("REPRINT"), "{}", bills[0]);
    assert!(bills[1].contains("REPRINT") && bills[1].ends_with(bills[0]), "{}", bills[1]);

    let short = json!({"staff": "sato", "tenders": [{"tender_id": "cash", "amount": 100}]});
    assert_eq!(pos.refused(&format!("{path}/close"), short).await, (422, "TENDER_MISMATCH".into()));
    let paid = json!({"staff": "sato", "tenders": [{"tender_id": "cash", "amount": 380}]});
    let closed = pos.post(&format!("{path}/close"), paid.clone()).await;
    assert_eq!((&closed["state"], &closed["due"]), (&json!("closed"), &json!(0)));
    assert_eq!(pos.post(&format!("{path}/close"), paid).await, closed);

    let next = pos.post("/api/orders", round("t3", "T1")).await;
    assert_ne!(next["order"]["check_number"], number);
    assert_eq!(pos.get("/api/checks?table=T1").await["checks"].as_array().unwrap().len(), 1);
    assert_eq!(pos.get("/api/checks?table=T1&state=closed").await["checks"][0]["number"], number);
    linked.stop().await;
}

#[tokio::test]
async fn a_table_with_two_checks_wants_the_check_named() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    pos.post("/api/checks", json!({"table": "P1", "party_size": 2})).await;
    let second = pos.post("/api/checks", json!({"table": "P1", "party_size": 2, "separate": true})).await;
    assert_eq!(pos.refused("/api/orders", round("t1", "P1")).await, (422, "CHECK_AMBIGUOUS".into()));
    let mut named = round("t1", "P1");
    named["check_number"] = second["check"]["number"].clone();
    assert_eq!(pos.post("/api/orders", named).await["order"]["check_number"], second["check"]["number"]);
    let mut elsewhere = round("t2", "T1");
    elsewhere["check_number"] = second["check"]["number"].clone();
    assert_eq!(pos.refused("/api/orders", elsewhere).await, (422, "TABLE_MISMATCH".into()));
    linked.stop().await;
}

#[tokio::test]
async fn a_sold_out_item_is_named_and_nothing_is_recorded() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let before = pos.get("/api/menu").await["revision"].as_u64().unwrap();
    let (status, answer) = pos.ask(Method::PUT, "/api/items/edamame/availability", json!({"available": false})).await;
    assert!(status.is_success());
    assert_eq!(answer["revision"], before + 1);
    let (status, refusal) = pos.ask(Method::POST, "/api/orders", round("t1", "T1")).await;
    assert_eq!(status, 422);
    let error = &refusal["error"];
    assert_eq!((&error["cause"], &error["item_id"]), (&json!("ITEM_SOLD_OUT"), &json!("edamame")));
    assert_eq!((&error["field"], &error["final"]), (&json!("lines[0].item_id"), &json!(true)));
    assert!(!pos.has("t1").await);
    assert!(pos.get("/api/checks").await["checks"].as_array().unwrap().is_empty());
    linked.stop().await;
}

#[tokio::test]
async fn what_the_staff_count_goes_down_with_orders_is_sold_out_at_none_and_comes_back_with_what_is_void() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let edamame = async || {
        let menu = pos.get("/api/menu").await;
        let item = menu["categories"][0]["items"].as_array().unwrap().iter().find(|item| item["id"] == "edamame");
        (item.unwrap()["available"].clone(), item.unwrap()["remaining"].clone())
    };
    let of = |reference: &str, lines: Value| {
        let mut order = order(reference);
        order["lines"] = lines;
        order
    };
    assert_eq!(edamame().await, (json!(true), Value::Null), "nobody counts");
    let set = async |body: Value| pos.ask(Method::PUT, "/api/items/edamame/availability", body).await.1;
    assert_eq!(set(json!({"available": true, "remaining": 3})).await["remaining"], 3);
    let four = json!([line("l1", "edamame", 2), line("l2", "edamame", 2)]);
    assert_eq!(pos.refused("/api/orders", of("r1", four)).await, (422, "ITEM_SOLD_OUT".into()));
    pos.post("/api/orders", of("r2", json!([line("l1", "edamame", 2)]))).await;
    pos.post("/api/orders", of("r2", json!([line("l1", "edamame", 2)]))).await;
    assert_eq!(edamame().await, (json!(true), json!(1)), "a repetition takes nothing more");
    pos.post("/api/orders", order("r3")).await;
    assert_eq!(edamame().await, (json!(false), json!(0)));
    assert_eq!(pos.refused("/api/orders", order("r4")).await, (422, "ITEM_SOLD_OUT".into()));
    for _ in 0..2 {
        pos.post("/api/orders/r2/void", void("x1", "l1", 1)).await;
        assert_eq!(edamame().await, (json!(true), json!(1)));
    }
    pos.post("/api/orders/r2/cancel", cancel("x2")).await;
    assert_eq!(edamame().await, (json!(true), json!(2)));
    set(json!({"available": false, "remaining": 0})).await;
    set(json!({"available": true})).await;
    assert_eq!(edamame().await, (json!(true), Value::Null), "there is some, and nobody knows how many");
    linked.stop().await;
}

#[tokio::test]
async fn an_option_is_sold_out_with_the_item_that_it_is() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let set = |reference: &str, drink: &str| {
        let choose = |group: &str, option: &str| json!({"group_id": group, "option_id": option, "quantity": 1});
        let mut order = round(reference, "T1");
        order["lines"] = json!([{"reference": "l1", "item_id": "set_kids", "quantity": 1, "service_mode": "dine_in",
            "modifiers": [choose("kids_main", "karaage"), choose("set_drink", drink)]}]);
        order
    };
    pos.ask(Method::PUT, "/api/items/cola/availability", json!({"available": false})).await;
    assert_eq!(pos.refused("/api/orders", set("t1", "cola")).await, (422, "ITEM_SOLD_OUT".into()));
    pos.post("/api/orders", set("t2", "orange_juice")).await;
    linked.stop().await;
}

#[tokio::test]
async fn bad_input_is_refused_with_a_cause_and_changes_nothing() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let with = |field: &str, value: Value| {
        let mut order = order("bad");
        order[field] = value;
        order
    };
    let cases = [
        (with("reference", json!("")), 400, "INVALID_REQUEST"),
        (with("reference", json!("two words")), 400, "INVALID_REQUEST"),
        (with("lines", json!([])), 400, "INVALID_REQUEST"),
        (with("lines", json!(vec![line("l", "edamame", 1); 10_000])), 400, "INVALID_REQUEST"),
        (with("lines", json!([line("l", "edamame", 1), line("l", "edamame", 1)])), 400, "INVALID_REQUEST"),
        (with("lines", json!([line("l", "edamame", 0)])), 400, "INVALID_REQUEST"),
        (with("lines", json!([line("l", "edamame", 100)])), 400, "INVALID_REQUEST"),
        (with("lines", json!([line("l", "momo", 1)])), 422, "MODIFIER_COUNT"),
        (with("lines", json!([line("l", "pizza", 1)])), 422, "ITEM_UNKNOWN"),
        (with("table", json!("T99")), 422, "TABLE_UNKNOWN"),
        (with("check_number", json!(7)), 404, "CHECK_NOT_FOUND"),
        (with("note", json!("no onions 🧅")), 400, "TEXT_NOT_PRINTABLE"),
        (with("note", json!("bell\u{7}")), 400, "TEXT_NOT_PRINTABLE"),
        (with("tenders", json!([{"tender_id": "shells", "amount": 380}])), 422, "TENDER_UNKNOWN"),
        (with("not_after", json!(1)), 422, "EXPIRED"),
        (with("tabel", json!("T1")), 400, "INVALID_REQUEST"),
        (json!("not an order"), 400, "INVALID_REQUEST"),
    ];
    for (body, status, cause) in cases {
        assert_eq!(pos.refused("/api/orders", body.clone()).await, (status, cause.into()), "{body:.300}");
    }
    assert!(!pos.has("bad").await);
    assert!(pos.get("/control/journal").await["entries"].as_array().unwrap().is_empty());
    linked.stop().await;
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_an_unknown_path_is_not_an_unknown_order() {
    let linked = in_memory().await;
    let client = reqwest::Client::new();
    for request in [
        client.get(format!("{}/api/status", linked.pos.url)),
        client.get(format!("{}/api/status", linked.pos.url)).bearer_auth("test-kez"),
        client.get(format!("{}/control/journal", linked.pos.url)).bearer_auth(""),
    ] {
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
    let (status, body) = linked.pos.ask(Method::GET, "/api/order/x", Value::Null).await;
    assert_eq!((status.as_u16(), &body["error"]["cause"]), (404, &json!("PATH_UNKNOWN")));
    linked.stop().await;
}

#[tokio::test]
async fn the_kitchen_slip_shows_number_table_modifiers_and_notes_and_is_streamed_as_it_prints() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let mut stream = pos.send(Method::GET, "/api/tickets/stream?after=0", Value::Null).await.unwrap();
    let mut submit = round("t1", "C3");
    submit["display_number"] = json!("A-17");
    submit["note"] = json!("アレルギー: えび");
    submit["lines"] = json!([{
        "reference": "l1", "item_id": "highball", "quantity": 2, "service_mode": "dine_in", "note": "レモン多め",
        "modifiers": [{"group_id": "highball_strength", "option_id": "strong",
                       "modifiers": [{"group_id": "highball_size", "option_id": "mega"}]}],
    }]);
    pos.post("/api/orders", submit).await;

    let mut seen = String::new();
    while !seen.contains("\n\n") {
        let chunk =
            tokio::time::timeout(crate::support::PATIENCE, stream.chunk()).await.expect("streamed").unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(seen.contains("event: ticket") && seen.contains("id: 1"), "{seen}");
    let data = seen.lines().find_map(|l| l.strip_prefix("data: ")).unwrap();
    let ticket: posmesh_simpos::api::Ticket = serde_json::from_str(data).unwrap();
    assert_eq!(ticket.order_reference.as_deref(), Some("t1"));
    for expected in [
        "No. A-17",
        "席 C3",
        " 2 ハイボール\n     - 濃いめ\n       - メガ\n     * レモン多め\n",
        "備考 アレルギー: えび",
    ] {
        assert!(ticket.text.contains(expected), "{expected}: {}", ticket.text);
    }

    let reprint = pos.post("/api/tickets/1/reprint", Value::Null).await;
    assert_eq!((&reprint["number"], &reprint["reprint_of"]), (&json!(2), &json!(1)));
    assert!(reprint["text"].as_str().unwrap().contains("REPRINT"));
    linked.stop().await;
}

#[tokio::test]
async fn lists_are_paged_without_gap_or_repetition() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    for index in 1..=5 {
        pos.post("/api/orders", order(&format!("r{index}"))).await;
    }
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = pos.get(&format!("/api/orders?since=0&after={after}&limit=2")).await;
        for answer in page["orders"].as_array().unwrap() {
            after = answer["order"]["order_number"].as_u64().unwrap();
            seen.push(answer["order"]["request"]["reference"].as_str().unwrap().to_owned());
        }
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seen, ["r1", "r2", "r3", "r4", "r5"]);
    linked.stop().await;
}

#[tokio::test]
async fn an_order_without_a_ticket_is_on_the_bill_and_never_on_paper() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    let mut silent = round("r1", "T1");
    silent["without_ticket"] = json!(true);
    let begin = pos.get("/api/events").await["cursor"].clone();
    let answer = pos.post("/api/orders", silent).await;
    assert_eq!((&answer["printed"], &answer["order"]["ticket_number"]), (&json!(false), &Value::Null));
    let check = pos.get(&format!("/api/checks/{}", answer["check_number"])).await;
    assert_eq!((&check["totals"]["total"], &check["lines"][0]["order_reference"]), (&json!(380), &json!("r1")));

    pos.staff("progress", json!({"reference": "r1", "to": "ready"})).await;
    let events = pos.get(&format!("/api/events?after={begin}")).await;
    let kinds: Vec<_> = events["events"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
    assert_eq!(kinds, [json!("recorded"), json!("progressed")]);
    assert!(pos.marks("r1").await.is_empty());
    pos.post(&format!("/api/checks/{}/bill", answer["check_number"]), Value::Null).await;
    assert_eq!(pos.get("/api/tickets").await["tickets"][0]["kind"], "bill");

    pos.set(json!({"cancellable_until": "ready"})).await;
    pos.post("/api/orders", round("r2", "T2")).await;
    pos.staff("void_lines", json!({"reference": "r1", "lines": [{"reference": "l1", "quantity_voided": 1}]})).await;
    assert_eq!((pos.marks("r1").await, pos.marks("r2").await), (vec!["void".to_owned()], vec!["normal".to_owned()]));
    linked.stop().await;
}

#[tokio::test]
async fn with_and_without_its_ticket_an_order_is_the_same_one_as_it_was_recorded_first() {
    let linked = in_memory().await;
    let pos = &linked.pos;
    for (reference, first) in [("r1", true), ("r2", false)] {
        let sent = |without_ticket: bool| {
            let mut order = order(reference);
            order["without_ticket"] = json!(without_ticket);
            order
        };
        let recorded = pos.post("/api/orders", sent(first)).await;
        let again = pos.post("/api/orders", sent(!first)).await;
        assert_eq!((&again["duplicate"], &again["order"]), (&json!(true), &recorded["order"]));
        assert_eq!(pos.marks(reference).await.len(), usize::from(!first), "as it was recorded first");
    }
    linked.stop().await;
}
