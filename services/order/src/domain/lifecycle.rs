//! An order's life: which event moves it from which state to which. The whole table is [`next`]; [`apply`] does what it
//! says to an [`Order`].
//!
//! Truth comes first: evidence that the POS has an order is never thrown away, from whichever attempt and however late
//! it comes. Only an answer to the newest attempt can say that the POS does not have it.

use posmesh_proto::{
    adapter::v1::Placed,
    common::v1::{Evidence, EvidenceKind},
    order::v1::{Attempt, AttemptOutcome, HoldReason, Order, OrderState, PriceStatus},
};
use prost_types::Timestamp;

/// What a person has to look at.
pub(crate) mod attention {
    /// The POS made the order twice.
    pub(crate) const DUPLICATE_AT_POS: &str = "DUPLICATE_AT_POS";
    /// The POS charges something else than the guest agreed to.
    pub(crate) const TOTAL_DIFFERS: &str = "TOTAL_DIFFERS";
    /// Nobody knows whether the POS has it, and the platform cannot find out.
    pub(crate) const IN_DOUBT: &str = "IN_DOUBT";
    /// The guest was told that the POS does not have it, and then it had.
    pub(crate) const CONTRADICTED_END: &str = "CONTRADICTED_END";
    /// The POS has only some of its lines.
    pub(crate) const PARTLY_AT_POS: &str = "PARTLY_AT_POS";
    /// The POS had it, or a part of it, and has it no more: the staff may have made it by hand.
    pub(crate) const GONE_FROM_POS: &str = "GONE_FROM_POS";
    /// The POS has it, but what the store asks for besides (the printed ticket, say) did not come in time.
    pub(crate) const EVIDENCE_MISSING: &str = "EVIDENCE_MISSING";
}

/// Something that happened to an order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A write to the POS is about to begin; committed before its first byte.
    AttemptBegun(Attempt),
    /// What became of an attempt, from its answer or found out later.
    Attempted {
        /// The attempt's number.
        attempt: i32,
        /// What became of it.
        outcome: Outcome,
    },
    /// The guest or the product takes it back.
    CancelAsked,
    /// `deliver_by` has passed.
    DeadlinePassed,
    /// Its check takes no more rounds, and it was not sent.
    CheckEnded(Why),
    /// The POS has it, and its guests are done.
    Over(Why),
    /// The platform has given up finding out by itself.
    PersonNeeded(&'static str),
    /// A round must wait for another one of its check.
    MustWait,
    /// Something speaks against it that the POS shall decide about: noted for the staff.
    Noticed(Why),
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The POS has the order.
    Placed(Placed),
    /// It said no for good.
    Rejected(Why),
    /// It said not now.
    RefusedForNow(Why),
    /// Nothing reached it.
    NotHandedOver(Why),
    /// Nobody knows.
    InDoubt(Why),
    /// It was asked after the attempt's time, and provably does not have the order.
    Absent,
    /// It has some of the lines only.
    Partly(Why),
}

/// A cause of the shared vocabulary, and words for staff and logs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Why {
    /// UPPER_SNAKE.
    pub(crate) cause: String,
    /// The vendor's or platform's own words.
    pub(crate) message: String,
}

impl Why {
    /// From its two parts.
    pub(crate) fn new(cause: &str, message: impl Into<String>) -> Self {
        Self { cause: cause.to_owned(), message: message.into() }
    }
}

/// An event as far as the table looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// [`Event::AttemptBegun`]
    Begin,
    /// [`Outcome::Placed`] with all the evidence that the store's policy asks for.
    Placed,
    /// [`Outcome::Placed`] with less.
    PlacedWithout,
    /// [`Outcome::Rejected`] of the newest attempt.
    Rejected,
    /// [`Outcome::RefusedForNow`] of the newest attempt.
    RefusedForNow,
    /// [`Outcome::NotHandedOver`] of the newest attempt.
    NotHandedOver,
    /// [`Outcome::InDoubt`] of the newest attempt.
    InDoubt,
    /// [`Outcome::Absent`] of the newest attempt.
    Absent,
    /// [`Outcome::Partly`]
    Partly,
    /// Anything but `Placed` and `Partly` of an attempt that a newer one has followed.
    Stale,
    /// [`Event::CancelAsked`]
    Cancel,
    /// [`Event::DeadlinePassed`]
    Deadline,
    /// [`Event::CheckEnded`]
    CheckEnded,
    /// [`Event::Over`]
    Over,
    /// [`Event::PersonNeeded`]
    Person,
    /// [`Event::MustWait`]
    Wait,
    /// [`Event::Noticed`]
    Notice,
}

