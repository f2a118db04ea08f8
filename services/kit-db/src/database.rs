//! Opening a service's database and bringing its schema up to date.

use std::{path::Path, str::FromStr as _, time::Duration};

use posmesh_kit::{backoff::Backoff, config::ConfigError};
use serde::Deserialize;
use sqlx::{
    Connection as _, PgPool, SqlSafeStr as _, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::Instant;

/// Every hot statement looks rows up by key or walks a range of an index, for one row or for a batch: nested loops over
/// indexes are right whatever the size of the tables. So a plan is made once per connection: planning a batch anew is a
/// fifth of its cost. Left to itself, PostgreSQL would choose by what it knew of the table, and
/// keep scanning a growing table that was empty when it planned.
const PLANNING: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // Where only a scan will do, its cost as seen with these settings would have it compiled first, for 100 ms.
    ("jit", "off"),
];

/// A connection that idled for longer is tried before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A replica that freezes, or is cut off, between two statements of a transaction holds its locks for no longer: the server
/// would take hours to notice. Far longer than a living one pauses there, and shorter than others wait for a write.
const IDLE_IN_TRANSACTION: &str = "5s";

/// A database that is away when a service starts is waited for so long: as long as a server takes to restart or to fail over.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Where the services keep their data.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host:port/database` (each service uses its own schema in it), or `sqlite:FOLDER` (each
    /// service uses its own file in it). May hold a password: never logged.
    pub url: String,
    /// Connections that one service of this process may open (PostgreSQL).
    pub max_connections: u32,
    /// How long a call waits for a free connection before it fails.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
}

impl std::fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = self.url.split(':').next().unwrap_or_default();
        f.debug_struct("DatabaseConfig")
            .field("url", &format_args!("{scheme}:[redacted]"))
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .finish()
    }
}

/// An open database of one service.
#[derive(Debug, Clone)]
pub enum Database {
    /// With `search_path` set to the service's schema.
    Postgres(PgPool),
    /// The service's own file.
    Sqlite(SqlitePool),
}

/// One migration: a step number, and its SQL for each database. Append-only: a released one is never changed.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// From 1, ascending.
    pub version: i64,
    /// A few words.
    pub name: &'static str,
    /// For PostgreSQL.
    pub postgres: &'static str,
    /// For SQLite.
    pub sqlite: &'static str,
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The URL or another setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database does not answer, or refuses.
    #[error("the database of {service} cannot be used: {source}")]
    Sql {
        /// Which service.
        service: String,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("the database of {service} cannot be migrated: {source}")]
    Migrate {
        /// Which service.
        service: String,
        /// What failed.
        source: MigrateError,
    },
}

impl DbError {
    /// Whether the database does not answer now, as opposed to a refusal.
    fn is_away(&self) -> bool {
        match self {
            Self::Sql { source, .. } => is_unavailable(source),
            Self::Migrate { source: MigrateError::Execute(source), .. } => is_unavailable(source),
            Self::Migrate { source: MigrateError::ExecuteMigration(source, _), .. } => is_unavailable(source),
            Self::Config(_) | Self::Migrate { .. } => false,
        }
    }
}

impl Database {
    /// Opens the database of `service` and applies its missing migrations. Any number of replicas may do so at once. A
    /// server that is away is waited for, a minute long.
    pub async fn open(config: &DatabaseConfig, service: &str, scripts: &[Script]) -> Result<Self, DbError> {
        let begun = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            match Self::open_once(config, service, scripts).await {
                Err(error) if error.is_away() && begun.elapsed() < STARTS_WITHIN => {
                    tracing::warn!(%error, "the database is away; it is waited for");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open_once(config: &DatabaseConfig, service: &str, scripts: &[Script]) -> Result<Self, DbError> {
        let sql = |source| DbError::Sql { service: service.to_owned(), source };
        let migrate = |source| DbError::Migrate { service: service.to_owned(), source };
        if let Some(folder) = config.url.strip_prefix("sqlite:") {
            let pool = open_sqlite(Path::new(folder), service, config).await?;
            migrator(scripts, |s| s.sqlite).run(&pool).await.map_err(migrate)?;
            return Ok(Self::Sqlite(pool));
        }
        let wrong_url = || ConfigError::invalid("database.url", "neither postgres://… nor sqlite:FOLDER");
        if !["postgres://", "postgresql://"].iter().any(|scheme| config.url.starts_with(scheme)) {
            return Err(wrong_url().into());
        }
        let options = PgConnectOptions::from_str(&config.url).map_err(|_| wrong_url())?;
        let schema = format!("posmesh_{service}");
        let mut settings =
            vec![("search_path", schema.as_str()), ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)];
        settings.extend(PLANNING);
        let options = options.application_name(&schema).options(settings);
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.acquire_timeout)
            // A ping before each use costs a round trip. One that was in use a moment ago is taken to live; one that
            // idled may have been cut meanwhile.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(options)
            .await
            .map_err(sql)?;
        let mut migrator = migrator(scripts, |s| s.postgres);
        migrator.create_schema(schema);
        migrator.run(&pool).await.map_err(migrate)?;
        Ok(Self::Postgres(pool))
    }

    /// Closes all connections, after the statements that run.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite(pool) => pool.close().await,
        }
    }
}

