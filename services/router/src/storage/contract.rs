//! What every storage must do, run on all of them.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use posmesh_kit::time;
use posmesh_kit_db::DatabaseConfig;
use posmesh_proto::{
    adapter::v1::AdapterDescriptor,
    router::v1::{Connection, RegisterAdapterRequest},
};

use super::{MemoryStorage, Put, Sealed, Storage, StoredConnection};

pub(super) type Subject = Arc<dyn Storage>;

pub(super) const TENANT: &str = "tenant";
const LEASE: Duration = Duration::from_secs(60);

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

pub(super) use contract;

contract! {
    an_instance_lives_for_its_lease_and_each_renewal_counts,
    an_instance_that_leaves_is_gone_and_its_descriptor_stays,
    the_last_descriptor_of_a_vendor_is_remembered,
    a_connection_is_read_back_with_its_revision_and_its_sealed_credentials,
    only_the_current_revision_is_replaced,
    two_connections_of_a_store_never_serve_the_same_product_and_mode,
    of_many_writers_of_one_revision_one_wins,
    of_many_overlapping_connections_one_is_taken,
    a_deleted_connection_is_gone_and_its_revisions_go_on,
    a_connection_that_leads_elsewhere_is_still_known_as_it_was,
    connections_are_listed_by_id_and_paged,
    a_reader_that_follows_the_changes_misses_none_of_many_writers,
    tenants_do_not_see_each_other,
}

pub(super) async fn open(url: String) -> Subject {
    super::open(&DatabaseConfig { url, max_connections: 8, acquire_timeout: Duration::from_secs(30) }).await.unwrap()
}

fn registration(instance_id: &str, version: &str) -> RegisterAdapterRequest {
    RegisterAdapterRequest {
        instance_id: instance_id.into(),
        endpoint: "http://10.0.0.7:50061".into(),
        descriptor: Some(AdapterDescriptor {
            vendor: "acme".into(),
            adapter_version: version.into(),
            ..AdapterDescriptor::default()
        }),
        connection_ids: vec!["c-1".into()],
    }
}

fn connection(id: &str, store_id: &str, products: &[i32]) -> Connection {
    Connection {
        connection_id: id.into(),
        store_id: store_id.into(),
        vendor: "acme".into(),
        products: products.to_vec(),
        ..Connection::default()
    }
}

fn bare(connection: Connection) -> StoredConnection {
    StoredConnection { connection, credentials: None }
}

async fn write(storage: &Subject, connection: Connection) -> Connection {
    match storage.put_connection(TENANT, bare(connection)).await.unwrap() {
        Put::Written(written) => written,
        refused => panic!("{refused:?}"),
    }
}

async fn live_ids(storage: &Subject) -> Vec<String> {
    storage.live_instances().await.unwrap().into_iter().map(|i| i.registration.instance_id).collect()
}

async fn an_instance_lives_for_its_lease_and_each_renewal_counts(storage: Subject) {
    let before_ms = time::now_unix_ms();
    storage.register(&registration("b", "1"), LEASE).await.unwrap();
    storage.register(&registration("a", "1"), LEASE).await.unwrap();
    storage.register(&registration("a", "1"), LEASE).await.unwrap();
    let live = storage.live_instances().await.unwrap();
    let seen: Vec<(&str, i64)> = live.iter().map(|i| (i.registration.instance_id.as_str(), i.renewals)).collect();
    assert_eq!(seen, [("a", 2), ("b", 1)]);
    assert_eq!(live[0].registration, registration("a", "1"));
    // The database runs on this machine: its clock is ours.
    assert!((59_000..=62_000).contains(&(live[0].lease_expire_ms - before_ms)), "{}", live[0].lease_expire_ms);

    storage.register(&registration("a", "1"), Duration::from_millis(1)).await.unwrap();
    let begun = std::time::Instant::now();
    while live_ids(&storage).await != ["b"] {
        assert!(begun.elapsed() < Duration::from_secs(5), "the lease of 1 ms never ends");
    }
    storage.register(&registration("a", "1"), LEASE).await.unwrap();
    assert_eq!(live_ids(&storage).await, ["a", "b"]);
}

async fn an_instance_that_leaves_is_gone_and_its_descriptor_stays(storage: Subject) {
    storage.register(&registration("a", "1"), LEASE).await.unwrap();
    storage.deregister("a").await.unwrap();
    storage.deregister("a").await.unwrap();
    assert_eq!(live_ids(&storage).await, [""; 0]);
    assert_eq!(storage.descriptors().await.unwrap(), [registration("a", "1").descriptor.unwrap()]);
}

async fn the_last_descriptor_of_a_vendor_is_remembered(storage: Subject) {
    for version in ["1", "2"] {
        storage.register(&registration(version, version), LEASE).await.unwrap();
    }
    assert_eq!(storage.descriptors().await.unwrap(), [registration("2", "2").descriptor.unwrap()]);
}

