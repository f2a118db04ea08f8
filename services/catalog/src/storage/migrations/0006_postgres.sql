-- Items that nobody sells until a person has looked at them: a posmesh.catalog.v1.ListItemsToReviewResponse. NULL: none.
ALTER TABLE catalog_heads ADD COLUMN to_review BYTEA;
