//! Differences made on purpose while the link is cut: the operator's program finds exactly these, and the mesh finds them by
//! itself.

use std::collections::BTreeMap;

use posmesh_e2e::{Said, Shape, Shop, eventually, line};
use posmesh_kit::time;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{
        AttemptOutcome, CancelOrderRequest, DiscrepancyKind, Order, OrderChangeState, OrderState,
        ReconcileOrdersRequest, cancel_order_request::Key,
    },
};
use serde_json::json;

use crate::orders::is_truly_placed;

posmesh_e2e::on_both_shapes!(
    by_a_list_of_times_exactly_what_was_made_is_found,
    by_lists_of_business_days_exactly_what_was_made_is_found,
    by_asking_for_each_order_exactly_what_was_made_is_found,
    what_an_outage_left_different_is_found_without_anybody_asking,
);

const PERSON: &str = "a person must look";
const UNKNOWN_REFERENCE: &str = "01990000-0000-7000-8000-000000000000";

async fn by_a_list_of_times_exactly_what_was_made_is_found(shape: Shape) {
    exactly_what_was_made_is_found(shape, "by_time", "listed by time").await;
}

async fn by_lists_of_business_days_exactly_what_was_made_is_found(shape: Shape) {
    exactly_what_was_made_is_found(shape, "by_business_date", "listed by business date").await;
}

async fn by_asking_for_each_order_exactly_what_was_made_is_found(shape: Shape) {
    exactly_what_was_made_is_found(shape, "none", "asked one by one").await;
}

/// What was made with seven orders, each in its own way.
struct Made {
    fine: Order,
    lost: Order,
    fewer: Order,
    cancelled: Order,
    ready: Order,
    twice: Order,
    late: Order,
}

impl Made {
    fn all(&self) -> [&Order; 7] {
        [&self.fine, &self.lost, &self.fewer, &self.cancelled, &self.ready, &self.twice, &self.late]
    }
}

/// Orders that the POS has, and one that got lost on the way and was cancelled, as it provably never came there.
async fn ordered(shop: &Shop) -> Made {
    let lines = [line("yaki_onigiri", 3)];
    shop.pos.fault(json!({ "kind": "drop_before_record", "times": 1 })).await;
    let late = shop.place(0, shop.request(Product::Kiosk, &lines).await).await.unwrap();
    let key = Some(Key::OrderId(late.order_id.clone()));
    shop.orders(0).cancel_order(CancelOrderRequest { key, ..CancelOrderRequest::default() }).await.unwrap();
    let mut orders = Vec::new();
    for at in 0..6 {
        orders.push(shop.placed(at % 2, shop.request(Product::Kiosk, &lines).await).await);
    }
    let late = shop.ends_up(0, &late.order_id, OrderState::Cancelled).await;
    was_compared_by_itself(shop).await;
    let [fine, lost, fewer, cancelled, ready, twice] = <[Order; 6]>::try_from(orders).unwrap();
    Made { fine, lost, fewer, cancelled, ready, twice, late }
}

/// The comparison after a failure is over; nothing but the operator's program compares anything after that.
async fn was_compared_by_itself(shop: &Shop) {
    let told = format!("were compared connection.id={}-pos is_final=true", shop.store_id);
    let compared = async || shop.mesh.processes().iter().any(|process| process.has_logged(&told)).then_some(());
    eventually("the mesh compares by itself", compared).await;
}

/// What the staff, and requests that were long on their way, do to them at the POS.
async fn disturb(shop: &Shop, made: &Made) {
    let staff = async |order: &Order, mut action: serde_json::Value| {
        action["reference"] = order.order_id.clone().into();
        shop.pos.staff(action).await;
    };
    staff(&made.lost, json!({ "action": "lose_order" })).await;
    let one_less = json!([{ "reference": made.fewer.lines[0].line_id, "quantity_voided": 1 }]);
    staff(&made.fewer, json!({ "action": "void_lines", "lines": one_less })).await;
    staff(&made.cancelled, json!({ "action": "cancel_order" })).await;
    staff(&made.ready, json!({ "action": "progress", "to": "ready" })).await;
    let mut request = shop.pos.recorded(&made.twice.order_id).await.remove(0)["request"].take();
    shop.pos.receive(request.clone()).await;
    request["reference"] = UNKNOWN_REFERENCE.into();
    shop.pos.receive(request.clone()).await;
    request["reference"] = made.late.order_id.clone().into();
    request["display_number"] = made.late.display_number.clone().into();
    request["lines"][0]["reference"] = made.late.lines[0].line_id.clone().into();
    shop.pos.receive(request).await;
}

