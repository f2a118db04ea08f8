//! What a process takes from the world around it: the wall clock, chance, the network. In production that is the
//! machine's; a deterministic simulation gives each of its processes a [`World`] of its own.

use std::{cell::RefCell, future::Future, io, net::SocketAddr, pin::Pin, rc::Rc};

use rand::RngExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinError,
};
use uuid::Uuid;

/// A byte stream to a peer.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send>>;

/// A world in place of the machine's.
pub trait World {
    /// The wall clock, in milliseconds since the Unix epoch. May jump.
    fn unix_ms(&self) -> i64;

    /// The next of the world's random numbers.
    fn random(&self) -> u64;

    /// The addresses behind a name.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// Connects to an address.
    fn connect(&self, address: SocketAddr) -> Connecting;
}

thread_local! {
    static GIVEN: RefCell<Option<Rc<dyn World>>> = const { RefCell::new(None) };
}

/// Runs `work` in a given world: whatever this thread polls meanwhile lives in it.
pub fn within<R>(world: Rc<dyn World>, work: impl FnOnce() -> R) -> R {
    let outer = GIVEN.replace(Some(world));
    let result = work();
    GIVEN.set(outer);
    result
}

fn given<R>(ask: impl FnOnce(&dyn World) -> R) -> Option<R> {
    GIVEN.with_borrow(|world| world.as_deref().map(ask))
}

/// A new time-ordered id (UUIDv7).
pub fn new_id() -> Uuid {
    let simulated = given(|world| {
        let mut random = [0; 10];
        for chunk in random.chunks_mut(8) {
            chunk.copy_from_slice(&world.random().to_le_bytes()[..chunk.len()]);
        }
        let unix_ms = u64::try_from(world.unix_ms()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid()
    });
    simulated.unwrap_or_else(Uuid::now_v7)
}

/// A random number from `least` to `most`, so that many who wait do not come back at once.
pub fn jitter(least: f64, most: f64) -> f64 {
    // The upper 53 bits fill a double's fraction: 0 <= fraction < 1.
    let fraction = given(|world| (world.random() >> 11) as f64 / (1u64 << 53) as f64);
    least + (most - least) * fraction.unwrap_or_else(|| rand::rng().random())
}

/// Does work that keeps a thread busy on a thread of its own; in a given world, which has one thread, here.
pub async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, JoinError> {
    match given(|_| ()) {
        Some(()) => Ok(work()),
        None => tokio::task::spawn_blocking(work).await,
    }
}

pub(crate) fn unix_ms() -> Option<i64> {
    given(|world| world.unix_ms())
}

pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match given(|world| world.resolve(host, port)) {
        Some(addresses) => addresses,
        None => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
    }
}

/// Connects to an address, in the machine's world without delay of small packets.
pub fn connect(address: SocketAddr) -> Connecting {
    given(|world| world.connect(address)).unwrap_or_else(|| {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    struct Still;

    impl World for Still {
        fn unix_ms(&self) -> i64 {
            1_763_800_000_123
        }
        fn random(&self) -> u64 {
            u64::MAX
        }
        fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(Vec::new())
        }
        fn connect(&self, _: SocketAddr) -> Connecting {
            Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
        }
    }

    #[test]
    fn a_given_world_tells_time_and_ids_and_ends_with_its_work() {
        let (now_ms, first, second) = within(Rc::new(Still), || (time::now_unix_ms(), new_id(), new_id()));
        assert_eq!(now_ms, 1_763_800_000_123);
        assert_eq!(first, second);
        assert_eq!(first.get_version_num(), 7);
        assert!(time::now_unix_ms() > now_ms);
        assert_ne!(new_id(), new_id());
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        assert!(within(Rc::new(Still), || jitter(0.5, 1.0)) <= 1.0);
        assert!((0..100).map(|_| jitter(0.75, 1.25)).all(|j| (0.75..=1.25).contains(&j)));
    }
}
