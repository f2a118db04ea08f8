-- Documents are encoded messages of the contract; columns stand beside them only where a statement needs them.

CREATE TABLE catalog_versions (
    tenant_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    -- Equal for equal content.
    content_hash BYTEA NOT NULL,
    -- posmesh.catalog.v1.CatalogVersion
    summary BYTEA NOT NULL,
    -- posmesh.catalog.v1.Catalog
    catalog BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, store_id, version)
);

CREATE TABLE sync_runs (
    tenant_id TEXT COLLATE "C" NOT NULL,
    -- A UUIDv7: sorts by time.
    sync_run_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    -- posmesh.catalog.v1.SyncRun
    run BYTEA NOT NULL,
    -- Milliseconds of the database's clock. NULL once the run has ended.
    lease_expire_ms BIGINT,
    PRIMARY KEY (tenant_id, sync_run_id)
);

CREATE INDEX sync_runs_by_store ON sync_runs (tenant_id, store_id, sync_run_id);

-- One run at a time per store.
CREATE UNIQUE INDEX sync_runs_running ON sync_runs (tenant_id, store_id) WHERE lease_expire_ms IS NOT NULL;
