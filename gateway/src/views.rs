//! What the gateway answers: JSON types, made from the contracts' messages.

use posmesh_proto::{
    common::v1::{self as common, Product},
    order::v1 as order,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::{self, GuestMessage};

/// A product, as it stands in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProductName {
    /// QR code at the seat; rounds on one open check.
    Table,
    /// Order ahead for a pickup time.
    Togo,
    /// Self-service terminal in the store.
    Kiosk,
}

impl ProductName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Togo => "togo",
            Self::Kiosk => "kiosk",
        }
    }
}

impl From<ProductName> for Product {
    fn from(name: ProductName) -> Self {
        match name {
            ProductName::Table => Self::Table,
            ProductName::Togo => Self::ToGo,
            ProductName::Kiosk => Self::Kiosk,
        }
    }
}

/// How something is served. It decides the tax rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServiceMode {
    /// Eaten in the store.
    EatIn,
    /// Taken away.
    TakeAway,
}

impl ServiceMode {
    pub(crate) fn of(mode: common::ServiceMode) -> Option<Self> {
        match mode {
            common::ServiceMode::Unspecified => None,
            common::ServiceMode::DineIn => Some(Self::EatIn),
            common::ServiceMode::Takeaway => Some(Self::TakeAway),
        }
    }
}

impl From<ServiceMode> for common::ServiceMode {
    fn from(mode: ServiceMode) -> Self {
        match mode {
            ServiceMode::EatIn => Self::DineIn,
            ServiceMode::TakeAway => Self::Takeaway,
        }
    }
}

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"currency": "JPY", "amount": 980}))]
pub(crate) struct Money {
    /// ISO 4217.
    pub(crate) currency: String,
    /// In the currency's minor units: yen, cents.
    pub(crate) amount: i64,
}

impl From<common::Money> for Money {
    fn from(money: common::Money) -> Self {
        Self { currency: money.currency_code, amount: money.amount }
    }
}

impl From<Money> for common::Money {
    fn from(money: Money) -> Self {
        Self { currency_code: money.currency, amount: money.amount }
    }
}

/// What something costs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Price {
    status: PriceStatus,
    /// Without tax.
    #[serde(skip_serializing_if = "Option::is_none")]
    net: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax: Option<Money>,
    /// What the guest pays, tax included. Send it back as `expected_total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Money>,
    /// One per rate.
    taxes: Vec<TaxAmount>,
    /// What the POS adds by itself: part of all sums above, and of no line. Show each to the guest by its name.
    charges: Vec<Charge>,
}

/// A service charge on the lines in one service mode.
#[derive(Debug, Serialize, ToSchema)]
struct Charge {
    /// As on the menu.
    id: String,
    /// In the store's own language.
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_mode: Option<ServiceMode>,
    /// With its tax if `tax_included`.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Money>,
    /// In millionths: 10 % is 100000.
    tax_rate_ppm: i32,
    tax_included: bool,
}

/// Whose word a price is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PriceStatus {
    /// The platform's; tax and charges of a round are rounded again on the receipt.
    Estimate,
    /// The POS's.
    Final,
}

/// The tax of one rate.
#[derive(Debug, Serialize, ToSchema)]
struct TaxAmount {
    /// In millionths: 10 % is 100000.
    rate_ppm: i32,
    included_in_price: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    net: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax: Option<Money>,
}

impl From<order::Price> for Price {
    fn from(price: order::Price) -> Self {
        let status = match price.status() {
            order::PriceStatus::Final => PriceStatus::Final,
            order::PriceStatus::Estimate | order::PriceStatus::Unspecified => PriceStatus::Estimate,
        };
        let taxes = price.taxes.into_iter().map(|t| TaxAmount {
            rate_ppm: t.rate_ppm,
            included_in_price: t.included_in_price,
            net: t.net.map(Into::into),
            tax: t.tax.map(Into::into),
        });
        let charges = price.charges.into_iter().map(|charge| Charge {
            service_mode: ServiceMode::of(charge.service_mode()),
            id: charge.charge_id,
            name: charge.name,
            amount: charge.amount.map(Into::into),
            tax_rate_ppm: charge.tax_rate_ppm,
            tax_included: charge.tax_included,
        });
        Self {
            status,
            net: price.net.map(Into::into),
            tax: price.tax.map(Into::into),
            total: price.total.map(Into::into),
            taxes: taxes.collect(),
            charges: charges.collect(),
        }
    }
}

