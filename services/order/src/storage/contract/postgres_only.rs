//! What only PostgreSQL does, and what can only be seen in its tables.

use posmesh_kit_db::Database;
use sqlx::PgPool;

use super::*;
use crate::storage::{Heard, MIGRATIONS, PostgresStorage};

const HEARD_WITHIN: Duration = Duration::from_secs(20);

async fn postgres(connections: u32) -> (Subject, PgPool) {
    let config = DatabaseConfig { max_connections: connections, ..database(postgres_url().await) };
    let Database::Postgres(pool) = Database::open(&config, "order", MIGRATIONS).await.unwrap() else { panic!() };
    (Arc::new(PostgresStorage::new(pool.clone())), pool)
}

async fn hear(heard: &mut tokio::sync::mpsc::Receiver<Heard>) -> Heard {
    tokio::time::timeout(HEARD_WITHIN, heard.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn each_stored_version_has_its_event_and_a_claim_has_none() {
    let (storage, pool) = postgres(4).await;
    let order = take(&storage, NewOrder { lease: Duration::ZERO, ..new_order("a") }).await;
    let claimed = storage.claim_due("replica-2", LEASE, &Room::of(1)).await.unwrap().remove(0).order;
    let mut rejected = to(&claimed, OrderState::Rejected);
    rejected.order.cause = "ITEM_SOLD_OUT".into();
    change(&storage, rejected).await;
    // Refused: leaves none.
    change(&storage, to(&order, OrderState::Placed)).await;
    let events: Vec<(i64, i64, i16, String, Option<String>)> =
        sqlx::query_as("SELECT version, at_ms, state, cause, replica FROM order_events ORDER BY version")
            .fetch_all(&pool)
            .await
            .unwrap();
    let replica = Some("replica-1".to_owned());
    let expected = [
        (1, NOON_MS, OrderState::Sending as i16, String::new(), replica.clone()),
        (3, NOON_MS + 1000, OrderState::Rejected as i16, "ITEM_SOLD_OUT".to_owned(), replica),
    ];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn other_replicas_hear_of_changed_orders_however_many_at_once_and_nobody_hears_itself() {
    let (storage, pool) = postgres(4).await;
    let other = PostgresStorage::new(pool);
    let mut heard = storage.listen().await.unwrap().unwrap();
    // More than one payload holds.
    let ids: Vec<String> = (0..1000).map(|i| format!("{i:036}")).collect();
    storage.announce(&["of-its-own".to_owned()]).await.unwrap();
    other.announce(&ids).await.unwrap();
    let mut told = Vec::new();
    while told.len() < ids.len() {
        let Heard::Changed(some) = hear(&mut heard).await else { panic!("no gap was made") };
        told.extend(some);
    }
    assert_eq!(told, ids);
}

#[tokio::test]
async fn a_listener_whose_connection_broke_tells_of_the_gap_and_goes_on() {
    let (storage, pool) = postgres(4).await;
    let mut heard = storage.listen().await.unwrap().unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    assert_eq!(sqlx::query(cut).fetch_all(&pool).await.unwrap().len(), 1);
    assert_eq!(hear(&mut heard).await, Heard::Gap);
    PostgresStorage::new(pool).announce(&["a".to_owned()]).await.unwrap();
    assert_eq!(hear(&mut heard).await, Heard::Changed(vec!["a".to_owned()]));
}

#[tokio::test]
async fn batches_and_claims_read_what_they_ask_for_and_no_more_of_a_table_that_has_grown() {
    // One connection, so that what it counts is all.
    let (storage, pool) = postgres(1).await;
    // Plans are made once, while the table is empty.
    take_and_place(&storage, "first").await;
    let grown = "INSERT INTO orders (tenant_id, order_id, caller, request_id, request_hash, store_id, state, cause, \
             version, created_ms, display_number, round, doc) \
         SELECT 'brand', 'old-' || i, 'kiosk', 'old-' || i, '', 'shibuya', 5, '', 2, i, i, 0, \
             decode(repeat(md5(i::text), 10), 'hex') \
         FROM generate_series(1, 30000) AS i";
    sqlx::query(grown).execute(&pool).await.unwrap();
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&pool).await.unwrap();
    sqlx::query("SELECT pg_stat_reset()").execute(&pool).await.unwrap();
    for batch in ["second", "third", "fourth"] {
        take_and_place(&storage, batch).await;
    }
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&pool).await.unwrap();
    let read = "SELECT sum(seq_tup_read)::bigint, sum(idx_scan)::bigint FROM pg_stat_user_tables \
         WHERE relname IN ('orders', 'order_events')";
    let (scanned, looked_up): (i64, i64) = sqlx::query_as(read).fetch_one(&pool).await.unwrap();
    assert_eq!(scanned, 0);
    assert!(looked_up >= 300, "{looked_up}");
    let read = "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname IN ('orders', 'order_events')";
    let (entries,): (i64,) = sqlx::query_as(read).fetch_one(&pool).await.unwrap();
    // Three times: 100 asked for again, 100 changed, and those versions of rows that nobody has cleaned up yet.
    assert!(entries <= 2000, "{entries}");
}

async fn take_and_place(storage: &Subject, batch: &str) {
    let news = || (0..100).map(|i| new_order(&format!("{batch}-{i}"))).collect();
    let placed = storage.place_batch(news()).await.into_iter().map(|answer| taken(answer.unwrap()));
    let changes = placed.map(|order| to(&order, OrderState::Placed)).collect();
    assert!(storage.change_batch(changes).await.iter().all(Result::is_ok));
    let again = storage.place_batch(news()).await;
    assert!(again.iter().all(|answer| matches!(answer, Ok(Placement::Known { .. }))), "{again:?}");
    storage.claim_due("replica-2", LEASE, &Room::of(100)).await.unwrap();
}
