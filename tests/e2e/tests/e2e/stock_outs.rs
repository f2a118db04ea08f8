//! What is sold out cannot be ordered, in any product, seconds after somebody said so.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use posmesh_e2e::{Mesh, Options, Shape, Shop, eventually, line, refusal};
use posmesh_kit::failure;
use posmesh_proto::{
    catalog::v1::{
        GetMenuRequest, SetAvailabilityRequest, SyncState, WatchCatalogRequest,
        catalog_service_client::CatalogServiceClient,
    },
    common::v1::Product,
    order::v1::{OrderLineInput, QuoteOrderRequest},
};
use tonic::{Code, Status};

use crate::bad_input::item;

posmesh_e2e::on_both_shapes!(
    what_the_staff_call_sold_out_is_refused_by_name_in_every_product_until_it_is_back,
    what_is_sold_out_at_the_pos_cannot_be_ordered_seconds_later_and_the_pos_is_told_by_the_staff_here,
    what_the_pos_counts_is_on_the_menu_and_more_than_that_is_refused_by_name_in_the_guests_language,
    what_is_sold_out_for_a_time_can_be_ordered_again_after_it_without_anybody_acting,
);

const PRODUCTS: [Product; 3] = [Product::Table, Product::ToGo, Product::Kiosk];

async fn quote(shop: &Shop, product: Product, lines: Vec<OrderLineInput>) -> Result<(), Status> {
    let request =
        QuoteOrderRequest { store_id: shop.store_id.clone(), product: product.into(), lines, ..Default::default() };
    shop.orders(0).quote_order(request).await.map(drop)
}

/// Waits until no product takes an order for it, and looks that each says why.
async fn is_refused_everywhere(shop: &Shop, item_id: &str, name: &str) {
    for product in PRODUCTS {
        let refused = async || quote(shop, product, vec![line(item_id, 1)]).await.err();
        let status = eventually("it cannot be ordered", refused).await;
        assert_eq!((status.code(), refusal(&status).0.as_str()), (Code::FailedPrecondition, "ITEM_UNAVAILABLE"));
        assert!(status.message().contains(name), "{}", status.message());
    }
}

async fn is_sold_everywhere(shop: &Shop, item_id: &str) {
    for product in PRODUCTS {
        let taken = async || quote(shop, product, vec![line(item_id, 1)]).await.ok();
        eventually("it can be ordered", taken).await;
    }
}

async fn what_the_staff_call_sold_out_is_refused_by_name_in_every_product_until_it_is_back(shape: Shape) {
    let shop = Shop::open(shape).await;
    let request = shop.request(Product::Kiosk, &[line("ramune", 1)]).await;
    let said = shop.mesh.posmesh(&["menu", "sold-out", &shop.store_id, "ramune", "--by", "Aiko"]).await.unwrap();
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    is_refused_everywhere(&shop, "ramune", "ラムネ").await;
    let refused = shop.place(0, request.clone()).await.unwrap_err();
    assert_eq!(refusal(&refused).0, "ITEM_UNAVAILABLE");
    assert!(shop.pos.orders().await.is_empty(), "nothing went out");

    // What the POS sends anew does not bring it back.
    shop.sync().await.unwrap();
    is_refused_everywhere(&shop, "ramune", "ラムネ").await;
    let listed = shop.mesh.posmesh(&["menu", "stock", &shop.store_id]).await.unwrap();
    assert!(listed.out.contains("ramune") && listed.out.contains("Aiko"), "{}", listed.out);

    let said = shop.mesh.posmesh(&["menu", "back", &shop.store_id, "ramune", "--by", "Aiko"]).await.unwrap();
    assert!(said.out.contains("again"), "{} {}", said.out, said.err);
    is_sold_everywhere(&shop, "ramune").await;
    shop.placed(0, request).await;
}

