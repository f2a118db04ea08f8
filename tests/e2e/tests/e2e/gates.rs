//! A POS that goes away closes its gates: nobody pays for what cannot be cooked, and what was kept is cooked once.

use futures_util::future::join_all;
use posmesh_e2e::{Answer, Http, Shape, Shop, eventually, line, refusal};
use posmesh_kit::{cause, failure};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{Gate, GateReason, GateState, HoldReason, Order, OrderState, PlaceOrderRequest},
    router::v1::LinkState,
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::orders::{an_hour_from_now, is_truly_placed, key};

posmesh_e2e::on_both_shapes!(
    a_pos_that_stops_closes_its_gates_everywhere_and_gets_what_was_kept_once_and_in_order,
    a_store_that_its_staff_pause_takes_no_orders_until_they_resume_it,
);

/// What the POS takes to record each of the first orders after it was away: long enough to be looked at.
const SLOW_MS: u64 = 2000;

async fn a_pos_that_stops_closes_its_gates_everywhere_and_gets_what_was_kept_once_and_in_order(shape: Shape) {
    let shop = Shop::open(shape).await;
    shop.mesh.link_is(&shop.store_id, LinkState::Online).await;
    shop.mesh.gate_is(&shop.store_id, Product::Kiosk, GateState::Open).await;
    let store = ["--store", shop.store_id.as_str(), "--watch"];
    let of_links = [&["links"], store.as_slice()].concat();
    let links = shop.mesh.posmesh_until_dropped(&format!("links-{}", shop.store_id), &of_links).unwrap();
    let of_gates = [&["gate"], store.as_slice()].concat();
    let gates = shop.mesh.posmesh_until_dropped(&format!("gate-{}", shop.store_id), &of_gates).unwrap();
    let watches = async || (links.has_logged("ONLINE") && gates.has_logged("All gates are open")).then_some(());
    eventually("the operator watches", watches).await;

    shop.pos.process().kill().unwrap();
    // It makes the failure known; it may be brought to the POS later.
    let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;
    let first = shop.place(0, request).await.unwrap();
    let link = shop.mesh.link_is(&shop.store_id, LinkState::Offline).await;
    assert_eq!((link.cause.as_str(), link.failing_hop.as_str()), (cause::NETWORK_DOWN, "pos"), "{link:?}");
    is_closed_everywhere(&shop, &link.message).await;
    the_operator_is_shown_it(&shop).await;
    let kept = are_kept(&shop).await;

    shop.pos.process().restart().unwrap();
    shop.pos.answers().await;
    shop.pos.fault(json!({ "kind": "delay", "on": "submit", "delay_ms": SLOW_MS })).await;
    shop.mesh.gate_is(&shop.store_id, Product::Kiosk, GateState::Probation).await;
    let one_more = shop.request(Product::Kiosk, &[line("ramune", 1)]).await;
    let many = (0..6).map(|n| shop.place(n, PlaceOrderRequest { request_id: key(), ..one_more.clone() }));
    let (let_in, refused): (Vec<_>, Vec<_>) = join_all(many).await.into_iter().partition(Result::is_ok);
    assert!(let_in.len() <= 1, "one at a time, and a kept one may be it: {let_in:#?}");
    for status in refused.into_iter().filter_map(Result::err) {
        assert_eq!(refusal_of_gate(&status).1, "LINK_REOPENING", "{status:?}");
    }
    shop.pos.heal().await;
    shop.mesh.gate_is(&shop.store_id, Product::Kiosk, GateState::Open).await;
    shop.mesh.link_is(&shop.store_id, LinkState::Online).await;
    for order_id in &kept {
        is_truly_placed(&shop, &shop.ends_up(0, order_id, OrderState::Placed).await).await;
    }
    let at_pos = shop.pos.orders().await;
    let references = at_pos.iter().filter_map(|order| order["request"]["reference"].as_str());
    let in_order: Vec<&str> = references.filter(|reference| kept.iter().any(|id| id == reference)).collect();
    assert_eq!(in_order, kept, "the first that was kept comes first");
    is_truly_placed(&shop, &shop.placed(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await).await;
    let first = ends(&shop, &first.order_id).await;
    let expected = if first.state() == OrderState::Placed { 1 } else { 0 };
    assert_eq!(shop.pos.recorded(&first.order_id).await.len(), expected, "{first:#?}");

    let told = async || {
        let told = std::fs::read_to_string(gates.log()).ok()?;
        let of_kiosk = told.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        let of_kiosk: Vec<&str> = of_kiosk.filter(|row| row.get(1) == Some(&"KIOSK")).map(|row| row[2]).collect();
        (of_kiosk.first() == Some(&"CLOSED") && of_kiosk.contains(&"PROBATION") && of_kiosk.last() == Some(&"OPEN"))
            .then_some(())
    };
    eventually("the operator has seen the gates open", told).await;
    for words in ["CLOSED", "HOLD", "LINK_OFFLINE", "NETWORK_DOWN (pos)"] {
        assert!(gates.has_logged(words), "{words}: {}", gates.log_end(0));
    }
    assert!(links.has_logged("OFFLINE") && links.has_logged(cause::NETWORK_DOWN), "{}", links.log_end(0));
}

fn replicas(shop: &Shop) -> std::ops::Range<usize> {
    0..shop.mesh.order_addresses().len()
}

/// Gates, refusals over gRPC and HTTP, and the menu.
async fn is_closed_everywhere(shop: &Shop, message: &str) {
    let closed = |gate: &Gate| {
        let why = (gate.reason(), gate.cause.as_str(), gate.failing_hop.as_str(), gate.message.as_str());
        assert_eq!(why, (GateReason::LinkOffline, cause::NETWORK_DOWN, "pos", message), "{gate:?}");
    };
    for product in [Product::Kiosk, Product::Table] {
        closed(&shop.mesh.gate_is(&shop.store_id, product, GateState::Closed).await);
    }
    closed(&shop.mesh.gate_is(&shop.store_id, Product::ToGo, GateState::Hold).await);
    for replica in replicas(shop) {
        let status = shop.place(replica, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await.unwrap_err();
        assert_eq!((status.code(), refusal(&status).0.as_str()), (Code::Unavailable, "GATE_CLOSED"), "{status:?}");
        assert_eq!(refusal_of_gate(&status), (cause::NETWORK_DOWN.into(), "LINK_OFFLINE".into(), "pos".into()));
        let retry = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
        assert!(retry.is_some_and(|delay| !delay.is_zero()), "{status:?}");
    }
    let told = async || {
        let menu = Http::send(shop.http.get(&format!("/kiosk/v1/stores/{}/menu", shop.store_id))).await.ok()?.ok();
        (menu["gate"]["state"] == "closed").then_some(menu)
    };
    let menu = eventually("the menu shows it", told).await;
    assert_eq!(menu["gate"]["reason"], "LINK_OFFLINE", "{:#}", menu["gate"]);
    assert_eq!(menu["gate"]["guest_message"]["code"], "NO_ORDERS_NOW", "{:#}", menu["gate"]);
    let refused = over_http(shop, "kiosk").await;
    assert_eq!(refused.problem(), (503, "GATE_CLOSED".into(), String::new()));
    assert_eq!(refused.body["gate_reason"], "LINK_OFFLINE", "{:#}", refused.body);
    let retry_after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(retry_after > 0 && refused.body["retry_after"] == retry_after, "{:#}", refused.body);
}

/// Cause, reason and hop.
fn refusal_of_gate(status: &Status) -> (String, String, String) {
    let meta = |key| failure::metadata(status, key).unwrap_or_default();
    (meta("cause"), meta("gate_reason"), meta("failing_hop"))
}

async fn the_operator_is_shown_it(shop: &Shop) {
    let links = shop.mesh.posmesh(&["links", "--store", &shop.store_id]).await.unwrap();
    has_row(&links.out, &[&shop.store_id, &format!("{}-pos", shop.store_id), "OFFLINE", "pos", cause::NETWORK_DOWN]);
    let history = shop.mesh.posmesh(&["links", &format!("{}-pos", shop.store_id)]).await.unwrap();
    let states: Vec<&str> = history.out.lines().skip(1).filter_map(|row| row.split_whitespace().nth(1)).collect();
    assert!(states.ends_with(&["ONLINE", "OFFLINE"]), "{}", history.out);
    let gates = shop.mesh.posmesh(&["gate", "--store", &shop.store_id]).await.unwrap();
    has_row(&gates.out, &[&shop.store_id, "KIOSK", "CLOSED", "LINK_OFFLINE", "NETWORK_DOWN (pos)"]);
    has_row(&gates.out, &[&shop.store_id, "TO_GO", "HOLD", "LINK_OFFLINE", "NETWORK_DOWN (pos)"]);
    let all = shop.mesh.posmesh(&["gate"]).await.unwrap();
    has_row(&all.out, &[&shop.store_id, "TABLE", "CLOSED", "LINK_OFFLINE"]);
}

/// Some line of a table holds these cells.
fn has_row(table: &str, cells: &[&str]) {
    let holds = |row: &str| cells.iter().all(|cell| row.contains(cell));
    assert!(table.lines().any(holds), "no row with {cells:?}:\n{table}");
}

/// ToGo orders are taken over both ways in, and told as kept; their ids in the order in which they were taken.
async fn are_kept(shop: &Shop) -> Vec<String> {
    let mut kept = Vec::new();
    for n in 0..3 {
        let order = shop.place(n, shop.request(Product::ToGo, &[line("ramune", 1)]).await).await.unwrap();
        assert_eq!((order.state(), order.hold_reason()), (OrderState::Held, HoldReason::Link), "{order:#?}");
        kept.push(order.order_id);
    }
    let told = over_http(shop, "togo").await.ok();
    assert_eq!(told["order"]["state"], "HELD", "{told:#}");
    assert_eq!(told["order"]["guest_message"]["code"], "HELD_FOR_STORE", "{told:#}");
    kept.push(told["order"]["order_id"].as_str().unwrap().to_owned());
    kept
}

/// Orders over HTTP, and does not wait for the POS.
async fn over_http(shop: &Shop, product: &str) -> Answer {
    let path = format!("/{product}/v1/stores/{}", shop.store_id);
    let mut order: Value = json!({ "lines": [{ "item_id": "ramune", "quantity": 1 }] });
    if product == "kiosk" {
        order["service_mode"] = "eat_in".into();
    }
    let quote = Http::send(shop.http.post(&format!("{path}/quote"), &order)).await.unwrap().ok();
    order["expected_total"] = quote["price"]["total"].clone();
    if product == "togo" {
        order["pickup_time"] = an_hour_from_now().into();
    }
    Http::send(shop.http.post(&format!("{path}/orders"), &order).header("idempotency-key", key())).await.unwrap()
}

async fn ends(shop: &Shop, order_id: &str) -> Order {
    let done = |order: &Order| matches!(order.state(), OrderState::Placed | OrderState::Expired);
    let ended = async || shop.order(0, order_id).await.ok().filter(done);
    eventually("the order that came before anybody knew is placed or given up", ended).await
}

async fn a_store_that_its_staff_pause_takes_no_orders_until_they_resume_it(shape: Shape) {
    let shop = Shop::open(shape).await;
    shop.mesh.gate_is(&shop.store_id, Product::Kiosk, GateState::Open).await;
    let pause = ["gate", "pause", &shop.store_id, "--product", "kiosk", "--product", "togo", "--for", "30m"];
    let why = ["--reason", "the fryer is broken", "--by", "hanako"];
    let said = shop.mesh.posmesh(&[&pause[..], &why].concat()).await.unwrap();
    assert_eq!(said.code, 0, "{}", said.err);
    has_row(&said.out, &[&shop.store_id, "KIOSK", "CLOSED", "PAUSED", "opens ", "the fryer is broken"]);
    has_row(&said.out, &[&shop.store_id, "TO_GO", "CLOSED", "PAUSED"]);
    for product in [Product::Kiosk, Product::ToGo] {
        let gate = shop.mesh.gate_is(&shop.store_id, product, GateState::Closed).await;
        assert_eq!((gate.reason(), gate.message.as_str()), (GateReason::Paused, "the fryer is broken"));
        assert!(gate.open_time.is_some());
    }
    shop.mesh.gate_is(&shop.store_id, Product::Table, GateState::Open).await;
    let refused = over_http(&shop, "togo").await;
    assert_eq!(refused.problem(), (503, "GATE_CLOSED".into(), String::new()));
    assert_eq!(refused.body["gate_reason"], "PAUSED", "{:#}", refused.body);

    let wrong = shop.mesh.posmesh(&["gate", "pause", "no-such-store"]).await.unwrap();
    assert!(wrong.code != 0 && wrong.err.contains("STORE_NOT_FOUND"), "{wrong:?}");
    let said = shop.mesh.posmesh(&["gate", "resume", &shop.store_id]).await.unwrap();
    has_row(&said.out, &[&shop.store_id, "KIOSK", "OPEN"]);
    shop.mesh.gate_is(&shop.store_id, Product::Kiosk, GateState::Open).await;
    let order = shop.placed(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await;
    is_truly_placed(&shop, &order).await;
}
