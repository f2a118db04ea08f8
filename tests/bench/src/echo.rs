//! The limit of the whole path: as many processes with the same hops between them, and nothing in them but the hop: HTTP
//! in, three times gRPC, HTTP to the POS; the second one commits before it calls on and after it was answered.
//!
//! The payload is as large as an order and goes the whole way and back.

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message as _;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    client::Grpc,
    server::{NamedService, UnaryService},
    transport::{Channel, Endpoint, Server},
};
use tonic_prost::ProstCodec;

use crate::{http::Connection, launch, load::Caller, order};

/// What a hop on gRPC answers.
pub(crate) const METHOD: &str = "/bench.Echo/Call";
const MAX_CONNECTIONS: u32 = 10;

/// What a hop takes, and where it goes on to.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HopArguments {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// `gateway` and `pos` listen on HTTP, `order`, `router` and `adapter` on gRPC.
    #[arg(long)]
    role: Role,
    /// Where the next hop listens.
    #[arg(long)]
    next: Option<SocketAddr>,
    /// Where `order` commits; without it does not.
    #[arg(long)]
    database: Option<String>,
    /// Whose bytes the last hop answers, whatever it is asked.
    #[arg(long)]
    answer: Option<PathBuf>,
}

/// Which of the mesh's processes a hop stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// HTTP to gRPC.
    Gateway,
    /// gRPC to gRPC, with commits.
    Order,
    /// gRPC to gRPC.
    Router,
    /// gRPC to HTTP.
    Adapter,
    /// HTTP.
    Pos,
}

impl Role {
    const ALL: [Self; 5] = [Self::Gateway, Self::Order, Self::Router, Self::Adapter, Self::Pos];

    fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Order => "order",
            Self::Router => "router",
            Self::Adapter => "adapter",
            Self::Pos => "pos",
        }
    }
}

/// Runs as one hop until it is killed.
///
/// # Errors
/// When it cannot listen or connect.
pub(crate) async fn serve(arguments: HopArguments) -> Result<()> {
    let listener = TcpListener::bind(arguments.listen).await?;
    let hop = Arc::new(Hop::new(&arguments).await?);
    if matches!(arguments.role, Role::Gateway | Role::Pos) {
        let app = Router::new().route("/", post(answer)).with_state(hop);
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
        return Ok(axum::serve(listener, app).await?);
    }
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(Server::builder().add_service(EchoServer(hop)).serve_with_incoming(incoming).await?)
}

async fn answer(State(hop): State<Arc<Hop>>, body: Bytes) -> Result<Vec<u8>, axum::http::StatusCode> {
    hop.pass(body.into()).await.map_err(|_| axum::http::StatusCode::BAD_GATEWAY)
}

/// The next hop, and the database where there is one.
#[derive(Debug)]
struct Hop {
    next: Next,
    database: Option<PgPool>,
}

#[derive(Debug)]
enum Next {
    /// The last hop: it gives back what it got.
    None,
    /// The last hop: it gives the same to everybody.
    Answer(Vec<u8>),
    Grpc(Channel),
    /// A pool of one connection for each caller that is under way.
    Http(SocketAddr, std::sync::Mutex<Vec<Connection>>),
}

impl Hop {
    async fn new(arguments: &HopArguments) -> Result<Self> {
        let next = match (arguments.role, arguments.next, &arguments.answer) {
            (_, None, Some(file)) => Next::Answer(std::fs::read(file).context("--answer")?),
            (Role::Pos, ..) => Next::None,
            (Role::Adapter, Some(next), _) => Next::Http(next, std::sync::Mutex::default()),
            (_, Some(next), _) => {
                Next::Grpc(Endpoint::from_shared(format!("http://{next}"))?.tcp_nodelay(true).connect_lazy())
            }
            (_, None, _) => anyhow::bail!("--next is missing"),
        };
        let database = match &arguments.database {
            Some(url) => Some(PgPoolOptions::new().max_connections(MAX_CONNECTIONS).connect(url).await?),
            None => None,
        };
        Ok(Self { next, database })
    }

    async fn pass(&self, payload: Vec<u8>) -> Result<Vec<u8>> {
        let Some(database) = &self.database else { return self.call_next(payload).await };
        let new = order::taken(0);
        commit_accept(database, &new, &payload).await?;
        let answer = self.call_next(payload).await?;
        commit_end(database, &new.order.order_id, &answer).await?;
        Ok(answer)
    }

    async fn call_next(&self, payload: Vec<u8>) -> Result<Vec<u8>> {
        match &self.next {
            Next::None => Ok(payload),
            Next::Answer(answer) => Ok(answer.clone()),
            Next::Grpc(channel) => {
                let mut grpc = Grpc::new(channel.clone());
                grpc.ready().await?;
                let codec: ProstCodec<Vec<u8>, Vec<u8>> = ProstCodec::default();
                let answer = grpc.unary(Request::new(payload), PathAndQuery::from_static(METHOD), codec).await?;
                Ok(answer.into_inner())
            }
            Next::Http(address, idle) => {
                let lock = || idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let pooled = lock().pop();
                let mut connection = match pooled {
                    Some(connection) => connection,
                    None => Connection::open(*address).await?,
                };
                let answer = connection.post("/", &[], payload.into()).await?;
                lock().push(connection);
                Ok(answer.body.into())
            }
        }
    }
}

