//! Parties at one table, one after the other: two guests who order rounds on one check, one by the gateway, one by a
//! product backend; when they have what they ordered, the staff take their money at the till and the next party comes.

use std::{sync::Arc, time::Duration};

use posmesh_e2e::{Http, Pos};
use posmesh_proto::{common::v1::Product, order::v1::ListOrdersRequest};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tonic::Request;

use super::{Manner, World, backend, draft::Draft, gateway, watchers};
use crate::is_to_be_entered;

const PATIENCE: Duration = Duration::from_secs(3);
/// A party that cannot pay takes its time, so many pauses, before it orders something more.
const CHOOSING: u32 = 10;
/// A party's rounds that are looked through: a page.
const MAX_ROUNDS: i32 = 500;
const REST: Duration = Duration::from_millis(300);
/// So long a party stays for rounds that are still on their way.
const STAYS: Duration = Duration::from_secs(20);

/// Where two guests sit.
#[derive(Debug)]
pub struct Seat {
    check_id: String,
    token: String,
}

pub(super) async fn go_on(world: Arc<World>, mut dice: StdRng, table: String, code: String, till: Arc<Pos>) {
    let mut visit = 0_u32;
    while !world.closing.is_cancelled() {
        visit += 1;
        let party = format!("{table}/{visit}");
        let Some(seat) = sit_down(&world, &code).await else { return };
        loop {
            eat(&world, &mut dice, &party, &seat).await;
            match pay(&world, &seat, &table, &till).await {
                Paid::Yes => break,
                // Nobody can pay while the till is away: they stay, and order something more.
                Paid::NotYet => sleep(world.pause(&mut dice) * CHOOSING).await,
                Paid::Never => return,
            }
        }
    }
}

/// Whether a party has paid.
enum Paid {
    Yes,
    /// The till does not answer.
    NotYet,
    /// The restaurant closes first.
    Never,
}

/// Both guests order their rounds, and stay until none is on its way.
pub async fn eat(world: &Arc<World>, dice: &mut StdRng, party: &str, seat: &Seat) {
    let mut other = dice.fork();
    tokio::join!(by_http(world, dice, party, seat), by_grpc(world, &mut other, party, seat));
    wait_for_the_kitchen(world, seat).await;
}

/// Opens the check of the table, as often as it takes.
pub async fn sit_down(world: &World, code: &str) -> Option<Seat> {
    let path = format!("/table/v1/stores/{}/checks", world.store_id);
    let body = json!({ "table_code": code, "party_size": 2 });
    while !world.closing.is_cancelled() {
        if let Ok(answer) = Http::send(world.http.post(&path, &body).timeout(PATIENCE)).await
            && answer.status == 200
        {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            return Some(Seat {
                check_id: text(&answer.body["check"]["check_id"])?,
                token: text(&answer.body["guest_token"])?,
            });
        }
        sleep(REST).await;
    }
    None
}

async fn by_http(world: &Arc<World>, dice: &mut StdRng, party: &str, seat: &Seat) {
    for _ in 0..dice.random_range(1..5) {
        let draft = Draft::new(world, dice, Product::Table, Some(party));
        if let Some(ticket) = gateway::place(world, &draft, Manner::by_chance(dice), Some(&seat.token)).await {
            if dice.random_bool(0.3) {
                watchers::at_the_gateway(world, draft.key.clone(), ticket.clone());
            }
            if dice.random_bool(0.3) {
                gateway::read(world, &draft.key, &ticket).await;
            }
        }
        sleep(Duration::from_millis(dice.random_range(20..400))).await;
    }
}

async fn by_grpc(world: &Arc<World>, dice: &mut StdRng, party: &str, seat: &Seat) {
    for _ in 0..dice.random_range(1..5) {
        let draft = Draft::new(world, dice, Product::Table, Some(party));
        let manner = Manner::by_chance(dice);
        if let Some(order) = backend::place(world, dice, &draft, manner, Some(&seat.check_id)).await {
            if dice.random_bool(0.3) {
                let dice = dice.fork();
                watchers::at_a_replica(world, dice, draft.key.clone(), order.order_id);
            }
            if dice.random_bool(0.1) {
                backend::cancel(world, dice, &draft).await;
            }
        }
        sleep(Duration::from_millis(dice.random_range(20..400))).await;
    }
}

/// Until no round of the check is on its way, or the party has enough.
async fn wait_for_the_kitchen(world: &World, seat: &Seat) {
    let until = Instant::now() + STAYS;
    while Instant::now() < until {
        let request = world.http.get("/table/v1/check/rounds").bearer_auth(&seat.token).timeout(PATIENCE);
        if let Ok(answer) = Http::send(request).await
            && answer.status == 200
        {
            let rounds = answer.body["rounds"].as_array().cloned().unwrap_or_default();
            let is_on_its_way =
                |round: &Value| matches!(round["state"].as_str(), Some("PENDING" | "HELD" | "SENDING" | "IN_DOUBT"));
            if !rounds.iter().any(is_on_its_way) {
                return;
            }
        }
        sleep(REST).await;
    }
}

/// The staff close every check of the table at the till, when all of it is on the bill.
async fn pay(world: &World, seat: &Seat, table: &str, till: &Pos) -> Paid {
    while !world.closing.is_cancelled() {
        if till.try_ask(Method::GET, "/api/status", None).await.is_err() {
            return Paid::NotYet;
        }
        if is_on_the_bill(world, seat).await
            && let Ok(list) = till.try_ask(Method::GET, &format!("/api/checks?table={table}"), None).await
        {
            let checks = list["checks"].as_array().cloned().unwrap_or_default();
            if checks.is_empty() {
                return Paid::Yes;
            }
            for check in checks {
                let tenders = if check["due"] == 0 {
                    json!([])
                } else {
                    json!([{ "tender_id": "cash", "amount": check["due"] }])
                };
                let body = json!({ "staff": "hanako", "tenders": tenders });
                // What does not work now is tried again.
                let _ =
                    till.try_ask(Method::POST, &format!("/api/checks/{}/close", check["number"]), Some(&body)).await;
            }
        }
        sleep(REST).await;
    }
    Paid::Never
}

/// Whether the platform has nothing of this check left to enter into the POS.
async fn is_on_the_bill(world: &World, seat: &Seat) -> bool {
    let rounds = ListOrdersRequest {
        store_id: world.store_id.clone(),
        check_id: seat.check_id.clone(),
        page_size: MAX_ROUNDS,
        ..ListOrdersRequest::default()
    };
    let mut request = Request::new(rounds);
    request.set_timeout(PATIENCE);
    let listed = world.replicas[0].clone().list_orders(request).await;
    listed.is_ok_and(|listed| !listed.into_inner().orders.iter().any(is_to_be_entered))
}
