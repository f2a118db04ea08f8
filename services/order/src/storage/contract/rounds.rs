use super::*;

pub(super) async fn the_first_round_is_sent_and_later_ones_wait_in_order(storage: Subject) {
    let check = open(&storage, "t1").await;
    let Placement::Taken { order: first, check: Some(of_first) } =
        place(&storage, new_round("a", &check.check_id)).await
    else {
        panic!()
    };
    assert_eq!((first.round, first.state(), first.attempts.len()), (1, OrderState::Sending, 1));
    assert_eq!((first.table_id.as_str(), first.party_size), ("t1", 4));
    assert_eq!((of_first.rounds, of_first.check_id.as_str()), (1, check.check_id.as_str()));
    let second = take(&storage, new_round("b", &check.check_id)).await;
    assert_eq!((second.round, second.state(), second.attempts.len()), (2, OrderState::Held, 0));
    assert_eq!(read(&storage, &first.order_id).await, *first);
    assert_eq!(read(&storage, &second.order_id).await, second);
    assert_eq!(read_check(&storage, &check.check_id).await.rounds, 2);
    assert!(storage.has_round_in_flight(TENANT, &check.check_id).await.unwrap());
}

pub(super) async fn rounds_of_one_batch_wait_for_each_other(storage: Subject) {
    let (one, two) = (open(&storage, "t1").await, open(&storage, "t2").await);
    let batch = vec![new_round("a", &one.check_id), new_round("b", &two.check_id), new_round("c", &one.check_id)];
    let rounds: Vec<Order> =
        storage.place_batch(batch).await.into_iter().map(|answer| taken(answer.unwrap())).collect();
    let places: Vec<_> = rounds.iter().map(|order| (order.round, order.state())).collect();
    assert_eq!(places, [(1, OrderState::Sending), (1, OrderState::Sending), (2, OrderState::Held)]);
}

pub(super) async fn the_end_of_a_round_lets_the_next_one_go(storage: Subject) {
    let check = open(&storage, "t1").await;
    let first = take(&storage, new_round("a", &check.check_id)).await;
    // Placed so that their ids order otherwise than they do.
    for request_id in ["z", "m"] {
        take(&storage, new_round(request_id, &check.check_id)).await;
    }
    let mut placed = to(&first, OrderState::Placed);
    placed.check.pos_check_reference = "POS-9".into();
    placed.check.connection_id = "till".into();
    let Changed::Done { next_round: Some(next) } = change(&storage, placed).await else { panic!() };
    let (second, with_check) = *next;
    assert_eq!((second.order_id.as_str(), second.round, second.state()), ("order-of-z", 2, OrderState::Sending));
    assert_eq!((second.version, second.attempts.clone()), (2, vec![attempt(1)]));
    assert_eq!((with_check.pos_check_reference.as_str(), with_check.connection_id.as_str()), ("POS-9", "till"));
    assert_eq!(read(&storage, "order-of-z").await, second);
    assert_eq!(read_check(&storage, &check.check_id).await, with_check);
    let third = end(&storage, &second).await.unwrap();
    assert_eq!((third.order_id.as_str(), third.state()), ("order-of-m", OrderState::Sending));
    assert!(storage.has_round_in_flight(TENANT, &check.check_id).await.unwrap());
    assert_eq!(end(&storage, &third).await, None);
    assert!(!storage.has_round_in_flight(TENANT, &check.check_id).await.unwrap());
    assert_eq!(take(&storage, new_round("n", &check.check_id)).await.state(), OrderState::Sending);
}

pub(super) async fn a_doubtful_round_keeps_its_turn(storage: Subject) {
    let check = open(&storage, "t1").await;
    let first = take(&storage, new_round("a", &check.check_id)).await;
    let second = take(&storage, new_round("b", &check.check_id)).await;
    let in_doubt = to(&first, OrderState::InDoubt);
    assert_eq!(change(&storage, in_doubt.clone()).await, Changed::Done { next_round: None });
    assert_eq!(read(&storage, "order-of-b").await, second);
    assert!(end(&storage, &in_doubt.order).await.is_some());
}

pub(super) async fn a_round_cancelled_while_it_waits_is_passed_over(storage: Subject) {
    let check = open(&storage, "t1").await;
    let first = take(&storage, new_round("a", &check.check_id)).await;
    let second = take(&storage, new_round("b", &check.check_id)).await;
    take(&storage, new_round("c", &check.check_id)).await;
    let cancelled = change(&storage, to(&second, OrderState::Cancelled)).await;
    assert_eq!(cancelled, Changed::Done { next_round: None });
    assert_eq!(read(&storage, &first.order_id).await, first);
    assert_eq!(end(&storage, &first).await.unwrap().order_id, "order-of-c");
}

pub(super) async fn a_turn_that_nobody_begins_falls_due_at_once_and_is_kept(storage: Subject) {
    let check = open(&storage, "t1").await;
    let first = take(&storage, new_round("a", &check.check_id)).await;
    take(&storage, new_round("b", &check.check_id)).await;
    let mut placed = to(&first, OrderState::Placed);
    placed.check.next_attempt = None;
    assert_eq!(change(&storage, placed).await, Changed::Done { next_round: None });
    // A later one does not overtake it.
    assert_eq!(take(&storage, new_round("c", &check.check_id)).await.state(), OrderState::Held);
    let claimed = storage.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap();
    let ids: Vec<&str> = claimed.iter().map(|claimed| claimed.order.order_id.as_str()).collect();
    assert_eq!(ids, ["order-of-b"]);
    assert_eq!(end(&storage, &claimed[0].order).await.unwrap().order_id, "order-of-c");
}

