//! What is sold out beside the versions.

use std::time::Duration;

use posmesh_catalog::Config;
use posmesh_kit::{failure, time};
use posmesh_proto::{
    adapter::v1::{CatalogState, ItemCount},
    catalog::v1::{
        Catalog, GetOfferRequest, GetOfferResponse, ListAvailabilityRequest, ListSyncRunsRequest, PosTold,
        SetAvailabilityRequest, SyncState, SyncTrigger, WatchCatalogRequest,
    },
    common::v1::Product,
};
use tonic::{Code, Status};

use crate::{
    fixture::{catalog, yen},
    mesh::{Mesh, Pull, Replica, config, until},
};

fn sold_out(item_id: &str) -> SetAvailabilityRequest {
    SetAvailabilityRequest {
        store_id: "shibuya".into(),
        item_id: item_id.into(),
        by: "Aiko".into(),
        ..Default::default()
    }
}

fn back(item_id: &str) -> SetAvailabilityRequest {
    SetAvailabilityRequest { available: true, ..sold_out(item_id) }
}

fn choice(request: SetAvailabilityRequest, group_id: &str, modifier_id: &str) -> SetAvailabilityRequest {
    SetAvailabilityRequest { group_id: group_id.into(), modifier_id: modifier_id.into(), ..request }
}

/// Whether it is sold now.
async fn set(replica: &Replica, request: SetAvailabilityRequest) -> Result<bool, Status> {
    Ok(replica.client.clone().set_availability(request).await?.into_inner().available)
}

async fn offer(replica: &Replica, known_etag: &str) -> Result<GetOfferResponse, Status> {
    let known_etag = known_etag.to_owned();
    let request = GetOfferRequest { store_id: "shibuya".into(), product: Product::Table.into(), known_etag };
    Ok(replica.client.clone().get_offer(request).await?.into_inner())
}

/// What is not sold of a store's items.
fn missing(catalog: &Catalog) -> Vec<&str> {
    catalog.items.iter().filter(|item| !item.available).map(|item| item.id.as_str()).collect()
}

async fn sells(replica: &Replica, item_id: &str) -> bool {
    let menu = replica.menu(|_| ()).await.unwrap().menu.unwrap();
    menu.items.iter().find(|item| item.id == item_id).unwrap().available
}

async fn synced() -> (Mesh, Replica, Replica) {
    let mesh = Mesh::start().await;
    let (one, other) = (mesh.replica().await, mesh.replica().await);
    mesh.world.next(Pull::Sends(catalog()));
    one.sync().await;
    (mesh, one, other)
}

#[tokio::test]
async fn what_the_staff_say_is_sold_out_is_gone_from_menu_and_offer_on_every_replica_until_they_take_it_back() {
    let (_mesh, one, other) = synced().await;
    let before = offer(&one, "").await.unwrap();
    assert!(missing(&before.catalog.unwrap()).is_empty());
    assert!(offer(&one, &before.etag).await.unwrap().not_modified);

    assert!(!set(&one, sold_out("beer")).await.unwrap());
    assert!(!sells(&one, "beer").await, "where it was said it counts at once");
    let now = offer(&one, &before.etag).await.unwrap();
    assert_eq!((missing(&now.catalog.unwrap()), now.not_modified), (vec!["beer"], false));
    until("the other replica knows", || async { !sells(&other, "beer").await }).await;
    assert_eq!(offer(&other, "").await.unwrap().etag, now.etag, "the same offer has the same etag everywhere");

    let listed = ListAvailabilityRequest { store_id: "shibuya".into() };
    let listed = other.client.clone().list_availability(listed).await.unwrap().into_inner().availability;
    assert_eq!((listed.len(), listed[0].item_id.as_str(), listed[0].by.as_str()), (1, "beer", "Aiko"));
    assert!(set(&other, back("beer")).await.unwrap());
    assert!(sells(&other, "beer").await);
    until("the first one knows as well", || async { sells(&one, "beer").await }).await;
}

