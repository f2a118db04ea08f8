-- What is said of items and choices beside the versions.
CREATE TABLE availability (
    tenant_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    -- Of a choice; empty for an item.
    group_id TEXT COLLATE "C" NOT NULL,
    -- The item's or the choice's.
    thing_id TEXT COLLATE "C" NOT NULL,
    -- posmesh.catalog.v1.AvailabilitySource
    source BIGINT NOT NULL,
    -- When it ends by itself, in milliseconds since 1970. NULL: it does not.
    end_ms BIGINT,
    -- posmesh.catalog.v1.Availability
    word BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, store_id, group_id, thing_id, source)
);

CREATE INDEX availability_by_end ON availability (end_ms) WHERE end_ms IS NOT NULL;

-- Grows whenever anything beside the versions changes what is sold.
ALTER TABLE catalog_heads ADD COLUMN offer_revision BIGINT NOT NULL DEFAULT 0;

-- When each store's POS is asked what is sold out. A claim puts the time forward by a lease, the answer by the interval.
CREATE TABLE catalog_polls (
    tenant_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    -- Milliseconds of the database's clock.
    due_ms BIGINT NOT NULL,
    -- Of the POS's master data when it was last seen; empty: never.
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (tenant_id, store_id)
);

CREATE INDEX catalog_polls_by_due ON catalog_polls (due_ms);
