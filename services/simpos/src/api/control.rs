//! The types of `/control`, which no vendor would have: fault rules, settings and the journal.

use serde::{Deserialize, Serialize};

use super::Progress;
use crate::journal::Entry;

/// Which requests a rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `POST /api/orders`.
    #[default]
    Submit,
    /// `GET /api/orders/{reference}`.
    Find,
    /// `GET /api/orders`.
    ListOrders,
    /// `POST /api/orders/{reference}/cancel`.
    Cancel,
    /// `POST /api/orders/{reference}/void`.
    Void,
    /// `GET /api/events`.
    Events,
    /// `GET /api/checks`, `GET /api/checks/{number}`.
    GetChecks,
    /// `POST /api/checks`.
    OpenCheck,
    /// `POST /api/checks/{number}/bill`.
    Bill,
    /// `POST /api/checks/{number}/close`.
    Close,
    /// `POST /api/checks/{number}/split`.
    Split,
    /// `POST /api/staff/checks/{number}/lines`.
    StaffLines,
    /// `GET /api/menu`.
    Menu,
    /// `PUT /api/items/{id}/availability`.
    Availability,
    /// `GET /api/status`.
    Status,
    /// `GET /api/tickets`, its stream, and `POST /api/tickets/{number}/reprint`.
    Tickets,
    /// All of them.
    Any,
}

/// Body of `POST /control/faults`.
///
/// Rules are tried in the order in which they were added, up to the first that ends the request. They live in memory
/// and end with the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultRule {
    /// What happens.
    #[serde(flatten)]
    pub fault: Fault,
    /// To which requests; `submit` if not given. Without meaning for faults that stand (see [`Fault`]).
    #[serde(default)]
    pub on: Endpoint,
    /// How often; until deleted if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Chance from 0 to 1 that it happens to a request; always if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// What a rule does. The last five stand from being added until deleted, whatever is requested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// Waits, then handles the request, even if the caller has gone.
    Delay {
        /// How long.
        delay_ms: u64,
    },
    /// Refuses and records nothing.
    Refuse {
        /// Cause to answer.
        cause: String,
        /// Refused only for now when given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Handles the request durably, then closes the connection without an answer.
    DropAnswerAfterRecord {
        /// How long the caller waits for it.
        #[serde(default)]
        delay_ms: u64,
    },
    /// Closes the connection without an answer; records nothing.
    DropBeforeRecord {
        /// How long the caller waits for it.
        #[serde(default)]
        delay_ms: u64,
    },
    /// Closes the connection without an answer at once and handles the request later.
    RecordLate {
        /// How much later.
        delay_ms: u64,
        /// True records even past the request's `not_after`: a POS that breaks its promise.
        #[serde(default)]
        ignore_not_after: bool,
    },
    /// The process dies with exit code 70 before anything is recorded.
    CrashBeforeRecord,
    /// The process dies with exit code 70 once the request is durable, without an answer.
    CrashAfterRecord,
    /// Refuses what comes faster with 429.
    RateLimit {
        /// Requests admitted in each second.
        per_second: u32,
    },
    /// Changes a price just before the request is handled.
    ChangePrice {
        /// Item.
        item_id: String,
        /// New price in yen.
        price: i64,
    },
    /// Marks an item sold out just before the request is handled.
    SoldOut {
        /// Item.
        item_id: String,
    },
    /// The printer has no paper: slips wait until the rule is deleted, then print.
    OutOfPaper,
    /// The printer's cover is open: as above.
    CoverOpen,
    /// The printer does not answer: as above.
    PrinterOffline,
    /// The till's day is closed: orders are refused for now.
    BusinessDayClosed,
    /// Master data is being loaded: orders are refused for now.
    MasterUpdating,
}

/// A rule and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// Id for `DELETE /control/faults/{id}`.
    pub id: u64,
    /// How often it has happened.
    pub happened: u32,
    /// The rule.
    #[serde(flatten)]
    pub rule: FaultRule,
}

/// Answer of `GET /control/faults`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultList {
    /// In the order in which they were added; used-up ones are kept until deleted.
    pub faults: Vec<ActiveFault>,
}

/// Answer of `GET /control/journal`. An `after` whose followers are not kept any more is refused with
/// [`super::cause::CURSOR_TOO_OLD`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JournalPage {
    /// By `seq`.
    pub entries: Vec<RecordedEntry>,
    /// True when there are more: ask again with `after` set to the last `seq`.
    pub more: bool,
}

/// A journal entry and the POS's own time for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordedEntry {
    /// The entry as in the file.
    #[serde(flatten)]
    pub entry: Entry,
    /// From the arrival of the request until the entry was durable, injected delays included. Not kept over a
    /// restart.
    pub handling_us: Option<u64>,
}

/// Body of `PUT /control/settings`, answer of `GET /control/settings`: how the restaurant works. Kept in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The last progress at which orders are cancelled and lines made void by API; `null`: never.
    pub cancellable_until: Option<Progress>,
    /// How long an order stays accepted, then in preparation, then ready, until it moves on by itself; `null`: the staff
    /// move it on.
    pub progress_after_ms: Option<[u64; 3]>,
    /// A kitchen slip that comes out of the printer so long after it was made is marked LATE.
    pub late_after_ms: u64,
    /// Events kept for `GET /api/events`.
    pub keep_events: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cancellable_until: Some(Progress::Accepted),
            progress_after_ms: None,
            late_after_ms: 60_000,
            keep_events: 10_000,
        }
    }
}
