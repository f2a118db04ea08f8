//! The store service over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod support;
mod watching;
