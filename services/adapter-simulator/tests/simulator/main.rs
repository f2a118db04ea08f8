//! The adapter over its socket, in front of a real simpos behind another.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod changes;
mod conformance;
mod faults;
mod menu;
mod orders;
mod profiles;
mod support;
mod vendor;
