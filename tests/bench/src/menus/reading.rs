//! Menus read over gRPC, and asked whether they still stand over HTTP, against bare echo of the same bytes.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use http::{StatusCode, header, uri::PathAndQuery};
use posmesh_proto::{catalog::v1::GetMenuRequest, common::v1::Product};
use tonic::{Request, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    Options,
    echo::{self, Chain, Role},
    http::Connection,
    launch::{self, Mesh},
    load::{self, Caller, Measured},
    order,
    report::{Ratio, Report, Row, Target, median, ms, per_second},
};

const GET_MENU: &str = "/posmesh.catalog.v1.CatalogService/GetMenu";

/// The rows about reading one store's menu, called `name`.
///
/// # Errors
/// When something cannot be started, or refuses.
pub(super) async fn measure(
    mesh: &Mesh,
    name: &str,
    folder: &Path,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let menu = Reader::open(mesh.catalog)?.read().await?;
    let (file, empty) = (folder.join("menu"), folder.join("nothing"));
    std::fs::write(&file, &menu)?;
    std::fs::write(&empty, "")?;
    let echo = Chain::answering(&[Role::Router], folder, &file)?;
    let echo_over_http = Chain::answering(&[Role::Gateway, Role::Router], folder, &empty)?;
    launch::eventually("the echo answers", async || Reader::open_echo(echo.first)?.read().await).await?;
    let asked = async || Connection::open(echo_over_http.first).await?.post("/", &[], "x".into()).await;
    launch::eventually("the echo answers over HTTP", asked).await?;

    let mut runs: [Vec<Measured<Duration>>; 4] = Default::default();
    let etag = etag(mesh.gateway).await?;
    for _ in 0..options.rounds {
        let readers = |open: fn(SocketAddr) -> Result<Reader>, address| {
            (0..options.callers).map(|_| open(address)).collect::<Result<Vec<_>>>()
        };
        runs[0].push(load::closed_loop(readers(Reader::open, mesh.catalog)?, options.duration()).await?);
        runs[1].push(load::closed_loop(readers(Reader::open_echo, echo.first)?, options.duration()).await?);
        let mut browsers = Vec::new();
        let mut echoed = Vec::new();
        for _ in 0..options.callers {
            let connection = Connection::open(mesh.gateway).await?;
            browsers.push(Browser { connection, etag: etag.clone() });
            echoed.push(EchoBrowser(Connection::open(echo_over_http.first).await?));
        }
        runs[2].push(load::closed_loop(browsers, options.duration()).await?);
        runs[3].push(load::closed_loop(echoed, options.duration()).await?);
    }
    let [menus, bytes, unchanged, nothing] = &runs;
    let what = format!("{name} ({} bytes) read over gRPC, {} callers", menu.len(), options.callers);
    report.row(row(format!("{what}, against bare echo of the same bytes"), menus, bytes));
    let what = format!("{name} that still stands (304) over HTTP, {} callers", options.callers);
    report.row(row(format!("{what}, against bare echo over the same hops"), unchanged, nothing));
    let p99 =
        |runs: &[Measured<Duration>]| median(runs.iter().map(|run| run.latencies(|lap| *lap).p99().as_secs_f64()));
    report.fact(format!(
        "{name}: p99 over gRPC {}, of the echo {}; of a 304 {}, of its echo {}",
        ms(Duration::from_secs_f64(p99(menus))),
        ms(Duration::from_secs_f64(p99(bytes))),
        ms(Duration::from_secs_f64(p99(unchanged))),
        ms(Duration::from_secs_f64(p99(nothing))),
    ));
    Ok(())
}

fn row(what: String, ours: &[Measured<Duration>], peer: &[Measured<Duration>]) -> Row {
    let rate = Measured::per_second;
    Row {
        what,
        ours: per_second(median(ours.iter().map(rate))),
        peer: per_second(median(peer.iter().map(rate))),
        ratio: Ratio::new(ours.iter().zip(peer).map(|(us, peer)| rate(us) / rate(peer)).collect()),
        target: Target::AtLeast(0.8),
    }
}

async fn etag(gateway: SocketAddr) -> Result<String> {
    let answer = Connection::open(gateway).await?.get(&path(), &[]).await?;
    anyhow::ensure!(answer.status.is_success(), "no menu over HTTP: {}", answer.status);
    let etag = answer.headers.get(header::ETAG).context("a menu without ETag")?;
    Ok(etag.to_str()?.to_owned())
}

fn path() -> String {
    format!("/kiosk/v1/stores/{}/menu", order::store_id(0))
}

/// Reads the bytes of a menu, which it does not look into.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    channel: Channel,
    method: &'static str,
}

impl Reader {
    /// Reads menus, over a connection of its own.
    ///
    /// # Errors
    /// Never for addresses.
    pub(super) fn open(catalog: SocketAddr) -> Result<Self> {
        Ok(Self { channel: launch::channel(catalog)?, method: GET_MENU })
    }

    fn open_echo(echo: SocketAddr) -> Result<Self> {
        Ok(Self { channel: launch::channel(echo)?, method: echo::METHOD })
    }

    /// Of the kiosk of the first store.
    async fn read(&mut self) -> Result<Vec<u8>> {
        self.read_one(0, Product::Kiosk).await
    }

    /// The menus of one store.
    ///
    /// # Errors
    /// When one is not given.
    pub(super) async fn read_all_products(&mut self, store: usize) -> Result<()> {
        for product in [Product::Table, Product::ToGo, Product::Kiosk] {
            self.read_one(store, product).await?;
        }
        Ok(())
    }

    async fn read_one(&mut self, store: usize, product: Product) -> Result<Vec<u8>> {
        let request =
            GetMenuRequest { store_id: order::store_id(store), product: product.into(), ..GetMenuRequest::default() };
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await?;
        // A menu is the answer's first field, as the bytes are that a hop answers: both are read alike.
        let codec: ProstCodec<GetMenuRequest, Vec<u8>> = ProstCodec::default();
        let answer = grpc.unary(Request::new(request), PathAndQuery::from_static(self.method), codec).await?;
        let menu = answer.into_inner();
        anyhow::ensure!(!menu.is_empty(), "an empty menu");
        Ok(menu)
    }
}

impl Caller for Reader {
    type Lap = Duration;

    async fn call(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.read().await?;
        Ok(begun.elapsed())
    }
}

/// Holds a menu, and asks whether it still stands.
struct Browser {
    connection: Connection,
    etag: String,
}

impl Caller for Browser {
    type Lap = Duration;

    async fn call(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let answer = self.connection.get(&path(), &[("if-none-match", &self.etag)]).await?;
        anyhow::ensure!(answer.status == StatusCode::NOT_MODIFIED, "the menu no longer stands: {}", answer.status);
        Ok(begun.elapsed())
    }
}

struct EchoBrowser(Connection);

impl Caller for EchoBrowser {
    type Lap = Duration;

    async fn call(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let answer = self.0.post("/", &[], "x".into()).await?;
        anyhow::ensure!(answer.status == StatusCode::OK, "an echo answered {}", answer.status);
        Ok(begun.elapsed())
    }
}
