//! Free loopback ports.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;

use anyhow::{Result, bail};

/// Below the range that the kernel gives to outgoing connections (32768 and up), so that a server that was stopped finds
/// its port still free when it starts again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A loopback port that nothing listens on now.
///
/// # Errors
/// When none is found.
pub fn free() -> Result<u16> {
    for attempt in 0..100_u32 {
        let random = RandomState::new().hash_one(attempt);
        let offset = (random % u64::from(PORTS.end - PORTS.start)) as u16;
        let port = PORTS.start + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free loopback port found between {} and {}", PORTS.start, PORTS.end);
}
