-- What connections were before they led to another POS, or were deleted: what was sent there is settled there.
CREATE TABLE former_connections (
    tenant_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    -- The revisions at which it led there.
    first_revision INTEGER NOT NULL,
    last_revision INTEGER NOT NULL,
    -- Forgotten then, with its credentials.
    expire_ms INTEGER NOT NULL,
    -- posmesh.router.v1.Connection
    document BLOB NOT NULL,
    sealing_key_id TEXT,
    sealed_credentials BLOB,
    PRIMARY KEY (tenant_id, connection_id, last_revision)
);

CREATE INDEX former_connections_by_expiry ON former_connections (expire_ms);
