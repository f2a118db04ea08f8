//! Gathers what is there at rest: the platform's orders as each replica tells them, and simpos's journal.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use posmesh_proto::order::v1::{ListOrdersRequest, Order, OrderState, order_service_client::OrderServiceClient};
use serde_json::Value;
use tonic::transport::Channel;

use crate::{
    audit::{AtPos, Facts},
    callers::World,
    stage::Stage,
};

const PAGE: i32 = 500;

/// All orders of a store in these states, or all if there are none, as one replica tells them.
///
/// # Errors
/// When it does not.
pub async fn orders(
    replica: &OrderServiceClient<Channel>,
    store_id: &str,
    states: &[OrderState],
) -> Result<Vec<Order>> {
    let states: Vec<i32> = states.iter().map(|state| i32::from(*state)).collect();
    let mut request =
        ListOrdersRequest { store_id: store_id.into(), states, page_size: PAGE, ..ListOrdersRequest::default() };
    let mut orders = Vec::new();
    loop {
        let page = replica.clone().list_orders(request.clone()).await.context("a replica does not list its orders")?;
        let page = page.into_inner();
        orders.extend(page.orders);
        if page.next_page_token.is_empty() {
            return Ok(orders);
        }
        request.page_token = page.next_page_token;
    }
}

/// How often replicas are asked that do not tell the same, and how long after each other. What the kitchen reports goes on
/// coming in at rest, between the answers of two replicas; what one of them remembers wrongly stays.
const ASKED_AGAIN: u32 = 30;
const PAUSE: Duration = Duration::from_millis(500);

/// Everything at rest.
///
/// # Errors
/// When a replica does not answer.
pub async fn gather(world: &World, stage: &Stage) -> Result<Facts> {
    let mut facts = Facts::default();
    for _ in 0..ASKED_AGAIN {
        facts.orders.clear();
        for replica in &world.replicas {
            for order in orders(replica, &world.store_id, &[]).await? {
                facts.orders.entry(order.order_id.clone()).or_default().push(order);
            }
        }
        if facts.orders.values().all(|told| told.iter().all(|order| order.version == told[0].version)) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    (facts.at_pos, facts.closed_checks) = read_journal(&stage.pos.journal().await);
    if let Some(fallback) = &stage.fallback {
        (facts.at_fallback, _) = read_journal(&fallback.device.journal().await);
    }
    Ok(facts)
}

/// What a simpos's journal says: its orders, and when it closed which check, unix milliseconds.
pub fn read_journal(entries: &[Value]) -> (Vec<AtPos>, HashMap<String, i64>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (mut orders, mut closed_checks) = (Vec::<AtPos>::new(), HashMap::new());
    let mut by_reference: HashMap<String, usize> = HashMap::new();
    for entry in entries {
        let (at_ms, event) = (entry["at"].as_i64().unwrap_or_default(), &entry["event"]);
        match event["type"].as_str().unwrap_or_default() {
            "order_recorded" => {
                let (order, request) = (&event["order"], &event["order"]["request"]);
                let check = order["check_number"].to_string();
                if event["closes_check"] == true {
                    closed_checks.insert(check.clone(), at_ms);
                }
                let tenders = request["tenders"].as_array().into_iter().flatten();
                by_reference.insert(text(&request["reference"]), orders.len());
                orders.push(AtPos {
                    number: order["order_number"].as_u64().unwrap_or_default(),
                    at_ms,
                    reference: text(&request["reference"]),
                    note: text(&request["note"]),
                    check,
                    total: order["totals"]["total"].as_i64(),
                    kitchen_tickets: usize::from(is_for_the_kitchen(&event["ticket"])),
                    tenders: tenders.map(|tender| text(&tender["external_reference"])).collect(),
                    voided_ms: None,
                });
            }
            "order_cancelled" => {
                let numbers: Vec<u64> =
                    event["order_numbers"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
                for order in orders.iter_mut().filter(|order| numbers.contains(&order.number)) {
                    order.voided_ms = Some(at_ms);
                }
            }
            "check_closed" => {
                closed_checks.insert(event["check_number"].to_string(), at_ms);
            }
            _ if is_for_the_kitchen(&event["ticket"]) => {
                let order = by_reference.get(&text(&event["ticket"]["order_reference"]));
                if let Some(order) = order.and_then(|at| orders.get_mut(*at)) {
                    order.kitchen_tickets += 1;
                }
            }
            _ => {}
        }
    }
    (orders, closed_checks)
}

/// Something to cook: no slip that is marked as a repetition, as late, or as void.
fn is_for_the_kitchen(ticket: &Value) -> bool {
    ticket["kind"] == "kitchen" && ticket["mark"].as_str().is_none_or(|mark| mark == "normal")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_journal_tells_orders_their_cancellations_and_what_the_kitchen_cooks_from() {
        let ticket = |mark: &str| json!({ "kind": "kitchen", "mark": mark, "order_reference": "order-1" });
        let order = json!({ "order_number": 4, "check_number": 2, "totals": { "total": 500 },
            "request": { "reference": "order-1", "note": "key", "tenders": [{ "external_reference": "key" }] } });
        let entries = [
            json!({ "at": 10, "event": { "type": "order_recorded", "order": order, "closes_check": true,
                "ticket": ticket("normal") } }),
            json!({ "at": 20, "event": { "type": "ticket_reprinted", "ticket": ticket("reprint") } }),
            json!({ "at": 30, "event": { "type": "order_cancelled", "order_numbers": [4], "tickets": [ticket("void")] } }),
        ];
        let (orders, closed_checks) = read_journal(&entries);
        let expected = AtPos {
            number: 4,
            at_ms: 10,
            reference: "order-1".into(),
            note: "key".into(),
            check: "2".into(),
            total: Some(500),
            kitchen_tickets: 1,
            tenders: vec!["key".into()],
            voided_ms: Some(30),
        };
        assert_eq!(orders, [expected]);
        assert_eq!(closed_checks, HashMap::from([("2".to_owned(), 10)]));
    }
}
