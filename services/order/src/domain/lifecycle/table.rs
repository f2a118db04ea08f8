//! The table: state × event → state, guard, flag.

use std::collections::BTreeSet;

use posmesh_proto::order::v1::OrderState;

use super::attention;

/// An event as far as the table looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// An attempt to submit begins, of an order that provably is not at the POS.
    Begin,
    /// An attempt to submit begins under the same reference, of an order that may be there: the vendor recognizes it.
    Replay,
    /// The POS has it, with all the evidence that the store's policy asks for.
    Placed,
    /// The POS has it, with less.
    PlacedWithout,
    /// As `Placed`, and the kitchen has begun.
    InPreparation,
    /// As `Placed`, and it is ready.
    Ready,
    /// As `Placed`, and it is handed out, or paid and closed.
    Completed,
    /// The POS had it, and it was cancelled there.
    CancelledAtPos,
    /// The POS said no for good to the newest attempt, and no earlier one is open.
    Rejected,
    /// It provably is not at the POS, and may be sent again.
    NotThere,
    /// Nobody knows what became of the newest attempt, or of an earlier one.
    InDoubt,
    /// The POS has some of the lines only.
    Partly,
    /// Somebody wishes to take it back.
    Cancel,
    /// Somebody wishes to take lines back.
    Void,
    /// An attempt to carry out a wish begins.
    BeginChange,
    /// The POS confirmed that it took it back.
    Changed,
    /// `deliver_by` has passed.
    Deadline,
    /// Its check takes no more rounds, and it was not sent.
    CheckEnded,
    /// Its guests are done.
    Over,
    /// It must wait: for another round of its check, or for its POS.
    Wait,
    /// Something speaks against it, for the staff to know.
    Notice,
    /// The platform has given up finding out by itself.
    Person,
    /// A person says that the POS has it.
    AtPos,
    /// A person says that the POS does not have it, and that it shall be sent again.
    SendAgain,
    /// A person says that the POS does not have it.
    NotAtPos,
    /// Whatever is only noted: old news, what became of a wish for lines, what somebody has seen.
    Noted,
    /// An attempt shall begin although one is under way that it must not meet.
    Busy,
}

/// Whether somebody wishes to take the order back, and that is not decided yet: the table's guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wish {
    /// Nobody does.
    None,
    /// The guest, the product or the staff.
    Caller,
    /// The platform, because the guest was told that it is not there, or the time for it is over.
    Platform,
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

use Next::{Refuse, Stay, StayAndFlag, To};
use OrderState as S;

/// The states of an order.
pub(super) const STATES: [S; 11] = [
    S::Pending,
    S::Held,
    S::Sending,
    S::InDoubt,
    S::Placed,
    S::InPreparation,
    S::Ready,
    S::Completed,
    S::Rejected,
    S::Expired,
    S::Cancelled,
];

/// The kinds of events.
pub(super) const KINDS: [Kind; 27] = [
    Kind::Begin,
    Kind::Replay,
    Kind::Placed,
    Kind::PlacedWithout,
    Kind::InPreparation,
    Kind::Ready,
    Kind::Completed,
    Kind::CancelledAtPos,
    Kind::Rejected,
    Kind::NotThere,
    Kind::InDoubt,
    Kind::Partly,
    Kind::Cancel,
    Kind::Void,
    Kind::BeginChange,
    Kind::Changed,
    Kind::Deadline,
    Kind::Person,
    Kind::AtPos,
    Kind::SendAgain,
    Kind::NotAtPos,
    Kind::Noted,
    Kind::Busy,
    Kind::CheckEnded,
    Kind::Over,
    Kind::Wait,
    Kind::Notice,
];

/// The table.
pub(crate) fn next(state: OrderState, kind: Kind, wish: Wish) -> Next {
    match state {
        S::Unspecified => Refuse,
        S::Pending | S::Held => unsent(state, kind),
        S::Sending | S::InDoubt => doubtful(state, kind, wish),
        S::Placed | S::InPreparation | S::Ready | S::Completed => at_pos(state, kind),
        S::Rejected | S::Expired | S::Cancelled => ended(state, kind),
    }
}

/// Every way from one state to another that the table has.
pub(crate) fn edges() -> BTreeSet<(OrderState, OrderState)> {
    let wishes = [Wish::None, Wish::Caller, Wish::Platform];
    let events = KINDS.into_iter().flat_map(|kind| wishes.map(|wish| (kind, wish)));
    STATES
        .into_iter()
        .flat_map(|from| events.clone().map(move |(kind, wish)| (from, next(from, kind, wish))))
        .filter_map(|(from, next)| if let To(to) = next { Some((from, to)) } else { None })
        .collect()
}

