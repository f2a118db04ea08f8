//! Progress that a POS does not push.

use std::{sync::Arc, time::Duration};

use posmesh_kit_db::DatabaseConfig;
use posmesh_order::storage::{self, Storage};
use posmesh_proto::{
    adapter::v1::{ListOrders, PosOrderProgress},
    order::v1::OrderState,
};

use crate::{
    fakes::{Pos, beer_to_go, config, replica},
    memory,
};

const INTERVAL: Duration = Duration::from_millis(100);

fn polled() -> Pos {
    let pos = Pos::default();
    pos.state.lock().unwrap().poll_interval = Some(INTERVAL);
    pos
}

/// Waits until somebody has polled with a cursor: from then on no event is missed.
async fn polling_has_begun(pos: &Pos) {
    while pos.state.lock().unwrap().polls.iter().all(|(_, cursor)| cursor.is_empty()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn sqlite(folder: &tempfile::TempDir) -> Arc<dyn Storage> {
    let url = format!("sqlite:{}", folder.path().display());
    let database = DatabaseConfig { url, max_connections: 4, acquire_timeout: Duration::from_secs(20) };
    storage::open(&database).await.unwrap()
}

#[tokio::test]
async fn an_order_moves_on_as_the_pos_is_polled_and_never_more_often_than_the_pos_allows() {
    let (pos, storage) = (polled(), memory());
    let (first, second) = (replica(storage.clone(), &pos, &config()), replica(storage, &pos, &config()));
    let order = first.place(beer_to_go("r1")).await.unwrap();
    polling_has_begun(&pos).await;
    pos.report(&order.order_id, PosOrderProgress::InPreparation);
    pos.report("of-somebody-else", PosOrderProgress::Ready);
    pos.report(&order.order_id, PosOrderProgress::Ready);
    second.until(&order.order_id, OrderState::Ready).await;
    let enough = pos.polls() + 5;
    while pos.polls() < enough {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let polls = pos.state.lock().unwrap().polls.clone();
    // Pages of one turn follow each other at once; a turn that brought nothing is followed by a pause.
    for pair in polls.windows(2).filter(|pair| pair[0].1 == pair[1].1) {
        let pause = pair[1].0 - pair[0].0;
        assert!(pause >= INTERVAL, "two replicas, or one too often: {pause:?}");
    }
}

#[tokio::test]
async fn polling_goes_on_where_it_was_when_the_replica_that_did_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let pos = polled();
    let first = replica(sqlite(&folder).await, &pos, &config());
    let order = first.place(beer_to_go("r1")).await.unwrap();
    polling_has_begun(&pos).await;
    first.mounted.stop.cancel();
    first.mounted.background.close();
    first.mounted.background.wait().await;
    let before = pos.polls();
    pos.report(&order.order_id, PosOrderProgress::InPreparation);
    let second = replica(sqlite(&folder).await, &pos, &config());
    second.until(&order.order_id, OrderState::InPreparation).await;
    let cursors: Vec<String> = pos.state.lock().unwrap().polls[before..].iter().map(|(_, c)| c.clone()).collect();
    assert!(cursors.iter().all(|cursor| !cursor.is_empty()), "it began anew: {cursors:?}");
}

#[tokio::test]
async fn a_cursor_that_the_pos_forgot_loses_no_progress() {
    let pos = polled();
    pos.state.lock().unwrap().lists = ListOrders::ByTime;
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    polling_has_begun(&pos).await;
    {
        // It became ready, and the event was thrown away before anybody asked.
        let mut state = pos.state.lock().unwrap();
        state.progress = PosOrderProgress::Ready;
        state.events = vec![Default::default(); 50];
        state.oldest_cursor = 50;
    }
    replica.until(&order.order_id, OrderState::Ready).await;
    assert_eq!(pos.submits(), 1);
}

#[tokio::test]
async fn an_order_that_comes_soon_after_the_last_one_is_polled_for_as_well() {
    let pos = polled();
    let replica = replica(memory(), &pos, &config());
    for request_id in ["r1", "r2"] {
        let order = replica.place(beer_to_go(request_id)).await.unwrap();
        polling_has_begun(&pos).await;
        pos.report(&order.order_id, PosOrderProgress::Completed);
        replica.until(&order.order_id, OrderState::Completed).await;
        let (polls, idle) = (pos.polls(), INTERVAL * 5);
        tokio::time::sleep(idle).await;
        assert!(pos.polls() <= polls + 1, "it went idle meanwhile");
    }
}

#[tokio::test]
async fn nobody_polls_while_no_order_can_progress() {
    let pos = polled();
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    polling_has_begun(&pos).await;
    pos.report(&order.order_id, PosOrderProgress::Completed);
    replica.until(&order.order_id, OrderState::Completed).await;
    let after = pos.polls();
    tokio::time::sleep(INTERVAL * 10).await;
    // One may have been under way.
    assert!(pos.polls() <= after + 1, "{} polls", pos.polls() - after);
}
