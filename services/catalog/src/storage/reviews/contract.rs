//! What every storage must do with items that wait for a review.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use posmesh_proto::{
    catalog::v1::{Catalog, CatalogProblem, Decision, Item, ItemToReview, SyncRun, SyncState},
    common::v1::Money,
    store::v1::ChangedItems,
};

use super::Reviewed;
use crate::{
    domain::Content,
    storage::{
        Judged, MemoryStorage, OfferHead, Published, StoreKey,
        contract::{LEASE, Subject, contract, key, on_database},
    },
};

contract! {
    what_changes_with_a_version_waits_where_the_store_wants_it_so_and_moves_the_offer,
    the_first_version_of_a_store_holds_nothing_back,
    what_was_looked_at_waits_no_more_and_moves_the_offer_once,
    a_word_about_an_item_that_changed_since_is_refused_and_nothing_is_written,
    what_was_approved_waits_for_its_review_all_the_same,
    a_rollback_holds_nothing_back_and_lets_go_what_is_as_it_was,
    a_version_of_a_store_that_keeps_changed_items_visible_lets_all_go,
    of_a_word_and_a_version_at_once_none_is_lost,
}

use ChangedItems::{HideUntilReviewed as Hide, KeepVisible as Keep};

fn shibuya() -> StoreKey {
    key("brand", "shibuya")
}

fn menu(prices: &[(&str, i64)]) -> Content {
    let item = |(id, amount): &(&str, i64)| Item {
        id: (*id).to_owned(),
        price: Some(Money { currency_code: "JPY".to_owned(), amount: *amount }),
        ..Default::default()
    };
    Content::new(Catalog { items: prices.iter().map(item).collect(), ..Default::default() })
}

async fn head(storage: &Subject) -> OfferHead {
    storage.head(&shibuya()).await.unwrap().unwrap_or_default()
}

/// A run that sends these items.
async fn run(storage: &Subject, prices: &[(&str, i64)], changed_items: ChangedItems, suspicious: bool) -> SyncRun {
    let run =
        SyncRun { sync_run_id: uuid::Uuid::now_v7().to_string(), store_id: "shibuya".to_owned(), ..Default::default() };
    storage.begin_run(&shibuya(), &run, LEASE).await.unwrap();
    let base_version = storage.head(&shibuya()).await.unwrap().map(|head| head.version);
    let suspicions = if suspicious { vec![CatalogProblem::default()] } else { Vec::new() };
    let judged = Judged { base_version, suspicions, changed_items };
    match storage.publish(&shibuya(), &run, menu(prices), &judged).await.unwrap() {
        Published::Ended(run) => *run,
        other => panic!("{other:?}"),
    }
}

async fn publish(storage: &Subject, prices: &[(&str, i64)], changed_items: ChangedItems) {
    assert_eq!(run(storage, prices, changed_items, false).await.state(), SyncState::Published);
}

/// What waits, and at which price it was sold; 0: it is new.
async fn waiting(storage: &Subject) -> Vec<(String, i64)> {
    let sold = |waits: &ItemToReview| waits.sold.clone().map_or(0, |sold| sold.price.unwrap().amount);
    let waiting = storage.items_to_review(&shibuya()).await.unwrap();
    waiting.into_iter().map(|waits| (waits.item_id.clone(), sold(&waits))).collect()
}

fn expected(waiting: &[(&str, i64)]) -> Vec<(String, i64)> {
    waiting.iter().map(|(id, amount)| ((*id).to_owned(), *amount)).collect()
}

async fn say(storage: &Subject, ids: &[&str], version: i64) -> Reviewed {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    storage.review_items(&shibuya(), &ids, version).await.unwrap()
}

async fn what_changes_with_a_version_waits_where_the_store_wants_it_so_and_moves_the_offer(storage: Subject) {
    publish(&storage, &[("cake", 500), ("tea", 300)], Hide).await;
    let before = head(&storage).await;
    publish(&storage, &[("cake", 500), ("tea", 350), ("pie", 400)], Hide).await;
    assert_eq!(waiting(&storage).await, expected(&[("pie", 0), ("tea", 300)]));
    let after = head(&storage).await;
    assert_eq!((after.version, after.revision > before.revision), (2, true));
    let since: Vec<i64> =
        storage.items_to_review(&shibuya()).await.unwrap().iter().map(|waits| waits.since_version).collect();
    assert_eq!(since, [2, 2]);
    for other in [key("brand", "ueno"), key("other", "shibuya")] {
        assert_eq!(storage.items_to_review(&other).await.unwrap(), []);
    }
}

async fn the_first_version_of_a_store_holds_nothing_back(storage: Subject) {
    publish(&storage, &[("tea", 300)], Hide).await;
    assert_eq!(waiting(&storage).await, []);
    assert_eq!(head(&storage).await, OfferHead { version: 1, revision: 0 });
}

