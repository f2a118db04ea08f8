-- Documents are encoded messages of the contract; columns stand beside them only where a statement needs them.

-- One row. Each write of a connection locks it until its commit, so changes are numbered in the order in which they
-- become visible: whoever has seen number n has seen all before it.
CREATE TABLE changes (
    id INTEGER PRIMARY KEY,
    last_change INTEGER NOT NULL
);

-- The last descriptor that an instance of the vendor registered. Stays when all instances are gone.
CREATE TABLE vendors (
    vendor TEXT PRIMARY KEY,
    -- posmesh.adapter.v1.AdapterDescriptor
    descriptor BLOB NOT NULL
);

CREATE TABLE instances (
    instance_id TEXT PRIMARY KEY,
    renewals INTEGER NOT NULL,
    lease_expire_ms INTEGER NOT NULL,
    -- posmesh.router.v1.RegisterAdapterRequest
    document BLOB NOT NULL
);

-- A deleted connection keeps its row, without its content, so that its revisions never start again.
CREATE TABLE connections (
    tenant_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    -- Of a deleted one: empty.
    store_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    change INTEGER NOT NULL,
    -- posmesh.router.v1.Connection; null: deleted.
    document BLOB,
    -- The key that sealed the credentials; null: there are none.
    sealing_key_id TEXT,
    sealed_credentials BLOB,
    PRIMARY KEY (tenant_id, connection_id)
);

CREATE UNIQUE INDEX connections_by_change ON connections (change);
CREATE INDEX connections_by_store ON connections (tenant_id, store_id, connection_id);
