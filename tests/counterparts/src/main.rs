//! Starts the programs that posmesh is tested against, by hand.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use posmesh_counterparts::{ADMIN_LOGIN, ADMIN_PASSWORD, Odoo, Postgres, RESTAURANT, cache_dir};

/// Installs and starts the real programs that posmesh is tested against.
#[derive(Parser)]
#[command(name = "counterparts")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs everything into the cache, without starting it.
    Install,
    /// Runs an empty PostgreSQL until Ctrl-C.
    Postgres,
    /// Runs Odoo 19 with the restaurant demo and an open till until Ctrl-C.
    Odoo,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Install => install().await,
        Command::Postgres => postgres().await,
        Command::Odoo => odoo().await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("counterparts: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn install() -> Result<()> {
    tokio::task::spawn_blocking(|| {
        Postgres::start()?;
        Odoo::install()
    })
    .await??;
    println!("PostgreSQL and Odoo 19 are installed; downloads are kept in {}", cache_dir()?.display());
    Ok(())
}

async fn postgres() -> Result<()> {
    let server = tokio::task::spawn_blocking(Postgres::start).await??;
    println!("database  {}", server.create_database()?);
    until_ctrl_c().await
}

async fn odoo() -> Result<()> {
    let odoo = Odoo::start().await?;
    let session = odoo.open_session().await?;
    println!("address     {}", odoo.base_url());
    println!("login       {ADMIN_LOGIN}, password {ADMIN_PASSWORD}");
    println!("API key     {}", odoo.api_key());
    println!("restaurant  pos.config {} ({RESTAURANT}), session {session}", odoo.restaurant_id());
    println!("database    {}", odoo.postgres().url(odoo.database()));
    println!("log         {}", odoo.log_path().display());
    until_ctrl_c().await
}

async fn until_ctrl_c() -> Result<()> {
    println!("Ctrl-C ends it and removes its data.");
    tokio::signal::ctrl_c().await?;
    Ok(())
}
