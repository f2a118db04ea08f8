//! Our orders and the POS's, compared: what an outage or the staff left different is found, and only what is safe is mended.

use std::collections::BTreeMap;

use posmesh_kit::{cause, failure, time};
use posmesh_order::storage::{CheckChange, OrderChange, Storage as _};
use posmesh_proto::{
    adapter::v1::{ListOrders, PosOrderProgress, PosOrderRecord},
    order::v1::{
        Discrepancy,
        DiscrepancyKind::{self, Different, DuplicateAtPos, ExtraAtPos, MissingAtPos},
        Order, OrderChangeState, OrderState, PlaceOrderRequest,
        ProposedRepair::{self, CancelAtPos, Record, TellPerson},
        ReconcileOrdersRequest, ReconcileOrdersResponse,
    },
};
use tonic::{Code, Status};

use crate::{
    fakes::{Act, Pos, Replica, beer_to_go, config, record, replica},
    memory,
};

fn listing(lists: ListOrders) -> Pos {
    let pos = Pos::default();
    pos.state.lock().unwrap().lists = lists;
    pos
}

async fn reconcile(replica: &Replica, repair: bool) -> Result<ReconcileOrdersResponse, Status> {
    let request = ReconcileOrdersRequest {
        connection_id: "till".into(),
        from: Some(time::from_unix_ms(time::now_unix_ms() - 3 * 3_600_000)),
        before: None,
        repair,
    };
    Ok(replica.client.clone().reconcile_orders(request).await?.into_inner())
}

fn of(discrepancy: &Discrepancy) -> String {
    let order = discrepancy.order.as_ref().map(|order| order.order_id.clone());
    order.unwrap_or_else(|| discrepancy.record.as_ref().unwrap().reference.clone())
}

type Found = BTreeMap<String, (DiscrepancyKind, ProposedRepair, bool)>;

fn found(report: &ReconcileOrdersResponse) -> Found {
    let entry = |d: &Discrepancy| (of(d), (d.kind(), d.repair(), d.repaired));
    let found: Found = report.discrepancies.iter().map(entry).collect();
    assert_eq!(found.len(), report.discrepancies.len(), "each is told once");
    found
}

/// Six orders, each made different at the POS in its own way.
struct Outage {
    fine: Order,
    deleted: Order,
    twice: Order,
    fewer: Order,
    cancelled: Order,
    ready: Order,
}

/// Makes them, and two more at the POS that are not ours.
async fn make(pos: &Pos, replica: &Replica) -> Outage {
    let mut orders = Vec::new();
    for number in 0..6 {
        orders.push(replica.place(beer_to_go(&format!("r{number}"))).await.unwrap());
    }
    let [fine, deleted, twice, fewer, cancelled, ready] = <[Order; 6]>::try_from(orders).unwrap();
    // Until nobody writes for them any more, their absence proves nothing.
    tokio::time::sleep(config().attempt_timeout + config().lease_margin).await;
    let mut state = pos.state.lock().unwrap();
    let taken = |order: &Order| record(&state.orders[&order.order_id], PosOrderProgress::Accepted);
    let mut less = taken(&fewer);
    less.lines[0].quantity_milli = 0;
    let more = PosOrderRecord { pos_order_reference: "pos-again".into(), ..taken(&twice) };
    let done = PosOrderRecord { progress: PosOrderProgress::Ready.into(), ..taken(&ready) };
    let foreign = |number: &str, reference: &str| PosOrderRecord {
        pos_order_reference: number.into(),
        reference: reference.into(),
        take_time: taken(&fine).take_time,
        ..PosOrderRecord::default()
    };
    state.records = vec![less, more, done, foreign("pos-by-hand", ""), foreign("pos-strange", "strange")];
    state.orders.remove(&deleted.order_id);
    state.cancelled.insert(cancelled.order_id.clone());
    drop(state);
    Outage { fine, deleted, twice, fewer, cancelled, ready }
}

#[tokio::test]
async fn exactly_what_was_made_different_is_found_and_only_what_is_safe_is_mended() {
    for lists in [ListOrders::ByTime, ListOrders::ByBusinessDate] {
        let pos = listing(lists);
        let replica = replica(memory(), &pos, &config());
        let made = make(&pos, &replica).await;
        let submits = pos.submits();
        let expected = |mended| {
            BTreeMap::from([
                (made.deleted.order_id.clone(), (MissingAtPos, TellPerson, false)),
                (made.twice.order_id.clone(), (DuplicateAtPos, TellPerson, false)),
                (made.fewer.order_id.clone(), (Different, TellPerson, false)),
                (made.cancelled.order_id.clone(), (Different, Record, mended)),
                (made.ready.order_id.clone(), (Different, Record, mended)),
                ("strange".to_owned(), (ExtraAtPos, TellPerson, false)),
            ])
        };
        let report = reconcile(&replica, false).await.unwrap();
        assert_eq!(found(&report), expected(false));
        assert_eq!((report.compared, report.others, report.listed()), (6, 1, lists));
        assert_eq!(replica.order(&made.deleted.order_id).await, made.deleted, "looking changes nothing");

        let report = reconcile(&replica, true).await.unwrap();
        assert_eq!(found(&report), expected(true));
        assert_eq!(replica.order(&made.deleted.order_id).await.attention, ["GONE_FROM_POS"]);
        assert_eq!(replica.order(&made.twice.order_id).await.attention, ["DUPLICATE_AT_POS"]);
        assert_eq!(replica.order(&made.fewer.order_id).await.attention, ["LINES_DIFFER"]);
        assert_eq!(replica.order(&made.cancelled.order_id).await.state(), OrderState::Cancelled);
        assert_eq!(replica.order(&made.ready.order_id).await.state(), OrderState::Ready);
        assert_eq!(replica.order(&made.fine.order_id).await, made.fine);
        let again = found(&reconcile(&replica, true).await.unwrap());
        assert!(!again.contains_key(&made.cancelled.order_id) && !again.contains_key(&made.ready.order_id));
        assert_eq!(pos.submits(), submits, "something was sent again");
    }
}

