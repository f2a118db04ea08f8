//! What is asked of a POS about checks.

use std::time::Duration;

use posmesh_kit::{Channel, Failure, cause, failure, time};
use posmesh_proto::{
    adapter::v1::{
        CheckFailed, CheckSplit, GetCheckRequest, ListChecksRequest, PosCheck, PosTarget, RequestBillRequest,
        SplitCheckRequest, list_checks_response, pos_adapter_service_client::PosAdapterServiceClient,
        request_bill_response, split_check_response,
    },
    order::v1::Check,
};
use tonic::{Code, Request, Status};

use crate::{
    domain::{
        pos::table_mode,
        splitting,
        visit::{self, Seen},
    },
    storage::Split,
};

const TIMEOUT: Duration = Duration::from_secs(8);

/// What a POS made of a split.
pub(super) enum SplitAnswer {
    /// The parts are there, made now or before.
    Done(CheckSplit),
    /// Nothing was split.
    Refused(CheckFailed),
    /// The POS did not hear of it: nothing was split by this call.
    NotAsked(CheckFailed),
    /// Nobody knows.
    Unknown(CheckFailed),
}

/// Causes with which a POS that was asked does not tell whether it did it.
const DOUBTFUL: [&str; 4] = [cause::NETWORK_DOWN, cause::TIMED_OUT, cause::VENDOR_SERVICE_DOWN, cause::UNKNOWN];

/// The POS of each store, through the router.
#[derive(Debug, Clone)]
pub(super) struct Pos {
    adapter: PosAdapterServiceClient<Channel>,
}

impl Pos {
    pub(super) fn new(adapter: PosAdapterServiceClient<Channel>) -> Self {
        Self { adapter }
    }

    /// The open checks of a table, or of all.
    pub(super) async fn list(
        &self,
        store_id: &str,
        connection_id: &str,
        table_id: &str,
    ) -> Result<Vec<PosCheck>, CheckFailed> {
        let request = in_time(ListChecksRequest {
            target: Some(target(store_id, connection_id)),
            context: None,
            table_id: table_id.to_owned(),
        });
        match self.adapter.clone().list_checks(request).await.map(|a| a.into_inner().result) {
            Ok(Some(list_checks_response::Result::Checks(checks))) => Ok(checks.checks),
            Ok(Some(list_checks_response::Result::Failed(failed))) => Err(failed),
            Ok(None) => Err(unknown()),
            Err(status) => Err(failed_call(&status)),
        }
    }

    /// What became of a check that is, or was, there.
    pub(super) async fn look(&self, store_id: &str, connection_id: &str, reference: &str) -> Seen {
        let request = in_time(GetCheckRequest {
            target: Some(target(store_id, connection_id)),
            context: None,
            pos_check_reference: reference.to_owned(),
        });
        match self.adapter.clone().get_check(request).await {
            Ok(answer) => visit::seen(answer.into_inner().result),
            Err(status) => Seen::Unknown(failed_call(&status)),
        }
    }

    /// Tells the staff that the guests want to pay; the check as it stands.
    pub(super) async fn request_bill(&self, check: &Check) -> Result<Option<PosCheck>, CheckFailed> {
        let request = in_time(RequestBillRequest {
            target: Some(target(&check.store_id, &check.connection_id)),
            context: None,
            pos_check_reference: check.pos_check_reference.clone(),
        });
        match self.adapter.clone().request_bill(request).await.map(|a| a.into_inner().result) {
            Ok(Some(request_bill_response::Result::Requested(requested))) => Ok(requested.check),
            Ok(Some(request_bill_response::Result::Failed(failed))) => Err(failed),
            Ok(None) => Err(unknown()),
            Err(status) => Err(failed_call(&status)),
        }
    }

    /// Splits a check, or hears what came of it.
    pub(super) async fn split(&self, check: &Check, split: &Split) -> SplitAnswer {
        let timeout_ms = i64::try_from(TIMEOUT.as_millis()).unwrap_or(i64::MAX);
        let request = in_time(SplitCheckRequest {
            target: Some(target(&check.store_id, &check.connection_id)),
            context: None,
            pos_check_reference: check.pos_check_reference.clone(),
            change_reference: split.split_id.clone(),
            not_after: Some(time::from_unix_ms(time::now_unix_ms().saturating_add(timeout_ms))),
            how: split.request.how.as_ref().map(splitting::to_pos),
        });
        match self.adapter.clone().split_check(request).await.map(|a| a.into_inner().result) {
            Ok(Some(split_check_response::Result::Split(done))) => SplitAnswer::Done(done),
            Ok(Some(split_check_response::Result::Failed(failed))) if DOUBTFUL.contains(&failed.cause.as_str()) => {
                SplitAnswer::Unknown(failed)
            }
            Ok(Some(split_check_response::Result::Failed(failed))) => SplitAnswer::Refused(failed),
            Ok(None) => SplitAnswer::Unknown(unknown()),
            Err(status) => failed_split(&status),
        }
    }
}

/// A failed call proves nothing, unless it says so itself.
fn failed_split(status: &Status) -> SplitAnswer {
    let failed = failed_call(status);
    if failure::is_not_handed_over(status) { SplitAnswer::NotAsked(failed) } else { SplitAnswer::Unknown(failed) }
}

fn in_time<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

pub(super) fn target(store_id: &str, connection_id: &str) -> PosTarget {
    let (product, mode) = table_mode();
    PosTarget {
        store_id: store_id.to_owned(),
        product: product.into(),
        service_mode: mode.into(),
        connection_id: connection_id.to_owned(),
        ..PosTarget::default()
    }
}

fn failed_call(status: &Status) -> CheckFailed {
    let cause = failure::metadata(status, "cause").unwrap_or_else(|| cause::NETWORK_DOWN.to_owned());
    CheckFailed { cause, message: status.message().to_owned() }
}

fn unknown() -> CheckFailed {
    let message = "the adapter's answer says nothing that is known here".to_owned();
    CheckFailed { cause: cause::UNKNOWN.into(), message }
}

/// The POS could not be asked; nothing was done.
pub(super) fn unreachable(failed: &CheckFailed) -> Failure {
    let message = format!("the store's POS could not be asked ({}): {}", failed.cause, failed.message);
    Failure::new(Code::Unavailable, "POS_UNREACHABLE", message)
        .meta("cause", &failed.cause)
        .retry_after(Duration::from_secs(2))
}
