//! Pure rules: no I/O, no clock of their own.

pub(crate) mod accept;
pub(crate) mod business_day;
pub(crate) mod clock;
pub(crate) mod entry;
pub(crate) mod gate;
pub(crate) mod lifecycle;
pub(crate) mod pickup;
pub(crate) mod pos;
pub(crate) mod reconcile;
pub(crate) mod resolving;
pub(crate) mod settling;
pub(crate) mod splitting;
pub(crate) mod taking_back;
pub(crate) mod visit;
