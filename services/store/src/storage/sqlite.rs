//! On SQLite: one file, one writer at a time. Every transaction takes the write lock when it begins: one that reads
//! first and writes later would fail if another wrote in between.

use posmesh_proto::store::v1::{Brand, Store};
use prost::Message as _;
use sqlx::SqlitePool;

use super::{
    ChangedStore, Put, Storage, StorageError, decode_all, decode_changed, decode_one, next_revision, row_limit, sql,
};

const WRITE: &str = "BEGIN IMMEDIATE";

#[derive(Debug)]
pub(super) struct SqliteStorage {
    pool: SqlitePool,
}

impl SqliteStorage {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

#[tonic::async_trait]
impl Storage for SqliteStorage {
    async fn put_brand(&self, tenant_id: &str, brand: Brand) -> Result<Put<Brand>, StorageError> {
        let mut tx = self.pool.begin_with(WRITE).await?;
        let current: Option<(i64,)> =
            sqlx::query_as(sql::BRAND_REVISION).bind(tenant_id).bind(&brand.brand_id).fetch_optional(&mut *tx).await?;
        let revision = match next_revision(current.map_or(0, |(revision,)| revision), brand.revision) {
            Ok(revision) => revision,
            Err(current) => return Ok(Put::Conflict { current }),
        };
        let brand = Brand { revision, ..brand };
        sqlx::query(sql::PUT_BRAND)
            .bind(tenant_id)
            .bind(&brand.brand_id)
            .bind(revision)
            .bind(brand.encode_to_vec())
            .execute(&mut *tx)
            .await?;
        tx.commit().await.map_err(StorageError::of_commit)?;
        Ok(Put::Written(brand))
    }

    async fn brand(&self, tenant_id: &str, brand_id: &str) -> Result<Option<Brand>, StorageError> {
        decode_one(sqlx::query_as(sql::BRAND).bind(tenant_id).bind(brand_id).fetch_optional(&self.pool).await?)
    }

    async fn brands(&self, tenant_id: &str, after: &str, limit: usize) -> Result<Vec<Brand>, StorageError> {
        let query = sqlx::query_as(sql::BRANDS).bind(tenant_id).bind(after).bind(row_limit(limit));
        decode_all(query.fetch_all(&self.pool).await?)
    }

    async fn put_store(&self, tenant_id: &str, store: Store) -> Result<Put<Store>, StorageError> {
        let mut tx = self.pool.begin_with(WRITE).await?;
        let (change,): (i64,) = sqlx::query_as(sql::NEXT_CHANGE).bind(tenant_id).fetch_one(&mut *tx).await?;
        let brand: Option<(i64,)> =
            sqlx::query_as(sql::BRAND_REVISION).bind(tenant_id).bind(&store.brand_id).fetch_optional(&mut *tx).await?;
        if brand.is_none() {
            return Ok(Put::NoSuchBrand);
        }
        let current: Option<(i64,)> =
            sqlx::query_as(sql::STORE_REVISION).bind(tenant_id).bind(&store.store_id).fetch_optional(&mut *tx).await?;
        let revision = match next_revision(current.map_or(0, |(revision,)| revision), store.revision) {
            Ok(revision) => revision,
            Err(current) => return Ok(Put::Conflict { current }),
        };
        let store = Store { revision, ..store };
        sqlx::query(sql::PUT_STORE)
            .bind(tenant_id)
            .bind(&store.store_id)
            .bind(&store.brand_id)
            .bind(revision)
            .bind(change)
            .bind(store.encode_to_vec())
            .execute(&mut *tx)
            .await?;
        tx.commit().await.map_err(StorageError::of_commit)?;
        Ok(Put::Written(store))
    }

    async fn store(&self, tenant_id: &str, store_id: &str) -> Result<Option<Store>, StorageError> {
        decode_one(sqlx::query_as(sql::STORE).bind(tenant_id).bind(store_id).fetch_optional(&self.pool).await?)
    }

    async fn stores(
        &self,
        tenant_id: &str,
        brand_id: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Store>, StorageError> {
        let statement = if brand_id.is_some() { sql::STORES_OF_BRAND } else { sql::STORES };
        let mut query = sqlx::query_as(statement).bind(tenant_id).bind(after).bind(row_limit(limit));
        if let Some(brand_id) = brand_id {
            query = query.bind(brand_id);
        }
        decode_all(query.fetch_all(&self.pool).await?)
    }

    async fn changed_stores(
        &self,
        tenant_id: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<ChangedStore>, StorageError> {
        let query = sqlx::query_as(sql::CHANGED_STORES).bind(tenant_id).bind(after).bind(row_limit(limit));
        decode_changed(query.fetch_all(&self.pool).await?)
    }

    async fn last_change(&self, tenant_id: &str) -> Result<i64, StorageError> {
        let row: Option<(i64,)> = sqlx::query_as(sql::LAST_CHANGE).bind(tenant_id).fetch_optional(&self.pool).await?;
        Ok(row.map_or(0, |(change,)| change))
    }
}
