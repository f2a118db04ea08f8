use posmesh_proto::{
    common::v1::{Product, ServiceMode},
    order::v1::OrderState,
};
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn a_table_code_opens_the_check_and_the_next_guest_joins_it() {
    let gateway = gateway().await;
    let code = gateway.table_code(0).await;
    let scan = json!({"table_code": code, "party_size": 2});
    let opened = body(gateway.send("/table/v1/stores/shibuya/checks", &scan).await, 200).await;
    assert_eq!(opened["joined"], false);
    assert_eq!(opened["check"]["table_id"], "t/1");
    assert_eq!(opened["check"]["party_size"], 2);
    assert_eq!(opened["check"]["state"], "OPEN");

    let joined = body(gateway.send("/table/v1/stores/shibuya/checks", &json!({"table_code": code})).await, 200).await;
    assert_eq!(joined["joined"], true);
    assert_eq!(joined["check"]["check_id"], opened["check"]["check_id"]);
}

#[tokio::test]
async fn a_code_that_is_made_up_or_of_another_store_opens_nothing() {
    let gateway = gateway().await;
    let code = gateway.table_code(0).await;
    let made_up = json!({"table_code": "dC8x.1.AAAAAAAAAAAAAAAAAAAAAA"});
    let told =
        problem(gateway.send("/table/v1/stores/shibuya/checks", &made_up).await, 403, "TABLE_CODE_INVALID").await;
    assert_eq!(told["errors"][0]["field"], "/table_code");
    let elsewhere = gateway.send("/table/v1/stores/ginza/checks", &json!({"table_code": code})).await;
    problem(elsewhere, 403, "TABLE_CODE_INVALID").await;
}

#[tokio::test]
async fn a_code_that_rotated_out_twice_is_told_to_be_too_old() {
    let mut config = config();
    config.table_code_window = std::time::Duration::from_secs(1);
    let gateway = gateway_with(config).await;
    let code = gateway.table_code(0).await;
    let scan = json!({"table_code": code});
    let due = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = gateway.send("/table/v1/stores/shibuya/checks", &scan).await;
        if answer.status() != 200 {
            problem(answer, 403, "TABLE_CODE_EXPIRED").await;
            break;
        }
        assert!(tokio::time::Instant::now() < due, "the code never expired");
    }
}

#[tokio::test]
async fn a_guest_orders_rounds_and_asks_for_the_bill() {
    let gateway = gateway().await;
    let (token, check_id) = gateway.sit_down(0).await;

    let quote = gateway.post("/table/v1/check/quote").bearer_auth(&token);
    let quote = quote.json(&json!({"lines": [{"item_id": "yakitori", "quantity": 2}]})).send().await.unwrap();
    let quote = body(quote, 200).await;
    assert_eq!(quote["price"]["total"], json!({"currency": "JPY", "amount": 980}));
    assert_eq!(quote["price"]["status"], "estimate");

    let mut round = round();
    round["note"] = json!("no onions");
    round["lines"][0]["service_mode"] = json!("take_away");
    let placed = gateway.post("/table/v1/check/rounds").bearer_auth(&token).header("Idempotency-Key", KEY);
    let placed = placed.json(&round).send().await.unwrap();
    let location = header(&placed, "location");
    let placed = body(placed, 201).await;
    assert_eq!(placed["order"]["check_id"], check_id);
    assert_eq!(placed["order"]["round"], 1);
    assert_eq!(placed["order"]["lines"][0]["service_mode"], "take_away");
    assert!(placed.get("order_token").is_none());

    let sent = gateway.fakes.orders.placed().remove(0);
    assert_eq!(
        (sent.product(), sent.check_id.as_str(), sent.note.as_str()),
        (Product::Table, check_id.as_str(), "no onions")
    );
    assert_eq!(sent.lines[0].service_mode(), ServiceMode::Takeaway);

    let read = body(gateway.get(&location).bearer_auth(&token).send().await.unwrap(), 200).await;
    assert_eq!(read["order_id"], placed["order"]["order_id"]);

    let billed = gateway.post("/table/v1/check/bill").bearer_auth(&token).send().await.unwrap();
    let billed = body(billed, 200).await;
    assert_eq!(billed["check"]["state"], "BILL_REQUESTED");
    assert_eq!(billed["bill"]["total"]["amount"], 980);
    let check = gateway.get("/table/v1/check?include_bill=true").bearer_auth(&token).send().await.unwrap();
    assert_eq!(body(check, 200).await["bill"]["lines"][0]["quantity_milli"], 2000);
    let check = gateway.get("/table/v1/check").bearer_auth(&token).send().await.unwrap();
    assert!(body(check, 200).await.get("bill").is_none());
}

