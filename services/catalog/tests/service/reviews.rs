//! Items that no product sells until a person has looked at them.

use posmesh_kit::failure;
use posmesh_proto::{
    catalog::v1::{
        ApproveSnapshotRequest, Catalog, GetOfferRequest, ListItemsToReviewRequest, ListItemsToReviewResponse,
        ReviewItemsRequest, RollbackCatalogRequest, SyncState,
    },
    common::v1::Product,
};
use tonic::{Code, Status};

use crate::{
    fixture::{catalog, item, yen},
    mesh::{Mesh, Pull, Replica, until},
    watching::{lines, next, watch},
};

impl Replica {
    async fn to_review(&self) -> ListItemsToReviewResponse {
        self.to_review_page(0, "").await
    }

    async fn to_review_page(&self, page_size: i32, page_token: &str) -> ListItemsToReviewResponse {
        let (store_id, page_token) = ("shibuya".to_owned(), page_token.to_owned());
        let request = ListItemsToReviewRequest { store_id, page_size, page_token, locale: "en".to_owned() };
        self.client.clone().list_items_to_review(request).await.unwrap().into_inner()
    }

    async fn review(&self, ids: &[&str], version: i64) -> Result<(), Status> {
        let item_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let request = ReviewItemsRequest { store_id: "shibuya".to_owned(), item_ids, version, by: "Aiko".to_owned() };
        self.client.clone().review_items(request).await.map(drop)
    }

    /// Ids and prices of what is sold at the tables: to guests, and for orders.
    async fn sold(&self) -> Vec<(String, i64)> {
        let product = Product::Table.into();
        let request = GetOfferRequest { store_id: "shibuya".to_owned(), product, known_etag: String::new() };
        let offer = async || self.client.clone().get_offer(request.clone()).await.unwrap().into_inner();
        let (mut told, mut menu) = (offer().await, self.menu(|_| ()).await.unwrap());
        // What changed between the two answers is asked for again.
        while offer().await.etag != told.etag {
            (told, menu) = (offer().await, self.menu(|_| ()).await.unwrap());
        }
        let (offer, menu) = (told.catalog.unwrap(), menu.menu.unwrap());
        let mut ids: Vec<_> = offer.items.iter().map(|item| item.id.clone()).collect();
        let mut of_menu: Vec<_> = menu.items.into_iter().map(|item| item.id).collect();
        ids.sort();
        of_menu.sort();
        assert_eq!(ids, of_menu);
        offer.items.into_iter().map(|item| (item.id, item.price.unwrap().amount)).collect()
    }
}

fn sold(items: &[(&str, i64)]) -> Vec<(String, i64)> {
    items.iter().map(|(id, amount)| ((*id).to_owned(), *amount)).collect()
}

async fn publish(mesh: &Mesh, replica: &Replica, change: impl FnOnce(&mut Catalog)) {
    let mut catalog = catalog();
    change(&mut catalog);
    mesh.world.next(Pull::Sends(catalog));
    assert_eq!(replica.sync().await.state(), SyncState::Published);
}

fn beer_at(amount: i64) -> impl Fn(&mut Catalog) {
    move |catalog| catalog.items[0].price = yen(amount)
}

/// Two replicas on a mesh whose stores sell nothing that changed before it was reviewed; a first version is published.
async fn careful() -> (Mesh, Replica, Replica) {
    let mesh = Mesh::start().await;
    mesh.world.hold_changed_items();
    let (one, other) = (mesh.replica().await, mesh.replica().await);
    publish(&mesh, &one, |_| ()).await;
    (mesh, one, other)
}

#[tokio::test]
async fn what_is_new_or_changed_is_sold_by_no_product_until_a_person_has_looked_at_it_and_then_on_every_replica() {
    let (mesh, one, other) = careful().await;
    assert_eq!(one.sold().await, sold(&[("beer", 545), ("yakitori", 380)]), "the first version is sold as it is");
    assert_eq!(one.to_review().await.items, []);
    publish(&mesh, &one, |catalog| {
        beer_at(600)(catalog);
        catalog.items.push(item("wine", "ワイン", "Wine", 700, "drink", &["drinks"], &[]));
    })
    .await;
    assert_eq!(one.sold().await, sold(&[("yakitori", 380)]));
    until("it is off the other replica's menu", || async { other.sold().await.len() == 1 }).await;
    let waiting = other.to_review().await;
    let told: Vec<_> = waiting.items.iter().map(|waits| (waits.item_id.as_str(), lines(&waits.changes))).collect();
    let expected = [("beer", vec!["Draft beer: price 545 → 600"]), ("wine", vec!["Wine: new, 700"])];
    assert_eq!((told.as_slice(), waiting.version), (expected.as_slice(), 2));

    other.review(&["beer"], waiting.version).await.unwrap();
    assert_eq!(other.sold().await, sold(&[("beer", 600), ("yakitori", 380)]));
    until("it is on the other replica's menu", || async { one.sold().await.len() == 2 }).await;
    assert_eq!(one.to_review().await.items.len(), 1);
    one.review(&["beer", "wine"], 2).await.expect("looking twice is harmless");
    assert_eq!(one.sold().await.len(), 3);
}

