//! The catalog service on real sockets, with a scripted POS and store service beyond them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../src/domain/fixture.rs"]
mod fixture;

mod approvals;
mod menus;
mod mesh;
mod overlays;
mod refusals;
mod reviews;
mod scheduled;
mod stock_outs;
mod syncs;
mod watching;
