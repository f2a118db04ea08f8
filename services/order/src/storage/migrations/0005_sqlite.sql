-- Work on a connection that one replica at a time does: asking the POS for events, comparing orders.
CREATE TABLE errands (
    tenant_id     TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    -- 1: poll, 2: reconcile.
    kind          INTEGER NOT NULL,
    store_id      TEXT NOT NULL,
    -- Counts the claims.
    version       INTEGER NOT NULL,
    -- From when on there is something to look at, by the replicas' clocks.
    since_ms      INTEGER NOT NULL,
    -- Likewise, for what was noted since the last claim. NULL: nothing was.
    woken_ms      INTEGER,
    -- When any replica may claim it, by this machine's clock. NULL: not before it is woken.
    due_ms        INTEGER,
    -- The replica that may act on it until then.
    lease_owner   TEXT,
    progress      TEXT NOT NULL,
    failures      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, kind)
);
CREATE INDEX errands_by_due ON errands (due_ms) WHERE due_ms IS NOT NULL;
