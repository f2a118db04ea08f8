//! On PostgreSQL, with any number of replicas.

use std::time::Duration;

use posmesh_kit::time;
use posmesh_proto::{
    catalog::v1::{Availability, Catalog, CatalogVersion, Decision, SyncRun},
    store::v1::ChangedItems,
};
use prost::Message as _;
use sqlx::{PgConnection, PgPool};

use super::{
    Begun, CHANGED_LIMIT, Content, ENDING_LIMIT, Judged, KEPT_REVISIONS, OfferHead, Published, SWEEP_LIMIT, Said,
    Storage, StorageError, StoreKey, decode, decode_all, interrupted, millis, reviews, row_limit,
    rules::{self, Head, Held, HeldChange, Undo, WordChange, Writes},
    sql,
};
use crate::domain;

/// Attempts to begin a run while others begin and end theirs.
const BEGIN_ATTEMPTS: usize = 5;

const RUNNING: &str = "SELECT sync_run_id, run, lease_expire_ms <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
     FROM sync_runs WHERE tenant_id = $1 AND store_id = $2 AND lease_expire_ms IS NOT NULL FOR UPDATE";

const BEGIN: &str = "INSERT INTO sync_runs (tenant_id, store_id, sync_run_id, run, lease_expire_ms) \
     VALUES ($1, $2, $3, $4, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $5) \
     ON CONFLICT (tenant_id, store_id) WHERE lease_expire_ms IS NOT NULL DO NOTHING";

const RENEW: &str = "UPDATE sync_runs \
     SET lease_expire_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3 \
     WHERE tenant_id = $1 AND sync_run_id = $2 AND lease_expire_ms IS NOT NULL";

const LOCK_RUN: &str = "SELECT 1::bigint FROM sync_runs \
     WHERE tenant_id = $1 AND sync_run_id = $2 AND lease_expire_ms IS NOT NULL FOR UPDATE";

const DEAD_RUNS: &str = "SELECT tenant_id, sync_run_id, run FROM sync_runs \
     WHERE lease_expire_ms <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint LIMIT $1 FOR UPDATE SKIP LOCKED";

const HEAD: &str = "SELECT held_run_id, held_hash, held_refusal FROM catalog_heads \
     WHERE tenant_id = $1 AND store_id = $2 FOR UPDATE";

const PLAN_SYNC: &str = "INSERT INTO sync_schedule (tenant_id, store_id, due_ms) \
     VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3) \
     ON CONFLICT (tenant_id, store_id) DO UPDATE SET due_ms = excluded.due_ms \
     WHERE sync_schedule.due_ms > excluded.due_ms";

const PLAN_NEXT_SYNC: &str = "INSERT INTO sync_schedule (tenant_id, store_id, due_ms) \
     VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3) \
     ON CONFLICT (tenant_id, store_id) DO UPDATE SET due_ms = excluded.due_ms";

/// Materialized, so that no plan looks for what is due more than once and claims more than the limit.
const CLAIM_SYNCS: &str = "WITH due AS MATERIALIZED ( \
         SELECT tenant_id, store_id FROM sync_schedule \
         WHERE due_ms <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
         ORDER BY due_ms LIMIT $1 FOR UPDATE SKIP LOCKED) \
     UPDATE sync_schedule AS planned SET due_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $2 \
     FROM due WHERE planned.tenant_id = due.tenant_id AND planned.store_id = due.store_id \
     RETURNING planned.tenant_id, planned.store_id";

const CHANGED_HEADS: &str = "SELECT tenant_id, store_id, version, offer_revision FROM catalog_heads \
     WHERE changed_ms >= (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1 ORDER BY changed_ms DESC LIMIT $2";

const MOVE_HEAD: &str = "UPDATE catalog_heads SET version = $3, changed_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
     WHERE tenant_id = $1 AND store_id = $2";

const MOVE_OFFER: &str = "UPDATE catalog_heads \
     SET offer_revision = offer_revision + 1, changed_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
     WHERE tenant_id = $1 AND store_id = $2 RETURNING offer_revision";

const PLAN_POLL: &str = "INSERT INTO catalog_polls (tenant_id, store_id, due_ms, fingerprint) \
     VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3, '') \
     ON CONFLICT DO NOTHING";

