//! Watching orders: what a guest's page and the staff's screen can rely on, on any replica.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use posmesh_counterparts::Postgres;
use posmesh_kit::{cause, failure};
use posmesh_kit_db::DatabaseConfig;
use posmesh_order::{
    Config,
    storage::{self, Changed, CheckChange, MemoryStorage, OrderChange, Storage},
};
use posmesh_proto::{
    adapter::v1::{InDoubt, Placed, PosOrder, submit_outcome::Outcome},
    order::v1::{
        ListOrdersRequest, Order, OrderState, PlaceOrderRequest, WatchAttentionRequest, WatchAttentionResponse,
        WatchOrderRequest, WatchOrderResponse,
    },
};
use tokio::sync::Notify;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::fakes::{Act, Pos, Replica, STORE, beer_to_go, config, placed, replica, yen};

const SOON: Duration = Duration::from_secs(60);

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::default())
}

async fn watch(replica: &Replica, order: &Order, resume_token: &str) -> Result<Streaming<WatchOrderResponse>, Status> {
    let request = WatchOrderRequest { order_id: order.order_id.clone(), resume_token: resume_token.into() };
    Ok(replica.client.clone().watch_order(request).await?.into_inner())
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    Ok(tokio::time::timeout(SOON, stream.message()).await.expect("no news came")?.expect("the stream ended"))
}

/// Places an order of which the POS does not say whether it has it, and which it cannot be asked about.
async fn doubtful(replica: &Replica, pos: &Pos, request_id: &str) -> Order {
    let doubt = InDoubt { cause: cause::TIMED_OUT.into(), ..InDoubt::default() };
    pos.state.lock().unwrap().find_broken = true;
    pos.script([Act::Answer(Outcome::InDoubt(doubt))]);
    let order = replica.place(PlaceOrderRequest { wait: None, ..beer_to_go(request_id) }).await.unwrap();
    replica.until(&order.order_id, OrderState::InDoubt).await
}

#[tokio::test]
async fn a_watcher_resumes_behind_what_it_has_seen_on_any_replica() {
    let (pos, storage) = (Pos::default(), memory());
    let (first, second) = (replica(storage.clone(), &pos, &config()), replica(storage, &pos, &config()));
    let order = doubtful(&first, &pos, "r1").await;
    let seen = next(&mut watch(&first, &order, "").await.unwrap()).await.unwrap();
    let mut changes = watch(&second, &order, &seen.resume_token).await.unwrap();
    pos.state.lock().unwrap().find_broken = false;
    pos.state.lock().unwrap().orders.insert(order.order_id.clone(), PosOrder::default());
    let news = next(&mut changes).await.unwrap().order.unwrap();
    assert!(news.version > seen.order.unwrap().version);
    assert_eq!(news.state(), OrderState::Placed);
}

