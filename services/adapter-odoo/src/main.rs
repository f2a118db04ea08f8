//! The adapter for Odoo's point of sale as a process of its own.

use std::{process::ExitCode, sync::Arc};

use posmesh_adapter_kit::program;
use posmesh_adapter_odoo::OdooAdapter;

fn main() -> ExitCode {
    program::main("adapter-odoo", |config| Ok(Arc::new(OdooAdapter::new(&config.http)?)))
}
