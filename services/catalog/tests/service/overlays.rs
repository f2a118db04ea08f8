//! What people lay over a catalog, as products and editors see it.

use posmesh_kit::failure;
use posmesh_proto::{
    catalog::v1::{
        Catalog, DeleteOverlayRequest, GetOverlayRequest, Image, ListOverlaysRequest, ListedOverlay, MenuItem, Overlay,
        OverlayScope, OverlaySubject, ProductOverlay, PutOverlayRequest, overlay_scope::Scope,
        overlay_subject::Subject,
    },
    common::v1::Product,
};
use tonic::{Code, Status};

use crate::{
    fixture::{BRAND, catalog, text, yen},
    mesh::{Mesh, Pull, Replica, until},
    watching::{lines, next, watch},
};

fn shibuya() -> Scope {
    Scope::StoreId("shibuya".to_owned())
}

fn brand() -> Scope {
    Scope::BrandId(BRAND.to_owned())
}

fn item(id: &str) -> Subject {
    Subject::ItemId(id.to_owned())
}

/// An overlay that says nothing yet.
fn over(scope: Scope, subject: Subject) -> Overlay {
    Overlay {
        scope: Some(OverlayScope { scope: Some(scope) }),
        subject: Some(OverlaySubject { subject: Some(subject) }),
        by: "Aiko".to_owned(),
        ..Default::default()
    }
}

fn beer_with_a_photo() -> Overlay {
    Overlay {
        name: text(&[("ko", "생맥주")]),
        images: vec![Image {
            url: "https://img.example/beer.jpg".to_owned(), alt_text: text(&[("ko", "맥주 한 잔")])
        }],
        ..over(shibuya(), item("beer"))
    }
}

fn in_product(product: Product, change: impl FnOnce(&mut ProductOverlay)) -> Vec<ProductOverlay> {
    let mut rules = ProductOverlay { product: product.into(), ..Default::default() };
    change(&mut rules);
    vec![rules]
}

/// As the fixture, with codes.
fn coded() -> Catalog {
    let mut catalog = catalog();
    catalog.items[0].code = "4901".to_owned();
    catalog
}

impl Replica {
    async fn put(&self, overlay: Overlay) -> Result<Overlay, Status> {
        let request = PutOverlayRequest { overlay: Some(overlay) };
        Ok(self.client.clone().put_overlay(request).await?.into_inner().overlay.unwrap())
    }

    async fn list(&self, scope: Scope, store_id: &str, orphaned: bool) -> Result<Vec<ListedOverlay>, Status> {
        let scope = Some(OverlayScope { scope: Some(scope) });
        let store_id = store_id.to_owned();
        let request = ListOverlaysRequest { scope, store_id, orphaned, ..Default::default() };
        Ok(self.client.clone().list_overlays(request).await?.into_inner().overlays)
    }

    async fn items(&self, product: Product, locale: &str) -> Vec<MenuItem> {
        let menu = self.menu(|request| {
            request.product = product.into();
            request.locale = locale.to_owned();
        });
        menu.await.unwrap().menu.unwrap().items
    }
}

async fn publish(mesh: &Mesh, replica: &Replica, catalog: Catalog) {
    mesh.world.next(Pull::Sends(catalog));
    replica.sync().await;
}

