-- What is known of the way to each connection's POS. Goes with the connection.
CREATE TABLE links (
    tenant_id TEXT COLLATE "C" NOT NULL,
    connection_id TEXT COLLATE "C" NOT NULL,
    -- Counts the writes: a write names the one that it replaces.
    revision BIGINT NOT NULL,
    -- The POS that it is about: of the connection at that revision. Of another one it tells nothing.
    pos_revision BIGINT NOT NULL,
    -- From the row 2 of changes, numbered as connections are.
    change BIGINT NOT NULL,
    -- posmesh.router.v1.Link
    document BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, connection_id)
);

CREATE UNIQUE INDEX links_by_change ON links (change);

-- The newest changes of each link.
CREATE TABLE link_events (
    tenant_id TEXT COLLATE "C" NOT NULL,
    connection_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    -- posmesh.router.v1.LinkEvent
    document BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, version)
);

-- The router's own replicas: they share the work of looking at links.
CREATE TABLE router_replicas (
    replica_id TEXT COLLATE "C" PRIMARY KEY,
    lease_expire_ms BIGINT NOT NULL
);
