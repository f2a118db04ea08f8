//! One connection through the proxy.

use std::{
    io::{Error, ErrorKind, Result},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::sleep,
};

use super::trap::{Catch, Traps};

const BUFFER_BYTES: usize = 64 << 10;

/// What happens to the bytes of all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Forward,
    Hold,
    Delay(Duration),
    LoseRequests,
    LoseAnswers,
}

pub(super) struct Connection {
    pub(super) target: SocketAddr,
    pub(super) mode: watch::Sender<Mode>,
    pub(super) generations: watch::Receiver<u64>,
    pub(super) born: u64,
    pub(super) traps: Arc<Traps>,
}

impl Connection {
    pub(super) async fn serve(self, client: TcpStream) {
        let Self { target, mode, mut generations, born, traps } = self;
        // Set when the answer that comes next is to be lost.
        let doomed = AtomicBool::new(false);
        let pass = async {
            let server = TcpStream::connect(target).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let (client_reads, client_writes) = client.into_split();
            let (server_reads, server_writes) = server.into_split();
            let requests = pump(client_reads, server_writes, mode.subscribe(), Mode::LoseRequests, |piece| {
                match traps.look(piece) {
                    Some(Catch::Hold) => drop(mode.send_replace(Mode::Hold)),
                    Some(Catch::LoseAnswer) => doomed.store(true, Ordering::Relaxed),
                    None => {}
                }
                Ok(())
            });
            let answers = pump(server_reads, client_writes, mode.subscribe(), Mode::LoseAnswers, |_| {
                if doomed.load(Ordering::Relaxed) {
                    return Err(Error::new(ErrorKind::ConnectionAborted, "the answer is lost with its connection"));
                }
                Ok(())
            });
            tokio::try_join!(requests, answers).map(drop)
        };
        tokio::select! {
            // A cut comes before whatever was held until then and may go on now.
            biased;
            _ = generations.wait_for(|generation| *generation > born) => {}
            _ = pass => {}
        }
    }
}

/// Copies one direction, piece by piece, each looked at by `see` first. In the mode `lost` what comes is thrown away.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut modes: watch::Receiver<Mode>,
    lost: Mode,
    mut see: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        see(&buffer[..length])?;
        let mode = match modes.wait_for(|mode| *mode != Mode::Hold).await {
            Ok(mode) => *mode,
            Err(_) => return Ok(()),
        };
        if let Mode::Delay(delay) = mode {
            sleep(delay).await;
        }
        match (mode == lost, length) {
            // Nobody is told that this direction has ended, either.
            (true, 0) => return Ok(()),
            (true, _) => {}
            (false, 0) => return to.shutdown().await,
            (false, length) => to.write_all(&buffer[..length]).await?,
        }
    }
}