async fn exactly_what_was_made_is_found(shape: Shape, list_orders: &str, how: &str) {
    let shop = Shop::open_with_profile(shape, &[("poll_events", "false"), ("list_orders", list_orders)]).await;
    let lists = list_orders != "none";
    let made = ordered(&shop).await;
    assert_eq!(reconcile(&shop, &[]).await.code, 0, "nothing was made yet");

    shop.gate().shut().await;
    disturb(&shop, &made).await;
    let recorded = shop.pos.orders().await.len();
    let said = reconcile(&shop, &[]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.out.contains("not compared") && said.out.contains("POS_UNREACHABLE"), "{said:?}");
    shop.gate().forward().await;
    absence_proves(&shop, &made.lost).await;

    let said = reconcile(&shop, &[]).await;
    let expected = |repaired: bool| {
        let done = |unless: &'static str, then: &'static str| if repaired { then } else { unless };
        let ours = [
            (&made.lost, "MISSING_AT_POS", PERSON),
            (&made.fewer, "DIFFERENT", PERSON),
            (&made.cancelled, "DIFFERENT", done("--repair notes it", "noted")),
            (&made.ready, "DIFFERENT", done("--repair notes it", "noted")),
            (&made.twice, "DUPLICATE_AT_POS", PERSON),
            (
                &made.late,
                "EXTRA_AT_POS",
                done("--repair asks the POS to take it back", "the POS is asked to take it back"),
            ),
        ];
        let ours = ours.into_iter().map(|(order, what, done)| (order.display_number.clone(), what, done));
        found(ours.chain(lists.then(|| ("-".to_owned(), "EXTRA_AT_POS", PERSON))))
    };
    assert_eq!((said.code, rows(&said)), (1, expected(false)), "{said:?}");
    assert!(said.out.contains(how) && said.out.contains("7 of ours compared"), "{said:?}");
    assert_eq!(lists, said.out.contains(UNKNOWN_REFERENCE));
    for order in made.all() {
        assert_eq!(shop.order(1, &order.order_id).await.unwrap(), *order, "looking changes nothing");
    }

    let said = reconcile(&shop, &["--repair"]).await;
    assert_eq!((said.code, rows(&said)), (1, expected(true)), "{said:?}");
    is_repaired(&shop, &made, lists).await;

    let said = reconcile(&shop, &["--repair"]).await;
    let lost = (&made.lost, "MISSING_AT_POS");
    let left = match lists {
        true => vec![lost, (&made.fewer, "DIFFERENT"), (&made.twice, "DUPLICATE_AT_POS")],
        // Asked for by itself, an order shows neither its lines nor a copy that is known: the person was told of both.
        false => vec![lost],
    };
    let left = left.into_iter().map(|(order, what)| (order.display_number.clone(), what, PERSON));
    let left = found(left.chain(lists.then(|| ("-".to_owned(), "EXTRA_AT_POS", PERSON))));
    assert_eq!((said.code, rows(&said)), (1, left), "only what needs a person is left: {said:?}");
    assert_eq!(shop.pos.orders().await.len(), recorded, "something was sent again");
}

async fn is_repaired(shop: &Shop, made: &Made, lists: bool) {
    let now = async |order: &Order| shop.order(1, &order.order_id).await.unwrap();
    assert_eq!(now(&made.cancelled).await.state(), OrderState::Cancelled);
    assert_eq!(now(&made.ready).await.state(), OrderState::Ready);
    assert_eq!(now(&made.lost).await.attention, ["GONE_FROM_POS"]);
    assert_eq!(now(&made.twice).await.attention, ["DUPLICATE_AT_POS"]);
    // Asked for by itself, an order shows its total and no lines.
    let differs = if lists { "LINES_DIFFER" } else { "TOTAL_DIFFERS" };
    assert!(now(&made.fewer).await.attention.contains(&differs.to_owned()));
    assert_eq!(now(&made.fine).await, made.fine);
    let confirmed = async || {
        let order = now(&made.late).await;
        let last = order.changes.last().is_some_and(|change| change.state() == OrderChangeState::Confirmed);
        (order.changes.len() == 2 && last).then_some(())
    };
    eventually("the POS takes back what the guest was told is cancelled", confirmed).await;
    for order in made.all() {
        let submits = now(order).await.attempts.iter().filter(|attempt| attempt.change_id.is_empty()).count();
        assert_eq!(submits, 1, "never sent again");
    }
}

