//! What every vendor adapter builds on: the [`Adapter`] trait, the gRPC server around it, its registration at the
//! router, and an HTTP client that tells by proof what became of a call.
//!
//! An adapter implements [`Adapter`]; its binary is one call of [`program::main`]:
//!
//! ```no_run
//! # use std::{process::ExitCode, sync::Arc};
//! # use posmesh_adapter_kit::{Adapter, program};
//! # fn acme(_: &program::Config) -> Result<Arc<dyn Adapter>, posmesh_kit::config::ConfigError> { panic!() }
//! fn main() -> ExitCode {
//!     program::main("adapter-acme", acme)
//! }
//! ```

mod adapter;
mod connection;
mod contact;
pub mod http;
mod limiter;
mod outcome;
pub mod program;
mod registration;
mod service;

pub use adapter::{Adapter, CatalogParts, Submit};
pub use connection::{Connection, SettingsError};
pub use contact::pos_answered;
pub use outcome::{PosError, Unchanged, Unplaced};
pub use registration::{Registration, mount_registered};
pub use service::mount;
