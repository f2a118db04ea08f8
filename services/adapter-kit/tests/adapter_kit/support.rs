//! A vendor of the test's own, served over a socket.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use posmesh_adapter_kit::{
    Adapter, CatalogParts, Connection, PosError, Submit, Unchanged, Unplaced, mount, pos_answered,
};
use posmesh_kit::{
    Channel, cause,
    server::{self, ServerConfig},
    time,
};
use posmesh_proto::{
    adapter::v1::{
        AdapterDescriptor, CancelOrderRequest, Changed, LinkHealth, ListPosOrdersRequest, NotFound, Placed,
        PollEventsRequest, PosCheck, PosContext, PosEvents, PosOrder, PosOrders, ProbeLinkResponse, SplitCheckRequest,
        SubmitOrderRequest, SubmitOrderResponse, VoidLinesRequest, pos_adapter_service_client::PosAdapterServiceClient,
        submit_outcome::Outcome,
    },
    catalog::v1::Catalog,
};
use tokio::{net::TcpListener, sync::Semaphore, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Nothing in these tests takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What the vendor does is told by the order's note and the connection's settings.
#[derive(Default)]
pub(crate) struct Acme {
    pub(crate) descriptor: AdapterDescriptor,
    /// Submits that began, ended, run now, and ran at once at most.
    pub(crate) begun: AtomicUsize,
    pub(crate) ended: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) most_running: AtomicUsize,
    /// One permit lets one waiting submit go on.
    pub(crate) gate: Option<Semaphore>,
    pub(crate) parts_sent: AtomicUsize,
    pub(crate) pulls_ended: Arc<AtomicUsize>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Settings {
    pub(crate) url: String,
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Adapter for Acme {
    fn descriptor(&self) -> AdapterDescriptor {
        self.descriptor.clone()
    }

    async fn probe_link(&self, connection: &Connection) -> Result<ProbeLinkResponse, PosError> {
        let settings: Settings = connection.settings()?;
        connection.credential("api_key")?;
        if settings.url == "down" {
            return Err(PosError::failed(cause::POS_APP_NOT_RUNNING, "nobody home"));
        }
        Ok(ProbeLinkResponse { health: LinkHealth::Online.into(), ..ProbeLinkResponse::default() })
    }

    async fn submit_order(&self, connection: &Connection, submit: Submit) -> Result<Placed, Unplaced> {
        connection.settings::<Settings>()?;
        self.write(&submit.order.note).await;
        if submit.order.note.ends_with("refuse") {
            if submit.order.note == "ask and refuse" {
                pos_answered();
            }
            return Err(Unplaced::rejected(cause::CHECK_NOT_FOUND, "no such check"));
        }
        Ok(Placed { pos_order_reference: submit.order.reference, ..Placed::default() })
    }

    /// What the POS says is the request's reason.
    async fn cancel_order(
        &self,
        _: &Connection,
        request: CancelOrderRequest,
        deadline: Instant,
    ) -> Result<Changed, Unchanged> {
        assert!(deadline > Instant::now() && request.target.is_none() && request.context.is_none());
        self.write(&request.reason).await;
        said(&request.reason)
    }

    async fn void_lines(&self, _: &Connection, request: VoidLinesRequest, _: Instant) -> Result<Changed, Unchanged> {
        self.write(&request.reason).await;
        said(&request.reason)
    }

    /// What the POS says is the check's reference.
    async fn split_check(
        &self,
        _: &Connection,
        request: SplitCheckRequest,
        _: Instant,
    ) -> Result<Vec<PosCheck>, Unchanged> {
        self.write(&request.pos_check_reference).await;
        said(&request.pos_check_reference).map(|_| vec![PosCheck::default(); 2])
    }

    async fn list_pos_orders(&self, _: &Connection, request: ListPosOrdersRequest) -> Result<PosOrders, PosError> {
        Ok(PosOrders { next_page_token: request.page_size.to_string(), ..PosOrders::default() })
    }

    async fn poll_events(&self, _: &Connection, request: PollEventsRequest) -> Result<PosEvents, PosError> {
        match request.cursor.as_str() {
            "old" => Err(PosError::failed(cause::CURSOR_TOO_OLD, "gone")),
            _ => Ok(PosEvents { cursor: request.max_events.to_string(), ..PosEvents::default() }),
        }
    }

    async fn pull_catalog(&self, connection: &Connection, parts: &CatalogParts) -> Result<Vec<String>, PosError> {
        let _on_drop = OnDrop(Arc::clone(&self.pulls_ended));
        let settings: Settings = connection.settings()?;
        let count = if settings.url == "endless" { usize::MAX } else { 3 };
        for _ in 0..count {
            parts.send(Catalog { currency_code: "J".repeat(64 << 10), ..Catalog::default() }).await?;
            self.parts_sent.fetch_add(1, Ordering::SeqCst);
        }
        if settings.url == "hangs" {
            std::future::pending::<()>().await;
        }
        if settings.url == "breaks" {
            return Err(PosError::failed(cause::MASTER_UPDATING, "reloading"));
        }
        Ok(vec!["one item has no price".to_owned()])
    }
}

impl Acme {
    async fn write(&self, what: &str) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        match what {
            "hang" => std::future::pending().await,
            "panic" => panic!("a fault of the adapter"),
            _ => {
                if let Some(gate) = &self.gate {
                    gate.acquire().await.unwrap().forget();
                }
            }
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

fn said(what: &str) -> Result<Changed, Unchanged> {
    match what {
        "no" => Err(Unplaced::rejected(cause::TOO_LATE, "eaten").into()),
        "not now" => Err(Unplaced::refused_for_now(cause::TABLE_LOCKED, "later", None).into()),
        "no line" => Err(Unplaced::not_handed_over(cause::NETWORK_DOWN, "refused").into()),
        "no answer" => Err(Unplaced::in_doubt(cause::NETWORK_DOWN, "reset").into()),
        "never seen" => Err(Unchanged::NotFound(NotFound { authoritative: true })),
        _ => Ok(Changed::default()),
    }
}

/// A vendor that can do nothing but take orders.
pub(crate) struct Poor;

#[async_trait]
impl Adapter for Poor {
    fn descriptor(&self) -> AdapterDescriptor {
        AdapterDescriptor::default()
    }

    async fn probe_link(&self, _: &Connection) -> Result<ProbeLinkResponse, PosError> {
        Err(PosError::not_supported("be probed"))
    }

    async fn submit_order(&self, _: &Connection, _: Submit) -> Result<Placed, Unplaced> {
        Ok(Placed::default())
    }
}

/// A served adapter; ends when dropped.
pub(crate) struct Served {
    pub(crate) client: PosAdapterServiceClient<Channel>,
    pub(crate) acme: Arc<Acme>,
    _stop: DropGuard,
}

pub(crate) async fn serve(acme: Acme) -> Served {
    let acme = Arc::new(acme);
    let (client, _stop) = serve_adapter(Arc::clone(&acme) as Arc<dyn Adapter>).await;
    Served { client, acme, _stop }
}

pub(crate) async fn serve_adapter(adapter: Arc<dyn Adapter>) -> (PosAdapterServiceClient<Channel>, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mounted = mount(adapter);
    let shutdown = stop.clone();
    tokio::spawn(async move {
        server::serve(&ServerConfig::default(), listener, vec![mounted], shutdown).await.unwrap();
    });
    let channel = Channel::remote("adapter", &format!("http://{address}")).unwrap();
    (PosAdapterServiceClient::new(channel), stop.drop_guard())
}

pub(crate) fn context(url: &str) -> Option<PosContext> {
    Some(PosContext {
        tenant_id: "t".into(),
        connection_id: "c-1".into(),
        store_id: "s-1".into(),
        revision: 1,
        settings_json: format!(r#"{{"url":"{url}"}}"#),
        credentials: [("api_key".to_owned(), "k".to_owned())].into(),
    })
}

pub(crate) fn submit(note: &str, not_after_in: Duration) -> SubmitOrderRequest {
    let not_after_ms = time::now_unix_ms() + i64::try_from(not_after_in.as_millis()).unwrap();
    SubmitOrderRequest {
        context: context("up"),
        order: Some(PosOrder { reference: "o-1".into(), note: note.into(), ..PosOrder::default() }),
        attempt: 1,
        not_after: Some(time::from_unix_ms(not_after_ms)),
        ..SubmitOrderRequest::default()
    }
}

pub(crate) fn outcome(answer: tonic::Response<SubmitOrderResponse>) -> Outcome {
    answer.into_inner().outcome.unwrap().outcome.unwrap()
}

/// Waits for something that another task brings about.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
