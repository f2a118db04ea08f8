//! What prices come to and what is refused, through the public functions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod charges;
mod fixture;
mod properties;
mod receipts;
mod refusals;