const ACCEPT: &str = "WITH written AS ( \
         INSERT INTO orders (tenant_id, order_id, caller, request_id, request_hash, store_id, state, cause, version, \
             created_ms, display_number, round, due_ms, lease_owner, doc) \
         VALUES ('default', $1, 'default', $2, $3, $4, 3, '', 1, $5, 1, 0, $5 + 35000, $6, $7) \
         RETURNING tenant_id, order_id) \
     INSERT INTO order_events (tenant_id, order_id, version, at_ms, state, cause, replica) \
     SELECT tenant_id, order_id, 1, $5, 3, '', $6 FROM written";

const END: &str = "WITH written AS ( \
         UPDATE orders SET version = 2, state = 5, lease_owner = NULL, due_ms = NULL, doc = $3 \
         WHERE tenant_id = 'default' AND order_id = $1 AND version = 1 RETURNING tenant_id, order_id) \
     INSERT INTO order_events (tenant_id, order_id, version, at_ms, state, cause, replica) \
     SELECT tenant_id, order_id, 2, $2, 5, '', 'bench' FROM written";

async fn commit_accept(database: &PgPool, new: &posmesh_order::storage::NewOrder, doc: &[u8]) -> Result<()> {
    sqlx::query(ACCEPT)
        .bind(&new.order.order_id)
        .bind(&new.request_id)
        .bind(&new.request_hash)
        .bind(&new.order.store_id)
        .bind(posmesh_kit::time::now_unix_ms())
        .bind(new.order.attempts.first().map(|attempt| attempt.replica.as_str()))
        .bind(doc)
        .execute(database)
        .await?;
    Ok(())
}

async fn commit_end(database: &PgPool, order_id: &str, doc: &[u8]) -> Result<()> {
    let end = sqlx::query(END).bind(order_id).bind(posmesh_kit::time::now_unix_ms()).bind(doc);
    end.execute(database).await?;
    Ok(())
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Debug, Clone)]
struct EchoServer(Arc<Hop>);

impl NamedService for EchoServer {
    const NAME: &'static str = "bench.Echo";
}

impl tower::Service<http::Request<Body>> for EchoServer {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Boxed<Result<http::Response<Body>, std::convert::Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = Echo(Arc::clone(&self.0));
        Box::pin(async move {
            let codec: ProstCodec<Vec<u8>, Vec<u8>> = ProstCodec::default();
            Ok(tonic::server::Grpc::new(codec).unary(method, request).await)
        })
    }
}

struct Echo(Arc<Hop>);

impl UnaryService<Vec<u8>> for Echo {
    type Response = Vec<u8>;
    type Future = Boxed<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        let hop = Arc::clone(&self.0);
        Box::pin(async move {
            let answer = hop.pass(request.into_inner()).await;
            answer.map(Response::new).map_err(|error| Status::unknown(format!("{error:#}")))
        })
    }
}

/// The running hops.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Where the first one listens.
    pub(crate) first: SocketAddr,
    _processes: Vec<posmesh_e2e::Process>,
}

impl Chain {
    /// Starts as many as an order passes, and waits until they answer.
    ///
    /// # Errors
    /// When one does not start.
    pub(crate) async fn start(folder: &Path, database_url: Option<&str>) -> Result<Self> {
        let chain = Self::launch(&Role::ALL, folder, database_url, None)?;
        launch::eventually("the echo answers", async || chain.caller().await?.call().await).await?;
        Ok(chain)
    }

    /// Starts hops of which the last one answers the bytes of a file.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(crate) fn answering(roles: &[Role], folder: &Path, answer: &Path) -> Result<Self> {
        Self::launch(roles, folder, None, Some(answer))
    }

    fn launch(roles: &[Role], folder: &Path, database_url: Option<&str>, answer: Option<&Path>) -> Result<Self> {
        let mut next: Option<SocketAddr> = None;
        let mut processes = Vec::new();
        for role in roles.iter().rev() {
            let address = launch::free_address()?;
            let mut arguments = vec!["hop".to_owned(), "--role".to_owned(), role.name().to_owned()];
            arguments.extend(["--listen".to_owned(), address.to_string()]);
            if let (None, Some(answer)) = (next, answer) {
                arguments.extend(["--answer".to_owned(), answer.display().to_string()]);
            }
            arguments.extend(next.into_iter().flat_map(|next| ["--next".to_owned(), next.to_string()]));
            if let (Role::Order, Some(url)) = (role, database_url) {
                arguments.extend(["--database".to_owned(), format!("{url}?options=-c%20search_path%3Dposmesh_order")]);
            }
            let name = format!("echo-{}", role.name());
            let arguments = arguments.into_iter().map(Into::into).collect();
            let program = std::env::current_exe().context("the bench does not know where it is")?;
            processes.push(posmesh_e2e::Process::start(&name, &program, arguments, Vec::new(), folder)?);
            next = Some(address);
        }
        Ok(Self { first: next.context("there are no hops")?, _processes: processes })
    }

    /// A caller with a connection of its own.
    ///
    /// # Errors
    /// When the first hop does not listen.
    pub(crate) async fn caller(&self) -> Result<EchoCaller> {
        let payload = order::taken(0).order.encode_to_vec().into();
        Ok(EchoCaller { connection: Connection::open(self.first).await?, payload })
    }
}

/// Calls through the whole chain.
#[derive(Debug)]
pub(crate) struct EchoCaller {
    connection: Connection,
    payload: Bytes,
}

impl Caller for EchoCaller {
    type Lap = Duration;

    async fn call(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let answer = self.connection.post("/", &[], self.payload.clone()).await?;
        anyhow::ensure!(answer.status == 200 && answer.body.len() == self.payload.len(), "an echo answered {answer:?}");
        Ok(begun.elapsed())
    }
}
