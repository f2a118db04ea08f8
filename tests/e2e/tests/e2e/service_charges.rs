//! What the till adds to its bills by itself is told before, and is in every total.

use std::collections::BTreeMap;

use posmesh_e2e::{Http, Shape, Shop, eventually, line, refusal};
use posmesh_proto::{
    catalog::v1::{Catalog, GetCatalogRequest, SyncState, catalog_service_client::CatalogServiceClient},
    common::v1::{Money, Product, ServiceMode},
    order::v1::{ModifierInput, OrderLineInput, Price},
};
use rand::{
    RngExt as _, SeedableRng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use serde_json::{Value, json};

use crate::{
    orders::{is_once_at_the_pos, key},
    tables::{open_check, order_round, round},
};

posmesh_e2e::on_both_shapes!(
    a_service_charge_of_the_till_is_told_before_and_is_what_the_guest_pays,
    a_service_charge_that_nobody_can_reckon_is_reported_and_the_old_menu_sells_on,
);

const ORDERS_PER_CHARGE: usize = 40;
const ROUNDS: usize = 6;
/// Change it to try other orders.
const SEED: u64 = 20_261_123;

async fn charge_at_the_pos(shop: &Shop, percent: u32, tax_class: &str) {
    let mut master = shop.pos.master().await;
    let name = json!({ "ja": "サービス料", "ko": "봉사료", "en": "Service charge" });
    master["service_charge"] = json!({ "id": "service", "name": name, "percent": percent, "tax_class": tax_class });
    shop.pos.replace_master(&master).await;
}

/// Publishes it, and waits until orders are priced with it.
async fn charge(shop: &Shop, percent: u32, tax_class: &str) {
    charge_at_the_pos(shop, percent, tax_class).await;
    let run = shop.sync().await.unwrap();
    assert_eq!((run.state(), run.problems.len()), (SyncState::Published, 0), "{run:#?}");
    let with_it = 2_500 + 25 * i64::from(percent);
    let counts = async || (shop.total(Product::Kiosk, &[line("yaki_onigiri", 10)]).await == with_it).then_some(());
    eventually("orders are priced with the charge", counts).await;
}

async fn told_on_the_menu(shop: &Shop, mode: &str) -> Value {
    let path = format!("/kiosk/v1/stores/{}/menu?locale=en&service_mode={mode}", shop.store_id);
    Http::send(shop.http.get(&path)).await.unwrap().ok()["service_charges"].take()
}

async fn a_service_charge_of_the_till_is_told_before_and_is_what_the_guest_pays(shape: Shape) {
    let shop = Shop::open(shape).await;
    let before = shop.request(Product::Kiosk, &[line("yaki_onigiri", 3)]).await;
    charge(&shop, 10, "food").await;
    let told = json!([{ "id": "service", "name": "Service charge", "rate_bp": 1000, "basis": "with_tax", "tax_included": true }]);
    eventually("the menu tells it", async || (told_on_the_menu(&shop, "eat_in").await == told).then_some(())).await;
    assert_eq!(told_on_the_menu(&shop, "take_away").await, json!([]));
    let shown = shop.mesh.posmesh(&["menu", "show", &shop.store_id, "--product", "kiosk"]).await.unwrap();
    assert!(shown.out.contains("サービス料: 10 % of its prices with tax"), "{} {}", shown.out, shown.err);

    let refused = shop.place(0, before).await.unwrap_err();
    assert_eq!(refusal(&refused).0, "PRICE_CHANGED", "the guest agreed to less than the till asks: {refused:?}");

    let store = format!("/kiosk/v1/stores/{}", shop.store_id);
    let lines = json!([
        { "item_id": "yaki_onigiri", "quantity": 3 },
        { "item_id": "yaki_onigiri", "quantity": 1, "service_mode": "take_away" },
    ]);
    let asked = json!({ "lines": lines, "service_mode": "eat_in" });
    let quote = Http::send(shop.http.post(&format!("{store}/quote"), &asked)).await.unwrap().ok();
    // 10 % of 3 × 250, which are eaten here.
    let charged = json!([{
        "id": "service", "name": "サービス料", "service_mode": "eat_in", "amount": { "currency": "JPY", "amount": 75 },
        "tax_rate_ppm": 100_000, "tax_included": true,
    }]);
    let total = json!({ "currency": "JPY", "amount": 1_075 });
    assert_eq!((&quote["price"]["charges"], &quote["price"]["total"]), (&charged, &total), "{quote:#}");
    let body = json!({
        "lines": lines, "expected_total": total, "service_mode": "eat_in",
        "tenders": [{ "amount": total, "reference": "term-4-001924" }],
    });
    let placed = Http::send(shop.http.place(&format!("{store}/orders"), &key(), &body)).await.unwrap().ok();
    assert_eq!((&placed["order"]["state"], &placed["order"]["price"]["charges"]), (&json!("PLACED"), &charged));
    let (order_id, number) = (placed["order"]["order_id"].as_str(), placed["order"]["display_number"].as_str());
    let recorded = is_once_at_the_pos(&shop, order_id.unwrap(), number.unwrap(), 1_075).await;
    assert_eq!(shop.pos.check(&recorded["check_number"]).await["state"], "closed", "what was paid is what is due");

    let token = shop.sit_down("T5").await["guest_token"].as_str().unwrap().to_owned();
    order_round(&shop, &token, json!([{ "item_id": "yaki_onigiri", "quantity": 1 }])).await;
    order_round(&shop, &token, json!([{ "item_id": "nikujaga", "quantity": 1 }])).await;
    let bill = shop.http.post("/table/v1/check/bill", &Value::Null).bearer_auth(&token);
    let bill = Http::send(bill).await.unwrap().ok()["bill"].take();
    assert_eq!(bill["total"]["amount"], 250 + 580 + 83, "{bill:#}");
    let last = bill["lines"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["name"], &last["total"]["amount"]), (&json!("サービス料"), &json!(83)));

    charge(&shop, 12, "food").await;
    let diff = shop.mesh.posmesh(&["menu", "diff", &shop.store_id]).await.unwrap();
    assert!(diff.out.contains("サービス料: service charge 10 % → 12 %"), "{} {}", diff.out, diff.err);
}

