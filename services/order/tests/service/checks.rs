//! Checks with a scripted POS: whatever the staff do with a table, no guest's order goes on another one's bill.

use std::{sync::Arc, time::Duration};

use posmesh_kit::failure;
use posmesh_order::{
    Config,
    storage::{CheckStorage as _, MemoryStorage, OrderFilter, Storage as _},
};
use posmesh_proto::{
    adapter::v1::{RefusedForNow, submit_outcome::Outcome},
    common::v1::Product,
    order::v1::{
        BillLineShare, BillPart, BillSplit, Check, CheckState, CloseCheckRequest, GetCheckRequest, OpenCheckRequest,
        Order, OrderState, PlaceOrderRequest, ReleaseTableRequest, SplitCheckRequest, SplitCheckResponse,
        split_check_request::How,
    },
};
use tokio::sync::Notify;
use tonic::Status;

use crate::fakes::{Act, Pos, Replica, STORE, beer_to_go, config, replica};

const WITHIN: Duration = Duration::from_secs(20);

fn memory() -> Arc<MemoryStorage> {
    Arc::new(MemoryStorage::default())
}

/// Looks after open checks all the time.
pub(crate) fn watchful() -> Config {
    Config { check_interval: Duration::from_millis(40), ..config() }
}

fn round(check: &Check, request_id: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        check_id: check.check_id.clone(),
        product: Product::Table.into(),
        pickup_time: None,
        ..beer_to_go(request_id)
    }
}

fn now(request: PlaceOrderRequest) -> PlaceOrderRequest {
    PlaceOrderRequest { wait: None, ..request }
}

impl Replica {
    pub(crate) async fn sit_down(&self, table_id: &str) -> Result<(Check, bool), Status> {
        let request = OpenCheckRequest { store_id: STORE.into(), table_id: table_id.into(), party_size: 2 };
        let opened = self.client.clone().open_check(request).await?.into_inner();
        Ok((opened.check.unwrap(), opened.joined))
    }

    /// A check with a round at the POS.
    pub(crate) async fn dine(&self, table_id: &str, request_id: &str) -> (Check, Order) {
        let (check, _) = self.sit_down(table_id).await.unwrap();
        let placed = self.place(round(&check, request_id)).await.unwrap();
        assert_eq!(placed.state(), OrderState::Placed);
        (self.read(&check.check_id).await, placed)
    }

    async fn read(&self, check_id: &str) -> Check {
        let request = GetCheckRequest { check_id: check_id.into(), include_bill: true };
        self.client.clone().get_check(request).await.unwrap().into_inner().check.unwrap()
    }

    async fn release(&self, table_id: &str) -> Result<Option<Check>, Status> {
        let request = ReleaseTableRequest { store_id: STORE.into(), table_id: table_id.into() };
        Ok(self.client.clone().release_table(request).await?.into_inner().check)
    }

    async fn split(&self, check: &Check, request_id: &str, how: How) -> Result<SplitCheckResponse, Status> {
        let request =
            SplitCheckRequest { request_id: request_id.into(), check_id: check.check_id.clone(), how: Some(how) };
        Ok(self.client.clone().split_check(request).await?.into_inner())
    }
}

async fn eventually<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WITHIN, asking).await.expect(what)
}

pub(crate) async fn stored(storage: &MemoryStorage, check_id: &str) -> Check {
    storage.check("default", check_id).await.unwrap().unwrap()
}

#[tokio::test]
async fn guests_whom_the_staff_moved_stay_on_their_check_and_newcomers_find_it_at_the_new_table() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (check, _) = replica.dine("t1", "r1").await;
    pos.state.lock().unwrap().move_check("pos-check-t1", "t2");
    let (late, joined) = replica.sit_down("t2").await.unwrap();
    assert!(joined && late.check_id == check.check_id);
    assert_eq!((late.table_id.as_str(), late.former_table_ids.as_slice()), ("t2", ["t1".to_owned()].as_slice()));
    let (others, joined) = replica.sit_down("t1").await.unwrap();
    assert!(!joined && others.check_id != check.check_id, "the old table is free");
    let next = replica.place(round(&check, "r2")).await.unwrap();
    assert_eq!((next.state(), next.table_id.as_str()), (OrderState::Placed, "t2"));
    let sent = pos.state.lock().unwrap().submits.last().unwrap().check.clone().unwrap();
    assert_eq!(sent.pos_check_reference, "pos-check-t1", "the same bill");
}

