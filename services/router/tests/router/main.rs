//! The router over real sockets: what callers, adapters and operators see.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod adapter;
mod connections;
mod failures;
mod forwarding;
mod link_faults;
mod links;
mod replicas;
mod revisions;
mod stores;
mod support;