/// A priced line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Line {
    /// Absent in a quote.
    #[serde(skip_serializing_if = "String::is_empty")]
    line_id: String,
    item_id: String,
    /// In the store's own language.
    name: String,
    quantity: i32,
    /// How much of the quantity was taken back. Absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity_voided: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_mode: Option<ServiceMode>,
    /// For one without modifiers, as the store's catalog has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_price: Option<Money>,
    modifiers: Vec<LineModifier>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    /// Of the whole line with its modifiers; whether tax is in it says `tax_included`.
    #[serde(skip_serializing_if = "Option::is_none")]
    line_price: Option<Money>,
    /// In millionths.
    tax_rate_ppm: i32,
    tax_included: bool,
}

/// A choice on a line.
#[derive(Debug, Serialize, ToSchema)]
struct LineModifier {
    group_id: String,
    modifier_id: String,
    name: String,
    /// Per unit of the line.
    quantity: i32,
    /// For one.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Money>,
    #[schema(no_recursion)]
    modifiers: Vec<LineModifier>,
}

impl From<order::OrderLine> for Line {
    fn from(line: order::OrderLine) -> Self {
        Self {
            service_mode: ServiceMode::of(line.service_mode()),
            line_id: line.line_id,
            item_id: line.item_id,
            name: line.name,
            quantity: line.quantity,
            quantity_voided: Some(line.quantity_voided).filter(|voided| *voided > 0),
            unit_price: line.unit_price.map(Into::into),
            modifiers: line.modifiers.into_iter().map(Into::into).collect(),
            note: line.note,
            line_price: line.line_price.map(Into::into),
            tax_rate_ppm: line.tax_rate_ppm,
            tax_included: line.tax_included,
        }
    }
}

impl From<order::LineModifier> for LineModifier {
    fn from(modifier: order::LineModifier) -> Self {
        Self {
            group_id: modifier.group_id,
            modifier_id: modifier.modifier_id,
            name: modifier.name,
            quantity: modifier.quantity,
            price: modifier.price.map(Into::into),
            modifiers: modifier.modifiers.into_iter().map(Into::into).collect(),
        }
    }
}

/// What an order would cost now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quote {
    lines: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Price>,
    catalog_version: i64,
    /// ToGo: the earliest pickup time that is free (RFC 3339). Absent: none of the next 7 days is.
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_pickup_time: Option<String>,
}

impl From<order::Quote> for Quote {
    fn from(quote: order::Quote) -> Self {
        Self {
            lines: quote.lines.into_iter().map(Into::into).collect(),
            price: quote.price.map(Into::into),
            catalog_version: quote.catalog_version,
            earliest_pickup_time: quote.earliest_pickup_time.map(|t| t.to_string()),
        }
    }
}

/// Pickup times that are free.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PickupSlots {
    /// Of this business day, earliest first.
    pub(crate) slots: Vec<PickupSlot>,
}

/// A pickup time that is free.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"pickup_time": "2026-11-22T09:30:00Z", "free": 4}))]
pub(crate) struct PickupSlot {
    /// Send it as `pickup_time` (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pickup_time: Option<String>,
    /// Orders that it still takes. Absent: no limit is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    free: Option<i32>,
}

impl From<order::PickupSlot> for PickupSlot {
    fn from(slot: order::PickupSlot) -> Self {
        Self { pickup_time: slot.pickup_time.map(|t| t.to_string()), free: Some(slot.free).filter(|free| *free > 0) }
    }
}

/// Where an order is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum OrderState {
    /// Kept safely; not with the store yet.
    Pending,
    /// Waits for something: the round before it, a pickup time.
    Held,
    /// Being sent to the POS.
    Sending,
    /// Nobody knows whether the POS has it; it is being found out.
    InDoubt,
    /// The POS has it.
    Placed,
    InPreparation,
    Ready,
    /// Ended well.
    Completed,
    /// Ended: the POS said no.
    Rejected,
    /// Ended: not delivered in time.
    Expired,
    /// Ended: taken back.
    Cancelled,
    /// A state that this gateway does not know.
    Unknown,
}

