-- When each store is pulled without being asked. A claim puts the time forward by a lease, the end of the run by the
-- store's interval.
CREATE TABLE sync_schedule (
    tenant_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    -- Milliseconds of the database's clock.
    due_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, store_id)
);

CREATE INDEX sync_schedule_by_due ON sync_schedule (due_ms);
