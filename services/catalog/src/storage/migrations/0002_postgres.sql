-- One row per store: which version is current, and what is held back from becoming it.

CREATE TABLE catalog_heads (
    tenant_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    -- The current one; 0 before the first.
    version BIGINT NOT NULL,
    -- When that changed, in milliseconds of the database's clock.
    changed_ms BIGINT NOT NULL,
    -- The run whose snapshot waits for approval or was refused; empty where a rollback refused it. NULL: nothing is held.
    held_run_id TEXT,
    held_hash BYTEA,
    -- posmesh.catalog.v1.Catalog; NULL once it was refused.
    held_catalog BYTEA,
    -- posmesh.catalog.v1.Decision; NULL while it waits.
    held_refusal BYTEA,
    PRIMARY KEY (tenant_id, store_id)
);

INSERT INTO catalog_heads (tenant_id, store_id, version, changed_ms)
SELECT tenant_id, store_id, max(version), 0 FROM catalog_versions GROUP BY tenant_id, store_id;

CREATE INDEX catalog_heads_by_change ON catalog_heads (changed_ms);
