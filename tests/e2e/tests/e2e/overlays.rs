//! What people lay over a menu is on it for guests, and stays whatever happens to the POS's own.

use std::sync::atomic::{AtomicI64, Ordering};

use posmesh_e2e::{Http, Shape, Shop, eventually, line, provision, refusal};
use posmesh_proto::{
    catalog::v1::{
        Image, Overlay, OverlayScope, OverlaySubject, ProductOverlay, PutOverlayRequest,
        catalog_service_client::CatalogServiceClient, overlay_scope::Scope, overlay_subject::Subject,
    },
    common::v1::{LocalizedText, Money, Product},
    order::v1::{PlaceOrderRequest, QuoteOrderRequest},
    store::v1::{CatalogPolicy, ChangedItems, Store},
};
use serde_json::{Value, json};
use tonic::Status;

use crate::{bad_input::item, orders::key};

posmesh_e2e::on_both_shapes!(
    a_photo_and_a_translation_are_on_the_menu_over_http_and_outlive_a_rename_and_a_sync,
    what_is_hidden_in_a_product_is_neither_shown_nor_sold_there,
    what_a_brand_says_of_an_item_is_in_the_menu_of_its_store_where_the_store_says_nothing_else,
    what_changed_at_the_pos_is_sold_after_somebody_has_looked_at_it_where_the_store_wants_it_so,
    a_price_that_the_pos_would_not_book_is_refused_with_its_reason,
    what_is_typed_at_the_terminal_is_laid_over_the_menu_and_listed,
);

fn over(shop: &Shop, item_id: &str) -> Overlay {
    Overlay {
        scope: Some(OverlayScope { scope: Some(Scope::StoreId(shop.store_id.clone())) }),
        subject: Some(OverlaySubject { subject: Some(Subject::ItemId(item_id.to_owned())) }),
        by: "Aiko".to_owned(),
        revision: -1,
        ..Overlay::default()
    }
}

fn text(locale: &str, value: &str) -> Option<LocalizedText> {
    Some(LocalizedText { texts: [(locale.to_owned(), value.to_owned())].into() })
}

fn photo(url: &str) -> Vec<Image> {
    vec![Image { url: url.to_owned(), alt_text: None }]
}

async fn put(shop: &Shop, overlay: Overlay) -> Result<(), Status> {
    let mut client = CatalogServiceClient::new(shop.mesh.catalog().unwrap());
    client.put_overlay(PutOverlayRequest { overlay: Some(overlay) }).await.map(drop)
}

/// An item as a product's guests see it; nothing if it is not on the menu.
async fn seen(shop: &Shop, product: &str, locale: &str, item_id: &str) -> Option<Value> {
    let path = format!("/{product}/v1/stores/{}/menu?locale={locale}", shop.store_id);
    let menu = Http::send(shop.http.get(&path)).await.unwrap().ok();
    menu["items"].as_array().unwrap().iter().find(|item| item["id"] == item_id).cloned()
}

async fn a_photo_and_a_translation_are_on_the_menu_over_http_and_outlive_a_rename_and_a_sync(shape: Shape) {
    let shop = Shop::open(shape).await;
    let url = "https://img.example/edamame.jpg";
    put(&shop, Overlay { name: text("fr", "Edamames"), images: photo(url), ..over(&shop, "edamame") }).await.unwrap();
    let as_laid = async || {
        let edamame = seen(&shop, "kiosk", "fr", "edamame").await?;
        (edamame["name"] == "Edamames" && edamame["images"][0]["url"] == url).then_some(())
    };
    eventually("the photo and the translation are on the menu", as_laid).await;

    let mut master = shop.pos.master().await;
    item(&mut master, "edamame")["name"]["en"] = json!("Green soybeans");
    item(&mut master, "edamame")["price"] = json!(420);
    shop.pos.replace_master(&master).await;
    shop.sync().await.unwrap();
    let renamed = async || {
        let edamame = seen(&shop, "kiosk", "en", "edamame").await?;
        (edamame["name"] == "Green soybeans" && edamame["display_price"]["amount"] == 420).then_some(edamame)
    };
    let edamame = eventually("the POS's new name and price", renamed).await;
    assert_eq!(edamame["images"][0]["url"], url);
    assert_eq!(seen(&shop, "kiosk", "fr", "edamame").await.unwrap()["name"], "Edamames");
}

