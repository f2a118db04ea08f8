//! Parts of a batch that orders taken and orders changed share, and rows as JSON.

use posmesh_proto::order::v1::Order;
use prost::Message as _;
use serde::Serialize;
use sqlx::SqliteConnection;

use crate::storage::{StorageError, batch::Failed, rounds::CheckRow, rows};

/// One that ends thereby (states CLOSED and MERGED) falls due at once: its rounds are to be ended.
const UPDATE_CHECK: &str = "UPDATE checks SET version = $3, rounds = $4, state = $5, in_flight_order_id = $6, doc = $7, \
         connection_id = $8, pos_check_reference = $9, \
         due_ms = CASE WHEN $5 IN (3, 4) AND state NOT IN (3, 4) THEN 0 ELSE due_ms END \
     WHERE tenant_id = $1 AND check_id = $2";

pub(super) async fn update_check(
    db: &mut SqliteConnection,
    tenant_id: &str,
    check_id: &str,
    row: &CheckRow,
) -> Result<(), Failed> {
    sqlx::query(UPDATE_CHECK)
        .bind(tenant_id)
        .bind(check_id)
        .bind(row.check.version)
        .bind(row.check.rounds)
        .bind(row.check.state)
        .bind(&row.in_flight)
        .bind(row.check.encode_to_vec())
        .bind(rows::some(&row.check.connection_id))
        .bind(rows::some(&row.check.pos_check_reference))
        .execute(db)
        .await?;
    Ok(())
}

/// One row of `order_events`.
#[derive(Debug, Serialize)]
struct EventJson<'a> {
    tenant_id: &'a str,
    order_id: &'a str,
    version: i64,
    at_ms: i64,
    state: i32,
    cause: &'a str,
    replica: Option<&'a str>,
}

const INSERT_EVENTS: &str = "INSERT INTO order_events (tenant_id, order_id, version, at_ms, state, cause, replica) \
     SELECT value ->> 'tenant_id', value ->> 'order_id', value ->> 'version', value ->> 'at_ms', value ->> 'state', \
         value ->> 'cause', value ->> 'replica' FROM json_each($1)";

/// Notes the versions that were stored.
pub(super) async fn insert_events<'a>(
    db: &mut SqliteConnection,
    orders: impl Iterator<Item = (&'a str, &'a Order)>,
) -> Result<(), Failed> {
    let event = |(tenant_id, order): (&'a str, &'a Order)| EventJson {
        tenant_id,
        order_id: &order.order_id,
        version: order.version,
        at_ms: rows::unix_ms(order.update_time.as_ref()),
        state: order.state,
        cause: &order.cause,
        replica: rows::replica(order),
    };
    let events: Vec<EventJson<'_>> = orders.map(event).collect();
    sqlx::query(INSERT_EVENTS).bind(json(&events)?).execute(db).await?;
    Ok(())
}

pub(super) fn json(rows: &impl Serialize) -> Result<String, StorageError> {
    serde_json::to_string(rows).map_err(|e| StorageError::Refused(e.to_string()))
}

/// Bytes as JSON can hold them and `unhex` reads them.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
