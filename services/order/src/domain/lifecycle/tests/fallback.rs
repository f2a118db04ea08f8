//! Orders that went to what stands in for their POS, and their way into the POS.

use super::*;

pub(super) fn divert(at_s: i64) -> Event {
    let Event::AttemptBegun(attempt) = begin(AttemptKind::Divert, "", at_s) else { unreachable!() };
    let success_evidence = vec![EvidenceKind::Printed.into()];
    Event::AttemptBegun(Box::new(Attempt { connection_id: "printer".into(), success_evidence, ..*attempt }))
}

pub(super) fn to_till(kind: AttemptKind, at_s: i64) -> Event {
    let Event::AttemptBegun(attempt) = begin(kind, "", at_s) else { unreachable!() };
    Event::AttemptBegun(Box::new(Attempt { connection_id: "till".into(), ..*attempt }))
}

fn over(connection: &str, kind: EvidenceKind) -> Placed {
    let evidence = Evidence { connection_id: connection.into(), reference: connection.into(), ..evidence(kind) };
    Placed { evidence: vec![evidence], pos_order_reference: format!("{connection}-7"), ..Placed::default() }
}

fn printed() -> Outcome {
    let placed = over("printer", EvidenceKind::Printed);
    let (display_number, total) = ("P1".into(), Some(yen(1)));
    Outcome::Placed(Box::new(Placed { display_number, total, pos_check_reference: "none".into(), ..placed }))
}

fn at_till() -> Outcome {
    Outcome::Placed(Box::new(Placed { display_number: "K1".into(), ..over("till", EvidenceKind::Pos) }))
}

/// At the fallback, and nobody knows yet.
fn diverted() -> Order {
    let mut order = order(OrderState::Pending, 0);
    apply_all(&mut order, [divert(900)]);
    order
}

/// The kitchen has it.
fn due() -> Order {
    let mut order = diverted();
    apply_all(&mut order, [attempted(1, printed())]);
    order
}

/// An attempt to enter it is under way.
fn entering() -> Order {
    let mut order = due();
    apply_all(&mut order, [to_till(AttemptKind::Enter, 1000)]);
    order
}

fn why(cause: &str) -> Why {
    Why::new(cause, "")
}

#[test]
fn an_entry_is_coming_from_the_moment_the_ticket_is_sent_until_the_pos_or_the_staff_have_it() {
    assert!(!entry::is_coming(&order(OrderState::Pending, 0)));
    for order in [diverted(), due(), entering()] {
        assert!(entry::is_coming(&order), "{:?} {:?}", order.state(), order.pos_entry());
    }
    let mut entered = entering();
    apply_all(&mut entered, [attempted(2, at_till())]);
    assert!(!entry::is_coming(&entered));
    let mut on_list = due();
    apply_all(&mut on_list, [Event::PersonNeeded(attention::POS_ENTRY_DUE)]);
    assert!(!entry::is_coming(&on_list));
    let mut refused = diverted();
    apply_all(&mut refused, [attempted(1, Outcome::NotHandedOver(why("NETWORK_DOWN")))]);
    assert!(!entry::is_coming(&refused));
}

#[test]
fn what_comes_of_a_ticket_makes_it_placed_or_sends_it_on_and_never_rejects_it() {
    for (outcome, state, entry) in [
        (printed(), OrderState::Placed, PosEntry::Due),
        (Outcome::Rejected(why("TEXT_NOT_REPRESENTABLE")), OrderState::Pending, PosEntry::NotDue),
        (Outcome::RefusedForNow(why("PRINTER_OUT_OF_PAPER"), None), OrderState::Pending, PosEntry::NotDue),
        (Outcome::NotHandedOver(why("NETWORK_DOWN")), OrderState::Pending, PosEntry::NotDue),
        (Outcome::Absent, OrderState::Pending, PosEntry::NotDue),
        (Outcome::InDoubt(why("TIMED_OUT")), OrderState::InDoubt, PosEntry::NotDue),
        (Outcome::Partly(why("PARTLY_AT_POS")), OrderState::InDoubt, PosEntry::NotDue),
        (Outcome::CancelledAtPos(Box::default()), OrderState::Cancelled, PosEntry::Unspecified),
    ] {
        let mut order = diverted();
        assert_eq!((order.state(), order.pos_entry()), (OrderState::Sending, PosEntry::NotDue));
        apply_all(&mut order, [attempted(1, outcome.clone())]);
        assert_eq!((order.state(), order.pos_entry()), (state, entry), "{outcome:?}");
    }
}

#[test]
fn of_the_fallback_only_evidence_and_the_kitchens_number_are_kept() {
    let order = due();
    assert_eq!(order.display_number, "P1");
    assert!(order.pos_order_references.is_empty() && order.pos_total.is_none() && order.attention.is_empty());
}

