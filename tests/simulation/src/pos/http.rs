//! The vendor's API over the simulated network.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use posmesh_simpos::api::{
    AppState, CancelOrder, CheckList, OrderAnswer, PrinterState, Refusal, RefusalBody, Status, SubmitOrder, cause,
};
use serde::Serialize;
use tokio::sync::Notify;

use super::{Mishap, Pos, Shock};
use crate::world::net::{Listener, Wire};

type Answer = Result<Response<Full<Bytes>>, Infallible>;

/// Serves until dropped.
pub(super) async fn serve(pos: Pos, mut listener: Listener) {
    while let Some(Ok(wire)) = listener.next().await {
        tokio::spawn(serve_connection(pos.clone(), wire));
    }
}

async fn serve_connection(pos: Pos, wire: Wire) {
    // Told by a mishap: the connection breaks without an answer.
    let hang_up = Notify::new();
    let service = service_fn(|request| answer(&pos, request, &hang_up));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(wire), service);
    tokio::select! {
        biased;
        // An error is the other side's leaving.
        _ = connection => {}
        () = hang_up.notified() => {}
    }
}

async fn answer(pos: &Pos, request: Request<Incoming>, hang_up: &Notify) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return hung_up(hang_up).await };
    let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
    let query = head.uri.query().unwrap_or_default();
    let number = |text: &str| text.parse().unwrap_or(0);
    match (&head.method, path.as_slice()) {
        (&Method::POST, ["api", "orders"]) => match serde_json::from_slice(&body.to_bytes()) {
            Ok(order) => match submit(pos, order).await {
                Some(answer) => told(answer),
                None => hung_up(hang_up).await,
            },
            Err(error) => told::<()>(Err(Refusal::new(400, cause::INVALID_REQUEST, error.to_string()))),
        },
        (&Method::POST, ["api", "orders", reference, "cancel"]) => match serde_json::from_slice(&body.to_bytes()) {
            Ok(cancel) => match change(pos, reference, cancel).await {
                Some(answer) => told(answer),
                None => hung_up(hang_up).await,
            },
            Err(error) => told::<()>(Err(Refusal::new(400, cause::INVALID_REQUEST, error.to_string()))),
        },
        (&Method::GET, ["api", "orders", reference]) => told(pos.book().find(reference)),
        (&Method::GET, ["api", "checks"]) => {
            let table = query.split('&').find_map(|pair| pair.strip_prefix("table="));
            told(Ok(CheckList { checks: pos.book().open_checks(table), more: false }))
        }
        (&Method::GET, ["api", "checks", check]) => told(pos.book().check(number(check))),
        (&Method::POST, ["api", "checks", check, "bill"]) => told(pos.book().check(number(check))),
        (&Method::GET, ["api", "menu"]) => told(Ok(pos.book().menu())),
        (&Method::GET, ["api", "status"]) => told(Ok(status())),
        _ => told::<()>(Err(Refusal::new(404, cause::PATH_UNKNOWN, "there is no such path"))),
    }
}

async fn hung_up(hang_up: &Notify) -> Answer {
    hang_up.notify_one();
    std::future::pending().await
}

