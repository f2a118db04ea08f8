//! Checks.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Deserialize;

use super::inject::IgnoreNotAfter;
use super::{Answer, Asked, Received, asked, page, parse};
use crate::api::{
    Check, CheckList, CheckState, CloseCheck, OpenCheck, OpenCheckAnswer, Refusal, SplitAnswer, SplitCheck, StaffLines,
    cause,
};
use crate::app::App;
use crate::rules::{self, By};
use crate::state::CheckRecord;

pub(super) async fn open(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    body: Bytes,
) -> Answer<OpenCheckAnswer> {
    let request: OpenCheck = parse(&body)?;
    let (number, opened) = app.writer.write(received, move |state, _| rules::open_check(state, &request)).await?;
    Ok(Json(OpenCheckAnswer { opened, check: view(&app, number).await? }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListChecks {
    table: Option<String>,
    state: Option<CheckState>,
    after: Option<u32>,
    limit: Option<usize>,
}

pub(super) async fn list(State(app): State<App>, query: Asked<ListChecks>) -> Answer<CheckList> {
    let query = asked(query)?;
    let state = app.state.read().await;
    let after = query.after.unwrap_or(0);
    let at_table = |check: &&CheckRecord| query.table.is_none() || check.head.table == query.table;
    let (checks, more) = match query.state {
        None => page(state.open_checks().filter(|check| check.head.number > after).filter(at_table), query.limit),
        Some(wanted) => {
            page(state.checks_after(after).filter(|check| check.state == wanted).filter(at_table), query.limit)
        }
    };
    Ok(Json(CheckList { checks: checks.into_iter().map(CheckRecord::view).collect(), more }))
}

pub(super) async fn find(State(app): State<App>, Path(number): Path<String>) -> Answer<Check> {
    Ok(Json(view(&app, check_number(&number)?).await?))
}

pub(super) async fn bill(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    Path(number): Path<String>,
) -> Answer<Check> {
    let number = check_number(&number)?;
    app.writer.write(received, move |state, now| rules::bill(state, number, now)).await?;
    Ok(Json(view(&app, number).await?))
}

pub(super) async fn close(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    Path(number): Path<String>,
    body: Bytes,
) -> Answer<Check> {
    let number = check_number(&number)?;
    let request: CloseCheck = parse(&body)?;
    app.writer.write(received, move |state, _| rules::close(state, number, request)).await?;
    Ok(Json(view(&app, number).await?))
}

pub(super) async fn split(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    ignore_not_after: Option<Extension<IgnoreNotAfter>>,
    Path(number): Path<String>,
    body: Bytes,
) -> Answer<SplitAnswer> {
    let number = check_number(&number)?;
    let mut request: SplitCheck = parse(&body)?;
    if ignore_not_after.is_some() {
        request.not_after = None;
    }
    let parts =
        app.writer.write(received, move |state, now| rules::split(state, number, &request, &By::Api, now)).await?;
    let state = app.state.read().await;
    let checks = parts.into_iter().filter_map(|number| state.check(number));
    Ok(Json(SplitAnswer { checks: checks.map(CheckRecord::view).collect() }))
}

pub(super) async fn enter_by_staff(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    Path(number): Path<String>,
    body: Bytes,
) -> Answer<Check> {
    let number = check_number(&number)?;
    let request: StaffLines = parse(&body)?;
    app.writer.write(received, move |state, now| rules::enter_by_staff(state, number, &request, now)).await?;
    Ok(Json(view(&app, number).await?))
}

fn check_number(text: &str) -> Result<u32, Refusal> {
    text.parse().map_err(|_| unknown(text))
}

async fn view(app: &App, number: u32) -> Result<Check, Refusal> {
    app.state.read().await.check(number).map(CheckRecord::view).ok_or_else(|| unknown(&number.to_string()))
}

fn unknown(number: &str) -> Refusal {
    Refusal::new(404, cause::CHECK_NOT_FOUND, format!("there is no check {number}"))
}
