//! Watching, and the cache that other services have.

use std::{collections::BTreeMap, time::Duration};

use posmesh_kit::{failure, store_cache::StoreCache};
use posmesh_proto::store::v1::Store;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Code;

use crate::support::{DEADLINE, Server, name, sqlite, store};

fn ids(stores: &[Store]) -> Vec<(&str, i64)> {
    stores.iter().map(|store| (store.store_id.as_str(), store.revision)).collect()
}

#[tokio::test]
async fn a_watch_of_nothing_is_current_at_once() {
    let (server, _folder) = sqlite().await;
    let first = server.watch("").await.unwrap().next().await.unwrap();
    assert!(first.current && first.stores.is_empty() && !first.resume_token.is_empty());
}

#[tokio::test]
async fn a_watch_sends_every_store_and_then_each_change() {
    let (server, _folder) = sqlite().await;
    for store_id in ["b", "a"] {
        server.put(store(store_id, 0)).await.unwrap();
    }
    let mut watch = server.watch("").await.unwrap();
    let snapshot = watch.next().await.unwrap();
    assert!(snapshot.current);
    assert_eq!(ids(&snapshot.stores), [("b", 1), ("a", 1)]);
    server.put(store("b", 1)).await.unwrap();
    let change = watch.next().await.unwrap();
    assert!(change.current);
    assert_eq!(ids(&change.stores), [("b", 2)]);
}

#[tokio::test]
async fn a_large_snapshot_comes_in_parts_of_which_only_the_last_is_current() {
    let (server, _folder) = sqlite().await;
    for i in 0..120 {
        server.put(store(&format!("s{i}"), 0)).await.unwrap();
    }
    let mut watch = server.watch("").await.unwrap();
    let (mut parts, mut seen) = (Vec::new(), BTreeMap::new());
    while !parts.last().is_some_and(|current| *current) {
        let part = watch.next().await.unwrap();
        parts.push(part.current);
        seen.extend(part.stores.into_iter().map(|store| (store.store_id, store.revision)));
    }
    assert_eq!((parts, seen.len()), (vec![false, false, true], 120));
}

#[tokio::test]
async fn a_resumed_watch_sends_only_what_changed_since() {
    let (server, _folder) = sqlite().await;
    for store_id in ["a", "b"] {
        server.put(store(store_id, 0)).await.unwrap();
    }
    let token = server.watch("").await.unwrap().next().await.unwrap().resume_token;
    server.put(store("b", 1)).await.unwrap();
    let first = server.watch(&token).await.unwrap().next().await.unwrap();
    assert!(first.current);
    assert_eq!(ids(&first.stores), [("b", 2)]);
    let again = server.watch(&first.resume_token).await.unwrap().next().await.unwrap();
    assert!(again.current && again.stores.is_empty());
    assert_eq!(again.resume_token, first.resume_token);
}

#[tokio::test]
async fn a_resume_token_that_this_database_cannot_have_given_is_refused() {
    let (server, _folder) = sqlite().await;
    let (other, _other_folder) = sqlite().await;
    for revision in 0..5 {
        other.put(store("a", revision)).await.unwrap();
    }
    // As after a restore from a backup: the place lies ahead of everything.
    let ahead = other.watch("").await.unwrap().next().await.unwrap().resume_token;
    for token in [ahead.as_str(), "x", "\0"] {
        let refused = server.watch(token).await.map(|_| ()).unwrap_err();
        assert_eq!(
            (refused.code(), failure::reason(&refused).as_str()),
            (Code::InvalidArgument, "RESUME_TOKEN_INVALID")
        );
    }
}

#[tokio::test]
async fn a_stopping_server_ends_its_watches_with_an_error_after_which_they_resume_elsewhere() {
    let (server, folder) = sqlite().await;
    server.put(store("a", 0)).await.unwrap();
    let mut watch = server.watch("").await.unwrap();
    let token = watch.next().await.unwrap().resume_token;
    server.stop.cancel();
    let ended = watch.next().await.unwrap_err();
    assert_eq!((ended.code(), failure::reason(&ended).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    tokio::time::timeout(DEADLINE, server.ended).await.unwrap().unwrap();

    let successor = Server::start(&format!("sqlite:{}", folder.path().display()), DEADLINE).await;
    successor.put(store("b", 0)).await.unwrap();
    let resumed = successor.watch(&token).await.unwrap().next().await.unwrap();
    assert_eq!(ids(&resumed.stores), [("b", 1)]);
}

#[tokio::test]
async fn a_watch_sees_what_another_replica_writes() {
    let url =
        tokio::task::spawn_blocking(|| posmesh_counterparts::Postgres::shared().unwrap().create_database().unwrap());
    let url = url.await.unwrap();
    let poll = Duration::from_millis(50);
    let (one, other) = tokio::join!(Server::start(&url, poll), Server::start(&url, poll));
    let mut watch = one.watch("").await.unwrap();
    watch.next().await.unwrap();
    other.put_brand("izakaya").await;
    other.put(store("a", 0)).await.unwrap();
    assert_eq!(ids(&watch.next().await.unwrap().stores), [("a", 1)]);
}

#[tokio::test]
async fn the_cache_of_another_service_sees_a_change_made_later() {
    let (server, _folder) = sqlite().await;
    server.put(store("shibuya", 0)).await.unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let cache = StoreCache::start(server.channel(), &tasks, &stop);
    assert_eq!(cache.get("shibuya").await.unwrap().revision, 1);
    server.put(Store { name: name("新渋谷店"), ..store("shibuya", 1) }).await.unwrap();
    let changed = async {
        while cache.get("shibuya").await.unwrap().name != name("新渋谷店") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, changed).await.unwrap();
    assert_eq!(cache.get("ueno").await.unwrap_err().reason(), "STORE_NOT_FOUND");
    assert_eq!(cache.get("No Such Form").await.unwrap_err().reason(), "STORE_NOT_FOUND");
    stop.cancel();
    tasks.close();
    tokio::time::timeout(DEADLINE, tasks.wait()).await.unwrap();
}
