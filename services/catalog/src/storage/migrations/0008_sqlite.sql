-- What was said of a thing before each change of what is said beside the versions: who comes back to a watch is told what
-- changed since. Of each store the last changes are kept.
CREATE TABLE availability_log (
    tenant_id TEXT NOT NULL,
    store_id TEXT NOT NULL,
    -- The offer_revision that the change led to.
    revision INTEGER NOT NULL,
    -- As in availability.
    group_id TEXT NOT NULL,
    thing_id TEXT NOT NULL,
    source INTEGER NOT NULL,
    -- posmesh.catalog.v1.Availability; NULL: nothing was said.
    before BLOB,
    PRIMARY KEY (tenant_id, store_id, revision, group_id, thing_id, source)
);
