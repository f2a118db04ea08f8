//! Orders, checks, tickets and the state of the POS.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Progress;

/// Most lines of one order, or of one entry by staff.
pub const MAX_LINES: usize = 200;
/// Most units of one line, and of one modifier.
pub const MAX_QUANTITY: u32 = 99;
/// Most characters of a reference (printable ASCII).
pub const MAX_REFERENCE_CHARS: usize = 64;
/// Most characters of a note or a name.
pub const MAX_TEXT_CHARS: usize = 200;
/// Most tenders of one order.
pub const MAX_TENDERS: usize = 10;

/// Where a line is eaten; decides its tax rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceMode {
    /// In the restaurant.
    DineIn,
    /// Taken away.
    Takeaway,
}

/// Body of `POST /api/orders`: a round on a table's check, or a whole takeaway or kiosk order.
///
/// With `check_number` it joins that check; with `table` it joins the table's open check or opens one; with neither
/// it gets a check of its own, closed at once when the tenders pay it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitOrder {
    /// The caller's own id, unique for ever: the same order sent again answers the recorded one.
    pub reference: String,
    /// How far `reference` is unique; for ever if not given. Not part of what makes two orders under one reference equal.
    #[serde(default, skip_serializing_if = "Uniqueness::is_default")]
    pub uniqueness: Uniqueness,
    /// Refused with `EXPIRED` once this moment has passed when the POS records. Not part of what makes two orders
    /// under one reference equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
    /// What sold it (`table`, `togo`, `kiosk`); printed on the slip.
    pub product: String,
    /// Check to join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_number: Option<u32>,
    /// Table whose check to join or open. With `check_number` it must be that check's table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Guests, for a check that this order opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party_size: Option<u32>,
    /// What guest and kitchen call the order; the order number if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_number: Option<String>,
    /// What is ordered.
    pub lines: Vec<LineInput>,
    /// How it is paid already: nothing, or exactly the order's total.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenders: Vec<Tender>,
    /// Refused with `PRICE_CHANGED` when the POS's total is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_total: Option<i64>,
    /// Note to the kitchen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When the guest comes for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pickup_at: Option<i64>,
    /// Pager handed to the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pager: Option<String>,
    /// The kitchen has its slip from elsewhere: the order is recorded and none is made. Not part of what makes two orders
    /// under one reference equal: the one that is recorded is answered, with its slip or without, and no slip is made for
    /// it afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_ticket: bool,
}

/// How long the POS remembers a reference, for callers that play a poorer one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Uniqueness {
    /// The same order sent again answers the recorded one.
    #[default]
    Forever,
    /// So it does until this long after it was recorded; later it makes a second order.
    Window {
        /// How long.
        window_ms: u64,
    },
    /// It makes a second order each time.
    None,
}

impl Uniqueness {
    fn is_default(&self) -> bool {
        *self == Self::Forever
    }
}

/// One line to order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineInput {
    /// The caller's id of the line, unique in its order.
    pub reference: String,
    /// Item of the menu.
    pub item_id: String,
    /// Units, 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// Eaten here or taken away.
    pub service_mode: ServiceMode,
    /// Chosen modifiers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<ModifierInput>,
    /// Note to the kitchen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One chosen modifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifierInput {
    /// Group it is chosen from.
    pub group_id: String,
    /// Option of that group.
    pub option_id: String,
    /// How many per unit of what it modifies, 1 to [`MAX_QUANTITY`].
    #[serde(default = "one")]
    pub quantity: u32,
    /// Choices that this option asks for in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<ModifierInput>,
}

/// A payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tender {
    /// Means, from the menu's tenders.
    pub tender_id: String,
    /// Yen, above 0.
    pub amount: i64,
    /// The payment's id where the money was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_reference: Option<String>,
}

/// A line as the POS recorded it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The caller's id of the line, or one the till made.
    pub reference: String,
    /// Item of the menu; empty for a discount, a charge, or a share of a split check.
    pub item_id: String,
    /// Its name as printed.
    pub name: String,
    /// Units, those included that are void.
    pub quantity: u32,
    /// Units that are void.
    #[serde(default)]
    pub voided: u32,
    /// Eaten here or taken away.
    pub service_mode: ServiceMode,
    /// Tax rate at which it is sold.
    pub tax_rate_percent: u32,
    /// Yen per unit, modifiers and tax included.
    pub unit_price: i64,
    /// `unit_price` × what is left of `quantity`.
    pub total: i64,
    /// Chosen modifiers.
    #[serde(default)]
    pub modifiers: Vec<Modifier>,
    /// Note to the kitchen.
    #[serde(default)]
    pub note: Option<String>,
    /// The charge that it bears, as it stood when the line was entered. It is in no line's total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_charge: Option<LineCharge>,
}

