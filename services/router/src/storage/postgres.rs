//! On PostgreSQL, with any number of replicas. Every write of a connection first takes the next change number, which
//! locks its row until the commit: writes happen one after the other, and each sees what the one before it did.

use std::{collections::BTreeSet, time::Duration};

use posmesh_kit_db::{StorageError, decode_all, millis, row_limit};
use posmesh_proto::{
    adapter::v1::AdapterDescriptor,
    router::v1::{Connection, LinkEvent, RegisterAdapterRequest},
};
use prost::Message as _;
use sqlx::{PgConnection, PgPool};

use crate::domain;

use super::{
    ChangedConnection, KEEP_DEAD_INSTANCES, KEEP_FORMER_CONNECTIONS, LiveInstance, NewLink, Put, Storage,
    StoredConnection, StoredLink, becomes_former, changed, last_and_live,
    links::{KEPT_EVENTS, link},
    live, next_connection, sql, stored,
};

const REGISTER: &str = "INSERT INTO instances (instance_id, renewals, lease_expire_ms, document) \
     VALUES ($1, 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $2, $3) \
     ON CONFLICT (instance_id) DO UPDATE SET renewals = instances.renewals + 1, \
     lease_expire_ms = excluded.lease_expire_ms, document = excluded.document";

const FORGET_DEAD: &str =
    "DELETE FROM instances WHERE lease_expire_ms < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1";

const LIVE_INSTANCES: &str = "SELECT document, renewals, lease_expire_ms FROM instances \
     WHERE lease_expire_ms > (extract(epoch FROM clock_timestamp()) * 1000)::bigint ORDER BY instance_id";

const RENEW_REPLICA: &str = "INSERT INTO router_replicas (replica_id, lease_expire_ms) \
     VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $2) \
     ON CONFLICT (replica_id) DO UPDATE SET lease_expire_ms = excluded.lease_expire_ms";

const LIVE_REPLICAS: &str = "SELECT replica_id FROM router_replicas \
     WHERE lease_expire_ms > (extract(epoch FROM clock_timestamp()) * 1000)::bigint ORDER BY replica_id";

const FORGET_REPLICAS: &str =
    "DELETE FROM router_replicas WHERE lease_expire_ms < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1";

const PUT_LINKS: &str = "INSERT INTO links \
     (tenant_id, connection_id, revision, pos_revision, change, document) \
     SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[]) \
     AS given (tenant_id, connection_id, revision, pos_revision, change, document) WHERE EXISTS \
     (SELECT 1 FROM connections c WHERE c.tenant_id = given.tenant_id AND c.connection_id = given.connection_id \
     AND c.document IS NOT NULL) \
     ON CONFLICT (tenant_id, connection_id) DO UPDATE SET revision = excluded.revision, \
     pos_revision = excluded.pos_revision, change = excluded.change, document = excluded.document \
     WHERE links.revision = excluded.revision - 1 RETURNING change";

const ADD_LINK_EVENTS: &str = "INSERT INTO link_events (tenant_id, connection_id, version, document) \
     SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::bytea[]) \
     ON CONFLICT (tenant_id, connection_id, version) DO UPDATE SET document = excluded.document";

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

#[derive(Debug)]
pub(super) struct PostgresStorage {
    pool: PgPool,
}

impl PostgresStorage {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[tonic::async_trait]
impl Storage for PostgresStorage {
    async fn register(&self, registration: &RegisterAdapterRequest, lease: Duration) -> Result<(), StorageError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(REGISTER)
            .bind(&registration.instance_id)
            .bind(millis(lease))
            .bind(registration.encode_to_vec())
            .execute(&mut *tx)
            .await?;
        if let Some(descriptor) = &registration.descriptor {
            sqlx::query(sql::REMEMBER_DESCRIPTOR)
                .bind(&descriptor.vendor)
                .bind(descriptor.encode_to_vec())
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query(FORGET_DEAD).bind(millis(KEEP_DEAD_INSTANCES)).execute(&mut *tx).await?;
        tx.commit().await.map_err(StorageError::of_commit)
    }

    async fn deregister(&self, instance_id: &str) -> Result<(), StorageError> {
        sqlx::query(sql::DEREGISTER).bind(instance_id).execute(&self.pool).await?;
        Ok(())
    }

    async fn live_instances(&self) -> Result<Vec<LiveInstance>, StorageError> {
        let rows: Vec<(Vec<u8>, i64, i64)> = sqlx::query_as(LIVE_INSTANCES).fetch_all(&self.pool).await?;
        rows.into_iter().map(live).collect()
    }

    async fn descriptors(&self) -> Result<Vec<AdapterDescriptor>, StorageError> {
        decode_all(sqlx::query_as(sql::DESCRIPTORS).fetch_all(&self.pool).await?)
    }

