//! What can happen to a submit at the POS.

use super::Profile;
use crate::chance::Dice;

/// What happens to one submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mishap {
    /// Not now.
    Refuse,
    /// Never.
    Reject,
    /// It is lost before it is recorded; the connection breaks.
    LoseBefore,
    /// It is recorded; the answer is lost.
    LoseAnswer,
    /// The POS dies before it records.
    CrashBefore,
    /// The POS dies after it recorded.
    CrashAfter,
    /// It is recorded, and answered, so much later than usual, in milliseconds.
    Slow(u64),
    /// The connection breaks at once, and it is recorded later, as late as the descriptor allows.
    Late,
    /// It is recorded, and the order replica that sent it dies before it can hear of it.
    SenderCrashes,
    /// It is recorded, and the order replica that sent it stands still for longer than its lease.
    SenderStops,
    /// The same, and its clocks stand, too: it does not know that its time is over.
    SenderSuspends,
    /// Against its descriptor: the connection breaks, and it is recorded when the platform knows by the POS's own word that it is not there.
    BreaksPromise,
}

impl Mishap {
    pub(crate) const KINDS: [&str; 12] = [
        "pos refuses for now",
        "pos rejects",
        "pos loses before recording",
        "pos loses its answer",
        "pos crashes before recording",
        "pos crashes after recording",
        "pos is slow",
        "pos records late",
        "sender crashes when the pos records",
        "sender stops when the pos records",
        "pos breaks its promise",
        "sender suspended when the pos records",
    ];

    pub(crate) fn kind(self) -> &'static str {
        let index = match self {
            Self::Refuse => 0,
            Self::Reject => 1,
            Self::LoseBefore => 2,
            Self::LoseAnswer => 3,
            Self::CrashBefore => 4,
            Self::CrashAfter => 5,
            Self::Slow(_) => 6,
            Self::Late => 7,
            Self::SenderCrashes => 8,
            Self::SenderStops => 9,
            Self::BreaksPromise => 10,
            Self::SenderSuspends => 11,
        };
        Self::KINDS[index]
    }

    pub(super) fn draw(dice: &mut Dice, profile: Profile) -> Self {
        if profile.breaks_promises && dice.one_in(2) {
            return Self::BreaksPromise;
        }
        match dice.between(0, 16) {
            0 | 1 => Self::Refuse,
            2 => Self::Reject,
            3 | 4 => Self::LoseBefore,
            5 | 6 => Self::LoseAnswer,
            7 => Self::CrashBefore,
            8 => Self::CrashAfter,
            9 | 10 => Self::Slow(dice.between(500, 4_500)),
            11 | 12 => Self::SenderCrashes,
            13 => Self::SenderStops,
            14 => Self::SenderSuspends,
            _ if profile.max_apply_delay_ms == 0 => Self::LoseAnswer,
            _ => Self::Late,
        }
    }
}
