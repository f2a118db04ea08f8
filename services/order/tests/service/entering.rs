//! The POS is told of what the kitchen has from the fallback's ticket: once, without a second ticket, in order; and what it
//! does not take is for the staff, never for the guest.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{failure, time};
use posmesh_order::storage::Storage;
use posmesh_proto::{
    adapter::v1::{ListOrders, PosOrder, Rejected, submit_outcome::Outcome},
    common::v1::Product,
    order::v1::{
        AttemptKind as K, AttemptOutcome as O, GateState, HoldReason, Order, OrderState, PosEntry,
        ReconcileOrdersRequest, ResolutionKind,
    },
    router::v1::LinkState,
};
use tokio::sync::Notify;

use crate::{
    diverting::{kinds, not_handed_over, now},
    fakes::{Act, Pos, Replica, beer_to_go, config, replica},
    gates::{kiosk_beer, replica_on},
    memory, round,
};

/// A store with a printer beside its POS, which is away and takes orders without a ticket.
async fn away(storage: Arc<dyn Storage>) -> (Pos, Replica) {
    let pos = Pos::with_printer();
    pos.state.lock().unwrap().takes_entries = true;
    pos.link(LinkState::Offline, 0);
    let replica = replica_on(storage, &pos, GateState::Diverted).await;
    (pos, replica)
}

/// An order that the kitchen has.
async fn printed(replica: &Replica, request_id: &str) -> Order {
    let order = replica.place(kiosk_beer(request_id)).await.unwrap();
    let waits = |order: &Order| order.awaited_connection_id == "till";
    let order = replica.until_it(&order.order_id, waits).await;
    assert_eq!((order.state(), order.pos_entry(), order.attention.len()), (OrderState::Placed, PosEntry::Due, 0));
    order
}

fn is_entered(order: &Order) -> bool {
    order.pos_entry() == PosEntry::Entered
}

fn submits(pos: &Pos) -> Vec<PosOrder> {
    pos.state.lock().unwrap().submits.clone()
}

fn sent(pos: &Pos) -> Vec<String> {
    submits(pos).into_iter().map(|order| order.reference).collect()
}