#[test]
fn evidence_of_the_fallback_does_not_count_as_that_of_the_pos() {
    let mut order = diverted();
    let says_pos = Outcome::Placed(Box::new(over("printer", EvidenceKind::Pos)));
    apply_all(&mut order, [attempted(1, says_pos)]);
    assert_eq!(order.state(), OrderState::Sending, "nothing is printed");
}

#[test]
fn what_the_fallback_does_not_have_comes_to_the_pos_by_itself() {
    let mut order = diverted();
    apply_all(&mut order, [attempted(1, Outcome::Absent), to_till(AttemptKind::Submit, 1000)]);
    assert_eq!((order.state(), order.pos_entry()), (OrderState::Sending, PosEntry::Unspecified));
    apply_all(&mut order, [attempted(2, at_till())]);
    assert_eq!((order.state(), order.pos_entry()), (OrderState::Placed, PosEntry::Unspecified));
}

#[test]
fn while_one_side_may_have_it_nothing_goes_to_the_other() {
    let mut at_fallback = diverted();
    apply_all(&mut at_fallback, [attempted(1, Outcome::InDoubt(why("TIMED_OUT")))]);
    apply(&mut at_fallback, to_till(AttemptKind::Submit, 2000), now()).unwrap_err();
    apply_all(&mut at_fallback, [divert(2000)]);
    let mut at_pos = order(OrderState::Pending, 0);
    apply_all(&mut at_pos, [to_till(AttemptKind::Submit, 900), attempted(1, Outcome::InDoubt(why("TIMED_OUT")))]);
    apply(&mut at_pos, divert(2000), now()).unwrap_err();
}

#[test]
fn a_late_yes_of_the_pos_for_what_is_printed_calls_a_person() {
    let mut order = order(OrderState::Pending, 0);
    let absent = attempted(1, Outcome::Absent);
    apply_all(&mut order, [to_till(AttemptKind::Submit, 800), absent, divert(900), attempted(2, printed())]);
    apply_all(&mut order, [attempted(1, at_till())]);
    assert_eq!(order.attention, [attention::DUPLICATE_AT_POS]);
    assert_eq!((order.state(), order.pos_entry()), (OrderState::Placed, PosEntry::Entered));
}

#[test]
fn what_comes_of_an_entry_changes_nothing_about_the_meal() {
    for (outcome, entry, flag) in [
        (at_till(), PosEntry::Entered, None),
        (Outcome::Rejected(why("ITEM_SOLD_OUT")), PosEntry::Due, Some(attention::POS_ENTRY_REFUSED)),
        (Outcome::CancelledAtPos(Box::default()), PosEntry::Due, Some(attention::POS_ENTRY_REFUSED)),
        (Outcome::Partly(why("PARTLY_AT_POS")), PosEntry::Due, Some(attention::POS_ENTRY_IN_DOUBT)),
        (Outcome::RefusedForNow(why("TABLE_LOCKED"), None), PosEntry::Due, None),
        (Outcome::NotHandedOver(why("NETWORK_DOWN")), PosEntry::Due, None),
        (Outcome::InDoubt(why("TIMED_OUT")), PosEntry::Due, None),
        (Outcome::Absent, PosEntry::Due, None),
    ] {
        let mut order = entering();
        apply_all(&mut order, [attempted(2, outcome.clone())]);
        assert_eq!((order.state(), order.pos_entry()), (OrderState::Placed, entry), "{outcome:?}");
        assert_eq!(order.attention, flag.into_iter().collect::<Vec<_>>(), "{outcome:?}");
        assert_eq!(order.display_number, "P1", "the kitchen's slip keeps its number");
    }
}

#[test]
fn an_entered_order_has_the_pos_s_number_and_a_total_that_differs_calls_a_person() {
    let mut order = entering();
    let dearer = Placed { total: Some(yen(1_000)), ..over("till", EvidenceKind::Pos) };
    apply_all(&mut order, [attempted(2, Outcome::Placed(Box::new(dearer)))]);
    assert_eq!(
        (order.pos_entry(), order.attention.as_slice()),
        (PosEntry::Entered, [attention::TOTAL_DIFFERS.into()].as_slice())
    );
    assert_eq!(order.pos_order_references, ["till-7"]);
    assert!(order.awaited_connection_id.is_empty());
}

#[test]
fn what_the_staff_say_of_a_wish_leaves_the_entry_on_their_list_and_that_they_entered_it_ends_both() {
    let wished_back = || {
        let mut order = due();
        apply_all(&mut order, [Event::PersonNeeded(attention::POS_ENTRY_DUE), cancel("guest")]);
        order
    };
    let mut kept = wished_back();
    apply_all(&mut kept, [said(ResolutionKind::AtPos)]);
    assert_eq!(
        (kept.pos_entry(), kept.attention.as_slice()),
        (PosEntry::Due, [attention::POS_ENTRY_DUE.into()].as_slice())
    );
    assert!(open_change(&kept).is_none());
    let mut entered = wished_back();
    apply_all(&mut entered, [said(ResolutionKind::EnteredByStaff)]);
    assert_eq!((entered.pos_entry(), entered.attention.len()), (PosEntry::ByStaff, 0));
    assert!(open_change(&entered).is_none());
}

