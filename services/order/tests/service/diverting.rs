//! A fallback beside the POS: what never went out is printed for the kitchen while the POS is away, once, and the POS is
//! told of it afterwards.

use std::{sync::Arc, time::Duration};

use posmesh_kit::failure;
use posmesh_order::storage::Storage;
use posmesh_proto::{
    adapter::v1::{NotHandedOver, PosEvent, PosOrderProgress, Rejected, submit_outcome::Outcome},
    common::v1::{EvidenceKind, Product},
    order::v1::{
        AttemptKind, AttemptOutcome, EventResult, GateReason, GateState, HoldReason, Order, OrderState,
        PlaceOrderRequest, PosEntry, ResolutionKind, VoidLinesRequest,
    },
    router::v1::LinkState,
    store::v1::{GateAction, GatePolicy, ProductPolicy},
};
use tokio::sync::Notify;
use tonic::Code;

use crate::{
    fakes::{Act, ChangeAct, PRINTER, Pos, Replica, beer_to_go, config, replica},
    gates::{closed_for, kiosk_beer, refusal, replica_on},
    memory, round,
};

pub(crate) fn now(request: PlaceOrderRequest) -> PlaceOrderRequest {
    PlaceOrderRequest { wait: None, ..request }
}

/// A store with a kitchen printer beside its POS, which is away.
async fn away(storage: Arc<dyn Storage>) -> (Pos, Replica) {
    let pos = Pos::with_printer();
    pos.link(LinkState::Offline, 0);
    let replica = replica_on(storage, &pos, GateState::Diverted).await;
    (pos, replica)
}

pub(crate) fn kinds(order: &Order) -> Vec<(AttemptKind, AttemptOutcome)> {
    order.attempts.iter().map(|attempt| (attempt.kind(), attempt.outcome())).collect()
}

fn is_on_list(order: &Order) -> bool {
    order.attention == ["POS_ENTRY_DUE"]
}

pub(crate) fn not_handed_over() -> Act {
    let cause = "NETWORK_DOWN".into();
    Act::Answer(Outcome::NotHandedOver(NotHandedOver { cause, ..NotHandedOver::default() }))
}

#[tokio::test]
async fn while_the_pos_is_away_an_order_is_printed_once_and_the_staff_are_told_to_enter_it() {
    let (pos, replica) = away(memory()).await;
    let gate = replica.gate(Product::Kiosk).await;
    assert_eq!(
        (gate.state(), gate.reason(), gate.cause.as_str()),
        (GateState::Diverted, GateReason::LinkOffline, "POS_APP_NOT_RUNNING")
    );
    let order = replica.place(kiosk_beer("r1")).await.unwrap();
    assert_eq!((order.state(), order.display_number.as_str()), (OrderState::Placed, "P1"));
    assert_eq!((order.evidence[0].kind(), order.evidence[0].connection_id.as_str()), (EvidenceKind::Printed, PRINTER));
    assert_eq!(kinds(&order), [(AttemptKind::Divert, AttemptOutcome::Placed)]);
    assert!(order.pos_order_references.is_empty(), "the printer's number is none of the POS's");
    let listed = replica.until_it(&order.order_id, is_on_list).await;
    assert_eq!((listed.state(), listed.pos_entry()), (OrderState::Placed, PosEntry::Due));
    assert_eq!((pos.submits(), pos.printer().submits()), (0, 1));
}

#[tokio::test]
async fn what_the_staff_entered_is_off_their_list_and_only_they_take_it_back() {
    let (pos, replica) = away(memory()).await;
    let order = replica.place(kiosk_beer("r1")).await.unwrap();
    replica.until_it(&order.order_id, is_on_list).await;
    let refused = replica.resolve(&order.order_id, ResolutionKind::NotAtPos).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "NOT_IN_DOUBT", "the meal is eaten, whatever is at the POS");
    let entered = replica.resolve(&order.order_id, ResolutionKind::EnteredByStaff).await.unwrap();
    assert_eq!((entered.state(), entered.pos_entry()), (OrderState::Placed, PosEntry::ByStaff));
    assert!(entered.attention.is_empty());
    assert_eq!(entered.evidence.last().unwrap().kind(), EvidenceKind::Staff);
    let refused = replica.cancel(&order.order_id).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "CANCEL_NOT_SUPPORTED");
    pos.link(LinkState::Online, 3);
    replica.until_gate(Product::Kiosk, GateState::Open).await;
    assert_eq!(replica.place(kiosk_beer("r2")).await.unwrap().pos_entry(), PosEntry::Unspecified);
    assert_eq!((pos.submits(), pos.printer().submits()), (1, 1));
}

