//! `posmesh`: the one command of the mesh. It runs any of the services, migrates their databases, and shows the whole
//! mesh on one machine.

mod config;
mod demo;
mod dev;
mod mesh;
mod migrate;
mod operate;
mod progress;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use posmesh_kit::{
    config::{ConfigError, EXIT_CODE},
    shutdown,
    telemetry::Telemetry,
};
use posmesh_kit_db::DbError;
use posmesh_router::MountError;

use crate::{
    config::{Config, DEFAULTS},
    mesh::{Mesh, ServiceName, Sockets},
};

/// Messages and calls are made of many short-lived pieces, which tasks on several threads give back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The mesh between restaurants' ordering products and their POS systems.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// TOML file; its values win over the defaults, POSMESH__SECTION__KEY in the environment over both.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one or several services in this process, until SIGTERM or Ctrl-C.
    Serve {
        /// Those named here call each other in process, and the others at the endpoints under `peers`.
        #[arg(required = true, value_name = "NAME")]
        services: Vec<ServiceName>,
    },
    /// Brings the databases of services up to date. `serve` does so as well, when it starts.
    Migrate {
        /// Services with a database; all of them if none is named.
        #[arg(value_name = "NAME")]
        services: Vec<migrate::Migratable>,
    },
    /// Prints the defaults with their comments.
    Config,
    /// Runs the whole mesh with a simulated POS and a store on this machine.
    Dev(dev::Options),
    /// Orders through each product and shows the kitchen tickets, then ends.
    Demo,
    /// Shows the orders that need a person, and what to do about each.
    Attention(operate::AttentionOptions),
    /// Shows whether each store's POS can be reached, and if not, which hop fails and why; or one link's history.
    Links(operate::LinksOptions),
    /// Shows whether stores' orders are taken, and why not; pauses and resumes a store.
    Gate(operate::GateOptions),
    /// Shows a store's menu, what changed in it and what was wrong; syncs, approves, rolls back.
    Menu(operate::MenuOptions),
    /// Compares our orders with those that a POS holds. Ends with 0 if all agree, 1 if not, 2 if it could not compare.
    Reconcile(operate::ReconcileOptions),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("posmesh: {error:#}");
            if is_config_error(&error) { ExitCode::from(EXIT_CODE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Command::Config = arguments.command {
        print!("{DEFAULTS}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut config = Config::load(arguments.config.as_deref())?;
    if config.telemetry.log_filter.is_empty() {
        // What dev and demo print is for a person; services log for operators.
        let filter = match arguments.command {
            Command::Demo
            | Command::Attention(_)
            | Command::Links(_)
            | Command::Gate(_)
            | Command::Menu(_)
            | Command::Reconcile(_) => "error",
            Command::Dev(_) => "warn",
            // The database driver repeats each harmless notice of PostgreSQL.
            Command::Serve { .. } | Command::Migrate { .. } | Command::Config => "info,sqlx=warn",
        };
        config.telemetry.log_filter = filter.to_owned();
    }
    // Fails only if one is installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let telemetry = Telemetry::install(&config.telemetry)?;
        let result = execute(arguments.command, config).await;
        telemetry.shutdown();
        result
    })
}

async fn execute(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { services } => serve(&config, &services).await?,
        Command::Migrate { services } => migrate::run(&config.database, &services).await?,
        Command::Dev(options) => dev::run(config, options).await?,
        Command::Demo => demo::run(config).await?,
        Command::Attention(options) => operate::attention(&config, &options).await?,
        Command::Links(options) => operate::links(&config, &options).await?,
        Command::Gate(options) => operate::gate(&config, &options).await?,
        Command::Menu(options) => return operate::menu(&config, &options).await,
        Command::Reconcile(options) => return Ok(operate::reconcile(&config, &options).await),
        Command::Config => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config, services: &[ServiceName]) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signal()?;
    let sockets = Sockets::bind(&config.listen, services).await?;
    Mesh::start(config, services, sockets).await?.run(shutdown).await
}

/// Whether the operator has to change a setting before it makes sense to start again.
fn is_config_error(error: &anyhow::Error) -> bool {
    let database = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(MountError::Config(_)), _) => return true,
        (Some(MountError::Open(error)), _) | (_, Some(posmesh_order::Error::Database(error))) => Some(error),
        _ => error.downcast_ref(),
    };
    error.is::<ConfigError>() || matches!(database, Some(DbError::Config(_)))
}
