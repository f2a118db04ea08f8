//! The simulator's adapter as a process of its own.

use std::{process::ExitCode, sync::Arc};

use posmesh_adapter_kit::{Adapter, program};
use posmesh_adapter_simulator::{PROFILE_DEFAULTS, Profile, Simulator};

fn main() -> ExitCode {
    program::main_with::<Profile, _>(PROFILE_DEFAULTS, "adapter-simulator", |config| {
        let adapter: Arc<dyn Adapter> = Arc::new(Simulator::with_profile(&config.http, config.adapter.clone())?);
        Ok(adapter)
    })
}
