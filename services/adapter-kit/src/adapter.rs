//! What a vendor's adapter implements.

use std::time::Duration;

use async_trait::async_trait;
use posmesh_kit::Failure;
use posmesh_proto::{
    adapter::v1::{
        AdapterDescriptor, CancelOrderRequest, CatalogState, Changed, FindOrderRequest, ListPosOrdersRequest, Placed,
        PollEventsRequest, PosCheck, PosEvents, PosOrder, PosOrders, ProbeLinkResponse, PullCatalogResponse,
        SetAvailabilityRequest, SplitCheckRequest, VoidLinesRequest, find_order_response, pull_catalog_response::Piece,
    },
    catalog::v1::Catalog,
};
use tokio::{sync::mpsc, time::Instant};
use tonic::{Code, Status};

use crate::{Connection, PosError, Unchanged, Unplaced};

/// A vendor's POS, as the platform speaks to it. One value serves all connections at once; it keeps no state that it
/// could not lose. The server around it has checked that the call carries a connection, holds the limits of the
/// descriptor, and ends a call that takes too long by dropping its future. `target` and `context` of the requests that
/// it hands on are empty.
///
/// The calls that write (submit, cancel, void, split) run to their end even if the caller hangs up, but never past their
/// `deadline`: then their future is dropped and the outcome is in doubt. Nothing may be written to the POS after it.
#[async_trait]
pub trait Adapter: Send + Sync + 'static {
    /// What adapter and vendor can do. Constant for the life of the process.
    fn descriptor(&self) -> AdapterDescriptor;

    /// Looks whether orders would be taken now, as deep as the vendor lets one look. [`PosError::Failed`] is answered
    /// as OFFLINE at the hop `pos`; `pos_latency` is measured by the server where the adapter leaves it out.
    async fn probe_link(&self, connection: &Connection) -> Result<ProbeLinkResponse, PosError>;

    /// Writes the order to the POS. `Ok` only with evidence.
    async fn submit_order(&self, connection: &Connection, submit: Submit) -> Result<Placed, Unplaced>;

    /// Looks for an order by what it was submitted with.
    async fn find_order(
        &self,
        _connection: &Connection,
        _request: FindOrderRequest,
    ) -> Result<find_order_response::Result, PosError> {
        Err(PosError::not_supported("look for an order"))
    }

    /// Takes an order back as a whole. `Ok` only with the POS's word that it is void, now or by an earlier attempt under
    /// the same `change_reference`.
    async fn cancel_order(
        &self,
        _connection: &Connection,
        _request: CancelOrderRequest,
        _deadline: Instant,
    ) -> Result<Changed, Unchanged> {
        Err(Unchanged::not_supported("cancel an order"))
    }

    /// Takes lines of an order back. `Ok` only with the POS's word that so much of them is void, now or by an earlier
    /// attempt.
    async fn void_lines(
        &self,
        _connection: &Connection,
        _request: VoidLinesRequest,
        _deadline: Instant,
    ) -> Result<Changed, Unchanged> {
        Err(Unchanged::not_supported("take lines back"))
    }

    /// The orders that the POS holds, in pages of `page_size`, which is 1 to 500 here.
    async fn list_pos_orders(
        &self,
        _connection: &Connection,
        _request: ListPosOrdersRequest,
    ) -> Result<PosOrders, PosError> {
        Err(PosError::not_supported("list its orders"))
    }

    /// What happened to orders since a cursor, at most `max_events`, which is 1 to 500 here. [`PosError::Failed`] with
    /// CURSOR_TOO_OLD where the POS does not know any more.
    async fn poll_events(&self, _connection: &Connection, _request: PollEventsRequest) -> Result<PosEvents, PosError> {
        Err(PosError::not_supported("be polled for events"))
    }

    /// Splits a check; answers it and the new ones. Repeated under the same `change_reference`, it splits nothing more.
    async fn split_check(
        &self,
        _connection: &Connection,
        _request: SplitCheckRequest,
        _deadline: Instant,
    ) -> Result<Vec<PosCheck>, Unchanged> {
        Err(Unchanged::not_supported("split a check"))
    }

    /// Sends everything that the POS can tell of its master data, in parts; `currency_code` and `tax_rounding` in the
    /// first. Returns what the POS reported besides, for the run's record. Parts may be of any size: a long list is
    /// best sent in several, so that nothing has to hold it whole.
    async fn pull_catalog(&self, _connection: &Connection, _parts: &CatalogParts) -> Result<Vec<String>, PosError> {
        Err(PosError::not_supported("tell its menu"))
    }

    /// What is sold out now, and a fingerprint of the rest, for as little of the POS's time as can be.
    async fn poll_catalog(&self, _connection: &Connection) -> Result<CatalogState, PosError> {
        Err(PosError::not_supported("be polled for what is sold out"))
    }

    /// Tells the POS that an item or a choice is sold out, or back. `Ok` only with the POS's word that it is so.
    async fn set_availability(&self, _connection: &Connection, _set: SetAvailabilityRequest) -> Result<(), PosError> {
        Err(PosError::not_supported("be told what is sold out"))
    }

    /// The open checks of one table (an id in the catalog), or of all tables where it is empty. Lines may be left out.
    async fn list_checks(&self, _connection: &Connection, _table_id: &str) -> Result<Vec<PosCheck>, PosError> {
        Err(PosError::not_supported("list its open checks"))
    }

    /// One check with everything that anybody entered. [`PosError::Failed`] with CHECK_NOT_FOUND where there is none.
    async fn get_check(&self, _connection: &Connection, _pos_check_reference: &str) -> Result<PosCheck, PosError> {
        Err(PosError::not_supported("read a check"))
    }

    /// Tells the staff, in the way that the POS can, that the guests want to pay. Returns the check as it stands.
    async fn request_bill(&self, _connection: &Connection, _pos_check_reference: &str) -> Result<PosCheck, PosError> {
        Err(PosError::not_supported("be asked for the bill"))
    }
}

/// One attempt to place an order.
#[derive(Debug, Clone)]
pub struct Submit {
    /// The order, fully resolved.
    pub order: PosOrder,
    /// 1 for the first. A later one may find that an earlier one has arrived.
    pub attempt: i32,
    /// Nothing may be written to the POS after this: the earlier of the attempt's `not_after` and the caller's
    /// deadline.
    pub deadline: Instant,
}

impl Submit {
    /// How long the adapter may still take.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Takes the parts of a catalog while they are pulled.
#[derive(Debug)]
pub struct CatalogParts {
    stream: mpsc::Sender<Result<PullCatalogResponse, Status>>,
}

impl CatalogParts {
    pub(crate) fn new(stream: mpsc::Sender<Result<PullCatalogResponse, Status>>) -> Self {
        Self { stream }
    }

    /// Hands a part on; waits while the caller is slower than the POS. Fails when the caller has gone.
    pub async fn send(&self, part: Catalog) -> Result<(), PosError> {
        let piece = PullCatalogResponse { piece: Some(Piece::Part(part)) };
        self.stream.send(Ok(piece)).await.map_err(|_| {
            Failure::new(Code::Cancelled, "CALLER_GONE", "the caller does not read the catalog any more").into()
        })
    }

    /// Parts in memory, for tests of adapters without a server: what was sent arrives at the receiver.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Result<PullCatalogResponse, Status>>) {
        let (stream, parts) = mpsc::channel(capacity.max(1));
        (Self { stream }, parts)
    }
}
