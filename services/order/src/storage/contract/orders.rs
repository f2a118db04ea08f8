use super::*;

pub(super) async fn an_order_that_was_taken_is_read_back_as_it_was_answered(storage: Subject) {
    let new = new_order("a");
    let order = take(&storage, new.clone()).await;
    assert_eq!(order, Order { display_number: "001".into(), ..new.order });
    assert_eq!(read(&storage, "order-of-a").await, order);
    assert_eq!(storage.order_by_request(TENANT, "kiosk", "a").await.unwrap().map(|r| r.order), Some(order));
    assert_eq!(storage.order(TENANT, "order-of-b").await.unwrap(), None);
    assert_eq!(storage.order_by_request(TENANT, "kiosk", "b").await.unwrap(), None);
}

pub(super) async fn a_repeated_request_gets_the_order_as_it_is_now(storage: Subject) {
    let order = take(&storage, new_order("a")).await;
    change(&storage, to(&order, OrderState::Placed)).await;
    let mut again = new_order("a");
    again.order.order_id = "another".into();
    let now = Box::new(read(&storage, "order-of-a").await);
    assert_eq!(now.state(), OrderState::Placed);
    assert_eq!(place(&storage, again).await, Placement::Known { order: now, same_request: true });
    assert_eq!(storage.order(TENANT, "another").await.unwrap(), None);
}

pub(super) async fn another_command_under_a_known_request_id_is_told_apart(storage: Subject) {
    let order = take(&storage, new_order("a")).await;
    let other = NewOrder { request_hash: b"other".to_vec(), ..new_order("a") };
    assert_eq!(place(&storage, other).await, Placement::Known { order: Box::new(order), same_request: false });
}

pub(super) async fn of_two_in_one_batch_with_one_request_id_the_first_is_taken_and_the_second_knows_it(
    storage: Subject,
) {
    let mut second = new_order("a");
    second.order.order_id = "second".into();
    let third = NewOrder { request_hash: b"other".to_vec(), ..second.clone() };
    let batch = vec![new_order("a"), second, new_order("b"), third];
    let mut answers = storage.place_batch(batch).await.into_iter().map(Result::unwrap);
    let first = taken(answers.next().unwrap());
    assert_eq!(first.order_id, "order-of-a");
    let known = |same_request| Placement::Known { order: Box::new(first.clone()), same_request };
    assert_eq!(answers.next().unwrap(), known(true));
    assert_eq!(taken(answers.next().unwrap()).order_id, "order-of-b");
    assert_eq!(answers.next().unwrap(), known(false));
}

pub(super) async fn callers_and_tenants_do_not_share_request_ids(storage: Subject) {
    take(&storage, new_order("a")).await;
    let mut of_caller = NewOrder { caller: "table".into(), ..new_order("a") };
    of_caller.order.order_id = "of-table".into();
    take(&storage, of_caller).await;
    take(&storage, NewOrder { tenant_id: "other".into(), ..new_order("a") }).await;
}

pub(super) async fn an_order_cancelled_before_it_was_seen_takes_any_command_as_its_own(storage: Subject) {
    let mut tombstone = NewOrder { request_hash: Vec::new(), ..new_order("a") };
    tombstone.order.set_state(OrderState::Cancelled);
    let cancelled = take(&storage, tombstone).await;
    let known = Placement::Known { order: Box::new(cancelled), same_request: true };
    assert_eq!(place(&storage, new_order("a")).await, known);
}