async fn open_sqlite(folder: &Path, service: &str, config: &DatabaseConfig) -> Result<SqlitePool, DbError> {
    std::fs::create_dir_all(folder)
        .map_err(|e| ConfigError::invalid("database.url", format!("{}: {e}", folder.display())))?;
    let options = SqliteConnectOptions::new()
        .filename(folder.join(format!("{service}.db")))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL syncs at each commit: an acknowledged order survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5));
    SqlitePoolOptions::new()
        // One writer at a time anyway; a few more for readers.
        .max_connections(4)
        .acquire_timeout(config.acquire_timeout)
        .connect_with(options)
        .await
        .map_err(|source| DbError::Sql { service: service.to_owned(), source })
}

fn migrator(scripts: &[Script], sql: impl Fn(&Script) -> &'static str) -> Migrator {
    let migrations = scripts
        .iter()
        .map(|s| Migration::new(s.version, s.name.into(), MigrationType::Simple, sql(s).into_sql_str(), false))
        .collect();
    Migrator::with_migrations(migrations)
}

/// Whether the database cannot be used now, as opposed to what was asked of it.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        // PostgreSQL: connection exceptions, insufficient resources, operator intervention, and a transaction that the
        // server has undone because it was left idle.
        sqlx::Error::Database(e) => {
            e.code().is_some_and(|code| ["08", "53", "57P", "25P03"].iter().any(|class| code.starts_with(class)))
        }
        other => is_ambiguous(other),
    }
}

/// Whether a failed commit may have taken effect all the same.
pub fn is_ambiguous(error: &sqlx::Error) -> bool {
    match error {
        // It was told to stop, or crashed, in the middle: what it was doing may be done. (PostgreSQL's class 57P.)
        sqlx::Error::Database(e) if e.code().is_some_and(|code| matches!(&*code, "57P01" | "57P02")) => true,
        // The server answered: it said no.
        sqlx::Error::Database(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => false,
        sqlx::Error::Configuration(_) | sqlx::Error::RowNotFound | sqlx::Error::Encode(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SCRIPTS: &[Script] = &[Script {
        version: 1,
        name: "things",
        postgres: "CREATE TABLE things (id BIGINT PRIMARY KEY)",
        sqlite: "CREATE TABLE things (id BIGINT PRIMARY KEY)",
    }];

    fn config(url: String) -> DatabaseConfig {
        DatabaseConfig { url, max_connections: 2, acquire_timeout: Duration::from_secs(5) }
    }

    #[tokio::test]
    async fn a_database_that_is_opened_twice_keeps_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(format!("sqlite:{}", folder.path().display()));
        for expected in [0_i64, 1] {
            let Database::Sqlite(pool) = Database::open(&config, "test", SCRIPTS).await.unwrap() else { panic!() };
            let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM things").fetch_one(&pool).await.unwrap();
            assert_eq!(count, expected);
            sqlx::query("INSERT INTO things VALUES ($1)").bind(expected).execute(&pool).await.unwrap();
            pool.close().await;
        }
    }

    #[tokio::test]
    async fn a_url_of_another_kind_is_refused_without_being_shown() {
        let error = Database::open(&config("mysql://root:secret@h/d".into()), "test", SCRIPTS).await.unwrap_err();
        assert!(error.to_string().contains("database.url"), "{error}");
        assert!(!format!("{error} {:?}", config("postgres://u:secret@h/d".into())).contains("secret"));
    }
}