#[tokio::test]
async fn a_newcomer_at_the_old_table_opens_a_new_check_also_when_nobody_noticed_the_move() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (check, _) = replica.dine("t1", "r1").await;
    pos.state.lock().unwrap().move_check("pos-check-t1", "t2");
    let (others, joined) = replica.sit_down("t1").await.unwrap();
    assert!(!joined && others.check_id != check.check_id);
    assert_eq!(replica.read(&check.check_id).await.table_id, "t2");
}

#[tokio::test]
async fn a_merged_check_names_the_one_to_use_and_an_order_that_waited_is_not_put_on_its_bill() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (merged, first) = replica.dine("t1", "r1").await;
    let (target, _) = replica.dine("t2", "r2").await;
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    let on_its_way = replica.place(now(round(&merged, "r3"))).await.unwrap();
    let waits = replica.place(now(round(&merged, "r4"))).await.unwrap();
    assert_eq!(waits.state(), OrderState::Held);
    eventually("it arrives", async || (pos.submits() == 3).then_some(())).await;
    let references = (merged.pos_check_reference.clone(), target.pos_check_reference.clone());
    pos.state.lock().unwrap().merge_check(&references.0, &references.1);
    go.notify_one();
    replica.until(&on_its_way.order_id, OrderState::Rejected).await;
    let waits = replica.until(&waits.order_id, OrderState::Rejected).await;
    assert_eq!(waits.cause, "CHECK_MERGED");
    let merged = replica.read(&merged.check_id).await;
    assert_eq!((merged.state(), &merged.merged_into), (CheckState::Merged, &target.check_id));
    let refused = replica.place(round(&merged, "r5")).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "CHECK_MERGED");
    assert_eq!(failure::metadata(&refused, "merged_into"), Some(target.check_id.clone()));
    assert_eq!(pos.submits(), 3, "nothing more was sent");
    let on_target = replica.place(round(&target, "r6")).await.unwrap();
    assert_eq!(on_target.state(), OrderState::Placed);
    assert_eq!(replica.sit_down("t2").await.unwrap().0.check_id, target.check_id);
    // What was on it before is on the other bill now, and over when that is paid.
    assert_eq!(replica.until(&first.order_id, OrderState::Placed).await.cause, "");
}

#[tokio::test]
async fn a_check_joined_into_one_of_the_staff_leads_to_it_and_its_rounds_end_when_that_is_paid() {
    let (pos, storage) = (Pos::default(), memory());
    let replica = replica(storage.clone(), &pos, &watchful());
    let (merged, placed) = replica.dine("t1", "r1").await;
    let staffs = {
        let mut state = pos.state.lock().unwrap();
        let staffs = state.open_by_staff("t2");
        state.merge_check("pos-check-t1", &staffs);
        staffs
    };
    let target_id = eventually("the sweep notices it", async || {
        let check = stored(&storage, &merged.check_id).await;
        (check.state() == CheckState::Merged).then_some(check.merged_into)
    })
    .await;
    let target = stored(&storage, &target_id).await;
    assert_eq!((target.table_id.as_str(), target.opened_by.as_str()), ("t2", "POS"));
    assert_eq!(target.pos_check_reference, staffs);
    pos.state.lock().unwrap().close_check(&staffs);
    let done = replica.until(&placed.order_id, OrderState::Completed).await;
    assert_eq!(done.cause, "CHECK_CLOSED");
}

