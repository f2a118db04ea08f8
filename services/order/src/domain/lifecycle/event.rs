//! What can happen to an order.

use std::time::Duration;

use posmesh_proto::{
    adapter::v1::{Changed, Placed},
    order::v1::{Attempt, OrderChange, ResolutionKind},
};
use prost_types::Timestamp;

/// Something that happened to an order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A write to the POS is about to begin; committed before its first byte. Its number is given when it is applied.
    AttemptBegun(Box<Attempt>),
    /// What became of an attempt, from its answer or found out later.
    Attempted {
        /// The attempt's number.
        attempt: i32,
        /// What became of it.
        outcome: Outcome,
    },
    /// The POS tells how far it is, and what proves it; in any order, and repeated.
    Reported(Box<Placed>),
    /// The POS was asked just now, and shows it, whatever was believed before.
    SeenAtPos(Box<Placed>),
    /// Somebody wishes to take it back, or lines of it. Of its parts, `change_id`, `kind`, `lines`, `requested_by`,
    /// `reason` and `request_time` are set.
    ChangeAsked(Box<OrderChange>),
    /// The open wish provably did not take effect, and there is no time left for it, or no way.
    ChangeGivenUp(Why),
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
    /// The POS is away: it must wait for this connection, and has so long to be delivered.
    LinkAwaited {
        /// Of the router.
        connection_id: String,
        /// Until then it may still go to the POS.
        deliver_by: Timestamp,
    },
    /// It must be entered at the POS, which is away: it waits for this connection of the router.
    EntryAwaits(String),
    /// Something speaks against it that the POS shall decide about: noted for the staff.
    Noticed(Why),
    /// A person says what became of it.
    Resolved(Box<Said>),
}

/// What a person says of an order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    /// What became of it.
    pub(crate) kind: ResolutionKind,
    /// Who says so.
    pub(crate) by: String,
    /// May be empty.
    pub(crate) note: String,
    /// The number on the POS, where they know it.
    pub(crate) pos_order_reference: String,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The POS has the order.
    Placed(Box<Placed>),
    /// The POS had the order, and it was cancelled there.
    CancelledAtPos(Box<Placed>),
    /// The POS took the order, or the lines, back.
    Changed(Changed),
    /// It said no for good.
    Rejected(Why),
    /// It said not now; the time, if it said one, after which it may be asked again.
    RefusedForNow(Why, Option<Duration>),
    /// Nothing reached it.
    NotHandedOver(Why),
    /// Nobody knows.
    InDoubt(Why),
    /// It was asked after the attempt's time, and the attempt provably did not take effect: it does not have the order,
    /// or it has it unchanged.
    Absent,
    /// Of a cancel or void: it provably does not have the order any more.
    Gone,
    /// It has some of the lines only.
    Partly(Why),
}

impl Outcome {
    /// For logs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Placed(_) => "placed",
            Self::CancelledAtPos(_) => "cancelled at the POS",
            Self::Changed(_) => "changed",
            Self::Rejected(_) => "rejected",
            Self::RefusedForNow(..) => "refused for now",
            Self::NotHandedOver(_) => "not handed over",
            Self::InDoubt(_) => "in doubt",
            Self::Absent => "absent",
            Self::Gone => "gone",
            Self::Partly(_) => "partly",
        }
    }

    /// Why, where it is not as wished.
    pub(crate) fn why(&self) -> Option<&Why> {
        match self {
            Self::Rejected(why)
            | Self::RefusedForNow(why, _)
            | Self::NotHandedOver(why)
            | Self::InDoubt(why)
            | Self::Partly(why) => Some(why),
            Self::Placed(_) | Self::CancelledAtPos(_) | Self::Changed(_) | Self::Absent | Self::Gone => None,
        }
    }
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
