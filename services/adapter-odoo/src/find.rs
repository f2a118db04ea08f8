//! Whether Odoo has an order.

use posmesh_adapter_kit::PosError;
use posmesh_kit::{Failure, cause};
use posmesh_proto::adapter::v1::{
    CancelledAtPos, FindOrderRequest, NotFound, PartlyFound, find_order_response::Result as Found,
};

use crate::{api::Api, orders, settings::Settings, till::Till};

/// Looks by the uuids of the lines, wherever the staff may have moved them.
pub(crate) async fn find(api: &Api<'_>, settings: &Settings, request: &FindOrderRequest) -> Result<Found, PosError> {
    if request.line_ids.is_empty() {
        let message = "is empty; Odoo keeps an order's lines, but not its reference";
        return Err(Failure::field("REQUIRED", "line_ids", message).into());
    }
    api.require_supported().await?;
    let till = Till::read(api, &settings.pos_config).await?;
    let uuids: Vec<&str> = request.line_ids.iter().map(String::as_str).collect();
    let held = orders::held(api, &till, &uuids).await?;
    let placed = held.placed(api, &till).await?;
    let (there, missing) = held.split(&uuids);
    let Some(placed) = placed else {
        if there.is_empty() {
            return Ok(Found::NotFound(NotFound { authoritative: true }));
        }
        let message = "the order's lines are there and the order is not: it changes just now, ask again";
        return Err(PosError::failed(cause::UNKNOWN, message));
    };
    if missing.is_empty() && held.all_cancelled() {
        return Ok(Found::Cancelled(CancelledAtPos { placed: Some(placed), cancel_time: None }));
    }
    if let Some(cancelled) = held.cancelled() {
        return Err(PosError::failed(cause::UNKNOWN, cancelled));
    }
    if missing.is_empty() {
        return Ok(Found::Found(placed));
    }
    let owned = |uuids: Vec<&str>| uuids.into_iter().map(str::to_owned).collect();
    Ok(Found::PartlyFound(PartlyFound {
        found_line_ids: owned(there),
        missing_line_ids: owned(missing),
        placed: Some(placed),
    }))
}
