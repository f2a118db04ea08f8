use super::*;
use crate::storage::{CheckChanged, CheckFilter};

pub(super) async fn a_table_has_one_open_check(storage: Subject) {
    let check = open(&storage, "t1").await;
    let other = Check { check_id: "other".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &other).await.unwrap(), Some(check.clone()));
    assert_eq!(storage.check(TENANT, "other").await.unwrap(), None);
    let billed = Check { version: 2, state: CheckState::BillRequested.into(), ..check };
    assert_eq!(storage.change_check(TENANT, &billed).await.unwrap(), CheckChanged::Done);
    assert_eq!(storage.open_check(TENANT, &other).await.unwrap(), Some(billed));
    open(&storage, "t2").await;
    let elsewhere = Check { check_id: "elsewhere".into(), store_id: "ueno".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &elsewhere).await.unwrap(), None);
}

pub(super) async fn a_closed_check_makes_room_on_its_table(storage: Subject) {
    let check = open(&storage, "t1").await;
    let closed = Check { version: 2, state: CheckState::Closed.into(), ..check };
    storage.change_check(TENANT, &closed).await.unwrap();
    let next = Check { check_id: "next".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &next).await.unwrap(), None);
    assert_eq!(read_check(&storage, &closed.check_id).await, closed);
    assert_eq!(read_check(&storage, "next").await, next);
}

pub(super) async fn of_many_that_open_a_table_at_once_one_does(storage: Subject) {
    let openers = (0..10).map(|opener| {
        let (storage, check) = (Arc::clone(&storage), Check { check_id: opener.to_string(), ..check_on("t1") });
        tokio::spawn(async move { (storage.open_check(TENANT, &check).await.unwrap(), check) })
    });
    let opened: Vec<_> = futures_util::future::join_all(openers).await.into_iter().map(Result::unwrap).collect();
    let (winners, joined): (Vec<_>, Vec<_>) = opened.into_iter().partition(|(found, _)| found.is_none());
    assert_eq!(winners.len(), 1);
    assert!(joined.iter().all(|(found, _)| *found == Some(winners[0].1.clone())));
}

pub(super) async fn a_check_changes_from_the_version_that_was_read(storage: Subject) {
    let check = open(&storage, "t1").await;
    let moved = Check { version: 2, table_id: "t2".into(), ..check.clone() };
    assert_eq!(storage.change_check(TENANT, &moved).await.unwrap(), CheckChanged::Done);
    let late = Check { version: 2, party_size: 5, ..check.clone() };
    let conflict = CheckChanged::Conflict(Box::new(moved.clone()));
    assert_eq!(storage.change_check(TENANT, &late).await.unwrap(), conflict);
    assert_eq!(read_check(&storage, &check.check_id).await, moved);
    let unknown = Check { check_id: "unknown".into(), ..late };
    assert_eq!(storage.change_check(TENANT, &unknown).await.unwrap(), CheckChanged::Missing);
    // Its table is free again.
    let next = Check { check_id: "next".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &next).await.unwrap(), None);
}

pub(super) async fn a_round_that_came_in_between_is_a_conflict(storage: Subject) {
    let check = open(&storage, "t1").await;
    take(&storage, new_round("a", &check.check_id)).await;
    let closed = Check { version: 2, state: CheckState::Closed.into(), ..check.clone() };
    let with_round = read_check(&storage, &check.check_id).await;
    assert_eq!((with_round.version, with_round.rounds), (2, 1));
    let conflict = CheckChanged::Conflict(Box::new(with_round));
    assert_eq!(storage.change_check(TENANT, &closed).await.unwrap(), conflict);
    // The rounds are not the caller's to change.
    let billed = Check { version: 3, state: CheckState::BillRequested.into(), ..check };
    assert_eq!(storage.change_check(TENANT, &billed).await.unwrap(), CheckChanged::Done);
    assert_eq!(read_check(&storage, &billed.check_id).await, Check { rounds: 1, ..billed });
}

pub(super) async fn checks_are_listed_newest_first_filtered_and_paged(storage: Subject) {
    for (table_id, seconds) in [("t1", 0), ("t3", 2), ("t2", 1)] {
        let open_time = Some(from_unix_ms(NOON_MS + seconds * 1000));
        storage.open_check(TENANT, &Check { open_time, ..check_on(table_id) }).await.unwrap();
    }
    let second = read_check(&storage, "check-on-t2").await;
    let closed = Check { version: 2, state: CheckState::Closed.into(), ..second };
    storage.change_check(TENANT, &closed).await.unwrap();
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