#[tokio::test]
async fn a_check_closed_under_our_hands_sends_nothing_more_and_the_next_guests_have_their_own() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (check, first) = replica.dine("t1", "r1").await;
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    let on_its_way = replica.place(now(round(&check, "r2"))).await.unwrap();
    let waits = [
        replica.place(now(round(&check, "r3"))).await.unwrap(),
        replica.place(now(round(&check, "r4"))).await.unwrap(),
    ];
    eventually("it arrives", async || (pos.submits() == 2).then_some(())).await;
    pos.state.lock().unwrap().close_check("pos-check-t1");
    let (next_guests, joined) = replica.sit_down("t1").await.unwrap();
    assert!(!joined && next_guests.check_id != check.check_id);
    go.notify_one();
    replica.until(&on_its_way.order_id, OrderState::Rejected).await;
    for order in waits {
        assert_eq!(replica.until(&order.order_id, OrderState::Rejected).await.cause, "CHECK_CLOSED");
    }
    assert_eq!(replica.until(&first.order_id, OrderState::Completed).await.cause, "CHECK_CLOSED");
    assert_eq!(pos.submits(), 2);
    let theirs = replica.place(round(&next_guests, "r5")).await.unwrap();
    assert_eq!(theirs.state(), OrderState::Placed);
    let sent = pos.state.lock().unwrap().submits.last().unwrap().check.clone().unwrap();
    assert_eq!(sent.pos_check_reference, "", "not the last ones' check");
}

#[tokio::test]
async fn a_round_in_doubt_when_its_check_closes_ends_by_what_the_pos_proves() {
    for (lost, expected) in [(Act::Lose, OrderState::Rejected), (Act::TakeAndLoseAnswer, OrderState::Completed)] {
        let pos = Pos::default();
        let replica = replica(memory(), &pos, &watchful());
        let (check, _) = replica.dine("t1", "r1").await;
        pos.script([lost]);
        pos.state.lock().unwrap().find_broken = true;
        let doubtful = replica.place(now(round(&check, "r2"))).await.unwrap();
        replica.until(&doubtful.order_id, OrderState::InDoubt).await;
        pos.state.lock().unwrap().close_check("pos-check-t1");
        eventually("it is noticed", async || {
            (replica.read(&check.check_id).await.state() == CheckState::Closed).then_some(())
        })
        .await;
        pos.state.lock().unwrap().find_broken = false;
        let ended = replica.until(&doubtful.order_id, expected).await;
        assert_eq!((ended.cause.as_str(), pos.submits()), ("CHECK_CLOSED", 2));
    }
}

#[tokio::test]
async fn a_round_that_waits_for_a_retry_is_not_sent_after_its_check_was_closed() {
    let (pos, storage) = (Pos::default(), memory());
    let replica = replica(storage.clone(), &pos, &watchful());
    let (check, _) = replica.dine("t1", "r1").await;
    let busy =
        || Act::Answer(Outcome::RefusedForNow(RefusedForNow { cause: "RATE_LIMITED".into(), ..Default::default() }));
    pos.script((0..1000).map(|_| busy()));
    let waits = replica.place(now(round(&check, "r2"))).await.unwrap();
    replica.until(&waits.order_id, OrderState::Pending).await;
    pos.state.lock().unwrap().close_check("pos-check-t1");
    assert_eq!(replica.until(&waits.order_id, OrderState::Rejected).await.cause, "CHECK_CLOSED");
}

#[tokio::test]
async fn guests_who_sit_down_at_once_at_two_replicas_share_one_check() {
    let (pos, storage) = (Pos::default(), memory());
    let replicas = [replica(storage.clone(), &pos, &config()), replica(storage, &pos, &config())];
    for table in ["t1", "t2", "t3"] {
        let seated = (0..8).map(|guest| replicas[guest % 2].sit_down(table));
        let seated: Vec<(Check, bool)> =
            futures_util::future::join_all(seated).await.into_iter().map(Result::unwrap).collect();
        assert!(seated.iter().all(|(check, _)| check.check_id == seated[0].0.check_id));
        assert_eq!(seated.iter().filter(|(_, joined)| !joined).count(), 1);
    }
}

#[tokio::test]
async fn nobody_joins_a_check_while_the_pos_cannot_be_asked_whether_it_is_still_theirs() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (check, _) = replica.dine("t1", "r1").await;
    pos.state.lock().unwrap().till.broken = true;
    let refused = replica.sit_down("t1").await.unwrap_err();
    assert_eq!(failure::reason(&refused), "POS_UNREACHABLE");
    assert_eq!(replica.read(&check.check_id).await.state(), CheckState::Open, "nothing was concluded from it");
    pos.state.lock().unwrap().till.broken = false;
    assert_eq!(replica.sit_down("t1").await.unwrap().0.check_id, check.check_id);
}