async fn what_is_hidden_in_a_product_is_neither_shown_nor_sold_there(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = shop.request(Product::Kiosk, &[line("edamame", 1)]).await;
    let hidden = ProductOverlay { product: Product::Kiosk.into(), hidden: Some(true), ..ProductOverlay::default() };
    put(&shop, Overlay { products: vec![hidden], ..over(&shop, "edamame") }).await.unwrap();
    let gone = async || seen(&shop, "kiosk", "en", "edamame").await.is_none().then_some(());
    eventually("it is off the kiosk's menu", gone).await;
    assert!(seen(&shop, "table", "en", "edamame").await.is_some());
    let refused = async || {
        let refused = shop.place(0, PlaceOrderRequest { request_id: key(), ..order.clone() }).await.err()?;
        (refusal(&refused).0 == "ITEM_NOT_FOUND").then_some(())
    };
    eventually("no kiosk sells it", refused).await;
    assert_eq!(shop.total(Product::Table, &[line("edamame", 1)]).await, 380, "at the table it is sold");
}

async fn what_a_brand_says_of_an_item_is_in_the_menu_of_its_store_where_the_store_says_nothing_else(shape: Shape) {
    let shop = Shop::open(shape).await;
    // A code of this test alone: the brand is that of all tests.
    let code = format!("plu-{}", shop.store_id);
    let mut master = shop.pos.master().await;
    item(&mut master, "edamame")["code"] = json!(code);
    shop.pos.replace_master(&master).await;
    shop.sync().await.unwrap();
    let of_brand = Overlay {
        scope: Some(OverlayScope { scope: Some(Scope::BrandId(provision::BRAND_ID.to_owned())) }),
        subject: Some(OverlaySubject { subject: Some(Subject::ItemCode(code)) }),
        name: text("fr", "Edamames"),
        images: photo("https://img.example/brand.jpg"),
        ..over(&shop, "edamame")
    };
    put(&shop, of_brand).await.unwrap();
    let shows = async |name: &str, url: &str| {
        let shown = async || {
            let edamame = seen(&shop, "table", "fr", "edamame").await?;
            (edamame["name"] == name && edamame["images"][0]["url"] == url).then_some(())
        };
        eventually(&format!("{name} with {url}"), shown).await;
    };
    shows("Edamames", "https://img.example/brand.jpg").await;
    put(&shop, Overlay { images: photo("https://img.example/own.jpg"), ..over(&shop, "edamame") }).await.unwrap();
    shows("Edamames", "https://img.example/own.jpg").await;

    item(&mut master, "edamame")["name"]["en"] = json!("Green soybeans");
    shop.pos.replace_master(&master).await;
    shop.sync().await.unwrap();
    let renamed = async || {
        let edamame = seen(&shop, "table", "en", "edamame").await?;
        (edamame["name"] == "Green soybeans").then_some(())
    };
    eventually("the POS's new name", renamed).await;
    shows("Edamames", "https://img.example/own.jpg").await;
}

