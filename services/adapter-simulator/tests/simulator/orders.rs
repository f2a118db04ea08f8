//! Orders, rounds and checks as they arrive at the POS.

use posmesh_kit::{cause, time};
use posmesh_proto::{
    adapter::v1::{
        GetCheckRequest, ListChecksRequest, Placed, PosCheck, PosCheckRef, PosModifier, PosOrder, PosTender,
        RequestBillRequest, get_check_response, list_checks_response, request_bill_response, submit_outcome::Outcome,
    },
    common::v1::{Product, ServiceMode},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Pair, line, order, yen};

async fn place(pair: &Pair, order: PosOrder) -> Placed {
    match pair.submit(order).await {
        Outcome::Placed(placed) => placed,
        other => panic!("{other:?}"),
    }
}

async fn recorded(pair: &Pair, order: &PosOrder) -> Value {
    let answer = pair.pos(Method::GET, &format!("/api/orders/{}", order.reference), Value::Null).await;
    answer["order"].clone()
}

async fn slip(pair: &Pair, order: &PosOrder) -> String {
    let tickets = pair.pos(Method::GET, "/api/tickets", Value::Null).await;
    let mut tickets = tickets["tickets"].as_array().unwrap().iter();
    let ticket = tickets.find(|ticket| ticket["order_reference"] == order.reference.as_str()).unwrap();
    ticket["text"].as_str().unwrap().to_owned()
}

fn round(pos_check_reference: &str, number: i32) -> PosOrder {
    let check = PosCheckRef {
        table_id: "T4".to_owned(),
        pos_check_reference: pos_check_reference.to_owned(),
        round: number,
        party_size: 3,
        ..PosCheckRef::default()
    };
    PosOrder { product: Product::Table.into(), check: Some(check), ..order() }
}

async fn checks(pair: &Pair, table_id: &str) -> Vec<PosCheck> {
    let request = ListChecksRequest {
        context: Some(pair.context.clone()),
        table_id: table_id.to_owned(),
        ..ListChecksRequest::default()
    };
    match pair.client.clone().list_checks(request).await.unwrap().into_inner().result.unwrap() {
        list_checks_response::Result::Checks(checks) => checks.checks,
        list_checks_response::Result::Failed(failed) => panic!("{failed:?}"),
    }
}

async fn check(pair: &Pair, reference: &str) -> PosCheck {
    let request = GetCheckRequest {
        context: Some(pair.context.clone()),
        pos_check_reference: reference.to_owned(),
        ..GetCheckRequest::default()
    };
    match pair.client.clone().get_check(request).await.unwrap().into_inner().result.unwrap() {
        get_check_response::Result::Check(check) => check,
        get_check_response::Result::Failed(failed) => panic!("{failed:?}"),
    }
}

#[tokio::test]
async fn the_slip_carries_the_guests_number_and_the_pos_total_is_told() {
    let pair = Pair::start().await;
    let order = order();
    let placed = place(&pair, order.clone()).await;
    assert_eq!(placed.total, yen(760));
    assert_eq!(placed.display_number, "", "the POS printed ours");
    assert!(slip(&pair, &order).await.contains("K12"));
    let unnumbered = PosOrder { display_number: String::new(), ..crate::support::order() };
    assert!(!place(&pair, unnumbered).await.display_number.is_empty());
}

#[tokio::test]
async fn a_pickup_order_is_taxed_as_takeaway_paid_and_carries_all_that_the_kitchen_needs() {
    let pair = Pair::start().await;
    let mut order = PosOrder {
        product: Product::ToGo.into(),
        tenders: vec![PosTender { amount: yen(760), reference: "pi_1".to_owned(), ..PosTender::default() }],
        pickup_time: Some(time::from_unix_ms(1_800_000_000_000)),
        note: "no wasabi".to_owned(),
        guest_name: "Kim".to_owned(),
        pager_number: "7".to_owned(),
        test: true,
        ..order()
    };
    order.lines[0].service_mode = ServiceMode::Takeaway.into();
    order.lines[0].note = "well done".to_owned();
    place(&pair, order.clone()).await;
    let recorded = recorded(&pair, &order).await;
    assert_eq!(recorded["totals"]["taxes"], json!([{"rate_percent": 8, "gross": 760, "tax": 56}]));
    let tender = json!({"tender_id": "external", "amount": 760, "external_reference": "pi_1"});
    assert_eq!(recorded["request"]["tenders"], json!([tender]));
    assert_eq!(recorded["request"]["note"], "TEST / Kim / no wasabi");
    assert_eq!(recorded["request"]["pickup_at"], 1_800_000_000_000_i64);
    assert_eq!(recorded["request"]["pager"], "7");
    assert_eq!(recorded["lines"][0]["note"], "well done");
}

