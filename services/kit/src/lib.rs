//! What every posmesh server shares: configuration, telemetry, error details, deadlines, channels between services, the
//! one layer stack, health, reflection and a bounded shutdown.
//!
//! A service is a library that *mounts*: it builds its gRPC routes from its configuration and its peers' [`Channel`]s
//! and returns a [`server::Mounted`]. The same mounted routes are served over a socket, or called in process through
//! [`Channel::in_process`]; the code of a service does not know which.

pub mod ambient;
pub mod backoff;
pub mod byte_cache;
pub mod call;
pub mod cause;
pub mod channel;
pub mod config;
pub mod failure;
pub mod hours;
pub mod menu_time;
pub mod server;
pub mod shutdown;
pub mod store_cache;
pub mod telemetry;
pub mod time;

pub use channel::Channel;
pub use failure::{Failure, Violation};
