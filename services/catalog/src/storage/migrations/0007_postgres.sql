-- When what is laid over a store's or a brand's catalogs changed, in milliseconds of the database's clock.
ALTER TABLE overlay_scopes ADD COLUMN changed_ms BIGINT NOT NULL DEFAULT 0;

CREATE INDEX overlay_scopes_by_change ON overlay_scopes (changed_ms);
