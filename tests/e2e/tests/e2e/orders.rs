//! The main job: an order of each product goes into the POS, once, and is told as it is.

use posmesh_e2e::{Http, Shape, Shop, eventually, line, with};
use posmesh_proto::{
    common::v1::{EvidenceKind, Product, ServiceMode},
    order::v1::{ExternalTender, Order, OrderLineInput, OrderState},
};
use serde_json::{Value, json};

posmesh_e2e::on_both_shapes!(
    a_togo_order_over_http_is_one_paid_order_at_the_pos_with_the_slips_number,
    a_kiosk_order_over_http_is_one_order_at_the_pos_with_the_slips_number,
    orders_of_all_products_over_grpc_are_each_one_order_at_the_pos,
    nested_choices_and_notes_arrive_as_they_were_ordered,
    an_order_is_told_placed_only_with_the_evidence_that_the_store_asks_for,
);

/// One recording and one kitchen slip at the POS, under the number that the guest is told, for the money that the guest
/// agreed to.
pub(crate) async fn is_once_at_the_pos(shop: &Shop, order_id: &str, display_number: &str, total: i64) -> Value {
    let mut recorded = shop.pos.recorded(order_id).await;
    assert_eq!(recorded.len(), 1, "recordings of {order_id}: {recorded:#?}");
    let slips = shop.pos.slips(order_id).await;
    assert_eq!(slips.len(), 1, "slips of {order_id}: {slips:#?}");
    assert!(!display_number.is_empty());
    assert_eq!(slips[0]["display_number"], display_number);
    assert!(slips[0]["text"].as_str().unwrap().contains(display_number), "{}", slips[0]["text"]);
    let recorded = recorded.remove(0);
    assert_eq!(recorded["totals"]["total"], total);
    recorded
}

/// The same of an order as gRPC tells it, with its evidence.
pub(crate) async fn is_truly_placed(shop: &Shop, order: &Order) -> Value {
    assert_eq!(order.state(), OrderState::Placed, "{order:#?}");
    let pos = order.evidence.iter().find(|evidence| evidence.kind() == EvidenceKind::Pos);
    let pos = pos.unwrap_or_else(|| panic!("PLACED without evidence: {order:#?}"));
    assert_eq!(pos.connection_id, format!("{}-pos", shop.store_id));
    let total = order.price.as_ref().unwrap().total.as_ref().unwrap().amount;
    let recorded = is_once_at_the_pos(shop, &order.order_id, &order.display_number, total).await;
    assert_eq!(recorded["order_number"].to_string(), order.pos_order_references.join(" "));
    assert!(order.attention.is_empty(), "{order:#?}");
    recorded
}