#[tokio::test]
async fn where_a_pos_lists_nothing_each_order_is_asked_for() {
    let pos = listing(ListOrders::None);
    let replica = replica(memory(), &pos, &config());
    let made = make(&pos, &replica).await;
    let report = reconcile(&replica, true).await.unwrap();
    let expected = BTreeMap::from([
        (made.deleted.order_id.clone(), (MissingAtPos, TellPerson, false)),
        (made.cancelled.order_id.clone(), (Different, Record, true)),
    ]);
    assert_eq!((found(&report), report.compared, report.listed()), (expected, 6, ListOrders::None));
    assert_eq!(pos.submits(), 6);
}

#[tokio::test]
async fn what_a_list_does_not_show_is_missing_only_when_the_pos_proves_it() {
    let pos = listing(ListOrders::ByTime);
    let replica = replica(memory(), &pos, &config());
    let made = make(&pos, &replica).await;
    pos.state.lock().unwrap().find_proves_nothing = true;
    assert!(!found(&reconcile(&replica, true).await.unwrap()).contains_key(&made.deleted.order_id));
    pos.state.lock().unwrap().find_proves_nothing = false;
    pos.state.lock().unwrap().repointed = 1;
    assert!(!found(&reconcile(&replica, true).await.unwrap()).contains_key(&made.deleted.order_id));
}

#[tokio::test]
async fn an_order_that_the_guest_was_told_is_not_there_is_taken_back_at_the_pos() {
    let (pos, storage) = (listing(ListOrders::ByTime), memory());
    let replica = replica(storage.clone(), &pos, &config());
    let placed = replica.place(beer_to_go("r1")).await.unwrap();
    let mut order = Order { evidence: Vec::new(), pos_order_references: Vec::new(), place_time: None, ..placed };
    order.version += 1;
    order.set_state(OrderState::Expired);
    let change =
        OrderChange { tenant_id: "default".into(), order: order.clone(), due_in: None, check: CheckChange::default() };
    storage.change_batch(vec![change]).await.remove(0).unwrap();
    let report = reconcile(&replica, true).await.unwrap();
    assert_eq!(found(&report), BTreeMap::from([(order.order_id.clone(), (ExtraAtPos, CancelAtPos, true))]));
    let is_confirmed = |order: &Order| order.changes.iter().any(|c| c.state() == OrderChangeState::Confirmed);
    let taken_back = replica.until_it(&order.order_id, is_confirmed).await;
    assert_eq!(taken_back.changes[0].requested_by, "PLATFORM");
    assert_eq!((taken_back.state(), pos.cancels(), pos.submits()), (OrderState::Expired, 1, 1));
}

#[tokio::test]
async fn after_an_outage_the_orders_are_compared_though_the_replica_that_saw_it_died() {
    let (pos, storage) = (listing(ListOrders::ByTime), memory());
    {
        let mut state = pos.state.lock().unwrap();
        (state.find_broken, state.list_broken) = (true, true);
    }
    pos.script([Act::TakeAndLoseAnswer]);
    let first = replica(storage.clone(), &pos, &config());
    let order = first.place(PlaceOrderRequest { wait: None, ..beer_to_go("r1") }).await.unwrap();
    first.until(&order.order_id, OrderState::InDoubt).await;
    drop(first);
    let second = replica(storage, &pos, &config());
    // Orders still cannot be asked for one by one: what brings the truth is the comparison.
    pos.state.lock().unwrap().list_broken = false;
    let settled = second.until_it(&order.order_id, |order| order.state() == OrderState::Placed).await;
    assert_eq!(settled.evidence[0].connection_id, "till");
    assert_eq!(pos.submits(), 1);
}

#[tokio::test]
async fn a_pos_that_cannot_be_asked_is_told_and_nothing_is_called_missing() {
    let pos = listing(ListOrders::ByTime);
    let replica = replica(memory(), &pos, &config());
    replica.place(beer_to_go("r1")).await.unwrap();
    pos.state.lock().unwrap().list_broken = true;
    let refused = reconcile(&replica, true).await.unwrap_err();
    assert_eq!((refused.code(), failure::reason(&refused).as_str()), (Code::Unavailable, "POS_UNREACHABLE"));
    assert_eq!(failure::metadata(&refused, "cause").as_deref(), Some(cause::NETWORK_DOWN));
    {
        let mut state = pos.state.lock().unwrap();
        (state.lists, state.finds_nothing) = (ListOrders::None, true);
    }
    assert_eq!(failure::reason(&reconcile(&replica, true).await.unwrap_err()), "RECONCILE_NOT_SUPPORTED");
}