async fn a_service_charge_that_nobody_can_reckon_is_reported_and_the_old_menu_sells_on(shape: Shape) {
    let shop = Shop::open(shape).await;
    charge(&shop, 10, "food").await;
    for (percent, tax_class, reason) in
        [(80, "food", "CHARGE_RATE_OUT_OF_RANGE"), (12, "service", "DANGLING_REFERENCE")]
    {
        charge_at_the_pos(&shop, percent, tax_class).await;
        let run = shop.sync().await.unwrap();
        assert_eq!(run.state(), SyncState::Quarantined, "{run:#?}");
        let problem = &run.problems[0];
        let about = (problem.entity.as_str(), problem.entity_name.as_str(), problem.reason.as_str());
        assert_eq!(about, ("service_charge", "サービス料", reason));
    }
    assert_eq!(shop.total(Product::Kiosk, &[line("yaki_onigiri", 10)]).await, 2_750, "the menu before sells on");
}

/// What an order comes to, in yen: total, net and tax by percent, charges.
#[derive(Debug, PartialEq)]
struct Amounts {
    total: i64,
    taxes: BTreeMap<i64, (i64, i64)>,
    charges: Vec<i64>,
}

#[tokio::test]
async fn totals_taxes_and_charges_of_random_orders_are_the_tills_own_to_the_minor_unit() {
    let shop = Shop::open(Shape::Sqlite).await;
    let mut dice = StdRng::seed_from_u64(SEED);
    let (mut orders, mut rounds) = (Vec::new(), 0);
    for (table, percent, tax_class) in [("T1", 10, "food"), ("T2", 7, "alcohol"), ("T3", 13, "food")] {
        charge(&shop, percent, tax_class).await;
        let catalog = catalog(&shop).await;
        for _ in 0..ORDERS_PER_CHARGE {
            let request = shop.request(Product::Kiosk, &random_lines(&catalog, true, &mut dice)).await;
            orders.push(shop.placed(0, request).await);
        }
        let check = open_check(&shop, table).await;
        let mut all = Vec::new();
        for _ in 0..ROUNDS {
            let lines = random_lines(&catalog, false, &mut dice);
            orders.push(shop.placed(0, round(&shop, &check.check_id, &lines).await).await);
            all.extend(lines);
            rounds += 1;
        }
        let recorded = shop.pos.recorded(&orders.last().unwrap().order_id).await;
        let bill = shop.pos.check(&recorded[0]["check_number"]).await;
        let at_once = shop.total(Product::Table, &all).await;
        assert_eq!(bill["totals"]["total"], at_once, "the bill is what all rounds cost at once");
    }
    let recorded = shop.pos.orders().await;
    let recorded: BTreeMap<&str, &Value> =
        recorded.iter().map(|order| (order["request"]["reference"].as_str().unwrap(), &order["totals"])).collect();
    let mut charged = 0;
    for order in &orders {
        assert!(order.attention.is_empty(), "{order:#?}");
        let ours = ours(order.price.as_ref().unwrap());
        assert_eq!(ours, theirs(recorded[order.order_id.as_str()]), "{:#?}", order.lines);
        charged += usize::from(!ours.charges.is_empty());
    }
    assert!(charged > rounds && charged < orders.len(), "some bear a charge, some do not: {charged}");
    eprintln!(
        "totals, taxes and charges against the till, seed {SEED}: orders tried {}, with a charge {charged}, differences 0",
        orders.len()
    );
}

