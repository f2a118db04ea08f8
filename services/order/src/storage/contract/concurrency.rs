//! Sentences that one caller alone cannot prove. On PostgreSQL each task has its own connection.

use std::{collections::HashSet, sync::Mutex};

use super::*;

/// Runs `count` tasks at once.
async fn at_once<R: Send + 'static, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<R>
where
    F: Future<Output = R> + Send + 'static,
{
    let tasks = (0..count).map(|index| tokio::spawn(task(index)));
    futures_util::future::join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

pub(super) async fn rounds_placed_at_once_get_different_places_and_one_is_in_flight(storage: Subject) {
    for visit in 0..10 {
        let check_id = open(&storage, &format!("t{visit}")).await.check_id;
        let rounds = at_once(2, |guest| {
            let (storage, new) = (Arc::clone(&storage), new_round(&format!("{visit}-{guest}"), &check_id));
            async move { take(&storage, new).await }
        });
        let mut places: Vec<_> = rounds.await.iter().map(|order| (order.round, order.state())).collect();
        places.sort_by_key(|(round, _)| *round);
        assert_eq!(places, [(1, OrderState::Sending), (2, OrderState::Held)]);
    }
}

pub(super) async fn a_request_repeated_at_once_makes_one_order(storage: Subject) {
    let check_id = open(&storage, "t1").await.check_id;
    for repeated in 0..10 {
        let of_check = if repeated % 2 == 0 { "" } else { check_id.as_str() };
        let placements = at_once(4, |caller| {
            let (storage, mut new) = (Arc::clone(&storage), new_round(&repeated.to_string(), of_check));
            new.order.order_id = format!("{repeated}-{caller}");
            async move { place(&storage, new).await }
        });
        let (mut taken, mut ids) = (0, HashSet::new());
        for placement in placements.await {
            let order = match placement {
                Placement::Taken { order, .. } => {
                    taken += 1;
                    order
                }
                Placement::Known { order, same_request: true } => order,
                other => panic!("{other:?}"),
            };
            ids.insert(order.order_id);
        }
        assert_eq!((taken, ids.len()), (1, 1));
    }
    assert_eq!(read_check(&storage, &check_id).await.rounds, 5);
}

pub(super) async fn of_a_change_and_a_claim_at_once_one_wins(storage: Subject) {
    for index in 0..20 {
        let new = NewOrder { lease: Duration::ZERO, ..new_order(&index.to_string()) };
        let order = take(&storage, new).await;
        let change = change(&storage, to(&order, OrderState::Placed));
        let room = Room::of(10);
        let (changed, claimed) = tokio::join!(change, storage.claim_due("replica-2", LEASE, &room));
        let claimed = claimed.unwrap();
        match changed {
            Changed::Done { .. } => assert_eq!(claimed, []),
            Changed::Conflict(now) => assert_eq!(*now, claimed[0].order),
            Changed::Missing => panic!(),
        }
        assert_eq!(read(&storage, &order.order_id).await.version, 2);
    }
}

pub(super) async fn rounds_that_come_and_go_at_once_are_sent_one_by_one_in_order(storage: Subject) {
    const ROUNDS: usize = 24;
    let check_id = open(&storage, "t1").await.check_id;
    let sent = Arc::new(Mutex::new(Vec::new()));
    // Each guest places rounds and brings to its end whatever becomes in flight by its doing.
    at_once(4, |guest| {
        let (storage, check_id, sent) = (Arc::clone(&storage), check_id.clone(), Arc::clone(&sent));
        async move {
            for nth in 0..ROUNDS / 4 {
                let round = take(&storage, new_round(&format!("{guest}-{nth}"), &check_id)).await;
                let mut in_flight = (round.state() == OrderState::Sending).then_some(round);
                while let Some(round) = in_flight {
                    sent.lock().unwrap().push(round.round);
                    in_flight = end(&storage, &round).await;
                }
            }
        }
    })
    .await;
    let all: Vec<i32> = (1..=ROUNDS as i32).collect();
    assert_eq!(*sent.lock().unwrap(), all);
    assert!(!storage.has_round_in_flight(TENANT, &check_id).await.unwrap());
}
