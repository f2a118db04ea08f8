//! One replica of the catalog service between a client and the fakes.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use posmesh_catalog::{Config, Peers, mount_on, storage::MemoryStorage};
use posmesh_kit::{
    Channel, failure,
    server::{Mounted, ServerConfig, serve},
};
use posmesh_proto::{
    adapter::v1::{self as adapter, PullCatalogRequest, PullCatalogResponse, pull_catalog_response::Piece},
    catalog::v1::{
        Catalog, GetMenuRequest, GetMenuResponse, StartSyncRequest, SyncRun, SyncState,
        catalog_service_client::CatalogServiceClient,
    },
    common::v1::Product,
    router::v1 as router,
    store::v1::{self as store, GetStoreRequest, GetStoreResponse, Store},
};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, transport::Server};

use crate::fixture;

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Large and patient enough for what no test is about.
pub(crate) fn config() -> Config {
    Config {
        pull_timeout: Duration::from_secs(60),
        max_pull_bytes: 24 << 20,
        max_concurrent_syncs: 8,
        run_lease: Duration::from_secs(15),
        schedule_interval: Duration::from_millis(20),
        poll_interval: Duration::ZERO,
        kept_versions: 100,
        kept_runs: 100,
        version_max_age: Duration::from_secs(1),
        catalog_cache_bytes: 64 << 20,
        menu_cache_bytes: 64 << 20,
        max_watchers: 100,
        watcher_max_lag: Duration::from_secs(30),
    }
}

/// What the POS does when it is asked for its master data.
pub(crate) enum Pull {
    /// Sends this, whole.
    Sends(Catalog),
    /// Sends this and breaks off without an end.
    BreaksOffAfter(Catalog),
    /// Sends these very messages.
    Says(Vec<PullCatalogResponse>),
    /// Sends the catalog once it may.
    SendsWhen(Arc<Notify>, Catalog),
    /// Never answers.
    Hangs,
    /// Refuses the call.
    Refuses(Status),
}

/// Where the router and the store service would be.
#[derive(Clone, Default)]
pub(crate) struct World {
    pulls: Arc<Mutex<VecDeque<Pull>>>,
    pulled: Arc<Mutex<Vec<PullCatalogRequest>>>,
    sync_interval: Arc<Mutex<Option<Duration>>>,
    takes_prices: Arc<AtomicBool>,
    holds_changed: Arc<AtomicBool>,
    pub(crate) pos: Arc<Mutex<Stock>>,
}

/// What the POS says of its stock.
#[derive(Default)]
pub(crate) struct Stock {
    /// What a poll is answered; `None`: it cannot be polled.
    pub(crate) state: Option<adapter::CatalogState>,
    pub(crate) polls: usize,
    /// Whether it can be told.
    pub(crate) takes_words: bool,
    pub(crate) told: Vec<adapter::SetAvailabilityRequest>,
}

impl World {
    pub(crate) fn next(&self, pull: Pull) {
        self.pulls.lock().unwrap().push_back(pull);
    }

    /// Stores that are read from now on sync so often; before, only when asked.
    pub(crate) fn sync_every(&self, interval: Duration) {
        *self.sync_interval.lock().unwrap() = Some(interval);
    }

    /// From now on the POS books orders at the prices that they bring.
    pub(crate) fn take_prices(&self) {
        self.takes_prices.store(true, Ordering::Relaxed);
    }

    /// Stores that are read from now on sell nothing that changed before it was reviewed.
    pub(crate) fn hold_changed_items(&self) {
        self.holds_changed.store(true, Ordering::Relaxed);
    }

    /// The pulls that were asked for.
    pub(crate) fn pulled(&self) -> Vec<PullCatalogRequest> {
        self.pulled.lock().unwrap().clone()
    }
}

/// What the scripted POS could not express.
pub(crate) const WARNING: &str = "Cheese is sold by weight and left out";

pub(crate) fn piece(piece: Piece) -> PullCatalogResponse {
    PullCatalogResponse { piece: Some(piece) }
}

