//! A database that is away when a service starts.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{pin::pin, sync::Arc, time::Duration};

use posmesh_counterparts::Postgres;
use posmesh_kit_db::{Database, DatabaseConfig};

const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_service_that_starts_while_its_database_restarts_waits_for_it() {
    let server = tokio::task::spawn_blocking(Postgres::start).await.unwrap().map(Arc::new).unwrap();
    let url = server.create_database().unwrap();
    server.stop().unwrap();

    let config = DatabaseConfig { url, max_connections: 2, acquire_timeout: ACQUIRE_TIMEOUT };
    let mut open = pin!(Database::open(&config, "test", &[]));
    let early = tokio::time::timeout(ACQUIRE_TIMEOUT * 5, &mut open).await;
    assert!(early.is_err(), "it gave up: {early:?}");

    let restarted = Arc::clone(&server);
    tokio::task::spawn_blocking(move || restarted.restart()).await.unwrap().unwrap();
    open.await.unwrap();
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_told_at_once() {
    let server = tokio::task::spawn_blocking(Postgres::shared).await.unwrap().unwrap();
    let config = DatabaseConfig { url: server.url("nowhere"), max_connections: 2, acquire_timeout: ACQUIRE_TIMEOUT };
    let refused = Database::open(&config, "test", &[]).await.unwrap_err();
    assert!(refused.to_string().contains("nowhere"), "{refused}");
}
