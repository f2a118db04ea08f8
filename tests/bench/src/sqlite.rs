//! The storage on SQLite, batched, against one transaction of one's own for each phase of each order through the same
//! driver, with the same settings.

use std::{path::Path, sync::Arc, time::Duration, time::Instant};

use anyhow::Result;
use posmesh_kit_db::DatabaseConfig;
use posmesh_order::storage::{self, NewOrder, OrderChange, Storage};
use prost::Message as _;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    Options,
    load::{self, Caller, Measured},
    order,
    report::{Ratio, Report, Row, Target, median, per_second},
    storage::{Lap, run},
};

const INSERT_ORDER: &str = "INSERT INTO orders (tenant_id, order_id, caller, request_id, request_hash, store_id, state, \
         cause, version, created_ms, display_number, round, due_ms, lease_owner, doc) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, '', 1, $8, 1, 0, $8 + 35000, $9, $10)";
const UPDATE_ORDER: &str = "UPDATE orders SET version = $3, state = $4, lease_owner = NULL, due_ms = NULL, doc = $5 \
     WHERE tenant_id = $1 AND order_id = $2 AND version = $3 - 1";
const INSERT_EVENT: &str = "INSERT INTO order_events (tenant_id, order_id, version, at_ms, state, cause, replica) \
     VALUES ($1, $2, $3, $4, $5, '', $6)";

async fn open_storage(folder: &Path) -> Result<Arc<dyn Storage>> {
    let url = format!("sqlite:{}", folder.display());
    Ok(storage::open(&DatabaseConfig { url, max_connections: 4, acquire_timeout: Duration::from_secs(30) }).await?)
}

/// Its database has the order service's schema; one connection, as SQLite has one writer: more would wait in it.
async fn open_peer(folder: &Path) -> Result<SqlitePool> {
    drop(open_storage(folder).await?);
    let options = SqliteConnectOptions::new()
        .filename(folder.join("order.db"))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true);
    Ok(SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options)
        .await?)
}

/// A caller of the peer.
struct Peer {
    pool: SqlitePool,
}

impl Caller for Peer {
    type Lap = Lap;

    async fn call(&mut self) -> Result<Lap> {
        let new = order::taken(0);
        let begun = Instant::now();
        take(&self.pool, &new).await?;
        let accept = begun.elapsed();
        let change = order::placed(new.order);
        let changing = Instant::now();
        complete(&self.pool, &change).await?;
        Ok(Lap { accept, both: accept + changing.elapsed() })
    }
}

async fn take(pool: &SqlitePool, new: &NewOrder) -> Result<()> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let replica = new.order.attempts.first().map(|attempt| attempt.replica.as_str());
    sqlx::query(INSERT_ORDER)
        .bind(&*new.tenant_id)
        .bind(&new.order.order_id)
        .bind(&*new.caller)
        .bind(&new.request_id)
        .bind(&new.request_hash)
        .bind(&new.order.store_id)
        .bind(new.order.state)
        .bind(posmesh_kit::time::now_unix_ms())
        .bind(replica)
        .bind(new.order.encode_to_vec())
        .execute(&mut *tx)
        .await?;
    insert_event(&mut tx, &new.tenant_id, &new.order).await?;
    Ok(tx.commit().await?)
}

async fn complete(pool: &SqlitePool, change: &OrderChange) -> Result<()> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let updated = sqlx::query(UPDATE_ORDER)
        .bind(&*change.tenant_id)
        .bind(&change.order.order_id)
        .bind(change.order.version)
        .bind(change.order.state)
        .bind(change.order.encode_to_vec())
        .execute(&mut *tx)
        .await?;
    anyhow::ensure!(updated.rows_affected() == 1, "the peer's order is gone");
    insert_event(&mut tx, &change.tenant_id, &change.order).await?;
    Ok(tx.commit().await?)
}

async fn insert_event(
    db: &mut sqlx::SqliteConnection,
    tenant_id: &str,
    order: &posmesh_proto::order::v1::Order,
) -> Result<()> {
    sqlx::query(INSERT_EVENT)
        .bind(tenant_id)
        .bind(&order.order_id)
        .bind(order.version)
        .bind(posmesh_kit::time::now_unix_ms())
        .bind(order.state)
        .bind(order.attempts.first().map(|attempt| attempt.replica.as_str()))
        .execute(db)
        .await?;
    Ok(())
}

/// The row about SQLite.
///
/// # Errors
/// When the folder cannot be written to.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let (our_folder, peers_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let storage = open_storage(our_folder.path()).await?;
    let pool = open_peer(peers_folder.path()).await?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        ours.push(run(&storage, options.callers, options.stores, options.duration()).await?);
        let callers = std::iter::repeat_with(|| Peer { pool: pool.clone() }).take(options.callers).collect();
        peer.push(load::closed_loop(callers, options.duration()).await?);
    }
    report.row(Row {
        what: format!(
            "SQLite, batched, {} callers, against a sqlx transaction for each phase of each order",
            options.callers
        ),
        ours: per_second(median(ours.iter().map(Measured::per_second))),
        peer: per_second(median(peer.iter().map(Measured::per_second))),
        ratio: Ratio::new(ours.iter().zip(&peer).map(|(us, peer)| us.per_second() / peer.per_second()).collect()),
        target: Target::AtLeast(6.0),
    });
    Ok(())
}
