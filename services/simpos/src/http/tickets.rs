//! Slips and the state of the POS.

use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::{Extension, Json};
use serde::Deserialize;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};

use super::{Answer, Asked, Received, asked, page};
use crate::api::{AppState, Refusal, Status, Ticket, TicketList, cause};
use crate::app::App;
use crate::clock::{business_date, now_ms};
use crate::rules;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    after: Option<u32>,
    limit: Option<usize>,
}

pub(super) async fn list(State(app): State<App>, query: Asked<After>) -> Answer<TicketList> {
    let query = asked(query)?;
    let state = app.state.read().await;
    let (tickets, more) = page(state.printed_after(query.after.unwrap_or(0)).cloned(), query.limit);
    Ok(Json(TicketList { tickets, more }))
}

/// A client that comes back tells the last slip that it saw in `Last-Event-ID`.
pub(super) async fn stream(
    State(app): State<App>,
    headers: HeaderMap,
    query: Asked<After>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let query = asked(query)?;
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let tickets = app.follow_tickets(last_seen.or(query.after).unwrap_or(0));
    let events = ReceiverStream::new(tickets).map(|ticket| {
        let event = Event::default().event("ticket").id(ticket.number.to_string());
        // A ticket has no map with keys other than text, so that it always makes JSON.
        Ok(event.json_data(&ticket).unwrap_or_default())
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

pub(super) async fn reprint(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    Path(number): Path<String>,
) -> Answer<Ticket> {
    let unknown = || Refusal::new(404, cause::TICKET_NOT_FOUND, "there is no such ticket");
    let number: u32 = number.parse().map_err(|_| unknown())?;
    let reprint = app.writer.write(received, move |state, now| rules::reprint(state, number, now)).await?;
    let state = app.state.read().await;
    state.ticket(reprint).map(|ticket| Json((**ticket).clone())).ok_or_else(unknown)
}

pub(super) async fn status(State(app): State<App>) -> Json<Status> {
    let max_apply_delay_ms = app.faults().max_apply_delay_ms();
    let state = app.state.read().await;
    let clock = now_ms();
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        app: if state.conditions.master_updating { AppState::MasterUpdating } else { AppState::Running },
        business_day_open: !state.conditions.business_day_closed,
        business_date: business_date(clock),
        printer: state.conditions.printer,
        waiting_tickets: state.waiting_tickets().len() as u32,
        open_checks: state.open_checks().count() as u32,
        menu_revision: state.menu.revision,
        clock,
        complete_since: state.complete_since,
        max_apply_delay_ms,
    })
}
