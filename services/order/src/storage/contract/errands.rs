use super::*;
use crate::storage::{Errand, ErrandKind, Next, Wake};

fn wake(since_ms: i64) -> Wake {
    Wake {
        tenant_id: TENANT.into(),
        connection_id: "till".into(),
        kind: ErrandKind::Poll,
        store_id: "shibuya".into(),
        since_ms,
        due_in: Duration::ZERO,
    }
}

async fn claim(storage: &Subject, lease: Duration) -> Vec<Errand> {
    storage.claim_errands("replica-2", lease, 10).await.unwrap()
}

async fn claim_one(storage: &Subject) -> Errand {
    let mut claimed = claim(storage, LEASE).await;
    assert_eq!(claimed.len(), 1);
    claimed.remove(0)
}

pub(super) async fn an_errand_is_done_by_one_replica_at_a_time(storage: Subject) {
    storage.wake(&[wake(5)]).await.unwrap();
    let errand = claim_one(&storage).await;
    let expected = (TENANT, "till", ErrandKind::Poll, "shibuya", 5, true, "", 0);
    let Errand { tenant_id, connection_id, kind, store_id, since_ms, woken, progress, failures, .. } = &errand;
    assert_eq!(
        (&**tenant_id, &**connection_id, *kind, &**store_id, *since_ms, *woken, &**progress, *failures),
        expected
    );
    assert_eq!(claim(&storage, LEASE).await, []);
    // Another kind of the same connection is another errand.
    storage.wake(&[Wake { kind: ErrandKind::Reconcile, ..wake(5) }]).await.unwrap();
    assert_eq!(claim_one(&storage).await.kind, ErrandKind::Reconcile);
}

pub(super) async fn an_errand_whose_replica_died_is_done_by_another_and_the_first_writes_nothing(storage: Subject) {
    storage.wake(&[wake(5)]).await.unwrap();
    let mut dead = claim(&storage, Duration::ZERO).await.remove(0);
    let heir = claim_one(&storage).await;
    assert_eq!((heir.since_ms, heir.woken, heir.version), (5, false, dead.version + 1));
    dead.progress = "late".into();
    assert!(!storage.put_errand(&dead, Next::Again(Duration::ZERO)).await.unwrap());
    assert_eq!(claim(&storage, LEASE).await, []);
    assert!(storage.put_errand(&heir, Next::Again(Duration::ZERO)).await.unwrap());
    assert_eq!(claim_one(&storage).await.progress, "");
}

pub(super) async fn how_far_an_errand_came_is_kept(storage: Subject) {
    storage.wake(&[wake(5)]).await.unwrap();
    let mut errand = claim_one(&storage).await;
    (errand.progress, errand.failures, errand.since_ms) = ("cursor-7".into(), 3, 9);
    assert!(storage.put_errand(&errand, Next::GoOn(LEASE)).await.unwrap());
    assert_eq!(claim(&storage, LEASE).await, [], "its replica goes on with it");
    assert!(storage.put_errand(&errand, Next::Again(Duration::ZERO)).await.unwrap());
    let again = claim_one(&storage).await;
    assert_eq!((&*again.progress, again.failures, again.since_ms, again.woken), ("cursor-7", 3, 9, false));
    assert!(storage.put_errand(&again, Next::Again(LEASE)).await.unwrap());
    assert_eq!(claim(&storage, LEASE).await, []);
}

pub(super) async fn an_errand_rests_until_it_is_woken(storage: Subject) {
    storage.wake(&[wake(5)]).await.unwrap();
    let errand = claim_one(&storage).await;
    assert!(storage.put_errand(&Errand { since_ms: 100, ..errand }, Next::Rest).await.unwrap());
    assert_eq!(claim(&storage, LEASE).await, []);
    storage.wake(&[wake(200)]).await.unwrap();
    let again = claim_one(&storage).await;
    assert_eq!((again.since_ms, again.woken), (100, true), "the earliest moment counts");
}

pub(super) async fn an_errand_woken_while_it_is_done_is_done_again(storage: Subject) {
    storage.wake(&[wake(50)]).await.unwrap();
    let errand = claim_one(&storage).await;
    storage.wake(&[wake(7)]).await.unwrap();
    storage.wake(&[wake(8)]).await.unwrap();
    assert_eq!(claim(&storage, LEASE).await, [], "whoever does it is not disturbed");
    assert!(storage.put_errand(&errand, Next::Rest).await.unwrap());
    let again = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match claim(&storage, LEASE).await.pop() {
                Some(again) => return again,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let again = again.await.unwrap();
    assert_eq!((again.since_ms, again.woken), (7, true));
}

pub(super) async fn waking_brings_an_errand_forward_and_never_puts_it_off(storage: Subject) {
    storage.wake(&[Wake { due_in: LEASE, ..wake(5) }]).await.unwrap();
    assert_eq!(claim(&storage, LEASE).await, []);
    storage.wake(&[wake(5)]).await.unwrap();
    storage.wake(&[Wake { due_in: LEASE, ..wake(5) }]).await.unwrap();
    claim_one(&storage).await;
}

pub(super) async fn concurrent_replicas_never_get_the_same_errand(storage: Subject) {
    let wakes: Vec<Wake> = (10..50).map(|number| Wake { connection_id: format!("till-{number}"), ..wake(5) }).collect();
    storage.wake(&wakes).await.unwrap();
    let replicas = (0..4).map(|replica| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let some = storage.claim_errands(&replica.to_string(), LEASE, 3).await.unwrap();
                if some.is_empty() {
                    return mine;
                }
                mine.extend(some.into_iter().map(|errand| errand.connection_id));
            }
        })
    });
    let mut all: Vec<String> =
        futures_util::future::join_all(replicas).await.into_iter().flat_map(Result::unwrap).collect();
    let claims = all.len();
    all.sort();
    all.dedup();
    assert_eq!((claims, all.len()), (40, 40));
}