#[tokio::test]
async fn a_check_of_an_earlier_day_is_never_joined_neither_ours_nor_that_of_the_pos() {
    let (pos, storage) = (Pos::default(), memory());
    let replica = replica(storage.clone(), &pos, &config());
    let (check, placed) = replica.dine("t1", "r1").await;
    let current = stored(&storage, &check.check_id).await;
    let yesterday = Check { business_date: "2020-01-01".into(), version: current.version + 1, ..current };
    storage.change_check("default", &yesterday, Duration::from_secs(60)).await.unwrap();
    let refused = replica.sit_down("t1").await.unwrap_err();
    assert_eq!(failure::reason(&refused), "TABLE_NOT_FREE", "the POS has it open still");
    let left_over = stored(&storage, &check.check_id).await;
    assert_eq!((left_over.state(), left_over.cause.as_str()), (CheckState::Closed, "BUSINESS_DAY_ENDED"));
    assert_eq!(replica.until(&placed.order_id, OrderState::Completed).await.cause, "BUSINESS_DAY_ENDED");
    {
        let mut state = pos.state.lock().unwrap();
        state.close_check("pos-check-t1");
        state.open_by_staff("t1");
        let long_ago = posmesh_kit::time::from_unix_ms(1_577_836_800_000);
        state.open_checks[0].open_time = Some(long_ago);
    }
    assert_eq!(failure::reason(&replica.sit_down("t1").await.unwrap_err()), "TABLE_NOT_FREE");
    pos.state.lock().unwrap().open_checks.clear();
    assert!(!replica.sit_down("t1").await.unwrap().1);
}

#[tokio::test]
async fn a_released_table_is_free_once_the_pos_has_closed_the_check_as_well() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    assert_eq!(replica.release("t1").await.unwrap(), None);
    let (check, placed) = replica.dine("t1", "r1").await;
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    let on_its_way = replica.place(now(round(&check, "r2"))).await.unwrap();
    assert_eq!(failure::reason(&replica.release("t1").await.unwrap_err()), "ROUND_UNDER_WAY");
    go.notify_one();
    replica.until(&on_its_way.order_id, OrderState::Placed).await;
    let released = replica.release("t1").await.unwrap().unwrap();
    assert_eq!((released.check_id.as_str(), released.cause.as_str()), (check.check_id.as_str(), "TABLE_RELEASED"));
    replica.until(&placed.order_id, OrderState::Completed).await;
    assert_eq!(replica.release("t1").await.unwrap(), None, "repeating it is no error");
    let refused = replica.sit_down("t1").await.unwrap_err();
    assert_eq!(failure::reason(&refused), "TABLE_NOT_FREE");
    pos.state.lock().unwrap().close_check("pos-check-t1");
    assert!(!replica.sit_down("t1").await.unwrap().1);
    let nowhere = replica.release("t99").await.unwrap_err();
    assert_eq!(failure::reason(&nowhere), "TABLE_NOT_FOUND");
}

#[tokio::test]
async fn a_check_that_a_caller_closed_is_not_joined_by_the_next_guests() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (check, placed) = replica.dine("t1", "r1").await;
    let close = CloseCheckRequest { check_id: check.check_id };
    replica.client.clone().close_check(close.clone()).await.unwrap();
    replica.client.clone().close_check(close).await.unwrap();
    replica.until(&placed.order_id, OrderState::Completed).await;
    assert_eq!(failure::reason(&replica.sit_down("t1").await.unwrap_err()), "TABLE_NOT_FREE");
}

#[tokio::test]
async fn with_several_checks_open_on_a_table_only_the_staff_know_which() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (check, _) = replica.dine("t1", "r1").await;
    let second = pos.state.lock().unwrap().open_by_staff("t1");
    assert_eq!(failure::reason(&replica.sit_down("t1").await.unwrap_err()), "SEVERAL_CHECKS_OPEN");
    assert_eq!(replica.place(round(&check, "r2")).await.unwrap().state(), OrderState::Placed, "its guests go on");
    pos.state.lock().unwrap().close_check(&second);
    assert_eq!(replica.sit_down("t1").await.unwrap().0.check_id, check.check_id);
}

