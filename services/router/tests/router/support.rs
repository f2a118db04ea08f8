//! Replicas of the router over sockets, and the few calls that most tests make.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posmesh_kit::{
    Channel,
    server::{self, ServerConfig},
    time,
};
use posmesh_proto::{
    adapter::v1::{
        PosOrder, PosTarget, ProbeLinkRequest, SubmitOrderRequest, SubmitOrderResponse,
        pos_adapter_service_client::PosAdapterServiceClient, submit_outcome::Outcome,
    },
    router::v1::{Connection, PutConnectionRequest, router_service_client::RouterServiceClient},
};
use posmesh_router::{
    Config, Peers, SealingKeys, mount_on,
    storage::{MemoryStorage, Storage},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use crate::adapter::Adapter;

/// Nothing in these tests takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const SECRET: &str = "sk-very-secret-0815";

pub(crate) fn config() -> Config {
    Config {
        lease: Duration::from_secs(60),
        refresh_interval: Duration::from_millis(100),
        // Nothing but the tests' own calls reaches the adapters.
        probe_interval: Duration::ZERO,
        probe_timeout: Duration::from_millis(500),
        max_watchers: 4,
        watcher_max_lag: Duration::from_secs(30),
        sealing_keys: SealingKeys::generate("k1"),
    }
}

/// One replica, served. Ends when dropped.
pub(crate) struct Router {
    pub(crate) router: RouterServiceClient<Channel>,
    pub(crate) pos: PosAdapterServiceClient<Channel>,
    _stop: DropGuard,
}

impl Router {
    /// Alone, in memory.
    pub(crate) async fn start() -> Self {
        Self::on(&config(), Arc::new(MemoryStorage::default())).await
    }

    pub(crate) async fn on(config: &Config, storage: Arc<dyn Storage>) -> Self {
        Self::beside(Peers::default(), config, storage).await
    }

    pub(crate) async fn beside(peers: Peers, config: &Config, storage: Arc<dyn Storage>) -> Self {
        let mounted = mount_on(config, storage, peers).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        tokio::spawn(async move {
            server::serve(&ServerConfig::default(), listener, vec![mounted], shutdown).await.unwrap();
        });
        let channel = Channel::remote("router", &format!("http://{address}")).unwrap();
        Self {
            router: RouterServiceClient::new(channel.clone()),
            pos: PosAdapterServiceClient::new(channel),
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) async fn register(&self, adapter: &Adapter) {
        self.router.clone().register_adapter(adapter.registration()).await.unwrap();
    }

    pub(crate) async fn put(&self, connection: Connection) -> Result<Connection, Status> {
        let credentials = [("api_key".to_owned(), SECRET.to_owned())].into();
        self.put_with(connection, credentials).await
    }

    pub(crate) async fn put_with(
        &self,
        connection: Connection,
        credentials: HashMap<String, String>,
    ) -> Result<Connection, Status> {
        let request = PutConnectionRequest { connection: Some(connection), credentials };
        Ok(self.router.clone().put_connection(request).await?.into_inner().connection.unwrap())
    }

    /// The name of the adapter that a probe of the connection reaches.
    pub(crate) async fn probe(&self, connection_id: &str) -> Result<String, Status> {
        let request = ProbeLinkRequest { target: Some(target(connection_id)), ..ProbeLinkRequest::default() };
        Ok(self.pos.clone().probe_link(request).await?.into_inner().pos_version)
    }

    pub(crate) async fn submit(&self, connection_id: &str) -> Result<SubmitOrderResponse, Status> {
        Ok(self.pos.clone().submit_order(submission(connection_id)).await?.into_inner())
    }

    /// The name of the adapter that placed an order on the connection.
    pub(crate) async fn place(&self, connection_id: &str) -> String {
        match self.submit(connection_id).await.unwrap().outcome.unwrap().outcome.unwrap() {
            Outcome::Placed(placed) => placed.pos_order_reference,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn target(connection_id: &str) -> PosTarget {
    PosTarget { connection_id: connection_id.into(), ..PosTarget::default() }
}

pub(crate) fn submission(connection_id: &str) -> SubmitOrderRequest {
    SubmitOrderRequest {
        target: Some(target(connection_id)),
        order: Some(PosOrder { reference: "o-1".into(), ..PosOrder::default() }),
        attempt: 1,
        not_after: Some(time::from_unix_ms(time::now_unix_ms() + 30_000)),
        ..SubmitOrderRequest::default()
    }
}

pub(crate) fn connection(connection_id: &str, store_id: &str) -> Connection {
    Connection {
        connection_id: connection_id.into(),
        store_id: store_id.into(),
        vendor: "acme".into(),
        settings_json: r#"{"url":"http://pos"}"#.into(),
        ..Connection::default()
    }
}

/// Waits for something that another task brings about.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A connection of which the adapter named first serves the calls: with several instances, not every one is.
pub(crate) async fn connection_of(router: &Router, adapter: &Adapter) -> String {
    for n in 0..200 {
        let id = format!("c-{n}");
        let _ = router.put(connection(&id, &format!("s-{n}"))).await;
        if router.probe(&id).await.unwrap() == adapter.name {
            return id;
        }
    }
    panic!("none of 200 connections belongs to {}", adapter.name);
}
