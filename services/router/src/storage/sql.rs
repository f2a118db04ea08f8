//! Statements that both databases understand.

/// Locks the one row until the end of the transaction.
pub(super) const NEXT_CHANGE: &str = "INSERT INTO changes (id, last_change) VALUES (1, 1) \
     ON CONFLICT (id) DO UPDATE SET last_change = changes.last_change + 1 RETURNING last_change";

pub(super) const REMEMBER_DESCRIPTOR: &str = "INSERT INTO vendors (vendor, descriptor) VALUES ($1, $2) \
     ON CONFLICT (vendor) DO UPDATE SET descriptor = excluded.descriptor \
     WHERE vendors.descriptor <> excluded.descriptor";

pub(super) const DESCRIPTORS: &str = "SELECT descriptor FROM vendors ORDER BY vendor";

pub(super) const DEREGISTER: &str = "DELETE FROM instances WHERE instance_id = $1";

pub(super) const CONNECTION_ROW: &str = "SELECT revision, document, sealing_key_id, sealed_credentials FROM connections \
     WHERE tenant_id = $1 AND connection_id = $2";

pub(super) const CONNECTIONS_OF_STORE: &str = "SELECT document FROM connections \
     WHERE tenant_id = $1 AND store_id = $2 AND document IS NOT NULL ORDER BY connection_id";

pub(super) const PUT_CONNECTION: &str = "INSERT INTO connections \
     (tenant_id, connection_id, store_id, revision, change, document, sealing_key_id, sealed_credentials) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
     ON CONFLICT (tenant_id, connection_id) DO UPDATE SET store_id = excluded.store_id, \
     revision = excluded.revision, change = excluded.change, document = excluded.document, \
     sealing_key_id = excluded.sealing_key_id, sealed_credentials = excluded.sealed_credentials";

pub(super) const DELETE_CONNECTION: &str = "UPDATE connections SET store_id = '', change = $3, document = NULL, \
     sealing_key_id = NULL, sealed_credentials = NULL \
     WHERE tenant_id = $1 AND connection_id = $2 AND document IS NOT NULL";

pub(super) const FORGET_FORMER: &str = "DELETE FROM former_connections WHERE expire_ms < $1";

pub(super) const KEEP_FORMER: &str = "INSERT INTO former_connections \
     (tenant_id, connection_id, first_revision, last_revision, expire_ms, document, sealing_key_id, sealed_credentials) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

pub(super) const FORMER_CONNECTION: &str = "SELECT document, sealing_key_id, sealed_credentials \
     FROM former_connections WHERE tenant_id = $1 AND connection_id = $2 \
     AND first_revision <= $3 AND last_revision >= $3 AND expire_ms >= $4";

pub(super) const CONNECTION: &str = "SELECT document, sealing_key_id, sealed_credentials FROM connections \
     WHERE tenant_id = $1 AND connection_id = $2 AND document IS NOT NULL";

pub(super) const CONNECTIONS: &str = "SELECT document FROM connections \
     WHERE tenant_id = $1 AND connection_id > $2 AND document IS NOT NULL ORDER BY connection_id LIMIT $3";

pub(super) const CONNECTIONS_OF_STORE_PAGE: &str = "SELECT document FROM connections \
     WHERE tenant_id = $1 AND connection_id > $2 AND document IS NOT NULL AND store_id = $4 \
     ORDER BY connection_id LIMIT $3";

pub(super) const CHANGED_CONNECTIONS: &str = "SELECT change, tenant_id, connection_id, document, sealing_key_id, \
     sealed_credentials FROM connections WHERE change > $1 ORDER BY change LIMIT $2";

pub(super) const LAST_LINK_CHANGE: &str = "SELECT last_change FROM changes WHERE id = 2";

/// Takes a number for each of so many links, and returns the last one. Locks the row until the end of the transaction.
pub(super) const NEXT_LINK_CHANGES: &str = "INSERT INTO changes (id, last_change) VALUES (2, $1) \
     ON CONFLICT (id) DO UPDATE SET last_change = changes.last_change + excluded.last_change RETURNING last_change";

pub(super) const FORGET_LINK_EVENTS: &str = "DELETE FROM link_events WHERE tenant_id = $1 AND connection_id = $2 AND version <= \
     (SELECT version FROM link_events WHERE tenant_id = $1 AND connection_id = $2 ORDER BY version DESC LIMIT 1 OFFSET $3)";

pub(super) const DELETE_LINK: &str = "DELETE FROM links WHERE tenant_id = $1 AND connection_id = $2";

pub(super) const DELETE_LINK_EVENTS: &str = "DELETE FROM link_events WHERE tenant_id = $1 AND connection_id = $2";

pub(super) const CHANGED_LINKS: &str = "SELECT change, tenant_id, revision, pos_revision, document FROM links \
     WHERE change > $1 ORDER BY change LIMIT $2";

pub(super) const LINK_EVENTS: &str = "SELECT document FROM link_events \
     WHERE tenant_id = $1 AND connection_id = $2 AND version < $3 ORDER BY version DESC LIMIT $4";

pub(super) const DROP_REPLICA: &str = "DELETE FROM router_replicas WHERE replica_id = $1";