const PLAN_NEXT_POLL: &str = "INSERT INTO catalog_polls (tenant_id, store_id, due_ms, fingerprint) \
     VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3, $4) \
     ON CONFLICT (tenant_id, store_id) DO UPDATE SET due_ms = excluded.due_ms, fingerprint = excluded.fingerprint";

const CLAIM_POLLS: &str = "WITH due AS MATERIALIZED ( \
         SELECT tenant_id, store_id FROM catalog_polls \
         WHERE due_ms <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
         ORDER BY due_ms LIMIT $1 FOR UPDATE SKIP LOCKED) \
     UPDATE catalog_polls AS planned SET due_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $2 \
     FROM due WHERE planned.tenant_id = due.tenant_id AND planned.store_id = due.store_id \
     RETURNING planned.tenant_id, planned.store_id, planned.fingerprint";

const ENDING: &str = "SELECT DISTINCT tenant_id, store_id FROM availability \
     WHERE end_ms <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint LIMIT $1";

const END: &str = "DELETE FROM availability \
     WHERE tenant_id = $1 AND store_id = $2 AND end_ms <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint RETURNING word";

#[derive(Debug)]
pub(super) struct PostgresStorage {
    pub(super) pool: PgPool,
}

impl PostgresStorage {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// `None`: another run came in between.
    async fn try_begin(&self, key: &StoreKey, run: &SyncRun, lease: Duration) -> Result<Option<Begun>, StorageError> {
        let mut tx = self.pool.begin().await?;
        let running: Option<(String, Vec<u8>, bool)> =
            sqlx::query_as(RUNNING).bind(&*key.tenant_id).bind(&*key.store_id).fetch_optional(&mut *tx).await?;
        match running {
            Some((_, document, false)) => return Ok(Some(Begun::Running(Box::new(decode(&document)?)))),
            Some((id, document, true)) => {
                end(&mut tx, &key.tenant_id, &id, &interrupted(&document)?).await?;
            }
            None => {}
        }
        let begun = sqlx::query(BEGIN)
            .bind(&*key.tenant_id)
            .bind(&*key.store_id)
            .bind(&run.sync_run_id)
            .bind(run.encode_to_vec())
            .bind(millis(lease))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok((begun.rows_affected() == 1).then_some(Begun::Started))
    }
}

async fn end(db: &mut PgConnection, tenant_id: &str, run_id: &str, document: &[u8]) -> Result<bool, StorageError> {
    let ended = sqlx::query(sql::END_RUN).bind(tenant_id).bind(run_id).bind(document).execute(db).await?;
    Ok(ended.rows_affected() == 1)
}

/// The head of a store's versions, which nobody else changes before this transaction ends.
async fn head(db: &mut PgConnection, key: &StoreKey) -> Result<Head, StorageError> {
    sqlx::query(sql::ENSURE_HEAD).bind(&*key.tenant_id).bind(&*key.store_id).execute(&mut *db).await?;
    type Row = (Option<String>, Option<Vec<u8>>, Option<Vec<u8>>);
    let row: Row = sqlx::query_as(HEAD).bind(&*key.tenant_id).bind(&*key.store_id).fetch_one(&mut *db).await?;
    let held = match row {
        (Some(run_id), Some(hash), refusal) => {
            let refusal = refusal.map(|document| decode(&document)).transpose()?;
            Some(Held { run_id, hash, refusal })
        }
        _ => None,
    };
    let current = sqlx::query_as(sql::NEWEST_VERSION).bind(&*key.tenant_id).bind(&*key.store_id);
    Ok(Head { current: current.fetch_optional(db).await?, held })
}

async fn run(db: &mut PgConnection, tenant_id: &str, run_id: &str) -> Result<Option<SyncRun>, StorageError> {
    let row: Option<(Vec<u8>,)> = sqlx::query_as(sql::RUN).bind(tenant_id).bind(run_id).fetch_optional(db).await?;
    row.map(|(document,)| decode(&document)).transpose()
}

async fn set_run(db: &mut PgConnection, tenant_id: &str, run: &SyncRun) -> Result<(), StorageError> {
    let query = sqlx::query(sql::SET_RUN).bind(tenant_id).bind(&run.sync_run_id).bind(run.encode_to_vec());
    query.execute(db).await?;
    Ok(())
}

