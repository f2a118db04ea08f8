//! A visit of guests to a table, as far as it can be decided without asking anybody: what the staff did with its check
//! at the POS, which check newcomers join, and when a check has outlived its guests.

use std::time::Duration;

use posmesh_kit::{cause, time};
use posmesh_proto::{
    adapter::v1::{CheckFailed, PosCheck, get_check_response},
    order::v1::{Check, CheckState},
};
use prost_types::Timestamp;

/// A check of which nothing has reached the POS for so long belongs to guests who have left.
const UNUSED_FOR: Duration = Duration::from_secs(30 * 60);

/// Why a check has ended.
pub(crate) mod ended {
    /// Nothing was ordered, and other guests came.
    pub(crate) const NEVER_USED: &str = "NEVER_USED";
    /// Paid, or ended by the staff at the till.
    pub(crate) const CLOSED_AT_POS: &str = "CLOSED_AT_POS";
    /// By CloseCheck.
    pub(crate) const CLOSED_BY_CALLER: &str = "CLOSED_BY_CALLER";
    /// By ReleaseTable.
    pub(crate) const TABLE_RELEASED: &str = "TABLE_RELEASED";
    /// It was left over.
    pub(crate) const BUSINESS_DAY_ENDED: &str = "BUSINESS_DAY_ENDED";
}

/// Whether it takes rounds.
pub(crate) fn is_open(check: &Check) -> bool {
    matches!(check.state(), CheckState::Open | CheckState::BillRequested)
}

/// What the POS says of a check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// It stands there.
    Open(Box<PosCheck>),
    /// The staff joined it into this one.
    MergedInto(String),
    /// Paid, deleted, or otherwise ended.
    Closed,
    /// The POS could not be asked.
    Unknown(CheckFailed),
}

/// What an answer of the adapter says of a check.
pub(crate) fn seen(answer: Option<get_check_response::Result>) -> Seen {
    match answer {
        Some(get_check_response::Result::Check(check)) if check.open => Seen::Open(Box::new(check)),
        Some(get_check_response::Result::Check(check)) if check.merged_into.is_empty() => Seen::Closed,
        Some(get_check_response::Result::Check(check)) => Seen::MergedInto(check.merged_into),
        Some(get_check_response::Result::Failed(failed)) if failed.cause == cause::CHECK_NOT_FOUND => Seen::Closed,
        Some(get_check_response::Result::Failed(failed)) => Seen::Unknown(failed),
        None => Seen::Unknown(CheckFailed { cause: cause::UNKNOWN.into(), message: String::new() }),
    }
}

/// What our check has to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing has changed, or nobody knows.
    Stay,
    /// The guests sit at this table now.
    Move(String),
    /// The guests are on the check that the POS calls so.
    Merge(String),
    /// It is over.
    Close,
}

/// What the staff did with a check that is open here.
pub(crate) fn step(check: &Check, seen: &Seen) -> Step {
    match seen {
        Seen::Open(at_pos) => match at_pos.table_ids.first() {
            Some(table) if !at_pos.table_ids.contains(&check.table_id) => Step::Move(table.clone()),
            _ => Step::Stay,
        },
        Seen::MergedInto(other) if *other == check.pos_check_reference => Step::Close,
        Seen::MergedInto(other) => Step::Merge(other.clone()),
        Seen::Closed => Step::Close,
        Seen::Unknown(_) => Step::Stay,
    }
}

/// The check after its guests were moved.
pub(crate) fn moved(check: &Check, table_id: &str) -> Check {
    let mut moved = Check { version: check.version + 1, table_id: table_id.to_owned(), ..check.clone() };
    moved.former_table_ids.push(check.table_id.clone());
    moved
}

/// The check after it was joined into another one.
pub(crate) fn merged(check: &Check, target_id: &str, now: Timestamp) -> Check {
    let mut merged = Check { version: check.version + 1, merged_into: target_id.to_owned(), ..check.clone() };
    merged.set_state(CheckState::Merged);
    merged.close_time = Some(now);
    merged
}

/// The check after its end.
pub(crate) fn closed(check: &Check, why: &str, now: Timestamp) -> Check {
    let mut closed = Check { version: check.version + 1, cause: why.to_owned(), ..check.clone() };
    closed.set_state(CheckState::Closed);
    closed.close_time = Some(now);
    closed
}

/// Why a check that is open here has outlived its guests, if it has. `quiet`: no round of it is under way, or at
/// the POS.
pub(crate) fn outlived(check: &Check, today: &str, quiet: bool, now_ms: i64) -> Option<&'static str> {
    if !check.business_date.is_empty() && check.business_date.as_str() < today {
        return Some(ended::BUSINESS_DAY_ENDED);
    }
    let age_ms = now_ms.saturating_sub(check.open_time.as_ref().map_or(0, time::to_unix_ms));
    let is_old = u64::try_from(age_ms).is_ok_and(|age_ms| Duration::from_millis(age_ms) > UNUSED_FOR);
    (quiet && check.pos_check_reference.is_empty() && is_old).then_some(ended::NEVER_USED)
}

/// Which check guests get who come to a table.
#[derive(Debug, PartialEq)]
pub(crate) enum Seat<'a> {
    /// One of ours.
    Join(&'a Check),
    /// The one that the POS has. If we opened one on the table before, of which nothing is at the POS yet, its rounds go
    /// there as well.
    JoinAtPos(&'a PosCheck, Option<&'a Check>),
    /// A new one.
    Open,
    /// So many: only the staff know which.
    Several(usize),
}

/// Decides it, from our open checks on the table, newest first, and those that the POS lists for it; `None` where it
/// cannot list them.
pub(crate) fn seat<'a>(ours: &'a [Check], at_pos: Option<&'a [PosCheck]>) -> Seat<'a> {
    match (at_pos, ours) {
        (Some([_, _, ..]), _) => Seat::Several(at_pos.map_or(0, <[_]>::len)),
        (Some([one]), _) => match ours.iter().find(|check| check.pos_check_reference == one.pos_check_reference) {
            Some(check) => Seat::Join(check),
            None => Seat::JoinAtPos(one, ours.iter().find(|check| check.pos_check_reference.is_empty())),
        },
        (Some([]) | None, [_, _, ..]) => Seat::Several(ours.len()),
        (Some([]) | None, [check]) => Seat::Join(check),
        (Some([]) | None, []) => Seat::Open,
    }
}

#[cfg(test)]
mod tests;
