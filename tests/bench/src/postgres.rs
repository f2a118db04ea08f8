//! PostgreSQL as it is measured: a server of the bench's own, fsync on, with the order service's schema.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use posmesh_counterparts::Postgres;
use posmesh_kit_db::DatabaseConfig;
use posmesh_order::storage::{self, Storage};

use crate::machine;

/// What differs from PostgreSQL's defaults, for us and for the peer alike: room for the hot part of a large table, and
/// checkpoints that do not fall into every measurement.
const SETTINGS: [(&str, &str); 3] =
    [("shared_buffers", "1GB"), ("max_wal_size", "16GB"), ("checkpoint_timeout", "30min")];

/// A running server.
#[derive(Debug)]
pub(crate) struct Server(pub(crate) Postgres);

impl Server {
    /// Starts one with an empty cluster.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start() -> Result<Self> {
        let server = Self(Postgres::start()?);
        for (name, value) in SETTINGS {
            server.query("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"))?;
        }
        server.0.restart()?;
        Ok(server)
    }

    /// Its version and settings.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn description(&self) -> Result<String> {
        let mut words = vec![format!("PostgreSQL {}", self.query("postgres", "SHOW server_version")?)];
        for name in ["fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "checkpoint_timeout"] {
            words.push(format!("{name} {}", self.query("postgres", &format!("SHOW {name}"))?));
        }
        Ok(words.join(", "))
    }

    /// Makes a database and opens the order service's storage in it, its schema up to date.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) async fn open_storage(&self) -> Result<(String, Arc<dyn Storage>)> {
        let url = self.0.create_database()?;
        let name = url.rsplit('/').next().context("a URL without a database")?.to_owned();
        let config = DatabaseConfig { url, max_connections: 10, acquire_timeout: Duration::from_secs(30) };
        Ok((name, storage::open(&config).await?))
    }

    /// Runs SQL with the order service's schema in its search path.
    ///
    /// # Errors
    /// When the server refuses.
    pub(crate) fn query(&self, database: &str, sql: &str) -> Result<String> {
        self.0.query(database, sql)
    }

    /// Processor time that it took so far, all its processes together.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let pid = self.query("postgres", "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)")?;
        Ok(machine::cpu_of_family(pid.parse()?))
    }

    /// Writes out what earlier measurements left, so that each begins alike.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) fn settle(&self) -> Result<()> {
        self.query("postgres", "CHECKPOINT").map(drop)
    }
}