#[tokio::test]
async fn asking_for_the_bill_before_anything_was_ordered_is_refused_with_the_reason() {
    let gateway = gateway().await;
    let (token, _) = gateway.sit_down(0).await;
    let answer = gateway.post("/table/v1/check/bill").bearer_auth(&token).send().await.unwrap();
    problem(answer, 409, "NOTHING_ORDERED").await;
}

#[tokio::test]
async fn a_round_can_be_taken_back_and_once_the_store_has_it_the_store_decides() {
    let gateway = gateway().await;
    let (token, _) = gateway.sit_down(0).await;
    let cancel = |order_id: &str| gateway.post(&format!("/table/v1/check/rounds/{order_id}/cancel"));

    let early = gateway.order_round(&token, KEY).await;
    let cancelled = body(cancel(&early).bearer_auth(&token).send().await.unwrap(), 200).await;
    assert_eq!((&cancelled["state"], &cancelled["ended"]), (&json!("CANCELLED"), &json!(true)));

    let late = gateway.order_round(&token, OTHER_KEY).await;
    problem(cancel(&late).send().await.unwrap(), 401, "TOKEN_REQUIRED").await;
    let (other_table, _) = gateway.sit_down(1).await;
    problem(cancel(&late).bearer_auth(&other_table).send().await.unwrap(), 404, "ORDER_NOT_FOUND").await;
    gateway.fakes.orders.advance(&late, OrderState::Placed, |_| ());
    let wished = cancel(&late).bearer_auth(&token).header("prefer", "wait=1").send().await.unwrap();
    assert_eq!(header(&wished, "preference-applied"), "wait=1");
    let wished = body(wished, 202).await;
    assert_eq!((&wished["state"], &wished["change"]["state"]), (&json!("PLACED"), &json!("REQUESTED")));
    gateway.fakes.orders.advance(&late, OrderState::Ready, |_| ());
    problem(cancel(&late).bearer_auth(&token).send().await.unwrap(), 409, "CANCEL_TOO_LATE").await;
}

#[tokio::test]
async fn rounds_are_listed_newest_first_in_pages() {
    let gateway = gateway().await;
    let (token, _) = gateway.sit_down(0).await;
    let first = gateway.order_round(&token, KEY).await;
    let second = gateway.order_round(&token, OTHER_KEY).await;
    let page = gateway.get("/table/v1/check/rounds?page_size=1").bearer_auth(&token).send().await.unwrap();
    let page = body(page, 200).await;
    assert_eq!(page["rounds"][0]["order_id"], second);
    let next = format!("/table/v1/check/rounds?page_size=1&page_token={}", text(&page["next_page_token"]));
    let next = body(gateway.get(&next).bearer_auth(&token).send().await.unwrap(), 200).await;
    assert_eq!(next["rounds"][0]["order_id"], first);
    let all = body(gateway.get("/table/v1/check/rounds").bearer_auth(&token).send().await.unwrap(), 200).await;
    assert_eq!(all["rounds"].as_array().unwrap().len(), 2);
    assert!(all.get("next_page_token").is_none());
}

