-- When it is over if the POS has it by then and tells no end, by this server's clock. NULL: never by itself.
ALTER TABLE orders ADD COLUMN complete_ms BIGINT;
-- States PLACED, IN_PREPARATION and READY.
CREATE INDEX orders_by_completion ON orders (complete_ms) WHERE state IN (5, 6, 7) AND complete_ms IS NOT NULL;

-- Which orders take a place in a pickup slot. Those that ended without reaching the POS do not count.
CREATE TABLE pickup_places (
    tenant_id TEXT COLLATE "C" NOT NULL,
    store_id  TEXT COLLATE "C" NOT NULL,
    pickup_ms BIGINT NOT NULL,
    order_id  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, store_id, pickup_ms, order_id)
);
CREATE INDEX pickup_places_by_time ON pickup_places (pickup_ms);
