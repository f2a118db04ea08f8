//! What can be wrong with an order's lines.

use std::fmt::{Display, Formatter, Result};

/// One thing that is wrong, with the field that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub reason: Reason,
    /// Path in the request, e.g. `lines[2].modifiers[0].modifier_id`.
    pub field: String,
    /// What is wrong and what to do, for a person.
    pub message: String,
    /// With [`Reason::NotEnoughLeft`].
    pub shortage: Option<Shortage>,
}

/// An item of which less is left than is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The item.
    pub item_id: String,
    /// As the guest knows it.
    pub item_name: String,
    /// How many are left.
    pub remaining: i32,
}

impl Problem {
    /// Most problems that one call reports: enough to repair a request, too few to make its answer a burden.
    pub const MAX_REPORTED: usize = 50;

    pub(crate) fn new(reason: Reason, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, field: field.into(), message: message.into(), shortage: None }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for Problem {}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// The kinds of problems. The names are part of the API and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])+ $variant,)+
        }

        impl Reason {
            /// The name as errors carry it, in UPPER_SNAKE.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

reasons! {
    /// No line at all.
    EmptyOrder = "EMPTY_ORDER",
    /// More than [`crate::MAX_LINES`] lines.
    TooManyLines = "TOO_MANY_LINES",
    /// The catalog has no such item.
    ItemNotFound = "ITEM_NOT_FOUND",
    /// No menu period of the item goes on at the order's time.
    ItemNotSoldNow = "ITEM_NOT_SOLD_NOW",
    /// The item is sold out or switched off.
    ItemUnavailable = "ITEM_UNAVAILABLE",
    /// The POS counts the item, and less is left than the order wants.
    NotEnoughLeft = "NOT_ENOUGH_LEFT",
    /// The item, or the choice, does not ask this question.
    ModifierGroupNotFound = "MODIFIER_GROUP_NOT_FOUND",
    /// The group has no such choice.
    ModifierNotFound = "MODIFIER_NOT_FOUND",
    /// The choice is sold out or switched off.
    ModifierUnavailable = "MODIFIER_UNAVAILABLE",
    /// Fewer choices than the group's minimum.
    TooFewModifiers = "TOO_FEW_MODIFIERS",
    /// More choices than the group's maximum, or one choice more often than it may be chosen.
    TooManyModifiers = "TOO_MANY_MODIFIERS",
    /// Not 1 to [`crate::MAX_QUANTITY`].
    QuantityOutOfRange = "QUANTITY_OUT_OF_RANGE",
    /// A service mode that this version does not know.
    ServiceModeUnknown = "SERVICE_MODE_UNKNOWN",
    /// The item is not sold in this service mode.
    ServiceModeNotOffered = "SERVICE_MODE_NOT_OFFERED",
    /// More characters than the field takes.
    TextTooLong = "TEXT_TOO_LONG",
    /// A control character, NUL included.
    TextInvalid = "TEXT_INVALID",
    /// A sum beyond [`crate::MAX_TOTAL`].
    AmountOutOfRange = "AMOUNT_OUT_OF_RANGE",
    /// Modifiers with negative prices took the line below zero.
    LineBelowZero = "LINE_BELOW_ZERO",
    /// Choices about choices deeper than [`crate::MAX_DEPTH`].
    NestingTooDeep = "NESTING_TOO_DEEP",
}

impl Reason {
    /// Whether the request itself is well-formed and only the state of the store speaks against it: the same request may
    /// succeed later.
    pub fn is_unavailability(self) -> bool {
        matches!(self, Self::ItemUnavailable | Self::NotEnoughLeft | Self::ItemNotSoldNow | Self::ModifierUnavailable)
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.as_str())
    }
}