#[tokio::test]
async fn a_photo_and_a_translation_are_on_the_menu_of_every_replica_and_outlive_a_rename() {
    let mesh = Mesh::start().await;
    let (one, other) = (mesh.replica().await, mesh.replica().await);
    publish(&mesh, &one, catalog()).await;
    let before = other.menu(|request| request.locale = "ko".to_owned()).await.unwrap();
    one.put(beer_with_a_photo()).await.unwrap();

    let beer = one.items(Product::Table, "ko").await.remove(0);
    assert_eq!((beer.name.as_str(), beer.images[0].alt_text.as_str()), ("생맥주", "맥주 한 잔"));
    assert_eq!(beer.images[0].url, "https://img.example/beer.jpg");
    let seen = || async { other.items(Product::Table, "ko").await == one.items(Product::Table, "ko").await };
    until("the other replica shows it", seen).await;
    let after = other.menu(|request| request.locale = "ko".to_owned()).await.unwrap();
    assert_ne!(before.etag, after.etag);

    let mut renamed = catalog();
    renamed.items[0].name = text(&[("ja", "プレミアム生"), ("en", "Premium")]);
    publish(&mesh, &one, renamed).await;
    let beer = one.items(Product::Table, "ko").await.remove(0);
    assert_eq!((beer.name.as_str(), beer.images.len()), ("생맥주", 1));
    assert_eq!(one.items(Product::Table, "ja").await[0].name, "プレミアム生");
}

#[tokio::test]
async fn an_item_is_hidden_from_one_product_alone() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    publish(&mesh, &replica, catalog()).await;
    let products = in_product(Product::ToGo, |rules| rules.hidden = Some(true));
    let put = replica.put(Overlay { products, ..over(shibuya(), item("beer")) }).await.unwrap();
    let ids = async |product| replica.items(product, "ja").await.into_iter().map(|item| item.id).collect::<Vec<_>>();
    assert_eq!((ids(Product::ToGo).await, ids(Product::Table).await.len()), (vec!["yakitori".to_owned()], 2));

    let request =
        DeleteOverlayRequest { scope: put.scope, subject: put.subject, revision: put.revision, by: "Aiko".to_owned() };
    replica.client.clone().delete_overlay(request.clone()).await.unwrap();
    assert_eq!(ids(Product::ToGo).await.len(), 2);
    replica.client.clone().delete_overlay(request).await.expect("once more is harmless");
}

#[tokio::test]
async fn what_a_brand_says_holds_in_its_stores_unless_a_store_says_otherwise() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    publish(&mesh, &replica, coded()).await;
    let of_brand = Overlay {
        name: text(&[("en", "Draft of the house"), ("ko", "맥주")]),
        products: in_product(Product::Unspecified, |rules| rules.hidden = Some(true)),
        ..over(brand(), Subject::ItemCode("4901".to_owned()))
    };
    replica.put(of_brand).await.unwrap();
    assert_eq!(replica.items(Product::Table, "en").await.len(), 1);
    let own = Overlay {
        name: text(&[("en", "Asahi")]),
        products: in_product(Product::Table, |rules| rules.hidden = Some(false)),
        ..over(shibuya(), item("beer"))
    };
    replica.put(own).await.unwrap();
    assert_eq!(replica.items(Product::Table, "en").await[0].name, "Asahi");
    assert_eq!(replica.items(Product::Table, "ko").await[0].name, "맥주");
    assert_eq!(replica.items(Product::ToGo, "en").await.len(), 1, "of ToGo the store says nothing");
}

#[tokio::test]
async fn an_overlay_without_its_item_is_listed_as_an_orphan_and_lives_again_when_the_item_is_back() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    publish(&mesh, &replica, coded()).await;
    replica.put(beer_with_a_photo()).await.unwrap();
    let name = text(&[("en", "Beer")]);
    replica.put(Overlay { name, ..over(brand(), Subject::ItemCode("4901".to_owned())) }).await.unwrap();
    assert_eq!(replica.list(shibuya(), "", true).await.unwrap(), []);
    assert_eq!(replica.list(shibuya(), "", false).await.unwrap()[0].subject_name, "生ビール");

    let mut without = coded();
    without.items.remove(0);
    publish(&mesh, &replica, without).await;
    for (scope, store_id) in [(shibuya(), ""), (brand(), "shibuya")] {
        let orphans = replica.list(scope, store_id, true).await.unwrap();
        assert_eq!((orphans.len(), orphans[0].orphaned, orphans[0].subject_name.as_str()), (1, true, ""));
    }
    assert!(!replica.list(brand(), "", false).await.unwrap()[0].orphaned, "nothing is said without a store");
    let orphan = Overlay { note: "keep it".to_owned(), revision: -1, ..beer_with_a_photo() };
    replica.put(orphan).await.expect("an orphan can be edited");

    publish(&mesh, &replica, coded()).await;
    assert_eq!(replica.list(shibuya(), "", true).await.unwrap(), []);
    assert_eq!(replica.items(Product::Table, "ko").await[0].images.len(), 1);
}

