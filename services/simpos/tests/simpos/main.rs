//! A POS over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod durability;
mod faults;
mod orders;
mod support;
