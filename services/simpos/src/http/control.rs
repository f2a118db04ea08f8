//! Fault rules, settings, what the staff do, the journal, and the menu behind the POS's back.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;

use super::orders::cursor_too_old;
use super::{Answer, Asked, Received, asked, page, parse};
use crate::api::control::{ActiveFault, FaultList, JournalPage, Settings};
use crate::api::{CancelOrder, CloseCheck, Refusal, SplitCheck, StaffAction, StaffRequest, VoidLines};
use crate::app::App;
use crate::builtin_menu;
use crate::journal::Event;
use crate::rules::{self, By};
use crate::state;

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
    after: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn journal(State(app): State<App>, query: Asked<After>) -> Answer<JournalPage> {
    let query = asked(query)?;
    let state = app.state.read().await;
    let after = query.after.unwrap_or(0);
    let kept = state.entries_after(after).ok_or_else(|| cursor_too_old(after))?;
    let (entries, more) = page(kept.cloned(), query.limit);
    Ok(Json(JournalPage { entries, more }))
}

pub(super) async fn settings(State(app): State<App>) -> Json<Settings> {
    Json(app.state.read().await.settings)
}

pub(super) async fn set_settings(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    body: Bytes,
) -> Answer<Settings> {
    let settings: Settings = parse(&body)?;
    app.writer.write(received, move |state, _| rules::set_settings(state, settings)).await?;
    app.settings_changed.notify_one();
    Ok(Json(settings))
}

pub(super) async fn staff(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let request: StaffRequest = parse(&body)?;
    app.writer.write(received, move |state, now| Ok((decide_for_staff(state, request, now)?, ()))).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn decide_for_staff(state: &state::State, request: StaffRequest, now: i64) -> Result<Option<Event>, Refusal> {
    let StaffRequest { staff, action } = request;
    let name = rules::staff(&staff)?;
    let by = By::Staff(name.clone());
    let event = match action {
        StaffAction::CancelOrder { reference } => {
            let request = CancelOrder { change_reference: String::new(), not_after: None, reason: None };
            rules::cancel(state, &reference, &request, &by, now)?.0
        }
        StaffAction::VoidLines { reference, lines } => {
            let request = VoidLines { change_reference: String::new(), not_after: None, reason: None, lines };
            rules::void(state, &reference, &request, &by, now)?.0
        }
        StaffAction::Progress { reference, to } => rules::progress(state, &reference, to)?.0,
        StaffAction::LoseOrder { reference } => rules::lose(state, &reference)?.0,
        StaffAction::MoveTable { check_number, table } => rules::move_table(state, check_number, table, &name)?.0,
        StaffAction::MergeChecks { check_number, into } => rules::merge(state, check_number, into, &name)?.0,
        StaffAction::SplitCheck { check_number, parts, by_item } => {
            let request = SplitCheck { change_reference: String::new(), not_after: None, parts, by_item };
            rules::split(state, check_number, &request, &by, now)?.0
        }
        StaffAction::Adjust { check_number, name: title, amount, tax_rate_percent } => {
            rules::adjust(state, check_number, (title, amount, tax_rate_percent), &name)?.0
        }
        StaffAction::Close { check_number, tenders } => {
            rules::close(state, check_number, CloseCheck { staff, tenders })?.0
        }
    };
    Ok(event)
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
