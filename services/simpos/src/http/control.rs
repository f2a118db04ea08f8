//! Fault rules, the journal, and the menu behind the POS's back.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;

use super::{Answer, Asked, Received, asked, page, parse};
use crate::api::Refusal;
use crate::api::control::{ActiveFault, FaultList, JournalPage};
use crate::app::App;
use crate::{builtin_menu, rules};

pub(super) async fn list_faults(State(app): State<App>) -> Json<FaultList> {
    Json(FaultList { faults: app.faults().list() })
}

pub(super) async fn add_fault(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    body: Bytes,
) -> Answer<ActiveFault> {
    let active = app.faults().add(parse(&body)?)?;
    app.apply_conditions(received).await?;
    Ok(Json(active))
}

pub(super) async fn delete_faults(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
) -> Result<StatusCode, Refusal> {
    app.faults().delete(None);
    app.apply_conditions(received).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deleting a rule that is gone is harmless.
pub(super) async fn delete_fault(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    Path(id): Path<u64>,
) -> Result<StatusCode, Refusal> {
    app.faults().delete(Some(id));
    app.apply_conditions(received).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    after: Option<usize>,
    limit: Option<usize>,
}

pub(super) async fn journal(State(app): State<App>, query: Asked<After>) -> Answer<JournalPage> {
    let query = asked(query)?;
    let state = app.state.read().await;
    let (entries, more) = page(state.entries.iter().skip(query.after.unwrap_or(0)).cloned(), query.limit);
    Ok(Json(JournalPage { entries, more }))
}

pub(super) async fn replace_master(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let menu = parse(&body)?;
    app.writer.write(received, move |_, _| rules::replace_master(menu)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn restore_master(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
) -> Result<StatusCode, Refusal> {
    app.writer.write(received, move |_, _| rules::replace_master(builtin_menu())).await?;
    Ok(StatusCode::NO_CONTENT)
}
