-- Documents are encoded messages of the contract; columns stand beside them only where a statement needs them.

-- One row per tenant that ever wrote. Each write locks it until its commit, so the changes of a tenant are numbered in
-- the order in which they become visible: whoever has seen number n has seen all before it.
CREATE TABLE tenants (
    tenant_id TEXT PRIMARY KEY,
    last_change INTEGER NOT NULL
);

CREATE TABLE brands (
    tenant_id TEXT NOT NULL,
    brand_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    -- posmesh.store.v1.Brand
    document BLOB NOT NULL,
    PRIMARY KEY (tenant_id, brand_id)
);

CREATE TABLE stores (
    tenant_id TEXT NOT NULL,
    store_id TEXT NOT NULL,
    brand_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    -- Number of the tenant's change that wrote this row.
    change INTEGER NOT NULL,
    -- posmesh.store.v1.Store
    document BLOB NOT NULL,
    PRIMARY KEY (tenant_id, store_id),
    FOREIGN KEY (tenant_id, brand_id) REFERENCES brands (tenant_id, brand_id)
);

CREATE UNIQUE INDEX stores_by_change ON stores (tenant_id, change);
CREATE INDEX stores_by_brand ON stores (tenant_id, brand_id, store_id);
