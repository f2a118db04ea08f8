//! What every storage must do, run on all of them.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use posmesh_kit_db::DatabaseConfig;
use posmesh_proto::store::v1::{Brand, Store};

use super::{ChangedStore, MemoryStorage, Put, Storage};

type Subject = Arc<dyn Storage>;

const TENANT: &str = "tenant";

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
                super::$clause(super::open(format!("sqlite:{}", folder.path().display())).await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $clause() {
                let url = tokio::task::spawn_blocking(|| {
                    posmesh_counterparts::Postgres::shared().unwrap().create_database().unwrap()
                });
                super::$clause(super::open(url.await.unwrap()).await).await;
            })+
        }
    };
}

contract! {
    what_was_written_is_read_back_with_its_revision,
    what_exists_is_not_created_again,
    only_the_current_revision_is_replaced,
    minus_one_replaces_whatever_is_there,
    a_store_needs_its_brand,
    a_refused_write_changes_nothing,
    of_many_writers_of_one_revision_one_wins,
    lists_are_by_id_and_paged,
    stores_are_listed_by_brand,
    a_changed_store_stands_once_where_it_changed_last,
    a_reader_that_follows_the_changes_misses_none_of_many_writers,
    tenants_do_not_see_each_other,
}

async fn open(url: String) -> Subject {
    super::open(&DatabaseConfig { url, max_connections: 8, acquire_timeout: Duration::from_secs(30) }).await.unwrap()
}

fn brand(brand_id: &str, revision: i64) -> Brand {
    Brand { brand_id: brand_id.into(), revision, ..Default::default() }
}

fn store(store_id: &str, revision: i64) -> Store {
    Store { store_id: store_id.into(), brand_id: "izakaya".into(), revision, ..Default::default() }
}

fn ids(stores: &[Store]) -> Vec<&str> {
    stores.iter().map(|store| store.store_id.as_str()).collect()
}

fn changes(changed: &[ChangedStore]) -> Vec<(&str, i64)> {
    changed.iter().map(|changed| (changed.store.store_id.as_str(), changed.store.revision)).collect()
}

async fn write(storage: &Subject, store: Store) -> Store {
    match storage.put_store(TENANT, store).await.unwrap() {
        Put::Written(store) => store,
        refused => panic!("{refused:?}"),
    }
}

async fn with_brand(storage: &Subject) {
    storage.put_brand(TENANT, brand("izakaya", -1)).await.unwrap();
}

async fn what_was_written_is_read_back_with_its_revision(storage: Subject) {
    let written = storage.put_brand(TENANT, brand("izakaya", 0)).await.unwrap();
    assert_eq!(written, Put::Written(brand("izakaya", 1)));
    assert_eq!(storage.brand(TENANT, "izakaya").await.unwrap(), Some(brand("izakaya", 1)));
    assert_eq!(storage.brand(TENANT, "other").await.unwrap(), None);
    let shibuya = Store { time_zone: "Asia/Tokyo".into(), ..store("shibuya", 0) };
    let written = write(&storage, shibuya.clone()).await;
    assert_eq!(written, Store { revision: 1, ..shibuya });
    assert_eq!(storage.store(TENANT, "shibuya").await.unwrap(), Some(written));
    assert_eq!(storage.store(TENANT, "other").await.unwrap(), None);
}

async fn what_exists_is_not_created_again(storage: Subject) {
    with_brand(&storage).await;
    write(&storage, store("shibuya", 0)).await;
    let again = storage.put_store(TENANT, store("shibuya", 0)).await.unwrap();
    assert_eq!(again, Put::Conflict { current: 1 });
    let again = storage.put_brand(TENANT, brand("izakaya", 0)).await.unwrap();
    assert_eq!(again, Put::Conflict { current: 1 });
}

async fn only_the_current_revision_is_replaced(storage: Subject) {
    with_brand(&storage).await;
    assert_eq!(storage.put_store(TENANT, store("shibuya", 1)).await.unwrap(), Put::Conflict { current: 0 });
    write(&storage, store("shibuya", 0)).await;
    assert_eq!(write(&storage, store("shibuya", 1)).await.revision, 2);
    for stale in [1, 3] {
        assert_eq!(storage.put_store(TENANT, store("shibuya", stale)).await.unwrap(), Put::Conflict { current: 2 });
    }
    assert_eq!(storage.put_brand(TENANT, brand("izakaya", 1)).await.unwrap(), Put::Written(brand("izakaya", 2)));
    assert_eq!(storage.put_brand(TENANT, brand("izakaya", 1)).await.unwrap(), Put::Conflict { current: 2 });
}

async fn minus_one_replaces_whatever_is_there(storage: Subject) {
    for revision in 1..=3 {
        assert_eq!(
            storage.put_brand(TENANT, brand("izakaya", -1)).await.unwrap(),
            Put::Written(brand("izakaya", revision))
        );
        assert_eq!(write(&storage, store("shibuya", -1)).await.revision, revision);
    }
}

async fn a_store_needs_its_brand(storage: Subject) {
    assert_eq!(storage.put_store(TENANT, store("shibuya", 0)).await.unwrap(), Put::NoSuchBrand);
    with_brand(&storage).await;
    write(&storage, store("shibuya", 0)).await;
    let moved = Store { brand_id: "other".into(), ..store("shibuya", 1) };
    assert_eq!(storage.put_store(TENANT, moved).await.unwrap(), Put::NoSuchBrand);
}

