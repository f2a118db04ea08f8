//! The routes, one file per product.

mod health;
mod kiosk;
mod ops;
mod store;
mod table;
mod togo;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// Every route that this configuration offers, with its documentation.
pub(crate) fn all(app: &App) -> OpenApiRouter<Arc<App>> {
    let router = OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(store::bootstrap))
        .routes(routes!(store::menu))
        .routes(routes!(table::open_check))
        .routes(routes!(table::get_check))
        .routes(routes!(table::quote))
        .routes(routes!(table::list_rounds, table::place_round))
        .routes(routes!(table::get_round))
        .routes(routes!(table::round_events))
        .routes(routes!(table::cancel_round))
        .routes(routes!(table::request_bill))
        .routes(routes!(table::split_check))
        .routes(routes!(togo::quote))
        .routes(routes!(togo::pickup_slots))
        .routes(routes!(togo::place_order))
        .routes(routes!(togo::get_order))
        .routes(routes!(togo::order_events))
        .routes(routes!(togo::cancel_order))
        .routes(routes!(kiosk::quote))
        .routes(routes!(kiosk::place_order))
        .routes(routes!(kiosk::get_order))
        .routes(routes!(kiosk::order_events))
        .routes(routes!(kiosk::cancel_order));
    if app.ops_token.is_some() {
        router.routes(routes!(ops::table_codes)).routes(routes!(ops::release_table))
    } else {
        router
    }
}