/// Nothing of it is at the POS, as far as is proven; an attempt that was proven absent may have reached somebody after
/// all.
fn unsent(state: OrderState, kind: Kind) -> Next {
    match kind {
        Kind::Begin => To(S::Sending),
        Kind::Placed => To(S::Placed),
        Kind::InPreparation => To(S::InPreparation),
        Kind::Ready => To(S::Ready),
        Kind::Completed => To(S::Completed),
        Kind::PlacedWithout | Kind::Partly => To(S::InDoubt),
        Kind::Cancel | Kind::CancelledAtPos | Kind::Changed => To(S::Cancelled),
        Kind::Deadline => To(S::Expired),
        Kind::CheckEnded => To(S::Rejected),
        Kind::Wait if state == S::Pending => To(S::Held),
        Kind::Wait | Kind::Notice => Stay,
        Kind::Rejected | Kind::NotThere | Kind::InDoubt | Kind::Person | Kind::Noted => Stay,
        Kind::Replay | Kind::Void | Kind::BeginChange | Kind::Busy => Refuse,
        Kind::AtPos | Kind::SendAgain | Kind::NotAtPos | Kind::Over => Refuse,
    }
}

/// An attempt is under way, or nobody knows what became of one.
fn doubtful(state: OrderState, kind: Kind, wish: Wish) -> Next {
    let in_doubt = state == S::InDoubt;
    match kind {
        Kind::Placed => To(S::Placed),
        Kind::InPreparation => To(S::InPreparation),
        Kind::Ready => To(S::Ready),
        Kind::Completed => To(S::Completed),
        Kind::CancelledAtPos => To(S::Cancelled),
        Kind::Rejected => unless_wished_back(wish, S::Rejected),
        Kind::NotThere => unless_wished_back(wish, S::Pending),
        // The platform asks only when the time for it is over.
        Kind::Changed => To(if wish == Wish::Platform { S::Expired } else { S::Cancelled }),
        Kind::InDoubt | Kind::Partly | Kind::Person => {
            if in_doubt {
                Stay
            } else {
                To(S::InDoubt)
            }
        }
        Kind::PlacedWithout | Kind::Noted | Kind::Cancel => Stay,
        Kind::Replay if in_doubt && wish == Wish::None => To(S::Sending),
        Kind::BeginChange if in_doubt => Stay,
        Kind::AtPos if in_doubt => To(S::Placed),
        Kind::SendAgain if in_doubt => unless_wished_back(wish, S::Pending),
        Kind::NotAtPos if in_doubt => unless_wished_back(wish, S::Rejected),
        Kind::Begin | Kind::Replay | Kind::Void | Kind::BeginChange | Kind::Deadline | Kind::Busy => Refuse,
        Kind::AtPos | Kind::SendAgain | Kind::NotAtPos | Kind::CheckEnded | Kind::Over => Refuse,
        Kind::Wait | Kind::Notice => Refuse,
    }
}

/// What is not there and is wished back is never sent again.
fn unless_wished_back(wish: Wish, otherwise: OrderState) -> Next {
    To(match wish {
        Wish::None => otherwise,
        Wish::Caller => S::Cancelled,
        Wish::Platform if otherwise == S::Pending => S::Expired,
        Wish::Platform => otherwise,
    })
}

/// The POS has it. Progress only moves on.
fn at_pos(state: OrderState, kind: Kind) -> Next {
    let forward = |to: OrderState| if to as i32 > state as i32 { To(to) } else { Stay };
    match kind {
        Kind::InPreparation => forward(S::InPreparation),
        Kind::Ready => forward(S::Ready),
        Kind::Completed => forward(S::Completed),
        Kind::Over if state != S::Completed => To(S::Completed),
        Kind::CancelledAtPos | Kind::Changed | Kind::NotAtPos => To(S::Cancelled),
        Kind::Cancel | Kind::Void if matches!(state, S::Placed | S::InPreparation) => Stay,
        Kind::Placed | Kind::PlacedWithout | Kind::Partly | Kind::AtPos | Kind::BeginChange => Stay,
        Kind::Rejected | Kind::NotThere | Kind::InDoubt | Kind::Person | Kind::Noted => Stay,
        Kind::Begin | Kind::Replay | Kind::Cancel | Kind::Void | Kind::Deadline | Kind::Busy => Refuse,
        Kind::SendAgain | Kind::CheckEnded | Kind::Over | Kind::Wait | Kind::Notice => Refuse,
    }
}

/// The guest was told that the POS does not have it.
fn ended(state: OrderState, kind: Kind) -> Next {
    match kind {
        Kind::Placed | Kind::PlacedWithout | Kind::InPreparation | Kind::Ready | Kind::Completed | Kind::Partly => {
            StayAndFlag(attention::CONTRADICTED_END)
        }
        Kind::Cancel if state == S::Cancelled => Stay,
        Kind::CancelledAtPos | Kind::BeginChange | Kind::Changed => Stay,
        Kind::Rejected | Kind::NotThere | Kind::InDoubt | Kind::Person | Kind::Noted => Stay,
        Kind::Begin | Kind::Replay | Kind::Cancel | Kind::Void | Kind::Deadline | Kind::Busy => Refuse,
        Kind::AtPos | Kind::SendAgain | Kind::NotAtPos | Kind::CheckEnded | Kind::Over => Refuse,
        Kind::Wait | Kind::Notice => Refuse,
    }
}