#[tokio::test]
async fn a_check_on_which_nothing_was_ordered_yet_becomes_the_one_that_the_staff_open() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (first, _) = replica.sit_down("t1").await.unwrap();
    let staffs = pos.state.lock().unwrap().open_by_staff("t1");
    let (second, joined) = replica.sit_down("t1").await.unwrap();
    assert!(joined && second.check_id == first.check_id);
    assert_eq!(second.pos_check_reference, staffs);
}

#[tokio::test]
async fn the_bill_shows_what_the_staff_entered_at_the_till() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (check, _) = replica.dine("t1", "r1").await;
    pos.state.lock().unwrap().enter("pos-check-t1", "Service charge");
    let request = GetCheckRequest { check_id: check.check_id, include_bill: true };
    let bill = replica.client.clone().get_check(request).await.unwrap().into_inner().bill.unwrap();
    let names: Vec<&str> = bill.lines.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(names, ["Beer", "Service charge"]);
    assert_eq!(bill.lines[1].pos_line_reference, "Service charge");
}

#[tokio::test]
async fn what_nobody_asks_about_is_noticed_by_one_list_for_all_checks_of_a_store() {
    let (pos, storage) = (Pos::default(), memory());
    let quiet = replica(storage.clone(), &pos, &config());
    let mut placed = Vec::new();
    for table in ["t1", "t2", "t3"] {
        placed.push(quiet.dine(table, table).await);
    }
    drop(quiet);
    {
        let mut state = pos.state.lock().unwrap();
        state.till.looks = 0;
        let gone = placed[0].0.pos_check_reference.clone();
        state.close_check(&gone);
    }
    for (check, _) in &placed {
        let current = stored(&storage, &check.check_id).await;
        let due = Check { version: current.version + 1, ..current };
        storage.change_check("default", &due, Duration::ZERO).await.unwrap();
    }
    let replica = replica(storage, &pos, &config());
    let done = replica.until(&placed[0].1.order_id, OrderState::Completed).await;
    assert_eq!(done.cause, "CHECK_CLOSED");
    let state = pos.state.lock().unwrap();
    assert_eq!((state.till.lists, state.till.looks), (1, 1), "one list, and a look for the one that is not on it");
}

#[tokio::test]
async fn a_pos_that_cannot_list_its_checks_is_never_asked_by_itself_and_the_days_left_overs_end_all_the_same() {
    let (pos, storage) = (Pos::default(), memory());
    pos.state.lock().unwrap().till.cannot = vec!["LIST_CHECKS"];
    let replica = replica(storage.clone(), &pos, &watchful());
    let (check, placed) = replica.dine("t1", "r1").await;
    pos.state.lock().unwrap().till.looks = 0;
    let current = stored(&storage, &check.check_id).await;
    let yesterday = Check { business_date: "2020-01-01".into(), version: current.version + 1, ..current };
    storage.change_check("default", &yesterday, Duration::ZERO).await.unwrap();
    let done = replica.until(&placed.order_id, OrderState::Completed).await;
    assert_eq!(done.cause, "BUSINESS_DAY_ENDED");
    let state = pos.state.lock().unwrap();
    assert_eq!((state.till.lists, state.till.looks), (0, 0));
}

