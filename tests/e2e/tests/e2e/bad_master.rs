//! A broken menu at the POS never replaces a good one.

use posmesh_e2e::{Http, Shape, Shop, eventually, line};
use posmesh_proto::{
    catalog::v1::{ApproveSnapshotRequest, GetCatalogRequest, SyncState, catalog_service_client::CatalogServiceClient},
    common::v1::Product,
    order::v1::{OrderState, PlaceOrderRequest, QuoteOrderRequest},
};
use serde_json::{Value, json};

use crate::{bad_input::item, orders::key};

posmesh_e2e::on_both_shapes!(
    an_item_with_a_dangling_reference_in_the_pos_menu_is_reported_and_left_out_alone,
    an_item_with_a_negative_price_in_the_pos_menu_is_reported_and_left_out_alone,
    a_pos_that_sends_next_to_nothing_changes_nothing_until_a_person_approves_it,
    a_menu_that_was_mended_is_published,
    what_changed_at_the_pos_after_the_last_sync_is_refused_by_the_pos_and_never_charged,
);

/// The menu's items, and its etag.
async fn menu(shop: &Shop) -> (Vec<String>, String) {
    let path = format!("/kiosk/v1/stores/{}/menu?locale=en", shop.store_id);
    // The gate beside the menu comes when the gateway has heard of it, and is another answer then.
    let with_gate = async || {
        let answer = Http::send(shop.http.get(&path)).await.unwrap();
        (answer.body["gate"]["state"] == "open").then_some(answer)
    };
    let answer = eventually("the gateway tells the gate", with_gate).await;
    let items = answer.body["items"].as_array().unwrap();
    let items = items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    (items, answer.headers["etag"].to_str().unwrap().to_owned())
}

async fn version(shop: &Shop) -> i64 {
    let request = GetCatalogRequest { store_id: shop.store_id.clone(), ..GetCatalogRequest::default() };
    let mut client = CatalogServiceClient::new(shop.mesh.catalog().unwrap()).max_decoding_message_size(32 << 20);
    client.get_catalog(request).await.unwrap().into_inner().catalog.unwrap().version
}

/// What is wrong with edamame in a menu that `break_it` has broken: reason and field. All else is sold.
async fn report(shop: &Shop, break_it: impl FnOnce(&mut Value)) -> (String, String) {
    let before = version(shop).await;
    let mut master = shop.pos.master().await;
    break_it(&mut master);
    shop.pos.replace_master(&master).await;
    let run = shop.sync().await.unwrap();
    assert_eq!((run.state(), run.catalog_version), (SyncState::Published, before + 1), "{run:#?}");
    assert_eq!((run.left_out.unwrap().items, run.problems.len()), (1, 1), "{:#?}", run.problems);
    let without_it = async || {
        let (items, _) = menu(shop).await;
        (items.len() == 120 && !items.iter().any(|id| id == "edamame")).then_some(())
    };
    eventually("the menu without it", without_it).await;
    shop.placed(0, shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await).await;
    let problem = run.problems.into_iter().next().expect("one problem");
    assert!(!problem.message.is_empty());
    assert_eq!((problem.entity.as_str(), problem.entity_id.as_str()), ("item", "edamame"));
    (problem.reason, problem.field)
}

async fn an_item_with_a_dangling_reference_in_the_pos_menu_is_reported_and_left_out_alone(shape: Shape) {
    let shop = Shop::open(shape).await;
    let dangling = report(&shop, |menu| item(menu, "edamame")["groups"] = json!(["gone"])).await;
    assert_eq!(dangling, ("DANGLING_REFERENCE".into(), "modifier_group_ids".into()));
}

async fn an_item_with_a_negative_price_in_the_pos_menu_is_reported_and_left_out_alone(shape: Shape) {
    let shop = Shop::open(shape).await;
    let negative = report(&shop, |menu| item(menu, "edamame")["price"] = json!(-380)).await;
    assert_eq!(negative, ("NEGATIVE_PRICE".into(), "price".into()));
}

async fn a_pos_that_sends_next_to_nothing_changes_nothing_until_a_person_approves_it(shape: Shape) {
    let shop = Shop::open(shape).await;
    let (before, etag) = (version(&shop).await, menu(&shop).await.1);
    let mut master = shop.pos.master().await;
    master["categories"].as_array_mut().unwrap().truncate(3);
    shop.pos.replace_master(&master).await;
    let run = shop.sync().await.unwrap();
    assert_eq!((run.state(), run.problems[0].reason.as_str()), (SyncState::WaitingApproval, "MANY_ITEMS_GONE"));
    assert_eq!((version(&shop).await, menu(&shop).await.1), (before, etag), "the menu before sells on");
    let approve = ApproveSnapshotRequest {
        store_id: shop.store_id.clone(),
        sync_run_id: run.sync_run_id,
        by: "Aiko".to_owned(),
        note: "the winter menu".to_owned(),
    };
    let mut client = CatalogServiceClient::new(shop.mesh.catalog().unwrap());
    let run = client.approve_snapshot(approve).await.unwrap().into_inner().run.unwrap();
    assert_eq!((run.state(), run.catalog_version), (SyncState::Published, before + 1));
    let items = usize::try_from(run.counts.unwrap().items).unwrap();
    eventually("the menu that was approved", async || (menu(&shop).await.0.len() == items).then_some(())).await;
}

async fn a_menu_that_was_mended_is_published(shape: Shape) {
    let shop = Shop::open(shape).await;
    report(&shop, |menu| item(menu, "edamame")["price"] = json!(-380)).await;
    let mut menu = shop.pos.master().await;
    item(&mut menu, "edamame")["price"] = json!(400);
    shop.pos.replace_master(&menu).await;
    let run = shop.sync().await.unwrap();
    assert_eq!(run.state(), SyncState::Published, "{run:#?}");
    let sold_again = async || {
        let lines = vec![line("edamame", 1)];
        let request = QuoteOrderRequest {
            store_id: shop.store_id.clone(),
            product: Product::Kiosk.into(),
            lines,
            ..Default::default()
        };
        // Not in the menu until the order service has heard of the new one.
        let quote = shop.orders(0).quote_order(request).await.ok()?.into_inner().quote?;
        (quote.price?.total?.amount == 400).then_some(())
    };
    eventually("the mended menu counts", sold_again).await;
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