#[tokio::test]
async fn a_guest_sees_only_rounds_of_its_own_check() {
    let gateway = gateway().await;
    let (mine, _) = gateway.sit_down(0).await;
    let (theirs, _) = gateway.sit_down(1).await;
    let order_id = gateway.order_round(&theirs, KEY).await;
    for path in [format!("/table/v1/check/rounds/{order_id}"), format!("/table/v1/check/rounds/{order_id}/events")] {
        problem(gateway.get(&path).bearer_auth(&mine).send().await.unwrap(), 404, "ORDER_NOT_FOUND").await;
    }
    let listed = body(gateway.get("/table/v1/check/rounds").bearer_auth(&mine).send().await.unwrap(), 200).await;
    assert_eq!(listed["rounds"], json!([]));
}

#[tokio::test]
async fn the_same_key_at_two_tables_makes_two_rounds() {
    let gateway = gateway().await;
    let (one, _) = gateway.sit_down(0).await;
    let (two, _) = gateway.sit_down(1).await;
    assert_ne!(gateway.order_round(&one, KEY).await, gateway.order_round(&two, KEY).await);
}

#[tokio::test]
async fn the_guest_token_dies_with_its_check() {
    let gateway = gateway().await;
    let (token, check_id) = gateway.sit_down(0).await;
    let order_id = gateway.order_round(&token, KEY).await;
    gateway.fakes.orders.close_check(&check_id);
    for path in ["/table/v1/check", "/table/v1/check/rounds", &format!("/table/v1/check/rounds/{order_id}")] {
        problem(gateway.get(path).bearer_auth(&token).send().await.unwrap(), 410, "CHECK_CLOSED").await;
    }
    let late = gateway.post("/table/v1/check/rounds").bearer_auth(&token).header("Idempotency-Key", OTHER_KEY);
    problem(late.json(&round()).send().await.unwrap(), 410, "CHECK_CLOSED").await;
    assert_eq!(gateway.fakes.orders.placed().len(), 1);
}

#[tokio::test]
async fn a_round_repeated_after_its_check_was_closed_is_the_round_that_was_taken() {
    let gateway = gateway().await;
    let (token, check_id) = gateway.sit_down(0).await;
    let order_id = gateway.order_round(&token, KEY).await;
    gateway.fakes.orders.close_check(&check_id);
    assert_eq!(gateway.order_round(&token, KEY).await, order_id);
    assert_eq!(gateway.fakes.orders.placed().len(), 1);

    let mut other = round();
    other["note"] = json!("another one");
    let reused = gateway.post("/table/v1/check/rounds").bearer_auth(&token).header("Idempotency-Key", KEY);
    problem(reused.json(&other).send().await.unwrap(), 409, "REQUEST_ID_REUSED").await;
}

#[tokio::test]
async fn a_page_size_out_of_range_is_refused_before_any_service_is_asked_for_the_rounds() {
    let gateway = gateway().await;
    let (token, _) = gateway.sit_down(0).await;
    gateway.order_round(&token, KEY).await;
    for wrong in ["-1", "501", "2147483648", "many", ""] {
        let path = format!("/table/v1/check/rounds?page_size={wrong}");
        let told = gateway.get(&path).bearer_auth(&token).send().await.unwrap();
        let told = problem(told, 400, "INVALID_PARAMETER").await;
        assert_eq!((&told["errors"][0]["in"], &told["errors"][0]["field"]), (&json!("query"), &json!("page_size")));
    }
    assert_eq!(gateway.fakes.orders.listed(), 0);
    for right in [0, 500] {
        let path = format!("/table/v1/check/rounds?page_size={right}");
        let told = body(gateway.get(&path).bearer_auth(&token).send().await.unwrap(), 200).await;
        assert_eq!(told["rounds"].as_array().unwrap().len(), 1, "{right}");
    }
    assert_eq!(gateway.fakes.orders.listed(), 2);
}

