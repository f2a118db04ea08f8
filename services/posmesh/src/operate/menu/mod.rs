//! `posmesh menu`: what a store sells, what changed, what was wrong, and what people say about it.

mod overlay;
mod report;
mod review;
mod show;
mod stock;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use posmesh_kit::{Channel, backoff::Backoff, failure, time};
use posmesh_proto::{
    catalog::v1::{
        ApproveSnapshotRequest, DiffCatalogsRequest, GetMenuRequest, ListCatalogVersionsRequest, ListSyncRunsRequest,
        Menu, RejectSnapshotRequest, RollbackCatalogRequest, StartSyncRequest, SyncRun, SyncState, WatchCatalogRequest,
        catalog_service_client::CatalogServiceClient,
    },
    common::v1::Product,
};
use tonic::{Request, Status};

use super::{MAX_ANSWER_BYTES, ProductName, channel, why};
use crate::config::Config;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A whole pull; the service has its own bound.
const SYNC_TIMEOUT: Duration = Duration::from_secs(600);
/// Versions and runs that are shown.
const SHOWN: i32 = 20;

/// What `posmesh menu` takes.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Prints the menu as a product's guests see it.
    Show {
        #[command(flatten)]
        store: StoreName,
        /// Whose menu; else that of the first product that the store sells through.
        #[arg(long, value_name = "NAME")]
        product: Option<ProductName>,
        /// What is sold then, e.g. 2026-11-24T12:00:00+09:00; else now.
        #[arg(long, value_name = "TIME")]
        time: Option<jiff::Timestamp>,
        #[command(flatten)]
        language: Language,
    },
    /// Prints what changed between two versions; by default with the latest one.
    Diff {
        #[command(flatten)]
        store: StoreName,
        /// Else the version before TO.
        #[arg(value_name = "FROM", default_value_t = 0)]
        from: i64,
        /// Else the current version.
        #[arg(value_name = "TO", default_value_t = 0)]
        to: i64,
        #[command(flatten)]
        language: Language,
    },
    /// Goes on, and prints what each new version changes until Ctrl-C.
    Watch {
        #[command(flatten)]
        store: StoreName,
        #[command(flatten)]
        language: Language,
    },
    /// Lists the latest versions.
    Versions(StoreName),
    /// Lists the latest runs of syncs, and what was wrong in the last one.
    Runs(StoreName),
    /// Pulls the menu from the POS now, and tells what came of it. Ends with 0 if it is current, 1 if not.
    Sync(StoreName),
    /// Says that an item or a choice is sold out, in every product.
    SoldOut {
        #[command(flatten)]
        thing: stock::Thing,
        /// It is back by itself then: a time (2026-11-23T18:00+09:00), or how long from now (2h, PT90M).
        #[arg(long, value_name = "WHEN")]
        until: Option<stock::Until>,
        #[command(flatten)]
        person: Person,
    },
    /// Says that what was sold out is back.
    Back {
        #[command(flatten)]
        thing: stock::Thing,
        #[command(flatten)]
        person: Person,
    },
    /// Lists what is sold out beside the current version, and who said so.
    Stock(StoreName),
    /// Publishes what waits for approval.
    Approve(Said),
    /// Refuses what waits for approval.
    Reject(Said),
    /// Makes an earlier version current again.
    Rollback {
        #[command(flatten)]
        store: StoreName,
        /// Whose content becomes current.
        #[arg(value_name = "VERSION")]
        version: i64,
        #[command(flatten)]
        person: Person,
    },
    /// Lists items that are not sold before somebody has looked at them, with what changed; of those that are named, says
    /// that somebody has.
    Review(review::Options),
    /// Photos, texts, translations, and what is sold in which product: what the POS cannot hold.
    Overlay {
        #[command(subcommand)]
        verb: overlay::Verb,
    },
}

#[derive(Args)]
struct StoreName {
    /// The store.
    #[arg(value_name = "STORE")]
    store_id: String,
}