fn told<T: Serialize>(answer: Result<T, Refusal>) -> Answer {
    let (status, json) = match answer {
        Ok(answer) => (200, serde_json::to_vec(&answer)),
        Err(refusal) => (refusal.status, serde_json::to_vec(&RefusalBody { error: refusal })),
    };
    let mut response = Response::new(Full::new(json.unwrap_or_default().into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(response)
}

/// Takes an order as it goes today. `None`: the caller gets no answer.
async fn submit(pos: &Pos, order: SubmitOrder) -> Option<Result<OrderAnswer, Refusal>> {
    let mishap = pos.mishap();
    pos.trace.tell(pos.name, || format!("submit of {} arrives, mishap {mishap:?}", short(&order.reference)));
    let thinking = pos.thinking();
    let work = {
        let pos = pos.clone();
        async move {
            match mishap {
                None => {
                    tokio::time::sleep(thinking).await;
                    Some(record(&pos, order))
                }
                Some(Mishap::Refuse) => Some(Err(not_now(thinking))),
                Some(Mishap::Reject) => Some(Err(Refusal::new(422, cause::ITEM_SOLD_OUT, "sold out just now"))),
                Some(Mishap::LoseBefore) => None,
                Some(Mishap::LoseAnswer) => {
                    tokio::time::sleep(thinking).await;
                    let _ = record(&pos, order);
                    None
                }
                Some(Mishap::CrashBefore) => {
                    pos.shock(Shock::PosCrashes);
                    std::future::pending().await
                }
                Some(Mishap::CrashAfter) => {
                    let _ = record(&pos, order);
                    pos.shock(Shock::PosCrashes);
                    std::future::pending().await
                }
                Some(Mishap::Slow(ms)) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Some(record(&pos, order))
                }
                Some(Mishap::Late) => {
                    tokio::spawn(async move { record_late(&pos, order).await });
                    None
                }
                Some(Mishap::SenderCrashes) => {
                    pos.shock(Shock::SenderCrashes(order.reference.clone()));
                    Some(record(&pos, order))
                }
                Some(Mishap::SenderStops | Mishap::SenderSuspends) => {
                    let suspended = mishap == Some(Mishap::SenderSuspends);
                    pos.shock(Shock::SenderStops { order_id: order.reference.clone(), suspended });
                    Some(record(&pos, order))
                }
                Some(Mishap::BreaksPromise) => {
                    pos.book().keep_back(order);
                    None
                }
            }
        }
    };
    // What a POS has received it carries out, whether or not the caller still listens.
    tokio::spawn(work).await.ok().flatten()
}

/// Takes an order back as it goes today. `None`: the caller gets no answer.
async fn change(pos: &Pos, reference: &str, cancel: CancelOrder) -> Option<Result<OrderAnswer, Refusal>> {
    let mishap = pos.mishap();
    pos.trace.tell(pos.name, || format!("cancel of {} arrives, mishap {mishap:?}", short(reference)));
    let cancelled = || {
        let answer = pos.book().cancel(reference, &cancel);
        pos.trace.tell(pos.name, || match &answer {
            Ok(_) => format!("{} is cancelled", short(reference)),
            Err(refusal) => format!("{} is not cancelled: {}", short(reference), refusal.cause),
        });
        answer
    };
    match mishap {
        Some(Mishap::Refuse) => Some(Err(not_now(pos.thinking()))),
        Some(Mishap::Reject) => Some(Err(Refusal::new(422, "TOO_LATE", "the kitchen is too far"))),
        Some(Mishap::LoseBefore) => None,
        Some(Mishap::LoseAnswer | Mishap::Late | Mishap::BreaksPromise) => {
            let _ = cancelled();
            None
        }
        Some(Mishap::SenderCrashes) => {
            pos.shock(Shock::SenderCrashes(reference.to_owned()));
            Some(cancelled())
        }
        Some(Mishap::SenderStops | Mishap::SenderSuspends) => {
            let suspended = mishap == Some(Mishap::SenderSuspends);
            pos.shock(Shock::SenderStops { order_id: reference.to_owned(), suspended });
            Some(cancelled())
        }
        Some(Mishap::CrashBefore) => {
            pos.shock(Shock::PosCrashes);
            std::future::pending().await
        }
        Some(Mishap::CrashAfter) => {
            let _ = cancelled();
            pos.shock(Shock::PosCrashes);
            std::future::pending().await
        }
        Some(Mishap::Slow(ms)) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Some(cancelled())
        }
        None => Some(cancelled()),
    }
}

/// For a second or several.
fn not_now(thinking: Duration) -> Refusal {
    let retry_after_ms = 1_000 + thinking.as_millis() as u64 % 40 * 100;
    Refusal::for_now(503, cause::BUSINESS_DAY_NOT_OPEN, "the day is not open", retry_after_ms)
}

/// As late as the descriptor allows.
async fn record_late(pos: &Pos, order: SubmitOrder) {
    let wait_ms =
        order.not_after.unwrap_or_default().saturating_sub(posmesh_kit::time::now_unix_ms()).saturating_sub(60);
    tokio::time::sleep(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))).await;
    let _ = record(pos, order);
}

fn record(pos: &Pos, order: SubmitOrder) -> Result<OrderAnswer, Refusal> {
    let reference = order.reference.clone();
    let answer = pos.book().submit(order);
    pos.trace.tell(pos.name, || match &answer {
        Ok(OrderAnswer { duplicate: true, order, .. }) => {
            format!("{} is known as {}", short(&reference), order.order_number)
        }
        Ok(answer) => format!("{} is recorded as {}", short(&reference), answer.order.order_number),
        Err(refusal) => format!("{} is refused: {}", short(&reference), refusal.cause),
    });
    answer
}

fn short(id: &str) -> &str {
    crate::trace::short(id)
}

fn status() -> Status {
    Status {
        version: "simulated".to_owned(),
        app: AppState::Running,
        business_day_open: true,
        business_date: String::new(),
        printer: PrinterState::Ready,
        waiting_tickets: 0,
        open_checks: 0,
        menu_revision: 1,
        clock: posmesh_kit::time::now_unix_ms(),
        max_apply_delay_ms: 0,
        complete_since: None,
    }
}
