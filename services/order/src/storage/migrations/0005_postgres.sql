-- Work on a connection that one replica at a time does: asking the POS for events, comparing orders.
CREATE TABLE errands (
    tenant_id     TEXT COLLATE "C" NOT NULL,
    connection_id TEXT COLLATE "C" NOT NULL,
    -- 1: poll, 2: reconcile.
    kind          SMALLINT NOT NULL,
    store_id      TEXT COLLATE "C" NOT NULL,
    -- Counts the claims.
    version       BIGINT NOT NULL,
    -- From when on there is something to look at, by the replicas' clocks.
    since_ms      BIGINT NOT NULL,
    -- Likewise, for what was noted since the last claim. NULL: nothing was.
    woken_ms      BIGINT,
    -- When any replica may claim it, by this server's clock. NULL: not before it is woken.
    due_ms        BIGINT,
    -- The replica that may act on it until then.
    lease_owner   TEXT,
    progress      TEXT NOT NULL,
    failures      BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, kind)
);
CREATE INDEX errands_by_due ON errands (due_ms) WHERE due_ms IS NOT NULL;
