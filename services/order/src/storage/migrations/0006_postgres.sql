-- Each index begins with what differs the most. One that begins with the tenant matches any lookup of the tenant's: while
-- a table is small, PostgreSQL finds it as good as the right one, and prepared plans keep reading all of it as it grows.
ALTER TABLE orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (order_id, tenant_id);
DROP INDEX orders_by_request, orders_by_store, orders_by_check, orders_by_attention;
CREATE UNIQUE INDEX orders_by_request ON orders (request_id, caller, tenant_id);
CREATE INDEX orders_by_store ON orders (store_id, tenant_id, created_ms DESC, order_id DESC);
CREATE INDEX orders_by_check ON orders (check_id, tenant_id, round) WHERE check_id IS NOT NULL;
CREATE INDEX orders_by_attention ON orders (store_id, tenant_id, created_ms DESC, order_id DESC)
    WHERE attention_ms IS NOT NULL;
ALTER TABLE order_events DROP CONSTRAINT order_events_pkey, ADD PRIMARY KEY (order_id, version, tenant_id);
ALTER TABLE checks DROP CONSTRAINT checks_pkey, ADD PRIMARY KEY (check_id, tenant_id);
DROP INDEX checks_by_store, checks_on_table, checks_by_reference;
CREATE INDEX checks_by_store ON checks (store_id, tenant_id, opened_ms DESC, check_id DESC);
CREATE INDEX checks_on_table ON checks (table_id, store_id, tenant_id) WHERE state IN (1, 2);
CREATE INDEX checks_by_reference ON checks (pos_check_reference, connection_id, tenant_id)
    WHERE pos_check_reference IS NOT NULL;
ALTER TABLE display_numbers DROP CONSTRAINT display_numbers_pkey, ADD PRIMARY KEY (store_id, business_date, tenant_id);