async fn what_was_looked_at_waits_no_more_and_moves_the_offer_once(storage: Subject) {
    publish(&storage, &[("cake", 500), ("tea", 300)], Hide).await;
    publish(&storage, &[("cake", 550), ("tea", 350)], Hide).await;
    let before = head(&storage).await;
    assert_eq!(say(&storage, &["tea", "pie"], 2).await, Reviewed::Done);
    assert_eq!(waiting(&storage).await, expected(&[("cake", 500)]));
    let after = head(&storage).await;
    assert_eq!(after, OfferHead { revision: before.revision + 1, ..before });
    let heads = storage.changed_heads(LEASE).await.unwrap();
    assert_eq!(heads, [(shibuya(), after)], "watchers hear of it");
    assert_eq!(say(&storage, &["tea"], 2).await, Reviewed::Nothing);
    assert_eq!(say(&storage, &["cake"], 2).await, Reviewed::Done);
    assert_eq!(waiting(&storage).await, []);
    // The next change is measured by what was looked at.
    publish(&storage, &[("cake", 550), ("tea", 300)], Hide).await;
    assert_eq!(waiting(&storage).await, expected(&[("tea", 350)]));
}

async fn a_word_about_an_item_that_changed_since_is_refused_and_nothing_is_written(storage: Subject) {
    publish(&storage, &[("cake", 500), ("tea", 300)], Hide).await;
    publish(&storage, &[("cake", 550), ("tea", 350)], Hide).await;
    publish(&storage, &[("cake", 550), ("tea", 3500)], Hide).await;
    let before = head(&storage).await;
    let refused = Reviewed::ChangedSince { item_id: "tea".to_owned() };
    assert_eq!(say(&storage, &["cake", "tea"], 2).await, refused);
    assert_eq!(waiting(&storage).await, expected(&[("cake", 500), ("tea", 300)]));
    assert_eq!(head(&storage).await, before);
    assert_eq!(say(&storage, &["cake"], 2).await, Reviewed::Done);
    assert_eq!(say(&storage, &["tea"], 3).await, Reviewed::Done);
}

async fn what_was_approved_waits_for_its_review_all_the_same(storage: Subject) {
    let aiko = Decision { by: "Aiko".to_owned(), ..Default::default() };
    publish(&storage, &[("tea", 300)], Hide).await;
    let held = run(&storage, &[("tea", 3000)], Hide, true).await;
    assert_eq!((held.state(), waiting(&storage).await), (SyncState::WaitingApproval, Vec::new()));
    storage.decide(&shibuya(), &held.sync_run_id, true, &aiko, Hide).await.unwrap().unwrap();
    assert_eq!(waiting(&storage).await, expected(&[("tea", 300)]));
}

async fn a_rollback_holds_nothing_back_and_lets_go_what_is_as_it_was(storage: Subject) {
    let aiko = Decision { by: "Aiko".to_owned(), ..Default::default() };
    publish(&storage, &[("cake", 500), ("tea", 300)], Keep).await;
    publish(&storage, &[("cake", 550), ("tea", 300)], Keep).await;
    storage.rollback(&shibuya(), 1, &aiko).await.unwrap().unwrap();
    assert_eq!(waiting(&storage).await, []);
    publish(&storage, &[("cake", 500), ("tea", 350), ("pie", 400)], Hide).await;
    assert_eq!(waiting(&storage).await, expected(&[("pie", 0), ("tea", 300)]));
    // The cake is priced otherwise again, the tea as it was, and there is no pie.
    let revision = head(&storage).await.revision;
    storage.rollback(&shibuya(), 2, &aiko).await.unwrap().unwrap();
    assert_eq!(waiting(&storage).await, []);
    assert!(head(&storage).await.revision > revision);
}

async fn a_version_of_a_store_that_keeps_changed_items_visible_lets_all_go(storage: Subject) {
    publish(&storage, &[("tea", 300)], Hide).await;
    publish(&storage, &[("tea", 350)], Hide).await;
    publish(&storage, &[("tea", 400)], Keep).await;
    assert_eq!(waiting(&storage).await, []);
    publish(&storage, &[("tea", 450)], ChangedItems::Unspecified).await;
    assert_eq!(waiting(&storage).await, []);
}

async fn of_a_word_and_a_version_at_once_none_is_lost(storage: Subject) {
    let prices =
        |tea| (0..10).map(|n| (["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"][n], tea)).collect::<Vec<_>>();
    publish(&storage, &prices(300), Hide).await;
    publish(&storage, &prices(350), Hide).await;
    let words = prices(0).into_iter().map(|(id, _)| {
        let storage = std::sync::Arc::clone(&storage);
        tokio::spawn(async move { say(&storage, &[id], 2).await })
    });
    let words: Vec<_> = words.collect();
    let mut more = prices(350);
    more.push(("pie", 400));
    publish(&storage, &more, Hide).await;
    for word in words {
        assert_eq!(word.await.unwrap(), Reviewed::Done);
    }
    assert_eq!(waiting(&storage).await, expected(&[("pie", 0)]));
}
