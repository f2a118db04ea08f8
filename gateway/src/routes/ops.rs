//! For the store's own tools: the codes to show at its tables, and releasing them.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use posmesh_kit::time;
use posmesh_proto::{catalog::v1::GetCatalogRequest, order::v1::ReleaseTableRequest};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::{self, App},
    extract::{Bearer, Path},
    openapi::{OpsProblems, ReleaseProblems},
    problem::Problem,
    views::ReleasedTable,
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
    check_token(&app, &token)?;
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

/// Ends whatever check is open on a table: the guests have left.
///
/// A free table is no error. Guests who come next are seated once the POS has closed the check as well.
#[utoipa::path(post, path = "/ops/v1/stores/{store_id}/tables/{table_id}/release", tag = "ops",
    params(("store_id" = String, Path), ("table_id" = String, Path)), security(("ops_token" = [])),
    responses((status = OK, body = ReleasedTable), ReleaseProblems))]
pub(crate) async fn release_table(
    State(app): State<Arc<App>>,
    Path((store_id, table_id)): Path<(String, String)>,
    token: Bearer,
) -> Result<Json<ReleasedTable>, Problem> {
    check_token(&app, &token)?;
    let released = app.orders.clone().release_table(ReleaseTableRequest { store_id, table_id }).await?.into_inner();
    Ok(Json(ReleasedTable { check: released.check.map(Into::into) }))
}

fn check_token(app: &App, token: &Bearer) -> Result<(), Problem> {
    if app.ops_token.as_deref().is_some_and(|secret| token.equals(secret)) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::UNAUTHORIZED, "TOKEN_INVALID", "this token is not valid here"))
}

fn rfc3339(unix_s: i64) -> String {
    time::from_unix_ms(unix_s.saturating_mul(1000)).to_string()
}
