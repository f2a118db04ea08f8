//! Everything that is looked at before the one write.

use posmesh_adapter_kit::Unplaced;
use posmesh_kit::cause;
use posmesh_proto::adapter::v1::{Placed, PosOrder};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    api::{Api, ApiError},
    orders,
    settings::Settings,
    tax,
    till::Till,
};

use super::{
    fields::{check_texts, note_fields, order_fields},
    lines::{self, NewLine},
    payload::{self, Payment},
    payments::payments,
    place::{self, Known, Place},
    shelf::Shelf,
};

/// What is to be done.
pub(super) enum Planned {
    /// An earlier attempt arrived.
    AlreadyThere(Box<Placed>),
    Write(Box<Plan>),
}

/// One write.
pub(super) struct Plan {
    pub(super) till: Till,
    pub(super) lines: Vec<NewLine>,
    pub(super) payload: Value,
    /// Whether the order shall be paid afterwards.
    pub(super) paid: bool,
    /// The table that must be free, where the order opens its check.
    pub(super) free_table: Option<i64>,
}

/// The answer while the till is closed.
pub(super) fn day_not_open(why: String) -> Unplaced {
    Unplaced::refused_for_now(cause::BUSINESS_DAY_NOT_OPEN, why, None)
}

pub(super) async fn plan(api: &Api<'_>, settings: &Settings, order: &PosOrder) -> Result<Planned, Unplaced> {
    let before = ApiError::before_the_write;
    if order.lines.is_empty() {
        return Err(Unplaced::rejected(cause::NOT_SUPPORTED, "the order has no line"));
    }
    check_texts(order)?;
    api.require_supported().await.map_err(before)?;
    let till = Till::read(api, &settings.pos_config).await.map_err(before)?;
    let uuids: Vec<&str> = order.lines.iter().map(|line| line.line_id.as_str()).collect();
    let (held, shelf, known) = tokio::try_join!(
        orders::held(api, &till, &uuids),
        Shelf::read(api, &till, settings, order),
        Known::read(api, &till, order),
    )
    .map_err(before)?;
    if !held.lines.is_empty() {
        return already_there(api, &till, &held, &uuids).await;
    }
    let session_id = till.open_session().map_err(day_not_open)?;
    let lines = lines::resolve(order, &till, &shelf)?;
    let total = check_total(order, &till, &lines)?;
    let payments = payments(api, settings, &till, order, total).await?;
    let paid = !payments.is_empty();
    let (payload, free_table) = match known.place(order, paid)? {
        Place::Join(draft) => {
            place::check_fiscal_position(api, &till, &draft, &lines).await?;
            let fields = note_fields(&draft.general_customer_note, order);
            (payload::add(&draft.uuid, session_id, &till, &fields, &lines), None)
        }
        Place::Open { table_id } => {
            let fields = order_fields(api, settings, &till, order, table_id).await?;
            let uuid = new_uuid(order, &payments)?;
            let payload = payload::create(&uuid, session_id, &till, &fields, &lines, &payments);
            (payload, table_id.filter(|_| !paid))
        }
    };
    Ok(Planned::Write(Box::new(Plan { till, lines, payload, paid, free_table })))
}

async fn already_there(api: &Api<'_>, till: &Till, held: &orders::Held, uuids: &[&str]) -> Result<Planned, Unplaced> {
    if let Some(cancelled) = held.cancelled() {
        return Err(Unplaced::in_doubt(cause::UNKNOWN, cancelled));
    }
    let (_, missing) = held.split(uuids);
    if !missing.is_empty() {
        let message = format!(
            "{} of {} lines of an earlier attempt are at the till, the others are not; look at the order there",
            uuids.len() - missing.len(),
            uuids.len()
        );
        return Err(Unplaced::in_doubt(cause::UNKNOWN, message));
    }
    // An earlier attempt wrote it: from here on nothing proves its absence.
    let placed = held.placed(api, till).await.map_err(ApiError::after_the_write)?;
    let nowhere = || Unplaced::in_doubt(cause::UNKNOWN, "the order's lines are there, but not their order");
    Ok(Planned::AlreadyThere(Box::new(placed.ok_or_else(nowhere)?)))
}

/// What the order comes to by Odoo's rule; refused if the platform expects something else.
fn check_total(order: &PosOrder, till: &Till, lines: &[NewLine]) -> Result<i64, Unplaced> {
    let total = tax::total(lines.iter().map(|line| (line.priced(), line.rate)), till.rounding);
    let Some(expected) = &order.expected_total else { return Ok(total) };
    if expected.currency_code == till.currency_code && expected.amount == total {
        return Ok(total);
    }
    let message = format!(
        "with Odoo's taxes of now the order comes to {total} minor units of {}, not to {} of {}; sync the menu",
        till.currency_code, expected.amount, expected.currency_code
    );
    Err(Unplaced::rejected(cause::MASTER_MISMATCH, message))
}

/// The uuid of a new order: a check's is the check's, so that the next round finds it.
fn new_uuid(order: &PosOrder, payments: &[Payment]) -> Result<String, Unplaced> {
    let uuid = match &order.check {
        Some(check) if payments.is_empty() => uuid_of("the check's id", &check.check_id)?,
        _ => uuid_of("the order's reference", &order.reference)?,
    };
    Ok(uuid.to_string())
}

pub(super) fn uuid_of(what: &str, text: &str) -> Result<Uuid, Unplaced> {
    let message = || format!("{what} {text:?} is no UUID, which Odoo needs");
    Uuid::parse_str(text).map_err(|_| Unplaced::rejected(cause::NOT_SUPPORTED, message()))
}