#[tokio::test]
async fn an_item_whose_question_cannot_be_answered_any_more_is_sold_out_with_its_choices() {
    let (_mesh, one, _) = synced().await;
    set(&one, choice(sold_out(""), "sauce", "tare")).await.unwrap();
    assert!(sells(&one, "yakitori").await, "there is salt");
    set(&one, choice(sold_out(""), "sauce", "salt")).await.unwrap();
    assert!(!sells(&one, "yakitori").await);
    set(&one, choice(back(""), "sauce", "salt")).await.unwrap();
    assert!(sells(&one, "yakitori").await);
}

#[tokio::test]
async fn what_is_sold_out_for_a_time_comes_back_by_itself_and_watchers_hear_of_both() {
    let (_mesh, one, other) = synced().await;
    let watch = WatchCatalogRequest { store_id: "shibuya".into(), locale: "en".into(), ..Default::default() };
    let mut stream = other.client.clone().watch_catalog(watch).await.unwrap().into_inner();
    let mut next =
        async || tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(next().await.version, 1);

    let again = time::from_unix_ms(time::now_unix_ms() + 1_500);
    set(&one, SetAvailabilityRequest { available_again_time: Some(again), ..sold_out("beer") }).await.unwrap();
    let told = next().await;
    assert_eq!((told.version, told.from_version, told.changes[0].text.as_str()), (1, 1, "Draft beer: sold out"));
    assert!(!sells(&one, "beer").await);
    let told = next().await;
    assert!(time::until(&again).is_zero(), "not before its time");
    assert_eq!((told.from_version, told.changes[0].text.as_str(), told.changes.len()), (1, "Draft beer: back", 1));
    for replica in [&one, &other] {
        until("it is sold again", || async { sells(replica, "beer").await }).await;
    }
}

#[tokio::test]
async fn who_comes_back_after_stock_outs_hears_of_those_that_it_missed() {
    let (mesh, one, other) = synced().await;
    let watch = async |replica: &Replica, resume_token: &str| {
        let (store_id, resume_token) = ("shibuya".into(), resume_token.into());
        let request = WatchCatalogRequest { store_id, resume_token, locale: "en".into() };
        let mut stream = replica.client.clone().watch_catalog(request).await.unwrap().into_inner();
        tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap().unwrap().unwrap()
    };
    set(&one, sold_out("yakitori")).await.unwrap();
    let seen = watch(&one, "").await;
    set(&one, sold_out("beer")).await.unwrap();
    set(&one, back("yakitori")).await.unwrap();
    let missed = watch(&other, &seen.resume_token).await;
    let lines: Vec<_> = missed.changes.iter().map(|change| change.text.as_str()).collect();
    assert_eq!((missed.version, missed.from_version), (1, 1));
    assert_eq!(lines, ["Draft beer: sold out", "Yakitori: back"]);
    // Over a new version as well.
    let mut dearer = catalog();
    dearer.items[0].price = yen(600);
    mesh.world.next(Pull::Sends(dearer));
    one.sync().await;
    let missed = watch(&other, &seen.resume_token).await;
    let lines: Vec<_> = missed.changes.iter().map(|change| change.text.as_str()).collect();
    assert_eq!((missed.version, missed.from_version), (2, 1));
    assert_eq!(lines, ["Draft beer: price 545 → 600", "Draft beer: sold out", "Yakitori: back"]);
}

#[tokio::test]
async fn a_new_version_does_not_bring_back_what_the_staff_said_and_they_do_not_bring_back_what_the_pos_has_not() {
    let (mesh, one, _) = synced().await;
    set(&one, sold_out("beer")).await.unwrap();
    let mut without_yakitori = catalog();
    without_yakitori.items[1].available = false;
    mesh.world.next(Pull::Sends(without_yakitori));
    one.sync().await;
    assert!(!sells(&one, "beer").await && !sells(&one, "yakitori").await);
    assert!(!set(&one, back("yakitori")).await.unwrap(), "the POS has none");
    assert!(!sells(&one, "yakitori").await);
    assert!(set(&one, back("beer")).await.unwrap());
}

