//! Wishes to take an order back, progress at the POS, replays, and a person's word.

use super::*;

#[test]
fn an_order_that_was_not_sent_is_taken_back_at_once() {
    for state in [OrderState::Pending, OrderState::Held] {
        let mut order = order(state, 0);
        apply_all(&mut order, [cancel("guest"), cancel("guest")]);
        assert_eq!((order.state(), order.cause.as_str()), (OrderState::Cancelled, "CANCELLED_BY_CALLER"));
        assert_eq!(changes(&order), [OrderChangeState::Confirmed]);
    }
}

#[test]
fn the_platform_takes_back_only_what_nobody_knows_of() {
    for state in [OrderState::Pending, OrderState::Held, OrderState::Placed, OrderState::Cancelled] {
        assert!(apply(&mut order(state, 1), cancel(PLATFORM), now()).is_err(), "{state:?}");
    }
    assert!(apply(&mut order(OrderState::InDoubt, 1), cancel(PLATFORM), now()).unwrap());
}

#[test]
fn a_wish_while_in_doubt_wins_by_any_proof_that_nothing_is_there_and_nothing_more_is_sent() {
    let proofs = [
        Outcome::Absent,
        Outcome::NotHandedOver(Why::default()),
        Outcome::RefusedForNow(Why::default(), None),
        Outcome::Rejected(Why::new("ITEM_SOLD_OUT", "")),
    ];
    for state in [OrderState::Sending, OrderState::InDoubt] {
        for proof in proofs.clone() {
            let mut order = order(state, 1);
            apply_all(&mut order, [cancel("guest")]);
            assert_eq!((order.state(), changes(&order)), (state, vec![OrderChangeState::Requested]));
            assert!(apply(&mut order, begin(AttemptKind::Submit, "", 900), now()).is_err(), "nothing more is sent");
            apply_all(&mut order, [attempted(1, proof.clone())]);
            assert_eq!(order.state(), OrderState::Cancelled, "{proof:?}");
            assert_eq!(changes(&order), [OrderChangeState::Confirmed]);
        }
    }
}

#[test]
fn a_wish_for_an_order_that_turns_out_to_be_there_is_the_pos_s_to_decide() {
    for (answer, state, change) in [
        (Outcome::Changed(Changed::default()), OrderState::Cancelled, OrderChangeState::Confirmed),
        (Outcome::Gone, OrderState::Cancelled, OrderChangeState::Confirmed),
        (Outcome::CancelledAtPos(Box::new(placed("7"))), OrderState::Cancelled, OrderChangeState::Confirmed),
        (Outcome::Rejected(Why::new("TOO_LATE", "")), OrderState::Placed, OrderChangeState::Refused),
        (Outcome::InDoubt(Why::default()), OrderState::Placed, OrderChangeState::Requested),
        (Outcome::Absent, OrderState::Placed, OrderChangeState::Requested),
        (Outcome::NotHandedOver(Why::default()), OrderState::Placed, OrderChangeState::Requested),
    ] {
        let mut order = order(OrderState::Sending, 1);
        apply_all(&mut order, [cancel("guest"), attempted(1, Outcome::Placed(Box::new(placed("7"))))]);
        assert_eq!((order.state(), changes(&order)), (OrderState::Placed, vec![OrderChangeState::Requested]));
        apply_all(&mut order, [begin(AttemptKind::Cancel, "c", 900), attempted(2, answer.clone())]);
        assert_eq!((order.state(), changes(&order)), (state, vec![change]), "{answer:?}");
        assert!(order.attention.is_empty());
    }
}

