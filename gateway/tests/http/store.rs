use std::{io::Read as _, time::Duration};

use posmesh_gateway::Config;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{Gate, GateReason, GateState},
};

use crate::support::*;

#[tokio::test]
async fn bootstrap_tells_name_locales_currency_time_and_limits() {
    let gateway = gateway().await;
    for product in ["table", "togo", "kiosk"] {
        let answer = gateway.get(&format!("/{product}/v1/stores/shibuya/bootstrap")).send().await.unwrap();
        let told = body(answer, 200).await;
        assert_eq!(told["product"], product);
        assert_eq!(told["name"]["ja"], "渋谷店");
        assert_eq!(told["locales"], serde_json::json!(["ja", "en"]));
        assert_eq!(told["currency"], serde_json::json!({"code": "JPY", "minor_digits": 0}));
        assert_eq!(told["time_zone"], "Asia/Tokyo");
        assert_eq!(told["limits"]["max_body_bytes"], 65536);
        assert_eq!(told["service_modes"][0], if product == "togo" { "take_away" } else { "eat_in" });
        let server_time: jiff::Timestamp = text(&told["server_time"]).parse().unwrap();
        assert!(server_time.duration_until(jiff::Timestamp::now()).as_secs().abs() < 10, "{server_time}");
    }
}

#[tokio::test]
async fn a_product_that_the_store_does_not_sell_is_told_at_bootstrap() {
    let gateway = gateway().await;
    let answer = gateway.get("/kiosk/v1/stores/ginza/bootstrap").send().await.unwrap();
    problem(answer, 409, "PRODUCT_NOT_SOLD").await;
}

#[tokio::test]
async fn an_unknown_store_is_named_for_every_question() {
    let gateway = gateway().await;
    for path in ["/table/v1/stores/nowhere/bootstrap", "/togo/v1/stores/nowhere/menu"] {
        problem(gateway.get(path).send().await.unwrap(), 404, "STORE_NOT_FOUND").await;
    }
}

#[tokio::test]
async fn the_menu_shows_tax_included_prices_of_the_asked_service_mode() {
    let gateway = gateway().await;
    for (mode, amount) in [("eat_in", 539), ("take_away", 529)] {
        let path = format!("/kiosk/v1/stores/shibuya/menu?locale=en&service_mode={mode}");
        let menu = body(gateway.get(&path).send().await.unwrap(), 200).await;
        assert_eq!(menu["service_mode"], mode);
        assert_eq!(menu["items"][0]["name"], "Yakitori");
        assert_eq!(menu["items"][0]["display_price"], serde_json::json!({"currency": "JPY", "amount": amount}));
        assert_eq!(menu["modifier_groups"][0]["modifiers"][0]["id"], "salt");
        assert_eq!(menu["categories"][0]["item_ids"][0], "yakitori");
        let allergens = serde_json::json!({"contains": ["soybean"], "may_contain": ["sesame"],
            "checked_lists": ["jp_mandatory"]});
        assert_eq!(menu["items"][0]["allergens"], allergens);
        assert!(menu["modifier_groups"][0]["modifiers"][0].get("allergens").is_none(), "nobody told");
    }
}

#[tokio::test]
async fn a_menu_that_has_not_changed_is_answered_with_304_until_it_changes() {
    let gateway = gateway().await;
    let path = "/table/v1/stores/shibuya/menu?locale=ja";
    let first = gateway.get(path).send().await.unwrap();
    let etag = header(&first, "etag");
    assert!(etag.starts_with("W/\"") && etag.ends_with('"') && etag.len() > 4, "{etag}");
    assert_eq!(header(&first, "cache-control"), "no-cache");

    for held in [etag.clone(), format!("\"other\", {etag}"), etag.trim_start_matches("W/").to_owned(), "*".to_owned()] {
        let again = gateway.get(path).header("If-None-Match", &held).send().await.unwrap();
        assert_eq!(again.status(), 304, "{held}");
        assert_eq!(header(&again, "etag"), etag);
        assert!(again.text().await.unwrap().is_empty());
    }
    gateway.fakes.catalog.change_menu();
    let changed = gateway.get(path).header("If-None-Match", &etag).send().await.unwrap();
    assert_eq!(changed.status(), 200);
    assert_ne!(header(&changed, "etag"), etag);
}