/// What the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go there.
    To(OrderState),
    /// Remain; what the event brings is noted.
    Stay,
    /// Remain, and tell a person.
    StayAndFlag(&'static str),
    /// The event cannot happen here; nothing changes.
    Refuse,
}

/// The table: state × event → what to do.
pub(crate) fn next(state: OrderState, kind: Kind) -> Next {
    use Next::{Refuse, Stay, StayAndFlag, To};
    use OrderState as S;
    match state {
        S::Unspecified => Refuse,
        S::Pending | S::Held => match kind {
            Kind::Begin => To(S::Sending),
            Kind::Placed => To(S::Placed),
            // An attempt that was proven absent has reached somebody after all.
            Kind::PlacedWithout | Kind::Partly => To(S::InDoubt),
            Kind::Cancel => To(S::Cancelled),
            Kind::Deadline => To(S::Expired),
            Kind::CheckEnded => To(S::Rejected),
            Kind::Over => Refuse,
            Kind::Rejected | Kind::RefusedForNow | Kind::NotHandedOver | Kind::InDoubt => Stay,
            Kind::Absent | Kind::Stale | Kind::Person | Kind::Notice => Stay,
            Kind::Wait if state == S::Pending => To(S::Held),
            Kind::Wait => Stay,
        },
        S::Sending => match kind {
            Kind::Placed => To(S::Placed),
            Kind::PlacedWithout | Kind::Stale => Stay,
            Kind::Rejected => To(S::Rejected),
            Kind::RefusedForNow | Kind::NotHandedOver | Kind::Absent => To(S::Pending),
            Kind::InDoubt | Kind::Partly | Kind::Person => To(S::InDoubt),
            Kind::Begin | Kind::Cancel | Kind::Deadline | Kind::CheckEnded | Kind::Over => Refuse,
            Kind::Wait | Kind::Notice => Refuse,
        },
        S::InDoubt => match kind {
            Kind::Placed => To(S::Placed),
            Kind::PlacedWithout | Kind::InDoubt | Kind::Partly | Kind::Stale | Kind::Person => Stay,
            Kind::Rejected => To(S::Rejected),
            Kind::RefusedForNow | Kind::NotHandedOver | Kind::Absent => To(S::Pending),
            Kind::Begin | Kind::Cancel | Kind::Deadline | Kind::CheckEnded | Kind::Over => Refuse,
            Kind::Wait | Kind::Notice => Refuse,
        },
        S::Placed | S::InPreparation | S::Ready | S::Completed => match kind {
            Kind::Over if state != S::Completed => To(S::Completed),
            Kind::Begin | Kind::Cancel | Kind::Deadline | Kind::CheckEnded | Kind::Over => Refuse,
            Kind::Wait | Kind::Notice => Refuse,
            _ => Stay,
        },
        S::Rejected | S::Expired | S::Cancelled => match kind {
            Kind::Placed | Kind::PlacedWithout | Kind::Partly => StayAndFlag(attention::CONTRADICTED_END),
            Kind::Cancel if state == S::Cancelled => Stay,
            Kind::Begin | Kind::Cancel | Kind::Deadline | Kind::CheckEnded | Kind::Over => Refuse,
            Kind::Wait | Kind::Notice => Refuse,
            _ => Stay,
        },
    }
}

