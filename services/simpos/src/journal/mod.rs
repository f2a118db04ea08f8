//! The journal: an append-only file of JSON lines, and what stands in it.

mod file;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::control::Settings;
use crate::api::{Line, LineShare, LineVoid, Menu, Order, PrinterState, Progress, Tender, Ticket};

pub(crate) use file::Journal;
pub use file::JournalError;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1 without gaps.
    pub seq: u64,
    /// When it was decided, unix milliseconds.
    pub at: i64,
    /// What happened.
    pub event: Event,
}

/// What happened. One event is one whole change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// An order was taken.
    OrderRecorded {
        /// The order.
        order: Arc<Order>,
        /// The check it opened, if it joined none.
        opened_check: Option<CheckHead>,
        /// True when it paid for its whole check, which closed at once.
        closes_check: bool,
        /// Its kitchen ticket; none if it was to be recorded without one.
        ticket: Option<Arc<Ticket>>,
    },
    /// Orders under one reference were cancelled.
    OrderCancelled {
        /// Their numbers: one, unless it was recorded more than once.
        order_numbers: Vec<u32>,
        /// The caller's reference of the order.
        reference: String,
        /// The caller's id of the change; none for the staff's.
        change_reference: Option<String>,
        /// `api`, or `staff:` and a name.
        by: String,
        /// Void slips, one for each.
        tickets: Vec<Arc<Ticket>>,
    },
    /// Lines of an order were made void.
    LinesVoided {
        /// The order.
        order_number: u32,
        /// The caller's reference of the order.
        reference: String,
        /// The caller's id of the change; none for the staff's.
        change_reference: Option<String>,
        /// `api`, or `staff:` and a name.
        by: String,
        /// What was asked for.
        lines: Vec<LineVoid>,
        /// The void slip.
        ticket: Arc<Ticket>,
    },
    /// Orders moved on in the kitchen.
    OrdersProgressed {
        /// Which, and how far they are now.
        orders: Vec<(u32, Progress)>,
    },
    /// An order was deleted without a trace; only the journal tells.
    OrderLost {
        /// Its number.
        order_number: u32,
        /// The caller's reference of it.
        reference: String,
    },
    /// A check was opened without an order.
    CheckOpened {
        /// The check.
        check: CheckHead,
    },
    /// Staff keyed in lines at the till.
    StaffEntered {
        /// The check.
        check_number: u32,
        /// Who, as `staff:` and a name.
        by: String,
        /// What.
        lines: Arc<Vec<Line>>,
        /// Its kitchen ticket.
        ticket: Arc<Ticket>,
    },
    /// A bill slip was made.
    BillRequested {
        /// The check.
        check_number: u32,
        /// The slip.
        ticket: Arc<Ticket>,
    },
    /// A check was paid or settled.
    CheckClosed {
        /// The check.
        check_number: u32,
        /// Who, as `staff:` and a name.
        by: String,
        /// Payments made now.
        tenders: Vec<Tender>,
    },
    /// Guests moved.
    TableMoved {
        /// Their check.
        check_number: u32,
        /// Where they sit now.
        table: String,
        /// Who, as `staff:` and a name.
        by: String,
    },
    /// A check was joined into another one.
    ChecksMerged {
        /// Ended.
        check_number: u32,
        /// Took its lines and payments.
        into: u32,
        /// Who, as `staff:` and a name.
        by: String,
    },
    /// A check was split.
    CheckSplit {
        /// The check.
        check_number: u32,
        /// The caller's id of the change; none for the staff's.
        change_reference: Option<String>,
        /// `api`, or `staff:` and a name.
        by: String,
        /// What was asked for.
        asked: SplitAsked,
        /// Amounts that go off the check.
        off: Vec<Line>,
        /// The new checks.
        parts: Vec<NewPart>,
    },
    /// A discount or a charge.
    CheckAdjusted {
        /// The check.
        check_number: u32,
        /// Who, as `staff:` and a name.
        by: String,
        /// Its amount as a line without an item.
        line: Line,
    },
    /// The restaurant works otherwise now.
    SettingsChanged {
        /// As they are now.
        settings: Settings,
    },
    /// A slip was made again.
    TicketReprinted {
        /// The new slip.
        ticket: Arc<Ticket>,
    },
    /// The printer or the till changed; the slips that waited came out.
    ConditionsChanged {
        /// As they are now.
        conditions: Conditions,
        /// Numbers of the slips that were printed now.
        printed_tickets: Vec<u32>,
        /// Those of them that are marked LATE.
        #[serde(default)]
        late_tickets: Vec<u32>,
    },
    /// An item was marked sold out or available.
    AvailabilityChanged {
        /// The item.
        item_id: String,
        /// As it is now.
        available: bool,
        /// How many are left, where they are counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remaining: Option<u32>,
    },
    /// A price was changed.
    PriceChanged {
        /// The item.
        item_id: String,
        /// The new price in yen.
        price: i64,
    },
    /// The whole menu was replaced.
    MasterReplaced {
        /// The new menu.
        menu: Box<Menu>,
    },
}

/// What identifies a check when it is opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckHead {
    /// Its number.
    pub number: u32,
    /// Its table, if any.
    pub table: Option<String>,
    /// Guests, if told.
    pub party_size: Option<u32>,
    /// `api`, or `staff:` and a name.
    pub opened_by: String,
}

/// How a check was to be split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitAsked {
    /// Into so many of the same amount.
    Evenly(u32),
    /// Into these and what is left.
    ByItem(Vec<Vec<LineShare>>),
}

/// A check that came of a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewPart {
    /// The check.
    pub check: CheckHead,
    /// What it took over from the check that was split.
    pub moved: Vec<LineShare>,
    /// Amounts that came off the check that was split.
    pub on: Vec<Line>,
}

/// The state of printer and till.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// The kitchen printer.
    pub printer: PrinterState,
    /// The till's day is closed.
    pub business_day_closed: bool,
    /// Master data is being loaded.
    pub master_updating: bool,
}
