use posmesh_proto::order::v1::{SplitCheckRequest, SplitCheckResponse, split_check_request};

use super::*;
use crate::storage::{CheckChanged, CheckFilter, DueCheck, Split};

pub(super) async fn a_table_has_one_open_check(storage: Subject) {
    let check = open(&storage, "t1").await;
    let other = Check { check_id: "other".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &other, LEASE).await.unwrap(), Some(check.clone()));
    assert_eq!(storage.check(TENANT, "other").await.unwrap(), None);
    let billed = Check { version: 2, state: CheckState::BillRequested.into(), ..check };
    assert_eq!(storage.change_check(TENANT, &billed, LEASE).await.unwrap(), CheckChanged::Done);
    assert_eq!(storage.open_check(TENANT, &other, LEASE).await.unwrap(), Some(billed));
    open(&storage, "t2").await;
    let elsewhere = Check { check_id: "elsewhere".into(), store_id: "ueno".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &elsewhere, LEASE).await.unwrap(), None);
}

pub(super) async fn a_closed_check_makes_room_on_its_table(storage: Subject) {
    let check = open(&storage, "t1").await;
    let closed = Check { version: 2, state: CheckState::Closed.into(), ..check };
    storage.change_check(TENANT, &closed, LEASE).await.unwrap();
    let next = Check { check_id: "next".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &next, LEASE).await.unwrap(), None);
    assert_eq!(read_check(&storage, &closed.check_id).await, closed);
    assert_eq!(read_check(&storage, "next").await, next);
}

pub(super) async fn of_many_that_open_a_table_at_once_one_does(storage: Subject) {
    let openers = (0..10).map(|opener| {
        let (storage, check) = (Arc::clone(&storage), Check { check_id: opener.to_string(), ..check_on("t1") });
        tokio::spawn(async move { (storage.open_check(TENANT, &check, LEASE).await.unwrap(), check) })
    });
    let opened: Vec<_> = futures_util::future::join_all(openers).await.into_iter().map(Result::unwrap).collect();
    let (winners, joined): (Vec<_>, Vec<_>) = opened.into_iter().partition(|(found, _)| found.is_none());
    assert_eq!(winners.len(), 1);
    assert!(joined.iter().all(|(found, _)| *found == Some(winners[0].1.clone())));
}

pub(super) async fn a_check_changes_from_the_version_that_was_read(storage: Subject) {
    let check = open(&storage, "t1").await;
    let moved = Check { version: 2, table_id: "t2".into(), ..check.clone() };
    assert_eq!(storage.change_check(TENANT, &moved, LEASE).await.unwrap(), CheckChanged::Done);
    let late = Check { version: 2, party_size: 5, ..check.clone() };
    let conflict = CheckChanged::Conflict(Box::new(moved.clone()));
    assert_eq!(storage.change_check(TENANT, &late, LEASE).await.unwrap(), conflict);
    assert_eq!(read_check(&storage, &check.check_id).await, moved);
    let unknown = Check { check_id: "unknown".into(), ..late };
    assert_eq!(storage.change_check(TENANT, &unknown, LEASE).await.unwrap(), CheckChanged::Missing);
    // Its table is free again.
    let next = Check { check_id: "next".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &next, LEASE).await.unwrap(), None);
}

pub(super) async fn a_round_that_came_in_between_is_a_conflict(storage: Subject) {
    let check = open(&storage, "t1").await;
    take(&storage, new_round("a", &check.check_id)).await;
    let closed = Check { version: 2, state: CheckState::Closed.into(), ..check.clone() };
    let with_round = read_check(&storage, &check.check_id).await;
    assert_eq!((with_round.version, with_round.rounds), (2, 1));
    let conflict = CheckChanged::Conflict(Box::new(with_round));
    assert_eq!(storage.change_check(TENANT, &closed, LEASE).await.unwrap(), conflict);
    // The rounds are not the caller's to change.
    let billed = Check { version: 3, state: CheckState::BillRequested.into(), ..check };
    assert_eq!(storage.change_check(TENANT, &billed, LEASE).await.unwrap(), CheckChanged::Done);
    assert_eq!(read_check(&storage, &billed.check_id).await, Check { rounds: 1, ..billed });
}