    async fn put_connection(&self, tenant_id: &str, stored: StoredConnection) -> Result<Put, StorageError> {
        let StoredConnection { connection, credentials } = stored;
        let mut tx = self.pool.begin().await?;
        let (change,): (i64,) = sqlx::query_as(sql::NEXT_CHANGE).fetch_one(&mut *tx).await?;
        let row = sqlx::query_as(sql::CONNECTION_ROW).bind(tenant_id).bind(&connection.connection_id);
        let (last, live) = last_and_live(row.fetch_optional(&mut *tx).await?)?;
        let others: Vec<(Vec<u8>,)> = sqlx::query_as(sql::CONNECTIONS_OF_STORE)
            .bind(tenant_id)
            .bind(&connection.store_id)
            .fetch_all(&mut *tx)
            .await?;
        let current = live.as_ref().map(|live| &live.connection);
        let put = next_connection(connection, last, current, &decode_all::<Connection>(others)?);
        let Put::Written(connection) = &put else { return Ok(put) };
        if let Some(former) = becomes_former(live, connection) {
            keep_former(&mut tx, tenant_id, former).await?;
        }
        let (key_id, ciphertext) = credentials.map(|sealed| (sealed.key_id, sealed.ciphertext)).unzip();
        sqlx::query(sql::PUT_CONNECTION)
            .bind(tenant_id)
            .bind(&connection.connection_id)
            .bind(&connection.store_id)
            .bind(connection.revision)
            .bind(change)
            .bind(connection.encode_to_vec())
            .bind(key_id)
            .bind(ciphertext)
            .execute(&mut *tx)
            .await?;
        tx.commit().await.map_err(StorageError::of_commit)?;
        Ok(put)
    }

    async fn delete_connection(&self, tenant_id: &str, connection_id: &str) -> Result<bool, StorageError> {
        let mut tx = self.pool.begin().await?;
        let (change,): (i64,) = sqlx::query_as(sql::NEXT_CHANGE).fetch_one(&mut *tx).await?;
        let row = sqlx::query_as(sql::CONNECTION_ROW).bind(tenant_id).bind(connection_id);
        let (_, live) = last_and_live(row.fetch_optional(&mut *tx).await?)?;
        let Some(former) = live else { return Ok(false) };
        keep_former(&mut tx, tenant_id, former).await?;
        let delete = sqlx::query(sql::DELETE_CONNECTION).bind(tenant_id).bind(connection_id).bind(change);
        delete.execute(&mut *tx).await?;
        delete_link(&mut tx, tenant_id, connection_id).await?;
        tx.commit().await.map_err(StorageError::of_commit)?;
        Ok(true)
    }

    async fn connection(&self, tenant_id: &str, connection_id: &str) -> Result<Option<StoredConnection>, StorageError> {
        let query = sqlx::query_as(sql::CONNECTION).bind(tenant_id).bind(connection_id);
        query.fetch_optional(&self.pool).await?.map(stored).transpose()
    }

    async fn former_connection(
        &self,
        tenant_id: &str,
        connection_id: &str,
        revision: i64,
    ) -> Result<Option<StoredConnection>, StorageError> {
        let (now_ms,): (i64,) = sqlx::query_as(NOW).fetch_one(&self.pool).await?;
        let query = sqlx::query_as(sql::FORMER_CONNECTION).bind(tenant_id).bind(connection_id);
        query.bind(revision).bind(now_ms).fetch_optional(&self.pool).await?.map(stored).transpose()
    }

    async fn connections(
        &self,
        tenant_id: &str,
        store_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Connection>, StorageError> {
        let statement = if store_id.is_empty() { sql::CONNECTIONS } else { sql::CONNECTIONS_OF_STORE_PAGE };
        let mut query = sqlx::query_as(statement).bind(tenant_id).bind(after).bind(row_limit(limit));
        if !store_id.is_empty() {
            query = query.bind(store_id);
        }
        decode_all(query.fetch_all(&self.pool).await?)
    }

    async fn changed_connections(&self, after: i64, limit: usize) -> Result<Vec<ChangedConnection>, StorageError> {
        let query = sqlx::query_as(sql::CHANGED_CONNECTIONS).bind(after).bind(row_limit(limit));
        query.fetch_all(&self.pool).await?.into_iter().map(changed).collect()
    }

    async fn put_links(&self, links: &[NewLink]) -> Result<Vec<Option<i64>>, StorageError> {
        let count = row_limit(links.len());
        let mut tx = self.pool.begin().await?;
        let (last,): (i64,) = sqlx::query_as(sql::NEXT_LINK_CHANGES).bind(count).fetch_one(&mut *tx).await?;
        let changes: Vec<i64> = (last - count + 1..=last).collect();
        let written = put_all(&mut tx, links, &changes).await?;
        tx.commit().await.map_err(StorageError::of_commit)?;
        Ok(written)
    }

    async fn changed_links(&self, after: i64, limit: usize) -> Result<Vec<StoredLink>, StorageError> {
        let query = sqlx::query_as(sql::CHANGED_LINKS).bind(after).bind(row_limit(limit));
        query.fetch_all(&self.pool).await?.into_iter().map(link).collect()
    }

    async fn last_link_change(&self) -> Result<i64, StorageError> {
        let last: Option<(i64,)> = sqlx::query_as(sql::LAST_LINK_CHANGE).fetch_optional(&self.pool).await?;
        Ok(last.map_or(0, |(change,)| change))
    }

    async fn link_events(
        &self,
        tenant_id: &str,
        connection_id: &str,
        below: i64,
        limit: usize,
    ) -> Result<Vec<LinkEvent>, StorageError> {
        let query = sqlx::query_as(sql::LINK_EVENTS).bind(tenant_id).bind(connection_id);
        decode_all(query.bind(below).bind(row_limit(limit)).fetch_all(&self.pool).await?)
    }

    async fn renew_replica(&self, replica_id: &str, lease: Duration) -> Result<Vec<String>, StorageError> {
        sqlx::query(RENEW_REPLICA).bind(replica_id).bind(millis(lease)).execute(&self.pool).await?;
        sqlx::query(FORGET_REPLICAS).bind(millis(KEEP_DEAD_INSTANCES)).execute(&self.pool).await?;
        let rows: Vec<(String,)> = sqlx::query_as(LIVE_REPLICAS).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(replica_id,)| replica_id).collect())
    }

