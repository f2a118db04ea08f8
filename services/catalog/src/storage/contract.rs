//! What every storage must do, run on all of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{sync::Arc, time::Duration};

use posmesh_kit::time;
use posmesh_kit_db::DatabaseConfig;
use posmesh_proto::{
    catalog::v1::{
        Availability, AvailabilitySource, Catalog, CatalogProblem, Decision, Item, SyncRun, SyncState, Tender,
    },
    store::v1::ChangedItems,
};

use super::{Begun, Judged, MemoryStorage, OfferHead, Published, Said, Storage, StoreKey};
use crate::domain::{self, Content};

/// Greater than every UUIDv7.
const AFTER_ALL_RUNS: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// Of items that change with a version.
const SOLD: ChangedItems = ChangedItems::KeepVisible;
/// Expires at once.
const DEAD: Duration = Duration::ZERO;

pub(super) type Subject = Arc<dyn Storage>;

/// One test per clause and storage.
macro_rules! contract {
    ($($clause:ident,)+) => {
        mod memory {
            $(#[tokio::test]
            async fn $clause() {
                super::$clause(std::sync::Arc::new(super::MemoryStorage::default())).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $clause() {
                let folder = tempfile::tempdir().unwrap();
                super::$clause(super::on_database(format!("sqlite:{}", folder.path().display())).await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $clause() {
                let url = tokio::task::spawn_blocking(|| {
                    posmesh_counterparts::Postgres::shared().unwrap().create_database().unwrap()
                });
                super::$clause(super::on_database(url.await.unwrap()).await).await;
            })+
        }
    };
}
pub(super) use contract;

contract! {
    a_store_has_one_run_at_a_time,
    of_many_that_begin_at_once_one_starts_and_all_others_join_it,
    a_dead_run_is_failed_and_makes_way,
    a_sweep_ends_dead_runs_and_spares_live_ones,
    a_renewed_run_lives_on,
    a_run_that_lost_its_lease_publishes_nothing,
    a_run_ends_once,
    new_content_makes_the_next_version,
    equal_content_makes_no_version,
    what_was_published_is_read_back_as_it_was,
    lists_are_newest_first_and_paged,
    what_waits_for_approval_leaves_the_version_before_until_a_person_approves_it,
    what_was_refused_does_not_ask_again_until_the_pos_sends_something_else,
    a_newer_pull_takes_the_place_of_what_waits,
    data_compared_with_an_older_version_is_not_published,
    a_rollback_is_a_new_version_and_what_it_undid_stays_out,
    a_store_whose_version_changed_is_told_with_it,
    what_is_said_of_a_thing_moves_the_offer_once_and_is_taken_back_by_the_same_source,
    all_that_the_pos_says_takes_the_place_of_what_it_said_before_and_of_nothing_else,
    a_word_ends_at_its_time_for_all_replicas_and_no_other_does,
    a_due_poll_is_claimed_by_one_with_what_was_seen_last,
    of_many_words_at_once_none_is_lost_and_each_moves_the_offer,
    all_that_the_pos_counted_takes_the_place_of_its_counts_and_of_nothing_else,
    what_was_said_at_an_earlier_revision_is_known_until_it_is_too_old,
    a_due_sync_is_claimed_by_one_and_falls_due_again_when_that_one_dies,
    of_many_that_claim_at_once_each_store_goes_to_one,
    only_the_newest_versions_and_runs_and_what_waits_are_kept,
    of_an_approval_and_a_rollback_at_once_each_makes_its_own_version,
    stores_and_tenants_do_not_see_each_other,
}

pub(super) async fn on_database(url: String) -> Subject {
    let config = DatabaseConfig { url, max_connections: 8, acquire_timeout: Duration::from_secs(30) };
    super::open(&config).await.unwrap()
}

pub(super) fn key(tenant_id: &str, store_id: &str) -> StoreKey {
    StoreKey { tenant_id: tenant_id.into(), store_id: store_id.into() }
}

fn shibuya() -> StoreKey {
    key("brand", "shibuya")
}

fn new_run(key: &StoreKey) -> SyncRun {
    SyncRun {
        sync_run_id: uuid::Uuid::now_v7().to_string(),
        store_id: key.store_id.to_string(),
        state: SyncState::Running.into(),
        ..Default::default()
    }
}

async fn begin(storage: &Subject, key: &StoreKey) -> SyncRun {
    let run = new_run(key);
    assert_eq!(storage.begin_run(key, &run, LEASE).await.unwrap(), Begun::Started);
    run
}

fn content(item_id: &str) -> Content {
    let items = vec![Item { id: item_id.to_owned(), ..Default::default() }];
    Content::new(Catalog { items, tenders: vec![Tender::default()], ..Default::default() })
}

async fn publish(storage: &Subject, key: &StoreKey, item_id: &str) -> SyncRun {
    let run = begin(storage, key).await;
    published(storage, key, &run, item_id, &[]).await
}

/// Publishes an item, compared with the current version.
async fn published(storage: &Subject, key: &StoreKey, run: &SyncRun, item_id: &str, suspicions: &[&str]) -> SyncRun {
    let suspicion = |reason: &&str| CatalogProblem { reason: (*reason).to_owned(), ..Default::default() };
    let judged = Judged {
        base_version: current_version(storage, key).await,
        suspicions: suspicions.iter().map(suspicion).collect(),
        changed_items: SOLD,
    };
    match storage.publish(key, run, content(item_id), &judged).await.unwrap() {
        Published::Ended(run) => *run,
        other => panic!("{other:?}"),
    }
}

/// A run whose data waits for approval, unless it does not.
async fn suspicious(storage: &Subject, item_id: &str) -> SyncRun {
    let run = begin(storage, &shibuya()).await;
    published(storage, &shibuya(), &run, item_id, &["MANY_ITEMS_GONE"]).await
}

async fn current_version(storage: &Subject, key: &StoreKey) -> Option<i64> {
    storage.head(key).await.unwrap().map(|head| head.version)
}

fn by(name: &str) -> Decision {
    Decision { by: name.to_owned(), note: "looked at it".to_owned(), time: None }
}

async fn state_of(storage: &Subject, run: &SyncRun) -> SyncState {
    storage.run("brand", &run.sync_run_id).await.unwrap().unwrap().state()
}

async fn a_store_has_one_run_at_a_time(storage: Subject) {
    let first = begin(&storage, &shibuya()).await;
    let joined = storage.begin_run(&shibuya(), &new_run(&shibuya()), LEASE).await.unwrap();
    assert_eq!(joined, Begun::Running(Box::new(first.clone())));
    assert!(storage.end_run(&shibuya(), &domain::failed(first, "NETWORK_DOWN", "gone")).await.unwrap());
    begin(&storage, &shibuya()).await;
}

async fn of_many_that_begin_at_once_one_starts_and_all_others_join_it(storage: Subject) {
    let attempts = (0..20).map(|_| {
        let (storage, run) = (Arc::clone(&storage), new_run(&shibuya()));
        tokio::spawn(async move { (storage.begin_run(&shibuya(), &run, LEASE).await.unwrap(), run) })
    });
    let begun: Vec<_> = futures_util::future::join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    let started: Vec<_> = begun.iter().filter(|(begun, _)| *begun == Begun::Started).collect();
    assert_eq!(started.len(), 1);
    let winner = started[0].1.clone();
    assert!(
        begun
            .iter()
            .filter(|(_, run)| *run != winner)
            .all(|(begun, _)| *begun == Begun::Running(Box::new(winner.clone())))
    );
}

async fn a_dead_run_is_failed_and_makes_way(storage: Subject) {
    let dead = new_run(&shibuya());
    storage.begin_run(&shibuya(), &dead, DEAD).await.unwrap();
    begin(&storage, &shibuya()).await;
    let ended = storage.run("brand", &dead.sync_run_id).await.unwrap().unwrap();
    assert_eq!((ended.state(), ended.failure.unwrap().cause.as_str()), (SyncState::Failed, "INTERRUPTED"));
    assert!(ended.end_time.is_some());
}

async fn a_sweep_ends_dead_runs_and_spares_live_ones(storage: Subject) {
    let (dead, live) = (new_run(&shibuya()), begin(&storage, &key("brand", "ueno")).await);
    storage.begin_run(&shibuya(), &dead, DEAD).await.unwrap();
    assert_eq!(storage.end_dead_runs().await.unwrap(), 1);
    assert_eq!(storage.end_dead_runs().await.unwrap(), 0);
    assert_eq!(state_of(&storage, &dead).await, SyncState::Failed);
    assert_eq!(state_of(&storage, &live).await, SyncState::Running);
}

async fn a_renewed_run_lives_on(storage: Subject) {
    let run = new_run(&shibuya());
    storage.begin_run(&shibuya(), &run, DEAD).await.unwrap();
    assert!(storage.renew_run(&shibuya(), &run.sync_run_id, LEASE).await.unwrap());
    assert_eq!(storage.end_dead_runs().await.unwrap(), 0);
    assert_eq!(published(&storage, &shibuya(), &run, "tea", &[]).await.catalog_version, 1);
}

async fn a_run_that_lost_its_lease_publishes_nothing(storage: Subject) {
    let run = new_run(&shibuya());
    storage.begin_run(&shibuya(), &run, DEAD).await.unwrap();
    storage.end_dead_runs().await.unwrap();
    assert!(!storage.renew_run(&shibuya(), &run.sync_run_id, LEASE).await.unwrap());
    let lost = storage.publish(&shibuya(), &run, content("tea"), &Judged::default()).await.unwrap();
    assert_eq!(lost, Published::LeaseLost);
    assert!(!storage.end_run(&shibuya(), &domain::failed(run.clone(), "UNKNOWN", "")).await.unwrap());
    assert_eq!(current_version(&storage, &shibuya()).await, None);
    let kept = storage.run("brand", &run.sync_run_id).await.unwrap().unwrap();
    assert_eq!(kept.failure.unwrap().cause, "INTERRUPTED");
}

async fn a_run_ends_once(storage: Subject) {
    let run = publish(&storage, &shibuya(), "tea").await;
    assert_eq!(run.state(), SyncState::Published);
    assert!(!storage.end_run(&shibuya(), &domain::failed(run.clone(), "UNKNOWN", "")).await.unwrap());
    let late = storage.publish(&shibuya(), &run, content("cake"), &Judged::default()).await.unwrap();
    assert_eq!(late, Published::LeaseLost);
    assert_eq!(current_version(&storage, &shibuya()).await, Some(1));
}

async fn new_content_makes_the_next_version(storage: Subject) {
    assert_eq!(current_version(&storage, &shibuya()).await, None);
    for (item_id, version) in [("tea", 1), ("cake", 2), ("tea", 3)] {
        let run = publish(&storage, &shibuya(), item_id).await;
        assert_eq!((run.state(), run.catalog_version), (SyncState::Published, version));
        assert_eq!(run.counts.unwrap().items, 1);
        assert_eq!(current_version(&storage, &shibuya()).await, Some(version));
    }
}

async fn equal_content_makes_no_version(storage: Subject) {
    publish(&storage, &shibuya(), "tea").await;
    let again = publish(&storage, &shibuya(), "tea").await;
    assert_eq!((again.state(), again.catalog_version), (SyncState::Unchanged, 1));
    assert_eq!(storage.versions(&shibuya(), i64::MAX, 10).await.unwrap().len(), 1);
}

async fn what_was_published_is_read_back_as_it_was(storage: Subject) {
    let run = publish(&storage, &shibuya(), "tea").await;
    let catalog = storage.catalog(&shibuya(), 1).await.unwrap().unwrap();
    let expected =
        Catalog { version: 1, publish_time: catalog.publish_time, ..Catalog::clone(&content("tea").catalog) };
    assert!(catalog.publish_time.is_some());
    assert_eq!(catalog, expected);
    assert_eq!(storage.catalog(&shibuya(), 2).await.unwrap(), None);
    assert_eq!(storage.run("brand", &run.sync_run_id).await.unwrap(), Some(run));
}

async fn lists_are_newest_first_and_paged(storage: Subject) {
    let mut runs = Vec::new();
    for item_id in ["a", "b", "c"] {
        runs.insert(0, publish(&storage, &shibuya(), item_id).await);
    }
    let page = storage.runs(&shibuya(), AFTER_ALL_RUNS, 2).await.unwrap();
    assert_eq!(page, runs[..2]);
    assert_eq!(storage.runs(&shibuya(), &page[1].sync_run_id, 2).await.unwrap(), runs[2..]);
    let first = storage.versions(&shibuya(), i64::MAX, 2).await.unwrap();
    assert_eq!(first.iter().map(|v| v.version).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(first[0].sync_run_id, runs[0].sync_run_id);
    let rest = storage.versions(&shibuya(), 2, 2).await.unwrap();
    assert_eq!(rest.iter().map(|v| v.version).collect::<Vec<_>>(), [1]);
}

async fn stores_and_tenants_do_not_see_each_other(storage: Subject) {
    let run = publish(&storage, &shibuya(), "tea").await;
    for other in [key("brand", "ueno"), key("other", "shibuya")] {
        assert_eq!(current_version(&storage, &other).await, None);
        assert_eq!(storage.catalog(&other, 1).await.unwrap(), None);
        assert_eq!(storage.versions(&other, i64::MAX, 10).await.unwrap(), []);
        assert_eq!(storage.runs(&other, AFTER_ALL_RUNS, 10).await.unwrap(), []);
        assert_eq!(publish(&storage, &other, "tea").await.catalog_version, 1);
    }
    assert_eq!(storage.run("other", &run.sync_run_id).await.unwrap(), None);
}

async fn what_waits_for_approval_leaves_the_version_before_until_a_person_approves_it(storage: Subject) {
    publish(&storage, &shibuya(), "tea").await;
    let waiting = suspicious(&storage, "cake").await;
    assert_eq!((waiting.state(), waiting.problems[0].reason.as_str()), (SyncState::WaitingApproval, "MANY_ITEMS_GONE"));
    assert_eq!(state_of(&storage, &waiting).await, SyncState::WaitingApproval);
    assert_eq!(current_version(&storage, &shibuya()).await, Some(1));
    // The same data does not ask twice.
    let again = suspicious(&storage, "cake").await;
    assert_eq!((again.state(), &again.waiting_sync_run_id), (SyncState::Unchanged, &waiting.sync_run_id));
    assert_eq!(storage.decide(&shibuya(), &again.sync_run_id, true, &by("Aiko"), SOLD).await.unwrap(), None);

    let approved = storage.decide(&shibuya(), &waiting.sync_run_id, true, &by("Aiko"), SOLD).await.unwrap().unwrap();
    assert_eq!((approved.state(), approved.catalog_version), (SyncState::Published, 2));
    assert_eq!(storage.run("brand", &waiting.sync_run_id).await.unwrap(), Some(approved));
    let version = storage.versions(&shibuya(), i64::MAX, 1).await.unwrap().pop().unwrap();
    assert_eq!((version.version, version.decision.unwrap().by.as_str()), (2, "Aiko"));
    assert_eq!(storage.catalog(&shibuya(), 2).await.unwrap().unwrap().items, content("cake").catalog.items);
    assert_eq!(storage.decide(&shibuya(), &waiting.sync_run_id, true, &by("Aiko"), SOLD).await.unwrap(), None);
    assert_eq!(suspicious(&storage, "cake").await.state(), SyncState::Unchanged);
}

async fn what_was_refused_does_not_ask_again_until_the_pos_sends_something_else(storage: Subject) {
    publish(&storage, &shibuya(), "tea").await;
    let waiting = suspicious(&storage, "cake").await;
    let refused = storage.decide(&shibuya(), &waiting.sync_run_id, false, &by("Aiko"), SOLD).await.unwrap().unwrap();
    assert_eq!((refused.state(), refused.catalog_version), (SyncState::Rejected, 0));
    let again = suspicious(&storage, "cake").await;
    assert_eq!((again.state(), again.decision.unwrap().by.as_str()), (SyncState::Rejected, "Aiko"));
    assert_eq!(current_version(&storage, &shibuya()).await, Some(1));
    // Back to what is current, and what was refused may ask again.
    assert_eq!(publish(&storage, &shibuya(), "tea").await.state(), SyncState::Unchanged);
    assert_eq!(suspicious(&storage, "cake").await.state(), SyncState::WaitingApproval);
}

async fn a_newer_pull_takes_the_place_of_what_waits(storage: Subject) {
    publish(&storage, &shibuya(), "tea").await;
    let first = suspicious(&storage, "cake").await;
    let second = suspicious(&storage, "pie").await;
    let kept = storage.run("brand", &first.sync_run_id).await.unwrap().unwrap();
    assert_eq!((kept.state(), &kept.superseded_by_run_id), (SyncState::Superseded, &second.sync_run_id));
    assert_eq!(storage.decide(&shibuya(), &first.sync_run_id, true, &by("Aiko"), SOLD).await.unwrap(), None);
    let harmless = publish(&storage, &shibuya(), "milk tea").await;
    assert_eq!(harmless.catalog_version, 2);
    assert_eq!(state_of(&storage, &second).await, SyncState::Superseded);
    assert_eq!(storage.decide(&shibuya(), &second.sync_run_id, true, &by("Aiko"), SOLD).await.unwrap(), None);
    assert_eq!(current_version(&storage, &shibuya()).await, Some(2));
}

async fn data_compared_with_an_older_version_is_not_published(storage: Subject) {
    publish(&storage, &shibuya(), "tea").await;
    let run = begin(&storage, &shibuya()).await;
    for base_version in [None, Some(2)] {
        let judged = Judged { base_version, ..Judged::default() };
        let moved = storage.publish(&shibuya(), &run, content("cake"), &judged).await.unwrap();
        assert_eq!(moved, Published::BaseMoved);
    }
    assert_eq!(state_of(&storage, &run).await, SyncState::Running);
    assert_eq!(published(&storage, &shibuya(), &run, "cake", &[]).await.catalog_version, 2);
}

async fn a_rollback_is_a_new_version_and_what_it_undid_stays_out(storage: Subject) {
    assert_eq!(storage.rollback(&shibuya(), 1, &by("Aiko")).await.unwrap(), None);
    for item in ["tea", "cake"] {
        publish(&storage, &shibuya(), item).await;
    }
    let waiting = suspicious(&storage, "pie").await;
    let version = storage.rollback(&shibuya(), 1, &by("Aiko")).await.unwrap().unwrap();
    assert_eq!((version.version, version.restored_version, version.sync_run_id.as_str()), (3, 1, ""));
    assert_eq!((version.decision.unwrap().by.as_str(), version.content_hash.len()), ("Aiko", 64));
    assert_eq!(storage.catalog(&shibuya(), 3).await.unwrap().unwrap().items, content("tea").catalog.items);
    assert_eq!(state_of(&storage, &waiting).await, SyncState::Superseded);
    // Repeated, it is the same.
    assert_eq!(storage.rollback(&shibuya(), 1, &by("Ben")).await.unwrap().unwrap().version, 3);
    // The POS still has what was undone.
    assert_eq!(publish(&storage, &shibuya(), "cake").await.state(), SyncState::Rejected);
    assert_eq!(publish(&storage, &shibuya(), "scone").await.catalog_version, 4);
}

async fn of_an_approval_and_a_rollback_at_once_each_makes_its_own_version(storage: Subject) {
    for item in ["tea", "cake"] {
        publish(&storage, &shibuya(), item).await;
    }
    let waiting = suspicious(&storage, "pie").await;
    let (key, aiko, ben) = (shibuya(), by("Aiko"), by("Ben"));
    let (approved, rolled_back) =
        tokio::join!(storage.decide(&key, &waiting.sync_run_id, true, &aiko, SOLD), storage.rollback(&key, 1, &ben),);
    let rolled_back = rolled_back.unwrap().unwrap();
    match approved.unwrap() {
        Some(run) => assert_eq!((run.catalog_version, rolled_back.version), (3, 4)),
        None => assert_eq!(rolled_back.version, 3),
    }
    let versions = storage.versions(&key, i64::MAX, 10).await.unwrap();
    assert!(versions.windows(2).all(|pair| pair[0].version == pair[1].version + 1));
}

async fn a_store_whose_version_changed_is_told_with_it(storage: Subject) {
    let changed = async || storage.changed_heads(LEASE).await.unwrap();
    suspicious(&storage, "tea").await;
    assert_eq!(changed().await, [], "what waits changes nothing");
    publish(&storage, &shibuya(), "tea").await;
    publish(&storage, &key("other", "ueno"), "tea").await;
    publish(&storage, &shibuya(), "cake").await;
    let mut told = changed().await;
    told.sort_by(|a, b| a.0.store_id.cmp(&b.0.store_id));
    assert_eq!(told, [(shibuya(), head(2, 0)), (key("other", "ueno"), head(1, 0))]);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(storage.changed_heads(Duration::ZERO).await.unwrap(), [], "that was long ago");
}

async fn a_due_sync_is_claimed_by_one_and_falls_due_again_when_that_one_dies(storage: Subject) {
    let claim = async |lease| storage.claim_syncs(10, lease).await.unwrap();
    assert_eq!(claim(LEASE).await, []);
    storage.plan_sync(&shibuya(), LEASE).await.unwrap();
    assert_eq!(claim(LEASE).await, [], "not due yet");
    storage.plan_sync(&shibuya(), Duration::ZERO).await.unwrap();
    storage.plan_sync(&shibuya(), LEASE).await.unwrap();
    // Claimed for no time at all: whoever claimed it is dead at once.
    assert_eq!(claim(DEAD).await, [shibuya()]);
    assert_eq!(claim(LEASE).await, [shibuya()]);
    assert_eq!(claim(LEASE).await, []);
    storage.plan_next_sync(&shibuya(), Duration::ZERO).await.unwrap();
    assert_eq!(claim(LEASE).await, [shibuya()]);
}

async fn of_many_that_claim_at_once_each_store_goes_to_one(storage: Subject) {
    for number in 0..40 {
        storage.plan_sync(&key("brand", &format!("store-{number}")), Duration::ZERO).await.unwrap();
    }
    let claims = (0..8).map(|_| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move { storage.claim_syncs(5, LEASE).await.unwrap() })
    });
    let claimed = futures_util::future::join_all(claims).await;
    let mut claimed: Vec<_> = claimed.into_iter().flat_map(Result::unwrap).map(|key| key.store_id).collect();
    let rest = storage.claim_syncs(100, LEASE).await.unwrap();
    claimed.extend(rest.into_iter().map(|key| key.store_id));
    claimed.sort();
    let count = claimed.len();
    claimed.dedup();
    assert_eq!((count, claimed.len()), (40, 40));
}

async fn only_the_newest_versions_and_runs_and_what_waits_are_kept(storage: Subject) {
    let mut published = Vec::new();
    for item in ["tea", "cake", "pie"] {
        published.push(publish(&storage, &shibuya(), item).await.sync_run_id);
    }
    let waiting = suspicious(&storage, "scone").await.sync_run_id;
    for _ in 0..2 {
        published.push(suspicious(&storage, "scone").await.sync_run_id);
    }
    publish(&storage, &key("brand", "ueno"), "tea").await;
    storage.prune(&shibuya(), 100, 100).await.unwrap();
    assert_eq!(storage.runs(&shibuya(), AFTER_ALL_RUNS, 10).await.unwrap().len(), 6);
    storage.prune(&shibuya(), 2, 1).await.unwrap();
    let versions = storage.versions(&shibuya(), i64::MAX, 10).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(storage.catalog(&shibuya(), 1).await.unwrap(), None);
    let kept: Vec<_> = storage.runs(&shibuya(), AFTER_ALL_RUNS, 10).await.unwrap();
    assert_eq!(kept.iter().map(|run| &run.sync_run_id).collect::<Vec<_>>(), [&published[4], &waiting]);
    let ueno = key("brand", "ueno");
    assert_eq!(storage.runs(&ueno, AFTER_ALL_RUNS, 10).await.unwrap().len(), 1);
    assert_eq!(storage.versions(&ueno, i64::MAX, 10).await.unwrap().len(), 1);
    assert_eq!(
        storage.decide(&shibuya(), &waiting, true, &by("Aiko"), SOLD).await.unwrap().unwrap().catalog_version,
        4
    );
}

fn head(version: i64, revision: i64) -> OfferHead {
    OfferHead { version, revision }
}

fn sold_out(item_id: &str) -> Availability {
    Availability {
        item_id: item_id.to_owned(),
        source: AvailabilitySource::Staff.into(),
        by: "Aiko".to_owned(),
        time: Some(time::now()),
        ..Default::default()
    }
}

fn back(item_id: &str) -> Availability {
    Availability { available: true, ..sold_out(item_id) }
}

async fn say(storage: &Subject, word: Availability) -> bool {
    storage.say_availability(&shibuya(), &Said::Staff(Box::new(word))).await.unwrap()
}

async fn what_is_said_of_a_thing_moves_the_offer_once_and_is_taken_back_by_the_same_source(storage: Subject) {
    let key = shibuya();
    assert!(say(&storage, sold_out("tea")).await);
    assert_eq!(storage.head(&key).await.unwrap(), None, "nothing is sold yet");
    publish(&storage, &key, "tea").await;
    assert_eq!(storage.head(&key).await.unwrap(), Some(head(1, 1)));
    assert!(!say(&storage, sold_out("tea")).await, "that is no news");
    assert_eq!(storage.head(&key).await.unwrap(), Some(head(1, 1)));
    let of_a_choice = Availability { group_id: "size".to_owned(), modifier_id: "tea".to_owned(), ..sold_out("") };
    let because = Availability { note: "no more leaves".to_owned(), ..sold_out("tea") };
    assert!(say(&storage, because.clone()).await && say(&storage, of_a_choice.clone()).await);
    assert_eq!(storage.availability(&key).await.unwrap(), [because, of_a_choice.clone()]);
    assert!(say(&storage, back("tea")).await);
    assert!(!say(&storage, back("tea")).await && !say(&storage, back("cake")).await);
    assert_eq!(storage.availability(&key).await.unwrap(), [of_a_choice]);
    assert_eq!(storage.changed_heads(LEASE).await.unwrap(), [(key.clone(), head(1, 4))]);
    for other in [self::key("brand", "ueno"), self::key("other", "shibuya")] {
        assert!(storage.availability(&other).await.unwrap().is_empty());
    }
}

async fn all_that_the_pos_says_takes_the_place_of_what_it_said_before_and_of_nothing_else(storage: Subject) {
    let of_pos = |item_id, available| Availability {
        available,
        source: AvailabilitySource::Pos.into(),
        by: String::new(),
        ..sold_out(item_id)
    };
    let staff = sold_out("tea");
    assert!(say(&storage, staff.clone()).await);
    let pos = async |words: Vec<Availability>| storage.say_availability(&shibuya(), &Said::Pos(words)).await.unwrap();
    let (tea, cake, bread) = (of_pos("tea", false), of_pos("cake", false), of_pos("bread", true));
    assert!(pos(vec![tea.clone(), cake]).await);
    assert!(pos(vec![bread.clone(), tea.clone()]).await);
    assert!(!pos(vec![tea.clone(), bread.clone()]).await, "that is no news");
    assert_eq!(storage.availability(&shibuya()).await.unwrap(), [bread, staff.clone(), tea]);
    assert!(pos(Vec::new()).await);
    assert_eq!(storage.availability(&shibuya()).await.unwrap(), [staff]);
    assert!(!pos(Vec::new()).await);
}

async fn all_that_the_pos_counted_takes_the_place_of_its_counts_and_of_nothing_else(storage: Subject) {
    let of_pos = |item_id, remaining| Availability {
        available: remaining != Some(0),
        source: AvailabilitySource::Pos.into(),
        by: String::new(),
        remaining,
        ..sold_out(item_id)
    };
    let key = shibuya();
    let say = async |said: Said| storage.say_availability(&key, &said).await.unwrap();
    let (bread, staff) = (of_pos("bread", None), sold_out("tea"));
    assert!(say(Said::Staff(Box::new(staff.clone()))).await);
    assert!(say(Said::Pos(vec![bread.clone(), of_pos("cake", Some(2)), of_pos("tea", Some(9))])).await);
    assert!(say(Said::Counted(vec![of_pos("cake", Some(1)), of_pos("soup", Some(0))])).await);
    let expected = [bread, of_pos("cake", Some(1)), of_pos("soup", Some(0)), staff];
    let said = storage.availability(&key).await.unwrap();
    let known = |words: &[Availability]| words.iter().map(|x| (x.item_id.clone(), x.remaining)).collect::<Vec<_>>();
    assert_eq!(known(&said), known(&expected));
    assert!(!say(Said::Counted(vec![of_pos("soup", Some(0)), of_pos("cake", Some(1))])).await, "that is no news");
}

async fn a_word_ends_at_its_time_for_all_replicas_and_no_other_does(storage: Subject) {
    let (key, now_ms) = (shibuya(), time::now_unix_ms());
    publish(&storage, &key, "tea").await;
    let until = |item_id, ms| Availability { available_again_time: Some(time::from_unix_ms(ms)), ..sold_out(item_id) };
    let (bread, later) = (sold_out("bread"), until("cake", now_ms + 3_600_000));
    for word in [until("tea", now_ms - 1), later.clone(), bread.clone()] {
        assert!(say(&storage, word).await);
    }
    let (one, other) = tokio::join!(storage.end_availability(), storage.end_availability());
    assert_eq!([one.unwrap(), other.unwrap()].concat(), std::slice::from_ref(&key), "it ends once");
    assert_eq!(storage.availability(&key).await.unwrap(), [bread, later]);
    assert_eq!(storage.head(&key).await.unwrap(), Some(head(1, 4)));
    assert!(storage.end_availability().await.unwrap().is_empty());
}

async fn of_many_words_at_once_none_is_lost_and_each_moves_the_offer(storage: Subject) {
    publish(&storage, &shibuya(), "tea").await;
    let all = (0..20).map(|at| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move { say(&storage, sold_out(&format!("tea-{at}"))).await })
    });
    assert!(futures_util::future::join_all(all).await.into_iter().all(Result::unwrap));
    assert_eq!(storage.availability(&shibuya()).await.unwrap().len(), 20);
    assert_eq!(storage.head(&shibuya()).await.unwrap(), Some(head(1, 20)));
}