fn pieces(catalog: Catalog, whole: bool) -> Vec<PullCatalogResponse> {
    // In two parts, as a real adapter would send.
    let items = catalog.items.clone();
    let rest = Catalog { items: vec![], ..catalog };
    let parts = [rest, Catalog { items, ..Default::default() }].map(|part| piece(Piece::Part(part)));
    let end = whole.then(|| piece(Piece::End(adapter::PullEnd { warnings: vec![WARNING.to_owned()] })));
    parts.into_iter().chain(end).collect()
}

macro_rules! unimplemented_rpcs {
    ($($name:ident: $request:ty => $response:ty,)+) => {
        $(fn $name<'s, 'f>(
            &'s self,
            _: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 'f>>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(async { Err(Status::unimplemented("not part of the script")) })
        })+
    };
}

#[tonic::async_trait]
impl adapter::pos_adapter_service_server::PosAdapterService for World {
    type PullCatalogStream = Streamed<PullCatalogResponse>;

    async fn pull_catalog(
        &self,
        request: Request<PullCatalogRequest>,
    ) -> Result<Response<Self::PullCatalogStream>, Status> {
        self.pulled.lock().unwrap().push(request.into_inner());
        let pull = self.pulls.lock().unwrap().pop_front();
        let messages = match pull.expect("the script says nothing about this pull") {
            Pull::Sends(catalog) => pieces(catalog, true),
            Pull::BreaksOffAfter(catalog) => pieces(catalog, false),
            Pull::Says(messages) => messages,
            Pull::SendsWhen(may, catalog) => {
                may.notified().await;
                pieces(catalog, true)
            }
            Pull::Hangs => return Ok(Response::new(Box::pin(tokio_stream::pending()))),
            Pull::Refuses(status) => return Err(status),
        };
        Ok(Response::new(Box::pin(tokio_stream::iter(messages.into_iter().map(Ok)))))
    }

    async fn describe_adapter(
        &self,
        _: Request<adapter::DescribeAdapterRequest>,
    ) -> Result<Response<adapter::DescribeAdapterResponse>, Status> {
        let takes_words = self.pos.lock().unwrap().takes_words;
        let native = adapter::CapabilitySupport::Native;
        let capability = adapter::Capability {
            name: "SET_AVAILABILITY".to_owned(),
            support: if takes_words { native } else { adapter::CapabilitySupport::Manual }.into(),
            note: "switch it off at the till".to_owned(),
        };
        let descriptor = adapter::AdapterDescriptor { capabilities: vec![capability], ..Default::default() };
        Ok(Response::new(adapter::DescribeAdapterResponse { descriptor: Some(descriptor) }))
    }

    async fn poll_catalog(
        &self,
        _: Request<adapter::PollCatalogRequest>,
    ) -> Result<Response<adapter::PollCatalogResponse>, Status> {
        use adapter::poll_catalog_response::Result::{Failed, State};
        let mut pos = self.pos.lock().unwrap();
        pos.polls += 1;
        let mute = || Failed(adapter::PollFailed { cause: "NOT_SUPPORTED".to_owned(), ..Default::default() });
        let result = pos.state.clone().map_or_else(mute, State);
        Ok(Response::new(adapter::PollCatalogResponse { result: Some(result) }))
    }

    async fn set_availability(
        &self,
        request: Request<adapter::SetAvailabilityRequest>,
    ) -> Result<Response<adapter::SetAvailabilityResponse>, Status> {
        self.pos.lock().unwrap().told.push(request.into_inner());
        let set = adapter::set_availability_response::Result::Set(adapter::AvailabilitySet {});
        Ok(Response::new(adapter::SetAvailabilityResponse { result: Some(set) }))
    }

