//! Statements that both databases understand.

pub(super) const ORDER: &str =
    "SELECT order_id, doc, version, display_number FROM orders WHERE tenant_id = $1 AND order_id = $2";

pub(super) const ORDER_BY_REQUEST: &str = "SELECT request_hash, order_id, doc, version, display_number FROM orders \
     WHERE tenant_id = $1 AND caller = $2 AND request_id = $3";

/// `$3` and the next ones: a bit for each state or 0 for all, from, before, check or empty, after.
pub(super) const ORDERS: &str = "SELECT order_id, doc, version, display_number FROM orders \
     WHERE tenant_id = $1 AND store_id = $2 AND ($3 = 0 OR ($3 >> state) & 1 = 1) \
         AND created_ms >= $4 AND created_ms < $5 AND ($6 = '' OR check_id = $6) \
         AND (created_ms, order_id) < ($7, $8) \
     ORDER BY created_ms DESC, order_id DESC LIMIT $9";

/// Likewise, of those that need a person.
pub(super) const ORDERS_WITH_ATTENTION: &str = "SELECT order_id, doc, version, display_number FROM orders \
     WHERE tenant_id = $1 AND store_id = $2 AND ($3 = 0 OR ($3 >> state) & 1 = 1) \
         AND created_ms >= $4 AND created_ms < $5 AND ($6 = '' OR check_id = $6) \
         AND (created_ms, order_id) < ($7, $8) AND attention_ms IS NOT NULL \
     ORDER BY created_ms DESC, order_id DESC LIMIT $9";

pub(super) const ATTENTION: &str = "SELECT order_id, version FROM orders \
     WHERE tenant_id = $1 AND attention_ms IS NOT NULL ORDER BY attention_ms, order_id LIMIT $2";

pub(super) const CONTACT: &str = "SELECT name, phone FROM guest_contacts WHERE tenant_id = $1 AND contact_id = $2";

pub(super) const CHECK: &str = "SELECT check_id, doc, version, rounds, in_flight_order_id FROM checks \
     WHERE tenant_id = $1 AND check_id = $2";

/// States OPEN and BILL_REQUESTED. `$4`: the reference at the POS or NULL.
pub(super) const CHECK_ON_TABLE: &str = "SELECT check_id, doc, version, rounds, in_flight_order_id FROM checks \
     WHERE tenant_id = $1 AND store_id = $2 AND table_id = $3 AND state IN (1, 2) \
         AND (CAST($4 AS TEXT) IS NULL OR pos_check_reference IS NULL OR pos_check_reference = $4) \
     ORDER BY opened_ms DESC, check_id DESC LIMIT 1";

/// `$3` and the next ones: table or empty, a bit for each state or 0 for all, after.
pub(super) const CHECKS: &str = "SELECT check_id, doc, version, rounds, in_flight_order_id FROM checks \
     WHERE tenant_id = $1 AND store_id = $2 AND ($3 = '' OR table_id = $3) AND ($4 = 0 OR ($4 >> state) & 1 = 1) \
         AND (opened_ms, check_id) < ($5, $6) \
     ORDER BY opened_ms DESC, check_id DESC LIMIT $7";

pub(super) const PICKUPS: &str = "SELECT p.pickup_ms, count(*) FROM pickup_places AS p \
     JOIN orders AS o ON o.tenant_id = p.tenant_id AND o.order_id = p.order_id AND o.state NOT IN (9, 10, 11) \
     WHERE p.tenant_id = $1 AND p.store_id = $2 AND p.pickup_ms >= $3 AND p.pickup_ms < $4 GROUP BY p.pickup_ms";

/// States PENDING and HELD: nothing of it is at the POS, and it goes first.
pub(super) const EARLIER_ROUND_WAITS: &str =
    "SELECT round FROM orders WHERE tenant_id = $1 AND check_id = $2 AND state IN (1, 2) AND round < $3 LIMIT 1";

pub(super) const ROUND_IN_FLIGHT: &str =
    "SELECT 1 FROM checks WHERE tenant_id = $1 AND check_id = $2 AND in_flight_order_id IS NOT NULL";

/// States PENDING and IN_DOUBT. `$1`: no older ones.
pub(super) const TROUBLED: &str = "SELECT tenant_id, store_id, state, count(*) FROM orders \
     WHERE state IN (1, 4) AND created_ms >= $1 GROUP BY tenant_id, store_id, state";

pub(super) const HELD: &str = "SELECT tenant_id, store_id, awaited_connection_id, \
         count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state <> 2) FROM orders \
     WHERE awaited_connection_id IS NOT NULL GROUP BY tenant_id, store_id, awaited_connection_id";

pub(super) const PAUSES: &str = "SELECT tenant_id, store_id, doc FROM gate_pauses";

pub(super) const PUT_PAUSE: &str = "INSERT INTO gate_pauses (tenant_id, store_id, doc) VALUES ($1, $2, $3) \
     ON CONFLICT (store_id, tenant_id) DO UPDATE SET doc = excluded.doc";

pub(super) const END_PAUSE: &str = "DELETE FROM gate_pauses WHERE tenant_id = $1 AND store_id = $2";

pub(super) const FORGET_PAUSE: &str = "DELETE FROM gate_pauses WHERE tenant_id = $1 AND store_id = $2 AND doc = $3";

pub(super) const GIVE_BACK_PROBATION: &str =
    "UPDATE probations SET order_id = NULL WHERE tenant_id = $1 AND connection_id = $2 AND order_id = $3";

/// States PLACED to COMPLETED that fall due count as SENDING: see `holder_state`.
pub(super) const STATE: &str = "SELECT \
     CAST(CASE WHEN state IN (5, 6, 7, 8) AND due_ms IS NOT NULL THEN 3 ELSE state END AS SMALLINT) \
     FROM orders WHERE tenant_id = $1 AND order_id = $2";