async fn what_was_said_at_an_earlier_revision_is_known_until_it_is_too_old(storage: Subject) {
    let (key, now_ms) = (shibuya(), time::now_unix_ms());
    let at = async |revision, current| storage.availability_at(&key, (revision, current)).await.unwrap();
    assert_eq!(at(0, 1).await, None, "nothing was ever said");
    let of_pos =
        |item_id| Availability { source: AvailabilitySource::Pos.into(), by: String::new(), ..sold_out(item_id) };
    let soon = Availability { available_again_time: Some(time::from_unix_ms(now_ms - 1)), ..sold_out("cake") };
    let (tea, because) = (sold_out("tea"), Availability { note: "no leaves".to_owned(), ..sold_out("tea") });
    let mut said = vec![Vec::new()];
    for word in [tea, soon, because] {
        assert!(say(&storage, word).await);
        said.push(storage.availability(&key).await.unwrap());
    }
    storage.end_availability().await.unwrap();
    said.push(storage.availability(&key).await.unwrap());
    let pos = Said::Pos(vec![of_pos("tea"), of_pos("bread")]);
    assert!(storage.say_availability(&key, &pos).await.unwrap() && say(&storage, back("tea")).await);
    for (revision, words) in (0..).zip(said) {
        assert_eq!(at(revision, 6).await, Some(words), "at {revision}");
    }
    assert_eq!(storage.availability_at(&self::key("other", "shibuya"), (1, 6)).await.unwrap(), None);

    let words = storage.availability(&key).await.unwrap();
    for note in 0..super::KEPT_REVISIONS {
        assert!(say(&storage, Availability { note: note.to_string(), ..sold_out("tea") }).await);
    }
    let current = 6 + super::KEPT_REVISIONS;
    assert_eq!((at(5, current).await, at(6, current).await), (None, Some(words)));
    assert_eq!(at(7, current + 1).await, None, "something else moved it");
}

async fn a_due_poll_is_claimed_by_one_with_what_was_seen_last(storage: Subject) {
    storage.plan_poll(&shibuya(), Duration::ZERO).await.unwrap();
    storage.plan_poll(&key("other", "ueno"), LEASE).await.unwrap();
    let (one, other) = tokio::join!(storage.claim_polls(10, LEASE), storage.claim_polls(10, LEASE));
    assert_eq!([one.unwrap(), other.unwrap()].concat(), [(shibuya(), String::new())]);
    storage.plan_next_poll(&shibuya(), Duration::ZERO, "f00d").await.unwrap();
    storage.plan_poll(&shibuya(), LEASE).await.unwrap();
    assert_eq!(storage.claim_polls(10, DEAD).await.unwrap(), [(shibuya(), "f00d".to_owned())]);
    assert_eq!(storage.claim_polls(10, LEASE).await.unwrap().len(), 1, "whoever claimed it died");
    assert!(storage.claim_polls(10, LEASE).await.unwrap().is_empty());
}
