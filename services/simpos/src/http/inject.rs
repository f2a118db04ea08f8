//! Makes fault rules happen to requests.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{MAX_BODY_BYTES, Received};
use crate::api::control::{Endpoint, Fault};
use crate::api::{Refusal, SetAvailability, cause};
use crate::app::App;
use crate::rules;

/// Breaks the request's connection when cancelled.
#[derive(Clone)]
pub(crate) struct HangUp(pub(crate) CancellationToken);

/// Tells the handler to record an order past its `not_after`.
#[derive(Clone, Copy)]
pub(super) struct IgnoreNotAfter;

/// Handles the request as the rules for its endpoint say. The work runs in a task of its own: what a POS has received
/// it carries out, whether or not the caller still listens.
pub(super) async fn inject(
    State((app, endpoint)): State<(App, Endpoint)>,
    Extension(HangUp(hang_up)): Extension<HangUp>,
    Extension(Received(received)): Extension<Received>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        let message = format!("a body has at most {MAX_BODY_BYTES} bytes");
        return Refusal::new(413, cause::BODY_TOO_LARGE, message).into_response();
    };
    let request = Request::from_parts(parts, Body::from(body));
    let faults = app.faults().take(endpoint);
    match tokio::spawn(handle(app, faults, received, request, next)).await {
        Ok(Some(response)) => response,
        Ok(None) => {
            hang_up.cancel();
            std::future::pending().await
        }
        Err(panicked) => {
            tracing::error!(%panicked, "a request handler panicked");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Answers, or `None` to break the connection without an answer.
async fn handle(app: App, faults: Vec<Fault>, received: Instant, mut request: Request, next: Next) -> Option<Response> {
    for fault in faults {
        tracing::info!(?fault, "fault injected");
        match fault {
            Fault::Delay { delay_ms } => sleep(Duration::from_millis(delay_ms)).await,
            Fault::ChangePrice { item_id, price } => {
                let change = app.writer.write(received, move |state, _| rules::change_price(state, &item_id, price));
                if let Err(refusal) = change.await {
                    return Some(refusal.into_response());
                }
            }
            Fault::SoldOut { item_id } => {
                let sold_out = SetAvailability { available: false, remaining: None };
                let mark =
                    app.writer.write(received, move |state, _| rules::set_availability(state, &item_id, &sold_out));
                if let Err(refusal) = mark.await {
                    return Some(refusal.into_response());
                }
            }
            Fault::Refuse { cause, retry_after_ms } => return Some(refuse(&cause, retry_after_ms).into_response()),
            Fault::RateLimit { per_second } => {
                let message = format!("more than {per_second} requests in a second");
                return Some(Refusal::for_now(429, cause::RATE_LIMITED, message, 1000).into_response());
            }
            Fault::DropBeforeRecord { delay_ms } => {
                sleep(Duration::from_millis(delay_ms)).await;
                return None;
            }
            Fault::DropAnswerAfterRecord { delay_ms } => {
                next.run(request).await;
                sleep(Duration::from_millis(delay_ms)).await;
                return None;
            }
            Fault::RecordLate { delay_ms, ignore_not_after } => {
                if ignore_not_after {
                    request.extensions_mut().insert(IgnoreNotAfter);
                }
                tokio::spawn(async move {
                    sleep(Duration::from_millis(delay_ms)).await;
                    next.run(request).await;
                });
                return None;
            }
            Fault::CrashBeforeRecord => {
                app.crash.cancel();
                return None;
            }
            Fault::CrashAfterRecord => {
                next.run(request).await;
                app.crash.cancel();
                return None;
            }
            Fault::OutOfPaper
            | Fault::CoverOpen
            | Fault::PrinterOffline
            | Fault::BusinessDayClosed
            | Fault::MasterUpdating => {}
        }
    }
    Some(next.run(request).await)
}

fn refuse(cause: &str, retry_after_ms: Option<u64>) -> Refusal {
    match retry_after_ms {
        Some(retry_after_ms) => Refusal::for_now(503, cause, "refused for now by a fault rule", retry_after_ms),
        None => Refusal::new(422, cause, "refused by a fault rule"),
    }
}