#[derive(Args)]
struct Language {
    /// Of the names, e.g. en; else the store's own.
    #[arg(long, value_name = "TAG", default_value = "")]
    locale: String,
}

#[derive(Args)]
struct Said {
    #[command(flatten)]
    store: StoreName,
    /// The run; else the one that waits.
    #[arg(value_name = "RUN")]
    run_id: Option<String>,
    #[command(flatten)]
    person: Person,
}

#[derive(Args)]
struct Person {
    /// Who says it.
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
}

type Client = CatalogServiceClient<Channel>;

/// Does what is asked, and prints it for a person.
pub(crate) async fn run(config: &Config, options: &Options) -> anyhow::Result<ExitCode> {
    let channel = channel("peers.catalog", &config.peers.catalog, config)?;
    let client = CatalogServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    let printed = match &options.verb {
        Verb::Show { store, product, time, language } => {
            show::menu(&menu(client, store, (*product, *time), language).await?)
        }
        Verb::Diff { store, from, to, language } => diff(client, store, (*from, *to), language).await?,
        Verb::Watch { store, language } => follow(&client, &store.store_id, &language.locale).await,
        Verb::Versions(store) => versions(client, store).await?,
        Verb::Runs(store) => {
            let runs = runs(client, &store.store_id).await?;
            let latest = runs.first().map(report::run).unwrap_or_default();
            format!("{}\n{latest}", report::runs(&runs))
        }
        Verb::Sync(store) => {
            let run = sync(client, store).await?;
            print!("{}", report::run(&run));
            let is_current = matches!(run.state(), SyncState::Published | SyncState::Unchanged);
            return Ok(if is_current { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Verb::SoldOut { thing, until, person } => stock::sold_out(client, thing, *until, person).await?,
        Verb::Back { thing, person } => stock::back(client, thing, person).await?,
        Verb::Stock(store) => stock::list(client, store).await?,
        Verb::Approve(said) => report::run(&approve(client, said).await?),
        Verb::Reject(said) => report::run(&reject(client, said).await?),
        Verb::Review(options) => review::run(client, options).await?,
        Verb::Overlay { verb } => overlay::run(client, verb).await?,
        Verb::Rollback { store, version, person } => rollback(client, store, *version, person).await?,
    };
    print!("{printed}");
    Ok(ExitCode::SUCCESS)
}

/// Within a time in which any answer but a sync's comes.
fn soon<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_TIMEOUT);
    request
}

fn refused(status: Status) -> anyhow::Error {
    anyhow::anyhow!("the catalog service: {}", why(Some(status)))
}

async fn menu(
    mut client: Client,
    store: &StoreName,
    (product, time): (Option<ProductName>, Option<jiff::Timestamp>),
    language: &Language,
) -> anyhow::Result<Menu> {
    let products: Vec<Product> = match product {
        Some(name) => vec![name.into()],
        None => vec![Product::Table, Product::Kiosk, Product::ToGo],
    };
    for product in &products {
        let request = GetMenuRequest {
            store_id: store.store_id.clone(),
            product: (*product).into(),
            locale: language.locale.clone(),
            time: time.map(|time| time::from_unix_ms(time.as_millisecond())),
            ..Default::default()
        };
        match client.get_menu(soon(request)).await {
            Ok(answer) => return answer.into_inner().menu.context("the catalog service sent no menu"),
            Err(status) if products.len() > 1 && failure::reason(&status) == "PRODUCT_NOT_SOLD" => {}
            Err(status) => return Err(refused(status)),
        }
    }
    bail!("{} sells through no product; add a policy to the store", store.store_id)
}

async fn diff(
    mut client: Client,
    store: &StoreName,
    (from_version, to_version): (i64, i64),
    language: &Language,
) -> anyhow::Result<String> {
    let (store_id, locale) = (store.store_id.clone(), language.locale.clone());
    let request = DiffCatalogsRequest { store_id, from_version, to_version, locale };
    let diff = client.diff_catalogs(soon(request)).await.map_err(refused)?.into_inner();
    let head = format!("{}, version {} → {}", store.store_id, diff.from_version, diff.to_version);
    Ok(report::changes(&head, &diff.changes, diff.omitted_changes))
}

/// Prints each new version until the process ends, however often the stream breaks.
async fn follow(client: &Client, store_id: &str, locale: &str) -> ! {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    let mut resume_token = String::new();
    loop {
        let request = WatchCatalogRequest {
            store_id: store_id.to_owned(),
            resume_token: resume_token.clone(),
            locale: locale.to_owned(),
        };
        let ended = match client.clone().watch_catalog(request).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(news)) => {
                            backoff.reset();
                            print!("{}", report::news(store_id, &news));
                            resume_token = news.resume_token;
                        }
                        ended => break ended.err(),
                    }
                }
            }
            Err(status) => Some(status),
        };
        eprintln!("the stream ended ({}); watching again", why(ended));
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn versions(mut client: Client, store: &StoreName) -> anyhow::Result<String> {
    let request =
        ListCatalogVersionsRequest { store_id: store.store_id.clone(), page_size: SHOWN, page_token: String::new() };
    let versions = client.list_catalog_versions(soon(request)).await.map_err(refused)?.into_inner().versions;
    Ok(report::versions(&versions))
}

