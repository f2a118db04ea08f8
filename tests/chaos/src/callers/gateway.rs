//! Orders as guests' pages place them: by HTTP, through the gateway.

use std::time::Duration;

use posmesh_e2e::{Answer, Http};
use posmesh_proto::common::v1::Product;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Manner, World, draft::Draft, proves_nothing};
use crate::book::{Seen, What, now_ms};

/// An order that a guest holds the token of.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// As it was told first.
    pub seen: Seen,
    /// Its address at the gateway.
    pub path: String,
    /// Opens it.
    pub token: String,
}

/// Places a draft, again and again under its key, until the caller knows or has enough. `seat` is the guest token of a
/// Table guest.
pub async fn place(world: &World, draft: &Draft, manner: Manner, seat: Option<&str>) -> Option<Ticket> {
    let collection = match draft.product {
        Product::Table => "/table/v1/check/rounds".to_owned(),
        Product::ToGo => format!("/togo/v1/stores/{}/orders", world.store_id),
        Product::Kiosk | Product::Unspecified => format!("/kiosk/v1/stores/{}/orders", world.store_id),
    };
    let body = body(world, draft);
    for _ in 0..manner.tries {
        let mut request = world.http.post(&collection, &body).header("idempotency-key", &draft.key);
        if let Some(wait) = manner.wait {
            request = request.header("prefer", format!("wait={}", wait.as_secs()));
        }
        if let Some(seat) = seat {
            request = request.bearer_auth(seat);
        }
        let asked_ms = now_ms();
        let answer = Http::send(request.timeout(manner.patience)).await;
        let (what, is_final) = understand(&answer);
        world.book.told(&draft.key, asked_ms, "gateway place", what.clone());
        match (what, answer) {
            (What::Seen(seen), Ok(answer)) => {
                let token = seat.or(answer.body["order_token"].as_str()).unwrap_or_default().to_owned();
                return Some(Ticket { path: format!("{collection}/{}", seen.order_id), seen, token });
            }
            _ if is_final => return None,
            _ => sleep(manner.rest).await,
        }
    }
    None
}

/// Reads an order.
pub async fn read(world: &World, key: &str, ticket: &Ticket) {
    let request = world.http.get(&ticket.path).bearer_auth(&ticket.token).timeout(Duration::from_secs(2));
    let asked_ms = now_ms();
    let what = match Http::send(request).await {
        Ok(answer) if answer.status == 200 => seen(&answer.body),
        Ok(answer) if answer.body["reason"] == "ORDER_NOT_FOUND" => What::NotFound,
        Ok(answer) => What::Said(reason(&answer)),
        Err(error) => What::Said(error.to_string()),
    };
    world.book.told(key, asked_ms, "gateway read", what);
}

/// Asks for an order to be taken back; true when it was.
pub async fn cancel(world: &World, key: &str, ticket: &Ticket) -> bool {
    let request = world.http.post(&format!("{}/cancel", ticket.path), &Value::Null).bearer_auth(&ticket.token);
    let asked_ms = now_ms();
    let what = match Http::send(request.timeout(Duration::from_secs(5))).await {
        Ok(answer) if answer.status == 200 => seen(&answer.body),
        Ok(answer) => What::Said(reason(&answer)),
        Err(error) => What::Said(error.to_string()),
    };
    let is_cancelled = matches!(&what, What::Seen(_));
    world.book.told(key, asked_ms, "gateway cancel", what);
    is_cancelled
}

fn body(world: &World, draft: &Draft) -> Value {
    let lines: Vec<Value> =
        draft.lines.iter().map(|(item, quantity)| json!({ "item_id": item, "quantity": quantity })).collect();
    let total = json!({ "currency": world.currency, "amount": draft.total });
    let mut body = json!({ "lines": lines, "expected_total": total, "note": draft.key });
    match draft.product {
        Product::ToGo => {
            body["pickup_time"] = prost_types::Timestamp { seconds: draft.pickup_s, nanos: 0 }.to_string().into();
        }
        Product::Kiosk => body["service_mode"] = "eat_in".into(),
        Product::Table | Product::Unspecified => {}
    }
    if draft.is_paid {
        body["tenders"] = json!([{ "amount": total, "reference": draft.key }]);
    }
    body
}

/// What an answer tells, and whether asking again is of no use.
fn understand(answer: &anyhow::Result<Answer>) -> (What, bool) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return (What::Unknown(format!("{error:#}")), false),
    };
    if (200..300).contains(&answer.status) {
        let what = seen(&answer.body["order"]);
        let is_final = matches!(what, What::Seen(_));
        return (what, is_final);
    }
    let reason = reason(answer);
    if proves_nothing(answer.body["reason"].as_str().unwrap_or_default()) {
        return (What::Unknown(reason), false);
    }
    (What::Refused(reason), answer.status < 500 && answer.status != 429)
}

fn seen(order: &Value) -> What {
    Seen::from_json(order, None)
        .map_or_else(|| What::Unknown(format!("an answer without an order: {order}")), What::Seen)
}

fn reason(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.body["reason"].as_str().unwrap_or("without a reason"))
}