#[tokio::test]
async fn who_has_seen_an_order_on_the_list_is_not_told_again_and_it_is_still_to_be_entered() {
    let (_pos, replica) = away(memory()).await;
    let order = replica.place(kiosk_beer("r1")).await.unwrap();
    replica.until_it(&order.order_id, is_on_list).await;
    let seen = replica.resolve(&order.order_id, ResolutionKind::Seen).await.unwrap();
    assert_eq!((seen.attention.len(), seen.pos_entry()), (0, PosEntry::Due));
    let entered = replica.resolve(&order.order_id, ResolutionKind::AtPos).await.unwrap();
    assert_eq!(entered.pos_entry(), PosEntry::ByStaff);
}

#[tokio::test]
async fn without_a_fallback_that_works_a_store_does_what_it_does_without_one() {
    let pos = Pos::with_printer();
    pos.link(LinkState::Offline, 0);
    pos.link_to(PRINTER, LinkState::Offline, 0);
    let replica = replica_on(memory(), &pos, GateState::Closed).await;
    assert_eq!(refusal(&replica.place(kiosk_beer("r1")).await.unwrap_err()), closed_for("LINK_OFFLINE"));
    assert_eq!(replica.place(beer_to_go("r2")).await.unwrap().hold_reason(), HoldReason::Link);
    // What prints cannot say that a POS has it.
    let needs_pos = Pos::with_printer();
    let fallback_evidence = vec![EvidenceKind::Pos.into()];
    needs_pos.state.lock().unwrap().togo = ProductPolicy { fallback_evidence, ..ProductPolicy::default() };
    needs_pos.link(LinkState::Offline, 0);
    let replica = replica_on(memory(), &needs_pos, GateState::Diverted).await;
    assert_eq!(replica.gate(Product::ToGo).await.state(), GateState::Hold);
    // The store wants its orders held.
    let holds = Pos::with_printer();
    let gate = Some(GatePolicy { when_offline: GateAction::Hold.into(), ..GatePolicy::default() });
    holds.state.lock().unwrap().togo = ProductPolicy { gate, ..ProductPolicy::default() };
    holds.link(LinkState::Offline, 0);
    let replica = replica_on(memory(), &holds, GateState::Diverted).await;
    assert_eq!(replica.place(beer_to_go("r1")).await.unwrap().hold_reason(), HoldReason::Link);
    assert_eq!(holds.printer().submits(), 0);
}

#[tokio::test]
async fn what_was_tried_in_vain_is_printed_once_the_pos_is_known_to_be_away() {
    let pos = Pos::with_printer();
    let replica = replica(memory(), &pos, &config());
    pos.script((0..1000).map(|_| not_handed_over()));
    let order = replica.place(now(kiosk_beer("r1"))).await.unwrap();
    replica.until_it(&order.order_id, |order| order.attempts.len() > 2).await;
    assert_eq!(pos.printer().submits(), 0);
    pos.link(LinkState::Offline, 0);
    let printed = replica.until(&order.order_id, OrderState::Placed).await;
    assert_eq!(printed.pos_entry(), PosEntry::Due);
    assert_eq!((pos.orders(), pos.printer().submits()), (0, 1));
}

