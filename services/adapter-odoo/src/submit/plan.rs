//! Everything that is looked at before the one write.

use posmesh_adapter_kit::Unplaced;
use posmesh_kit::cause;
use posmesh_proto::{
    adapter::v1::{Placed, PosCheckRef, PosOrder, PosTender},
    common::v1::ServiceMode,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    api::{Api, ApiError},
    orders::{self, OrderRecord, check_text},
    settings::{IdOrName, Settings},
    tax::{self, FiscalPosition},
    till::{Till, misconfigured},
};

use super::{
    lines::{self, NewLine},
    payload::{self, Payment},
    shelf::{Shelf, record_id},
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
    free_table: Option<i64>,
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
    api.require_supported().await.map_err(before)?;
    let till = Till::read(api, &settings.pos_config).await.map_err(before)?;
    let uuids: Vec<&str> = order.lines.iter().map(|line| line.line_id.as_str()).collect();
    let held = orders::held(api, &till, &uuids).await.map_err(before)?;
    if !held.lines.is_empty() {
        return already_there(api, &till, &held, &uuids).await;
    }
    let session_id = till.open_session().map_err(day_not_open)?;
    let shelf = Shelf::read(api, &till, settings, order).await.map_err(before)?;
    let lines = lines::resolve(order, &till, &shelf)?;
    let total = check_total(order, &till, &lines)?;
    let payments = payments(api, settings, &till, order, total).await?;
    let (payload, free_table) = match joined_draft(api, &till, order, &payments).await? {
        Some(draft) => {
            check_fiscal_position(api, &till, &draft, &lines).await?;
            let fields = note_fields(&draft.general_customer_note, order);
            (payload::add(&draft.uuid, session_id, &till, &fields, &lines), None)
        }
        None => {
            let table_id = table(api, &till, order).await?;
            let fields = order_fields(api, settings, &till, order, table_id).await?;
            let uuid = new_uuid(order, &payments)?;
            let payload = payload::create(&uuid, session_id, &till, &fields, &lines, &payments);
            (payload, table_id.filter(|_| payments.is_empty()))
        }
    };
    let plan = Plan { till, lines, payload, paid: !payments.is_empty(), free_table };
    match plan.table_taken(api, &plan.till).await.map_err(before)? {
        Some(taken) => Err(taken),
        None => Ok(Planned::Write(Box::new(plan))),
    }
}

