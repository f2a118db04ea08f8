//! What stands in the rows, the same on both databases.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posmesh_kit::time::to_unix_ms;
use posmesh_proto::order::v1::{Check, Order, SplitCheckRequest, SplitCheckResponse};
use prost::Message as _;
use prost_types::Timestamp;

use super::{
    DueCheck, Requested, Split, StorageError,
    gates::awaited,
    rounds::{CheckRow, Checks, Known},
};

/// `order_id, doc, version, display_number`
pub(super) type OrderColumns = (String, Vec<u8>, i64, i64);

/// `request_hash, order_id, doc, version, display_number`
pub(super) type RequestedColumns = (Vec<u8>, String, Vec<u8>, i64, i64);

/// `check_id, doc, version, rounds, in_flight_order_id`
pub(super) type CheckColumns = (String, Vec<u8>, i64, i32, Option<String>);

/// `tenant_id, order_id, doc, version, display_number`
pub(super) type TenantOrderColumns = (String, String, Vec<u8>, i64, i64);

/// `tenant_id, check_id, doc, version, rounds, in_flight_order_id`
pub(super) type TenantCheckColumns = (String, String, Vec<u8>, i64, i32, Option<String>);

/// `split_id, request, answer`, and its age in milliseconds
pub(super) type SplitColumns = (String, Vec<u8>, Option<Vec<u8>>, i64);

/// The index in the batch, `request_hash, order_id, doc, version, display_number`
pub(super) type KnownColumns = (i64, Vec<u8>, String, Vec<u8>, i64, i64);

/// An order from its row. A claim counts the column up and leaves the document.
pub(super) fn order((order_id, doc, version, number): OrderColumns) -> Result<Order, StorageError> {
    let mut order =
        Order::decode(&*doc).map_err(|e| StorageError::Corrupt { what: order_id, message: e.to_string() })?;
    order.version = version;
    if order.display_number.is_empty() {
        order.display_number = display_number(number);
    }
    Ok(order)
}

/// An order that was claimed. One that cannot be read must not keep the others from being taken up.
pub(super) fn claimed((tenant_id, order_id, doc, version, number): TenantOrderColumns) -> Option<(Arc<str>, Order)> {
    match order((order_id, doc, version, number)) {
        Ok(order) => Some((tenant_id.into(), order)),
        Err(error) => {
            tracing::error!(%error, "an order that fell due cannot be taken up");
            None
        }
    }
}

/// An order with the hash of its command.
pub(super) fn requested(
    (request_hash, order_id, doc, version, number): RequestedColumns,
) -> Result<Requested, StorageError> {
    Ok(Requested { order: order((order_id, doc, version, number))?, request_hash })
}

/// A check from its row. A new round counts the columns up and leaves the document.
pub(super) fn check((check_id, doc, version, rounds, in_flight): CheckColumns) -> Result<CheckRow, StorageError> {
    let mut check =
        Check::decode(&*doc).map_err(|e| StorageError::Corrupt { what: check_id, message: e.to_string() })?;
    check.version = version;
    check.rounds = rounds;
    Ok(CheckRow { check, in_flight })
}

/// Checks that were claimed. One that cannot be read must not keep the others from being looked after.
pub(super) fn due_checks(found: Vec<TenantCheckColumns>) -> Vec<DueCheck> {
    let due = |(tenant_id, check_id, doc, version, rounds, in_flight): TenantCheckColumns| {
        let row = check((check_id, doc, version, rounds, in_flight));
        let row = row.inspect_err(|error| tracing::error!(%error, "a check that fell due cannot be looked after"));
        Some(DueCheck { tenant_id: tenant_id.into(), check: row.ok()?.check })
    };
    found.into_iter().filter_map(due).collect()
}

/// A split from its row.
pub(super) fn split((split_id, request, answer, age_ms): SplitColumns) -> Result<Split, StorageError> {
    let corrupt = |e: prost::DecodeError| StorageError::Corrupt { what: split_id.clone(), message: e.to_string() };
    Ok(Split {
        request: SplitCheckRequest::decode(&*request).map_err(corrupt)?,
        answer: answer.map(|answer| SplitCheckResponse::decode(&*answer)).transpose().map_err(corrupt)?,
        age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)),
        split_id,
    })
}

/// Checks by their tenants and ids.
pub(super) fn checks(found: Vec<TenantCheckColumns>) -> Result<Checks, StorageError> {
    let mut checks = Checks::new();
    for (tenant_id, check_id, doc, version, rounds, in_flight) in found {
        let row = check((check_id.clone(), doc, version, rounds, in_flight))?;
        checks.insert((tenant_id.into(), check_id), row);
    }
    Ok(checks)
}

/// The orders whose request_id is known, by the index in the batch.
pub(super) fn known(found: Vec<KnownColumns>) -> HashMap<usize, Known> {
    let by_index = |(index, request_hash, order_id, doc, version, number): KnownColumns| {
        let known = Known { request_hash, order: (order_id, doc, version, number) };
        (usize::try_from(index).unwrap_or(usize::MAX), known)
    };
    found.into_iter().map(by_index).collect()
}

/// As it is called out.
pub(super) fn display_number(number: i64) -> String {
    format!("{number:03}")
}

/// The replica that began the newest attempt.
pub(super) fn replica(order: &Order) -> Option<&str> {
    order.attempts.last().map(|attempt| attempt.replica.as_str())
}

/// States and kinds as the database keeps them: the numbers of the contract.
pub(super) fn small(number: i32) -> i16 {
    i16::try_from(number).unwrap_or_default()
}

/// Who may act on an order that falls due: nobody in particular on one that waits for its connection.
pub(super) fn lease_owner(order: &Order, due_in: Option<Duration>) -> Option<&str> {
    due_in.filter(|_| awaited(order).is_none()).and_then(|_| replica(order))
}

/// Since when the order has needed a person.
pub(super) fn attention_ms(order: &Order) -> Option<i64> {
    let since = order.attention_time.as_ref().or(order.update_time.as_ref());
    (!order.attention.is_empty()).then(|| unix_ms(since))
}

/// When it was made; 0 if it does not say.
pub(super) fn unix_ms(time: Option<&Timestamp>) -> i64 {
    time.map(to_unix_ms).unwrap_or_default()
}

pub(super) fn millis(duration: Duration) -> i64 {
    // A thousandth of the range, so that a clock can be added to it.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 1000)
}

pub(super) fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// `None` for text that is empty.
pub(super) fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// One bit for each of the numbers; none at all means any.
pub(super) fn mask(numbers: impl Iterator<Item = i32>) -> i64 {
    numbers.filter(|number| (0..63).contains(number)).fold(0, |mask, number| mask | 1 << number)
}

/// Where a list goes on; from its top when it just begins.
pub(super) fn after(after: Option<&(i64, String)>) -> (i64, &str) {
    after.map_or((i64::MAX, ""), |(unix_ms, id)| (*unix_ms, id))
}