/// A mesh of its own that asks the POS.
async fn what_is_sold_out_at_the_pos_cannot_be_ordered_seconds_later_and_the_pos_is_told_by_the_staff_here(
    shape: Shape,
) {
    let settings = [("CATALOG__POLL_INTERVAL", "1s")];
    let mesh = Mesh::start(shape, Options { settings: &settings, ..Options::default() }).await.unwrap();
    let shop = Shop::open_in(Arc::new(mesh), &[], false).await.unwrap();
    shop.pos.set_available("ramune", false).await;
    let sold_out = Instant::now();
    is_refused_everywhere(&shop, "ramune", "ラムネ").await;
    println!("sold out at the POS, refused in every product after {:.1} s", sold_out.elapsed().as_secs_f64());
    // The staff of the platform do not sell what the till refuses, but the POS takes their word.
    let said = shop.mesh.posmesh(&["menu", "back", &shop.store_id, "ramune", "--by", "Aiko"]).await.unwrap();
    assert!(said.out.contains("again") && said.out.contains("The POS was told"), "{} {}", said.out, said.err);
    is_sold_everywhere(&shop, "ramune").await;
    shop.placed(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await;

    let said = shop.mesh.posmesh(&["menu", "sold-out", &shop.store_id, "edamame", "--by", "Aiko"]).await.unwrap();
    assert!(said.out.contains("The POS was told"), "{} {}", said.out, said.err);
    let master = shop.pos.master().await;
    let items =
        master["categories"].as_array().unwrap().iter().flat_map(|category| category["items"].as_array().unwrap());
    let sold_out: Vec<_> = items.filter(|item| item["available"] == false).map(|item| item["id"].clone()).collect();
    assert_eq!(sold_out, ["edamame"]);

    // What else changes there is pulled without being asked for.
    let mut master = master;
    item(&mut master, "ramune")["price"] = 390.into();
    shop.pos.replace_master(&master).await;
    let dearer = async || (shop.total(Product::Kiosk, &[line("ramune", 1)]).await == 390).then_some(());
    eventually("the new price counts", dearer).await;
}

async fn what_the_pos_counts_is_on_the_menu_and_more_than_that_is_refused_by_name_in_the_guests_language(shape: Shape) {
    let settings = [("CATALOG__POLL_INTERVAL", "1s")];
    let mesh = Mesh::start(shape, Options { settings: &settings, ..Options::default() }).await.unwrap();
    let shop = Shop::open_in(Arc::new(mesh), &[], false).await.unwrap();
    let catalog = CatalogServiceClient::new(shop.mesh.catalog().unwrap());
    let versions = shop.sync().await.unwrap().catalog_version;
    let order = async |quantity: i32| shop.request(Product::Kiosk, &[line("ramune", quantity)]).await;
    let (three, one, other) = (order(3).await, order(1).await, order(1).await);
    let one_more = order(1).await;

    shop.pos.set_remaining("ramune", 2).await;
    let left = async |wanted: i32| {
        let menu = async || {
            let request = GetMenuRequest {
                store_id: shop.store_id.clone(),
                product: Product::Kiosk.into(),
                ..Default::default()
            };
            let menu = catalog.clone().get_menu(request).await.unwrap().into_inner().menu.unwrap();
            let ramune = menu.items.into_iter().find(|item| item.id == "ramune").unwrap();
            (ramune.remaining == Some(wanted) && ramune.available == (wanted > 0)).then_some(())
        };
        eventually("the menu shows what is left", menu).await;
    };
    left(2).await;
    let too_many = async || {
        let request = QuoteOrderRequest {
            store_id: shop.store_id.clone(),
            product: Product::Kiosk.into(),
            lines: three.lines.clone(),
            locale: "en-GB".into(),
            ..Default::default()
        };
        shop.orders(0).quote_order(request).await.err()
    };
    let refused = eventually("three are refused", too_many).await;
    assert_eq!(refusal(&refused), ("NOT_ENOUGH_LEFT".into(), "lines[0].quantity".into()));
    assert!(refused.message().contains("Ramune: 3 are wanted, 2 left"), "{}", refused.message());
    let told = |name: &str| failure::metadata(&refused, name).unwrap();
    assert_eq!([told("item_id"), told("item_name"), told("remaining")], ["ramune", "Ramune", "2"]);
    let refused = shop.place(0, three).await.unwrap_err();
    assert_eq!(refusal(&refused).0, "NOT_ENOUGH_LEFT");
    assert!(refused.message().contains("ラムネ"), "{}", refused.message());
    assert!(shop.pos.orders().await.is_empty(), "nothing went out");

    shop.placed(0, one).await;
    left(1).await;
    let run = shop.sync().await.unwrap();
    assert_eq!((run.state(), run.catalog_version), (SyncState::Unchanged, versions), "a count makes no version");
    shop.placed(0, other).await;
    left(0).await;
    is_refused_everywhere(&shop, "ramune", "ラムネ").await;
    assert_eq!(refusal(&shop.place(0, one_more).await.unwrap_err()).0, "ITEM_UNAVAILABLE");
}

async fn what_is_sold_out_for_a_time_can_be_ordered_again_after_it_without_anybody_acting(shape: Shape) {
    let shop = Shop::open(shape).await;
    let mut catalog = CatalogServiceClient::new(shop.mesh.catalog().unwrap());
    let watch = WatchCatalogRequest { store_id: shop.store_id.clone(), locale: "en".into(), ..Default::default() };
    let mut stream = catalog.watch_catalog(watch).await.unwrap().into_inner();
    let mut told = async || {
        let news = tokio::time::timeout(Duration::from_secs(15), stream.message()).await.unwrap().unwrap().unwrap();
        news.changes.into_iter().map(|change| change.text).collect::<Vec<_>>()
    };
    assert!(told().await.is_empty());
    let again = posmesh_kit::time::from_unix_ms(posmesh_kit::time::now_unix_ms() + 4_000);
    let request = SetAvailabilityRequest {
        store_id: shop.store_id.clone(),
        item_id: "ramune".into(),
        available_again_time: Some(again),
        by: "Aiko".into(),
        ..Default::default()
    };
    catalog.set_availability(request).await.unwrap();
    is_refused_everywhere(&shop, "ramune", "ラムネ").await;
    assert_eq!(told().await, ["Ramune: sold out"]);
    assert_eq!(told().await, ["Ramune: back"]);
    is_sold_everywhere(&shop, "ramune").await;
}