async fn a_togo_order_over_http_is_one_paid_order_at_the_pos_with_the_slips_number(shape: Shape) {
    let shop = Shop::open(shape).await;
    let lines = json!([{ "item_id": "yaki_onigiri", "quantity": 3 }, { "item_id": "ramune", "quantity": 1 }]);
    let store = format!("/togo/v1/stores/{}", shop.store_id);
    let quote = shop.http.post(&format!("{store}/quote"), &json!({ "lines": lines }));
    let quote = Http::send(quote).await.unwrap().ok();
    let total = quote["price"]["total"].clone();
    // 3 × 250 + 380, tax included: 8 % as it is taken away.
    assert_eq!(total, json!({ "currency": "JPY", "amount": 1130 }));
    assert_eq!(quote["price"]["taxes"][0]["rate_ppm"], 80_000);

    let body = json!({
        "lines": lines, "expected_total": total, "pickup_time": an_hour_from_now(),
        "guest_contact": { "name": "佐藤", "phone": "+819012345678" },
        "tenders": [{ "amount": total, "reference": "pay_8Xk2" }],
    });
    let placing = shop.http.place(&format!("{store}/orders"), &key(), &body);
    let placed = Http::send(placing).await.unwrap();
    assert_eq!(placed.status, 201, "{:#}", placed.body);
    let location = placed.headers["location"].to_str().unwrap().to_owned();
    let placed = placed.ok();
    assert_eq!(placed["order"]["state"], "PLACED", "{placed:#}");
    assert_eq!(placed["order"]["guest_message"]["code"], "IN_KITCHEN");

    let order_id = placed["order"]["order_id"].as_str().unwrap();
    let recorded = is_once_at_the_pos(&shop, order_id, placed["order"]["display_number"].as_str().unwrap(), 1130).await;
    assert_eq!(recorded["request"]["tenders"][0]["amount"], 1130);
    assert_eq!(recorded["request"]["tenders"][0]["external_reference"], "pay_8Xk2");
    assert_eq!(shop.pos.check(&recorded["check_number"]).await["state"], "closed");
    assert!(shop.pos.slips(order_id).await[0]["text"].as_str().unwrap().contains("佐藤"), "the name is on the slip");

    let token = placed["order_token"].as_str().unwrap();
    let read = Http::send(shop.http.get(&location).bearer_auth(token)).await.unwrap().ok();
    assert_eq!(read["display_number"], placed["order"]["display_number"]);
    assert_eq!(Http::send(shop.http.get(&location)).await.unwrap().problem().1, "TOKEN_REQUIRED");
    let other = Http::send(shop.http.get(&format!("{store}/orders/other")).bearer_auth(token)).await.unwrap();
    assert_eq!(other.problem().1, "TOKEN_INVALID");

    for process in shop.mesh.processes() {
        for secret in ["佐藤", "819012345678", token, "e2e-pos-key"] {
            assert!(!process.has_logged(secret), "{} logs {secret:?}", process.name());
        }
    }
    assert!(shop.mesh.processes().iter().any(|process| process.has_logged(order_id)), "the order itself is logged");
}