    unimplemented_rpcs! {
        probe_link: adapter::ProbeLinkRequest => adapter::ProbeLinkResponse,
        submit_order: adapter::SubmitOrderRequest => adapter::SubmitOrderResponse,
        find_order: adapter::FindOrderRequest => adapter::FindOrderResponse,
        list_checks: adapter::ListChecksRequest => adapter::ListChecksResponse,
        get_check: adapter::GetCheckRequest => adapter::GetCheckResponse,
        request_bill: adapter::RequestBillRequest => adapter::RequestBillResponse,
        cancel_order: adapter::CancelOrderRequest => adapter::CancelOrderResponse,
        void_lines: adapter::VoidLinesRequest => adapter::VoidLinesResponse,
        list_pos_orders: adapter::ListPosOrdersRequest => adapter::ListPosOrdersResponse,
        poll_events: adapter::PollEventsRequest => adapter::PollEventsResponse,
        split_check: adapter::SplitCheckRequest => adapter::SplitCheckResponse,
    }
}

#[tonic::async_trait]
impl store::store_service_server::StoreService for World {
    type WatchStoresStream = Streamed<store::WatchStoresResponse>;

    async fn get_store(&self, request: Request<GetStoreRequest>) -> Result<Response<GetStoreResponse>, Status> {
        let store_id = request.into_inner().store_id;
        let known = ["shibuya", "ueno"].contains(&store_id.as_str());
        if !known {
            return Err(posmesh_kit::Failure::new(tonic::Code::NotFound, "STORE_NOT_FOUND", "no such store").into());
        }
        let interval = self.sync_interval.lock().unwrap().unwrap_or_default();
        let sync_interval = Some(posmesh_kit::time::to_proto_duration(interval));
        let held = store::ChangedItems::HideUntilReviewed.into();
        let changed_items = if self.holds_changed.load(Ordering::Relaxed) { held } else { 0 };
        let catalog_policy = Some(store::CatalogPolicy { sync_interval, changed_items, ..Default::default() });
        let lifecycle = store::StoreLifecycle::Live.into();
        let store = Store { store_id, catalog_policy, lifecycle, ..fixture::store() };
        Ok(Response::new(GetStoreResponse { store: Some(store) }))
    }

    async fn watch_stores(
        &self,
        _: Request<store::WatchStoresRequest>,
    ) -> Result<Response<Self::WatchStoresStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }

    async fn get_brand(
        &self,
        request: Request<store::GetBrandRequest>,
    ) -> Result<Response<store::GetBrandResponse>, Status> {
        match request.into_inner().brand_id.as_str() {
            fixture::BRAND => Ok(Response::new(store::GetBrandResponse::default())),
            _ => Err(posmesh_kit::Failure::new(tonic::Code::NotFound, "BRAND_NOT_FOUND", "no such brand").into()),
        }
    }

    unimplemented_rpcs! {
        put_brand: store::PutBrandRequest => store::PutBrandResponse,
        list_brands: store::ListBrandsRequest => store::ListBrandsResponse,
        put_store: store::PutStoreRequest => store::PutStoreResponse,
        list_stores: store::ListStoresRequest => store::ListStoresResponse,
    }
}

#[tonic::async_trait]
impl router::router_service_server::RouterService for World {
    type WatchLinksStream = Streamed<router::WatchLinksResponse>;

    async fn resolve_connection(
        &self,
        _: Request<router::ResolveConnectionRequest>,
    ) -> Result<Response<router::ResolveConnectionResponse>, Status> {
        use adapter::CapabilitySupport::{Native, Unsupported};
        let support = if self.takes_prices.load(Ordering::Relaxed) { Native } else { Unsupported };
        let price_override = adapter::Capability {
            name: "PRICE_OVERRIDE".to_owned(),
            support: support.into(),
            note: "has prices of its own".to_owned(),
        };
        let capabilities = vec![price_override];
        let descriptor = adapter::AdapterDescriptor { vendor: "acme".to_owned(), capabilities, ..Default::default() };
        Ok(Response::new(router::ResolveConnectionResponse { connection: None, descriptor: Some(descriptor) }))
    }

    async fn watch_links(
        &self,
        _: Request<router::WatchLinksRequest>,
    ) -> Result<Response<Self::WatchLinksStream>, Status> {
        Err(Status::unimplemented("not part of the script"))
    }