pub(super) async fn checks_are_listed_newest_first_filtered_and_paged(storage: Subject) {
    for (table_id, seconds) in [("t1", 0), ("t3", 2), ("t2", 1)] {
        let open_time = Some(from_unix_ms(NOON_MS + seconds * 1000));
        storage.open_check(TENANT, &Check { open_time, ..check_on(table_id) }, LEASE).await.unwrap();
    }
    let second = read_check(&storage, "check-on-t2").await;
    let closed = Check { version: 2, state: CheckState::Closed.into(), ..second };
    storage.change_check(TENANT, &closed, LEASE).await.unwrap();
    let all = CheckFilter { store_id: "shibuya".into(), limit: 10, ..CheckFilter::default() };
    let tables = async |filter: CheckFilter| {
        let checks = storage.checks(TENANT, &filter).await.unwrap();
        checks.into_iter().map(|check| check.table_id).collect::<Vec<_>>()
    };
    assert_eq!(tables(all.clone()).await, ["t3", "t2", "t1"]);
    assert_eq!(tables(CheckFilter { limit: 2, ..all.clone() }).await, ["t3", "t2"]);
    let after = Some((NOON_MS + 1000, "check-on-t2".to_owned()));
    assert_eq!(tables(CheckFilter { after, ..all.clone() }).await, ["t1"]);
    let open = vec![CheckState::Open, CheckState::BillRequested];
    assert_eq!(tables(CheckFilter { states: open, ..all.clone() }).await, ["t3", "t1"]);
    assert_eq!(tables(CheckFilter { table_id: "t2".into(), ..all.clone() }).await, ["t2"]);
    assert_eq!(tables(CheckFilter { store_id: "ueno".into(), ..all }).await, [""; 0]);
}

fn on_table_as(table_id: &str, reference: &str) -> Check {
    Check {
        check_id: format!("check-of-{reference}"),
        pos_check_reference: reference.into(),
        connection_id: "till".into(),
        ..check_on(table_id)
    }
}

pub(super) async fn several_checks_are_open_on_a_table_only_where_the_pos_tells_them_apart(storage: Subject) {
    let (seven, eight) = (on_table_as("t1", "7"), on_table_as("t1", "8"));
    assert_eq!(storage.open_check(TENANT, &seven, LEASE).await.unwrap(), None);
    assert_eq!(storage.open_check(TENANT, &eight, LEASE).await.unwrap(), None);
    let again = Check { check_id: "again".into(), ..seven.clone() };
    assert_eq!(storage.open_check(TENANT, &again, LEASE).await.unwrap(), Some(seven.clone()));
    // Its first round might go to either of them.
    let found = storage.open_check(TENANT, &check_on("t1"), LEASE).await.unwrap().unwrap();
    assert!([seven, eight].contains(&found));
    open(&storage, "t2").await;
    let found = storage.open_check(TENANT, &on_table_as("t2", "9"), LEASE).await.unwrap();
    assert_eq!(found, Some(check_on("t2")));
}

pub(super) async fn a_check_that_moved_leaves_its_table_free_and_is_joined_on_the_new_one(storage: Subject) {
    let check = open(&storage, "t1").await;
    let moved = Check { version: 2, table_id: "t2".into(), former_table_ids: vec!["t1".into()], ..check };
    assert_eq!(storage.change_check(TENANT, &moved, LEASE).await.unwrap(), CheckChanged::Done);
    let newcomers = Check { check_id: "newcomers".into(), ..check_on("t2") };
    assert_eq!(storage.open_check(TENANT, &newcomers, LEASE).await.unwrap(), Some(moved.clone()));
    let next = Check { check_id: "next".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &next, LEASE).await.unwrap(), None);
    // Its rounds are about the table where the guests sit now.
    assert_eq!(take(&storage, new_round("a", &moved.check_id)).await.table_id, "t2");
}