pub(super) async fn a_repeated_round_uses_up_no_place(storage: Subject) {
    let check = open(&storage, "t1").await;
    let first = take(&storage, new_round("a", &check.check_id)).await;
    let repeated = vec![new_round("a", &check.check_id), new_round("b", &check.check_id)];
    let answers = storage.place_batch(repeated).await;
    let known = Placement::Known { order: Box::new(first), same_request: true };
    assert_eq!(*answers[0].as_ref().unwrap(), known);
    assert_eq!(taken(answers[1].clone().unwrap()).round, 2);
    assert_eq!(read_check(&storage, &check.check_id).await.rounds, 2);
}

pub(super) async fn a_check_that_is_unknown_or_closed_takes_no_round(storage: Subject) {
    assert_eq!(place(&storage, new_round("a", "nowhere")).await, Placement::CheckNotFound);
    let check = open(&storage, "t1").await;
    let first = take(&storage, new_round("b", &check.check_id)).await;
    let mut closed = read_check(&storage, &check.check_id).await;
    closed.version += 1;
    closed.set_state(CheckState::Closed);
    storage.change_check(TENANT, &closed, LEASE).await.unwrap();
    let refused = place(&storage, new_round("c", &check.check_id)).await;
    assert_eq!(refused, Placement::CheckClosed(Box::new(closed)));
    assert_eq!(storage.order_by_request(TENANT, "kiosk", "c").await.unwrap(), None);
    // What was taken before stays known.
    let known = Placement::Known { order: Box::new(first), same_request: true };
    assert_eq!(place(&storage, new_round("b", &check.check_id)).await, known);
}

pub(super) async fn a_check_that_stands_at_another_pos_takes_no_round(storage: Subject) {
    let check = Check { pos_check_reference: "7".into(), connection_id: "till".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &check, LEASE).await.unwrap(), None);
    let round_to = |connection_id: &str| {
        let mut round = new_round("a", &check.check_id);
        round.order.attempts =
            vec![Attempt { number: 1, connection_id: connection_id.to_owned(), ..Attempt::default() }];
        round
    };
    let refused = place(&storage, round_to("bar")).await;
    assert!(matches!(&refused, Placement::CheckElsewhere(at) if at.connection_id == "till"), "{refused:?}");
    assert_eq!(storage.order_by_request(TENANT, "kiosk", "a").await.unwrap(), None);
    assert_eq!(take(&storage, round_to("till")).await.round, 1);
}

pub(super) async fn a_check_closed_at_the_pos_is_closed_here_and_its_next_round_is_not_let_go(storage: Subject) {
    let check = Check { pos_check_reference: "7".into(), ..check_on("t1") };
    assert_eq!(storage.open_check(TENANT, &check, LEASE).await.unwrap(), None);
    let first = take(&storage, new_round("a", &check.check_id)).await;
    let second = take(&storage, new_round("b", &check.check_id)).await;
    let before = read_check(&storage, &check.check_id).await;
    let mut rejected = to(&first, OrderState::Rejected);
    rejected.check.closed_at_pos = true;
    assert_eq!(change(&storage, rejected.clone()).await, Changed::Done { next_round: None });
    assert_eq!(read(&storage, &second.order_id).await, second);
    assert!(!storage.has_round_in_flight(TENANT, &check.check_id).await.unwrap());
    let closed = read_check(&storage, &check.check_id).await;
    assert_eq!((closed.state(), closed.cause.as_str()), (CheckState::Closed, "CLOSED_AT_POS"));
    assert_eq!((closed.close_time, closed.version), (rejected.order.update_time, before.version + 1));
    assert_eq!(
        storage.open_check(TENANT, &Check { check_id: "next".into(), ..check_on("t1") }, LEASE).await.unwrap(),
        None
    );
}

pub(super) async fn orders_and_rounds_share_a_batch(storage: Subject) {
    let check = open(&storage, "t1").await;
    let known = take(&storage, new_order("known")).await;
    let batch = vec![
        new_order("a"),
        new_round("b", &check.check_id),
        new_round("c", "nowhere"),
        new_order("known"),
        new_round("d", &check.check_id),
    ];
    let answers: Vec<Placement> = storage.place_batch(batch).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(taken(answers[0].clone()).display_number, "002");
    assert_eq!(taken(answers[1].clone()).display_number, "003");
    assert_eq!(answers[2], Placement::CheckNotFound);
    assert_eq!(answers[3], Placement::Known { order: Box::new(known.clone()), same_request: true });
    assert_eq!(taken(answers[4].clone()).display_number, "004");
    let changes = vec![to(&known, OrderState::Rejected), to(&taken(answers[1].clone()), OrderState::Placed)];
    let changed: Vec<Changed> = storage.change_batch(changes).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(changed[0], Changed::Done { next_round: None });
    let Changed::Done { next_round: Some(next) } = &changed[1] else { panic!("{changed:?}") };
    assert_eq!(next.0.order_id, "order-of-d");
}

pub(super) async fn a_check_of_another_store_takes_no_round(storage: Subject) {
    let check = open(&storage, "t1").await;
    let mut elsewhere = new_round("a", &check.check_id);
    elsewhere.order.store_id = "elsewhere".into();
    assert_eq!(place(&storage, elsewhere).await, Placement::CheckNotFound);
    assert_eq!(read_check(&storage, &check.check_id).await.rounds, 0);
}
