//! The kit over real sockets: what a caller and an operator can rely on from every posmesh server.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::Stream;
use posmesh_kit::{
    Channel, call, failure,
    server::{Mounted, ServerConfig, serve},
};
use posmesh_proto::store::v1::{
    GetBrandRequest, GetBrandResponse, GetStoreRequest, GetStoreResponse, ListBrandsRequest, ListBrandsResponse,
    ListStoresRequest, ListStoresResponse, PutBrandRequest, PutBrandResponse, PutStoreRequest, PutStoreResponse,
    WatchStoresRequest, WatchStoresResponse,
    store_service_client::StoreServiceClient,
    store_service_server::{SERVICE_NAME, StoreService, StoreServiceServer},
};
use tokio::{io::AsyncReadExt as _, net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, service::Routes};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt as _;

/// A store service whose GetStore does what the store's id says.
#[derive(Clone, Default)]
struct Scripted {
    calls: Arc<AtomicUsize>,
    entered: Arc<Notify>,
    next_hop: Option<StoreServiceClient<Channel>>,
}

#[tonic::async_trait]
impl StoreService for Scripted {
    type WatchStoresStream = Pin<Box<dyn Stream<Item = Result<WatchStoresResponse, Status>> + Send>>;

    async fn get_store(&self, request: Request<GetStoreRequest>) -> Result<Response<GetStoreResponse>, Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.entered.notify_one();
        match request.get_ref().store_id.as_str() {
            "panic" => panic!("the handler is broken"),
            "never" => std::future::pending().await,
            "time-left" => {
                let left = call::time_left().map_or(0, |t| t.as_millis());
                Err(Status::aborted(left.to_string()))
            }
            "next-hop" => {
                let request = GetStoreRequest { store_id: "time-left".into() };
                self.next_hop.clone().unwrap().get_store(request).await
            }
            _ => Ok(Response::new(GetStoreResponse::default())),
        }
    }

    async fn put_brand(&self, _: Request<PutBrandRequest>) -> Result<Response<PutBrandResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn get_brand(&self, _: Request<GetBrandRequest>) -> Result<Response<GetBrandResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn list_brands(&self, _: Request<ListBrandsRequest>) -> Result<Response<ListBrandsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn put_store(&self, _: Request<PutStoreRequest>) -> Result<Response<PutStoreResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn list_stores(&self, _: Request<ListStoresRequest>) -> Result<Response<ListStoresResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn watch_stores(&self, _: Request<WatchStoresRequest>) -> Result<Response<Self::WatchStoresStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn mounted(service: Scripted) -> Mounted {
    Mounted::new("store", Routes::new(StoreServiceServer::new(service)), vec![SERVICE_NAME])
}

async fn start(service: Scripted, config: ServerConfig) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let shutdown = stop.clone();
    tokio::spawn(async move { serve(&config, listener, vec![mounted(service)], shutdown).await.unwrap() });
    (address, stop)
}

fn client(endpoints: &str) -> StoreServiceClient<Channel> {
    StoreServiceClient::new(Channel::remote("store", endpoints).unwrap())
}

async fn get(client: &StoreServiceClient<Channel>, store_id: &str) -> Result<(), Status> {
    client.clone().get_store(GetStoreRequest { store_id: store_id.into() }).await.map(|_| ())
}

/// A port that refuses connections.
async fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_call_that_cannot_connect_is_proven_not_handed_over() {
    let status = get(&client(&format!("http://{}", dead_address().await)), "x").await.unwrap_err();
    assert!(failure::is_not_handed_over(&status), "{status:?}");
    assert_eq!(failure::metadata(&status, "cause").as_deref(), Some("NETWORK_DOWN"));
}

#[tokio::test]
async fn a_connection_that_breaks_during_the_call_proves_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                // Takes the preface, the settings and the request, and hangs up.
                let mut taken = vec![0; 24 + 100];
                let _ = socket.read_exact(&mut taken).await;
            });
        }
    });
    let status = get(&client(&format!("http://{address}")), "x").await.unwrap_err();
    assert!(!failure::is_not_handed_over(&status), "{status:?}");
}