#[tokio::test]
async fn a_price_of_its_own_is_refused_where_the_pos_would_charge_another() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    publish(&mesh, &replica, coded()).await;
    let priced = || in_product(Product::ToGo, |rules| rules.price = yen(500));
    let own = Overlay { products: priced(), ..over(shibuya(), item("beer")) };
    let refused = replica.put(own.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), failure::reason(&refused)),
        (Code::FailedPrecondition, "PRICE_OVERRIDE_NOT_SUPPORTED".to_owned())
    );
    assert!(refused.message().contains("acme: has prices of its own"), "{}", refused.message());

    let of_brand = Overlay { products: priced(), ..over(brand(), Subject::ItemCode("4901".to_owned())) };
    replica.put(of_brand).await.expect("other stores of the brand may sell at it");
    let price = async || replica.items(Product::ToGo, "ja").await[0].display_price.clone();
    assert_eq!(price().await, yen(599), "545 with 10 %");
    let listed = replica.list(brand(), "shibuya", false).await.unwrap();
    assert_eq!(listed[0].price_left_out, "acme: has prices of its own");

    // The store gets another POS.
    mesh.world.take_prices();
    let mut changed = coded();
    changed.items[1].price = yen(400);
    publish(&mesh, &replica, changed).await;
    assert_eq!(price().await, yen(550), "500 with 10 %");
    assert_eq!(replica.list(brand(), "shibuya", false).await.unwrap()[0].price_left_out, "");
    replica.put(own).await.unwrap();
}

#[tokio::test]
async fn of_two_editors_the_second_is_told_instead_of_undoing_the_first() {
    let mesh = Mesh::start().await;
    let (one, other) = (mesh.replica().await, mesh.replica().await);
    publish(&mesh, &one, catalog()).await;
    let first = one.put(beer_with_a_photo()).await.unwrap();
    assert!(first.update_time.is_some() && first.revision > 0);
    assert_eq!(one.put(beer_with_a_photo()).await.unwrap(), first, "the very same again is harmless");
    let late = other.put(Overlay { name: text(&[("en", "Beer")]), ..over(shibuya(), item("beer")) }).await.unwrap_err();
    assert_eq!((late.code(), failure::reason(&late).as_str()), (Code::Aborted, "REVISION_CONFLICT"));
    assert_eq!(failure::metadata(&late, "current_revision"), Some(first.revision.to_string()));
    let get = GetOverlayRequest { scope: first.scope.clone(), subject: first.subject.clone() };
    assert_eq!(other.client.clone().get_overlay(get).await.unwrap().into_inner().overlay, Some(first));
}

