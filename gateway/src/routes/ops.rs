//! For the store's own tools: the codes to show at its tables.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use posmesh_kit::time;
use posmesh_proto::catalog::v1::GetCatalogRequest;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::{self, App},
    extract::{Bearer, Path},
    openapi::OpsProblems,
    problem::Problem,
};

/// The codes of a store's tables.
#[derive(Serialize, ToSchema)]
pub(crate) struct TableCodeList {
    table_codes: Vec<TableCodeView>,
}

/// What stands in the QR of one table now.
#[derive(Serialize, ToSchema)]
struct TableCodeView {
    table_id: String,
    /// As the staff call it.
    table_name: String,
    area_id: String,
    /// What `POST /table/v1/stores/{store_id}/checks` takes as `table_code`.
    code: String,
    /// When to show the next one.
    rotate_time: String,
    /// Until when this one is taken.
    expire_time: String,
}

/// The current code of every table.
#[utoipa::path(get, path = "/ops/v1/stores/{store_id}/table-codes", tag = "ops",
    params(("store_id" = String, Path)), security(("ops_token" = [])),
    responses((status = OK, body = TableCodeList), OpsProblems))]
pub(crate) async fn table_codes(
    State(app): State<Arc<App>>,
    Path(store_id): Path<String>,
    token: Bearer,
) -> Result<Json<TableCodeList>, Problem> {
    if !app.ops_token.as_deref().is_some_and(|secret| token.equals(secret)) {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "TOKEN_INVALID", "this token is not valid here"));
    }
    let request = GetCatalogRequest { store_id: store_id.clone(), ..Default::default() };
    let catalog = app.catalog.clone().get_catalog(request).await?.into_inner().catalog.unwrap_or_default();
    let now = app::now_unix_s();
    let table_codes = catalog.tables.into_iter().map(|table| {
        let code = app.table_codes.current(&store_id, &table.id, now);
        TableCodeView {
            table_id: table.id,
            table_name: table.name,
            area_id: table.area_id,
            code: code.code,
            rotate_time: rfc3339(code.rotates_unix_s),
            expire_time: rfc3339(code.expires_unix_s),
        }
    });
    Ok(Json(TableCodeList { table_codes: table_codes.collect() }))
}

fn rfc3339(unix_s: i64) -> String {
    time::from_unix_ms(unix_s.saturating_mul(1000)).to_string()
}