async fn write(db: &mut PgConnection, key: &StoreKey, writes: &Writes) -> Result<(), StorageError> {
    if let Some(new) = &writes.version {
        sqlx::query(sql::INSERT_VERSION)
            .bind(&*key.tenant_id)
            .bind(&*key.store_id)
            .bind(new.version)
            .bind(&new.hash)
            .bind(new.summary.encode_to_vec())
            .bind(new.catalog.encode_to_vec())
            .execute(&mut *db)
            .await?;
        let moved = sqlx::query(MOVE_HEAD).bind(&*key.tenant_id).bind(&*key.store_id).bind(new.version);
        moved.execute(&mut *db).await?;
        reviews::sql::follow_on_postgres(&mut *db, key, new).await?;
    }
    let held = match &writes.held {
        HeldChange::Keep => None,
        HeldChange::Clear => Some((None, None)),
        HeldChange::Hold(held, catalog) => Some((Some(held), catalog.as_ref())),
    };
    if let Some((held, catalog)) = held {
        sqlx::query(sql::HOLD)
            .bind(&*key.tenant_id)
            .bind(&*key.store_id)
            .bind(held.map(|held| held.run_id.as_str()))
            .bind(held.map(|held| held.hash.as_slice()))
            .bind(catalog.map(|catalog| catalog.encode_to_vec()))
            .bind(held.and_then(|held| held.refusal.as_ref()).map(|refusal| refusal.encode_to_vec()))
            .execute(&mut *db)
            .await?;
    }
    if let Some((run_id, by)) = &writes.superseded
        && let Some(waited) = run(db, &key.tenant_id, run_id).await?
    {
        set_run(db, &key.tenant_id, &domain::superseded(waited, by)).await?;
    }
    match &writes.run {
        Some(ended) => set_run(db, &key.tenant_id, ended).await,
        None => Ok(()),
    }
}

/// Counts a change of what is sold; returns the new count. Nobody else changes what is said of the store before this
/// transaction ends.
pub(super) async fn move_offer(db: &mut PgConnection, key: &StoreKey) -> Result<i64, StorageError> {
    sqlx::query(sql::ENSURE_HEAD).bind(&*key.tenant_id).bind(&*key.store_id).execute(&mut *db).await?;
    let moved = sqlx::query_as(MOVE_OFFER).bind(&*key.tenant_id).bind(&*key.store_id);
    let (revision,): (i64,) = moved.fetch_one(db).await?;
    Ok(revision)
}

/// Keeps what a revision changes as it was, and forgets what is too old.
async fn log(
    db: &mut PgConnection,
    key: &StoreKey,
    revision: i64,
    changes: &[(&Availability, Option<&Availability>)],
) -> Result<(), StorageError> {
    for (word, before) in changes {
        let (group_id, thing_id, source) = rules::place(word);
        let query = sqlx::query(sql::LOG).bind(&*key.tenant_id).bind(&*key.store_id).bind(revision);
        let query = query.bind(group_id).bind(thing_id).bind(source).bind(before.map(|word| word.encode_to_vec()));
        query.execute(&mut *db).await?;
    }
    let query = sqlx::query(sql::PRUNE_LOG).bind(&*key.tenant_id).bind(&*key.store_id);
    query.bind(revision - KEPT_REVISIONS).execute(db).await?;
    Ok(())
}

async fn availability(db: &mut PgConnection, key: &StoreKey) -> Result<Vec<Availability>, StorageError> {
    let query = sqlx::query_as(sql::AVAILABILITY).bind(&*key.tenant_id).bind(&*key.store_id);
    decode_all(query.fetch_all(db).await?)
}

async fn say(db: &mut PgConnection, key: &StoreKey, change: &WordChange<'_>) -> Result<(), StorageError> {
    let statement = match change {
        WordChange::Say(_) => sql::SAY,
        WordChange::Unsay(_) => sql::UNSAY,
    };
    let word = change.word();
    let (group_id, thing_id, source) = rules::place(word);
    let mut query = sqlx::query(statement).bind(&*key.tenant_id).bind(&*key.store_id);
    query = query.bind(group_id).bind(thing_id).bind(source);
    if matches!(change, WordChange::Say(_)) {
        let end_ms = word.available_again_time.as_ref().map(time::to_unix_ms);
        query = query.bind(end_ms).bind(word.encode_to_vec());
    }
    query.execute(db).await?;
    Ok(())
}

