//! Scripted services behind the gateway, served over real sockets.

mod catalog;
mod orders;
mod store;

use std::net::SocketAddr;

use posmesh_proto::{
    catalog::v1::catalog_service_server::CatalogServiceServer, order::v1::order_service_server::OrderServiceServer,
    store::v1::store_service_server::StoreServiceServer,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tonic::transport::{Server, server::TcpIncoming};

pub use catalog::FakeCatalog;
pub use orders::FakeOrders;
pub use store::FakeStores;

/// The three services on one socket.
#[derive(Clone, Default)]
pub struct Fakes {
    pub orders: FakeOrders,
    pub catalog: FakeCatalog,
    pub stores: FakeStores,
}

/// The services while they run. Dropped, they are gone with all their connections, as after a SIGKILL.
pub struct Served {
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Fakes {
    pub async fn serve(&self) -> Served {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let fakes = self.clone();
        let (tell, told) = oneshot::channel();
        runtime.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            Server::builder()
                .add_service(OrderServiceServer::new(fakes.orders))
                .add_service(CatalogServiceServer::new(fakes.catalog))
                .add_service(StoreServiceServer::new(fakes.stores))
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
        });
        Served { address: told.await.unwrap(), runtime: Some(runtime) }
    }
}

/// The methods that the gateway never calls.
macro_rules! unused {
    ($($method:ident($request:ident) -> $response:ident;)+) => {$(
        // As `async_trait` writes it: it runs before this macro and does not see inside.
        fn $method<'a, 'b>(
            &'a self,
            _: tonic::Request<$request>,
        ) -> std::pin::Pin<
            Box<dyn Future<Output = Result<tonic::Response<$response>, tonic::Status>> + Send + 'b>,
        >
        where
            'a: 'b,
            Self: 'b,
        {
            panic!(concat!("the gateway called ", stringify!($method)))
        }
    )+};
}
pub(crate) use unused;