#[test]
fn what_is_ready_or_handed_out_is_not_taken_back_but_a_wish_made_before_goes_on() {
    for state in [OrderState::Ready, OrderState::Completed] {
        assert!(apply(&mut order(state, 1), cancel("guest"), now()).is_err());
    }
    let mut order = order(OrderState::Placed, 1);
    let ready = Placed { progress: PosOrderProgress::Ready.into(), ..placed("7") };
    apply_all(&mut order, [cancel("guest"), Event::Reported(Box::new(ready)), begin(AttemptKind::Cancel, "c", 900)]);
    apply_all(&mut order, [attempted(2, Outcome::Changed(Changed::default()))]);
    assert_eq!(order.state(), OrderState::Cancelled, "the POS confirmed it");
}

#[test]
fn a_cancel_confirmed_late_counts_even_after_the_wish_was_given_up() {
    let mut order = order(OrderState::Placed, 1);
    let unanswered = attempted(2, Outcome::RefusedForNow(Why::default(), None));
    apply_all(&mut order, [cancel("guest"), begin(AttemptKind::Cancel, "c", 900), unanswered]);
    apply_all(&mut order, [Event::ChangeGivenUp(Why::new("NETWORK_DOWN", ""))]);
    assert_eq!(
        (changes(&order), order.attention.as_slice()),
        (vec![OrderChangeState::Refused], &["CHANGE_REFUSED".to_owned()][..])
    );
    apply_all(&mut order, [attempted(2, Outcome::Changed(Changed::default()))]);
    assert_eq!((order.state(), changes(&order)), (OrderState::Cancelled, vec![OrderChangeState::Confirmed]));
    assert!(order.attention.is_empty());
}

#[test]
fn a_wish_of_which_an_attempt_is_in_doubt_is_not_given_up() {
    let mut order = order(OrderState::Placed, 1);
    let doubt = attempted(2, Outcome::InDoubt(Why::default()));
    apply_all(&mut order, [cancel("guest"), begin(AttemptKind::Cancel, "c", 900), doubt]);
    assert!(apply(&mut order, Event::ChangeGivenUp(Why::default()), now()).is_err());
    let early = begin(AttemptKind::Cancel, "c", 920);
    assert!(apply(&mut order, early, now()).is_err(), "the first may still be writing");
    apply_all(&mut order, [begin(AttemptKind::Cancel, "c", 931)]);
}

#[test]
fn lines_are_void_only_when_the_pos_has_confirmed_it() {
    let mut order = order(OrderState::Placed, 1);
    order.lines = vec![OrderLine { line_id: "l".into(), quantity: 3, ..OrderLine::default() }];
    let mut change = OrderChange { change_id: "v".into(), ..OrderChange::default() };
    change.set_kind(OrderChangeKind::VoidLines);
    change.lines = vec![LineVoid { line_id: "l".into(), quantity_voided: 2 }];
    apply_all(&mut order, [Event::ChangeAsked(Box::new(change)), begin(AttemptKind::VoidLines, "v", 900)]);
    assert_eq!(order.lines[0].quantity_voided, 0);
    assert!(apply(&mut order, cancel("guest"), now()).is_err(), "one wish at a time");
    let total = Some(yen(500));
    apply_all(&mut order, [attempted(2, Outcome::Changed(Changed { total: total.clone(), ..Changed::default() }))]);
    assert_eq!((order.lines[0].quantity_voided, order.state()), (2, OrderState::Placed));
    assert_eq!((order.pos_total.clone(), order.attention.len()), (total, 0));
    assert_eq!(order.price.unwrap().total, Some(yen(980)), "what was agreed stays");
}

#[test]
fn lines_of_an_order_that_is_gone_from_the_pos_are_for_a_person() {
    let mut order = order(OrderState::Placed, 1);
    let mut change = OrderChange { change_id: "v".into(), ..OrderChange::default() };
    change.set_kind(OrderChangeKind::VoidLines);
    apply_all(&mut order, [Event::ChangeAsked(Box::new(change)), begin(AttemptKind::VoidLines, "v", 900)]);
    apply_all(&mut order, [attempted(2, Outcome::Gone)]);
    assert_eq!((order.state(), changes(&order)), (OrderState::Placed, vec![OrderChangeState::Refused]));
    assert_eq!(order.attention, [attention::GONE_FROM_POS]);
}

