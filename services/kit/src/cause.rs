//! The shared vocabulary of causes: why a POS cannot be reached or does not take something. Adapters map their vendors'
//! codes to these; unknown strings are tolerated everywhere.

/// Nothing answers at the other end, or the connection broke.
pub const NETWORK_DOWN: &str = "NETWORK_DOWN";
/// No live instance of the vendor's adapter.
pub const ADAPTER_DOWN: &str = "ADAPTER_DOWN";
/// The vendor's cloud or server answers with its own failure.
pub const VENDOR_SERVICE_DOWN: &str = "VENDOR_SERVICE_DOWN";
/// The POS does not accept our key.
pub const CREDENTIALS_REJECTED: &str = "CREDENTIALS_REJECTED";
/// Too many calls; try again later.
pub const RATE_LIMITED: &str = "RATE_LIMITED";
/// The POS's server runs, but the POS application in the store does not.
pub const POS_APP_NOT_RUNNING: &str = "POS_APP_NOT_RUNNING";
/// No till session, or the business day has not been opened.
pub const BUSINESS_DAY_NOT_OPEN: &str = "BUSINESS_DAY_NOT_OPEN";
/// The POS is in training mode: nothing reaches the kitchen.
pub const TRAINING_MODE: &str = "TRAINING_MODE";
/// The POS is reloading its master data.
pub const MASTER_UPDATING: &str = "MASTER_UPDATING";
/// The POS does not know an item, modifier, tender or price that we sent.
pub const MASTER_MISMATCH: &str = "MASTER_MISMATCH";
/// An item is sold out.
pub const ITEM_SOLD_OUT: &str = "ITEM_SOLD_OUT";
/// The check takes no more lines.
pub const CHECK_LIMIT_REACHED: &str = "CHECK_LIMIT_REACHED";
/// The check is being paid.
pub const CHECK_AWAITING_PAYMENT: &str = "CHECK_AWAITING_PAYMENT";
/// The check is closed or gone.
pub const CHECK_NOT_FOUND: &str = "CHECK_NOT_FOUND";
/// Somebody edits the table at a terminal.
pub const TABLE_LOCKED: &str = "TABLE_LOCKED";
/// The kitchen printer does not answer.
pub const PRINTER_OFFLINE: &str = "PRINTER_OFFLINE";
/// The kitchen printer has no paper.
pub const PRINTER_OUT_OF_PAPER: &str = "PRINTER_OUT_OF_PAPER";
/// The kitchen printer is open.
pub const PRINTER_COVER_OPEN: &str = "PRINTER_COVER_OPEN";
/// No printer is assigned to the items.
pub const PRINTER_NOT_ASSIGNED: &str = "PRINTER_NOT_ASSIGNED";
/// The connection's settings do not fit what the POS has.
pub const MISCONFIGURED: &str = "MISCONFIGURED";
/// The time until which the attempt was allowed to write has passed.
pub const NOT_AFTER_PASSED: &str = "NOT_AFTER_PASSED";
/// The text does not fit the POS's charset or length.
pub const TEXT_NOT_REPRESENTABLE: &str = "TEXT_NOT_REPRESENTABLE";
/// The order is too far at the POS to be changed: only the staff can.
pub const TOO_LATE: &str = "TOO_LATE";
/// The POS does not know any more what came after the cursor: begin again without one.
pub const CURSOR_TOO_OLD: &str = "CURSOR_TOO_OLD";
/// The POS, or its adapter, cannot do this.
pub const NOT_SUPPORTED: &str = "NOT_SUPPORTED";
/// The other side did not answer in time.
pub const TIMED_OUT: &str = "TIMED_OUT";
/// Nothing above fits; the message tells more.
pub const UNKNOWN: &str = "UNKNOWN";

/// What a cause is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The way to the POS, or the POS as a whole: the next order fares no better.
    Link,
    /// One check: the POS works.
    Check,
    /// One order or one of its lines: the POS works.
    Order,
    /// The call alone, or nobody knows what: it tells nothing about the POS.
    Call,
}

/// The scope of a cause. One that is unknown here tells nothing.
pub fn scope(cause: &str) -> Scope {
    match cause {
        NETWORK_DOWN
        | ADAPTER_DOWN
        | VENDOR_SERVICE_DOWN
        | CREDENTIALS_REJECTED
        | POS_APP_NOT_RUNNING
        | BUSINESS_DAY_NOT_OPEN
        | TRAINING_MODE
        | MASTER_UPDATING
        | PRINTER_OFFLINE
        | PRINTER_OUT_OF_PAPER
        | PRINTER_COVER_OPEN
        | MISCONFIGURED
        | TIMED_OUT => Scope::Link,
        CHECK_LIMIT_REACHED | CHECK_AWAITING_PAYMENT | CHECK_NOT_FOUND | TABLE_LOCKED => Scope::Check,
        MASTER_MISMATCH | ITEM_SOLD_OUT | PRINTER_NOT_ASSIGNED | TEXT_NOT_REPRESENTABLE | TOO_LATE => Scope::Order,
        _ => Scope::Call,
    }
}

/// Whether the cause is about the printer alone.
pub fn is_of_printer(cause: &str) -> bool {
    matches!(cause, PRINTER_OFFLINE | PRINTER_OUT_OF_PAPER | PRINTER_COVER_OPEN | PRINTER_NOT_ASSIGNED)
}
