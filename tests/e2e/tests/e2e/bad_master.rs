//! A broken menu at the POS never replaces a good one.

use posmesh_e2e::{Http, Shape, Shop, eventually, line};
use posmesh_proto::{
    catalog::v1::{GetCatalogRequest, SyncState, catalog_service_client::CatalogServiceClient},
    common::v1::Product,
    order::v1::{OrderState, PlaceOrderRequest},
};
use serde_json::{Value, json};

use crate::{bad_input::item, orders::key};

posmesh_e2e::on_both_shapes!(
    a_dangling_reference_in_the_pos_menu_is_reported_and_changes_nothing,
    a_negative_price_in_the_pos_menu_is_reported_and_changes_nothing,
    a_menu_that_was_mended_is_published,
    what_changed_at_the_pos_after_the_last_sync_is_refused_by_the_pos_and_never_charged,
);

async fn menu_etag(shop: &Shop) -> String {
    let path = format!("/kiosk/v1/stores/{}/menu?locale=en", shop.store_id);
    // The gate beside the menu comes when the gateway has heard of it, and is another answer then.
    let with_gate = async || {
        let answer = Http::send(shop.http.get(&path)).await.unwrap();
        (answer.body["gate"]["state"] == "open").then_some(answer)
    };
    let answer = eventually("the gateway tells the gate", with_gate).await;
    assert_eq!(answer.body["items"].as_array().map(Vec::len), Some(121), "{:#}", answer.body);
    answer.headers["etag"].to_str().unwrap().to_owned()
}

async fn version(shop: &Shop) -> i64 {
    let request = GetCatalogRequest { store_id: shop.store_id.clone(), ..GetCatalogRequest::default() };
    let mut client = CatalogServiceClient::new(shop.mesh.catalog().unwrap()).max_decoding_message_size(32 << 20);
    client.get_catalog(request).await.unwrap().into_inner().catalog.unwrap().version
}

/// The report of a sync of a menu that `break_it` has broken: reason, entity, id, field.
async fn report(shop: &Shop, break_it: impl FnOnce(&mut Value)) -> (String, String, String, String) {
    let (etag, before) = (menu_etag(shop).await, version(shop).await);
    let mut menu = shop.pos.master().await;
    break_it(&mut menu);
    shop.pos.replace_master(&menu).await;
    let run = shop.sync().await.unwrap();
    assert_eq!(run.state(), SyncState::Quarantined, "{run:#?}");
    assert_eq!((version(shop).await, menu_etag(shop).await), (before, etag), "the good menu stays");
    // And it can still be ordered from.
    shop.placed(0, shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await).await;
    let problem = run.problems.into_iter().next().expect("at least one problem");
    assert!(!problem.message.is_empty());
    (problem.reason, problem.entity, problem.entity_id, problem.field)
}

fn told(reason: &str, field: &str) -> (String, String, String, String) {
    (reason.into(), "item".into(), "edamame".into(), field.into())
}

async fn a_dangling_reference_in_the_pos_menu_is_reported_and_changes_nothing(shape: Shape) {
    let shop = Shop::open(shape).await;
    let dangling = report(&shop, |menu| item(menu, "edamame")["groups"] = json!(["gone"])).await;
    assert_eq!(dangling, told("DANGLING_REFERENCE", "modifier_group_ids"));
}

async fn a_negative_price_in_the_pos_menu_is_reported_and_changes_nothing(shape: Shape) {
    let shop = Shop::open(shape).await;
    let negative = report(&shop, |menu| item(menu, "edamame")["price"] = json!(-380)).await;
    assert_eq!(negative, told("NEGATIVE_PRICE", "price"));
}

async fn a_menu_that_was_mended_is_published(shape: Shape) {
    let shop = Shop::open(shape).await;
    report(&shop, |menu| item(menu, "edamame")["price"] = json!(-380)).await;
    let mut menu = shop.pos.master().await;
    item(&mut menu, "edamame")["price"] = json!(400);
    shop.pos.replace_master(&menu).await;
    let run = shop.sync().await.unwrap();
    assert_eq!(run.state(), SyncState::Published, "{run:#?}");
    let counts = async || (shop.total(Product::Kiosk, &[line("edamame", 1)]).await == 400).then_some(());
    eventually("the mended menu counts", counts).await;
    assert_eq!(shop.sync().await.unwrap().state(), SyncState::Unchanged);
}

async fn what_changed_at_the_pos_after_the_last_sync_is_refused_by_the_pos_and_never_charged(shape: Shape) {
    let shop = Shop::open(shape).await;
    let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;
    shop.pos.fault(json!({ "kind": "change_price", "item_id": "yaki_onigiri", "price": 300, "times": 1 })).await;
    let order = shop.place(0, request.clone()).await.unwrap();
    let order = shop.ends_up(1, &order.order_id, OrderState::Rejected).await;
    assert_eq!(order.cause, "MASTER_MISMATCH", "{order:#?}");
    shop.pos.fault(json!({ "kind": "sold_out", "item_id": "ramune", "times": 1 })).await;
    let sold_out = shop.request(Product::Kiosk, &[line("ramune", 1)]).await;
    let order = shop.place(0, PlaceOrderRequest { request_id: key(), ..sold_out }).await.unwrap();
    let order = shop.ends_up(1, &order.order_id, OrderState::Rejected).await;
    assert_eq!(order.cause, "ITEM_SOLD_OUT", "{order:#?}");
    assert!(shop.pos.orders().await.is_empty());
}