#[test]
fn an_end_that_evidence_contradicts_is_taken_back_by_the_platform_and_told() {
    let mut order = order(OrderState::Expired, 1);
    apply_all(&mut order, [attempted(1, Outcome::Placed(Box::new(placed("7"))))]);
    assert_eq!(
        (order.state(), order.attention.as_slice()),
        (OrderState::Expired, &["CONTRADICTED_END".to_owned()][..])
    );
    assert_eq!((wish(&order), order.changes[0].requested_by.as_str()), (Wish::Platform, PLATFORM));
    let id = order.changes[0].change_id.clone();
    let mut refused = order.clone();
    apply_all(&mut order, [begin(AttemptKind::Cancel, &id, 900), attempted(2, Outcome::Changed(Changed::default()))]);
    assert_eq!((order.state(), changes(&order)), (OrderState::Expired, vec![OrderChangeState::Confirmed]));
    assert!(order.attention.is_empty(), "what the guest was told is true again");

    let no = Outcome::Rejected(Why::new("TOO_LATE", ""));
    apply_all(&mut refused, [begin(AttemptKind::Cancel, &id, 900), attempted(2, no)]);
    apply_all(&mut refused, [Event::SeenAtPos(Box::new(placed("7")))]);
    assert_eq!(changes(&refused), [OrderChangeState::Refused], "the platform asks once");
    assert_eq!(refused.attention, [attention::CONTRADICTED_END]);
}

#[test]
fn news_of_an_order_that_the_pos_took_back_are_old_news_unless_it_shows_it_now() {
    let mut order = order(OrderState::Sending, 1);
    let answer = attempted(1, Outcome::Placed(Box::new(placed("7"))));
    apply_all(&mut order, [Event::Reported(Box::new(placed("7"))), cancel("guest")]);
    apply_all(&mut order, [begin(AttemptKind::Cancel, "c", 900), attempted(2, Outcome::Changed(Changed::default()))]);
    apply_all(&mut order, [answer, Event::Reported(Box::new(placed("7")))]);
    assert_eq!((order.state(), order.attention.len()), (OrderState::Cancelled, 0));
    apply_all(&mut order, [Event::SeenAtPos(Box::new(placed("7")))]);
    assert_eq!(order.attention, [attention::CONTRADICTED_END]);
}

#[test]
fn an_order_that_was_cancelled_at_the_pos_is_never_sent_again() {
    let there = |progress: PosOrderProgress| Placed { progress: progress.into(), ..placed("7") };
    for state in [OrderState::Pending, OrderState::Sending, OrderState::InDoubt, OrderState::Placed, OrderState::Ready]
    {
        let mut order = order(state, 1);
        apply_all(&mut order, [Event::Reported(Box::new(there(PosOrderProgress::Cancelled)))]);
        assert_eq!((order.state(), order.cause.as_str()), (OrderState::Cancelled, "CANCELLED_AT_POS"), "{state:?}");
        apply_all(&mut order, [Event::Reported(Box::new(there(PosOrderProgress::Ready)))]);
        assert_eq!((order.state(), order.attention.len()), (OrderState::Cancelled, 0), "late progress");
    }
}

#[test]
fn a_duplicate_that_the_staff_remove_leaves_the_other_one() {
    let mut order = order(OrderState::Sending, 2);
    let second = attempted(2, Outcome::Placed(Box::new(placed("8"))));
    apply_all(&mut order, [attempted(1, Outcome::Placed(Box::new(placed("7")))), second]);
    let gone = Placed { progress: PosOrderProgress::Cancelled.into(), ..placed("8") };
    apply_all(&mut order, [Event::Reported(Box::new(gone))]);
    assert_eq!((order.state(), order.attention.as_slice()), (OrderState::Placed, &["DUPLICATE_AT_POS".to_owned()][..]));
}