async fn a_connection_is_read_back_with_its_revision_and_its_sealed_credentials(storage: Subject) {
    let credentials = Some(Sealed { key_id: "k1".into(), ciphertext: vec![0, 1, 255] });
    let given = StoredConnection { connection: connection("c-1", "s", &[1]), credentials: credentials.clone() };
    let written = Connection { revision: 1, pos_revision: 1, ..given.connection.clone() };
    assert_eq!(storage.put_connection(TENANT, given).await.unwrap(), Put::Written(written.clone()));
    let stored = StoredConnection { connection: written, credentials };
    assert_eq!(storage.connection(TENANT, "c-1").await.unwrap(), Some(stored.clone()));
    assert_eq!(storage.connection(TENANT, "c-2").await.unwrap(), None);
    let changed = storage.changed_connections(0, 10).await.unwrap();
    assert_eq!(changed.len(), 1);
    assert_eq!((changed[0].tenant_id.as_str(), changed[0].connection_id.as_str()), (TENANT, "c-1"));
    assert_eq!(changed[0].stored, Some(stored));
}

async fn only_the_current_revision_is_replaced(storage: Subject) {
    let first = write(&storage, connection("c-1", "s", &[])).await;
    let again = storage.put_connection(TENANT, bare(connection("c-1", "s", &[]))).await.unwrap();
    assert_eq!(again, Put::Conflict { current: 1 });
    let absent = Connection { revision: 4, ..connection("c-2", "other", &[]) };
    assert_eq!(storage.put_connection(TENANT, bare(absent)).await.unwrap(), Put::Conflict { current: 0 });
    assert_eq!(write(&storage, first.clone()).await.revision, 2);
    assert_eq!(storage.put_connection(TENANT, bare(first)).await.unwrap(), Put::Conflict { current: 2 });
    assert_eq!(storage.changed_connections(0, 10).await.unwrap().len(), 1, "a refused write changes nothing");
}

async fn two_connections_of_a_store_never_serve_the_same_product_and_mode(storage: Subject) {
    let table = write(&storage, connection("table", "s", &[1])).await;
    write(&storage, connection("to-go", "s", &[2])).await;
    let everything = storage.put_connection(TENANT, bare(connection("all", "s", &[]))).await.unwrap();
    assert_eq!(everything, Put::Overlaps { connection_id: "table".into() });
    // In another store, and over itself, nothing overlaps.
    write(&storage, connection("elsewhere", "s2", &[])).await;
    write(&storage, Connection { products: vec![1, 3], ..table }).await;
    let kiosk = storage.put_connection(TENANT, bare(connection("kiosk", "s", &[3]))).await.unwrap();
    assert_eq!(kiosk, Put::Overlaps { connection_id: "table".into() });
}

async fn of_many_writers_of_one_revision_one_wins(storage: Subject) {
    write(&storage, connection("c-1", "s", &[])).await;
    let writers = (0..8).map(|_| {
        let storage = Arc::clone(&storage);
        let stored = bare(Connection { revision: 1, ..connection("c-1", "s", &[]) });
        tokio::spawn(async move { storage.put_connection(TENANT, stored).await.unwrap() })
    });
    let mut won = 0;
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Put::Written(_) => won += 1,
            refused => assert_eq!(refused, Put::Conflict { current: 2 }),
        }
    }
    assert_eq!(won, 1);
}

async fn of_many_overlapping_connections_one_is_taken(storage: Subject) {
    let writers = (0..8).map(|n| {
        let storage = Arc::clone(&storage);
        let stored = bare(connection(&format!("c-{n}"), "s", &[]));
        tokio::spawn(async move { storage.put_connection(TENANT, stored).await.unwrap() })
    });
    let mut won = 0;
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Put::Written(_) => won += 1,
            refused => assert!(matches!(refused, Put::Overlaps { .. }), "{refused:?}"),
        }
    }
    assert_eq!(won, 1);
}

async fn a_deleted_connection_is_gone_and_its_revisions_go_on(storage: Subject) {
    let credentials = Some(Sealed { key_id: "k1".into(), ciphertext: vec![7] });
    let given = StoredConnection { connection: connection("c-1", "s", &[]), credentials };
    storage.put_connection(TENANT, given).await.unwrap();
    let seen = storage.changed_connections(0, 10).await.unwrap()[0].change;
    assert!(storage.delete_connection(TENANT, "c-1").await.unwrap());
    assert!(!storage.delete_connection(TENANT, "c-1").await.unwrap());
    assert_eq!(storage.connection(TENANT, "c-1").await.unwrap(), None);
    assert_eq!(storage.connections(TENANT, "", "", 10).await.unwrap(), []);
    let changed = storage.changed_connections(seen, 10).await.unwrap();
    assert_eq!((changed.len(), changed[0].stored.clone()), (1, None), "a reader learns of the deletion");
    // Its place is free, its revision is not used again, and its credentials do not come back.
    write(&storage, connection("c-2", "s", &[])).await;
    storage.delete_connection(TENANT, "c-2").await.unwrap();
    assert_eq!(write(&storage, connection("c-1", "s", &[])).await.revision, 2);
    assert_eq!(storage.connection(TENANT, "c-1").await.unwrap().unwrap().credentials, None);
}

