//! What changes an order or a check after it was recorded, and what is told of it.

use serde::{Deserialize, Serialize};

use super::{Check, Tender};

/// Most checks that one check is split into.
pub const MAX_PARTS: u32 = 99;

/// How far an order is in the kitchen. Staff, [`super::control::Settings`] or a closed check move it on; never back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Recorded, its ticket made.
    #[default]
    Accepted,
    /// Being cooked.
    InPreparation,
    /// To be handed out.
    Ready,
    /// Handed out, or its table's check was closed.
    Completed,
}

/// Body of `POST /api/orders/{reference}/cancel`: the whole order is void.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelOrder {
    /// The caller's own id of this change: the same change sent again changes nothing more.
    pub change_reference: String,
    /// As in [`super::SubmitOrder::not_after`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
    /// Printed on the void slip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Body of `POST /api/orders/{reference}/void`: some of what was ordered is void.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoidLines {
    /// As in [`CancelOrder`].
    pub change_reference: String,
    /// As in [`super::SubmitOrder::not_after`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
    /// Printed on the void slip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What shall be void.
    pub lines: Vec<LineVoid>,
}

/// How much of a line shall be void.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineVoid {
    /// The line's reference in its order.
    pub reference: String,
    /// In all, with what was void before; less than that changes nothing.
    pub quantity_voided: u32,
}

/// Body of `POST /api/checks/{number}/split`. Either `parts` or `by_item`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitCheck {
    /// As in [`CancelOrder`].
    pub change_reference: String,
    /// As in [`super::SubmitOrder::not_after`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
    /// Into so many checks of the same amount, 2 to [`MAX_PARTS`]; the first bears the yen that are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
    /// One new check for each, with these lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_item: Vec<SplitPart>,
}

/// What one new check takes over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitPart {
    /// Lines or parts of their quantities.
    pub lines: Vec<LineShare>,
}

/// A line of a check, or a part of its quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineShare {
    /// As in [`super::CheckLine`].
    pub line_id: u32,
    /// Units.
    pub quantity: u32,
}

/// Answer of `POST /api/checks/{number}/split`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitAnswer {
    /// The check that was split, then the new ones.
    pub checks: Vec<Check>,
}

/// Body of `POST /control/staff`: what the staff do at the till, whatever the API would be refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StaffRequest {
    /// Name of the staff member.
    pub staff: String,
    /// What they do.
    #[serde(flatten)]
    pub action: StaffAction,
}

/// What the staff do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum StaffAction {
    /// Void a whole order, however far it is.
    CancelOrder {
        /// The order.
        reference: String,
    },
    /// Void lines of an order, however far it is.
    VoidLines {
        /// The order.
        reference: String,
        /// What shall be void.
        lines: Vec<LineVoid>,
    },
    /// Tell how far an order is. Going back does nothing.
    Progress {
        /// The order.
        reference: String,
        /// How far it is now.
        to: Progress,
    },
    /// Delete an order without a trace, as a till does that was restored from a backup: nobody finds it any more, and
    /// its reference is free again.
    LoseOrder {
        /// The order.
        reference: String,
    },
    /// The guests sit elsewhere now.
    MoveTable {
        /// Their check.
        check_number: u32,
        /// Where they sit now.
        table: String,
    },
    /// Join a check into another one.
    MergeChecks {
        /// Ends; its lines and payments go over.
        check_number: u32,
        /// Takes them.
        into: u32,
    },
    /// Split a check.
    SplitCheck {
        /// The check.
        check_number: u32,
        /// Into so many checks of the same amount.
        #[serde(default)]
        parts: Option<u32>,
        /// One new check for each, with these lines.
        #[serde(default)]
        by_item: Vec<SplitPart>,
    },
    /// A discount (below 0) or a charge (above 0) on a check.
    Adjust {
        /// The check.
        check_number: u32,
        /// Shown on the bill, e.g. `サービス料`.
        name: String,
        /// Yen, tax included.
        amount: i64,
        /// At which it is taxed.
        tax_rate_percent: u32,
    },
    /// Close a check.
    Close {
        /// The check.
        check_number: u32,
        /// Payments; with those before they must make exactly the total. None: settled beside the POS.
        #[serde(default)]
        tenders: Vec<Tender>,
    },
}

/// What happened to an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderEvent {
    /// Counts from 1 without gaps: the cursor.
    pub number: u64,
    /// When, unix milliseconds.
    pub at: i64,
    /// The caller's id of the order.
    pub reference: String,
    /// Number given by the POS.
    pub order_number: u32,
    /// What.
    #[serde(flatten)]
    pub kind: OrderEventKind,
}

/// What happened to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum OrderEventKind {
    /// It was taken.
    Recorded,
    /// Its kitchen ticket came out of the printer.
    Printed {
        /// The ticket.
        ticket_number: u32,
    },
    /// It moved on.
    Progressed {
        /// How far it is.
        to: Progress,
    },
    /// Some of it is void.
    LinesVoided,
    /// It is void.
    Cancelled,
}

/// Answer of `GET /api/events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventList {
    /// Oldest first.
    pub events: Vec<OrderEvent>,
    /// Ask again with `after` set to this.
    pub cursor: u64,
    /// True when there are more already.
    pub more: bool,
}