    async fn drop_replica(&self, replica_id: &str) -> Result<(), StorageError> {
        sqlx::query(sql::DROP_REPLICA).bind(replica_id).execute(&self.pool).await?;
        Ok(())
    }
}

/// Writes links, each with the number of its change, in as many statements as one link takes.
async fn put_all(
    connection: &mut PgConnection,
    links: &[NewLink],
    changes: &[i64],
) -> Result<Vec<Option<i64>>, StorageError> {
    let put: Vec<(i64,)> = sqlx::query_as(PUT_LINKS)
        .bind(links.iter().map(|new| new.tenant_id.as_str()).collect::<Vec<_>>())
        .bind(links.iter().map(|new| new.link.connection_id.as_str()).collect::<Vec<_>>())
        .bind(links.iter().map(|new| new.replaces + 1).collect::<Vec<_>>())
        .bind(links.iter().map(|new| new.pos_revision).collect::<Vec<_>>())
        .bind(changes)
        .bind(links.iter().map(|new| new.link.encode_to_vec()).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
    let put: BTreeSet<i64> = put.into_iter().map(|(change,)| change).collect();
    let written = || links.iter().zip(changes).filter(|(_, change)| put.contains(change)).map(|(new, _)| new);
    let events: Vec<(&NewLink, &LinkEvent)> =
        written().filter_map(|new| new.event.as_ref().map(|event| (new, event))).collect();
    if !events.is_empty() {
        sqlx::query(ADD_LINK_EVENTS)
            .bind(events.iter().map(|(new, _)| new.tenant_id.as_str()).collect::<Vec<_>>())
            .bind(events.iter().map(|(new, _)| new.link.connection_id.as_str()).collect::<Vec<_>>())
            .bind(events.iter().map(|(_, event)| event.version).collect::<Vec<_>>())
            .bind(events.iter().map(|(_, event)| event.encode_to_vec()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    for new in written().filter(|new| new.is_time_to_forget()) {
        let forget = sqlx::query(sql::FORGET_LINK_EVENTS).bind(&new.tenant_id).bind(&new.link.connection_id);
        forget.bind(KEPT_EVENTS).execute(&mut *connection).await?;
    }
    Ok(changes.iter().map(|change| put.contains(change).then_some(*change)).collect())
}

/// In line with those who write links, so that none is written after its connection has gone.
async fn delete_link(connection: &mut PgConnection, tenant_id: &str, connection_id: &str) -> Result<(), StorageError> {
    let _: (i64,) = sqlx::query_as(sql::NEXT_LINK_CHANGES).bind(1_i64).fetch_one(&mut *connection).await?;
    for statement in [sql::DELETE_LINK, sql::DELETE_LINK_EVENTS] {
        sqlx::query(statement).bind(tenant_id).bind(connection_id).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn keep_former(
    connection: &mut PgConnection,
    tenant_id: &str,
    former: StoredConnection,
) -> Result<(), StorageError> {
    let (now_ms,): (i64,) = sqlx::query_as(NOW).fetch_one(&mut *connection).await?;
    sqlx::query(sql::FORGET_FORMER).bind(now_ms).execute(&mut *connection).await?;
    let (key_id, ciphertext) = former.credentials.map(|sealed| (sealed.key_id, sealed.ciphertext)).unzip();
    sqlx::query(sql::KEEP_FORMER)
        .bind(tenant_id)
        .bind(&former.connection.connection_id)
        .bind(domain::pos_revision(&former.connection))
        .bind(former.connection.revision)
        .bind(now_ms.saturating_add(millis(KEEP_FORMER_CONNECTIONS)))
        .bind(former.connection.encode_to_vec())
        .bind(key_id)
        .bind(ciphertext)
        .execute(&mut *connection)
        .await?;
    Ok(())
}