#[tonic::async_trait]
impl Storage for PostgresStorage {
    async fn begin_run(&self, key: &StoreKey, run: &SyncRun, lease: Duration) -> Result<Begun, StorageError> {
        for _ in 0..BEGIN_ATTEMPTS {
            if let Some(begun) = self.try_begin(key, run, lease).await? {
                return Ok(begun);
            }
        }
        let busy = std::io::Error::other("other runs of the store begin and end all the time");
        Err(sqlx::Error::Io(busy).into())
    }

    async fn renew_run(&self, key: &StoreKey, run_id: &str, lease: Duration) -> Result<bool, StorageError> {
        let renewed =
            sqlx::query(RENEW).bind(&*key.tenant_id).bind(run_id).bind(millis(lease)).execute(&self.pool).await?;
        Ok(renewed.rows_affected() == 1)
    }

    async fn end_run(&self, key: &StoreKey, run: &SyncRun) -> Result<bool, StorageError> {
        let mut db = self.pool.acquire().await?;
        end(&mut db, &key.tenant_id, &run.sync_run_id, &run.encode_to_vec()).await
    }

    async fn publish(
        &self,
        key: &StoreKey,
        run: &SyncRun,
        content: Content,
        judged: &Judged,
    ) -> Result<Published, StorageError> {
        let mut tx = self.pool.begin().await?;
        let held: Option<(i64,)> =
            sqlx::query_as(LOCK_RUN).bind(&*key.tenant_id).bind(&run.sync_run_id).fetch_optional(&mut *tx).await?;
        if held.is_none() {
            return Ok(Published::LeaseLost);
        }
        let head = head(&mut tx, key).await?;
        let Some(writes) = rules::publication(run, content, &head, judged) else { return Ok(Published::BaseMoved) };
        write(&mut tx, key, &writes).await?;
        tx.commit().await?;
        Ok(Published::Ended(Box::new(writes.run.unwrap_or_default())))
    }

    async fn decide(
        &self,
        key: &StoreKey,
        run_id: &str,
        approve: bool,
        decision: &Decision,
        changed_items: ChangedItems,
    ) -> Result<Option<SyncRun>, StorageError> {
        let mut tx = self.pool.begin().await?;
        let head = head(&mut tx, key).await?;
        let (Some(held), Some(waiting)) = (rules::waits(&head, run_id), run(&mut tx, &key.tenant_id, run_id).await?)
        else {
            return Ok(None);
        };
        let writes = if approve {
            let query = sqlx::query_as(sql::HELD_CATALOG).bind(&*key.tenant_id).bind(&*key.store_id);
            let (document,): (Vec<u8>,) = query.fetch_one(&mut *tx).await?;
            rules::approval(waiting, (held, decode(&document)?), &head, decision, changed_items)
        } else {
            rules::refusal(waiting, held, decision)
        };
        write(&mut tx, key, &writes).await?;
        tx.commit().await?;
        Ok(writes.run)
    }

    async fn rollback(
        &self,
        key: &StoreKey,
        version: i64,
        decision: &Decision,
    ) -> Result<Option<CatalogVersion>, StorageError> {
        let mut tx = self.pool.begin().await?;
        let head = head(&mut tx, key).await?;
        let query = sqlx::query_as(sql::CATALOG).bind(&*key.tenant_id).bind(&*key.store_id).bind(version);
        let Some((document,)): Option<(Vec<u8>,)> = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
        if let Some(writes) = rules::rollback(decode(&document)?, &head, decision) {
            write(&mut tx, key, &writes).await?;
        }
        tx.commit().await?;
        Ok(self.versions(key, i64::MAX, 1).await?.pop())
    }