pub(super) async fn display_numbers_count_up_per_store_and_business_day(storage: Subject) {
    let at = |request_id: &str, store_id: &str, date: &str| {
        let mut new = new_order(request_id);
        (new.order.store_id, new.order.business_date) = (store_id.to_owned(), date.to_owned());
        new
    };
    let batch = vec![
        at("a", "shibuya", "2026-11-22"),
        at("b", "ueno", "2026-11-22"),
        at("c", "shibuya", "2026-11-22"),
        at("d", "shibuya", "2026-11-23"),
    ];
    let answers = storage.place_batch(batch.clone()).await;
    let numbers: Vec<String> = answers.into_iter().map(|answer| taken(answer.unwrap()).display_number).collect();
    assert_eq!(numbers, ["001", "001", "002", "001"]);
    assert_eq!(take(&storage, at("e", "shibuya", "2026-11-22")).await.display_number, "003");
    // A repeated request may use one up, but none is given twice.
    storage.place_batch(batch).await;
    let next = take(&storage, at("f", "shibuya", "2026-11-22")).await.display_number;
    assert!(next.as_str() >= "004", "{next}");
}

pub(super) async fn the_number_of_the_pos_replaces_ours(storage: Subject) {
    let order = take(&storage, new_order("a")).await;
    let mut placed = to(&order, OrderState::Placed);
    placed.order.display_number = "K-17".into();
    change(&storage, placed).await;
    assert_eq!(read(&storage, "order-of-a").await.display_number, "K-17");
}

pub(super) async fn an_order_that_cannot_be_stored_does_not_fail_its_neighbours(storage: Subject) {
    take(&storage, new_order("a")).await;
    // Its order_id is in use.
    let bad = NewOrder { request_id: "bad".into(), ..new_order("a") };
    let batch = vec![new_order("b"), new_order("c"), bad, new_order("d")];
    let answers = storage.place_batch(batch).await;
    assert!(matches!(answers[2], Err(StorageError::Refused(_))), "{:?}", answers[2]);
    for (index, request_id) in [(0, "b"), (1, "c"), (3, "d")] {
        let order = taken(answers[index].clone().unwrap());
        assert_eq!(read(&storage, &format!("order-of-{request_id}")).await, order);
    }
}

pub(super) async fn a_change_is_read_back(storage: Subject) {
    let order = take(&storage, new_order("a")).await;
    let placed = to(&order, OrderState::Placed);
    assert_eq!(change(&storage, placed.clone()).await, Changed::Done { next_round: None });
    assert_eq!(read(&storage, "order-of-a").await, placed.order);
}

pub(super) async fn a_change_of_an_old_version_is_refused_with_the_order_as_it_is(storage: Subject) {
    let order = take(&storage, new_order("a")).await;
    change(&storage, to(&order, OrderState::InDoubt)).await;
    let now = Box::new(read(&storage, "order-of-a").await);
    assert_eq!(change(&storage, to(&order, OrderState::Placed)).await, Changed::Conflict(now.clone()));
    let too_new = Order { version: 7, ..order };
    assert_eq!(change(&storage, to(&too_new, OrderState::Placed)).await, Changed::Conflict(now.clone()));
    assert_eq!(read(&storage, "order-of-a").await, *now);
}

pub(super) async fn a_change_of_an_unknown_order_is_missing(storage: Subject) {
    assert_eq!(change(&storage, to(&new_order("a").order, OrderState::Placed)).await, Changed::Missing);
}

pub(super) async fn two_changes_of_one_order_in_one_batch_take_effect_one_after_the_other(storage: Subject) {
    let order = take(&storage, new_order("a")).await;
    let first = to(&order, OrderState::InDoubt);
    let second = to(&first.order, OrderState::Placed);
    for answer in storage.change_batch(vec![first, second.clone()]).await {
        assert_eq!(answer.unwrap(), Changed::Done { next_round: None });
    }
    assert_eq!(read(&storage, "order-of-a").await, second.order);
}

pub(super) async fn two_changes_of_one_version_in_one_batch_do_not_both_take_effect(storage: Subject) {
    let order = take(&storage, new_order("a")).await;
    let (first, second) = (to(&order, OrderState::Rejected), to(&order, OrderState::Placed));
    let answers = storage.change_batch(vec![first.clone(), second]).await;
    assert_eq!(*answers[0].as_ref().unwrap(), Changed::Done { next_round: None });
    assert_eq!(*answers[1].as_ref().unwrap(), Changed::Conflict(Box::new(first.order)));
}
