//! The gateway as its clients see it: over real sockets, in front of scripted services.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod edge;
mod events;
mod fakes;
mod kiosk;
mod openapi;
mod problems;
mod store;
mod support;
mod table;
mod togo;