impl From<order::OrderState> for OrderState {
    fn from(state: order::OrderState) -> Self {
        match state {
            order::OrderState::Unspecified => Self::Unknown,
            order::OrderState::Pending => Self::Pending,
            order::OrderState::Held => Self::Held,
            order::OrderState::Sending => Self::Sending,
            order::OrderState::InDoubt => Self::InDoubt,
            order::OrderState::Placed => Self::Placed,
            order::OrderState::InPreparation => Self::InPreparation,
            order::OrderState::Ready => Self::Ready,
            order::OrderState::Completed => Self::Completed,
            order::OrderState::Rejected => Self::Rejected,
            order::OrderState::Expired => Self::Expired,
            order::OrderState::Cancelled => Self::Cancelled,
        }
    }
}

/// A round of a table, or a whole ToGo or Kiosk order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Order {
    order_id: String,
    store_id: String,
    state: OrderState,
    /// No further change comes.
    ended: bool,
    /// What to tell the guest now.
    guest_message: GuestMessage,
    /// The number on the kitchen slip. Absent until the POS has the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_number: Option<String>,
    business_date: String,
    /// Table: the check that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    check_id: Option<String>,
    /// Table: the number of the round on its check, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    round: Option<i32>,
    /// ToGo (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pickup_time: Option<String>,
    /// Kiosk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pager_number: Option<String>,
    lines: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Price>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    /// RFC 3339, as all times.
    #[serde(skip_serializing_if = "Option::is_none")]
    create_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_time: Option<String>,
    /// When the POS took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    place_time: Option<String>,
    /// The newest wish to take it back, or lines of it. Absent: nobody had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
}

/// A wish to take an order back, or lines of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Change {
    kind: ChangeKind,
    pub(crate) state: ChangeState,
    /// REFUSED: why; one of the causes, e.g. TOO_LATE.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_time: Option<String>,
    /// When it was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
}

/// What is wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ChangeKind {
    Cancel,
    VoidLines,
    /// A kind that this gateway does not know.
    Unknown,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ChangeState {
    /// Kept safely; not decided yet.
    Requested,
    /// It is as wished.
    Confirmed,
    /// The order stays as it is.
    Refused,
    /// A state that this gateway does not know.
    Unknown,
}

impl From<&order::OrderChange> for Change {
    fn from(change: &order::OrderChange) -> Self {
        let kind = match change.kind() {
            order::OrderChangeKind::Cancel => ChangeKind::Cancel,
            order::OrderChangeKind::VoidLines => ChangeKind::VoidLines,
            order::OrderChangeKind::Unspecified => ChangeKind::Unknown,
        };
        let state = match change.state() {
            order::OrderChangeState::Requested => ChangeState::Requested,
            order::OrderChangeState::Confirmed => ChangeState::Confirmed,
            order::OrderChangeState::Refused => ChangeState::Refused,
            order::OrderChangeState::Unspecified => ChangeState::Unknown,
        };
        Self {
            kind,
            state,
            cause: given(change.cause.clone()),
            request_time: change.request_time.as_ref().map(ToString::to_string),
            end_time: change.end_time.as_ref().map(ToString::to_string),
        }
    }
}

impl From<order::Order> for Order {
    fn from(order: order::Order) -> Self {
        let state = order.state();
        Self {
            state: state.into(),
            ended: words::has_ended(&order),
            change: words::newest_change(&order).map(Into::into),
            guest_message: words::message(&order),
            // Before that the number may not be the slip's.
            display_number: given(order.display_number).filter(|_| order.place_time.is_some()),
            order_id: order.order_id,
            store_id: order.store_id,
            business_date: order.business_date,
            check_id: given(order.check_id),
            round: Some(order.round).filter(|round| *round > 0),
            pickup_time: order.pickup_time.map(|t| t.to_string()),
            pager_number: given(order.pager_number),
            lines: order.lines.into_iter().map(Into::into).collect(),
            price: order.price.map(Into::into),
            note: order.note,
            create_time: order.create_time.map(|t| t.to_string()),
            update_time: order.update_time.map(|t| t.to_string()),
            place_time: order.place_time.map(|t| t.to_string()),
        }
    }
}

