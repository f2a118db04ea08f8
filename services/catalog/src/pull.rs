//! Reads everything that the POS can give, through the router.

use posmesh_kit::{Channel, cause, failure, server::MAX_MESSAGE_BYTES};
use posmesh_proto::{
    adapter::v1::{
        PosTarget, PullCatalogRequest, pos_adapter_service_client::PosAdapterServiceClient,
        pull_catalog_response::Piece,
    },
    catalog::v1::Catalog,
};
use tonic::{Code, Status};

use crate::domain::{Assembly, TooLarge};

/// Most warnings that a run's record keeps.
const MAX_WARNINGS: usize = 200;
/// Longest warning that a run's record keeps.
const MAX_WARNING_CHARS: usize = 500;

/// What a POS gave.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) catalog: Catalog,
    /// What the adapter left out or could not express.
    pub(crate) warnings: Vec<String>,
}

/// A way to the POS of every store.
#[derive(Debug, Clone)]
pub(crate) struct Puller {
    client: PosAdapterServiceClient<Channel>,
    max_bytes: usize,
}

/// Why there is no catalog.
#[derive(Debug)]
pub(crate) enum PullError {
    /// It broke off.
    Failed { cause: String, message: String },
    /// There is too much of it.
    TooLarge(TooLarge),
}

impl Puller {
    pub(crate) fn new(router: Channel, max_bytes: usize) -> Self {
        let client = PosAdapterServiceClient::new(router).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { client, max_bytes }
    }

    /// The whole master data of a store, by its default connection. Bounded in size, not in time.
    pub(crate) async fn pull(&self, store_id: &str) -> Result<Pulled, PullError> {
        let target = PosTarget { store_id: store_id.to_owned(), ..Default::default() };
        let request = PullCatalogRequest { target: Some(target), context: None };
        let mut pieces = self.client.clone().pull_catalog(request).await?.into_inner();
        let mut assembly = Assembly::new(self.max_bytes);
        while let Some(message) = pieces.message().await? {
            match message.piece {
                Some(Piece::Part(part)) => assembly.add(part).map_err(PullError::TooLarge)?,
                Some(Piece::End(end)) => {
                    let short = |warning: String| warning.chars().take(MAX_WARNING_CHARS).collect();
                    let warnings = end.warnings.into_iter().take(MAX_WARNINGS).map(short).collect();
                    return Ok(Pulled { catalog: assembly.finish(store_id), warnings });
                }
                Some(Piece::Failed(failed)) => {
                    let cause = if failed.cause.is_empty() { cause::UNKNOWN.to_owned() } else { failed.cause };
                    return Err(PullError::Failed { cause, message: failed.message });
                }
                // A kind of piece that this version does not know.
                None => {}
            }
        }
        let message = "the POS's answer ended before it was complete; start the sync again".to_owned();
        Err(PullError::Failed { cause: cause::NETWORK_DOWN.to_owned(), message })
    }
}

impl From<Status> for PullError {
    fn from(status: Status) -> Self {
        let reason = failure::reason(&status);
        let cause = match (reason.as_str(), status.code()) {
            (failure::NOT_HANDED_OVER, _) => failure::metadata(&status, "cause").unwrap_or_default(),
            ("CONNECTION_NOT_FOUND" | "SETTINGS_INVALID", _) => cause::MISCONFIGURED.to_owned(),
            (_, Code::Unimplemented) => cause::NOT_SUPPORTED.to_owned(),
            (_, Code::DeadlineExceeded) => cause::TIMED_OUT.to_owned(),
            // A connection that broke shows as any of these.
            (_, Code::Unavailable | Code::Unknown | Code::Cancelled) => cause::NETWORK_DOWN.to_owned(),
            _ => cause::UNKNOWN.to_owned(),
        };
        let cause = if cause.is_empty() { cause::UNKNOWN.to_owned() } else { cause };
        Self::Failed { cause, message: status.message().to_owned() }
    }
}
