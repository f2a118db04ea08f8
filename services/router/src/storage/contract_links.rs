//! What every storage must do about links, run on all of them.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use posmesh_proto::router::v1::{Connection, Link, LinkEvent, LinkState};

use super::{
    MemoryStorage, NewLink, Put, StoredConnection,
    contract::{Subject, TENANT, contract, open},
};

contract! {
    a_link_is_read_back_and_only_the_one_that_it_replaces_is_replaced,
    a_link_goes_with_its_connection_and_none_comes_after_it,
    the_newest_events_are_kept_and_told_newest_first,
    of_many_writers_of_one_link_one_wins_and_a_reader_misses_nothing,
    a_replica_lives_for_its_lease,
    links_of_tenants_are_kept_apart,
}

async fn connect(storage: &Subject, tenant_id: &str, connection_id: &str) {
    let connection =
        Connection { connection_id: connection_id.into(), store_id: connection_id.into(), ..Connection::default() };
    let put = storage.put_connection(tenant_id, StoredConnection { connection, credentials: None }).await.unwrap();
    assert!(matches!(put, Put::Written(_)), "{put:?}");
}

fn link(connection_id: &str, replaces: i64, cause: &str) -> NewLink {
    let version = replaces + 1;
    NewLink {
        tenant_id: TENANT.into(),
        replaces,
        pos_revision: 1,
        link: Link {
            connection_id: connection_id.into(),
            state: LinkState::Offline.into(),
            cause: cause.into(),
            version,
            ..Link::default()
        },
        event: Some(LinkEvent { version, cause: cause.into(), ..LinkEvent::default() }),
    }
}

async fn put(storage: &Subject, link: NewLink) -> Option<i64> {
    storage.put_links(&[link]).await.unwrap()[0]
}

async fn versions(storage: &Subject, connection_id: &str, below: i64, limit: usize) -> Vec<i64> {
    let events = storage.link_events(TENANT, connection_id, below, limit).await.unwrap();
    events.into_iter().map(|event| event.version).collect()
}

async fn a_link_is_read_back_and_only_the_one_that_it_replaces_is_replaced(storage: Subject) {
    for id in ["a", "b"] {
        connect(&storage, TENANT, id).await;
    }
    let (a, b) = (link("a", 0, "X"), NewLink { event: None, ..link("b", 0, "Y") });
    let written = storage.put_links(&[a.clone(), link("c", 0, "no connection"), b.clone()]).await.unwrap();
    let [Some(of_a), None, Some(of_b)] = written[..] else { panic!("{written:?}") };
    assert!(of_a < of_b);
    let read = storage.changed_links(0, 10).await.unwrap();
    assert_eq!(read, [a.stored(of_a), b.stored(of_b)]);
    assert_eq!(storage.changed_links(of_a, 10).await.unwrap(), [b.stored(of_b)]);
    assert_eq!(put(&storage, link("a", 0, "late")).await, None);
    assert_eq!(put(&storage, link("a", 2, "early")).await, None);
    let newer = link("a", 1, "Z");
    let change = put(&storage, newer.clone()).await.unwrap();
    assert!(change > of_b);
    assert_eq!(storage.changed_links(of_b, 10).await.unwrap(), [newer.stored(change)]);
    assert_eq!(versions(&storage, "a", i64::MAX, 10).await, [2, 1], "what was not written left no event");
    assert_eq!(versions(&storage, "b", i64::MAX, 10).await, [0; 0]);
}

async fn a_link_goes_with_its_connection_and_none_comes_after_it(storage: Subject) {
    assert_eq!(storage.last_link_change().await.unwrap(), 0);
    connect(&storage, TENANT, "a").await;
    let change = put(&storage, link("a", 0, "X")).await.unwrap();
    assert!(storage.delete_connection(TENANT, "a").await.unwrap());
    assert_eq!(storage.changed_links(0, 10).await.unwrap(), []);
    assert!(storage.last_link_change().await.unwrap() >= change, "numbers do not go with the links");
    assert_eq!(versions(&storage, "a", i64::MAX, 10).await, [0; 0]);
    assert_eq!(put(&storage, link("a", 1, "late")).await, None);
    connect(&storage, TENANT, "a").await;
    assert_eq!(storage.changed_links(0, 10).await.unwrap(), []);
    assert!(put(&storage, link("a", 0, "anew")).await.is_some());
}

async fn the_newest_events_are_kept_and_told_newest_first(storage: Subject) {
    connect(&storage, TENANT, "a").await;
    // There are gaps between versions.
    for n in 0..1050 {
        let mut link = link("a", n, "X");
        link.link.version *= 10;
        link.event = Some(LinkEvent { version: link.link.version, ..LinkEvent::default() });
        assert!(put(&storage, link).await.is_some());
    }
    let kept = versions(&storage, "a", i64::MAX, 2000).await;
    assert_eq!((kept.len(), kept[0], kept[999]), (1000, 10_500, 510));
    assert_eq!(versions(&storage, "a", 5000, 3).await, [4990, 4980, 4970]);
}

async fn of_many_writers_of_one_link_one_wins_and_a_reader_misses_nothing(storage: Subject) {
    for id in 0..8 {
        connect(&storage, TENANT, &format!("c-{id}")).await;
    }
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let storage = Arc::clone(&storage);
            tokio::spawn(async move {
                let all: Vec<NewLink> = (0..8).map(|id| link(&format!("c-{id}"), 0, "X")).collect();
                storage.put_links(&all).await.unwrap().into_iter().flatten().count()
            })
        })
        .collect();
    let (mut seen, mut last) = (0, 0);
    let begun = std::time::Instant::now();
    while seen < 8 {
        assert!(begun.elapsed() < Duration::from_secs(30), "only {seen} of 8 were seen");
        tokio::task::yield_now().await;
        for changed in storage.changed_links(last, 3).await.unwrap() {
            assert!(changed.change > last);
            last = changed.change;
            seen += 1;
        }
    }
    let mut won = 0;
    for writer in writers {
        won += writer.await.unwrap();
    }
    assert_eq!(won, 8);
}

async fn a_replica_lives_for_its_lease(storage: Subject) {
    let lease = Duration::from_secs(60);
    assert_eq!(storage.renew_replica("a", lease).await.unwrap(), ["a"]);
    assert_eq!(storage.renew_replica("b", lease).await.unwrap(), ["a", "b"]);
    storage.drop_replica("a").await.unwrap();
    storage.drop_replica("a").await.unwrap();
    storage.renew_replica("b", Duration::from_millis(1)).await.unwrap();
    let begun = std::time::Instant::now();
    while storage.renew_replica("c", lease).await.unwrap() != ["c"] {
        assert!(begun.elapsed() < Duration::from_secs(5), "the lease of 1 ms never ends");
    }
}

async fn links_of_tenants_are_kept_apart(storage: Subject) {
    connect(&storage, TENANT, "a").await;
    connect(&storage, "other", "a").await;
    put(&storage, link("a", 0, "X")).await.unwrap();
    put(&storage, NewLink { tenant_id: "other".into(), ..link("a", 0, "Y") }).await.unwrap();
    assert!(storage.delete_connection("other", "a").await.unwrap());
    let left = storage.changed_links(0, 10).await.unwrap();
    assert_eq!(left.iter().map(|stored| stored.link.cause.as_str()).collect::<Vec<_>>(), ["X"]);
    assert_eq!(versions(&storage, "a", i64::MAX, 10).await, [1]);
}