#[tokio::test]
async fn the_rounds_of_a_check_whose_closer_died_are_ended_by_another_replica() {
    let (pos, storage) = (Pos::default(), memory());
    let dying = replica(storage.clone(), &pos, &config());
    let (check, _) = dying.dine("t1", "r1").await;
    drop(dying);
    // Its last act.
    let current = stored(&storage, &check.check_id).await;
    let closed = Check { version: current.version + 1, state: CheckState::Closed.into(), ..current };
    storage.change_check("default", &closed, Duration::ZERO).await.unwrap();
    let _heir = replica(storage.clone(), &pos, &config());
    let rounds = OrderFilter { store_id: STORE.into(), check_id: check.check_id, limit: 10, ..OrderFilter::default() };
    eventually("its rounds are completed", async || {
        let rounds = storage.orders("default", &rounds).await.unwrap();
        rounds.iter().all(|round| round.state() == OrderState::Completed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_split_makes_checks_of_its_parts_and_repeating_it_splits_nothing_more() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (check, _) = replica.dine("t1", "r1").await;
    pos.state.lock().unwrap().enter("pos-check-t1", "Sake");
    let sake = BillLineShare { pos_line_reference: "Sake".into(), quantity_milli: 1000 };
    let how = How::ByItem(BillSplit { parts: vec![BillPart { lines: vec![sake] }] });
    let split = replica.split(&check, "s1", how.clone()).await.unwrap();
    assert_eq!((split.checks.len(), split.bills.len()), (2, 2));
    assert_eq!(split.checks[0].check_id, check.check_id);
    let part = &split.checks[1];
    assert_eq!((part.split_from.as_str(), part.table_id.as_str()), (check.check_id.as_str(), "t1"));
    assert_eq!(split.bills[1].lines[0].name, "Sake");
    let again = replica.split(&check, "s1", how).await.unwrap();
    assert_eq!(again.checks[1].check_id, part.check_id);
    assert_eq!(pos.state.lock().unwrap().till.split_calls, 1);
    let other = replica.split(&check, "s1", How::Parts(2)).await.unwrap_err();
    assert_eq!(failure::reason(&other), "REQUEST_ID_REUSED");
    assert_eq!(replica.place(round(part, "r2")).await.unwrap().state(), OrderState::Placed, "each part goes on");
    assert_eq!(failure::reason(&replica.sit_down("t1").await.unwrap_err()), "SEVERAL_CHECKS_OPEN");
}

#[tokio::test]
async fn a_split_whose_answer_was_lost_is_told_so_and_taken_up_without_splitting_twice() {
    for repeated in [true, false] {
        let (pos, storage) = (Pos::default(), memory());
        let replica = replica(storage.clone(), &pos, &watchful());
        let (check, _) = replica.dine("t1", "r1").await;
        pos.state.lock().unwrap().till.lose_splits = 1;
        let unknown = replica.split(&check, "s1", How::Parts(3)).await.unwrap_err();
        assert_eq!(failure::reason(&unknown), "OUTCOME_UNKNOWN");
        if repeated {
            assert_eq!(replica.split(&check, "s1", How::Parts(3)).await.unwrap().checks.len(), 3);
        }
        // Or its caller does not come back, and the sweep finds out.
        let answer = eventually("the split ends", async || {
            storage.split("default", "default", "s1").await.unwrap().and_then(|split| split.answer)
        })
        .await;
        assert_eq!(answer.checks.len(), 3);
        assert_eq!(pos.state.lock().unwrap().open_checks.len(), 3);
        for part in &answer.checks[1..] {
            assert_eq!(stored(&storage, &part.check_id).await.split_from, check.check_id);
        }
    }
}

#[tokio::test]
async fn a_split_that_cannot_be_done_is_refused_by_name_before_the_pos_hears_of_it() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (fresh, _) = replica.sit_down("t2").await.unwrap();
    let refused = replica.split(&fresh, "s0", How::Parts(2)).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "NOTHING_ORDERED");
    let (check, _) = replica.dine("t1", "r1").await;
    let ghost = BillLineShare { pos_line_reference: "ghost".into(), quantity_milli: 1000 };
    let by_item = How::ByItem(BillSplit { parts: vec![BillPart { lines: vec![ghost] }] });
    for (how, reason) in [(How::Parts(1), "OUT_OF_RANGE"), (by_item, "LINE_NOT_FOUND")] {
        assert_eq!(failure::reason(&replica.split(&check, "s1", how).await.unwrap_err()), reason);
    }
    assert_eq!(pos.state.lock().unwrap().till.split_calls, 0);
}

#[tokio::test]
async fn a_split_that_the_pos_cannot_do_names_the_step_of_the_staff() {
    let pos = Pos::default();
    pos.state.lock().unwrap().till.cannot = vec!["SPLIT_CHECK_EVENLY"];
    let replica = replica(memory(), &pos, &config());
    let (check, _) = replica.dine("t1", "r1").await;
    let refused = replica.split(&check, "s1", How::Parts(2)).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "SPLIT_NOT_SUPPORTED");
    assert_eq!(failure::metadata(&refused, "step").as_deref(), Some("split it at the till"));
    assert_eq!(pos.state.lock().unwrap().till.split_calls, 0);
}