/// A service charge as lines were entered with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LineCharge {
    /// Id in the menu.
    pub id: String,
    /// Its name as printed.
    pub name: String,
    /// Percent of the lines' totals.
    pub percent: u32,
    /// Tax rate that it bears.
    pub tax_rate_percent: u32,
}

/// A modifier as the POS recorded it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Modifier {
    /// Group it was chosen from.
    pub group_id: String,
    /// The option.
    pub option_id: String,
    /// Its name as printed.
    pub name: String,
    /// How many per unit of what it modifies.
    pub quantity: u32,
    /// Yen added for each one, without its own modifiers.
    pub price_delta: i64,
    /// Choices below it.
    #[serde(default)]
    pub modifiers: Vec<Modifier>,
}

/// Sum and taxes of a receipt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Yen to pay, tax and service charges included.
    pub total: i64,
    /// The tax contained in it, per rate, rounded down once per rate.
    pub taxes: Vec<TaxTotal>,
    /// What is added to the lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<ChargeTotal>,
}

/// A service charge on a receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChargeTotal {
    /// Which.
    #[serde(flatten)]
    pub charge: LineCharge,
    /// Yen, tax included, rounded down once.
    pub amount: i64,
}

/// The part of a receipt at one rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaxTotal {
    /// Rate.
    pub rate_percent: u32,
    /// Yen at this rate, tax included.
    pub gross: i64,
    /// Yen of tax in `gross`.
    pub tax: i64,
}

/// A recorded order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Number given by the POS, counting from 1.
    pub order_number: u32,
    /// What guest and kitchen call it.
    pub display_number: String,
    /// Check that it belongs to.
    pub check_number: u32,
    /// Table of that check.
    pub table: Option<String>,
    /// Its kitchen ticket; none if it was to be recorded without one.
    pub ticket_number: Option<u32>,
    /// When it was recorded.
    pub recorded_at: i64,
    /// Lines as recorded.
    pub lines: Vec<Line>,
    /// Totals as if the order were a receipt of its own. On a check with several rounds tax and service charge of the
    /// receipt are the check's, which may differ by a yen.
    pub totals: Totals,
    /// What was asked for.
    pub request: SubmitOrder,
}

/// Answer of every call about one order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderAnswer {
    /// True when it was recorded, or changed so, before this call; nothing was done again.
    pub duplicate: bool,
    /// Whether the kitchen ticket has been printed by now. Never of an order without one.
    pub printed: bool,
    /// How far it is.
    pub progress: Progress,
    /// When it was cancelled; none if it was not.
    pub cancelled_at: Option<i64>,
    /// Check that it is on now: checks are merged.
    pub check_number: u32,
    /// Units of each line that are void, by line reference; lines of which nothing is are left out.
    pub voided: BTreeMap<String, u32>,
    /// Yen of what is left of it, tax and service charge included.
    pub total: i64,
    /// Other orders under the same reference, by number. None, unless `uniqueness` allowed them.
    pub copies: Vec<u32>,
    /// The order as it was recorded.
    pub order: Arc<Order>,
}

/// Answer of `GET /api/orders`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderList {
    /// Oldest first.
    pub orders: Vec<OrderAnswer>,
    /// True when there are more: ask again with `after` set to the last order number.
    pub more: bool,
    /// Orders recorded before this moment may be missing: they are forgotten. None: none is.
    pub complete_since: Option<i64>,
}

/// State of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Takes rounds.
    Open,
    /// The bill is printed. Orders by API are refused; staff may still enter, which opens it again.
    BillRequested,
    /// Paid or settled at the till.
    Closed,
    /// Joined into another check.
    Merged,
    /// All of it is void: the one order for which it was made was cancelled.
    Cancelled,
}

/// Body of `POST /api/checks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenCheck {
    /// Table at which the guests sit.
    pub table: String,
    /// Guests, 1 to [`MAX_QUANTITY`].
    pub party_size: u32,
    /// Name of the staff member; not given, the check counts as opened by the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staff: Option<String>,
    /// True opens another check although the table has one. Otherwise the table's open check is answered, so that
    /// asking twice is harmless.
    #[serde(default)]
    pub separate: bool,
}

/// Answer of `POST /api/checks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenCheckAnswer {
    /// False when the table's open check was joined.
    pub opened: bool,
    /// The check.
    pub check: Check,
}

