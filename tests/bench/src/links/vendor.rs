//! A vendor whose adapter runs here, over a real socket: it answers at once and counts.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use async_trait::async_trait;
use posmesh_adapter_kit::{Adapter, Connection, PosError, Registration, Submit, Unplaced, mount_registered};
use posmesh_kit::{
    Channel,
    server::{self, ServerConfig},
    time,
};
use posmesh_proto::{
    adapter::v1::{AdapterDescriptor, Limits, LinkHealth, Placed, ProbeLinkResponse},
    common::v1::{Evidence, EvidenceKind},
};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The vendor.
pub(super) struct Vendor {
    name: &'static str,
    per_second_in_all: f64,
    /// So many of its stores, the first ones, do not answer.
    pub(super) dead: AtomicUsize,
    pub(super) probes: AtomicU64,
    calls: Mutex<Vec<Instant>>,
}

impl Vendor {
    /// One that allows so many calls in a second; 0: any number.
    pub(super) fn new(name: &'static str, per_second_in_all: f64) -> Arc<Self> {
        let (dead, probes, calls) = Default::default();
        Arc::new(Self { name, per_second_in_all, dead, probes, calls })
    }

    /// When each call came.
    pub(super) fn calls(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves it, registered at the router, until the guard is dropped.
    ///
    /// # Errors
    /// When no socket is to be had.
    pub(super) async fn serve(self: &Arc<Self>, router: SocketAddr) -> Result<DropGuard> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let router = Channel::remote("router", &format!("http://{router}"))?;
        let adapter: Arc<dyn Adapter> = Arc::new(Counting(Arc::clone(self)));
        let registration = Registration { router, endpoint, connection_ids: Vec::new() };
        let (mounted, _) = mount_registered(adapter, registration);
        let (stop, config) = (CancellationToken::new(), ServerConfig::default());
        let shutdown = stop.clone();
        tokio::spawn(async move { server::serve(&config, listener, vec![mounted], shutdown).await });
        Ok(stop.drop_guard())
    }
}

/// The connection of a store.
pub(super) fn connection_id(vendor: &str, number: usize) -> String {
    format!("{vendor}-{number:06}")
}

struct Counting(Arc<Vendor>);

#[async_trait]
impl Adapter for Counting {
    fn descriptor(&self) -> AdapterDescriptor {
        let limits = Limits { max_calls_per_second_in_all: self.0.per_second_in_all, ..Limits::default() };
        AdapterDescriptor {
            vendor: self.0.name.to_owned(),
            settings_schema: r#"{"type": "object"}"#.to_owned(),
            limits: Some(limits),
            max_apply_delay: Some(time::to_proto_duration(Duration::ZERO)),
            evidence: vec![EvidenceKind::Pos.into()],
            ..AdapterDescriptor::default()
        }
    }

    async fn probe_link(&self, connection: &Connection) -> Result<ProbeLinkResponse, PosError> {
        self.0.calls().push(Instant::now());
        self.0.probes.fetch_add(1, Ordering::Relaxed);
        let first_living = connection_id(self.0.name, self.0.dead.load(Ordering::Relaxed));
        if connection.connection_id < first_living {
            std::future::pending::<()>().await;
        }
        Ok(ProbeLinkResponse { health: LinkHealth::Online.into(), ..ProbeLinkResponse::default() })
    }

    async fn submit_order(&self, _: &Connection, _: Submit) -> Result<Placed, Unplaced> {
        self.0.calls().push(Instant::now());
        let evidence = vec![Evidence { kind: EvidenceKind::Pos.into(), ..Evidence::default() }];
        Ok(Placed { pos_order_reference: "1".to_owned(), evidence, ..Placed::default() })
    }
}
