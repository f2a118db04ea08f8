//! Free loopback ports.

use std::{
    fs::File,
    hash::{BuildHasher, RandomState},
    net::TcpListener,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};

/// Below the range that the kernel gives to outgoing connections (32768 and up), so that a server that was stopped finds
/// its port still free when it starts again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The locks of the ports that were given out: they end with this process.
static GIVEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A loopback port that nothing listens on now, and that is given to nobody else while this process lives: neither here nor
/// in the other test processes of this machine.
///
/// # Errors
/// When none is found, or the folder of the locks cannot be written to.
pub fn free() -> Result<u16> {
    let locks = std::env::temp_dir().join("posmesh-ports");
    std::fs::create_dir_all(&locks).with_context(|| format!("{} cannot be made", locks.display()))?;
    for attempt in 0..100_u32 {
        let random = RandomState::new().hash_one(attempt);
        let offset = (random % u64::from(PORTS.end - PORTS.start)) as u16;
        let port = PORTS.start + offset;
        if let Some(lock) = lock(&locks, port)?
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            GIVEN.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
            return Ok(port);
        }
    }
    bail!("no free loopback port found between {} and {}", PORTS.start, PORTS.end);
}

fn lock(locks: &Path, port: u16) -> Result<Option<File>> {
    let path = locks.join(port.to_string());
    let file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_port_is_given_out_twice() {
        let given: HashSet<u16> = (0..300).map(|_| free().unwrap()).collect();
        assert_eq!(given.len(), 300);
    }
}
