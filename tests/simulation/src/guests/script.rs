//! What the guests of one table, or one guest alone, do.

use std::time::Duration;

use posmesh_kit::time;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{OpenCheckRequest, get_order_request::Key, order_service_client::OrderServiceClient},
};
use tonic::Request;

use super::{
    Guests, STORE,
    caller::{self, Placed, Wish},
    operator,
};
use crate::{
    chance::Dice,
    pos::book::{ITEMS, TABLES},
};

/// Guests come in over so long.
const ARRIVALS_MS: u64 = 22_000;
/// Rounds of one guest at most.
const MAX_ROUNDS: u64 = 3;

async fn pause(dice: &mut Dice, least_ms: u64, most_ms: u64) {
    tokio::time::sleep(Duration::from_millis(dice.between(least_ms, most_ms))).await;
}

fn lines(dice: &mut Dice) -> Vec<(String, i32)> {
    let count = dice.between(1, 2);
    let first = dice.next() as usize;
    let line = |n: u64| ITEMS[(first + n as usize) % ITEMS.len()].0.to_owned();
    (0..count).map(|n| (line(n), dice.between(1, 3) as i32)).collect()
}

/// Two guests at one table, who order rounds at the same time.
pub(super) async fn party(guests: Guests, number: u64) {
    let mut dice = guests.dice("party", number);
    pause(&mut dice, 0, ARRIVALS_MS / 2).await;
    let table = (*dice.pick(&TABLES)).to_owned();
    let Some(check_id) = open_check(&guests, &mut dice, number, &table).await else { return };
    for seat in 0..2 {
        let (guests, check_id) = (guests.clone(), check_id.clone());
        guests.clone().begin(async move {
            let mut dice = guests.dice("seat", number * 2 + seat);
            for round in 0..dice.between(1, MAX_ROUNDS) {
                pause(&mut dice, 0, 6_000).await;
                let wish = Wish {
                    who: format!("table{number}-{seat}"),
                    request_id: format!("t{number}-{seat}-{round}"),
                    product: Product::Table,
                    check_id: check_id.clone(),
                    lines: lines(&mut dice),
                    is_paid: false,
                    pickup_time: None,
                };
                order(&guests, &mut dice, wish).await;
            }
        });
    }
}

async fn open_check(guests: &Guests, dice: &mut Dice, number: u64, table: &str) -> Option<String> {
    let who = format!("table{number}");
    for _ in 0..8 {
        let mut request =
            Request::new(OpenCheckRequest { store_id: STORE.to_owned(), table_id: table.to_owned(), party_size: 2 });
        request.set_timeout(Duration::from_secs(4));
        match OrderServiceClient::new(guests.any_replica.clone()).open_check(request).await {
            Ok(answer) => return answer.into_inner().check.map(|check| check.check_id),
            Err(status) => guests.told.refused(&who, "open check", &status),
        }
        pause(dice, 200, 1_500).await;
    }
    None
}

/// A guest who orders to go or at a kiosk.
pub(super) async fn single(guests: Guests, number: u64) {
    let mut dice = guests.dice("single", number);
    pause(&mut dice, 0, ARRIVALS_MS).await;
    let is_kiosk = dice.one_in(2);
    // Some as soon as the kitchen can, others a little later: these wait until it is time.
    let wait_ms = if dice.one_in(2) { 0 } else { dice.between(1_000, 12_000) };
    let pickup_ms = guests.now.unix_ms() + operator::PREPARATION_S * 1000 + wait_ms as i64;
    let wish = Wish {
        who: format!("{}{number}", if is_kiosk { "kiosk" } else { "togo" }),
        request_id: format!("s{number}"),
        product: if is_kiosk { Product::Kiosk } else { Product::ToGo },
        check_id: String::new(),
        lines: lines(&mut dice),
        is_paid: is_kiosk || dice.one_in(2),
        pickup_time: (!is_kiosk).then(|| time::from_unix_ms(pickup_ms)),
    };
    order(&guests, &mut dice, wish).await;
}

/// Places an order, and whatever else its caller does with it.
async fn order(guests: &Guests, dice: &mut Dice, wish: Wish) {
    guests.counts();
    if dice.one_in(12) {
        // Takes it back before it has arrived.
        caller::cancel(guests, dice, &wish, None).await;
    }
    if dice.one_in(6) {
        beside(guests, dice, &wish, |guests, mut dice, wish| async move {
            pause(&mut dice, 0, 6_000).await;
            caller::cancel(&guests, &mut dice, &wish, None).await;
        });
    }
    if dice.one_in(5) {
        beside(guests, dice, &wish, |guests, mut dice, wish| async move {
            let other = if dice.one_in(2) { other_body(wish) } else { wish };
            let Some(total) = caller::price(&guests, &other).await else { return };
            pause(&mut dice, 0, 5_000).await;
            caller::repeat(&guests, &other, total).await;
        });
    }
    match caller::place(guests, dice, &wish).await {
        Placed::Taken(order_id) => follow_up(guests, dice, wish, order_id).await,
        Placed::Gone => caller::ask(guests, &wish.who, Key::RequestId(wish.request_id.clone())).await,
    }
}

async fn follow_up(guests: &Guests, dice: &mut Dice, wish: Wish, order_id: String) {
    if dice.one_in(5) {
        pause(dice, 0, 4_000).await;
        caller::cancel(guests, dice, &wish, Some(&order_id)).await;
    }
    match dice.between(0, 3) {
        0 => {}
        1 => {
            pause(dice, 0, 5_000).await;
            caller::ask(guests, &wish.who, Key::OrderId(order_id)).await;
        }
        _ => {
            // The guest watches while the next round is chosen.
            beside(guests, dice, &wish, |guests, mut dice, wish| async move {
                caller::watch(&guests, &mut dice, &wish.who, &order_id).await;
            });
        }
    }
}

fn other_body(wish: Wish) -> Wish {
    let lines = wish.lines.iter().map(|(item, quantity)| (item.clone(), quantity + 1)).collect();
    Wish { who: format!("{}-again", wish.who), lines, ..wish }
}

/// Something that is done at the same time.
fn beside<F: Future<Output = ()> + Send + 'static>(
    guests: &Guests,
    dice: &mut Dice,
    wish: &Wish,
    script: impl FnOnce(Guests, Dice, Wish) -> F,
) {
    let own = Dice::new(&[dice.next()]);
    guests.begin(script(guests.clone(), own, wish.clone()));
}