#[tokio::test]
async fn what_was_printed_is_entered_once_in_order_and_without_a_ticket_when_the_pos_is_back() {
    let storage = memory();
    let (pos, one) = away(storage.clone()).await;
    let two = replica_on(storage, &pos, GateState::Diverted).await;
    let mut orders = Vec::new();
    for (i, replica) in [&one, &two, &one].into_iter().enumerate() {
        orders.push(printed(replica, &format!("r{i}")).await.order_id);
        // Their times are told apart.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(pos.submits(), 0);
    pos.link(LinkState::Online, 1);
    for order_id in &orders {
        let entered = one.until_it(order_id, is_entered).await;
        assert_eq!((entered.state(), entered.display_number.starts_with('P')), (OrderState::Placed, true));
        assert_eq!(entered.pos_order_references, [format!("pos-{order_id}")]);
        assert!(entered.attention.is_empty() && entered.awaited_connection_id.is_empty());
    }
    assert_eq!(sent(&pos), orders);
    assert!(submits(&pos).iter().all(|order| order.without_ticket));
    for replica in [one, two] {
        replica.until_gate(Product::Kiosk, GateState::Open).await;
    }
    assert_eq!(pos.printer().submits(), 3);
}

#[tokio::test]
async fn a_pos_on_probation_is_told_of_one_order_and_opens_when_that_is_there() {
    let (pos, replica) = away(memory()).await;
    let (first, second) = (printed(&replica, "r1").await, printed(&replica, "r2").await);
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    pos.link(LinkState::Online, 1);
    pos.submitted.notified().await;
    // However good its probes are: nobody knows yet whether it takes orders.
    pos.link(LinkState::Online, 5);
    replica.until_gate(Product::Kiosk, GateState::Probation).await;
    let third = replica.place(kiosk_beer("r3")).await.unwrap();
    assert_eq!(third.pos_entry(), PosEntry::Due, "it is printed rather than refused");
    assert_eq!(sent(&pos)[..], *std::slice::from_ref(&first.order_id));
    go.notify_one();
    for order in [first, second, third] {
        replica.until_it(&order.order_id, is_entered).await;
    }
    replica.until_gate(Product::Kiosk, GateState::Open).await;
}

#[tokio::test]
async fn what_the_pos_refuses_late_is_the_staffs_and_the_meal_stays_what_it_is() {
    let (pos, replica) = away(memory()).await;
    let order = printed(&replica, "r1").await;
    let no = Rejected { cause: "ITEM_SOLD_OUT".into(), ..Rejected::default() };
    pos.script([Act::Answer(Outcome::Rejected(no))]);
    pos.link(LinkState::Online, 5);
    let refused = replica.until_it(&order.order_id, |order| !order.attention.is_empty()).await;
    assert_eq!((refused.state(), refused.pos_entry()), (OrderState::Placed, PosEntry::Due));
    assert_eq!(
        (refused.attention.as_slice(), refused.cause.as_str()),
        (["POS_ENTRY_REFUSED".into()].as_slice(), "ITEM_SOLD_OUT")
    );
    replica.resolve(&order.order_id, ResolutionKind::Seen).await.unwrap();
    // Another one is entered meanwhile: this one is not tried again.
    pos.link(LinkState::Offline, 0);
    replica.until_gate(Product::Kiosk, GateState::Diverted).await;
    let other = printed(&replica, "r2").await;
    pos.link(LinkState::Online, 5);
    replica.until_it(&other.order_id, is_entered).await;
    assert_eq!(sent(&pos), [order.order_id.clone(), other.order_id]);
    let entered = replica.resolve(&order.order_id, ResolutionKind::EnteredByStaff).await.unwrap();
    assert_eq!((entered.state(), entered.pos_entry()), (OrderState::Placed, PosEntry::ByStaff));
}

#[tokio::test]
async fn an_entry_that_does_not_come_through_is_tried_again() {
    let (pos, replica) = away(memory()).await;
    let order = printed(&replica, "r1").await;
    pos.script([not_handed_over(), not_handed_over(), Act::Lose]);
    pos.link(LinkState::Online, 5);
    let entered = replica.until_it(&order.order_id, is_entered).await;
    let enter = |outcome| (K::Enter, outcome);
    let tried = [enter(O::NotHandedOver), enter(O::NotHandedOver), enter(O::Absent), enter(O::Placed)];
    assert_eq!(kinds(&entered)[1..], tried);
    assert_eq!(pos.orders(), 1);
}

#[tokio::test]
async fn an_entry_whose_answer_was_lost_is_found_and_not_made_again() {
    let (pos, replica) = away(memory()).await;
    let order = printed(&replica, "r1").await;
    pos.script([Act::TakeAndLoseAnswer]);
    pos.link(LinkState::Online, 5);
    replica.until_it(&order.order_id, is_entered).await;
    assert_eq!((pos.submits(), pos.orders()), (1, 1));
}

#[tokio::test]
async fn an_entry_of_which_nobody_can_know_is_for_a_person_and_never_made_again() {
    let (pos, replica) = away(memory()).await;
    let order = printed(&replica, "r1").await;
    pos.state.lock().unwrap().find_proves_nothing = true;
    pos.script([Act::Lose]);
    pos.link(LinkState::Online, 5);
    let doubtful = replica.until_it(&order.order_id, |order| !order.attention.is_empty()).await;
    assert_eq!((doubtful.state(), doubtful.pos_entry()), (OrderState::Placed, PosEntry::Due));
    assert_eq!(doubtful.attention, ["POS_ENTRY_IN_DOUBT"]);
    let refused = replica.cancel(&order.order_id).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "CHANGE_UNDER_WAY");
    let listed = replica.resolve(&order.order_id, ResolutionKind::NotAtPos).await.unwrap();
    assert_eq!((listed.state(), listed.pos_entry()), (OrderState::Placed, PosEntry::Due));
    assert_eq!(listed.attention, ["POS_ENTRY_DUE"]);
    let entered = replica.resolve(&order.order_id, ResolutionKind::EnteredByStaff).await.unwrap();
    assert_eq!(entered.pos_entry(), PosEntry::ByStaff);
    assert_eq!(pos.submits(), 1);
}