/// Whether an order in this state may still change by itself.
pub(crate) fn is_in_flight(state: OrderState) -> bool {
    matches!(state, OrderState::Pending | OrderState::Held | OrderState::Sending | OrderState::InDoubt)
}

/// Whether the order has ended: a watch of it may end, too.
pub(crate) fn has_ended(state: OrderState) -> bool {
    use OrderState as S;
    matches!(state, S::Completed | S::Rejected | S::Expired | S::Cancelled)
}

/// The table refused the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to an order that is {state:?}")]
pub(crate) struct Refused {
    /// The order's state.
    pub(crate) state: OrderState,
    /// What was tried.
    pub(crate) event: Kind,
}

/// Applies an event: moves the state as the table says, notes what the event brings, and counts the version up. Returns
/// whether anything changed; when nothing did, neither did the version.
pub(crate) fn apply(order: &mut Order, event: Event, now: Timestamp) -> Result<bool, Refused> {
    let before = order.clone();
    let kind = note(order, event, now);
    let state = before.state();
    match next(state, kind) {
        Next::Refuse => {
            *order = before;
            return Err(Refused { state, event: kind });
        }
        Next::To(to) => {
            order.set_state(to);
            if to != OrderState::Held {
                order.set_hold_reason(HoldReason::Unspecified);
            }
            if to == OrderState::Placed {
                order.place_time = Some(now);
                order.cause.clear();
                order.cause_message.clear();
            }
        }
        Next::Stay => {}
        Next::StayAndFlag(flag) => raise(order, flag),
    }
    if *order == before {
        return Ok(false);
    }
    order.attention_time = match (before.attention.is_empty(), order.attention.is_empty()) {
        (_, true) => None,
        (true, false) => Some(now),
        (false, false) => before.attention_time,
    };
    order.version += 1;
    order.update_time = Some(now);
    Ok(true)
}

/// Notes what an event brings besides the state, and tells its kind.
fn note(order: &mut Order, event: Event, now: Timestamp) -> Kind {
    match event {
        Event::AttemptBegun(attempt) => {
            order.attempts.push(attempt);
            Kind::Begin
        }
        Event::Attempted { attempt, outcome } => note_outcome(order, attempt, outcome, now),
        Event::CancelAsked => {
            if is_in_flight(order.state()) {
                because(order, &Why::new("CANCELLED_BY_CALLER", ""));
            }
            Kind::Cancel
        }
        Event::DeadlinePassed => {
            // Why it could not be delivered is worth more than that time ran out.
            if order.cause.is_empty() {
                because(order, &Why::new("DEADLINE_PASSED", "the POS could not be reached in time"));
            }
            Kind::Deadline
        }
        Event::CheckEnded(why) => {
            because(order, &why);
            Kind::CheckEnded
        }
        Event::Over(why) => {
            because(order, &why);
            Kind::Over
        }
        Event::PersonNeeded(flag) => {
            if is_in_flight(order.state()) {
                raise(order, flag);
            }
            Kind::Person
        }
        Event::MustWait => {
            order.set_hold_reason(HoldReason::RoundBefore);
            Kind::Wait
        }
        Event::Noticed(why) => {
            because(order, &why);
            Kind::Notice
        }
    }
}

