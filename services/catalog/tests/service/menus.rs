//! Menus as products get them.

use std::time::Duration;

use posmesh_catalog::Config;
use posmesh_proto::common::v1::{Product, ServiceMode};

use crate::{
    fixture::{catalog, yen},
    mesh::{Mesh, Pull, config, until},
};

#[tokio::test]
async fn a_menu_is_resolved_for_product_service_mode_and_locale() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    mesh.world.next(Pull::Sends(catalog()));
    replica.sync().await;

    let table = replica.menu(|_| ()).await.unwrap().menu.unwrap();
    assert_eq!((table.store_id.as_str(), table.product(), table.locale.as_str()), ("shibuya", Product::Table, "ja"));
    assert_eq!((table.service_mode(), table.catalog_version), (ServiceMode::DineIn, 1));
    assert_eq!((table.items[1].name.as_str(), table.items[1].tax_rate_ppm), ("焼き鳥", 100_000));

    let to_go = replica.menu(|request| {
        request.product = Product::ToGo.into();
        request.locale = "en-GB".to_owned();
    });
    let to_go = to_go.await.unwrap().menu.unwrap();
    assert_eq!((to_go.service_mode(), to_go.locale.as_str()), (ServiceMode::Takeaway, "en"));
    assert_eq!((to_go.items[1].name.as_str(), to_go.items[1].tax_rate_ppm), ("Yakitori", 80_000));

    let eat_in = replica.menu(|request| {
        request.product = Product::ToGo.into();
        request.service_mode = ServiceMode::DineIn.into();
    });
    assert_eq!(eat_in.await.unwrap().menu.unwrap().items[1].tax_rate_ppm, 100_000);
}

#[tokio::test]
async fn an_etag_stands_until_the_answer_changes() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    mesh.world.next(Pull::Sends(catalog()));
    replica.sync().await;
    let first = replica.menu(|_| ()).await.unwrap();
    assert!(!first.not_modified && !first.etag.is_empty());

    let again = replica.menu(|request| request.if_none_match.clone_from(&first.etag)).await.unwrap();
    assert!(again.not_modified && again.menu.is_none());
    assert_eq!(again.etag, first.etag);

    let english = replica.menu(|request| {
        request.if_none_match.clone_from(&first.etag);
        request.locale = "en".to_owned();
    });
    assert!(english.await.unwrap().menu.is_some());

    let mut dearer = catalog();
    dearer.items[0].price = yen(600);
    mesh.world.next(Pull::Sends(dearer));
    replica.sync().await;
    let changed = replica.menu(|request| request.if_none_match.clone_from(&first.etag)).await.unwrap();
    assert_ne!(changed.etag, first.etag);
    assert_eq!(changed.menu.unwrap().items[0].display_price, yen(660));
}

#[tokio::test]
async fn equal_questions_get_equal_etags_from_every_replica() {
    let mesh = Mesh::start().await;
    let (one, other) = (mesh.replica().await, mesh.replica().await);
    mesh.world.next(Pull::Sends(catalog()));
    one.sync().await;
    assert_eq!(one.menu(|_| ()).await.unwrap(), other.menu(|_| ()).await.unwrap());
}

#[tokio::test]
async fn which_version_is_current_is_not_asked_again_before_its_time() {
    let mesh = Mesh::start().await;
    let patient = Config { version_max_age: Duration::from_secs(3_600), ..config() };
    let (one, other) = (mesh.replica().await, mesh.replica_with(patient).await);
    assert_eq!(other.menu_version().await, 0);
    mesh.world.next(Pull::Sends(catalog()));
    one.sync().await;
    assert_eq!(other.menu_version().await, 0);
}

#[tokio::test]
async fn what_another_replica_published_is_seen() {
    let mesh = Mesh::start().await;
    let (one, other) = (mesh.replica().await, mesh.replica().await);
    assert_eq!(other.menu_version().await, 0);
    mesh.world.next(Pull::Sends(catalog()));
    one.sync().await;
    assert_eq!(one.menu_version().await, 1, "the replica that published sees it at once");
    until("the other one sees it too", || async { other.menu_version().await == 1 }).await;
}