/// A check with everything on it, whoever entered it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Number given by the POS, counting from 1.
    pub number: u32,
    /// Its table; none for an order without one.
    pub table: Option<String>,
    /// Guests.
    pub party_size: Option<u32>,
    /// State.
    pub state: CheckState,
    /// `api`, or `staff:` and a name.
    pub opened_by: String,
    /// When it was opened.
    pub opened_at: i64,
    /// When it was closed, merged or cancelled.
    pub closed_at: Option<i64>,
    /// The check that it was joined into.
    #[serde(default)]
    pub merged_into: Option<u32>,
    /// The check that it was split from.
    #[serde(default)]
    pub split_from: Option<u32>,
    /// All lines in order of entry.
    pub lines: Vec<CheckLine>,
    /// Totals of the receipt.
    pub totals: Totals,
    /// Payments so far.
    pub tenders: Vec<Tender>,
    /// Total less payments.
    pub due: i64,
}

/// A line on a check and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckLine {
    /// Number given by the POS, unique among all lines of all checks.
    pub line_id: u32,
    /// Number of the order that brought it; none for lines entered by staff.
    pub order_number: Option<u32>,
    /// Reference of the order that brought it; none for lines entered by staff.
    pub order_reference: Option<String>,
    /// `api`, or `staff:` and a name.
    pub entered_by: String,
    /// The line.
    #[serde(flatten)]
    pub line: Line,
}

/// Answer of `GET /api/checks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckList {
    /// By number.
    pub checks: Vec<Check>,
    /// True when there are more: ask again with `after` set to the last number.
    pub more: bool,
}

/// Body of `POST /api/staff/checks/{number}/lines`: what staff key in at the till.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaffLines {
    /// Name of the staff member.
    pub staff: String,
    /// What is ordered; references unique on the check.
    pub lines: Vec<LineInput>,
}

/// Body of `POST /api/checks/{number}/close`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseCheck {
    /// Name of the staff member at the till.
    pub staff: String,
    /// Payments; with those before they must make exactly the total.
    #[serde(default)]
    pub tenders: Vec<Tender>,
}

/// What a slip is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketKind {
    /// What the kitchen cooks from.
    Kitchen,
    /// What the guest pays from.
    Bill,
}

/// What a kitchen slip is to the kitchen; printed on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketMark {
    /// To be cooked.
    #[default]
    Normal,
    /// Repeats another slip: nothing to cook.
    Reprint,
    /// Came out long after it was made: look whether it was cooked already.
    Late,
    /// What is on it is not to be cooked any more.
    Void,
}

/// A slip of paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// Number given by the POS, counting from 1. Slips are printed in the order of their numbers.
    pub number: u32,
    /// Kitchen or bill.
    pub kind: TicketKind,
    /// What it is to the kitchen.
    #[serde(default)]
    pub mark: TicketMark,
    /// The slip that this one repeats.
    pub reprint_of: Option<u32>,
    /// Check that it belongs to.
    pub check_number: u32,
    /// Table of that check.
    pub table: Option<String>,
    /// Order that it is about; none for bills and for what staff entered.
    pub order_reference: Option<String>,
    /// The order's display number.
    pub display_number: Option<String>,
    /// The text, as printed.
    pub text: String,
    /// When it was made.
    pub created_at: i64,
    /// When it came out of the printer; none while it waits.
    pub printed_at: Option<i64>,
}

/// Answer of `GET /api/tickets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TicketList {
    /// Printed slips in the order of printing.
    pub tickets: Vec<Arc<Ticket>>,
    /// True when there are more: ask again with `after` set to the last number.
    pub more: bool,
}

/// What the printer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrinterState {
    /// It prints.
    #[default]
    Ready,
    /// No paper.
    OutOfPaper,
    /// The cover stands open.
    CoverOpen,
    /// It does not answer.
    Offline,
}

/// What the POS app is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// Ready for orders.
    Running,
    /// Loading master data; orders are refused for now.
    MasterUpdating,
}

/// Answer of `GET /api/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// What the app is doing.
    pub app: AppState,
    /// Whether the till's day has been opened; without it orders are refused.
    pub business_day_open: bool,
    /// Day of business, `YYYY-MM-DD`; the day turns at 05:00 in the restaurant.
    pub business_date: String,
    /// The kitchen printer.
    pub printer: PrinterState,
    /// Slips that wait for the printer.
    pub waiting_tickets: u32,
    /// Checks not closed.
    pub open_checks: u32,
    /// Revision of the menu.
    pub menu_revision: u64,
    /// The POS's clock.
    pub clock: i64,
    /// Orders recorded before this moment are forgotten, unless they are on a check that still changes. None: none is.
    pub complete_since: Option<i64>,
    /// Promise: how long after a request has ended the POS may still record it. 0, except while
    /// `record_late` or `delay` rules stand: then their delays together.
    pub max_apply_delay_ms: u64,
}

fn one() -> u32 {
    1
}
