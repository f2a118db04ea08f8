//! `posmesh migrate`: the databases alone.

use anyhow::Context as _;
use clap::ValueEnum;
use posmesh_kit_db::{Database, DatabaseConfig, Script};

/// A service with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Migratable {
    Store,
    Router,
    Catalog,
    Order,
}

impl Migratable {
    /// The name of its schema or file, and its migrations.
    fn scripts(self) -> (&'static str, &'static [Script]) {
        match self {
            Self::Store => ("store", posmesh_store::MIGRATIONS),
            Self::Router => ("router", posmesh_router::MIGRATIONS),
            Self::Catalog => ("catalog", posmesh_catalog::MIGRATIONS),
            Self::Order => ("order", posmesh_order::MIGRATIONS),
        }
    }
}

/// Applies the missing migrations of `services`, of all if none is named.
pub(crate) async fn run(config: &DatabaseConfig, services: &[Migratable]) -> anyhow::Result<()> {
    let services = if services.is_empty() { Migratable::value_variants() } else { services };
    for service in services {
        let (name, scripts) = service.scripts();
        Database::open(config, name, scripts).await?.close().await;
        let latest = scripts.last().map(|script| script.version).context("no migrations")?;
        println!("{name}: at version {latest}");
    }
    Ok(())
}