#[test]
fn progress_in_any_order_never_goes_back() {
    use PosOrderProgress as P;
    let reported = |p: P| Event::Reported(Box::new(Placed { progress: p.into(), ..placed("7") }));
    for (steps, end) in [
        (vec![P::Ready, P::InPreparation, P::Accepted], OrderState::Ready),
        (vec![P::InPreparation, P::InPreparation, P::Ready], OrderState::Ready),
        (vec![P::Completed, P::Ready], OrderState::Completed),
    ] {
        let mut order = order(OrderState::Sending, 1);
        apply_all(&mut order, steps.into_iter().map(reported));
        assert_eq!(order.state(), end);
        assert!(order.place_time.is_some());
    }
}

#[test]
fn a_replay_s_no_says_nothing_about_the_attempt_before_it() {
    let noes = [
        Outcome::Rejected(Why::new("X", "")),
        Outcome::RefusedForNow(Why::new("X", ""), None),
        Outcome::NotHandedOver(Why::new("X", "")),
    ];
    for no in noes {
        let mut order = order(OrderState::Pending, 0);
        apply_all(&mut order, [begin(AttemptKind::Submit, "", 100), attempted(1, Outcome::InDoubt(Why::default()))]);
        assert!(apply(&mut order, begin(AttemptKind::Submit, "", 120), now()).is_err(), "the first may still write");
        apply_all(&mut order, [begin(AttemptKind::Submit, "", 131), attempted(2, no.clone())]);
        assert_eq!(order.state(), OrderState::InDoubt, "{no:?}");
        apply_all(&mut order, [attempted(2, Outcome::Absent)]);
        assert_eq!(order.state(), OrderState::Pending, "absence proves it for both");
        assert_eq!(order.attempts[0].outcome(), AttemptOutcome::Absent);
    }
}

#[test]
fn a_person_s_word_settles_what_the_platform_cannot_and_late_evidence_still_counts() {
    for (kind, state) in [
        (ResolutionKind::AtPos, OrderState::Placed),
        (ResolutionKind::EnteredByStaff, OrderState::Placed),
        (ResolutionKind::SendAgain, OrderState::Pending),
        (ResolutionKind::NotAtPos, OrderState::Rejected),
        (ResolutionKind::Seen, OrderState::InDoubt),
    ] {
        let mut order = order(OrderState::InDoubt, 1);
        order.success_evidence = vec![EvidenceKind::Printed.into()];
        apply_all(&mut order, [Event::PersonNeeded(attention::IN_DOUBT), said(kind)]);
        assert_eq!((order.state(), order.attention.len()), (state, 0), "{kind:?}");
        let resolution = order.resolutions[0].clone();
        assert_eq!((resolution.kind(), resolution.cleared.as_slice()), (kind, &["IN_DOUBT".to_owned()][..]));
        apply_all(&mut order, [Event::PersonNeeded(attention::IN_DOUBT)]);
        assert!(order.attention.is_empty(), "what was seen is not raised again");
        let printed = Placed { evidence: vec![evidence(EvidenceKind::Printed)], ..placed("7") };
        apply_all(&mut order, [attempted(1, Outcome::Placed(Box::new(printed)))]);
        let contradicted = kind == ResolutionKind::NotAtPos;
        assert_eq!(order.attention.contains(&"CONTRADICTED_END".to_owned()), contradicted, "{kind:?}");
        assert_eq!(order.state() == OrderState::Placed, !contradicted, "{kind:?}");
    }
}

#[test]
fn an_order_that_is_sent_again_by_a_person_has_time_to_be_delivered() {
    let mut order = order(OrderState::InDoubt, 1);
    order.deliver_by = Some(at(10));
    apply_all(&mut order, [said(ResolutionKind::SendAgain)]);
    assert!(order.deliver_by.unwrap().seconds > now().seconds);
}