async fn what_changed_at_the_pos_is_sold_after_somebody_has_looked_at_it_where_the_store_wants_it_so(shape: Shape) {
    let shop = Shop::open(shape).await;
    let order = shop.request(Product::Kiosk, &[line("edamame", 1)]).await;
    put(&shop, Overlay { images: photo("https://img.example/own.jpg"), ..over(&shop, "edamame") }).await.unwrap();
    let changed_items = ChangedItems::HideUntilReviewed.into();
    let catalog_policy = Some(CatalogPolicy { changed_items, ..CatalogPolicy::default() });
    let store = Store { catalog_policy, ..provision::store(&shop.store_id, &[]) };
    provision::put_store(&shop.mesh, store).await.unwrap();
    let review = async |arguments: &[&str]| {
        let arguments = [&["menu", "review", &shop.store_id], arguments].concat();
        let said = shop.mesh.posmesh(&arguments).await.unwrap();
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    assert!(review(&[]).await.ends_with("nothing waits for a review.\n"));

    // Until the catalog has heard of the policy, it sells each new price at once.
    let price = AtomicI64::new(390);
    let waits = async || {
        let mut master = shop.pos.master().await;
        item(&mut master, "edamame")["price"] = json!(price.fetch_add(1, Ordering::Relaxed) + 1);
        shop.pos.replace_master(&master).await;
        shop.sync().await.unwrap();
        let listed = review(&["--locale", "en"]).await;
        listed.contains("edamame").then_some(listed)
    };
    let listed = eventually("the new price waits for a review", waits).await;
    let price = price.into_inner();
    assert!(listed.contains(&format!("→ {price}")), "{listed}");
    let gone = async || seen(&shop, "kiosk", "en", "edamame").await.is_none().then_some(());
    eventually("it is off the menu", gone).await;
    let refused = async || {
        let refused = shop.place(0, PlaceOrderRequest { request_id: key(), ..order.clone() }).await.err()?;
        (refusal(&refused).0 == "ITEM_NOT_FOUND").then_some(())
    };
    eventually("nobody sells it", refused).await;

    assert_eq!(review(&["edamame", "--by", "Aiko"]).await, format!("{}: 1 item reviewed.\n", shop.store_id));
    let back = async || seen(&shop, "kiosk", "en", "edamame").await;
    let edamame = eventually("it is on the menu again", back).await;
    assert_eq!(edamame["display_price"]["amount"], price);
    assert_eq!(edamame["images"][0]["url"], "https://img.example/own.jpg");
    assert!(review(&[]).await.ends_with("nothing waits for a review.\n"));
    let quoted = async || {
        let (store_id, product) = (shop.store_id.clone(), Product::Kiosk.into());
        let request =
            QuoteOrderRequest { store_id, product, lines: vec![line("edamame", 1)], ..QuoteOrderRequest::default() };
        let quote = shop.orders(0).quote_order(request).await.ok()?.into_inner().quote?;
        (quote.price?.total?.amount == price).then_some(())
    };
    eventually("it is sold at its new price", quoted).await;
    shop.placed(0, shop.request(Product::Kiosk, &[line("edamame", 1)]).await).await;
}

async fn a_price_that_the_pos_would_not_book_is_refused_with_its_reason(shape: Shape) {
    let shop = Shop::open(shape).await;
    let price = Some(Money { currency_code: "JPY".to_owned(), amount: 300 });
    let priced = ProductOverlay { product: Product::ToGo.into(), price, ..ProductOverlay::default() };
    let refused = put(&shop, Overlay { products: vec![priced], ..over(&shop, "edamame") }).await.unwrap_err();
    assert_eq!(refusal(&refused).0, "PRICE_OVERRIDE_NOT_SUPPORTED");
    assert!(refused.message().contains("by the prices of its own menu"), "{}", refused.message());
}

async fn what_is_typed_at_the_terminal_is_laid_over_the_menu_and_listed(shape: Shape) {
    let shop = Shop::open(shape).await;
    let overlay = async |arguments: &[&str]| {
        let arguments = [&["menu", "overlay"], arguments].concat();
        let said = shop.mesh.posmesh(&arguments).await.unwrap();
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    let store = shop.store_id.as_str();
    let said = overlay(&["put", store, "--item", "edamame", "--name", "fr=Edamames", "--by", "Aiko"]).await;
    assert!(said.starts_with("item edamame, revision "), "{said}");
    overlay(&["put", store, "--item", "edamame", "--product", "togo", "--hide", "--by", "Ben"]).await;
    let listed = overlay(&["list", store]).await;
    assert!(listed.contains("name fr \"Edamames\"; hidden for to go"), "{listed}");
    assert_eq!(overlay(&["list", store, "--orphaned"]).await, "There are none.\n");
    overlay(&["delete", store, "--item", "edamame", "--by", "Aiko"]).await;
    assert_eq!(overlay(&["list", store]).await, "There are none.\n");
}
