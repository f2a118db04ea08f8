//! The adapter kit over real sockets: what a caller, the router and the vendor see.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod changing;
mod http;
mod pulling;
mod registration;
mod serving;
mod support;