#[tokio::test]
async fn a_word_about_an_item_that_changed_meanwhile_is_refused_by_name() {
    let (mesh, one, _other) = careful().await;
    publish(&mesh, &one, beer_at(600)).await;
    let seen = one.to_review().await.version;
    publish(&mesh, &one, beer_at(650)).await;
    let refused = one.review(&["beer"], seen).await.unwrap_err();
    assert_eq!((refused.code(), failure::reason(&refused).as_str()), (Code::Aborted, "ITEM_CHANGED"));
    assert_eq!(failure::metadata(&refused, "item_id"), Some("beer".to_owned()));
    let waiting = one.to_review().await;
    assert_eq!(lines(&waiting.items[0].changes), ["Draft beer: price 545 → 650"], "by what was sold last");
    one.review(&["beer"], waiting.version).await.unwrap();
}

#[tokio::test]
async fn a_price_that_went_back_and_a_rollback_leave_nothing_hidden() {
    let (mesh, one, _other) = careful().await;
    publish(&mesh, &one, beer_at(600)).await;
    publish(&mesh, &one, |_| ()).await;
    assert_eq!(one.sold().await.len(), 2);
    publish(&mesh, &one, beer_at(600)).await;
    let back =
        RollbackCatalogRequest { store_id: "shibuya".into(), version: 1, by: "Aiko".into(), note: String::new() };
    one.client.clone().rollback_catalog(back.clone()).await.unwrap();
    assert_eq!(one.sold().await, sold(&[("beer", 545), ("yakitori", 380)]));
    publish(&mesh, &one, beer_at(650)).await;
    let waiting = one.to_review().await;
    one.review(&["beer"], waiting.version).await.unwrap();
    one.client.clone().rollback_catalog(back).await.unwrap();
    assert_eq!((one.sold().await.len(), one.to_review().await.items), (2, Vec::new()));
}

#[tokio::test]
async fn what_a_person_approved_waits_for_its_review_all_the_same() {
    let (mesh, one, _other) = careful().await;
    let mut far = catalog();
    beer_at(5450)(&mut far);
    mesh.world.next(Pull::Sends(far));
    let run = one.sync().await;
    assert_eq!(run.state(), SyncState::WaitingApproval);
    assert_eq!(one.sold().await.len(), 2);
    let approve = ApproveSnapshotRequest {
        store_id: "shibuya".to_owned(),
        sync_run_id: run.sync_run_id,
        by: "Aiko".to_owned(),
        note: String::new(),
    };
    one.client.clone().approve_snapshot(approve).await.unwrap();
    assert_eq!(one.sold().await, sold(&[("yakitori", 380)]));
}

#[tokio::test]
async fn a_store_that_keeps_changed_items_visible_sells_them_and_lists_none() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    publish(&mesh, &replica, |_| ()).await;
    publish(&mesh, &replica, beer_at(600)).await;
    assert_eq!(replica.sold().await, sold(&[("beer", 600), ("yakitori", 380)]));
    assert_eq!(replica.to_review().await.items, []);
}

#[tokio::test]
async fn a_watcher_is_told_what_is_hidden_and_what_is_sold_again() {
    let (mesh, one, other) = careful().await;
    let mut stream = watch(&other, "").await.unwrap();
    next(&mut stream).await.unwrap();
    publish(&mesh, &one, beer_at(600)).await;
    let changed = next(&mut stream).await.unwrap();
    let expected = ["Draft beer: price 545 → 600", "Draft beer: hidden until it is reviewed"];
    assert_eq!((changed.version, lines(&changed.changes)), (2, expected.to_vec()));
    one.review(&["beer"], 2).await.unwrap();
    let reviewed = next(&mut stream).await.unwrap();
    assert_eq!((reviewed.version, reviewed.from_version), (2, 2));
    assert_eq!(lines(&reviewed.changes), ["Draft beer: sold again"]);
}

#[tokio::test]
async fn what_cannot_have_been_looked_at_is_refused_with_its_reason() {
    let mesh = Mesh::start().await;
    mesh.world.hold_changed_items();
    let replica = mesh.replica().await;
    let reason = async |ids: &[&str], version| failure::reason(&replica.review(ids, version).await.unwrap_err());
    assert_eq!(reason(&["beer"], 1).await, "CATALOG_NOT_SYNCED");
    publish(&mesh, &replica, |_| ()).await;
    assert_eq!(reason(&["wine"], 1).await, "ITEM_NOT_FOUND");
    assert_eq!(reason(&["beer"], 2).await, "CATALOG_VERSION_NOT_FOUND");
    assert_eq!(reason(&["beer"], 0).await, "REQUIRED");
    assert_eq!(reason(&["beer"], -1).await, "VERSION_INVALID");
    assert_eq!(reason(&[], 1).await, "OUT_OF_RANGE");
    assert_eq!(reason(&["beer"; 501], 1).await, "OUT_OF_RANGE");
    replica.review(&["beer"], 1).await.expect("what does not wait may be looked at");
}

#[tokio::test]
async fn what_waits_comes_in_pages() {
    let (mesh, one, _other) = careful().await;
    publish(&mesh, &one, |catalog| {
        for number in 0..5 {
            catalog.items.push(item(&format!("new{number}"), "新", "New", 100, "food", &["food"], &[]));
        }
    })
    .await;
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = one.to_review_page(2, &token).await;
        ids.push(page.items.into_iter().map(|waits| waits.item_id).collect::<Vec<_>>());
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, [vec!["new0", "new1"], vec!["new2", "new3"], vec!["new4"]]);
}
