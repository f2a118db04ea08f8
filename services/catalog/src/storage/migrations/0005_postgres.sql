-- What people lay over the catalogs of a store ("store/<id>") or a brand ("brand/<id>").

-- One row per store or brand: its lock, and what tells replicas that something changed.
CREATE TABLE overlay_scopes (
    tenant_id TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    -- Counts the writes.
    revision BIGINT NOT NULL,
    -- Stores: why orders cannot carry prices of their own to the POS; empty: they can. NULL: nobody has asked yet.
    price_refusal TEXT,
    PRIMARY KEY (tenant_id, scope)
);

CREATE TABLE overlays (
    tenant_id TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    -- Kind and ids of what it is about, a line each.
    subject TEXT COLLATE "C" NOT NULL,
    -- posmesh.catalog.v1.Overlay
    overlay BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, scope, subject)
);