#[test]
fn one_entry_at_a_time_and_none_of_what_the_staff_may_be_entering() {
    let mut doubtful = entering();
    apply(&mut doubtful, to_till(AttemptKind::Enter, 2000), now()).unwrap_err();
    apply_all(&mut doubtful, [attempted(2, Outcome::Absent), to_till(AttemptKind::Enter, 2000)]);
    let mut refused = entering();
    apply_all(&mut refused, [attempted(2, Outcome::Rejected(why("ITEM_SOLD_OUT"))), said(ResolutionKind::Seen)]);
    assert!(refused.attention.is_empty());
    apply(&mut refused, to_till(AttemptKind::Enter, 2000), now()).unwrap_err();
    let mut wished_back = due();
    apply_all(&mut wished_back, [cancel("guest")]);
    apply(&mut wished_back, to_till(AttemptKind::Enter, 2000), now()).unwrap_err();
    apply(&mut entering(), cancel("guest"), now()).unwrap_err();
}

#[test]
fn a_person_says_what_became_of_an_entry_in_doubt() {
    let in_doubt = || {
        let mut order = entering();
        let doubt = attempted(2, Outcome::InDoubt(why("TIMED_OUT")));
        apply_all(&mut order, [doubt, Event::PersonNeeded(attention::POS_ENTRY_IN_DOUBT)]);
        order
    };
    for (kind, entry, flags) in [
        (ResolutionKind::AtPos, PosEntry::ByStaff, vec![]),
        (ResolutionKind::EnteredByStaff, PosEntry::ByStaff, vec![]),
        (ResolutionKind::NotAtPos, PosEntry::Due, vec![attention::POS_ENTRY_DUE]),
        (ResolutionKind::Seen, PosEntry::Due, vec![]),
    ] {
        let mut order = in_doubt();
        apply_all(&mut order, [said(kind)]);
        assert_eq!((order.state(), order.pos_entry()), (OrderState::Placed, entry), "{kind:?}");
        assert_eq!(order.attention, flags, "{kind:?}");
    }
    let mut absent = in_doubt();
    apply_all(&mut absent, [attempted(2, Outcome::Absent)]);
    assert_eq!(absent.attention, [attention::POS_ENTRY_DUE], "somebody may be entering it by now");
}

#[test]
fn nobody_says_what_became_of_an_entry_whose_answer_is_still_to_come() {
    for kind in [ResolutionKind::AtPos, ResolutionKind::EnteredByStaff, ResolutionKind::NotAtPos] {
        let mut order = entering();
        let before = order.clone();
        apply(&mut order, said(kind), now()).unwrap_err();
        assert_eq!(order, before, "{kind:?}");
    }
}

#[test]
fn a_ticket_that_turns_up_after_the_order_went_on_to_the_pos_calls_a_person() {
    let mut order = diverted();
    apply_all(&mut order, [attempted(1, Outcome::Absent), to_till(AttemptKind::Submit, 1000), attempted(1, printed())]);
    assert_eq!(order.attention, [attention::DUPLICATE_AT_POS]);
    apply_all(&mut order, [attempted(2, at_till())]);
    assert_eq!((order.state(), order.attention.len()), (OrderState::Placed, 1));
}

#[test]
fn what_was_found_at_the_pos_or_taken_back_needs_no_entry() {
    let mut seen = due();
    apply_all(&mut seen, [to_till(AttemptKind::Enter, 1000), attempted(2, Outcome::InDoubt(why("TIMED_OUT")))]);
    apply_all(&mut seen, [Event::SeenAtPos(Box::new(over("till", EvidenceKind::Pos)))]);
    assert_eq!((seen.pos_entry(), seen.attention.len()), (PosEntry::Entered, 0));
    let mut back = due();
    apply_all(&mut back, [Event::PersonNeeded(attention::POS_ENTRY_DUE), cancel("guest")]);
    apply_all(&mut back, [begin(AttemptKind::Cancel, "c", 950), attempted(2, Outcome::Changed(Changed::default()))]);
    assert_eq!((back.state(), back.pos_entry()), (OrderState::Cancelled, PosEntry::Unspecified));
    assert!(back.attention.is_empty());
}

#[test]
fn progress_goes_on_while_the_entry_is_due() {
    let mut order = entering();
    let ready = Placed { progress: PosOrderProgress::Ready.into(), ..over("printer", EvidenceKind::Printed) };
    apply_all(&mut order, [Event::Reported(Box::new(ready)), Event::Over(why("BUSINESS_DAY_ENDED"))]);
    assert_eq!((order.state(), order.pos_entry()), (OrderState::Completed, PosEntry::Due));
    apply_all(&mut order, [attempted(2, at_till())]);
    assert_eq!((order.state(), order.pos_entry()), (OrderState::Completed, PosEntry::Entered));
}