#[tokio::test]
async fn without_a_valid_token_there_is_no_check() {
    let mut short_lived = config();
    short_lived.guest_token_ttl = std::time::Duration::from_secs(1);
    let gateway = gateway_with(short_lived).await;
    let (token, _) = gateway.sit_down(0).await;
    let bare = gateway.get("/table/v1/check").send().await.unwrap();
    assert_eq!(header(&bare, "www-authenticate"), "Bearer");
    problem(bare, 401, "TOKEN_REQUIRED").await;
    let (location, order_token) = gateway.order_ahead(KEY).await;
    assert!(location.starts_with("/togo/"));
    for wrong in ["nonsense", &order_token, &format!("{token}x")] {
        problem(gateway.get("/table/v1/check").bearer_auth(wrong).send().await.unwrap(), 401, "TOKEN_INVALID").await;
    }
    let due = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = gateway.get("/table/v1/check").bearer_auth(&token).send().await.unwrap();
        if answer.status() != 200 {
            problem(answer, 401, "TOKEN_EXPIRED").await;
            break;
        }
        assert!(tokio::time::Instant::now() < due, "the token never expired");
    }
}

#[tokio::test]
async fn the_display_number_shows_only_once_it_is_the_kitchen_slips() {
    let gateway = gateway().await;
    let (token, _) = gateway.sit_down(0).await;
    let order_id = gateway.order_round(&token, KEY).await;
    let path = format!("/table/v1/check/rounds/{order_id}");
    let sending = body(gateway.get(&path).bearer_auth(&token).send().await.unwrap(), 200).await;
    assert!(sending.get("display_number").is_none(), "{sending}");
    assert_eq!(sending["guest_message"]["code"], "SENDING");
    gateway.fakes.orders.advance(&order_id, OrderState::Placed, |order| order.display_number = "B-3".to_owned());
    let placed = body(gateway.get(&path).bearer_auth(&token).send().await.unwrap(), 200).await;
    assert_eq!(placed["display_number"], "B-3");
    assert_eq!(placed["guest_message"]["code"], "AT_STORE");
}

#[tokio::test]
async fn the_codes_of_all_tables_are_for_holders_of_the_ops_token_alone() {
    let gateway = gateway().await;
    let path = "/ops/v1/stores/shibuya/table-codes";
    problem(gateway.get(path).send().await.unwrap(), 401, "TOKEN_REQUIRED").await;
    problem(gateway.get(path).bearer_auth("wrong").send().await.unwrap(), 401, "TOKEN_INVALID").await;
    let told = body(gateway.get(path).bearer_auth(OPS_TOKEN).send().await.unwrap(), 200).await;
    let codes = told["table_codes"].as_array().unwrap();
    assert_eq!(codes.len(), 2);
    assert_eq!(codes[1]["table_name"], "窓2");
    assert!(text(&codes[0]["rotate_time"]) < text(&codes[0]["expire_time"]));
    let nowhere = gateway.get("/ops/v1/stores/nowhere/table-codes").bearer_auth(OPS_TOKEN).send().await.unwrap();
    problem(nowhere, 404, "STORE_NOT_FOUND").await;
}

#[tokio::test]
async fn without_an_ops_token_in_the_configuration_there_is_no_ops() {
    let mut config = config();
    config.ops_token = posmesh_gateway::Secret::default();
    let gateway = gateway_with(config).await;
    let answer = gateway.get("/ops/v1/stores/shibuya/table-codes").bearer_auth("").send().await.unwrap();
    problem(answer, 404, "NO_SUCH_ROUTE").await;
    let document = body(gateway.get("/openapi.json").send().await.unwrap(), 200).await;
    assert!(!document["paths"].as_object().unwrap().keys().any(|path| path.starts_with("/ops")));
}

