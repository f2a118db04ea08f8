-- What was said of a thing before each change of what is said beside the versions: who comes back to a watch is told what
-- changed since. Of each store the last changes are kept.
CREATE TABLE availability_log (
    tenant_id TEXT COLLATE "C" NOT NULL,
    store_id TEXT COLLATE "C" NOT NULL,
    -- The offer_revision that the change led to.
    revision BIGINT NOT NULL,
    -- As in availability.
    group_id TEXT COLLATE "C" NOT NULL,
    thing_id TEXT COLLATE "C" NOT NULL,
    source BIGINT NOT NULL,
    -- posmesh.catalog.v1.Availability; NULL: nothing was said.
    before BYTEA,
    PRIMARY KEY (tenant_id, store_id, revision, group_id, thing_id, source)
);