    unimplemented_rpcs! {
        register_adapter: router::RegisterAdapterRequest => router::RegisterAdapterResponse,
        deregister_adapter: router::DeregisterAdapterRequest => router::DeregisterAdapterResponse,
        list_adapters: router::ListAdaptersRequest => router::ListAdaptersResponse,
        put_connection: router::PutConnectionRequest => router::PutConnectionResponse,
        get_connection: router::GetConnectionRequest => router::GetConnectionResponse,
        list_connections: router::ListConnectionsRequest => router::ListConnectionsResponse,
        delete_connection: router::DeleteConnectionRequest => router::DeleteConnectionResponse,
        list_links: router::ListLinksRequest => router::ListLinksResponse,
        list_link_events: router::ListLinkEventsRequest => router::ListLinkEventsResponse,
        probe_connection: router::ProbeConnectionRequest => router::ProbeConnectionResponse,
        report_links: router::ReportLinksRequest => router::ReportLinksResponse,
    }
}

/// A replica that serves, its client, and the world around it. Ends when dropped.
pub(crate) struct Replica {
    pub(crate) client: CatalogServiceClient<tonic::transport::Channel>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: Option<JoinHandle<()>>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The fakes, at an address.
pub(crate) struct Mesh {
    pub(crate) world: World,
    pub(crate) storage: Arc<MemoryStorage>,
    fakes: SocketAddr,
}

impl Mesh {
    pub(crate) async fn start() -> Self {
        let world = World::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fakes = listener.local_addr().unwrap();
        let server = Server::builder()
            .add_service(adapter::pos_adapter_service_server::PosAdapterServiceServer::new(world.clone()))
            .add_service(store::store_service_server::StoreServiceServer::new(world.clone()))
            .add_service(router::router_service_server::RouterServiceServer::new(world.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        Self { world, storage: Arc::default(), fakes }
    }

    pub(crate) async fn replica(&self) -> Replica {
        self.replica_with(config()).await
    }

    pub(crate) async fn replica_with(&self, config: Config) -> Replica {
        let peer = |name: &str| Channel::remote(name, &format!("http://{}", self.fakes)).unwrap();
        let peers = Peers { store: peer("store"), router: peer("router") };
        let mounted: Mounted = mount_on(&config, self.storage.clone(), peers);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let serving = tokio::spawn(async move {
            serve(&ServerConfig::default(), listener, vec![mounted], stop).await.unwrap();
        });
        let client = CatalogServiceClient::connect(format!("http://{address}")).await.unwrap();
        Replica { client, shutdown, serving: Some(serving) }
    }
}

impl Replica {
    pub(crate) async fn start_sync(&self, wait: bool) -> Result<SyncRun, Status> {
        let request = StartSyncRequest { store_id: "shibuya".to_owned(), wait };
        Ok(self.client.clone().start_sync(request).await?.into_inner().run.unwrap())
    }

    /// A whole run; the world must have a pull for it.
    pub(crate) async fn sync(&self) -> SyncRun {
        let run = self.start_sync(true).await.unwrap();
        assert_ne!(run.state(), SyncState::Running);
        assert!(run.start_time.is_some() && run.end_time.is_some());
        run
    }

    pub(crate) async fn menu(&self, change: impl FnOnce(&mut GetMenuRequest)) -> Result<GetMenuResponse, Status> {
        let mut request =
            GetMenuRequest { store_id: "shibuya".to_owned(), product: Product::Table.into(), ..Default::default() };
        change(&mut request);
        Ok(self.client.clone().get_menu(request).await?.into_inner())
    }

    /// The version of the menu that guests see; 0 before the first one.
    pub(crate) async fn menu_version(&self) -> i64 {
        match self.menu(|_| ()).await {
            Ok(response) => response.menu.unwrap().catalog_version,
            Err(status) => {
                assert_eq!(failure::reason(&status), "CATALOG_NOT_SYNCED", "{status}");
                0
            }
        }
    }
}

/// Waits until `done`, at most 10 s.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let attempt = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), attempt).await.unwrap_or_else(|_| panic!("never: {what}"));
}
