//! A server and its client.

use std::time::Duration;

use posmesh_kit::{
    Channel,
    server::{ServerConfig, serve},
};
use posmesh_kit_db::DatabaseConfig;
use posmesh_proto::{
    common::v1::LocalizedText,
    store::v1::{
        Brand, GetStoreRequest, PutBrandRequest, PutStoreRequest, Store, StoreLifecycle, WatchStoresRequest,
        WatchStoresResponse, store_service_client::StoreServiceClient,
    },
};
use posmesh_store::Config;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// Nothing that these tests wait for takes as long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// One replica.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: JoinHandle<()>,
}

impl Server {
    /// On the database at `url`, looking for other replicas' writes at most every `poll_interval`.
    pub(crate) async fn start(database_url: &str, poll_interval: Duration) -> Self {
        let config = Config { watch_poll_interval: poll_interval };
        let database = DatabaseConfig { url: database_url.to_owned(), max_connections: 4, acquire_timeout: DEADLINE };
        let mounted = posmesh_store::mount(&config, &database).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        let ended = tokio::spawn(async move {
            serve(&ServerConfig::default(), listener, vec![mounted], shutdown).await.unwrap();
        });
        Self { url, stop, ended }
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::remote("store", &self.url).unwrap()
    }

    pub(crate) fn client(&self) -> StoreServiceClient<Channel> {
        StoreServiceClient::new(self.channel())
    }

    pub(crate) async fn put(&self, store: Store) -> Result<Store, Status> {
        let answer = self.client().put_store(PutStoreRequest { store: Some(store) }).await?;
        Ok(answer.into_inner().store.unwrap())
    }

    pub(crate) async fn get(&self, store_id: &str) -> Result<Store, Status> {
        let answer = self.client().get_store(GetStoreRequest { store_id: store_id.to_owned() }).await?;
        Ok(answer.into_inner().store.unwrap())
    }

    pub(crate) async fn put_brand(&self, brand_id: &str) {
        let brand = Brand { brand_id: brand_id.to_owned(), name: name("居酒屋"), revision: -1 };
        self.client().put_brand(PutBrandRequest { brand: Some(brand) }).await.unwrap();
    }

    pub(crate) async fn watch(&self, resume_token: &str) -> Result<Watch, Status> {
        let request = WatchStoresRequest { resume_token: resume_token.to_owned() };
        Ok(Watch(self.client().watch_stores(request).await?.into_inner()))
    }
}

/// A stream of changes.
pub(crate) struct Watch(Streaming<WatchStoresResponse>);

impl Watch {
    /// The next message, or the error that ended the stream.
    pub(crate) async fn next(&mut self) -> Result<WatchStoresResponse, Status> {
        let message = tokio::time::timeout(DEADLINE, self.0.message()).await;
        message.expect("no message within the deadline").map(|message| message.expect("the stream ended in silence"))
    }
}

/// On SQLite, with one brand, `izakaya`. The folder must outlive the server.
pub(crate) async fn sqlite() -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    // No test on one replica may depend on the poll.
    let server = Server::start(&format!("sqlite:{}", folder.path().display()), Duration::from_secs(3600)).await;
    server.put_brand("izakaya").await;
    (server, folder)
}

pub(crate) fn name(text: &str) -> Option<LocalizedText> {
    Some(LocalizedText { texts: [("ja".to_owned(), text.to_owned())].into() })
}

/// A good store to be created, or at `revision` to be replaced.
pub(crate) fn store(store_id: &str, revision: i64) -> Store {
    Store {
        store_id: store_id.to_owned(),
        brand_id: "izakaya".to_owned(),
        name: name("渋谷店"),
        time_zone: "Asia/Tokyo".to_owned(),
        currency_code: "JPY".to_owned(),
        locales: vec!["ja".to_owned()],
        lifecycle: StoreLifecycle::Live.into(),
        revision,
        ..Default::default()
    }
}