    async fn end_dead_runs(&self) -> Result<u64, StorageError> {
        let mut tx = self.pool.begin().await?;
        let dead: Vec<(String, String, Vec<u8>)> =
            sqlx::query_as(DEAD_RUNS).bind(SWEEP_LIMIT).fetch_all(&mut *tx).await?;
        for (tenant_id, run_id, document) in &dead {
            end(&mut tx, tenant_id, run_id, &interrupted(document)?).await?;
        }
        tx.commit().await?;
        Ok(dead.len() as u64)
    }

    async fn plan_sync(&self, key: &StoreKey, within: Duration) -> Result<(), StorageError> {
        let query = sqlx::query(PLAN_SYNC).bind(&*key.tenant_id).bind(&*key.store_id).bind(millis(within));
        query.execute(&self.pool).await?;
        Ok(())
    }

    async fn plan_next_sync(&self, key: &StoreKey, after: Duration) -> Result<(), StorageError> {
        let query = sqlx::query(PLAN_NEXT_SYNC).bind(&*key.tenant_id).bind(&*key.store_id).bind(millis(after));
        query.execute(&self.pool).await?;
        Ok(())
    }

    async fn claim_syncs(&self, limit: usize, lease: Duration) -> Result<Vec<StoreKey>, StorageError> {
        let query = sqlx::query_as(CLAIM_SYNCS).bind(row_limit(limit)).bind(millis(lease));
        let rows: Vec<(String, String)> = query.fetch_all(&self.pool).await?;
        let key = |(tenant_id, store_id): (String, String)| StoreKey {
            tenant_id: tenant_id.into(),
            store_id: store_id.into(),
        };
        Ok(rows.into_iter().map(key).collect())
    }

    async fn plan_poll(&self, key: &StoreKey, within: Duration) -> Result<(), StorageError> {
        let query = sqlx::query(PLAN_POLL).bind(&*key.tenant_id).bind(&*key.store_id).bind(millis(within));
        query.execute(&self.pool).await?;
        Ok(())
    }

    async fn plan_next_poll(&self, key: &StoreKey, after: Duration, fingerprint: &str) -> Result<(), StorageError> {
        let query = sqlx::query(PLAN_NEXT_POLL).bind(&*key.tenant_id).bind(&*key.store_id);
        query.bind(millis(after)).bind(fingerprint).execute(&self.pool).await?;
        Ok(())
    }

    async fn claim_polls(&self, limit: usize, lease: Duration) -> Result<Vec<(StoreKey, String)>, StorageError> {
        let query = sqlx::query_as(CLAIM_POLLS).bind(row_limit(limit)).bind(millis(lease));
        let rows: Vec<(String, String, String)> = query.fetch_all(&self.pool).await?;
        let claimed = |(tenant_id, store_id, fingerprint): (String, String, String)| {
            (StoreKey { tenant_id: tenant_id.into(), store_id: store_id.into() }, fingerprint)
        };
        Ok(rows.into_iter().map(claimed).collect())
    }

    async fn prune(&self, key: &StoreKey, versions: u32, runs: u32) -> Result<(), StorageError> {
        for (statement, kept) in [(sql::PRUNE_VERSIONS, versions), (sql::PRUNE_RUNS, runs.saturating_sub(1))] {
            let query = sqlx::query(statement).bind(&*key.tenant_id).bind(&*key.store_id).bind(i64::from(kept));
            query.execute(&self.pool).await?;
        }
        Ok(())
    }

    async fn run(&self, tenant_id: &str, run_id: &str) -> Result<Option<SyncRun>, StorageError> {
        let mut db = self.pool.acquire().await?;
        run(&mut db, tenant_id, run_id).await
    }