fn note_outcome(order: &mut Order, number: i32, outcome: Outcome, now: Timestamp) -> Kind {
    let newest = order.attempts.last().is_some_and(|a| a.number == number);
    let (kind, ended, why) = match outcome {
        Outcome::Placed(placed) => {
            end_attempt(order, number, AttemptOutcome::Placed, &Why::default(), now);
            add_evidence(order, placed);
            return if has_enough_evidence(order) { Kind::Placed } else { Kind::PlacedWithout };
        }
        Outcome::Partly(why) => {
            end_attempt(order, number, AttemptOutcome::InDoubt, &why, now);
            raise(order, attention::PARTLY_AT_POS);
            because(order, &why);
            return Kind::Partly;
        }
        Outcome::Rejected(why) => (Kind::Rejected, AttemptOutcome::Rejected, why),
        Outcome::RefusedForNow(why) => (Kind::RefusedForNow, AttemptOutcome::RefusedForNow, why),
        Outcome::NotHandedOver(why) => (Kind::NotHandedOver, AttemptOutcome::NotHandedOver, why),
        Outcome::InDoubt(why) => (Kind::InDoubt, AttemptOutcome::InDoubt, why),
        // What was there once did not get lost on the way: somebody took it out. Sending it again could make it twice.
        // Of an attempt that a newer one has followed it is old news: two replicas may have settled it, and the newer one
        // has brought the order there.
        Outcome::Absent if newest && was_at_pos(order) => {
            raise(order, attention::GONE_FROM_POS);
            return Kind::InDoubt;
        }
        Outcome::Absent => (Kind::Absent, AttemptOutcome::Absent, Why::default()),
    };
    end_attempt(order, number, ended, &why, now);
    if !newest {
        return Kind::Stale;
    }
    // Words of an attempt do not overwrite what the order's end says.
    if matches!(order.state(), OrderState::Sending | OrderState::InDoubt) && !why.cause.is_empty() {
        because(order, &why);
    }
    kind
}

/// Notes an attempt's outcome. A better known one replaces a doubt, never the other way round.
fn end_attempt(order: &mut Order, number: i32, outcome: AttemptOutcome, why: &Why, now: Timestamp) {
    let Some(attempt) = order.attempts.iter_mut().find(|a| a.number == number) else { return };
    let settled = !matches!(attempt.outcome(), AttemptOutcome::Unspecified | AttemptOutcome::InDoubt);
    let nothing_new = attempt.outcome() == outcome;
    let only_proof_counts = settled && outcome != AttemptOutcome::Placed;
    if nothing_new || only_proof_counts {
        return;
    }
    attempt.set_outcome(outcome);
    attempt.end_time = Some(now);
    attempt.cause.clone_from(&why.cause);
    attempt.message.clone_from(&why.message);
}

fn add_evidence(order: &mut Order, placed: Placed) {
    for evidence in placed.evidence {
        let known = |e: &Evidence| {
            (e.kind, &e.reference, &e.connection_id) == (evidence.kind, &evidence.reference, &evidence.connection_id)
        };
        if !order.evidence.iter().any(known) {
            order.evidence.push(evidence);
        }
    }
    let reference = placed.pos_order_reference;
    if !reference.is_empty() && !order.pos_order_references.contains(&reference) {
        order.pos_order_references.push(reference);
        if order.pos_order_references.len() > 1 {
            raise(order, attention::DUPLICATE_AT_POS);
        }
    }
    if !placed.display_number.is_empty() {
        order.display_number = placed.display_number;
    }
    if let Some(total) = placed.total {
        let agreed = order.price.as_ref().and_then(|p| p.total.as_ref());
        if agreed.is_some_and(|agreed| *agreed != total) {
            raise(order, attention::TOTAL_DIFFERS);
        } else if order.check_id.is_empty()
            && let Some(price) = &mut order.price
        {
            // A round's tax stays an estimate until the whole check's receipt.
            price.set_status(PriceStatus::Final);
        }
        order.pos_total = Some(total);
    }
}

/// Whether each kind that the store asks for is proven.
pub(crate) fn has_enough_evidence(order: &Order) -> bool {
    let has = |kind: EvidenceKind| order.evidence.iter().any(|e| e.kind() == kind);
    if order.success_evidence.is_empty() {
        return has(EvidenceKind::Pos);
    }
    order.success_evidence().all(has)
}

fn was_at_pos(order: &Order) -> bool {
    !order.evidence.is_empty() || order.attention.iter().any(|flag| flag == attention::PARTLY_AT_POS)
}

fn because(order: &mut Order, why: &Why) {
    order.cause.clone_from(&why.cause);
    order.cause_message.clone_from(&why.message);
}

fn raise(order: &mut Order, flag: &str) {
    if !order.attention.iter().any(|f| f == flag) {
        order.attention.push(flag.to_owned());
    }
}

#[cfg(test)]
mod tests;