#[tokio::test]
async fn a_token_of_another_order_is_refused_and_one_from_the_future_hides_nothing() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (one, other) = (doubtful(&replica, &pos, "r1").await, doubtful(&replica, &pos, "r2").await);
    let token = next(&mut watch(&replica, &other, "").await.unwrap()).await.unwrap().resume_token;
    for foreign in [token.as_str(), "x", "7"] {
        let refused = watch(&replica, &one, foreign).await.unwrap_err();
        assert_eq!(
            (refused.code(), failure::reason(&refused).as_str()),
            (Code::InvalidArgument, "RESUME_TOKEN_INVALID")
        );
    }
    let future = format!("{}.{}", i64::MAX, one.order_id);
    let told = next(&mut watch(&replica, &one, &future).await.unwrap()).await.unwrap();
    assert_eq!(told.order.unwrap().state(), OrderState::InDoubt);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_loses_its_place_and_no_news() {
    let (pos, go) = (Pos::default(), Arc::new(Notify::new()));
    let config = Config { max_watchers: 1, watcher_max_lag: Duration::from_millis(50), ..config() };
    let replica = replica(memory(), &pos, &config);
    pos.script([Act::Hang(Arc::clone(&go))]);
    let order = replica.place(PlaceOrderRequest { wait: None, ..beer_to_go("r1") }).await.unwrap();
    let mut slow = watch(&replica, &order, "").await.unwrap();
    let first = next(&mut slow).await.unwrap();
    assert_eq!(failure::reason(&watch(&replica, &order, "").await.unwrap_err()), "TOO_MANY_WATCHERS");
    go.notify_one();
    // Its place is free once it was too slow.
    let other = tokio::time::timeout(SOON, async {
        loop {
            match watch(&replica, &order, &first.resume_token).await {
                Ok(other) => return other,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    let mut other = other.await.unwrap();
    assert_eq!(next(&mut other).await.unwrap().order.unwrap().state(), OrderState::Placed);
    let ended = next(&mut slow).await.unwrap_err();
    assert_eq!((ended.code(), failure::reason(&ended).as_str()), (Code::Aborted, "WATCHER_TOO_SLOW"));
    assert!(ended.get_details_retry_info().is_some());
    assert!(slow.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_replica_that_stops_tells_its_watchers_to_go_elsewhere() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let order = doubtful(&replica, &pos, "r1").await;
    let mut changes = watch(&replica, &order, "").await.unwrap();
    next(&mut changes).await.unwrap();
    replica.mounted.stop.cancel();
    assert_eq!(failure::reason(&next(&mut changes).await.unwrap_err()), "SHUTTING_DOWN");
    assert_eq!(failure::reason(&watch(&replica, &order, "").await.unwrap_err()), "SHUTTING_DOWN");
}

/// A POS that charges one yen more.
fn too_expensive(order_id: &str) -> Act {
    let order = PosOrder { reference: order_id.into(), expected_total: Some(yen(551)), ..PosOrder::default() };
    Act::Answer(Outcome::Placed(Placed { pos_order_reference: format!("pos-{order_id}"), ..placed(&order, 1) }))
}

async fn attention(replica: &Replica, store_id: &str) -> Streaming<WatchAttentionResponse> {
    let request = WatchAttentionRequest { store_id: store_id.into() };
    replica.client.clone().watch_attention(request).await.unwrap().into_inner()
}

fn ids(orders: &[Order]) -> Vec<&str> {
    orders.iter().map(|order| order.order_id.as_str()).collect()
}

async fn listed(replica: &Replica) -> Vec<Order> {
    let request = ListOrdersRequest { store_id: STORE.into(), needs_person: true, ..ListOrdersRequest::default() };
    replica.client.clone().list_orders(request).await.unwrap().into_inner().orders
}

/// Somebody has looked at it.
async fn settle(storage: &Arc<dyn Storage>, order: &Order) {
    let mut order = storage.order("default", &order.order_id).await.unwrap().unwrap();
    order.attention.clear();
    order.attention_time = None;
    order.version += 1;
    let change = OrderChange { tenant_id: "default".into(), order, due_in: None, check: CheckChange::default() };
    let changed = storage.change_batch(vec![change]).await.remove(0).unwrap();
    assert!(matches!(changed, Changed::Done { .. }));
}

#[tokio::test]
async fn the_staff_of_any_replica_see_who_needs_them_until_nobody_does() {
    let (pos, storage) = (Pos::default(), memory());
    let (first, second) = (replica(storage.clone(), &pos, &config()), replica(storage.clone(), &pos, &config()));
    let mut staff = attention(&second, STORE).await;
    let snapshot = next(&mut staff).await.unwrap();
    assert_eq!((ids(&snapshot.orders), snapshot.current), (vec![], true));

    first.place(beer_to_go("healthy")).await.unwrap();
    pos.script([too_expensive("a")]);
    let order = first.place(beer_to_go("r1")).await.unwrap();
    let added = next(&mut staff).await.unwrap();
    assert_eq!((ids(&added.orders), added.current), (vec![order.order_id.as_str()], true));
    assert_eq!(added.orders[0].attention, ["TOTAL_DIFFERS"]);
    assert!(added.orders[0].attention_time.is_some());
    assert_eq!(ids(&listed(&first).await), [order.order_id.as_str()]);

    // A new screen begins with all there are, of all stores as well.
    let snapshot = next(&mut attention(&first, "").await).await.unwrap();
    assert_eq!((ids(&snapshot.orders), snapshot.current), (vec![order.order_id.as_str()], true));

    settle(&storage, &order).await;
    let settled = next(&mut staff).await.unwrap();
    assert_eq!((ids(&settled.orders), settled.settled_order_ids), (vec![], vec![order.order_id.clone()]));
    assert!(listed(&first).await.is_empty());
}

#[tokio::test]
async fn nobody_watches_a_store_that_does_not_exist() {
    let replica = replica(memory(), &Pos::default(), &config());
    let request = WatchAttentionRequest { store_id: "nowhere".into() };
    let refused = replica.client.clone().watch_attention(request).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "STORE_NOT_FOUND");
}

#[tokio::test]
async fn what_changes_while_the_other_replicas_cannot_be_heard_is_told_all_the_same() {
    let url = tokio::task::spawn_blocking(|| Postgres::shared().unwrap().create_database().unwrap()).await.unwrap();
    let database = DatabaseConfig { url: url.clone(), max_connections: 4, acquire_timeout: SOON };
    let (pos, go) = (Pos::default(), Arc::new(Notify::new()));
    let here = replica(storage::open(&database).await.unwrap(), &pos, &config());
    let there = replica(storage::open(&database).await.unwrap(), &pos, &config());
    let quiet = Arc::new(AtomicBool::new(true));
    let deafen = tokio::spawn(deafen(url, Arc::clone(&quiet)));
    for round in 0..10 {
        pos.script([Act::Hang(Arc::clone(&go))]);
        let order = here.place(PlaceOrderRequest { wait: None, ..beer_to_go(&format!("r{round}")) }).await.unwrap();
        let mut changes = watch(&there, &order, "").await.unwrap();
        assert_eq!(next(&mut changes).await.unwrap().order.unwrap().state(), OrderState::Sending);
        go.notify_one();
        assert_eq!(next(&mut changes).await.unwrap().order.unwrap().state(), OrderState::Placed);
    }
    quiet.store(false, Ordering::Relaxed);
    assert!(deafen.await.unwrap() > 0, "nobody was deafened");
}

/// Cuts every connection on which a replica listens, again and again. Returns how many it cut.
async fn deafen(url: String, go_on: Arc<AtomicBool>) -> usize {
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let mut cut = 0;
    while go_on.load(Ordering::Relaxed) {
        let listening = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        cut += sqlx::query(listening).fetch_all(&pool).await.unwrap().len();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cut
}
