//! Whatever is wrong with a POS is told by its name.

use posmesh_e2e::{Shape, Shop, eventually, line};
use posmesh_kit::cause;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{GateReason, GateState, Order, OrderState},
    router::v1::{Link, LinkState, ProbeConnectionRequest, router_service_client::RouterServiceClient},
};
use serde_json::{Value, json};

posmesh_e2e::on_both_shapes!(
    each_cause_of_the_vocabulary_that_is_the_links_is_told_by_its_name,
    a_cause_that_is_an_orders_own_is_told_of_the_order_and_leaves_the_link_online,
);

/// What the POS itself makes of its faults; other causes it can only be told to answer.
const FAULTS: [(&str, &str, &str); 6] = [
    ("out_of_paper", cause::PRINTER_OUT_OF_PAPER, "printer"),
    ("business_day_closed", cause::BUSINESS_DAY_NOT_OPEN, "pos"),
    ("cover_open", cause::PRINTER_COVER_OPEN, "printer"),
    ("master_updating", cause::MASTER_UPDATING, "pos"),
    ("printer_offline", cause::PRINTER_OFFLINE, "printer"),
    ("drop_before_record", cause::NETWORK_DOWN, "pos"),
];
const ANSWERED: [(&str, &str); 8] = [
    (cause::VENDOR_SERVICE_DOWN, "pos"),
    (cause::CREDENTIALS_REJECTED, "pos"),
    (cause::POS_APP_NOT_RUNNING, "pos"),
    (cause::TRAINING_MODE, "pos"),
    (cause::MISCONFIGURED, "pos"),
    (cause::PRINTER_NOT_ASSIGNED, "printer"),
    (cause::ADAPTER_DOWN, "pos"),
    (cause::UNKNOWN, "pos"),
];

/// Probes, as often as the vendor allows, until the link tells this of itself to everybody.
async fn is_told(shop: &Shop, states: &[LinkState], cause: &str, hop: &str) {
    let router = RouterServiceClient::new(shop.mesh.router().unwrap());
    let is_so = |link: &Link| states.contains(&link.state()) && link.cause == cause && link.failing_hop == hop;
    let told = async || {
        let connection_id = format!("{}-pos", shop.store_id);
        let _ = router.clone().probe_connection(ProbeConnectionRequest { connection_id }).await;
        shop.mesh.link(&shop.store_id).await.ok().filter(is_so)
    };
    eventually(&format!("the link is told as {cause:?} at {hop:?}"), told).await;
}

async fn each_cause_of_the_vocabulary_that_is_the_links_is_told_by_its_name(shape: Shape) {
    let shop = Shop::open(shape).await;
    let failing = [LinkState::Offline, LinkState::Degraded];
    for (kind, cause, hop) in FAULTS {
        shop.pos.heal().await;
        shop.pos.fault(json!({ "kind": kind, "on": "status" })).await;
        is_told(&shop, &failing, cause, hop).await;
    }
    for (cause, hop) in ANSWERED {
        shop.pos.heal().await;
        shop.pos.fault(json!({ "kind": "refuse", "on": "status", "cause": cause })).await;
        is_told(&shop, &failing, cause, hop).await;
    }
    let gate = shop.mesh.gate_is(&shop.store_id, Product::Kiosk, GateState::Closed).await;
    assert_eq!((gate.reason(), gate.cause.as_str()), (GateReason::LinkOffline, cause::UNKNOWN), "{gate:?}");
    // One that hangs longer than any probe waits.
    shop.pos.heal().await;
    shop.pos.fault(json!({ "kind": "delay", "on": "status", "delay_ms": 5000 })).await;
    is_told(&shop, &[LinkState::Offline], cause::TIMED_OUT, "pos").await;
    // A POS that may not be asked: nobody knows.
    shop.pos.heal().await;
    shop.pos.fault(json!({ "kind": "refuse", "on": "status", "cause": cause::NOT_SUPPORTED })).await;
    is_told(&shop, &[LinkState::Unknown], "", "").await;
    shop.pos.heal().await;
    is_told(&shop, &[LinkState::Online], "", "").await;
}

async fn a_cause_that_is_an_orders_own_is_told_of_the_order_and_leaves_the_link_online(shape: Shape) {
    let shop = Shop::open(shape).await;
    is_told(&shop, &[LinkState::Online], "", "").await;
    let version = shop.mesh.link(&shop.store_id).await.unwrap().version;
    for cause in [
        cause::MASTER_MISMATCH,
        cause::ITEM_SOLD_OUT,
        cause::CHECK_LIMIT_REACHED,
        cause::CHECK_AWAITING_PAYMENT,
        cause::CHECK_NOT_FOUND,
        cause::TABLE_LOCKED,
        cause::TEXT_NOT_REPRESENTABLE,
        cause::RATE_LIMITED,
    ] {
        let refusal: Value = json!({ "kind": "refuse", "on": "submit", "cause": cause, "times": 1 });
        shop.pos.fault(refusal).await;
        let order = shop.place(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await.unwrap();
        let names = |order: &Order| order.attempts.first().is_some_and(|attempt| attempt.cause == cause);
        let told = async || shop.order(0, &order.order_id).await.ok().filter(names);
        let order = eventually(&format!("the order is told {cause}"), told).await;
        assert_ne!(order.state(), OrderState::Placed, "{order:#?}");
    }
    let link = shop.mesh.link(&shop.store_id).await.unwrap();
    assert_eq!((link.state(), link.version), (LinkState::Online, version), "{link:?}");
}
