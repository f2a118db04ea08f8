use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use posmesh_adapter_kit::{Registration, mount_registered, program};
use posmesh_kit::{
    Channel, config,
    server::{self, Mounted, ServerConfig},
    time,
};
use posmesh_proto::{
    adapter::v1::AdapterDescriptor,
    router::v1::{
        DeleteConnectionRequest, DeleteConnectionResponse, DeregisterAdapterRequest, DeregisterAdapterResponse,
        GetConnectionRequest, GetConnectionResponse, ListAdaptersRequest, ListAdaptersResponse, ListConnectionsRequest,
        ListConnectionsResponse, PutConnectionRequest, PutConnectionResponse, RegisterAdapterRequest,
        RegisterAdapterResponse, ResolveConnectionRequest, ResolveConnectionResponse,
        router_service_server::{RouterService, RouterServiceServer},
    },
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};

use crate::support::{Acme, until};

const LEASE: Duration = Duration::from_millis(600);

/// Writes down who registers and who leaves.
#[derive(Clone, Default)]
struct Book {
    registered: Arc<Mutex<Vec<RegisterAdapterRequest>>>,
    left: Arc<Mutex<Vec<String>>>,
}

impl Book {
    fn registrations(&self) -> usize {
        self.registered.lock().unwrap().len()
    }
}

#[tonic::async_trait]
impl RouterService for Book {
    async fn register_adapter(
        &self,
        request: Request<RegisterAdapterRequest>,
    ) -> Result<Response<RegisterAdapterResponse>, Status> {
        self.registered.lock().unwrap().push(request.into_inner());
        Ok(Response::new(RegisterAdapterResponse { lease: Some(time::to_proto_duration(LEASE)), instances: 1 }))
    }

    async fn deregister_adapter(
        &self,
        request: Request<DeregisterAdapterRequest>,
    ) -> Result<Response<DeregisterAdapterResponse>, Status> {
        self.left.lock().unwrap().push(request.into_inner().instance_id);
        Ok(Response::new(DeregisterAdapterResponse {}))
    }

    async fn list_adapters(&self, _: Request<ListAdaptersRequest>) -> Result<Response<ListAdaptersResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn put_connection(
        &self,
        _: Request<PutConnectionRequest>,
    ) -> Result<Response<PutConnectionResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn get_connection(
        &self,
        _: Request<GetConnectionRequest>,
    ) -> Result<Response<GetConnectionResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn list_connections(
        &self,
        _: Request<ListConnectionsRequest>,
    ) -> Result<Response<ListConnectionsResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn delete_connection(
        &self,
        _: Request<DeleteConnectionRequest>,
    ) -> Result<Response<DeleteConnectionResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn resolve_connection(
        &self,
        _: Request<ResolveConnectionRequest>,
    ) -> Result<Response<ResolveConnectionResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn list_links(
        &self,
        _: Request<posmesh_proto::router::v1::ListLinksRequest>,
    ) -> Result<Response<posmesh_proto::router::v1::ListLinksResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
    async fn list_link_events(
        &self,
        _: Request<posmesh_proto::router::v1::ListLinkEventsRequest>,
    ) -> Result<Response<posmesh_proto::router::v1::ListLinkEventsResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
    type WatchLinksStream = std::pin::Pin<
        Box<dyn tokio_stream::Stream<Item = Result<posmesh_proto::router::v1::WatchLinksResponse, Status>> + Send>,
    >;
    async fn watch_links(
        &self,
        _: Request<posmesh_proto::router::v1::WatchLinksRequest>,
    ) -> Result<Response<Self::WatchLinksStream>, Status> {
        Err(Status::unimplemented("not yet"))
    }
    async fn probe_connection(
        &self,
        _: Request<posmesh_proto::router::v1::ProbeConnectionRequest>,
    ) -> Result<Response<posmesh_proto::router::v1::ProbeConnectionResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
    async fn report_links(
        &self,
        _: Request<posmesh_proto::router::v1::ReportLinksRequest>,
    ) -> Result<Response<posmesh_proto::router::v1::ReportLinksResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}

/// A router at `address` until the token is cancelled and the task has ended.
async fn router(book: &Book, address: SocketAddr) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Routes::new(RouterServiceServer::new(book.clone()));
    let mounted = Mounted::new("router", routes, vec!["posmesh.router.v1.RouterService"]);
    let stop = CancellationToken::new();
    let shutdown = stop.clone();
    let config = ServerConfig { shutdown_grace: Duration::from_millis(500), ..ServerConfig::default() };
    let task = tokio::spawn(async move { server::serve(&config, listener, vec![mounted], shutdown).await.unwrap() });
    (address, stop, task)
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn acme() -> Acme {
    Acme { descriptor: AdapterDescriptor { vendor: "acme".into(), ..AdapterDescriptor::default() }, ..Acme::default() }
}

#[tokio::test]
async fn a_lease_is_renewed_before_it_ends_and_again_after_the_router_was_away() {
    let book = Book::default();
    let (address, stop, ended) = router(&book, anywhere()).await;
    let (mounted, instance_id) = mount_registered(
        Arc::new(acme()),
        Registration {
            router: Channel::remote("router", &format!("http://{address}")).unwrap(),
            endpoint: "http://127.0.0.1:9".into(),
            connection_ids: vec!["c-1".into()],
        },
    );
    until("it is registered", || book.registrations() >= 1).await;
    let begun = std::time::Instant::now();
    until("it is renewed thrice", || book.registrations() >= 4).await;
    assert!(begun.elapsed() <= LEASE * 2, "three renewals at a third of the lease: {:?}", begun.elapsed());
    assert!(begun.elapsed() >= LEASE / 2 - Duration::from_millis(5), "not more often than needed");

    stop.cancel();
    ended.await.unwrap();
    let before = book.registrations();
    let (_, _stop, _) = router(&book, address).await;
    until("it is back", || book.registrations() > before).await;
    for request in book.registered.lock().unwrap().iter() {
        assert_eq!(request.instance_id, instance_id);
        assert_eq!(request.endpoint, "http://127.0.0.1:9");
        assert_eq!(request.connection_ids, ["c-1"]);
        assert_eq!(request.descriptor.as_ref().unwrap().vendor, "acme");
    }
    mounted.stop.cancel();
    mounted.background.close();
    mounted.background.wait().await;
}

#[tokio::test]
async fn an_adapter_that_shuts_down_leaves_the_routing_at_once() {
    let book = Book::default();
    let (address, _stop, _) = router(&book, anywhere()).await;
    let mut config: program::Config = config::load(program::DEFAULTS, None).unwrap();
    config.router = format!("http://{address}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { program::run(&config, Arc::new(acme()), listener, shutdown).await }
    });
    until("it is registered", || book.registrations() >= 1).await;
    let registered = book.registered.lock().unwrap()[0].clone();
    assert_eq!(registered.endpoint, endpoint);
    shutdown.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(*book.left.lock().unwrap(), [registered.instance_id]);
}