#[tokio::test]
async fn choices_about_choices_reach_the_pos_at_the_price_that_the_platform_expects() {
    let pair = Pair::start().await;
    let choice = |group: &str, option: &str, modifiers| PosModifier {
        group_id: group.to_owned(),
        modifier_id: option.to_owned(),
        quantity: 1,
        modifiers,
        ..PosModifier::default()
    };
    let menu = posmesh_simpos::builtin_menu();
    let mut items = menu.categories.iter().flat_map(|category| &category.items);
    let shochu = items.find(|item| item.groups.iter().any(|group| group == "shochu_style")).unwrap();
    let mut modifiers = vec![choice("shochu_style", "soda", vec![choice("mix_ratio", "strong", vec![])])];
    let mut extra = 50 + 80;
    for group in shochu.groups.iter().filter(|group| *group != "shochu_style") {
        let group = menu.modifier_groups.iter().find(|g| g.id == *group).unwrap();
        for option in group.options.iter().take(group.min as usize) {
            modifiers.push(choice(&group.id, &option.id, vec![]));
            extra += option.price_delta;
        }
    }
    let mut drink = line(&shochu.id, 2);
    drink.modifiers = modifiers;
    let expected = 2 * (shochu.price + extra);
    let order = PosOrder { lines: vec![drink], expected_total: yen(expected), ..order() };
    assert_eq!(place(&pair, order.clone()).await.total, yen(expected));
}

#[tokio::test]
async fn rounds_go_on_one_check_beside_what_the_staff_enter() {
    let pair = Pair::start().await;
    let first = place(&pair, round("", 1)).await;
    let reference = first.pos_check_reference.as_str();
    let body = json!({"staff": "Sato", "lines": [
        {"reference": "s1", "item_id": "edamame", "quantity": 1, "service_mode": "dine_in"}]});
    pair.pos(Method::POST, &format!("/api/staff/checks/{reference}/lines"), body).await;
    let second = round(reference, 2);
    assert_eq!(place(&pair, second.clone()).await.pos_check_reference, reference);

    let check = check(&pair, reference).await;
    assert!(check.open);
    assert_eq!((check.table_ids.as_slice(), check.party_size), (&["T4".to_owned()][..], 3));
    assert_eq!(check.total, yen(760 + 380 + 760));
    assert_eq!(check.tax_total, yen(172));
    let ours: Vec<_> = check.lines.iter().map(|line| !line.line_id.is_empty()).collect();
    assert_eq!(ours, [true, false, true]);
    assert_eq!(check.lines[2].line_id, second.lines[0].line_id);
    assert_eq!(check.lines[0].quantity_milli, 2000);
}

#[tokio::test]
async fn open_checks_are_listed_by_table_and_over_several_pages() {
    let pair = Pair::start().await;
    let here = place(&pair, round("", 1)).await.pos_check_reference;
    for _ in 0..205 {
        place(&pair, order()).await;
    }
    let listed: Vec<_> = checks(&pair, "T4").await.into_iter().map(|check| check.pos_check_reference).collect();
    assert_eq!(listed, [here]);
    assert!(checks(&pair, "T5").await.is_empty());
    assert_eq!(checks(&pair, "").await.len(), 206);
}

#[tokio::test]
async fn a_check_whose_bill_was_asked_for_is_open_but_takes_no_round() {
    let pair = Pair::start().await;
    let reference = place(&pair, round("", 1)).await.pos_check_reference;
    let request = RequestBillRequest {
        context: Some(pair.context.clone()),
        pos_check_reference: reference.clone(),
        ..RequestBillRequest::default()
    };
    match pair.client.clone().request_bill(request).await.unwrap().into_inner().result.unwrap() {
        request_bill_response::Result::Requested(bill) => assert!(bill.check.unwrap().open),
        request_bill_response::Result::Failed(failed) => panic!("{failed:?}"),
    }
    match pair.submit(round(&reference, 2)).await {
        Outcome::Rejected(rejected) => assert_eq!(rejected.cause, cause::CHECK_AWAITING_PAYMENT),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_the_printer_cannot_print_is_rejected_as_such() {
    let pair = Pair::start().await;
    let emoji = PosOrder { note: "happy birthday 🎂".to_owned(), ..order() };
    let long = PosOrder { note: "ラ".repeat(121), ..order() };
    for order in [emoji, long] {
        match pair.submit(order).await {
            Outcome::Rejected(rejected) => assert_eq!(rejected.cause, cause::TEXT_NOT_REPRESENTABLE),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn another_order_under_a_used_reference_is_in_doubt_and_the_first_stays() {
    let pair = Pair::start().await;
    let first = order();
    place(&pair, first.clone()).await;
    let mut other = first.clone();
    other.lines[0].quantity = 3;
    other.expected_total = yen(1140);
    assert!(matches!(pair.submit(other).await, Outcome::InDoubt(_)));
    assert_eq!(pair.made(&first.reference).await, (1, 1));
}

#[tokio::test]
async fn an_order_in_another_currency_is_rejected_before_it_is_sent() {
    let pair = Pair::start().await;
    let mut order = order();
    order.expected_total.as_mut().unwrap().currency_code = "KRW".to_owned();
    match pair.submit(order.clone()).await {
        Outcome::Rejected(rejected) => assert_eq!(rejected.cause, cause::MASTER_MISMATCH),
        other => panic!("{other:?}"),
    }
    assert_eq!(pair.made(&order.reference).await, (0, 0));
}
