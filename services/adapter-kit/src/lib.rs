//! What every vendor adapter builds on: the [`Adapter`] trait, the gRPC server around it, its registration at the
//! router, and an HTTP client that tells by proof what became of a call.
//!

mod adapter;
mod connection;
mod limiter;
mod outcome;
mod service;

pub use adapter::{Adapter, CatalogParts, Submit};
pub use connection::{Connection, SettingsError};
pub use outcome::{PosError, Unplaced};
pub use service::mount;
