-- The POS's own id of the check, and the connection that it belongs to; NULL while nothing of it is there.
ALTER TABLE checks ADD COLUMN connection_id TEXT COLLATE "C";
ALTER TABLE checks ADD COLUMN pos_check_reference TEXT COLLATE "C";
-- When any replica may look after it, by this server's clock. NULL: never again.
ALTER TABLE checks ADD COLUMN due_ms BIGINT;
UPDATE checks SET due_ms = 0 WHERE state IN (1, 2);
CREATE INDEX checks_by_due ON checks (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX checks_by_reference ON checks (tenant_id, connection_id, pos_check_reference)
    WHERE pos_check_reference IS NOT NULL;
-- The staff may have several checks on one table: then the POS tells them apart by their references.
DROP INDEX checks_open_on_table;
CREATE INDEX checks_on_table ON checks (tenant_id, store_id, table_id) WHERE state IN (1, 2);

-- One row for each split of a check that was begun. One that the POS refused is deleted.
CREATE TABLE check_splits (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    caller     TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    -- The change_reference under which the POS recognizes it.
    split_id   TEXT COLLATE "C" NOT NULL,
    check_id   TEXT COLLATE "C" NOT NULL,
    -- By this server's clock.
    begun_ms   BIGINT NOT NULL,
    -- posmesh.order.v1.SplitCheckRequest
    request    BYTEA NOT NULL,
    -- posmesh.order.v1.SplitCheckResponse. NULL: nobody knows yet whether the POS did it.
    answer     BYTEA,
    PRIMARY KEY (tenant_id, caller, request_id)
);
CREATE INDEX check_splits_open ON check_splits (tenant_id, check_id) WHERE answer IS NULL;