async fn a_connection_that_leads_elsewhere_is_still_known_as_it_was(storage: Subject) {
    let credentials = |key: u8| Some(Sealed { key_id: "k1".into(), ciphertext: vec![key] });
    let at = |revision: i64, settings: &str, key: u8| StoredConnection {
        connection: Connection { revision, settings_json: settings.into(), ..connection("c-1", "s", &[]) },
        credentials: credentials(key),
    };
    let put = async |stored: StoredConnection| match storage.put_connection(TENANT, stored).await.unwrap() {
        Put::Written(written) => (written.revision, written.pos_revision),
        refused => panic!("{refused:?}"),
    };
    assert_eq!(put(at(0, r#"{"url":"old","n":1}"#, 1)).await, (1, 1));
    assert_eq!(put(at(1, r#"{"n":1,"url":"old"}"#, 2)).await, (2, 1), "the same settings, written otherwise");
    assert_eq!(put(at(2, r#"{"url":"new"}"#, 3)).await, (3, 3));
    let former = async |revision| {
        let stored = storage.former_connection(TENANT, "c-1", revision).await.unwrap();
        stored.map(|stored| (stored.connection.settings_json, stored.credentials))
    };
    let old = Some((r#"{"n":1,"url":"old"}"#.to_owned(), credentials(2)));
    assert_eq!(former(1).await, old, "with the last credentials that it had");
    assert_eq!(former(2).await, old);
    assert_eq!(former(3).await, None, "it leads there now");
    assert_eq!(storage.former_connection("other", "c-1", 1).await.unwrap(), None);

    assert!(storage.delete_connection(TENANT, "c-1").await.unwrap());
    assert_eq!(former(3).await, Some((r#"{"url":"new"}"#.to_owned(), credentials(3))));
    assert_eq!(put(at(0, r#"{"url":"new"}"#, 4)).await, (4, 4), "what was deleted begins anew");
    assert_eq!(former(3).await.unwrap().1, credentials(3));
    assert_eq!(former(4).await, None);
}

async fn connections_are_listed_by_id_and_paged(storage: Subject) {
    for (id, store_id) in [("c", "s1"), ("a", "s2"), ("B-not", "s9"), ("b", "s3")] {
        write(&storage, connection(id, store_id, &[])).await;
    }
    write(&storage, connection("d", "s1x", &[])).await;
    let ids = |listed: Vec<Connection>| listed.into_iter().map(|c| c.connection_id).collect::<Vec<_>>();
    let all = storage.connections(TENANT, "", "", 10).await.unwrap();
    // By bytes on every database, whatever its locale: upper case first.
    assert_eq!(ids(all), ["B-not", "a", "b", "c", "d"]);
    assert_eq!(ids(storage.connections(TENANT, "", "a", 2).await.unwrap()), ["b", "c"]);
    assert_eq!(ids(storage.connections(TENANT, "s1", "", 10).await.unwrap()), ["c"]);
}

async fn a_reader_that_follows_the_changes_misses_none_of_many_writers(storage: Subject) {
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let storage = Arc::clone(&storage);
            tokio::spawn(async move {
                for n in 0..5 {
                    let id = format!("c-{writer}-{n}");
                    write(&storage, connection(&id, &id, &[])).await;
                }
            })
        })
        .collect();
    let (mut seen, mut last) = (BTreeMap::new(), 0);
    let begun = std::time::Instant::now();
    while seen.len() < 40 {
        assert!(begun.elapsed() < Duration::from_secs(30), "only {} of 40 were seen", seen.len());
        tokio::task::yield_now().await;
        for changed in storage.changed_connections(last, 3).await.unwrap() {
            assert!(changed.change > last);
            last = changed.change;
            seen.insert(changed.connection_id, changed.stored);
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn tenants_do_not_see_each_other(storage: Subject) {
    write(&storage, connection("c-1", "s", &[])).await;
    assert_eq!(storage.connection("other", "c-1").await.unwrap(), None);
    assert_eq!(storage.connections("other", "", "", 10).await.unwrap(), []);
    assert!(!storage.delete_connection("other", "c-1").await.unwrap());
    let theirs = storage.put_connection("other", bare(connection("c-1", "s", &[]))).await.unwrap();
    assert!(matches!(theirs, Put::Written(c) if c.revision == 1));
    assert_eq!(storage.changed_connections(0, 10).await.unwrap().len(), 2);
}
