//! Menus: how fast they are read, what a pull costs beyond the POS's own part, and the memory of many stores' menus.

mod large;
mod reading;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use posmesh_proto::{
    adapter::v1::{
        PosTarget, PullCatalogRequest, pos_adapter_service_client::PosAdapterServiceClient,
        pull_catalog_response::Piece,
    },
    catalog::v1::{StartSyncRequest, SyncState, catalog_service_client::CatalogServiceClient},
};
use tonic::transport::Channel;

use crate::{
    Options,
    launch::{self, Mesh, Shape},
    machine, order,
    postgres::Server,
    report::{Ratio, Report, Row, Target, median_duration, ms, ratio},
};

/// Items of the large menu.
const ITEMS: usize = 5000;
const MIB: f64 = 1024.0 * 1024.0;
/// What all caches of menus may hold together.
const CACHE_BYTES: usize = 256 * 1024 * 1024;
/// Menus that are read at once, of different stores.
const READ_AT_ONCE: usize = 16;
/// PostgreSQL's statistics lag behind by a second.
const STATISTICS_LAG: Duration = Duration::from_secs(2);
/// Rows of menus that were ever written; that a run took place, and when the POS is asked again, is noted elsewhere.
const WRITES: &str = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables \
     WHERE schemaname = 'posmesh_catalog' AND relname NOT IN ('sync_runs', 'sync_schedule', 'catalog_polls')";

/// The rows about menus.
///
/// # Errors
/// When something cannot be started, or refuses.
pub(crate) async fn measure(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = server.0.create_database()?;
    let mesh = Mesh::start(Shape::Separate, &url, 1, folder.path(), &[]).await?;
    reading::measure(&mesh, "the built-in menu", folder.path(), options, report).await?;
    large::put(mesh.pos, ITEMS).await?;
    let database = url.rsplit('/').next().context("a URL without a database")?;
    pulling(server, database, &mesh, options, report).await?;
    reading::measure(&mesh, &format!("a menu of {ITEMS} items"), folder.path(), options, report).await?;
    drop(mesh);
    memory(server, options, report).await
}

/// Pulls of the large menu, alone and with everything that is done to publish it; then one in which nothing is new.
async fn pulling(server: &Server, database: &str, mesh: &Mesh, options: &Options, report: &mut Report) -> Result<()> {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        large::reprice(mesh.pos, round as i64 + 1).await?;
        peer.push(pull(mesh).await?);
        let (took, state) = sync(mesh).await?;
        anyhow::ensure!(state == SyncState::Published, "a changed menu is {}", state.as_str_name());
        ours.push(took);
    }
    report.row(Row {
        what: format!("a menu of {ITEMS} items pulled, validated and published, against the pull alone"),
        ours: ms(median_duration(ours.iter().copied())),
        peer: ms(median_duration(peer.iter().copied())),
        ratio: Ratio::new(ours.iter().zip(&peer).map(|(us, peer)| ratio(*us, *peer)).collect()),
        target: Target::AtMost(1.1),
    });
    tokio::time::sleep(STATISTICS_LAG).await;
    let before: u64 = server.query(database, WRITES)?.parse()?;
    let (_, state) = sync(mesh).await?;
    anyhow::ensure!(state == SyncState::Unchanged, "an unchanged menu is {}", state.as_str_name());
    tokio::time::sleep(STATISTICS_LAG).await;
    let writes = server.query(database, WRITES)?.parse::<u64>()? - before;
    report.row(Row {
        what: "rows of menus written by a pull in which nothing is new".to_owned(),
        ours: format!("{writes} rows"),
        peer: String::new(),
        ratio: Ratio::new(vec![writes as f64]),
        target: Target::AtMost(0.0),
    });
    Ok(())
}

/// The POS's own part: everything through the adapter, to the last piece.
async fn pull(mesh: &Mesh) -> Result<Duration> {
    let target = Some(PosTarget { store_id: order::store_id(0), ..PosTarget::default() });
    let begun = Instant::now();
    let request = PullCatalogRequest { target, ..PullCatalogRequest::default() };
    let mut client = PosAdapterServiceClient::new(launch::channel(mesh.router)?).max_decoding_message_size(usize::MAX);
    let mut pieces = client.pull_catalog(request).await?.into_inner();
    while let Some(piece) = pieces.message().await? {
        if matches!(piece.piece, Some(Piece::End(_))) {
            return Ok(begun.elapsed());
        }
    }
    anyhow::bail!("the pull broke off")
}

async fn sync(mesh: &Mesh) -> Result<(Duration, SyncState)> {
    let begun = Instant::now();
    let request = StartSyncRequest { store_id: order::store_id(0), wait: true };
    let run = catalogs(mesh)?.start_sync(request).await?.into_inner().run.context("no run")?;
    Ok((begun.elapsed(), run.state()))
}

fn catalogs(mesh: &Mesh) -> Result<CatalogServiceClient<Channel>> {
    Ok(CatalogServiceClient::new(launch::channel(mesh.catalog)?).max_decoding_message_size(usize::MAX))
}

/// The menus of many stores, read in all products, and the memory of the replica that answered.
async fn memory(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (stores, third) = (options.linked, (CACHE_BYTES / 3).to_string());
    let settings = [("CATALOG__CATALOG_CACHE_BYTES", third.clone()), ("CATALOG__MENU_CACHE_BYTES", third)];
    let url = server.0.create_database()?;
    let mesh = Mesh::start(Shape::Separate, &url, stores, folder.path(), &settings).await?;
    let replica = mesh.process("catalog")?.id();
    let begun = Instant::now();
    let client = reading::Reader::open(mesh.catalog)?;
    stream::iter(0..stores)
        .map(|number| {
            let mut client = client.clone();
            async move { client.read_all_products(number).await }
        })
        .buffer_unordered(READ_AT_ONCE)
        .try_collect::<()>()
        .await?;
    let (resident, most) = machine::resident(replica)?;
    report.fact(format!(
        "menus of {stores} stores in three products read in {:.0} s: resident {:.0} MiB then",
        begun.elapsed().as_secs_f64(),
        resident as f64 / MIB
    ));
    report.row(Row {
        what: format!("most memory of one catalog replica that serves the menus of {stores} stores, MiB"),
        ours: format!("{:.0} MiB", most as f64 / MIB),
        peer: String::new(),
        ratio: Ratio::new(vec![most as f64 / MIB]),
        target: Target::AtMost(1024.0),
    });
    Ok(())
}