pub(super) async fn a_check_is_found_by_its_reference_at_its_own_connection(storage: Subject) {
    let seven = on_table_as("t1", "7");
    storage.open_check(TENANT, &seven, LEASE).await.unwrap();
    let bar = Check { check_id: "bar".into(), connection_id: "bar".into(), ..on_table_as("t2", "7") };
    storage.open_check(TENANT, &bar, LEASE).await.unwrap();
    let closed = Check { version: 2, state: CheckState::Closed.into(), ..seven };
    storage.change_check(TENANT, &closed, LEASE).await.unwrap();
    let found = async |connection_id: &str, references: &[&str]| {
        storage.checks_by_reference(TENANT, connection_id, references).await.unwrap()
    };
    assert_eq!(found("till", &["6", "7"]).await, [closed]);
    assert_eq!(found("bar", &["7"]).await, [bar]);
    assert_eq!(found("till", &[]).await, []);
    assert_eq!(storage.checks_by_reference("other", "till", &["7"]).await.unwrap(), []);
}

pub(super) async fn a_reference_that_a_round_brought_is_found(storage: Subject) {
    let check = open(&storage, "t1").await;
    let first = take(&storage, new_round("a", &check.check_id)).await;
    let mut placed = to(&first, OrderState::Placed);
    placed.check.pos_check_reference = "7".into();
    placed.check.connection_id = "till".into();
    change(&storage, placed).await;
    let found = storage.checks_by_reference(TENANT, "till", &["7"]).await.unwrap();
    assert_eq!(found, [read_check(&storage, &check.check_id).await]);
}

async fn claim(storage: &Subject) -> Vec<String> {
    let claimed = storage.claim_due_checks(LEASE, 10).await.unwrap();
    claimed.into_iter().map(|due| due.check.check_id).collect()
}

pub(super) async fn a_check_falls_due_is_claimed_once_and_again_when_the_lease_ends(storage: Subject) {
    open(&storage, "t1").await;
    storage.open_check(TENANT, &check_on("t2"), Duration::ZERO).await.unwrap();
    let due = storage.claim_due_checks(Duration::ZERO, 10).await.unwrap();
    assert_eq!(due, [DueCheck { tenant_id: TENANT.into(), check: check_on("t2") }]);
    assert_eq!(claim(&storage).await, ["check-on-t2"], "that lease was over at once");
    assert_eq!(claim(&storage).await, [""; 0]);
    storage.put_off_checks(TENANT, &[("check-on-t1", 1), ("check-on-t2", 1)], Some(Duration::ZERO)).await.unwrap();
    assert_eq!(storage.claim_due_checks(LEASE, 1).await.unwrap().len(), 1);
    storage.put_off_checks(TENANT, &[("check-on-t1", 1), ("check-on-t2", 1)], None).await.unwrap();
    assert_eq!(claim(&storage).await, [""; 0]);
}

pub(super) async fn a_check_that_changed_since_it_was_looked_at_is_not_put_off(storage: Subject) {
    let check = open(&storage, "t1").await;
    let closed = Check { version: 2, state: CheckState::Closed.into(), ..check };
    storage.change_check(TENANT, &closed, Duration::ZERO).await.unwrap();
    storage.put_off_checks(TENANT, &[("check-on-t1", 1)], None).await.unwrap();
    assert_eq!(claim(&storage).await, ["check-on-t1"]);
}

pub(super) async fn a_check_that_a_round_found_closed_falls_due_at_once(storage: Subject) {
    let check = on_table_as("t1", "7");
    storage.open_check(TENANT, &check, LEASE).await.unwrap();
    let first = take(&storage, new_round("a", &check.check_id)).await;
    assert_eq!(claim(&storage).await, [""; 0]);
    let mut rejected = to(&first, OrderState::Rejected);
    rejected.check.closed_at_pos = true;
    change(&storage, rejected).await;
    assert_eq!(claim(&storage).await, ["check-of-7"]);
}

