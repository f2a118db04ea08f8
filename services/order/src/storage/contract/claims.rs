use posmesh_kit::time::now_unix_ms;

use super::*;

/// Due at once.
fn due(request_id: &str) -> NewOrder {
    NewOrder { lease: Duration::ZERO, ..new_order(request_id) }
}

pub(super) async fn only_what_is_due_is_claimed_and_oldest_first(storage: Subject) {
    take(&storage, new_order("later")).await;
    for request_id in ["c", "a", "b"] {
        take(&storage, due(request_id)).await;
        // Due times are kept in milliseconds: the next one falls into another.
        let placed_ms = now_unix_ms();
        while now_unix_ms() <= placed_ms {
            tokio::task::yield_now().await;
        }
    }
    let mut claimed = Vec::new();
    for limit in [1, 10] {
        let some = storage.claim_due("replica-2", LEASE, &Room::of(limit)).await.unwrap();
        assert!(some.len() <= limit);
        let mut ids: Vec<String> = some.into_iter().map(|claimed| claimed.order.order_id).collect();
        ids.sort();
        claimed.push(ids);
    }
    assert_eq!(claimed, [vec!["order-of-c"], vec!["order-of-a", "order-of-b"]]);
}

pub(super) async fn a_claim_counts_the_version_up_and_fences_the_old_owner(storage: Subject) {
    let order = take(&storage, due("a")).await;
    let claimed = storage.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap().remove(0);
    assert_eq!((&*claimed.tenant_id, claimed.order.clone()), (TENANT, Order { version: 2, ..order.clone() }));
    assert_eq!(read(&storage, "order-of-a").await, claimed.order);
    let late = change(&storage, to(&order, OrderState::Placed)).await;
    assert_eq!(late, Changed::Conflict(Box::new(claimed.order.clone())));
    let settled = change(&storage, to(&claimed.order, OrderState::Placed)).await;
    assert_eq!(settled, Changed::Done { next_round: None });
}

pub(super) async fn a_claimed_order_is_left_alone_until_its_lease_ends(storage: Subject) {
    take(&storage, due("a")).await;
    assert_eq!(storage.claim_due("replica-2", Duration::ZERO, &Room::of(10)).await.unwrap().len(), 1);
    let again = storage.claim_due("replica-3", LEASE, &Room::of(10)).await.unwrap();
    assert_eq!(again[0].order.version, 3);
    assert_eq!(storage.claim_due("replica-4", LEASE, &Room::of(10)).await.unwrap(), []);
}

pub(super) async fn an_order_that_is_never_due_is_never_claimed(storage: Subject) {
    let order = take(&storage, due("a")).await;
    change(&storage, to(&order, OrderState::Placed)).await;
    let waiting = take(&storage, due("b")).await;
    change(&storage, OrderChange { due_in: Some(LEASE), ..to(&waiting, OrderState::Pending) }).await;
    let over = take(&storage, due("c")).await;
    change(&storage, OrderChange { due_in: Some(Duration::ZERO), ..to(&over, OrderState::Pending) }).await;
    let claimed = storage.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap();
    let ids: Vec<&str> = claimed.iter().map(|claimed| claimed.order.order_id.as_str()).collect();
    assert_eq!(ids, ["order-of-c"]);
}

pub(super) async fn a_claimed_round_comes_with_its_check(storage: Subject) {
    let check = open(&storage, "t1").await;
    let round = NewOrder { lease: Duration::ZERO, ..new_round("a", &check.check_id) };
    take(&storage, round).await;
    // It waits for the first one, as long as it may be held.
    let held = NewOrder { lease: LEASE, hold: Duration::ZERO, ..new_round("b", &check.check_id) };
    take(&storage, held).await;
    let claimed = storage.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap();
    assert_eq!(claimed.len(), 2);
    let now = Some(read_check(&storage, &check.check_id).await);
    assert!(claimed.iter().all(|claimed| claimed.check == now));
}

pub(super) async fn concurrent_claimers_never_get_the_same_order(storage: Subject) {
    let batch: Vec<NewOrder> = (0..100).map(|i| due(&i.to_string())).collect();
    storage.place_batch(batch).await;
    let claimers = (0..8).map(|claimer| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let some = storage.claim_due(&claimer.to_string(), LEASE, &Room::of(7)).await.unwrap();
                if some.is_empty() {
                    return mine;
                }
                mine.extend(some.into_iter().map(|claimed| claimed.order.order_id));
            }
        })
    });
    let claimed = futures_util::future::join_all(claimers).await.into_iter().flat_map(Result::unwrap);
    let mut claimed: Vec<String> = claimed.collect();
    let all = claimed.len();
    claimed.sort();
    claimed.dedup();
    assert_eq!((all, claimed.len()), (100, 100));
}

pub(super) async fn an_order_that_is_put_off_stays_as_it_is_and_falls_due_later(storage: Subject) {
    let order = take(&storage, new_order("a")).await;
    assert!(!storage.put_off(TENANT, "order-of-a", order.version + 1, Some(Duration::ZERO)).await.unwrap());
    assert!(storage.put_off(TENANT, "order-of-a", order.version, Some(LEASE)).await.unwrap());
    assert!(storage.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap().is_empty());
    assert_eq!(read(&storage, "order-of-a").await, order);
    assert!(storage.put_off(TENANT, "order-of-a", order.version, Some(Duration::ZERO)).await.unwrap());
    let claimed = storage.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap();
    let order = claimed.into_iter().next().unwrap().order;
    assert!(storage.put_off(TENANT, "order-of-a", order.version, None).await.unwrap());
    assert!(storage.claim_due("replica-2", Duration::ZERO, &Room::of(10)).await.unwrap().is_empty());
    assert!(!storage.put_off(TENANT, "order-of-a", order.version, Some(Duration::ZERO)).await.unwrap());
    assert!(storage.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap().is_empty(), "it is at rest");
}