async fn already_there(api: &Api<'_>, till: &Till, held: &orders::Held, uuids: &[&str]) -> Result<Planned, Unplaced> {
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

#[derive(Deserialize)]
struct Method {
    id: i64,
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

async fn payments(
    api: &Api<'_>,
    settings: &Settings,
    till: &Till,
    order: &PosOrder,
    total: i64,
) -> Result<Vec<Payment>, Unplaced> {
    if order.tenders.is_empty() {
        return Ok(Vec::new());
    }
    let sum: i64 = order.tenders.iter().filter_map(|t| t.amount.as_ref()).map(|money| money.amount).sum();
    let currency = |tender: &PosTender| tender.amount.as_ref().is_some_and(|m| m.currency_code == till.currency_code);
    if sum != total || !order.tenders.iter().all(currency) {
        let message =
            format!("payments of {sum} do not settle an order of {total} minor units of {}", till.currency_code);
        return Err(Unplaced::rejected(cause::MASTER_MISMATCH, message));
    }
    let domain = json!([["id", "in", till.config.payment_method_ids]]);
    let methods: Vec<Method> = api
        .search_read("pos.payment.method", domain, &["name", "type"], &till.scope(None))
        .await
        .map_err(ApiError::before_the_write)?;
    let reference = uuid_of("the order's reference", &order.reference)?;
    let mut payments = Vec::with_capacity(order.tenders.len());
    for (at, tender) in order.tenders.iter().enumerate() {
        check_text("a tender's reference", &tender.reference)?;
        payments.push(Payment {
            uuid: Uuid::new_v5(&reference, format!("tender/{at}").as_bytes()).to_string(),
            method_id: method(settings, &methods, tender)?,
            amount: tender.amount.as_ref().map_or(0, |money| money.amount),
            reference: tender.reference.clone(),
        });
    }
    Ok(payments)
}

fn method(settings: &Settings, methods: &[Method], tender: &PosTender) -> Result<i64, Unplaced> {
    let wanted = match record_id(&tender.tender_id) {
        Some(id) => Some(IdOrName::Id(id)),
        None if tender.tender_id.is_empty() => settings.external_payment_method.clone(),
        None => None,
    };
    let Some(wanted) = wanted else {
        let message = "the order is paid elsewhere; set external_payment_method on the connection";
        return Err(Unplaced::not_handed_over(cause::MISCONFIGURED, message));
    };
    let found = methods.iter().find(|method| wanted.is(method.id, &method.name));
    match found {
        // Such an order would keep the staff from closing the day.
        Some(method) if method.kind == "pay_later" => {
            let message =
                format!("payment method {:?} is on account; no payment from elsewhere can use it", method.name);
            Err(Unplaced::rejected(cause::MISCONFIGURED, message))
        }
        Some(method) => Ok(method.id),
        None => {
            let message = format!("the till has no payment method {wanted}; add it there or change the connection");
            Err(Unplaced::not_handed_over(cause::MISCONFIGURED, message))
        }
    }
}

/// What a new order says besides its lines.
async fn order_fields(
    api: &Api<'_>,
    settings: &Settings,
    till: &Till,
    order: &PosOrder,
    table_id: Option<i64>,
) -> Result<Map<String, Value>, Unplaced> {
    for (what, text) in [
        ("the order's note", &order.note),
        ("the guest's name", &order.guest_name),
        ("the display number", &order.display_number),
        ("the pager number", &order.pager_number),
    ] {
        check_text(what, text)?;
    }
    let mut fields = note_fields("", order);
    match table_id {
        Some(table_id) => fields.insert("table_id".into(), json!(table_id)),
        None => fields.insert("floating_order_name".into(), json!(floating_name(order))),
    };
    let party_size = order.check.as_ref().map_or(0, |check| check.party_size);
    if party_size > 0 {
        fields.insert("customer_count".into(), json!(party_size));
    }
    let takeaway = |mode: i32| mode == i32::from(ServiceMode::Takeaway);
    let preset = if order.lines.iter().all(|line| takeaway(line.service_mode)) {
        takeaway_preset(api, settings, till).await.map_err(ApiError::before_the_write)?
    } else {
        till.config.default_preset_id.as_ref().map(|link| link.0)
    };
    fields.extend(preset.map(|id| ("preset_id".to_owned(), json!(id))));
    let pickup = order.pickup_time.as_ref().and_then(orders::from_timestamp);
    fields.extend(pickup.map(|time| ("preset_time".to_owned(), json!(time))));
    Ok(fields)
}

/// The order's note below what is there already.
fn note_fields(before: &str, order: &PosOrder) -> Map<String, Value> {
    let test = order.test.then_some("TEST").into_iter();
    let note = Some(order.note.trim()).filter(|note| !note.is_empty()).into_iter();
    let ours: Vec<&str> = test.chain(note).collect();
    if ours.is_empty() {
        return Map::new();
    }
    let all: Vec<&str> = Some(before).filter(|text| !text.is_empty()).into_iter().chain(ours).collect();
    Map::from_iter([("general_customer_note".to_owned(), json!(all.join("\n")))])
}

/// What the till shows in place of a table: `T-42 Kim, pager 7`.
fn floating_name(order: &PosOrder) -> String {
    let name = format!("{} {}", order.display_number, order.guest_name);
    let pager = (!order.pager_number.is_empty()).then(|| format!("pager {}", order.pager_number));
    let parts: Vec<&str> =
        [Some(name.trim()), pager.as_deref()].into_iter().flatten().filter(|p| !p.is_empty()).collect();
    parts.join(", ")
}

async fn takeaway_preset(api: &Api<'_>, settings: &Settings, till: &Till) -> Result<Option<i64>, ApiError> {
    #[derive(Deserialize)]
    struct Preset {
        id: i64,
    }
    let name = match &settings.takeaway_preset {
        None => return Ok(None),
        Some(IdOrName::Id(id)) => return Ok(Some(*id)),
        Some(IdOrName::Name(name)) => name,
    };
    let domain = json!([["name", "=", name]]);
    let presets: Vec<Preset> = api.search_read("pos.preset", domain, &["name"], &till.scope(None)).await?;
    match presets.first() {
        Some(preset) => Ok(Some(preset.id)),
        None => Err(misconfigured(format!("Odoo has no preset {name:?}; change takeaway_preset of the connection"))),
    }
}

/// The draft that a round joins; `None` if it opens the check, or is paid and so an order of its own.
async fn joined_draft(
    api: &Api<'_>,
    till: &Till,
    order: &PosOrder,
    payments: &[Payment],
) -> Result<Option<OrderRecord>, Unplaced> {
    let Some(check) = order.check.as_ref().filter(|_| payments.is_empty()) else { return Ok(None) };
    let named = !check.pos_check_reference.is_empty();
    let uuid = if named { &check.pos_check_reference } else { &check.check_id };
    let found = orders::order_by_uuid(api, till, uuid).await.map_err(ApiError::before_the_write)?;
    match found {
        Some(order) if order.is_draft() => Ok(Some(order)),
        Some(order) => {
            let message = format!("check {} is {:?}; open a new one", order.pos_reference, order.state);
            Err(Unplaced::rejected(cause::CHECK_NOT_FOUND, message))
        }
        None if named => {
            let message = format!("the till has no check {uuid} any more; the staff may have merged or deleted it");
            Err(Unplaced::rejected(cause::CHECK_NOT_FOUND, message))
        }
        None => Ok(None),
    }
}

/// The table whose draft counts: the staff may have merged the guests' table into another. `None` without a check.
async fn table(api: &Api<'_>, till: &Till, order: &PosOrder) -> Result<Option<i64>, Unplaced> {
    let Some(PosCheckRef { table_id, .. }) = &order.check else { return Ok(None) };
    let missing = |why: &str| {
        let message = format!("table {table_id:?} {why}; sync the menu");
        Unplaced::rejected(cause::MASTER_MISMATCH, message)
    };
    let id = record_id(table_id).ok_or_else(|| missing("is not known to Odoo"))?;
    match crate::checks::root_table(api, till, id).await.map_err(ApiError::before_the_write)? {
        Some(root) => Ok(Some(root)),
        None => Err(missing("is not on a floor of this till")),
    }
}

/// A draft's fiscal position maps the taxes of all its lines, ours too.
async fn check_fiscal_position(
    api: &Api<'_>,
    till: &Till,
    draft: &OrderRecord,
    lines: &[NewLine],
) -> Result<(), Unplaced> {
    let Some(position) = &draft.fiscal_position_id else { return Ok(()) };
    let domain = json!([["id", "=", position.0]]);
    let fields = ["name", "tax_ids", "tax_map"];
    let positions: Vec<FiscalPosition> = api
        .search_read("account.fiscal.position", domain, &fields, &till.scope(None))
        .await
        .map_err(ApiError::before_the_write)?;
    let kept = |line: &NewLine| {
        let taxes: Vec<i64> = line.rate.tax_id.into_iter().collect();
        positions.iter().all(|position| position.map(&taxes) == taxes)
    };
    if lines.iter().all(kept) {
        return Ok(());
    }
    let message = format!(
        "check {} has the fiscal position {:?}, which would change the taxes of these lines; open a check of its own",
        draft.pos_reference, position.1
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

fn uuid_of(what: &str, text: &str) -> Result<Uuid, Unplaced> {
    let message = || format!("{what} {text:?} is no UUID, which Odoo needs");
    Uuid::parse_str(text).map_err(|_| Unplaced::rejected(cause::NOT_SUPPORTED, message()))
}

impl Plan {
    /// Odoo would merge the new check into a draft that is on its table, and that one is not ours to change.
    pub(super) async fn table_taken(&self, api: &Api<'_>, till: &Till) -> Result<Option<Unplaced>, ApiError> {
        let Some(table_id) = self.free_table else { return Ok(None) };
        let domain = json!([["table_id", "=", table_id], ["state", "=", "draft"]]);
        let drafts = orders::orders(api, till, domain).await?;
        Ok(drafts.first().map(|draft| {
            let message = format!(
                "the table has the open check {} ({}); join it, or have the staff close it",
                draft.pos_reference, draft.uuid
            );
            Unplaced::refused_for_now(cause::TABLE_LOCKED, message, None)
        }))
    }
}
