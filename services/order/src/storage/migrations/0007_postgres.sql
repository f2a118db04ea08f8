-- The connection that must be back before the order is sent. NULL, and in no index: it waits for none.
ALTER TABLE orders ADD COLUMN awaited_connection_id TEXT COLLATE "C";
CREATE INDEX orders_by_awaited ON orders (awaited_connection_id, tenant_id, created_ms, order_id)
    WHERE awaited_connection_id IS NOT NULL;
-- States PENDING and IN_DOUBT: orders on which a gate may close. Those that go well are never in it.
CREATE INDEX orders_in_trouble ON orders (store_id, tenant_id, state) WHERE state IN (1, 4);

-- Stores whose staff take no orders for a while.
CREATE TABLE gate_pauses (
    tenant_id TEXT COLLATE "C" NOT NULL,
    store_id  TEXT COLLATE "C" NOT NULL,
    -- posmesh.order.v1.Pause
    doc       BYTEA NOT NULL,
    PRIMARY KEY (store_id, tenant_id)
);

-- Connections that were OFFLINE: after that one order at a time is let through until one is there.
CREATE TABLE probations (
    tenant_id       TEXT COLLATE "C" NOT NULL,
    connection_id   TEXT COLLATE "C" NOT NULL,
    -- The link's version when it was seen OFFLINE last.
    offline_version BIGINT NOT NULL,
    -- The offline_version after which it is open again.
    opened_version  BIGINT NOT NULL,
    -- By this server's clock. NULL: never opened.
    opened_ms       BIGINT,
    -- The order that was let through last, after which offline_version, and when.
    order_id        TEXT COLLATE "C",
    claimed_version BIGINT NOT NULL,
    claimed_ms      BIGINT NOT NULL,
    PRIMARY KEY (connection_id, tenant_id)
);