#[tokio::test]
async fn what_cannot_be_laid_over_anything_is_refused_with_its_field() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    let name = text(&[("en", "Beer")]);
    let beer = |scope| Overlay { name: name.clone(), ..over(scope, item("beer")) };
    let reason = async |overlay| failure::reason(&replica.put(overlay).await.unwrap_err());
    assert_eq!(reason(beer(shibuya())).await, "CATALOG_NOT_SYNCED");
    publish(&mesh, &replica, catalog()).await;
    assert_eq!(reason(beer(Scope::StoreId("nowhere".to_owned()))).await, "STORE_NOT_FOUND");
    assert_eq!(reason(beer(brand())).await, "NOT_ALLOWED");
    let code = || Subject::ItemCode("4901".to_owned());
    let nobody = Overlay { name: name.clone(), ..over(Scope::BrandId("nobody".to_owned()), code()) };
    assert_eq!(reason(nobody).await, "BRAND_NOT_FOUND");
    let wine = Overlay { name: name.clone(), ..over(shibuya(), item("wine")) };
    assert_eq!(reason(wine).await, "OVERLAY_SUBJECT_NOT_FOUND");
    assert_eq!(reason(Overlay { by: String::new(), ..beer(shibuya()) }).await, "REQUIRED");
    assert_eq!(reason(Overlay { name: None, ..beer(shibuya()) }).await, "REQUIRED");
    let orphans_nowhere = replica.list(brand(), "", true).await.unwrap_err();
    assert_eq!(failure::reason(&orphans_nowhere), "REQUIRED");
    let get = GetOverlayRequest { scope: beer(shibuya()).scope, subject: beer(shibuya()).subject };
    let missing = replica.client.clone().get_overlay(get).await.unwrap_err();
    assert_eq!(failure::reason(&missing), "OVERLAY_NOT_FOUND");
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    publish(&mesh, &replica, catalog()).await;
    let name = text(&[("en", "x")]);
    for subject in [item("beer"), item("yakitori"), Subject::CategoryId("food".to_owned())] {
        replica.put(Overlay { name: name.clone(), ..over(shibuya(), subject) }).await.unwrap();
    }
    let scope = Some(OverlayScope { scope: Some(shibuya()) });
    let mut request = ListOverlaysRequest { scope, page_size: 2, ..Default::default() };
    let mut names = Vec::new();
    loop {
        let page = replica.client.clone().list_overlays(request.clone()).await.unwrap().into_inner();
        names.push(page.overlays.into_iter().map(|listed| listed.subject_name).collect::<Vec<_>>());
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(names, [vec!["料理", "生ビール"], vec!["焼き鳥"]]);
}

#[tokio::test]
async fn a_watcher_on_another_replica_is_told_what_something_else_is_laid_over_by_the_store_or_its_brand() {
    let mesh = Mesh::start().await;
    let (one, other) = (mesh.replica().await, mesh.replica().await);
    publish(&mesh, &one, coded()).await;
    let mut stream = watch(&other, "").await.unwrap();
    next(&mut stream).await.unwrap();
    let own = one.put(beer_with_a_photo()).await.unwrap();
    let told = next(&mut stream).await.unwrap();
    assert_eq!((told.version, told.from_version), (1, 1));
    assert_eq!(lines(&told.changes), ["Draft beer: what is laid over it changed"]);

    let name = text(&[("en", "Beer")]);
    // Nothing at this store has that code.
    one.put(Overlay { name: name.clone(), ..over(brand(), Subject::ItemCode("9999".to_owned())) }).await.unwrap();
    one.put(Overlay { name, ..over(brand(), Subject::ItemCode("4901".to_owned())) }).await.unwrap();
    let of_brand = next(&mut stream).await.unwrap();
    assert_eq!(lines(&of_brand.changes), ["Draft beer: what its brand lays over it changed"]);

    let delete =
        DeleteOverlayRequest { scope: own.scope, subject: own.subject, revision: own.revision, by: "Aiko".to_owned() };
    one.client.clone().delete_overlay(delete).await.unwrap();
    let deleted = next(&mut stream).await.unwrap();
    assert_eq!(lines(&deleted.changes), ["Draft beer: what is laid over it changed"]);

    // Who comes back is told that it missed something, and to read the whole.
    let mut stream = watch(&one, &told.resume_token).await.unwrap();
    let missed = next(&mut stream).await.unwrap();
    assert_eq!((missed.version, missed.from_version, missed.changes.len()), (1, 0, 0));
    // Who is up to date hears of the next change alone.
    let mut stream = watch(&one, &deleted.resume_token).await.unwrap();
    one.put(beer_with_a_photo()).await.unwrap();
    assert_eq!(lines(&next(&mut stream).await.unwrap().changes), ["Draft beer: what is laid over it changed"]);
}