#[tokio::test]
async fn an_entry_in_doubt_that_turns_up_is_off_the_list() {
    let (pos, replica) = away(memory()).await;
    let order = printed(&replica, "r1").await;
    pos.state.lock().unwrap().find_proves_nothing = true;
    pos.script([Act::Lose]);
    pos.link(LinkState::Online, 5);
    replica.until_it(&order.order_id, |order| !order.attention.is_empty()).await;
    let late = submits(&pos).remove(0);
    pos.state.lock().unwrap().orders.insert(late.reference.clone(), late);
    let entered = replica.until_it(&order.order_id, is_entered).await;
    assert!(entered.attention.is_empty());
}

#[tokio::test]
async fn an_entry_whose_replica_died_is_settled_by_another_one() {
    let storage = memory();
    let (pos, first) = away(storage.clone()).await;
    let order = printed(&first, "r1").await;
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    pos.link(LinkState::Online, 5);
    pos.submitted.notified().await;
    drop(first);
    let second = replica(storage, &pos, &config());
    go.notify_one();
    let entered = second.until_it(&order.order_id, is_entered).await;
    assert_eq!(kinds(&entered)[1..], [(K::Enter, O::Placed)]);
    assert_eq!((pos.submits(), pos.orders()), (1, 1));
}

#[tokio::test]
async fn what_waits_for_the_pos_when_its_replica_dies_is_entered_by_another_one() {
    let storage = memory();
    let (pos, first) = away(storage.clone()).await;
    let order = printed(&first, "r1").await;
    drop(first);
    pos.link(LinkState::Online, 1);
    let second = replica(storage, &pos, &config());
    second.until_it(&order.order_id, is_entered).await;
    assert_eq!((pos.submits(), pos.printer().submits()), (1, 1));
}

#[tokio::test]
async fn an_entered_order_is_the_staffs_to_take_back_for_the_kitchen_has_the_printers_ticket() {
    let (pos, replica) = away(memory()).await;
    let order = printed(&replica, "r1").await;
    pos.link(LinkState::Online, 5);
    replica.until_it(&order.order_id, is_entered).await;
    let refused = replica.cancel(&order.order_id).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "CANCEL_NOT_SUPPORTED");
    assert_eq!((pos.cancels(), pos.printer().cancels()), (0, 0));
}

#[tokio::test]
async fn a_round_goes_to_the_pos_only_after_the_printed_ones_before_it_are_entered_on_their_check() {
    let pos = Pos::with_printer();
    pos.state.lock().unwrap().takes_entries = true;
    let storage = memory();
    let replica = replica(storage.clone(), &pos, &config());
    let (check, _) = replica.sit_down("t1").await.unwrap();
    pos.link(LinkState::Offline, 0);
    replica.until_gate(Product::Table, GateState::Diverted).await;
    let mut printed = Vec::new();
    for request_id in ["r1", "r2"] {
        let order = replica.place(round(&check.check_id, request_id)).await.unwrap();
        assert_eq!((order.state(), order.pos_entry()), (OrderState::Placed, PosEntry::Due));
        replica.until_it(&order.order_id, |order| !order.awaited_connection_id.is_empty()).await;
        printed.push(order.order_id);
    }
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    pos.link(LinkState::Online, 1);
    pos.submitted.notified().await;
    // It is the printer's as long as the POS is on probation; this one must go to the POS.
    pos.link_to(crate::fakes::PRINTER, LinkState::Offline, 0);
    go.notify_one();
    replica.until_gate(Product::Table, GateState::Open).await;
    let third = replica.place(now(round(&check.check_id, "r3"))).await.unwrap();
    assert_eq!((third.state(), third.hold_reason()), (OrderState::Held, HoldReason::RoundBefore));
    replica.until(&third.order_id, OrderState::Placed).await;
    let rounds: Vec<(i32, bool)> =
        submits(&pos).iter().map(|order| (order.check.as_ref().unwrap().round, order.without_ticket)).collect();
    assert_eq!(rounds, [(1, true), (2, true), (3, false)]);
    let on_check: Vec<String> =
        submits(&pos)[1..].iter().map(|order| order.check.as_ref().unwrap().pos_check_reference.clone()).collect();
    assert_eq!(on_check, ["pos-check-t1"; 2], "the check that the first one opened");
    let stored = crate::checks::stored(&storage, &check.check_id).await;
    assert_eq!((stored.pos_check_reference.as_str(), stored.connection_id.as_str()), ("pos-check-t1", "till"));
}

