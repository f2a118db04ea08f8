//! A replica that stops in the middle of a transaction.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::Duration;

use posmesh_counterparts::Postgres;
use posmesh_kit_db::{Database, DatabaseConfig, Script};
use sqlx::PgPool;

const SCRIPTS: &[Script] = &[Script {
    version: 1,
    name: "checks",
    postgres: "CREATE TABLE checks (id BIGINT PRIMARY KEY, rounds BIGINT NOT NULL)",
    sqlite: "",
}];
/// How long the services wait for a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_replica_that_freezes_in_a_transaction_holds_its_locks_for_seconds_only_and_changes_nothing() {
    let url = tokio::task::spawn_blocking(|| Postgres::shared()?.create_database()).await.unwrap().unwrap();
    let (frozen, living) = (open(&url).await, open(&url).await);
    sqlx::query("INSERT INTO checks VALUES (1, 0)").execute(&living).await.unwrap();

    let mut transaction = frozen.begin().await.unwrap();
    sqlx::query("SELECT * FROM checks WHERE id = 1 FOR UPDATE").execute(&mut *transaction).await.unwrap();
    let write = sqlx::query("UPDATE checks SET rounds = rounds + 1 WHERE id = 1").execute(&living);
    tokio::time::timeout(WRITE_TIMEOUT, write).await.expect("the lock is given up in time").unwrap();

    let late = sqlx::query("UPDATE checks SET rounds = 100 WHERE id = 1").execute(&mut *transaction).await;
    assert!(late.is_err() && transaction.commit().await.is_err(), "its transaction was undone");
    let (rounds,): (i64,) = sqlx::query_as("SELECT rounds FROM checks").fetch_one(&frozen).await.unwrap();
    assert_eq!(rounds, 1);
}

async fn open(url: &str) -> PgPool {
    let config = DatabaseConfig { url: url.to_owned(), max_connections: 2, acquire_timeout: Duration::from_secs(5) };
    match Database::open(&config, "test", SCRIPTS).await.unwrap() {
        Database::Postgres(pool) => pool,
        Database::Sqlite(_) => panic!("{url}"),
    }
}