#[tokio::test]
async fn a_word_that_cannot_be_is_refused_with_its_field() {
    let (_mesh, one, _) = synced().await;
    let reason = async |request| failure::reason(&set(&one, request).await.unwrap_err());
    let at = |ms: i64| Some(time::from_unix_ms(time::now_unix_ms() + ms));
    assert_eq!(reason(sold_out("")).await, "REQUIRED");
    assert_eq!(reason(SetAvailabilityRequest { by: " ".into(), ..sold_out("beer") }).await, "REQUIRED");
    assert_eq!(reason(choice(sold_out("beer"), "sauce", "salt")).await, "NOT_ALLOWED");
    assert_eq!(reason(choice(sold_out(""), "", "salt")).await, "REQUIRED");
    assert_eq!(reason(choice(sold_out(""), "sauce", "")).await, "REQUIRED");
    assert_eq!(reason(sold_out("be\0er")).await, "TEXT_INVALID");
    assert_eq!(reason(choice(sold_out(""), "sauce", "beer")).await, "MODIFIER_NOT_FOUND");
    for bad in [at(-1_000), at(400 * 86_400_000)] {
        let request = SetAvailabilityRequest { available_again_time: bad, ..sold_out("beer") };
        assert_eq!(reason(request).await, "AVAILABLE_AGAIN_TIME_INVALID");
    }
    let back_later = SetAvailabilityRequest { available_again_time: at(60_000), ..back("beer") };
    assert_eq!(reason(back_later).await, "AVAILABLE_AGAIN_TIME_INVALID");
    let unknown = set(&one, sold_out("eel")).await.unwrap_err();
    assert_eq!((unknown.code(), failure::reason(&unknown).as_str()), (Code::NotFound, "ITEM_NOT_FOUND"));
    let elsewhere = SetAvailabilityRequest { store_id: "ueno".into(), ..sold_out("beer") };
    assert_eq!(reason(elsewhere).await, "CATALOG_NOT_SYNCED");
}

#[tokio::test]
async fn the_pos_is_told_where_it_can_be_and_otherwise_the_staff_are_told_what_to_do() {
    let (mesh, one, _) = synced().await;
    let say = async |request| one.client.clone().set_availability(request).await.unwrap().into_inner();
    let answer = say(sold_out("beer")).await;
    assert_eq!((answer.pos(), answer.pos_note.as_str()), (PosTold::NotTold, "switch it off at the till"));
    mesh.world.pos.lock().unwrap().takes_words = true;
    let answer = say(back("beer")).await;
    assert_eq!((answer.pos(), answer.available), (PosTold::Done, true));
    // The POS would not bring it back.
    let again = Some(time::from_unix_ms(time::now_unix_ms() + 60_000));
    let answer = say(SetAvailabilityRequest { available_again_time: again, ..sold_out("yakitori") }).await;
    assert_eq!(answer.pos(), PosTold::NotTold);
    let told = mesh.world.pos.lock().unwrap().told.clone();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].item_id.as_str(), told[0].available), ("beer", true));

    // What the POS had not when it was pulled is back as soon as the POS takes the word.
    let mut without_beer = catalog();
    without_beer.items[0].available = false;
    mesh.world.next(Pull::Sends(without_beer));
    one.sync().await;
    assert!(!sells(&one, "beer").await);
    assert!(say(back("beer")).await.available && sells(&one, "beer").await);
}

fn state(fingerprint: &str, sold_out: &[&str]) -> Option<CatalogState> {
    let sold_out_item_ids = sold_out.iter().map(|id| (*id).to_owned()).collect();
    Some(CatalogState { fingerprint: fingerprint.to_owned(), sold_out_item_ids, ..CatalogState::default() })
}

/// Whether it is sold now, and how many are left.
async fn left(replica: &Replica, item_id: &str) -> (bool, Option<i32>) {
    let items = offer(replica, "").await.unwrap().catalog.unwrap().items;
    let item = items.into_iter().find(|item| item.id == item_id).unwrap();
    (item.available, item.remaining)
}