async fn a_kiosk_order_over_http_is_one_order_at_the_pos_with_the_slips_number(shape: Shape) {
    let shop = Shop::open(shape).await;
    let store = format!("/kiosk/v1/stores/{}", shop.store_id);
    let beer = json!({ "item_id": "bottle_beer", "quantity": 1, "modifiers": choices_of_bottle_beer() });
    let onigiri = json!({ "item_id": "yaki_onigiri", "quantity": 2, "service_mode": "take_away" });
    let lines = json!([beer, onigiri]);
    let quote = json!({ "lines": lines, "service_mode": "eat_in" });
    let quote = Http::send(shop.http.post(&format!("{store}/quote"), &quote)).await.unwrap().ok();
    let rates: Vec<i64> =
        quote["price"]["taxes"].as_array().unwrap().iter().map(|tax| tax["rate_ppm"].as_i64().unwrap()).collect();
    assert!(rates.contains(&80_000) && rates.contains(&100_000), "one check mixes 8 % and 10 %: {rates:?}");

    let total = quote["price"]["total"].clone();
    let body = json!({
        "lines": lines, "expected_total": total, "service_mode": "eat_in", "pager_number": "17",
        "tenders": [{ "amount": total, "reference": "term-4-001923" }],
    });
    let placed = Http::send(shop.http.place(&format!("{store}/orders"), &key(), &body)).await.unwrap().ok();
    assert_eq!(placed["order"]["state"], "PLACED", "{placed:#}");
    let order_id = placed["order"]["order_id"].as_str().unwrap();
    let number = placed["order"]["display_number"].as_str().unwrap();
    let recorded = is_once_at_the_pos(&shop, order_id, number, total["amount"].as_i64().unwrap()).await;
    assert_eq!(recorded["request"]["pager"], "17");
    let modes: Vec<&str> =
        recorded["lines"].as_array().unwrap().iter().map(|line| line["service_mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["dine_in", "takeaway"]);
}

async fn orders_of_all_products_over_grpc_are_each_one_order_at_the_pos(shape: Shape) {
    let shop = Shop::open(shape).await;
    let lines = [line("yaki_onigiri", 2)];

    let togo = shop.request(Product::ToGo, &lines).await;
    let tender =
        ExternalTender { amount: togo.expected_total.clone(), reference: "pay-1".into(), ..Default::default() };
    let togo = shop.placed(0, posmesh_proto::order::v1::PlaceOrderRequest { tenders: vec![tender], ..togo }).await;
    is_truly_placed(&shop, &togo).await;

    let kiosk = shop.placed(1, shop.request(Product::Kiosk, &lines).await).await;
    is_truly_placed(&shop, &kiosk).await;

    let check = crate::tables::open_check(&shop, "T1").await;
    let round = shop.placed(0, crate::tables::round(&shop, &check.check_id, &lines).await).await;
    let recorded = is_truly_placed(&shop, &round).await;
    assert_eq!(recorded["table"], "T1");
    assert_eq!(shop.pos.orders().await.len(), 3);
}

async fn nested_choices_and_notes_arrive_as_they_were_ordered(shape: Shape) {
    let shop = Shop::open(shape).await;
    let mut platter = with(
        line("kushi_5", 1),
        &[
            ("platter_skewers", "momo"),
            ("platter_skewers", "kawa"),
            ("platter_skewers", "negima"),
            ("platter_skewers", "gyutan"),
            ("platter_skewers", "tsukune"),
            ("seasoning", "sauce"),
        ],
    );
    let topping = with(OrderLineInput::default(), &[("tsukune_topping", "egg_yolk")]).modifiers;
    platter.modifiers[4].modifiers = topping;
    platter.note = "よく焼きで".into();
    // 880 + 150 for the tongue + 50 for the yolk.
    assert_eq!(shop.total(Product::Kiosk, &[platter.clone()]).await, 1080);

    let order = shop.placed(0, shop.request(Product::Kiosk, &[platter]).await).await;
    let recorded = is_truly_placed(&shop, &order).await;
    let line = &recorded["lines"][0];
    assert_eq!(line["note"], "よく焼きで");
    let chosen: Vec<&str> =
        line["modifiers"].as_array().unwrap().iter().map(|choice| choice["option_id"].as_str().unwrap()).collect();
    assert_eq!(chosen, ["momo", "kawa", "negima", "gyutan", "tsukune", "sauce"]);
    assert_eq!(line["modifiers"][4]["modifiers"][0]["option_id"], "egg_yolk");
    assert_eq!(order.lines[0].service_mode(), ServiceMode::DineIn);
}

async fn an_order_is_told_placed_only_with_the_evidence_that_the_store_asks_for(shape: Shape) {
    let shop = Shop::open_with_evidence(shape, &[EvidenceKind::Pos, EvidenceKind::Printed]).await;
    shop.pos.fault(json!({ "kind": "out_of_paper" })).await;
    let order = shop.place(0, shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await).await.unwrap();
    // The POS has it, the kitchen does not: the slip waits for paper.
    let known = async || {
        let order = shop.order(1, &order.order_id).await.unwrap();
        (!order.evidence.is_empty()).then_some(order)
    };
    let unprinted = eventually("the evidence of the POS is told", known).await;
    assert_eq!(shop.pos.recorded(&order.order_id).await.len(), 1);
    assert!(unprinted.evidence.iter().all(|evidence| evidence.kind() != EvidenceKind::Printed), "{unprinted:#?}");
    assert_ne!(unprinted.state(), OrderState::Placed);
    assert!(unprinted.place_time.is_none());

    shop.pos.heal().await;
    let order = shop.ends_up(0, &order.order_id, OrderState::Placed).await;
    assert!(order.evidence.iter().any(|evidence| evidence.kind() == EvidenceKind::Printed), "{order:#?}");
    is_truly_placed(&shop, &order).await;
}

pub(crate) fn key() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// RFC 3339.
pub(crate) fn an_hour_from_now() -> String {
    let time = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    prost_types::Timestamp::from(time).to_string()
}

fn choices_of_bottle_beer() -> Value {
    json!([{ "group_id": "beer_brand", "modifier_id": "dry" }])
}