#[tokio::test]
async fn guests_whose_check_was_joined_into_another_are_shown_that_one_before_they_order_on_it() {
    let gateway = gateway().await;
    let (token, check_id) = gateway.sit_down(0).await;
    let round_id = gateway.order_round(&token, KEY).await;
    let (_, other_id) = gateway.sit_down(1).await;
    gateway.fakes.orders.merge_check(&check_id, &other_id);
    let refused = gateway.post("/table/v1/check/rounds").bearer_auth(&token).header("Idempotency-Key", OTHER_KEY);
    problem(refused.json(&round()).send().await.unwrap(), 409, "CHECK_MERGED").await;
    let shown = body(gateway.get("/table/v1/check").bearer_auth(&token).send().await.unwrap(), 200).await;
    assert_eq!((&shown["check"]["state"], &shown["check"]["merged_into"]), (&json!("MERGED"), &json!(other_id)));
    assert_eq!(shown["continued_by"]["check"]["check_id"], other_id);
    let own = gateway.get(&format!("/table/v1/check/rounds/{round_id}")).bearer_auth(&token).send().await.unwrap();
    body(own, 200).await;
    let next_token = text(&shown["continued_by"]["guest_token"]);
    gateway.order_round(&next_token, OTHER_KEY).await;
    assert_eq!(gateway.fakes.orders.placed()[1].check_id, other_id);
    gateway.fakes.orders.close_check(&other_id);
    problem(gateway.get("/table/v1/check").bearer_auth(&token).send().await.unwrap(), 410, "CHECK_CLOSED").await;
}

#[tokio::test]
async fn a_split_gives_each_part_its_token_and_names_what_cannot_be_split() {
    let gateway = gateway().await;
    let (token, check_id) = gateway.sit_down(0).await;
    gateway.order_round(&token, KEY).await;
    let split = |how: Value| {
        let request = gateway.post("/table/v1/check/split").bearer_auth(&token).header("Idempotency-Key", KEY);
        request.json(&how).send()
    };
    let done = body(split(json!({"parts": 2})).await.unwrap(), 200).await;
    assert_eq!(done["bills"].as_array().unwrap().len(), 2);
    assert_eq!(done["checks"][1]["check"]["split_from"], check_id);
    let part = text(&done["checks"][1]["guest_token"]);
    let read = body(gateway.get("/table/v1/check").bearer_auth(&part).send().await.unwrap(), 200).await;
    assert_eq!(read["check"]["check_id"], done["checks"][1]["check"]["check_id"]);
    let ghost = json!({"by_item": [{"lines": [{"pos_line_reference": "ghost", "quantity_milli": 1000}]}]});
    let refused = problem(split(ghost).await.unwrap(), 400, "LINE_NOT_FOUND").await;
    assert_eq!(refused["errors"][0]["field"], "/by_item/0/lines/0/pos_line_reference", "{refused:#}");
    problem(split(json!({})).await.unwrap(), 400, "REQUIRED").await;
}

#[tokio::test]
async fn a_table_is_released_by_holders_of_the_ops_token_alone() {
    let gateway = gateway().await;
    let (token, check_id) = gateway.sit_down(0).await;
    let check = body(gateway.get("/table/v1/check").bearer_auth(&token).send().await.unwrap(), 200).await;
    let path =
        format!("/ops/v1/stores/shibuya/tables/{}/release", text(&check["check"]["table_id"]).replace('/', "%2F"));
    problem(gateway.post(&path).bearer_auth(&token).send().await.unwrap(), 401, "TOKEN_INVALID").await;
    let released = body(gateway.post(&path).bearer_auth(OPS_TOKEN).send().await.unwrap(), 200).await;
    assert_eq!((&released["check"]["check_id"], &released["check"]["state"]), (&json!(check_id), &json!("CLOSED")));
    let again = body(gateway.post(&path).bearer_auth(OPS_TOKEN).send().await.unwrap(), 200).await;
    assert!(again.get("check").is_none());
    problem(gateway.get("/table/v1/check").bearer_auth(&token).send().await.unwrap(), 410, "CHECK_CLOSED").await;
}
