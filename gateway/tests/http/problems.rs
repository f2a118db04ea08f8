use posmesh_kit::Failure;
use serde_json::json;
use tonic::Code;

use crate::{edge::raw, support::*};

const ORDERS: &str = "/togo/v1/stores/shibuya/orders";
const QUOTE: &str = "/togo/v1/stores/shibuya/quote";

#[tokio::test]
async fn an_unknown_field_is_refused_and_named() {
    let gateway = gateway().await;
    let mut order = togo();
    order["lines"][0]["qty"] = json!(2);
    let told = problem(gateway.place(ORDERS, KEY, &order).await, 400, "INVALID_BODY").await;
    assert_eq!(told["errors"][0]["in"], "body");
    assert_eq!(told["errors"][0]["field"], "/lines/0/qty");
    assert!(text(&told["errors"][0]["detail"]).contains("unknown field"), "{told}");
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_named_by_its_json_pointer() {
    let gateway = gateway().await;
    let cases = [
        ("/lines/0/quantity", json!("two")),
        ("/lines/0/quantity", json!(2.5)),
        ("/lines/0/quantity", json!(99_999_999_999_i64)),
        ("/lines/0/item_id", json!("a\u{0}b")),
        ("/lines/0/modifiers/0/group_id", json!(7)),
        ("/lines/0/service_mode", json!("drive_in")),
        ("/expected_total/amount", json!("980")),
        ("/pickup_time", json!("2026-11-22T18:30:00")),
        ("/pickup_time", json!("soon")),
        ("/guest_contact/name", json!("\u{1b}@")),
        ("/guest_contact/phone", json!("+81\n90")),
        ("/tenders/0/reference", json!("pay\t1")),
        ("/note", json!("no onions\nplease")),
        ("/lines", json!({})),
    ];
    for (pointer, value) in cases {
        let mut order = togo();
        order["note"] = json!("");
        order["lines"][0]["service_mode"] = json!(null);
        *order.pointer_mut(pointer).unwrap() = value;
        let told = problem(gateway.place(ORDERS, KEY, &order).await, 400, "INVALID_BODY").await;
        assert_eq!(told["errors"][0]["field"], pointer, "{told}");
    }
    assert!(gateway.fakes.orders.placed().is_empty());
}

#[tokio::test]
async fn a_control_character_in_the_address_is_refused_and_its_parameter_named() {
    let gateway = gateway().await;
    let (token, _) = gateway.sit_down(0).await;
    let asked_before = gateway.fakes.orders.metadata().len();
    let cases = [
        ("/togo/v1/stores/shi%00buya/menu", "path", "store_id"),
        ("/togo/v1/stores/shibuya%0A/bootstrap", "path", "store_id"),
        ("/togo/v1/stores/shibuya/orders/a%00b", "path", "order_id"),
        ("/togo/v1/stores/shibuya/menu?locale=ja%00", "query", "locale"),
    ];
    for (path, place, field) in cases {
        let told = gateway.get(path).bearer_auth(&token).send().await.unwrap();
        let told = problem(told, 400, "INVALID_PARAMETER").await;
        assert_eq!((&told["errors"][0]["in"], &told["errors"][0]["field"]), (&json!(place), &json!(field)), "{path}");
        assert!(text(&told["errors"][0]["detail"]).contains("control character"), "{told}");
    }
    assert_eq!(gateway.fakes.orders.metadata().len(), asked_before);
}

#[tokio::test]
async fn what_is_no_json_is_refused_as_malformed() {
    let gateway = gateway().await;
    let choice = "{\"group_id\": \"g\", \"modifier_id\": \"m\", \"modifiers\": [";
    let deep = format!("{{\"lines\": [{{\"item_id\": \"a\", \"quantity\": 1, \"modifiers\": [{}", choice.repeat(1000));
    for bad in ["", "{", "{\"lines\": [}", "nul", "\u{feff}{}", &deep] {
        let request = gateway.post(QUOTE).header("Content-Type", "application/json").body(bad.to_owned());
        problem(request.send().await.unwrap(), 400, "MALFORMED_JSON").await;
    }
}

#[tokio::test]
async fn a_field_that_the_order_service_refuses_is_named_by_its_json_pointer() {
    let gateway = gateway().await;
    let lines = json!({"lines": [{"item_id": "yakitori", "quantity": 1}, {"item_id": "unicorn", "quantity": 1}]});
    let told = problem(gateway.send(QUOTE, &lines).await, 400, "ITEM_NOT_FOUND").await;
    assert_eq!(told["errors"][0], json!({"in": "body", "field": "/lines/1/item_id", "detail": "is not on the menu"}));
}

#[tokio::test]
async fn another_content_type_is_refused() {
    let gateway = gateway().await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
        let request = gateway.post(QUOTE).header("Content-Type", content_type).body("{}");
        problem(request.send().await.unwrap(), 415, "UNSUPPORTED_MEDIA_TYPE").await;
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_whether_or_not_it_tells_its_length() {
    let gateway = gateway().await;
    let mut order = togo();
    order["note"] = json!("x".repeat(70_000));
    problem(gateway.place(ORDERS, KEY, &order).await, 413, "BODY_TOO_LARGE").await;

    let chunk = format!("{:x}\r\n{}\r\n", 8_000, "x".repeat(8_000)).repeat(9);
    let head = "POST /togo/v1/stores/shibuya/quote HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let answer = raw(&gateway, &format!("{head}{chunk}0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn an_unknown_route_and_a_wrong_method_are_problems_too() {
    let gateway = gateway().await;
    for path in ["/", "/togo", "/togo/v2/stores/shibuya/menu", "/drive/v1/stores/shibuya/menu", "/%ff/v1/stores/x/menu"]
    {
        problem(gateway.get(path).send().await.unwrap(), 404, "NO_SUCH_ROUTE").await;
    }
    let answer = gateway.request(reqwest::Method::DELETE, "/table/v1/check/rounds").send().await.unwrap();
    let allow = header(&answer, "allow");
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    problem(answer, 405, "METHOD_NOT_ALLOWED").await;
}

#[tokio::test]
async fn a_peers_retry_delay_becomes_retry_after() {
    let gateway = gateway().await;
    let busy = Failure::new(Code::ResourceExhausted, "OVERLOADED", "too many calls")
        .retry_after(std::time::Duration::from_millis(2_500));
    gateway.fakes.orders.fail_next_place(busy);
    let answer = gateway.place(ORDERS, KEY, &togo()).await;
    assert_eq!(header(&answer, "retry-after"), "3");
    let told = problem(answer, 503, "OVERLOADED").await;
    assert_eq!(told["retry_after"], 3);
}

#[tokio::test]
async fn a_closed_gate_is_told_with_its_reason_and_when_to_come_back() {
    let gateway = gateway().await;
    let closed = Failure::new(Code::Unavailable, "GATE_CLOSED", "the store is closed now; nothing was taken")
        .meta("gate_reason", "OUTSIDE_HOURS")
        .retry_after(std::time::Duration::from_secs(600));
    gateway.fakes.orders.fail_next_place(closed);
    let answer = gateway.place(ORDERS, KEY, &togo()).await;
    assert_eq!(header(&answer, "retry-after"), "600");
    let told = problem(answer, 503, "GATE_CLOSED").await;
    assert_eq!(told["gate_reason"], "OUTSIDE_HOURS");
    assert_eq!(told["detail"], "the store is closed now; nothing was taken");
}

#[tokio::test]
async fn each_grpc_code_has_its_http_status_and_keeps_its_reason() {
    let gateway = gateway().await;
    let cases = [
        (Code::InvalidArgument, "TOO_MANY_LINES", 400),
        (Code::NotFound, "CHECK_NOT_FOUND", 404),
        (Code::AlreadyExists, "REQUEST_ID_REUSED", 409),
        (Code::FailedPrecondition, "ITEM_UNAVAILABLE", 409),
        (Code::FailedPrecondition, "CHECK_CLOSED", 410),
        (Code::PermissionDenied, "NOT_YOURS", 403),
        (Code::ResourceExhausted, "RATE_LIMITED", 429),
        (Code::Unimplemented, "NOT_SUPPORTED", 501),
        (Code::Unavailable, "NOT_HANDED_OVER", 503),
        (Code::DeadlineExceeded, "OUTCOME_UNKNOWN", 504),
        (Code::Internal, "OUTCOME_UNKNOWN", 502),
    ];
    for (code, reason, status) in cases {
        gateway.fakes.orders.fail_next_place(Failure::new(code, reason, "it says so"));
        problem(gateway.place(ORDERS, KEY, &togo()).await, status, reason).await;
    }
}

#[tokio::test]
async fn a_peer_that_breaks_is_told_without_its_internals() {
    let gateway = gateway().await;
    let (path, token) = gateway.order_ahead(KEY).await;
    gateway.fakes.orders.panic();
    let answer = gateway.get(&path).bearer_auth(&token).send().await.unwrap();
    assert!(answer.status().is_server_error());
    let answer = answer.text().await.unwrap();
    assert!(!answer.contains("panic") && !answer.contains("127.0.0.1"), "{answer}");
}