async fn catalog(shop: &Shop) -> Catalog {
    let request = GetCatalogRequest { store_id: shop.store_id.clone(), ..GetCatalogRequest::default() };
    let mut client = CatalogServiceClient::new(shop.mesh.catalog().unwrap()).max_decoding_message_size(32 << 20);
    client.get_catalog(request).await.unwrap().into_inner().catalog.unwrap()
}

/// Eaten here, or as each line falls.
fn random_lines(catalog: &Catalog, takeaway: bool, dice: &mut StdRng) -> Vec<OrderLineInput> {
    let all_away = takeaway && dice.random_bool(0.2);
    let sold = |away: bool| catalog.items.iter().filter(|item| !away || item.service_modes.is_empty()).collect();
    let line = |dice: &mut StdRng| {
        let away = all_away || takeaway && dice.random_bool(0.3);
        let items: Vec<_> = sold(away);
        let item = items.choose(dice).unwrap();
        let mode = if away { ServiceMode::Takeaway } else { ServiceMode::DineIn };
        OrderLineInput {
            item_id: item.id.clone(),
            quantity: dice.random_range(1..10),
            service_mode: mode.into(),
            modifiers: random_choices(catalog, &item.modifier_group_ids, dice),
            ..OrderLineInput::default()
        }
    };
    (0..dice.random_range(1..7)).map(|_| line(dice)).collect()
}

fn random_choices(catalog: &Catalog, group_ids: &[String], dice: &mut StdRng) -> Vec<ModifierInput> {
    let mut choices = Vec::new();
    for group in catalog.modifier_groups.iter().filter(|group| group_ids.contains(&group.id)) {
        let mut modifiers: Vec<_> = group.modifiers.iter().collect();
        modifiers.shuffle(dice);
        let most = usize::try_from(group.max_choices).unwrap().min(modifiers.len());
        let count = dice.random_range(usize::try_from(group.min_choices).unwrap()..=most);
        for modifier in &modifiers[..count] {
            choices.push(ModifierInput {
                group_id: group.id.clone(),
                modifier_id: modifier.id.clone(),
                quantity: 1,
                modifiers: random_choices(catalog, &modifier.modifier_group_ids, dice),
            });
        }
    }
    choices
}

fn ours(price: &Price) -> Amounts {
    let yen = |money: &Option<Money>| money.as_ref().unwrap().amount;
    Amounts {
        total: yen(&price.total),
        taxes: price.taxes.iter().map(|t| (i64::from(t.rate_ppm / 10_000), (yen(&t.net), yen(&t.tax)))).collect(),
        charges: price.charges.iter().map(|charge| yen(&charge.amount)).collect(),
    }
}

fn theirs(totals: &Value) -> Amounts {
    let yen = |of: &Value, field: &str| of[field].as_i64().unwrap();
    let list = |field: &str| totals[field].as_array().cloned().unwrap_or_default();
    let tax = |t: &Value| (yen(t, "rate_percent"), (yen(t, "gross") - yen(t, "tax"), yen(t, "tax")));
    Amounts {
        total: yen(totals, "total"),
        taxes: list("taxes").iter().map(tax).collect(),
        charges: list("charges").iter().map(|charge| yen(charge, "amount")).collect(),
    }
}