async fn a_refused_write_changes_nothing(storage: Subject) {
    with_brand(&storage).await;
    write(&storage, store("shibuya", 0)).await;
    let before = storage.changed_stores(TENANT, 0, 10).await.unwrap();
    let last = storage.last_change(TENANT).await.unwrap();
    let stale = Store { time_zone: "Asia/Seoul".into(), ..store("shibuya", 7) };
    storage.put_store(TENANT, stale).await.unwrap();
    storage.put_store(TENANT, Store { brand_id: "other".into(), ..store("ueno", 0) }).await.unwrap();
    assert_eq!(storage.changed_stores(TENANT, 0, 10).await.unwrap(), before);
    assert_eq!(storage.last_change(TENANT).await.unwrap(), last);
}

async fn of_many_writers_of_one_revision_one_wins(storage: Subject) {
    with_brand(&storage).await;
    let writers = (0..16).map(|_| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move { storage.put_store(TENANT, store("shibuya", 0)).await.unwrap() })
    });
    let answers: Vec<_> = futures_util::future::join_all(writers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Put::Written(_))).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Put::Conflict { current: 1 }).count(), 15);
}

async fn lists_are_by_id_and_paged(storage: Subject) {
    for brand_id in ["izakaya", "b-1", "b0", "b"] {
        storage.put_brand(TENANT, brand(brand_id, 0)).await.unwrap();
    }
    let brands = storage.brands(TENANT, "", 3).await.unwrap();
    assert_eq!(brands.iter().map(|b| b.brand_id.as_str()).collect::<Vec<_>>(), ["b", "b-1", "b0"]);
    assert_eq!(storage.brands(TENANT, "b0", 3).await.unwrap(), [brand("izakaya", 1)]);
    for store_id in ["c", "a", "b"] {
        write(&storage, store(store_id, 0)).await;
    }
    assert_eq!(ids(&storage.stores(TENANT, None, "", 2).await.unwrap()), ["a", "b"]);
    assert_eq!(ids(&storage.stores(TENANT, None, "b", 2).await.unwrap()), ["c"]);
    assert_eq!(ids(&storage.stores(TENANT, None, "c", 2).await.unwrap()), [""; 0]);
}

async fn stores_are_listed_by_brand(storage: Subject) {
    with_brand(&storage).await;
    storage.put_brand(TENANT, brand("ramen", 0)).await.unwrap();
    for store_id in ["a", "b", "c"] {
        write(&storage, store(store_id, 0)).await;
    }
    write(&storage, Store { brand_id: "ramen".into(), ..store("b", 1) }).await;
    assert_eq!(ids(&storage.stores(TENANT, Some("izakaya"), "", 9).await.unwrap()), ["a", "c"]);
    assert_eq!(ids(&storage.stores(TENANT, Some("izakaya"), "a", 9).await.unwrap()), ["c"]);
    assert_eq!(ids(&storage.stores(TENANT, Some("ramen"), "", 9).await.unwrap()), ["b"]);
    assert_eq!(ids(&storage.stores(TENANT, Some("sushi"), "", 9).await.unwrap()), [""; 0]);
}

async fn a_changed_store_stands_once_where_it_changed_last(storage: Subject) {
    assert_eq!(storage.last_change(TENANT).await.unwrap(), 0);
    with_brand(&storage).await;
    for store_id in ["c", "a", "b", "c"] {
        write(&storage, store(store_id, -1)).await;
    }
    let all = storage.changed_stores(TENANT, 0, 10).await.unwrap();
    assert_eq!(changes(&all), [("a", 1), ("b", 1), ("c", 2)]);
    assert_eq!(storage.last_change(TENANT).await.unwrap(), all[2].change);
    assert_eq!(storage.changed_stores(TENANT, 0, 2).await.unwrap(), all[..2]);
    assert_eq!(storage.changed_stores(TENANT, all[1].change, 2).await.unwrap(), all[2..]);
    assert_eq!(storage.changed_stores(TENANT, all[2].change, 2).await.unwrap(), []);
}

async fn a_reader_that_follows_the_changes_misses_none_of_many_writers(storage: Subject) {
    const WRITERS: usize = 6;
    const WRITES: usize = 15;
    with_brand(&storage).await;
    let writers = (0..WRITERS).map(|writer| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            for i in 0..WRITES {
                write(&storage, store(&format!("s{writer}-{i}"), 0)).await;
            }
        })
    });
    let writing = tokio::spawn(futures_util::future::join_all(writers.collect::<Vec<_>>()));
    let (mut after, mut seen) = (0, BTreeSet::new());
    loop {
        // Asked before the read: only what is empty after the last write is the end.
        let ended = writing.is_finished();
        let changed = storage.changed_stores(TENANT, after, 2).await.unwrap();
        if ended && changed.is_empty() {
            break;
        }
        for ChangedStore { change, store } in changed {
            after = change;
            seen.insert(store.store_id);
        }
        tokio::task::yield_now().await;
    }
    writing.await.unwrap().into_iter().for_each(Result::unwrap);
    assert_eq!(seen.len(), WRITERS * WRITES);
}

async fn tenants_do_not_see_each_other(storage: Subject) {
    with_brand(&storage).await;
    write(&storage, store("shibuya", 0)).await;
    let other = "other";
    assert_eq!(storage.brand(other, "izakaya").await.unwrap(), None);
    assert_eq!(storage.store(other, "shibuya").await.unwrap(), None);
    assert_eq!(storage.brands(other, "", 9).await.unwrap(), []);
    assert_eq!(storage.stores(other, None, "", 9).await.unwrap(), []);
    assert_eq!(storage.changed_stores(other, 0, 9).await.unwrap(), []);
    assert_eq!(storage.last_change(other).await.unwrap(), 0);
    assert_eq!(storage.put_store(other, store("shibuya", 0)).await.unwrap(), Put::NoSuchBrand);
    storage.put_brand(other, brand("izakaya", 0)).await.unwrap();
    assert_eq!(storage.put_store(other, store("shibuya", 0)).await.unwrap(), Put::Written(store("shibuya", 1)));
}
