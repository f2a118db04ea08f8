-- Documents are encoded messages of the contract; columns stand beside them only where a statement needs them.

-- One row per tenant that ever wrote. Each write locks it until its commit, so the changes of a tenant are numbered in
-- the order in which they become visible: whoever has seen number n has seen all before it.
CREATE TABLE tenants (
    tenant_id TEXT COLLATE "C" PRIMARY KEY,
    last_change BIGINT NOT NULL
);

CREATE TABLE brands (
    tenant_id TEXT COLLATE "C" NOT NULL,
    brand_id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    -- posmesh.store.v1.Brand
    document BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, brand_id)
);

CREATE TABLE stores (
    tenant_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    brand_id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    -- Number of the tenant's change that wrote this row.
    change BIGINT NOT NULL,
    -- posmesh.store.v1.Store
    document BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, store_id),
    FOREIGN KEY (tenant_id, brand_id) REFERENCES brands (tenant_id, brand_id)
);

CREATE UNIQUE INDEX stores_by_change ON stores (tenant_id, change);
CREATE INDEX stores_by_brand ON stores (tenant_id, brand_id, store_id);