/// An order that is cancelled and one that is lost while the link is cut, noticed because another one cannot be sent.
async fn what_an_outage_left_different_is_found_without_anybody_asking(shape: Shape) {
    let shop = Shop::open_with_profile(shape, &[("poll_events", "false")]).await;
    let lines = [line("ramune", 1)];
    let cancelled = shop.placed(0, shop.request(Product::Kiosk, &lines).await).await;
    let lost = shop.placed(1, shop.request(Product::Kiosk, &lines).await).await;
    let request = shop.request(Product::Kiosk, &lines).await;
    shop.gate().shut().await;
    shop.pos.staff(json!({ "action": "cancel_order", "reference": cancelled.order_id })).await;
    shop.pos.staff(json!({ "action": "lose_order", "reference": lost.order_id })).await;
    let waits = shop.place(0, request).await.unwrap();
    let tried = async || {
        let first = shop.order(1, &waits.order_id).await.unwrap().attempts.first()?.outcome();
        (first == AttemptOutcome::NotHandedOver).then_some(())
    };
    eventually("it is tried in vain", tried).await;
    shop.gate().forward().await;

    let sent = shop.ends_up(1, &waits.order_id, OrderState::Placed).await;
    is_truly_placed(&shop, &sent).await;
    shop.ends_up(0, &cancelled.order_id, OrderState::Cancelled).await;
    let told = async || (shop.order(1, &lost.order_id).await.unwrap().attention == ["GONE_FROM_POS"]).then_some(());
    eventually("a person is told of the lost one", told).await;
    let said = shop.mesh.posmesh(&["attention", "--store", &shop.store_id]).await.unwrap();
    assert!(said.code == 0 && said.out.contains(&lost.order_id), "{said:?}");
    assert!(!said.out.contains(&cancelled.order_id) && !said.out.contains(&waits.order_id), "{said:?}");
    let said = reconcile(&shop, &["--repair"]).await;
    assert_eq!((said.code, rows(&said)), (1, found([(lost.display_number, "MISSING_AT_POS", PERSON)])), "{said:?}");
}

async fn reconcile(shop: &Shop, further: &[&str]) -> Said {
    let arguments = [&["reconcile", "--store", &shop.store_id, "--from", "1h"], further].concat();
    shop.mesh.posmesh(&arguments).await.unwrap()
}

/// Until nobody can write for it any more, that the POS does not show an order proves nothing.
async fn absence_proves(shop: &Shop, lost: &Order) {
    let request = ReconcileOrdersRequest {
        connection_id: format!("{}-pos", shop.store_id),
        from: Some(time::from_unix_ms(time::now_unix_ms() - 3_600_000)),
        ..ReconcileOrdersRequest::default()
    };
    let proven = async || {
        let report = shop.orders(0).reconcile_orders(request.clone()).await.ok()?.into_inner();
        let missing = report.discrepancies.into_iter().find(|found| found.kind() == DiscrepancyKind::MissingAtPos)?;
        (missing.order?.order_id == lost.order_id).then_some(())
    };
    eventually("the absence of the lost order proves something", proven).await;
}

/// Number, what, and what is done about it; with how often.
type Found = BTreeMap<(String, String, String), usize>;

fn found<'a>(rows: impl IntoIterator<Item = (String, &'a str, &'a str)>) -> Found {
    let mut found = Found::new();
    for (number, what, done) in rows {
        *found.entry((number, what.to_owned(), done.to_owned())).or_default() += 1;
    }
    found
}

/// The rows of the table that the program printed.
fn rows(said: &Said) -> Found {
    let row = |line: &str| {
        let mut cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned);
        let row = (cells.next()?, cells.next()?, cells.next()?);
        ["MISSING_AT_POS", "EXTRA_AT_POS", "DIFFERENT", "DUPLICATE_AT_POS"].contains(&row.1.as_str()).then_some(row)
    };
    let rows: Vec<_> = said.out.lines().filter_map(row).collect();
    found(rows.iter().map(|(number, what, done)| (number.clone(), what.as_str(), done.as_str())))
}
