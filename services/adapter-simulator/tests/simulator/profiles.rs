//! Poorer simulators: the descriptor tells what is left, and the adapter does no more.

use std::time::Duration;

use posmesh_adapter_kit::{Adapter as _, http::HttpConfig};
use posmesh_adapter_simulator::{Device, FindProfile, IdempotencyProfile, ListProfile, Profile, Simulator};
use posmesh_kit::cause;
use posmesh_proto::{
    adapter::v1::{
        CapabilitySupport, FindKind, IdempotencyKind, LinkHealth, ListChecksRequest, ListOrders, ListPosOrdersRequest,
        Placed, PollEventsRequest, PosCheckRef, PosOrder, PosTender, ProbeLinkRequest, PullCatalogRequest,
        change_outcome::Outcome, find_order_response::Result as Found, list_checks_response, poll_events_response,
        submit_outcome,
    },
    common::v1::{EvidenceKind, Product},
};
use serde_json::json;

use crate::{
    changes::{cancel, listed, void},
    support::{Pair, order, yen},
};

fn poor() -> Profile {
    Profile { vendor: "simulator-poor".to_owned(), ..Profile::default() }
}

#[tokio::test]
async fn nothing_that_is_left_out_is_advertised_or_done() {
    let profile = Profile {
        find: FindProfile::None,
        idempotency: IdempotencyProfile::None,
        cancel_order: false,
        void_lines: false,
        list_orders: ListProfile::None,
        poll_events: false,
        split_check: false,
        ..poor()
    };
    let descriptor = Simulator::with_profile(&HttpConfig::default(), profile.clone()).unwrap().descriptor();
    assert_eq!(descriptor.vendor, "simulator-poor");
    let unsupported = descriptor.capabilities.iter().filter(|c| c.support() == CapabilitySupport::Unsupported);
    let names: Vec<&str> = unsupported.map(|capability| capability.name.as_str()).collect();
    let expected = ["FIND_ORDER", "CANCEL_ORDER", "VOID_LINES", "LIST_ORDERS", "POLL_EVENTS", "SPLIT_CHECK_EVENLY"];
    assert!(expected.iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(descriptor.find.unwrap().kind(), FindKind::None);
    assert_eq!(descriptor.idempotency.unwrap().kind(), IdempotencyKind::None);
    assert_eq!((descriptor.list_orders(), descriptor.min_poll_interval), (ListOrders::None, None));

    let pair = Pair::with_profile(profile).await;
    let order = order();
    for _ in 0..2 {
        assert!(matches!(pair.submit(order.clone()).await, submit_outcome::Outcome::Placed(_)));
    }
    assert_eq!(pair.made(&order.reference).await, (2, 2), "a second submit makes a second order");
    assert!(matches!(pair.find(&order).await, Found::Failed(f) if f.cause == cause::NOT_SUPPORTED));
    assert!(matches!(cancel(&pair, &order).await, Outcome::Rejected(r) if r.cause == cause::NOT_SUPPORTED));
    assert!(matches!(void(&pair, &order, 1).await, Outcome::Rejected(r) if r.cause == cause::NOT_SUPPORTED));
    let poll = PollEventsRequest { context: Some(pair.context.clone()), ..PollEventsRequest::default() };
    let polled = pair.client.clone().poll_events(poll).await.unwrap().into_inner().result.unwrap();
    assert!(matches!(polled, poll_events_response::Result::Failed(f) if f.cause == cause::NOT_SUPPORTED));
}

#[tokio::test]
async fn a_find_that_proves_nothing_says_so() {
    let pair = Pair::with_profile(Profile { find: FindProfile::NotAuthoritative, ..poor() }).await;
    assert!(matches!(pair.find(&order()).await, Found::NotFound(n) if !n.authoritative));
    assert!(matches!(cancel(&pair, &order()).await, Outcome::NotFound(n) if !n.authoritative));
}

#[tokio::test]
async fn a_replay_is_recognized_within_the_window_alone() {
    let idempotency_window = Duration::from_millis(200);
    let profile = Profile { idempotency: IdempotencyProfile::Window, idempotency_window, ..poor() };
    let descriptor = Simulator::with_profile(&HttpConfig::default(), profile.clone()).unwrap().descriptor();
    let idempotency = descriptor.idempotency.unwrap();
    assert_eq!((idempotency.kind(), idempotency.window.unwrap().nanos), (IdempotencyKind::Window, 200_000_000));
    let pair = Pair::with_profile(profile).await;
    let order = order();
    pair.submit(order.clone()).await;
    pair.submit(order.clone()).await;
    assert_eq!(pair.made(&order.reference).await.0, 1);
    tokio::time::sleep(idempotency_window * 2).await;
    pair.submit(order.clone()).await;
    assert_eq!(pair.made(&order.reference).await.0, 2);
    let Found::Found(placed) = pair.find(&order).await else { panic!() };
    assert_eq!(placed.evidence.iter().filter(|evidence| evidence.reference == "1").count(), 1, "both are told");
}

#[tokio::test]
async fn a_pos_that_lists_by_business_date_is_asked_for_one() {
    let pair = Pair::with_profile(Profile { list_orders: ListProfile::ByBusinessDate, ..poor() }).await;
    let order = order();
    pair.submit(order.clone()).await;
    let status = pair.pos(reqwest::Method::GET, "/api/status", json!(null)).await;
    let business_date = status["business_date"].as_str().unwrap().to_owned();
    let context = Some(pair.context.clone());
    let request = ListPosOrdersRequest { context, business_date, ..ListPosOrdersRequest::default() };
    let records = listed(&pair, request.clone()).await;
    assert_eq!(records.iter().map(|r| r.reference.as_str()).collect::<Vec<_>>(), [order.reference.as_str()]);
    let none = ListPosOrdersRequest { business_date: String::new(), ..request };
    let status = pair.client.clone().list_pos_orders(none).await.unwrap_err();
    assert_eq!(posmesh_kit::failure::reason(&status), "LIST_RANGE_INVALID");
}

#[tokio::test]
async fn what_is_applied_late_keeps_within_the_delay_that_is_promised() {
    let max_apply_delay = Duration::from_secs(5);
    let pair = Pair::with_profile(Profile { max_apply_delay, ..poor() }).await;
    pair.fault(json!({"kind": "record_late", "delay_ms": 400, "times": 1})).await;
    let order = order();
    let outcome = pair.submit_within(order.clone(), Duration::from_millis(200)).await;
    assert!(matches!(outcome, submit_outcome::Outcome::InDoubt(_)));
    assert!(!pair.has(&order).await);
    let begun = std::time::Instant::now();
    while !pair.has(&order).await {
        assert!(begun.elapsed() < max_apply_delay, "it was taken after not_after, and late at all");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_poorer_simulator_does_not_go_by_the_name_of_the_rich_one() {
    let nameless = Profile { cancel_order: false, ..Profile::default() };
    let error = Simulator::with_profile(&HttpConfig::default(), nameless).unwrap_err();
    assert!(error.to_string().contains("adapter.vendor"), "{error}");
    let limited = Profile { max_calls_per_second: 5.0, ..Profile::default() };
    assert!(Simulator::with_profile(&HttpConfig::default(), limited).is_ok(), "limits do not change what it can do");
}

fn kinds(placed: &Placed) -> Vec<EvidenceKind> {
    placed.evidence.iter().map(|evidence| evidence.kind()).collect()
}

fn supports(profile: Profile, capability: &str) -> CapabilitySupport {
    let descriptor = Simulator::with_profile(&HttpConfig::default(), profile).unwrap().descriptor();
    descriptor.capabilities.iter().find(|known| known.name == capability).unwrap().support()
}

#[tokio::test]
async fn an_order_without_a_ticket_brings_the_poss_word_alone_and_no_slip() {
    assert_eq!(supports(Profile::default(), "SUBMIT_WITHOUT_TICKET"), CapabilitySupport::Native);
    let pair = Pair::start().await;
    let silent = PosOrder { without_ticket: true, ..order() };
    let submit_outcome::Outcome::Placed(placed) = pair.submit(silent.clone()).await else { panic!() };
    assert_eq!((kinds(&placed), placed.total.clone()), (vec![EvidenceKind::Pos], yen(760)));
    let Found::Found(found) = pair.find(&silent).await else { panic!() };
    assert_eq!(kinds(&found), [EvidenceKind::Pos]);
    let again = pair.submit(PosOrder { without_ticket: false, ..silent.clone() }).await;
    assert!(matches!(again, submit_outcome::Outcome::Placed(again) if kinds(&again) == [EvidenceKind::Pos]));
    assert_eq!(pair.made(&silent.reference).await, (1, 0));
}

#[tokio::test]
async fn where_a_ticket_cannot_be_left_out_nothing_is_sent() {
    let poorer = Profile { submit_without_ticket: false, ..poor() };
    for profile in [poorer, Profile { device: Device::Printer, ..poor() }] {
        assert_eq!(supports(profile.clone(), "SUBMIT_WITHOUT_TICKET"), CapabilitySupport::Unsupported);
        let pair = Pair::with_profile(profile).await;
        let silent = PosOrder { without_ticket: true, ..order() };
        let outcome = pair.submit(silent.clone()).await;
        assert!(matches!(outcome, submit_outcome::Outcome::Rejected(r) if r.cause == cause::NOT_SUPPORTED));
        assert_eq!(pair.made(&silent.reference).await, (0, 0));
    }
}

fn printer() -> Profile {
    Profile { vendor: "simulator-printer".to_owned(), device: Device::Printer, ..Profile::default() }
}

#[tokio::test]
async fn a_printer_proves_its_slip_and_knows_neither_checks_nor_prices_nor_a_menu() {
    let descriptor = Simulator::with_profile(&HttpConfig::default(), printer()).unwrap().descriptor();
    assert_eq!(descriptor.evidence, [i32::from(EvidenceKind::Printed)]);
    let pair = Pair::with_profile(printer()).await;
    let check = PosCheckRef {
        table_id: "T4".to_owned(),
        // The POS's; no such check is on a printer.
        pos_check_reference: "77".to_owned(),
        round: 2,
        ..PosCheckRef::default()
    };
    let tender = PosTender { amount: yen(1), ..PosTender::default() };
    let round = PosOrder {
        product: Product::Table.into(),
        check: Some(check),
        note: "no wasabi".to_owned(),
        expected_total: yen(1),
        tenders: vec![tender],
        ..order()
    };
    let submit_outcome::Outcome::Placed(placed) = pair.submit(round.clone()).await else { panic!() };
    assert_eq!(kinds(&placed), [EvidenceKind::Printed]);
    assert_eq!((placed.total, placed.pos_check_reference.as_str()), (None, ""));
    let tickets = pair.pos(reqwest::Method::GET, "/api/tickets", json!(null)).await;
    let slip = tickets["tickets"][0]["text"].as_str().unwrap();
    assert!(slip.contains("T4 / no wasabi"), "{slip}");
    assert_eq!(pair.made(&round.reference).await, (1, 1));

    let context = Some(pair.context.clone());
    let list = ListChecksRequest { context: context.clone(), ..ListChecksRequest::default() };
    let checks = pair.client.clone().list_checks(list).await.unwrap().into_inner().result.unwrap();
    assert!(matches!(checks, list_checks_response::Result::Failed(f) if f.cause == cause::NOT_SUPPORTED));
    let mut menu =
        pair.client.clone().pull_catalog(PullCatalogRequest { context, ..Default::default() }).await.unwrap();
    let piece = menu.get_mut().message().await.unwrap().unwrap().piece.unwrap();
    assert!(format!("{piece:?}").contains(cause::NOT_SUPPORTED), "{piece:?}");
}

#[tokio::test]
async fn a_slip_that_a_printer_has_not_printed_is_in_doubt_until_it_is_on_paper() {
    let pair = Pair::with_profile(printer()).await;
    pair.fault(json!({"kind": "out_of_paper"})).await;
    let probe = ProbeLinkRequest { context: Some(pair.context.clone()), ..ProbeLinkRequest::default() };
    let link = pair.client.clone().probe_link(probe).await.unwrap().into_inner();
    assert_eq!((link.health(), link.cause.as_str()), (LinkHealth::Offline, cause::PRINTER_OUT_OF_PAPER));
    let order = order();
    assert!(matches!(pair.submit(order.clone()).await, submit_outcome::Outcome::InDoubt(_)));
    assert!(matches!(pair.find(&order).await, Found::Failed(f) if f.cause == cause::PRINTER_OFFLINE));
    pair.mend().await;
    let Found::Found(found) = pair.find(&order).await else { panic!() };
    assert_eq!(kinds(&found), [EvidenceKind::Printed]);
    assert_eq!(pair.made(&order.reference).await.0, 1);
}
