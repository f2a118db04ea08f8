//! Databases as every service uses them: PostgreSQL for deployments, SQLite embedded; each service has its own schema
//! (PostgreSQL) or file (SQLite) and its own append-only migrations. And group commit, which makes one durable
//! transaction serve many callers.

mod clock;
mod database;
mod group_commit;
mod storage_error;

pub use clock::Clock;
pub use database::{Database, DatabaseConfig, DbError, Script, is_ambiguous, is_unavailable};
pub use group_commit::{GroupCommit, Rejected};
pub use storage_error::{StorageError, decode, decode_all, millis, row_limit};
