-- Ids compare byte by byte, whatever the locale of the database.
CREATE TABLE orders (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    order_id       TEXT COLLATE "C" NOT NULL,
    caller         TEXT COLLATE "C" NOT NULL,
    request_id     TEXT COLLATE "C" NOT NULL,
    -- Empty: cancelled before it was seen.
    request_hash   BYTEA NOT NULL,
    store_id       TEXT COLLATE "C" NOT NULL,
    -- posmesh.order.v1.OrderState
    state          SMALLINT NOT NULL,
    -- Why it is in this state; may be empty.
    cause          TEXT NOT NULL,
    version        BIGINT NOT NULL,
    created_ms     BIGINT NOT NULL,
    -- Ours; the one of the POS, in doc, replaces it.
    display_number BIGINT NOT NULL,
    -- NULL: not a round.
    check_id       TEXT COLLATE "C",
    round          INTEGER NOT NULL,
    -- When any replica may claim it, by this server's clock. NULL: never.
    due_ms         BIGINT,
    -- The replica that may act on it until then.
    lease_owner    TEXT,
    -- posmesh.order.v1.Order. Its version, and the display_number when it is empty, are those of the columns.
    doc            BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, order_id)
);
CREATE UNIQUE INDEX orders_by_request ON orders (tenant_id, caller, request_id);
CREATE INDEX orders_by_store ON orders (tenant_id, store_id, created_ms DESC, order_id DESC);
CREATE INDEX orders_by_due ON orders (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX orders_by_check ON orders (tenant_id, check_id, round) WHERE check_id IS NOT NULL;

-- One row for each version of an order, except those made by claims. Append-only.
CREATE TABLE order_events (
    tenant_id TEXT COLLATE "C" NOT NULL,
    order_id  TEXT COLLATE "C" NOT NULL,
    version   BIGINT NOT NULL,
    at_ms     BIGINT NOT NULL,
    state     SMALLINT NOT NULL,
    cause     TEXT NOT NULL,
    -- The replica whose attempt was the newest. NULL: before the first attempt.
    replica   TEXT,
    PRIMARY KEY (tenant_id, order_id, version)
);

CREATE TABLE checks (
    tenant_id          TEXT COLLATE "C" NOT NULL,
    check_id           TEXT COLLATE "C" NOT NULL,
    store_id           TEXT COLLATE "C" NOT NULL,
    table_id           TEXT COLLATE "C" NOT NULL,
    -- posmesh.order.v1.CheckState
    state              SMALLINT NOT NULL,
    version            BIGINT NOT NULL,
    opened_ms          BIGINT NOT NULL,
    rounds             INTEGER NOT NULL,
    -- The round whose turn it is at the POS; later ones are HELD.
    in_flight_order_id TEXT COLLATE "C",
    -- posmesh.order.v1.Check. Its version and rounds are those of the columns.
    doc                BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, check_id)
);
-- States OPEN and BILL_REQUESTED: the guests still sit there.
CREATE UNIQUE INDEX checks_open_on_table ON checks (tenant_id, store_id, table_id) WHERE state IN (1, 2);
CREATE INDEX checks_by_store ON checks (tenant_id, store_id, opened_ms DESC, check_id DESC);

-- The last number given on a store's business day.
CREATE TABLE display_numbers (
    tenant_id     TEXT COLLATE "C" NOT NULL,
    store_id      TEXT COLLATE "C" NOT NULL,
    business_date TEXT COLLATE "C" NOT NULL,
    last          BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, store_id, business_date)
);

-- Personal data, apart from everything that is kept.
CREATE TABLE guest_contacts (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    contact_id TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    name       TEXT NOT NULL,
    phone      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, contact_id)
);
CREATE INDEX guest_contacts_by_age ON guest_contacts (created_ms);
