//! Databases as every service uses them: PostgreSQL for deployments, SQLite embedded; each service has its own schema
//! (PostgreSQL) or file (SQLite) and its own append-only migrations. And group commit, which makes one durable
//! transaction serve many callers.

mod database;
mod group_commit;

pub use database::{Database, DatabaseConfig, DbError, Script, is_ambiguous};
pub use group_commit::{GroupCommit, Rejected};