#[tokio::test]
async fn what_waits_for_a_pos_whose_connection_is_deleted_is_the_staffs() {
    let (pos, replica) = away(memory()).await;
    let order = printed(&replica, "r1").await;
    pos.state.lock().unwrap().disconnected = true;
    pos.link(LinkState::Online, 1);
    let listed = replica.until_it(&order.order_id, |order| !order.attention.is_empty()).await;
    assert_eq!((listed.attention, listed.state), (vec!["POS_ENTRY_DUE".to_owned()], OrderState::Placed.into()));
    assert_eq!(pos.submits(), 0);
}

#[tokio::test]
async fn a_pos_that_is_compared_misses_nothing_of_what_was_printed_and_shows_what_was_entered() {
    let (pos, replica) = away(memory()).await;
    pos.state.lock().unwrap().lists = ListOrders::ByTime;
    let order = printed(&replica, "r1").await;
    let reconcile = async || {
        let from = Some(time::from_unix_ms(time::now_unix_ms() - 3_600_000));
        let request = ReconcileOrdersRequest { connection_id: "till".into(), from, repair: true, before: None };
        replica.client.clone().reconcile_orders(request).await.unwrap().into_inner().discrepancies
    };
    assert_eq!(reconcile().await, []);
    pos.state.lock().unwrap().find_broken = true;
    pos.script([Act::TakeAndLoseAnswer]);
    pos.link(LinkState::Online, 1);
    let in_doubt = |order: &Order| order.attempts.last().unwrap().outcome() == O::InDoubt;
    replica.until_it(&order.order_id, in_doubt).await;
    let not_after = |order: &Order| order.attempts.last().unwrap().not_after.unwrap();
    tokio::time::sleep(time::until(&not_after(&replica.order(&order.order_id).await))).await;
    assert!(reconcile().await.iter().all(|found| found.repaired));
    assert!(is_entered(&replica.until_it(&order.order_id, is_entered).await));
    assert_eq!(reconcile().await, []);
    assert_eq!((pos.submits(), pos.orders()), (1, 1));
}

#[tokio::test]
async fn held_orders_and_entries_share_the_way_to_a_pos_that_is_back() {
    let (pos, replica) = away(memory()).await;
    let order = printed(&replica, "r1").await;
    pos.link_to(crate::fakes::PRINTER, LinkState::Offline, 0);
    replica.until_gate(Product::ToGo, GateState::Hold).await;
    let held = replica.place(beer_to_go("r2")).await.unwrap();
    assert_eq!(held.hold_reason(), HoldReason::Link);
    pos.link(LinkState::Online, 1);
    replica.until_it(&order.order_id, is_entered).await;
    assert_eq!(replica.until(&held.order_id, OrderState::Placed).await.pos_entry(), PosEntry::Unspecified);
    assert_eq!(sent(&pos), [order.order_id, held.order_id]);
}