pub(super) async fn of_many_that_claim_checks_at_once_each_is_claimed_by_one(storage: Subject) {
    for table in 0..20 {
        storage.open_check(TENANT, &check_on(&table.to_string()), Duration::ZERO).await.unwrap();
    }
    let claimers = (0..8).map(|_| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let some = storage.claim_due_checks(LEASE, 3).await.unwrap();
                if some.is_empty() {
                    return claimed;
                }
                claimed.extend(some.into_iter().map(|due| due.check.check_id));
            }
        })
    });
    let claimed = futures_util::future::join_all(claimers).await;
    let mut claimed: Vec<String> = claimed.into_iter().flat_map(Result::unwrap).collect();
    claimed.sort();
    let count = claimed.len();
    claimed.dedup();
    assert_eq!((count, claimed.len()), (20, 20));
}

pub(super) async fn a_check_of_which_nothing_is_at_the_pos_is_not_closed_by_a_refusal(storage: Subject) {
    let check = open(&storage, "t1").await;
    let first = take(&storage, new_round("a", &check.check_id)).await;
    take(&storage, new_round("b", &check.check_id)).await;
    let mut rejected = to(&first, OrderState::Rejected);
    rejected.check.closed_at_pos = true;
    assert!(matches!(change(&storage, rejected).await, Changed::Done { next_round: Some(_) }));
    assert_eq!(read_check(&storage, &check.check_id).await.state(), CheckState::Open);
}

fn split_of(check_id: &str, request_id: &str) -> Split {
    let request = SplitCheckRequest {
        request_id: request_id.into(),
        check_id: check_id.into(),
        how: Some(split_check_request::How::Parts(2)),
    };
    Split { split_id: format!("split-{request_id}"), request, answer: None, age: Duration::ZERO }
}

/// Without its age.
fn timeless(split: Split) -> Split {
    Split { age: Duration::ZERO, ..split }
}

pub(super) async fn a_split_is_begun_once_and_makes_its_check_fall_due(storage: Subject) {
    let check = open(&storage, "t1").await;
    let split = split_of(&check.check_id, "a");
    assert_eq!(storage.begin_split(TENANT, "kiosk", &split, Duration::ZERO).await.unwrap(), None);
    assert_eq!(claim(&storage).await, [check.check_id.as_str()]);
    let again = Split { split_id: "other".into(), ..split.clone() };
    let known = storage.begin_split(TENANT, "kiosk", &again, LEASE).await.unwrap().unwrap();
    assert_eq!(timeless(known), split);
    assert_eq!(storage.begin_split(TENANT, "togo", &again, LEASE).await.unwrap(), None, "another caller's");
    let open: Vec<Split> = storage.open_splits(TENANT, &check.check_id).await.unwrap();
    assert_eq!(open.len(), 2);
    assert_eq!(storage.open_splits(TENANT, "another").await.unwrap(), []);
    assert_eq!(storage.split(TENANT, "kiosk", "b").await.unwrap(), None);
}

pub(super) async fn a_split_ends_once_with_its_checks_or_is_forgotten(storage: Subject) {
    let check = on_table_as("t1", "7");
    storage.open_check(TENANT, &check, LEASE).await.unwrap();
    let (split, refused) = (split_of(&check.check_id, "a"), split_of(&check.check_id, "b"));
    for split in [&split, &refused] {
        storage.begin_split(TENANT, "kiosk", split, LEASE).await.unwrap();
    }
    let part = Check { split_from: check.check_id.clone(), ..on_table_as("t1", "8") };
    let answer = SplitCheckResponse { checks: vec![check.clone(), part.clone()], bills: Vec::new() };
    let done = Split { answer: Some(answer), ..split };
    storage.end_split(TENANT, &done, std::slice::from_ref(&part), LEASE).await.unwrap();
    let late = Split { answer: Some(SplitCheckResponse::default()), ..done.clone() };
    storage.end_split(TENANT, &late, std::slice::from_ref(&part), LEASE).await.unwrap();
    storage.end_split(TENANT, &refused, &[], LEASE).await.unwrap();
    assert_eq!(storage.split(TENANT, "kiosk", "a").await.unwrap().map(timeless), Some(done));
    assert_eq!(storage.split(TENANT, "kiosk", "b").await.unwrap(), None);
    assert_eq!(storage.open_splits(TENANT, &check.check_id).await.unwrap(), []);
    assert_eq!(read_check(&storage, &part.check_id).await, part);
}
