//! Menus as products get them.

use std::time::Duration;

use posmesh_catalog::Config;
use posmesh_kit::{failure, time};
use posmesh_proto::{
    catalog::v1::MenuPeriod,
    common::v1::{Product, ServiceMode},
    store::v1::OpeningHours,
};

use crate::{
    fixture::{catalog, text, yen},
    mesh::{Mesh, Pull, Replica, config, until},
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

/// Whether the menu has the beer, which is sold at lunch on working days; and when that changes, after Monday midnight.
async fn beer_at(replica: &Replica, monday_ms: i64, hour: i64) -> (bool, i64) {
    let at_ms = monday_ms + hour * HOUR_MS;
    let answer = replica.menu(|request| request.time = Some(time::from_unix_ms(at_ms))).await.unwrap();
    let change_ms = time::to_unix_ms(&answer.change_time.unwrap());
    (answer.menu.unwrap().items.iter().any(|item| item.id == "beer"), (change_ms - monday_ms) / HOUR_MS)
}

const HOUR_MS: i64 = 3600 * 1000;

#[tokio::test]
async fn a_menu_holds_what_is_sold_at_the_asked_time_by_the_stores_clock() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    let hours = (1..=5).map(|weekday| OpeningHours { weekday, open_minutes: 660, close_minutes: 840 }).collect();
    let lunch = MenuPeriod { id: "lunch".to_owned(), name: text(&[("ja", "ランチ")]), hours };
    let mut at_lunch = catalog();
    at_lunch.items[0].menu_period_ids = vec!["lunch".to_owned()];
    at_lunch.menu_periods = vec![lunch];
    mesh.world.next(Pull::Sends(at_lunch));
    replica.sync().await;

    // Monday 23 November 2026 in Tokyo, or the Monday of this week.
    let week_ms = 7 * 24 * HOUR_MS;
    let monday_ms = time::now_unix_ms() - (time::now_unix_ms() - 1_795_359_600_000).rem_euclid(week_ms);
    assert_eq!(beer_at(&replica, monday_ms, 10).await, (false, 11));
    assert_eq!(beer_at(&replica, monday_ms, 11).await, (true, 14));
    assert_eq!(beer_at(&replica, monday_ms, 14).await, (false, 24 + 11));
    assert_eq!(beer_at(&replica, monday_ms, 4 * 24 + 15).await, (false, 7 * 24 + 11), "not at the weekend");

    // Now is one of these, and the same as naming it.
    let now = replica.menu(|_| ()).await.unwrap();
    let named = replica.menu(|request| request.time = Some(time::now())).await.unwrap();
    assert_eq!((now.etag, now.change_time), (named.etag, named.change_time));
    let refused = replica.menu(|request| request.time = Some(time::from_unix_ms(0))).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "OUT_OF_RANGE");
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
