//! Statements that both databases understand.

pub(super) const END_RUN: &str = "UPDATE sync_runs SET run = $3, lease_expire_ms = NULL \
     WHERE tenant_id = $1 AND sync_run_id = $2 AND lease_expire_ms IS NOT NULL";

pub(super) const NEWEST_VERSION: &str = "SELECT version, content_hash FROM catalog_versions \
     WHERE tenant_id = $1 AND store_id = $2 ORDER BY version DESC LIMIT 1";

pub(super) const INSERT_VERSION: &str = "INSERT INTO catalog_versions (tenant_id, store_id, version, content_hash, summary, catalog) \
     VALUES ($1, $2, $3, $4, $5, $6)";

pub(super) const RUN: &str = "SELECT run FROM sync_runs WHERE tenant_id = $1 AND sync_run_id = $2";

pub(super) const RUNS: &str = "SELECT run FROM sync_runs WHERE tenant_id = $1 AND store_id = $2 AND sync_run_id < $3 \
     ORDER BY sync_run_id DESC LIMIT $4";

pub(super) const OFFER_HEAD: &str = "SELECT version, offer_revision FROM catalog_heads \
     WHERE tenant_id = $1 AND store_id = $2 AND version > 0";

pub(super) const AVAILABILITY: &str = "SELECT word FROM availability \
     WHERE tenant_id = $1 AND store_id = $2 ORDER BY group_id, thing_id, source";

pub(super) const SAY: &str = "INSERT INTO availability (tenant_id, store_id, group_id, thing_id, source, end_ms, word) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) \
     ON CONFLICT (tenant_id, store_id, group_id, thing_id, source) \
     DO UPDATE SET end_ms = excluded.end_ms, word = excluded.word";

pub(super) const UNSAY: &str = "DELETE FROM availability \
     WHERE tenant_id = $1 AND store_id = $2 AND group_id = $3 AND thing_id = $4 AND source = $5";

pub(super) const LOG: &str = "INSERT INTO availability_log \
     (tenant_id, store_id, revision, group_id, thing_id, source, before) VALUES ($1, $2, $3, $4, $5, $6, $7)";

pub(super) const PRUNE_LOG: &str =
    "DELETE FROM availability_log WHERE tenant_id = $1 AND store_id = $2 AND revision <= $3";

pub(super) const LOGGED: &str = "SELECT revision, group_id, thing_id, source, before FROM availability_log \
     WHERE tenant_id = $1 AND store_id = $2 AND revision > $3 ORDER BY revision DESC";

pub(super) const CATALOG: &str =
    "SELECT catalog FROM catalog_versions WHERE tenant_id = $1 AND store_id = $2 AND version = $3";

pub(super) const VERSIONS: &str = "SELECT summary FROM catalog_versions \
     WHERE tenant_id = $1 AND store_id = $2 AND version < $3 ORDER BY version DESC LIMIT $4";

pub(super) const SET_RUN: &str =
    "UPDATE sync_runs SET run = $3, lease_expire_ms = NULL WHERE tenant_id = $1 AND sync_run_id = $2";

pub(super) const ENSURE_HEAD: &str = "INSERT INTO catalog_heads (tenant_id, store_id, version, changed_ms) \
     VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING";

pub(super) const HELD_CATALOG: &str = "SELECT held_catalog FROM catalog_heads WHERE tenant_id = $1 AND store_id = $2";

pub(super) const HOLD: &str = "UPDATE catalog_heads \
     SET held_run_id = $3, held_hash = $4, held_catalog = $5, held_refusal = $6 WHERE tenant_id = $1 AND store_id = $2";

pub(super) const PRUNE_VERSIONS: &str = "DELETE FROM catalog_versions WHERE tenant_id = $1 AND store_id = $2 AND version <= \
     (SELECT version FROM catalog_heads WHERE tenant_id = $1 AND store_id = $2) - $3";

pub(super) const PRUNE_RUNS: &str = "DELETE FROM sync_runs \
     WHERE tenant_id = $1 AND store_id = $2 AND lease_expire_ms IS NULL AND sync_run_id < ( \
         SELECT sync_run_id FROM sync_runs WHERE tenant_id = $1 AND store_id = $2 \
         ORDER BY sync_run_id DESC LIMIT 1 OFFSET $3) \
     AND NOT EXISTS (SELECT 1 FROM catalog_heads AS head \
         WHERE head.tenant_id = $1 AND head.store_id = $2 AND head.held_run_id = sync_runs.sync_run_id)";
