//! The types that the HTTP API speaks, for the server and for its clients.
//!
//! Amounts are whole yen (JPY has no smaller unit) and include tax. Times are unix milliseconds of the POS's wall
//! clock. Unknown fields in requests are refused, so that a misspelt one is not silently lost.

mod changes;
pub mod control;
mod menu;
mod orders;
mod refusal;

pub use changes::*;
pub use menu::*;
pub use orders::*;
pub use refusal::{Refusal, RefusalBody, cause};
