//! The vendor's JSON, as far as the adapter uses it. Amounts are whole yen with tax, times unix milliseconds of the
//! POS's clock. What the vendor adds later is ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /api/orders/{reference}`: authoritative.
pub(crate) const ORDER_NOT_FOUND: &str = "ORDER_NOT_FOUND";

pub(crate) type Texts = BTreeMap<String, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServiceMode {
    DineIn,
    Takeaway,
}

/// How long the POS recognizes a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Uniqueness {
    Forever,
    Window { window_ms: u64 },
    None,
}

/// Body of `POST /api/orders`. The same reference with another body is refused, `not_after`, `uniqueness` and
/// `without_ticket` apart; so everything else here must depend on the order alone.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct SubmitOrder {
    pub(crate) reference: String,
    pub(crate) uniqueness: Uniqueness,
    /// Nothing is recorded after it.
    pub(crate) not_after: i64,
    pub(crate) product: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check_number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) party_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_number: Option<String>,
    pub(crate) lines: Vec<LineInput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tenders: Vec<TenderInput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expected_total: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pickup_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pager: Option<String>,
    /// The kitchen has its slip already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) without_ticket: bool,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct LineInput {
    pub(crate) reference: String,
    pub(crate) item_id: String,
    pub(crate) quantity: u32,
    pub(crate) service_mode: ServiceMode,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) modifiers: Vec<ModifierInput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ModifierInput {
    pub(crate) group_id: String,
    pub(crate) option_id: String,
    /// Per unit of what it modifies.
    pub(crate) quantity: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) modifiers: Vec<ModifierInput>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct TenderInput {
    pub(crate) tender_id: String,
    pub(crate) amount: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) external_reference: Option<String>,
}

/// Body of `POST /api/orders/{reference}/cancel`.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct CancelOrder {
    pub(crate) change_reference: String,
    pub(crate) not_after: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Body of `POST /api/orders/{reference}/void`.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct VoidLines {
    pub(crate) change_reference: String,
    pub(crate) not_after: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) lines: Vec<LineVoid>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct LineVoid {
    pub(crate) reference: String,
    /// In all.
    pub(crate) quantity_voided: u32,
}

