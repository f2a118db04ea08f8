-- Since when the order has needed a person. NULL, and in no index: it does not.
ALTER TABLE orders ADD COLUMN attention_ms INTEGER;
CREATE INDEX orders_by_attention ON orders (tenant_id, store_id, created_ms DESC, order_id DESC)
    WHERE attention_ms IS NOT NULL;
