//! A POS over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bounds;
mod changes;
mod checks;
mod durability;
mod faults;
mod orders;
mod support;