/// Body of `POST /api/checks/{number}/split`.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct SplitCheck {
    pub(crate) change_reference: String,
    pub(crate) not_after: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parts: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) by_item: Vec<SplitPart>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct SplitPart {
    pub(crate) lines: Vec<LineShare>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct LineShare {
    pub(crate) line_id: u32,
    pub(crate) quantity: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SplitAnswer {
    pub(crate) checks: Vec<Check>,
}

/// Body of every answer that is not 200.
#[derive(Debug, Deserialize)]
pub(crate) struct RefusalBody {
    pub(crate) error: Refusal,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) cause: String,
    pub(crate) message: String,
    /// Path of what is at fault, e.g. `lines[2].item_id`.
    pub(crate) field: Option<String>,
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
    /// Of an order that was not found: those recorded before are forgotten.
    pub(crate) complete_since: Option<i64>,
    pub(crate) retry_after_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OrderAnswer {
    pub(crate) printed: bool,
    pub(crate) progress: Progress,
    pub(crate) cancelled_at: Option<i64>,
    /// That it is on now.
    pub(crate) check_number: u32,
    /// Units by line reference.
    pub(crate) voided: BTreeMap<String, u32>,
    /// Of what is left.
    pub(crate) total: i64,
    /// Other orders under the same reference.
    pub(crate) copies: Vec<u32>,
    pub(crate) order: Order,
}

impl OrderAnswer {
    pub(crate) fn voided(&self, line_reference: &str) -> u32 {
        self.voided.get(line_reference).copied().unwrap_or(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    Accepted,
    InPreparation,
    Ready,
    Completed,
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OrderList {
    pub(crate) orders: Vec<OrderAnswer>,
    pub(crate) more: bool,
    /// Orders recorded before are forgotten.
    pub(crate) complete_since: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EventList {
    pub(crate) events: Vec<OrderEvent>,
    pub(crate) cursor: u64,
    pub(crate) more: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OrderEvent {
    pub(crate) number: u64,
    pub(crate) at: i64,
    pub(crate) reference: String,
    pub(crate) order_number: u32,
    #[serde(flatten)]
    pub(crate) kind: EventKind,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum EventKind {
    Recorded,
    Printed {
        ticket_number: u32,
    },
    Progressed {
        to: Progress,
    },
    LinesVoided,
    Cancelled,
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    pub(crate) order_number: u32,
    pub(crate) display_number: String,
    /// None for an order that was recorded without one.
    pub(crate) ticket_number: Option<u32>,
    pub(crate) recorded_at: i64,
    pub(crate) lines: Vec<Line>,
    pub(crate) request: Recorded,
}

/// What the order was submitted with.
#[derive(Debug, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) reference: String,
    pub(crate) display_number: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    pub(crate) reference: String,
    pub(crate) item_id: String,
    pub(crate) name: String,
    pub(crate) quantity: u32,
    pub(crate) voided: u32,
    pub(crate) total: i64,
    pub(crate) note: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Totals {
    pub(crate) total: i64,
    pub(crate) taxes: Vec<TaxTotal>,
    /// What the POS adds to the lines.
    #[serde(default)]
    pub(crate) charges: Vec<ChargeTotal>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChargeTotal {
    pub(crate) name: String,
    pub(crate) amount: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TaxTotal {
    pub(crate) tax: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CheckList {
    pub(crate) checks: Vec<Check>,
    pub(crate) more: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Check {
    pub(crate) number: u32,
    pub(crate) table: Option<String>,
    pub(crate) party_size: Option<u32>,
    pub(crate) state: CheckState,
    pub(crate) opened_at: i64,
    pub(crate) merged_into: Option<u32>,
    pub(crate) lines: Vec<CheckLine>,
    pub(crate) totals: Totals,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckState {
    Open,
    BillRequested,
    /// Closed, merged, cancelled.
    #[serde(other)]
    Ended,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CheckLine {
    pub(crate) line_id: u32,
    /// None for what staff entered.
    pub(crate) order_reference: Option<String>,
    #[serde(flatten)]
    pub(crate) line: Line,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) app: AppState,
    pub(crate) business_day_open: bool,
    pub(crate) printer: PrinterState,
    pub(crate) waiting_tickets: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AppState {
    Running,
    MasterUpdating,
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PrinterState {
    Ready,
    OutOfPaper,
    CoverOpen,
    Offline,
    #[serde(other)]
    Other,
}

#[derive(Debug, Serialize)]
pub(crate) struct SetAvailability {
    pub(crate) available: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AvailabilityAnswer {
    pub(crate) available: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Menu {
    pub(crate) currency: String,
    pub(crate) locales: Vec<String>,
    pub(crate) tax_classes: Vec<TaxClass>,
    pub(crate) categories: Vec<Category>,
    pub(crate) modifier_groups: Vec<ModifierGroup>,
    pub(crate) areas: Vec<Area>,
    pub(crate) tenders: Vec<Tender>,
    pub(crate) stations: Vec<Named>,
    pub(crate) courses: Vec<Named>,
    pub(crate) periods: Vec<Period>,
    pub(crate) service_charge: Option<ServiceCharge>,
}

/// A share of the lines for dine-in with their tax, rounded down.
#[derive(Debug, Deserialize)]
pub(crate) struct ServiceCharge {
    pub(crate) id: String,
    pub(crate) name: Texts,
    pub(crate) percent: u32,
    pub(crate) tax_class: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) name: Texts,
}

/// When some items are on the card.
#[derive(Debug, Deserialize)]
pub(crate) struct Period {
    pub(crate) id: String,
    pub(crate) name: Texts,
    pub(crate) hours: Vec<PeriodHours>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PeriodHours {
    /// 1 Monday to 7 Sunday.
    pub(crate) weekdays: Vec<u32>,
    /// After midnight; beyond 1440 on the next day.
    pub(crate) from_minutes: u32,
    pub(crate) until_minutes: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TaxClass {
    pub(crate) id: String,
    pub(crate) dine_in_rate_percent: u32,
    pub(crate) takeaway_rate_percent: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Category {
    pub(crate) id: String,
    pub(crate) name: Texts,
    pub(crate) kana: Option<String>,
    pub(crate) tax_class: String,
    pub(crate) station: Option<String>,
    pub(crate) course: Option<String>,
    pub(crate) items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: String,
    /// The number on the card.
    pub(crate) code: Option<String>,
    pub(crate) name: Texts,
    pub(crate) kana: Option<String>,
    pub(crate) price: i64,
    pub(crate) available: bool,
    /// None where the till does not count.
    pub(crate) remaining: Option<u32>,
    /// False for what cannot leave the house.
    pub(crate) takeaway: bool,
    pub(crate) groups: Vec<String>,
    pub(crate) photo: Option<String>,
    /// None where nobody has looked.
    pub(crate) allergens: Option<Allergens>,
    #[serde(default)]
    pub(crate) periods: Vec<String>,
}

/// Looked up in Japan's list of 8.
#[derive(Debug, Deserialize)]
pub(crate) struct Allergens {
    pub(crate) contains: Vec<String>,
    pub(crate) may_contain: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ModifierGroup {
    pub(crate) id: String,
    pub(crate) name: Texts,
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) options: Vec<ModifierOption>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ModifierOption {
    pub(crate) id: String,
    pub(crate) name: Texts,
    pub(crate) price_delta: i64,
    /// The item that the option is.
    pub(crate) item: Option<String>,
    pub(crate) default: bool,
    pub(crate) groups: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Area {
    pub(crate) id: String,
    pub(crate) name: Texts,
    pub(crate) tables: Vec<Table>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Table {
    pub(crate) id: String,
    pub(crate) seats: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Tender {
    pub(crate) id: String,
    pub(crate) name: Texts,
    /// Taken elsewhere, only noted by the POS.
    pub(crate) external: bool,
}