#[tokio::test]
async fn an_order_in_doubt_at_the_pos_is_never_printed_until_its_absence_is_proven() {
    let pos = Pos::with_printer();
    let replica = replica(memory(), &pos, &config());
    pos.script([Act::Lose]);
    pos.state.lock().unwrap().find_broken = true;
    let order = replica.place(now(kiosk_beer("r1"))).await.unwrap();
    pos.link(LinkState::Offline, 0);
    replica.until_gate(Product::Kiosk, GateState::Diverted).await;
    replica.until(&order.order_id, OrderState::InDoubt).await;
    let asked = || pos.state.lock().unwrap().finds;
    let enough = asked() + 5;
    while asked() < enough {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((pos.submits(), pos.printer().submits()), (1, 0));
    pos.state.lock().unwrap().find_broken = false;
    let printed = replica.until(&order.order_id, OrderState::Placed).await;
    assert_eq!(
        kinds(&printed),
        [(AttemptKind::Submit, AttemptOutcome::Absent), (AttemptKind::Divert, AttemptOutcome::Placed)]
    );
    assert_eq!((pos.submits(), pos.printer().submits()), (1, 1));
}

#[tokio::test]
async fn a_ticket_whose_answer_was_lost_is_asked_for_and_the_order_goes_nowhere_else() {
    let (pos, replica) = away(memory()).await;
    pos.printer().state.lock().unwrap().find_broken = true;
    pos.printer().script([Act::TakeAndLoseAnswer]);
    let order = replica.place(now(kiosk_beer("r1"))).await.unwrap();
    replica.until(&order.order_id, OrderState::InDoubt).await;
    pos.link(LinkState::Online, 5);
    let asked = || pos.printer().state.lock().unwrap().finds;
    let enough = asked() + 5;
    while asked() < enough {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(pos.submits(), 0, "one ticket: it may be printed");
    pos.printer().state.lock().unwrap().find_broken = false;
    let printed = replica.until(&order.order_id, OrderState::Placed).await;
    assert_eq!(printed.pos_entry(), PosEntry::Due);
    assert_eq!((pos.submits(), pos.printer().submits()), (0, 1));
}

#[tokio::test]
async fn what_the_printer_provably_did_not_print_goes_to_the_pos_as_ever_when_that_is_back() {
    let (pos, replica) = away(memory()).await;
    pos.printer().state.lock().unwrap().find_broken = true;
    pos.printer().script([Act::Lose]);
    let order = replica.place(now(kiosk_beer("r1"))).await.unwrap();
    let doubtful = replica.until(&order.order_id, OrderState::InDoubt).await;
    assert_eq!(doubtful.pos_entry(), PosEntry::NotDue);
    pos.link(LinkState::Online, 5);
    replica.until_gate(Product::Kiosk, GateState::Open).await;
    pos.printer().state.lock().unwrap().find_broken = false;
    let placed = replica.until(&order.order_id, OrderState::Placed).await;
    assert_eq!(
        kinds(&placed),
        [(AttemptKind::Divert, AttemptOutcome::Absent), (AttemptKind::Submit, AttemptOutcome::Placed)]
    );
    assert_eq!(placed.pos_entry(), PosEntry::Unspecified, "it came to the POS by itself");
    assert_eq!(placed.display_number, "K1");
    assert_eq!((pos.submits(), pos.printer().orders()), (1, 0));
}

#[tokio::test]
async fn what_the_printer_refuses_waits_for_the_pos_until_its_deadline() {
    let (pos, replica) = away(memory()).await;
    let no = Rejected { cause: "TEXT_NOT_REPRESENTABLE".into(), ..Rejected::default() };
    pos.printer().script([Act::Answer(Outcome::Rejected(no))]);
    let order = replica.place(now(kiosk_beer("r1"))).await.unwrap();
    replica.until_it(&order.order_id, |order| order.state() == OrderState::Pending).await;
    assert_eq!((pos.submits(), pos.printer().submits()), (0, 1));
    pos.link(LinkState::Online, 1);
    assert_eq!(replica.until(&order.order_id, OrderState::Placed).await.pos_entry(), PosEntry::Unspecified);
}

#[tokio::test]
async fn what_is_held_while_both_are_away_is_printed_when_the_printer_is_back() {
    let pos = Pos::with_printer();
    pos.link(LinkState::Offline, 0);
    pos.link_to(PRINTER, LinkState::Offline, 0);
    let replica = replica_on(memory(), &pos, GateState::Closed).await;
    let held = replica.place(beer_to_go("r1")).await.unwrap();
    assert_eq!((held.state(), held.hold_reason()), (OrderState::Held, HoldReason::Link));
    pos.link_to(PRINTER, LinkState::Online, 3);
    let printed = replica.until(&held.order_id, OrderState::Placed).await;
    assert_eq!((printed.pos_entry(), pos.submits()), (PosEntry::Due, 0));
}

#[tokio::test]
async fn an_advance_order_whose_time_comes_while_the_pos_is_away_is_printed() {
    let pos = Pos::with_printer();
    pos.link(LinkState::Offline, 0);
    let preparation_time = Some(prost_types::Duration { seconds: 600, nanos: 0 });
    pos.state.lock().unwrap().togo = ProductPolicy { preparation_time, ..ProductPolicy::default() };
    let replica = replica_on(memory(), &pos, GateState::Diverted).await;
    let pickup_time = Some(posmesh_kit::time::from_unix_ms(posmesh_kit::time::now_unix_ms() + 600_500));
    let order = replica.place(PlaceOrderRequest { pickup_time, ..beer_to_go("r1") }).await.unwrap();
    assert_eq!((order.hold_reason(), order.pos_entry()), (HoldReason::FireTime, PosEntry::Unspecified));
    let printed = replica.until(&order.order_id, OrderState::Placed).await;
    assert_eq!((printed.pos_entry(), pos.printer().submits()), (PosEntry::Due, 1));
}

#[tokio::test]
async fn a_pos_on_probation_gets_one_order_and_the_next_is_printed_rather_than_refused() {
    let (pos, replica) = away(memory()).await;
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    pos.link(LinkState::Online, 1);
    replica.until_gate(Product::Kiosk, GateState::Probation).await;
    let first = replica.place(now(kiosk_beer("r1"))).await.unwrap();
    assert_eq!(first.pos_entry(), PosEntry::Unspecified);
    let second = replica.place(kiosk_beer("r2")).await.unwrap();
    assert_eq!((second.state(), second.pos_entry()), (OrderState::Placed, PosEntry::Due));
    pos.submitted.notified().await;
    go.notify_one();
    replica.until(&first.order_id, OrderState::Placed).await;
    replica.until_gate(Product::Kiosk, GateState::Open).await;
    assert_eq!((pos.submits(), pos.printer().submits()), (1, 1));
}

#[tokio::test]
async fn rounds_of_a_check_are_printed_in_order_and_the_check_stays_the_pos_s() {
    let pos = Pos::with_printer();
    let storage = memory();
    let replica = replica(storage.clone(), &pos, &config());
    let (check, _) = replica.dine("t1", "r1").await;
    pos.link(LinkState::Offline, 0);
    replica.until_gate(Product::Table, GateState::Diverted).await;
    let go = Arc::new(Notify::new());
    pos.printer().script([Act::Hang(Arc::clone(&go))]);
    let second = replica.place(now(round(&check.check_id, "r2"))).await.unwrap();
    let third = replica.place(now(round(&check.check_id, "r3"))).await.unwrap();
    assert_eq!((third.state(), third.pos_entry()), (OrderState::Held, PosEntry::Unspecified));
    pos.printer().submitted.notified().await;
    go.notify_one();
    for order in [&second, &third] {
        assert_eq!(replica.until(&order.order_id, OrderState::Placed).await.pos_entry(), PosEntry::Due);
    }
    let printed = pos.printer().state.lock().unwrap().submits.clone();
    let rounds: Vec<i32> = printed.iter().map(|order| order.check.as_ref().unwrap().round).collect();
    assert_eq!(rounds, [2, 3]);
    assert!(printed.iter().all(|order| order.check.as_ref().unwrap().pos_check_reference.is_empty()));
    let stored = crate::checks::stored(&storage, &check.check_id).await;
    assert_eq!((stored.pos_check_reference.as_str(), stored.connection_id.as_str()), ("pos-check-t1", "till"));
    pos.link(LinkState::Online, 5);
    replica.until_gate(Product::Table, GateState::Open).await;
    let fourth = replica.place(round(&check.check_id, "r4")).await.unwrap();
    assert_eq!((fourth.state(), fourth.pos_entry()), (OrderState::Placed, PosEntry::Unspecified));
}

#[tokio::test]
async fn a_printed_order_is_taken_back_where_the_printer_can_and_then_nothing_is_left_to_enter() {
    let (pos, replica) = away(memory()).await;
    let order = replica.place(kiosk_beer("r1")).await.unwrap();
    replica.until_it(&order.order_id, is_on_list).await;
    let cancelled = replica.cancel(&order.order_id).await.unwrap();
    assert_eq!((cancelled.state(), cancelled.pos_entry()), (OrderState::Cancelled, PosEntry::Unspecified));
    assert!(cancelled.attention.is_empty());
    let asked = pos.printer().state.lock().unwrap().cancels.remove(0);
    assert_eq!(asked.order.unwrap().pos_order_references, ["ticket-1"]);
    assert_eq!(pos.cancels(), 0);
}

#[tokio::test]
async fn where_the_printer_cannot_take_back_the_staff_must_be_asked() {
    let (pos, replica) = away(memory()).await;
    pos.printer().state.lock().unwrap().cannot.insert("CANCEL_ORDER".into(), String::new());
    let order = replica.place(kiosk_beer("r1")).await.unwrap();
    let refused = replica.cancel(&order.order_id).await.unwrap_err();
    assert_eq!(
        (refused.code(), failure::reason(&refused).as_str()),
        (Code::FailedPrecondition, "CANCEL_NOT_SUPPORTED")
    );
    assert!(refused.message().contains("fallback") && refused.message().contains("staff"), "{}", refused.message());
    let request = VoidLinesRequest { order_id: order.order_id.clone(), ..VoidLinesRequest::default() };
    let line = posmesh_proto::order::v1::LineVoid { line_id: order.lines[0].line_id.clone(), quantity_voided: 1 };
    let two = replica.place(PlaceOrderRequest {
        lines: vec![crate::fakes::beer(2)],
        expected_total: Some(crate::fakes::yen(2 * crate::fakes::BEER_PRICE)),
        ..kiosk_beer("r2")
    });
    let two = two.await.unwrap();
    let lines = vec![posmesh_proto::order::v1::LineVoid { line_id: two.lines[0].line_id.clone(), ..line }];
    let request = VoidLinesRequest { order_id: two.order_id, lines, ..request };
    let refused = replica.client.clone().void_lines(request).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "VOID_NOT_SUPPORTED");
}

#[tokio::test]
async fn a_wish_while_it_is_printed_is_the_printers_to_decide() {
    let (pos, replica) = away(memory()).await;
    let go = Arc::new(Notify::new());
    pos.printer().script([Act::Hang(Arc::clone(&go))]);
    pos.printer().script_changes([ChangeAct::DoAndLoseAnswer]);
    let order = replica.place(now(kiosk_beer("r1"))).await.unwrap();
    pos.printer().submitted.notified().await;
    replica.cancel_within(&order.order_id, 0).await.unwrap();
    go.notify_one();
    let cancelled = replica.until(&order.order_id, OrderState::Cancelled).await;
    assert_eq!((cancelled.pos_entry(), pos.submits()), (PosEntry::Unspecified, 0));
}

#[tokio::test]
async fn a_ticket_whose_replica_died_is_looked_for_by_another_one_and_listed() {
    let storage = memory();
    let (pos, first) = away(storage.clone()).await;
    let go = Arc::new(Notify::new());
    pos.printer().script([Act::Hang(Arc::clone(&go))]);
    let order = first.place(now(kiosk_beer("r1"))).await.unwrap();
    pos.printer().submitted.notified().await;
    drop(first);
    let second = replica_on(storage, &pos, GateState::Diverted).await;
    go.notify_one();
    let listed = second.until_it(&order.order_id, is_on_list).await;
    assert_eq!((listed.state(), listed.pos_entry()), (OrderState::Placed, PosEntry::Due));
    assert_eq!((pos.submits(), pos.printer().orders()), (0, 1));
}

#[tokio::test]
async fn the_fallback_tells_how_far_an_order_is_and_no_number_of_the_pos() {
    let (_pos, replica) = away(memory()).await;
    let order = replica.place(kiosk_beer("r1")).await.unwrap();
    replica.until_it(&order.order_id, is_on_list).await;
    let event = |connection: &str| PosEvent {
        reference: order.order_id.clone(),
        pos_order_reference: format!("{connection}-7"),
        progress: PosOrderProgress::Ready.into(),
        ..PosEvent::default()
    };
    assert_eq!(replica.report("till", vec![event("till")]).await, [EventResult::OrderNotFound]);
    assert_eq!(replica.report(PRINTER, vec![event(PRINTER)]).await, [EventResult::Applied]);
    let ready = replica.order(&order.order_id).await;
    assert_eq!((ready.state(), ready.pos_entry()), (OrderState::Ready, PosEntry::Due));
    assert!(ready.pos_order_references.is_empty());
}
