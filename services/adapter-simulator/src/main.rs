//! The simulator's adapter as a process of its own.

use std::{process::ExitCode, sync::Arc};

use posmesh_adapter_kit::{Adapter, program};
use posmesh_adapter_simulator::Simulator;

fn main() -> ExitCode {
    program::main("adapter-simulator", |config| {
        let adapter: Arc<dyn Adapter> = Arc::new(Simulator::new(&config.http)?);
        Ok(adapter)
    })
}
