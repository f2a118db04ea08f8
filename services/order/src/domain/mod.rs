//! Pure rules: no I/O, no clock of their own.

pub(crate) mod accept;
pub(crate) mod business_day;
pub(crate) mod clock;
pub(crate) mod lifecycle;
pub(crate) mod pickup;
pub(crate) mod pos;
pub(crate) mod splitting;
pub(crate) mod visit;
