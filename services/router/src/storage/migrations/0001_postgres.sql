-- Documents are encoded messages of the contract; columns stand beside them only where a statement needs them.

-- One row. Each write of a connection locks it until its commit, so changes are numbered in the order in which they
-- become visible: whoever has seen number n has seen all before it.
CREATE TABLE changes (
    id SMALLINT PRIMARY KEY,
    last_change BIGINT NOT NULL
);

-- The last descriptor that an instance of the vendor registered. Stays when all instances are gone.
CREATE TABLE vendors (
    vendor TEXT COLLATE "C" PRIMARY KEY,
    -- posmesh.adapter.v1.AdapterDescriptor
    descriptor BYTEA NOT NULL
);

CREATE TABLE instances (
    instance_id TEXT COLLATE "C" PRIMARY KEY,
    renewals BIGINT NOT NULL,
    lease_expire_ms BIGINT NOT NULL,
    -- posmesh.router.v1.RegisterAdapterRequest
    document BYTEA NOT NULL
);

-- A deleted connection keeps its row, without its content, so that its revisions never start again.
CREATE TABLE connections (
    tenant_id TEXT COLLATE "C" NOT NULL,
    connection_id TEXT COLLATE "C" NOT NULL,
    -- Of a deleted one: empty.
    store_id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    change BIGINT NOT NULL,
    -- posmesh.router.v1.Connection; null: deleted.
    document BYTEA,
    -- The key that sealed the credentials; null: there are none.
    sealing_key_id TEXT,
    sealed_credentials BYTEA,
    PRIMARY KEY (tenant_id, connection_id)
);

CREATE UNIQUE INDEX connections_by_change ON connections (change);
CREATE INDEX connections_by_store ON connections (tenant_id, store_id, connection_id);
