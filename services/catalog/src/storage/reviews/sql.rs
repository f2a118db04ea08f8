//! On PostgreSQL and SQLite, as one document beside the store's head, whose row everybody locks that changes it.

use posmesh_proto::catalog::v1::{ItemToReview, ListItemsToReviewResponse};
use prost::Message as _;
use sqlx::{PgConnection, SqliteConnection};

use super::{NewVersion, ReviewStorage, Reviewed, StorageError, StoreKey, needs_current, next};
use crate::{
    domain,
    storage::{
        decode,
        postgres::{self, PostgresStorage},
        sql,
        sqlite::{self, SqliteStorage},
    },
};

const TO_REVIEW: &str = "SELECT to_review FROM catalog_heads \
     WHERE tenant_id = $1 AND store_id = $2 AND to_review IS NOT NULL";

const SET_TO_REVIEW: &str = "UPDATE catalog_heads SET to_review = $3 WHERE tenant_id = $1 AND store_id = $2";

macro_rules! on_database {
    ($storage:ty, $connection:ty, $begin:literal, $move_offer:path, $follow:ident) => {
        /// Writes what waits with a new version, in the transaction that publishes it.
        pub(in crate::storage) async fn $follow(
            db: &mut $connection,
            key: &StoreKey,
            new: &NewVersion,
        ) -> Result<(), StorageError> {
            let known = <$connection as Rows>::read(&mut *db, key).await?;
            let mut current = None;
            if needs_current(new, &known) {
                let query = sqlx::query_as(sql::CATALOG).bind(&*key.tenant_id).bind(&*key.store_id);
                let row: Option<(Vec<u8>,)> = query.bind(new.version - 1).fetch_optional(&mut *db).await?;
                current = row.map(|(document,)| decode(&document)).transpose()?;
            }
            let waiting = next(&known, new, current.as_ref());
            if waiting != known {
                $move_offer(&mut *db, key).await?;
                <$connection as Rows>::write(db, key, waiting).await?;
            }
            Ok(())
        }

        impl Rows for $connection {
            async fn read(&mut self, key: &StoreKey) -> Result<Vec<ItemToReview>, StorageError> {
                let query = sqlx::query_as(TO_REVIEW).bind(&*key.tenant_id).bind(&*key.store_id);
                let row: Option<(Vec<u8>,)> = query.fetch_optional(self).await?;
                let Some((document,)) = row else { return Ok(Vec::new()) };
                Ok(decode::<ListItemsToReviewResponse>(&document)?.items)
            }

            async fn write(&mut self, key: &StoreKey, items: Vec<ItemToReview>) -> Result<(), StorageError> {
                let document = (!items.is_empty())
                    .then(|| ListItemsToReviewResponse { items, ..Default::default() }.encode_to_vec());
                let query = sqlx::query(SET_TO_REVIEW).bind(&*key.tenant_id).bind(&*key.store_id).bind(document);
                query.execute(self).await?;
                Ok(())
            }
        }

        #[tonic::async_trait]
        impl ReviewStorage for $storage {
            async fn items_to_review(&self, key: &StoreKey) -> Result<Vec<ItemToReview>, StorageError> {
                self.pool.acquire().await?.read(key).await
            }

            async fn review_items(
                &self,
                key: &StoreKey,
                ids: &[String],
                version: i64,
            ) -> Result<Reviewed, StorageError> {
                let mut tx = self.pool.begin_with($begin).await?;
                // Locks the row; dropped, the transaction takes the move back.
                $move_offer(&mut tx, key).await?;
                let known = tx.read(key).await?;
                match domain::reviewed(&known, ids, version) {
                    Err(item_id) => return Ok(Reviewed::ChangedSince { item_id }),
                    Ok(waiting) if waiting.len() == known.len() => return Ok(Reviewed::Nothing),
                    Ok(waiting) => tx.write(key, waiting).await?,
                }
                tx.commit().await?;
                Ok(Reviewed::Done)
            }
        }
    };
}

/// What waits, on a connection.
trait Rows {
    async fn read(&mut self, key: &StoreKey) -> Result<Vec<ItemToReview>, StorageError>;
    async fn write(&mut self, key: &StoreKey, items: Vec<ItemToReview>) -> Result<(), StorageError>;
}

on_database!(SqliteStorage, SqliteConnection, "BEGIN IMMEDIATE", sqlite::move_offer, follow_on_sqlite);
on_database!(PostgresStorage, PgConnection, "BEGIN", postgres::move_offer, follow_on_postgres);