#[tokio::test]
async fn what_the_pos_counts_is_offered_on_every_replica_and_makes_no_version() {
    let mesh = Mesh::start().await;
    mesh.world.sync_every(Duration::ZERO);
    let asking = Config { poll_interval: Duration::from_millis(100), ..config() };
    let (one, other) = (mesh.replica_with(asking.clone()).await, mesh.replica_with(asking).await);
    let pulled = |remaining| {
        let mut catalog = catalog();
        catalog.items[0].remaining = remaining;
        mesh.world.next(Pull::Sends(catalog));
    };
    pulled(Some(5));
    one.sync().await;
    assert_eq!((left(&one, "beer").await, left(&one, "yakitori").await), ((true, Some(5)), (true, None)));
    pulled(Some(4));
    let run = one.sync().await;
    assert_eq!((run.state(), run.catalog_version), (SyncState::Unchanged, 1));
    until("the new count", || async { left(&other, "beer").await == (true, Some(4)) }).await;
    let menu = one.menu(|_| ()).await.unwrap().menu.unwrap();
    assert_eq!(menu.items.iter().find(|item| item.id == "beer").unwrap().remaining, Some(4));

    let counted = |remaining, sold_out: &[&str]| {
        let counts = vec![ItemCount { item_id: "beer".into(), remaining }];
        mesh.world.pos.lock().unwrap().state = state("1", sold_out).map(|state| CatalogState { counts, ..state });
    };
    counted(1, &[]);
    until("one is left", || async { left(&other, "beer").await == (true, Some(1)) }).await;
    counted(0, &["beer"]);
    until("none is left", || async { left(&one, "beer").await == (false, Some(0)) }).await;
    mesh.world.pos.lock().unwrap().state = state("1", &[]);
    until("it is not counted any more", || async { left(&one, "beer").await == (true, None) }).await;
    assert_eq!(one.menu_version().await, 1);
}

#[tokio::test]
async fn what_the_pos_sells_out_is_gone_soon_and_what_else_changes_there_is_pulled_by_one_of_the_replicas() {
    let mesh = Mesh::start().await;
    mesh.world.sync_every(Duration::ZERO);
    let asking = Config { poll_interval: Duration::from_millis(100), ..config() };
    let (one, other) = (mesh.replica_with(asking.clone()).await, mesh.replica_with(asking).await);
    let pos_says = |fingerprint: &str, sold_out: &[&str]| {
        mesh.world.pos.lock().unwrap().state = state(fingerprint, sold_out);
    };
    // A store is known once it was asked for; the first look at it pulls.
    mesh.world.next(Pull::Sends(catalog()));
    pos_says("1", &[]);
    until("the first version", || async { one.menu_version().await == 1 && other.menu_version().await == 1 }).await;

    pos_says("1", &["yakitori", "nothing of ours"]);
    for replica in [&one, &other] {
        until("it is sold out", || async { !sells(replica, "yakitori").await && sells(replica, "beer").await }).await;
    }
    pos_says("1", &[]);
    until("it is back", || async { sells(&one, "yakitori").await }).await;
    assert_eq!(mesh.world.pulled().len(), 1, "stock-outs need no pull");

    let mut dearer = catalog();
    dearer.items[0].price = yen(600);
    mesh.world.next(Pull::Sends(dearer));
    pos_says("2", &[]);
    until("the new price", || async { one.menu_version().await == 2 }).await;
    let runs = ListSyncRunsRequest { store_id: "shibuya".into(), ..Default::default() };
    let runs = one.client.clone().list_sync_runs(runs).await.unwrap().into_inner().runs;
    assert_eq!(runs[0].trigger(), SyncTrigger::Event);

    // Polls go on, and pull nothing more.
    let polls = || mesh.world.pos.lock().unwrap().polls;
    let before = polls();
    until("some more polls", || async { polls() > before + 3 }).await;
    assert_eq!(mesh.world.pulled().len(), 2);
}