async fn runs(mut client: Client, store_id: &str) -> anyhow::Result<Vec<SyncRun>> {
    let request = ListSyncRunsRequest { store_id: store_id.to_owned(), page_size: SHOWN, page_token: String::new() };
    Ok(client.list_sync_runs(soon(request)).await.map_err(refused)?.into_inner().runs)
}

async fn sync(mut client: Client, store: &StoreName) -> anyhow::Result<SyncRun> {
    let mut request = Request::new(StartSyncRequest { store_id: store.store_id.clone(), wait: true });
    request.set_timeout(SYNC_TIMEOUT);
    let run = client.start_sync(request).await.map_err(refused)?.into_inner().run;
    run.context("the catalog service sent no run")
}

async fn approve(mut client: Client, said: &Said) -> anyhow::Result<SyncRun> {
    let request = ApproveSnapshotRequest {
        store_id: said.store.store_id.clone(),
        sync_run_id: waiting(&client, said).await?,
        by: said.person.by.clone(),
        note: said.person.note.clone(),
    };
    let run = client.approve_snapshot(soon(request)).await.map_err(refused)?.into_inner().run;
    run.context("the catalog service sent no run")
}

async fn reject(mut client: Client, said: &Said) -> anyhow::Result<SyncRun> {
    let request = RejectSnapshotRequest {
        store_id: said.store.store_id.clone(),
        sync_run_id: waiting(&client, said).await?,
        by: said.person.by.clone(),
        note: said.person.note.clone(),
    };
    let run = client.reject_snapshot(soon(request)).await.map_err(refused)?.into_inner().run;
    run.context("the catalog service sent no run")
}

/// The run that is named, or the one that waits.
async fn waiting(client: &Client, said: &Said) -> anyhow::Result<String> {
    if let Some(run_id) = &said.run_id {
        return Ok(run_id.clone());
    }
    let runs = runs(client.clone(), &said.store.store_id).await?;
    let Some(id) = report::waiting(&runs) else {
        bail!("nothing of {} waits for approval; `posmesh menu runs` lists the runs", said.store.store_id);
    };
    Ok(id)
}

async fn rollback(mut client: Client, store: &StoreName, version: i64, person: &Person) -> anyhow::Result<String> {
    let request = RollbackCatalogRequest {
        store_id: store.store_id.clone(),
        version,
        by: person.by.clone(),
        note: person.note.clone(),
    };
    let answer = client.rollback_catalog(soon(request)).await.map_err(refused)?.into_inner();
    let current = answer.version.context("the catalog service sent no version")?;
    Ok(format!("{} sells version {version} again, as version {}.\n", store.store_id, current.version))
}