#[tokio::test]
async fn calls_go_on_while_one_of_two_replicas_is_dead() {
    let service = Scripted::default();
    let (live, _stop) = start(service.clone(), ServerConfig::default()).await;
    let client = client(&format!("http://{},http://{live}", dead_address().await));
    for _ in 0..10 {
        get(&client, "x").await.unwrap();
    }
    assert_eq!(service.calls.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn calls_are_spread_over_the_replicas() {
    let (one, two) = (Scripted::default(), Scripted::default());
    let (first, _stop) = start(one.clone(), ServerConfig::default()).await;
    let (second, _stop) = start(two.clone(), ServerConfig::default()).await;
    let client = client(&format!("http://{first},http://{second}"));
    for _ in 0..10 {
        get(&client, "x").await.unwrap();
    }
    assert_eq!((one.calls.load(Ordering::SeqCst), two.calls.load(Ordering::SeqCst)), (5, 5));
}

#[tokio::test]
async fn a_replica_that_comes_back_is_used_again() {
    let (address, stop) = start(Scripted::default(), ServerConfig::default()).await;
    let client = client(&format!("http://{address}"));
    get(&client, "x").await.unwrap();
    stop.cancel();
    while get(&client, "x").await.is_ok() {}
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let again = vec![mounted(Scripted::default())];
    tokio::spawn(async move { serve(&ServerConfig::default(), listener, again, CancellationToken::new()).await });
    tokio::time::timeout(Duration::from_secs(10), async { while get(&client, "x").await.is_err() {} }).await.unwrap();
}

#[tokio::test]
async fn a_panic_in_a_handler_is_internal_for_its_caller_and_nothing_for_the_others() {
    let (address, _stop) = start(Scripted::default(), ServerConfig::default()).await;
    let client = client(&format!("http://{address}"));
    let status = get(&client, "panic").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("broken"), "what went wrong is for the log: {status:?}");
    get(&client, "x").await.unwrap();
}

#[tokio::test]
async fn a_full_server_sheds_at_once_and_says_when_to_come_back() {
    let service = Scripted::default();
    let config = ServerConfig { max_concurrent_calls: 1, ..ServerConfig::default() };
    let (address, _stop) = start(service.clone(), config).await;
    let busy = client(&format!("http://{address}"));
    let stuck = tokio::spawn(async move { get(&busy, "never").await });
    service.entered.notified().await;
    let status = get(&client(&format!("http://{address}")), "x").await.unwrap_err();
    assert_eq!(failure::reason(&status), "OVERLOADED");
    assert!(failure::is_not_handed_over(&status), "no code of the call ran");
    assert!(status.get_details_retry_info().and_then(|r| r.retry_delay).is_some());
    assert_eq!(service.calls.load(Ordering::SeqCst), 1);
    stuck.abort();
}

#[tokio::test]
async fn a_caller_that_sets_a_deadline_gets_an_answer_by_then() {
    let (address, _stop) = start(Scripted::default(), ServerConfig::default()).await;
    let mut request = Request::new(GetStoreRequest { store_id: "never".into() });
    request.set_timeout(Duration::from_millis(50));
    let status = client(&format!("http://{address}")).get_store(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_deadline_goes_on_to_the_next_hop_over_the_network_and_in_process() {
    let (behind, _stop) = start(Scripted::default(), ServerConfig::default()).await;
    let in_process = StoreServiceClient::new(mounted(Scripted::default()).channel(&ServerConfig::default()));
    for next_hop in [client(&format!("http://{behind}")), in_process] {
        let service = Scripted { next_hop: Some(next_hop), ..Scripted::default() };
        let (front, _stop) = start(service, ServerConfig::default()).await;
        let mut request = Request::new(GetStoreRequest { store_id: "next-hop".into() });
        request.set_timeout(Duration::from_millis(5_000));
        let status = client(&format!("http://{front}")).get_store(request).await.unwrap_err();
        let left_ms: u64 = status.message().parse().unwrap();
        assert!((1..=5_000).contains(&left_ms), "{left_ms} ms were left at the second hop");
    }
}

#[tokio::test]
async fn health_is_told_per_service_and_reflection_lists_only_what_is_served() {
    let (address, _stop) = start(Scripted::default(), ServerConfig::default()).await;
    let channel = tonic::transport::Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    let status = |service: &str| HealthCheckRequest { service: service.into() };
    let serving = health.check(status(SERVICE_NAME)).await.unwrap().into_inner().status();
    assert_eq!(serving, ServingStatus::Serving);
    assert_eq!(health.check(status("nobody")).await.unwrap_err().code(), Code::NotFound);

    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let ask = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut answers =
        ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::iter([ask])).await.unwrap();
    let answer = answers.get_mut().message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<&str> = list.service.iter().map(|s| s.name.as_str()).collect();
    assert!(names.contains(&SERVICE_NAME) && names.contains(&"grpc.health.v1.Health"), "{names:?}");
    assert!(!names.iter().any(|n| n.starts_with("posmesh.order")), "{names:?}");
}

#[tokio::test]
async fn a_shutdown_is_told_to_those_who_watch_the_health() {
    let service = Scripted::default();
    let (address, stop) = start(service.clone(), ServerConfig::default()).await;
    let watcher = tonic::transport::Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut health =
        HealthClient::new(watcher).watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    stop.cancel();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn endpoints_that_are_no_endpoints_are_refused_with_their_name() {
    for bad in ["", "localhost:1", "https://h:1", "http://h", "http://"] {
        let error = Channel::remote("peers.store", bad).unwrap_err().to_string();
        assert!(error.contains("peers.store"), "{bad}: {error}");
    }
}