    async fn runs(&self, key: &StoreKey, before: &str, limit: usize) -> Result<Vec<SyncRun>, StorageError> {
        let query = sqlx::query_as(sql::RUNS).bind(&*key.tenant_id).bind(&*key.store_id);
        decode_all(query.bind(before).bind(row_limit(limit)).fetch_all(&self.pool).await?)
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<OfferHead>, StorageError> {
        let query = sqlx::query_as(sql::OFFER_HEAD).bind(&*key.tenant_id).bind(&*key.store_id);
        let row: Option<(i64, i64)> = query.fetch_optional(&self.pool).await?;
        Ok(row.map(|(version, revision)| OfferHead { version, revision }))
    }

    async fn changed_heads(&self, within: Duration) -> Result<Vec<(StoreKey, OfferHead)>, StorageError> {
        let query = sqlx::query_as(CHANGED_HEADS).bind(millis(within)).bind(CHANGED_LIMIT);
        let rows: Vec<(String, String, i64, i64)> = query.fetch_all(&self.pool).await?;
        let changed = |(tenant_id, store_id, version, revision): (String, String, i64, i64)| {
            let key = StoreKey { tenant_id: tenant_id.into(), store_id: store_id.into() };
            (key, OfferHead { version, revision })
        };
        Ok(rows.into_iter().map(changed).collect())
    }

    async fn availability(&self, key: &StoreKey) -> Result<Vec<Availability>, StorageError> {
        let mut db = self.pool.acquire().await?;
        availability(&mut db, key).await
    }

    async fn availability_at(
        &self,
        key: &StoreKey,
        revisions: (i64, i64),
    ) -> Result<Option<Vec<Availability>>, StorageError> {
        // What changes between the two reads is in the log.
        let now = self.availability(key).await?;
        let query = sqlx::query_as(sql::LOGGED).bind(&*key.tenant_id).bind(&*key.store_id).bind(revisions.0);
        let rows: Vec<(i64, String, String, i64, Option<Vec<u8>>)> = query.fetch_all(&self.pool).await?;
        let undo = |(revision, group_id, thing_id, source, before): (i64, String, String, i64, Option<Vec<u8>>)| {
            let before = before.map(|document| decode(&document)).transpose()?;
            Ok(Undo { revision, place: (group_id, thing_id, source), before })
        };
        let later = rows.into_iter().map(undo).collect::<Result<_, StorageError>>()?;
        Ok(rules::words_at(revisions, now, later))
    }

    async fn say_availability(&self, key: &StoreKey, said: &Said) -> Result<bool, StorageError> {
        let mut tx = self.pool.begin().await?;
        let revision = move_offer(&mut tx, key).await?;
        let before = availability(&mut tx, key).await?;
        let news = rules::news(&before, said);
        if news.is_empty() {
            // Dropped, the transaction takes the move back.
            return Ok(false);
        }
        let changes: Vec<_> = news.iter().map(|change| (change.word(), rules::known(&before, change.word()))).collect();
        log(&mut tx, key, revision, &changes).await?;
        for change in &news {
            say(&mut tx, key, change).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn end_availability(&self) -> Result<Vec<StoreKey>, StorageError> {
        let rows: Vec<(String, String)> = sqlx::query_as(ENDING).bind(ENDING_LIMIT).fetch_all(&self.pool).await?;
        let mut ended = Vec::with_capacity(rows.len());
        for (tenant_id, store_id) in rows {
            let key = StoreKey { tenant_id: tenant_id.into(), store_id: store_id.into() };
            let mut tx = self.pool.begin().await?;
            let revision = move_offer(&mut tx, &key).await?;
            let deleted = sqlx::query_as(END).bind(&*key.tenant_id).bind(&*key.store_id).fetch_all(&mut *tx).await?;
            let over: Vec<Availability> = decode_all(deleted)?;
            // Another replica may have been faster.
            if !over.is_empty() {
                let changes: Vec<_> = over.iter().map(|word| (word, Some(word))).collect();
                log(&mut tx, &key, revision, &changes).await?;
                tx.commit().await?;
                ended.push(key);
            }
        }
        Ok(ended)
    }

    async fn catalog(&self, key: &StoreKey, version: i64) -> Result<Option<Catalog>, StorageError> {
        let query = sqlx::query_as(sql::CATALOG).bind(&*key.tenant_id).bind(&*key.store_id).bind(version);
        let row: Option<(Vec<u8>,)> = query.fetch_optional(&self.pool).await?;
        row.map(|(document,)| decode(&document)).transpose()
    }

    async fn versions(&self, key: &StoreKey, before: i64, limit: usize) -> Result<Vec<CatalogVersion>, StorageError> {
        let query = sqlx::query_as(sql::VERSIONS).bind(&*key.tenant_id).bind(&*key.store_id);
        decode_all(query.bind(before).bind(row_limit(limit)).fetch_all(&self.pool).await?)
    }
}