#[tokio::test]
async fn the_gate_stands_beside_the_menu_and_a_change_of_it_is_no_304() {
    let gateway = gateway().await;
    let path = "/kiosk/v1/stores/shibuya/menu?locale=ja";
    let unknown = gateway.get(path).send().await.unwrap();
    let etag = header(&unknown, "etag");
    assert!(body(unknown, 200).await.get("gate").is_none());
    let closed = Gate {
        store_id: "shibuya".into(),
        product: Product::Kiosk.into(),
        state: GateState::Closed.into(),
        reason: GateReason::LinkOffline.into(),
        message: "connection refused".into(),
        ..Gate::default()
    };
    gateway.fakes.orders.gates.send_replace(vec![closed]);
    let begun = std::time::Instant::now();
    let answer = loop {
        let answer = gateway.get(path).header("If-None-Match", &etag).send().await.unwrap();
        if answer.status() == 200 {
            break answer;
        }
        assert!(begun.elapsed() < PATIENCE, "the gate is never told");
    };
    let changed = header(&answer, "etag");
    let told = body(answer, 200).await;
    assert_eq!((&told["gate"]["state"], &told["gate"]["reason"]), (&"closed".into(), &"LINK_OFFLINE".into()));
    assert_eq!(told["gate"]["guest_message"]["code"], "NO_ORDERS_NOW");
    assert!(told["gate"].get("note").is_none(), "what is wrong inside is not the guest's");
    assert_eq!(told["items"][0]["id"], "yakitori");
    let again = gateway.get(path).header("If-None-Match", &changed).send().await.unwrap();
    assert_eq!(again.status(), 304);
    // Of other products nothing was said.
    let table = gateway.get("/table/v1/stores/shibuya/menu").send().await.unwrap();
    assert!(body(table, 200).await.get("gate").is_none());
}

#[tokio::test]
async fn a_service_mode_that_does_not_exist_is_named_as_a_query_parameter() {
    let gateway = gateway().await;
    let answer = gateway.get("/table/v1/stores/shibuya/menu?service_mode=drive_in").send().await.unwrap();
    let told = problem(answer, 400, "INVALID_PARAMETER").await;
    assert_eq!(told["errors"][0]["in"], "query");
    assert_eq!(told["errors"][0]["field"], "service_mode");
}

#[tokio::test]
async fn a_menu_comes_compressed_to_whoever_takes_it_and_is_the_same_one() {
    let gateway = gateway().await;
    let path = "/kiosk/v1/stores/shibuya/menu?locale=ja";
    let plain = gateway.get(path).send().await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    let etag = header(&plain, "etag");
    assert_eq!(
        (header(&plain, "content-type"), header(&plain, "vary")),
        ("application/json".into(), "accept-encoding".into())
    );
    let plain = plain.bytes().await.unwrap();
    let packed = gateway.get(path).header("Accept-Encoding", "br, gzip;q=0.9").send().await.unwrap();
    assert_eq!((header(&packed, "content-encoding"), header(&packed, "etag")), ("gzip".into(), etag.clone()));
    let mut unpacked = Vec::new();
    let packed = packed.bytes().await.unwrap();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    gateway.fakes.catalog.change_menu();
    let changed = gateway.get(path).header("Accept-Encoding", "gzip").send().await.unwrap();
    assert_eq!(changed.status(), 200);
    assert_ne!(header(&changed, "etag"), etag, "what is kept is not served when it has changed");
}

#[tokio::test]
async fn menus_that_many_ask_for_at_once_are_asked_of_the_catalog_service_once_in_a_while() {
    let gateway = gateway_with(Config { menu_max_age: Duration::from_secs(3600), ..config() }).await;
    let menu = async |locale: &str| {
        let answer = gateway.get(&format!("/kiosk/v1/stores/shibuya/menu?locale={locale}")).send().await.unwrap();
        header(&answer, "etag")
    };
    let first = menu("ja").await;
    gateway.fakes.catalog.change_menu();
    assert_eq!(menu("ja").await, first);
    assert_ne!(menu("en").await, first, "what nobody has asked for is asked");
}