/// The answer to placing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Placed {
    pub(crate) order: Order,
    /// ToGo and Kiosk: bearer token for reading, watching and cancelling this order. Keep it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order_token: Option<String>,
}

/// The rounds of a check.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rounds {
    /// Newest first.
    pub(crate) rounds: Vec<Order>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_page_token: Option<String>,
}

/// Where a check is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum CheckState {
    Open,
    BillRequested,
    Closed,
    /// The staff joined it into another one.
    Merged,
    /// A state that this gateway does not know.
    Unknown,
}

/// One visit of guests to a table.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Check {
    check_id: String,
    store_id: String,
    table_id: String,
    state: CheckState,
    /// Absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    party_size: Option<i32>,
    business_date: String,
    /// Rounds taken so far.
    rounds: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_time: Option<String>,
    /// Where the guests sat before the staff moved them, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    former_table_ids: Vec<String>,
    /// The check that it was joined into.
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_into: Option<String>,
    /// The check that it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    split_from: Option<String>,
}

impl From<order::Check> for Check {
    fn from(check: order::Check) -> Self {
        let state = match check.state() {
            order::CheckState::Unspecified => CheckState::Unknown,
            order::CheckState::Open => CheckState::Open,
            order::CheckState::BillRequested => CheckState::BillRequested,
            order::CheckState::Closed => CheckState::Closed,
            order::CheckState::Merged => CheckState::Merged,
        };
        Self {
            state,
            check_id: check.check_id,
            store_id: check.store_id,
            table_id: check.table_id,
            party_size: Some(check.party_size).filter(|size| *size > 0),
            business_date: check.business_date,
            rounds: check.rounds,
            open_time: check.open_time.map(|t| t.to_string()),
            former_table_ids: check.former_table_ids,
            merged_into: given(check.merged_into),
            split_from: given(check.split_from),
        }
    }
}

/// The answer to opening or joining a check.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenedCheck {
    pub(crate) check: Check,
    /// Bearer token for everything on this check. It dies with the check.
    pub(crate) guest_token: String,
    /// The check was open already.
    pub(crate) joined: bool,
}

/// A check, and the token for everything on it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeldCheck {
    pub(crate) check: Check,
    /// Bearer token. It dies with the check.
    pub(crate) guest_token: String,
}

/// What came of splitting a check.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SplitCheck {
    /// The check that was split first, then the new ones. One alone: the POS splits its bill.
    pub(crate) checks: Vec<HeldCheck>,
    /// One for each part.
    pub(crate) bills: Vec<Bill>,
}

/// A table that was released.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleasedTable {
    /// The check that was ended; absent where none was open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<Check>,
}

/// A check with what stands on it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckAndBill {
    pub(crate) check: Check,
    /// MERGED only: the check that the guests are on now. Show it to them, and go on with its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) continued_by: Option<HeldCheck>,
    /// Where it was asked for and the POS told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bill: Option<Bill>,
}

/// What stands on a check at the POS, whoever entered it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Bill {
    lines: Vec<BillLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax: Option<Money>,
    /// When the POS was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_time: Option<String>,
}

/// A line on the bill.
#[derive(Debug, Serialize, ToSchema)]
struct BillLine {
    /// Names the line when the check is split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pos_line_reference: Option<String>,
    /// Present where it came from a round of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    line_id: Option<String>,
    name: String,
    /// In thousandths.
    quantity_milli: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Money>,
}

impl From<order::CheckBill> for Bill {
    fn from(bill: order::CheckBill) -> Self {
        let lines = bill.lines.into_iter().map(|line| BillLine {
            pos_line_reference: given(line.pos_line_reference),
            line_id: given(line.line_id),
            name: line.name,
            quantity_milli: line.quantity_milli,
            total: line.total.map(Into::into),
        });
        Self {
            lines: lines.collect(),
            total: bill.total.map(Into::into),
            tax: bill.tax.map(Into::into),
            read_time: bill.read_time.map(|t| t.to_string()),
        }
    }
}

/// An empty string of the contracts means that there is none.
pub(crate) fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
