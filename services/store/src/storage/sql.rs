//! Statements that both databases understand.

/// Locks the tenant's row until the end of the transaction.
pub(super) const NEXT_CHANGE: &str = "INSERT INTO tenants (tenant_id, last_change) VALUES ($1, 1) \
     ON CONFLICT (tenant_id) DO UPDATE SET last_change = tenants.last_change + 1 RETURNING last_change";

pub(super) const LAST_CHANGE: &str = "SELECT last_change FROM tenants WHERE tenant_id = $1";

pub(super) const BRAND_REVISION: &str = "SELECT revision FROM brands WHERE tenant_id = $1 AND brand_id = $2";

pub(super) const PUT_BRAND: &str = "INSERT INTO brands (tenant_id, brand_id, revision, document) \
     VALUES ($1, $2, $3, $4) \
     ON CONFLICT (tenant_id, brand_id) DO UPDATE SET revision = excluded.revision, document = excluded.document";

pub(super) const BRAND: &str = "SELECT document FROM brands WHERE tenant_id = $1 AND brand_id = $2";

pub(super) const BRANDS: &str = "SELECT document FROM brands WHERE tenant_id = $1 AND brand_id > $2 \
     ORDER BY brand_id LIMIT $3";

pub(super) const STORE_REVISION: &str = "SELECT revision FROM stores WHERE tenant_id = $1 AND store_id = $2";

pub(super) const PUT_STORE: &str = "INSERT INTO stores (tenant_id, store_id, brand_id, revision, change, document) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (tenant_id, store_id) DO UPDATE SET brand_id = excluded.brand_id, revision = excluded.revision, \
     change = excluded.change, document = excluded.document";

pub(super) const STORE: &str = "SELECT document FROM stores WHERE tenant_id = $1 AND store_id = $2";

pub(super) const STORES: &str = "SELECT document FROM stores WHERE tenant_id = $1 AND store_id > $2 \
     ORDER BY store_id LIMIT $3";

pub(super) const STORES_OF_BRAND: &str = "SELECT document FROM stores \
     WHERE tenant_id = $1 AND store_id > $2 AND brand_id = $4 ORDER BY store_id LIMIT $3";

pub(super) const CHANGED_STORES: &str = "SELECT change, document FROM stores \
     WHERE tenant_id = $1 AND change > $2 ORDER BY change LIMIT $3";
