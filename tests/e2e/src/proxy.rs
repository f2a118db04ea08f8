//! Faults on the wire: a TCP proxy that forwards, holds back, cuts, or loses answers.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::timeout,
};

const BUFFER_BYTES: usize = 64 << 10;
const LISTEN_QUEUE: u32 = 1024;
/// A connection over loopback that is not there after this finds no room in the listen queue.
const NO_ROOM_AFTER: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    Hold,
    LoseAnswers,
}

#[derive(Debug, Clone, Copy)]
enum Door {
    Open,
    /// Nobody gets a connection, and nobody is told so.
    Blocked,
    /// Connections are refused.
    Shut,
}

/// Stands before one TCP server. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Connections of an older generation are cut.
    generation: watch::Sender<u64>,
    doors: mpsc::Sender<(Door, oneshot::Sender<()>)>,
    task: AbortHandle,
}

impl Proxy {
    /// Stands before `target`, and forwards.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn before(target: SocketAddr) -> Result<Self> {
        let port = posmesh_counterparts::free_port()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = listen(address, LISTEN_QUEUE)?;
        let (mode, modes) = watch::channel(Mode::Forward);
        let (generation, generations) = watch::channel(0);
        let (doors, orders) = mpsc::channel(1);
        let worker = Worker { address, target, modes, generations };
        let task = tokio::spawn(async move { worker.run(listener, orders).await }).abort_handle();
        Ok(Self { address, mode, generation, doors, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and the address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Passes everything on from now on, what it held back first.
    pub async fn forward(&self) {
        self.mode.send_replace(Mode::Forward);
        self.door(Door::Open).await;
    }

    /// Takes connections and bytes, and passes nothing on.
    pub fn hold(&self) {
        self.mode.send_replace(Mode::Hold);
    }

    /// Passes requests on; no byte of an answer comes back.
    pub fn lose_answers(&self) {
        self.mode.send_replace(Mode::LoseAnswers);
    }

    /// Breaks all connections, with what it held back. New ones are taken.
    pub fn cut(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Breaks all connections and refuses new ones, until [`Proxy::forward`].
    pub async fn shut(&self) {
        self.door(Door::Shut).await;
        self.cut();
    }

    /// Breaks all connections; who wants a new one waits for it, until [`Proxy::forward`].
    pub async fn block(&self) {
        self.door(Door::Blocked).await;
        self.cut();
    }

    async fn door(&self, door: Door) {
        let (done, answer) = oneshot::channel();
        if self.doors.send((door, done)).await.is_ok() {
            let _ = answer.await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn listen(address: SocketAddr, queue: u32) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("the proxy cannot listen on {address}"))?;
    Ok(socket.listen(queue)?)
}

struct Worker {
    address: SocketAddr,
    target: SocketAddr,
    modes: watch::Receiver<Mode>,
    generations: watch::Receiver<u64>,
}

impl Worker {
    async fn run(self, listener: TcpListener, mut orders: mpsc::Receiver<(Door, oneshot::Sender<()>)>) {
        let mut listener = Some(listener);
        // A full listen queue is what blocks: the listener and the connections that fill it.
        let mut blocking: Option<(TcpListener, Vec<TcpStream>)> = None;
        loop {
            tokio::select! {
                accepted = accept(listener.as_ref()) => {
                    if let Ok((client, _)) = accepted {
                        tokio::spawn(self.connection().serve(client));
                    }
                }
                order = orders.recv() => {
                    let Some((door, done)) = order else { return };
                    drop(blocking.take());
                    let is_open = matches!((&listener, door), (Some(_), Door::Open));
                    if !is_open {
                        listener = None;
                        match door {
                            Door::Open => listener = listen(self.address, LISTEN_QUEUE).ok(),
                            Door::Blocked => blocking = fill(self.address).await.ok(),
                            Door::Shut => {}
                        }
                    }
                    let _ = done.send(());
                }
            }
        }
    }

    fn connection(&self) -> Connection {
        let generations = self.generations.clone();
        let born = *generations.borrow();
        Connection { target: self.target, modes: self.modes.clone(), generations, born }
    }
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn fill(address: SocketAddr) -> Result<(TcpListener, Vec<TcpStream>)> {
    let listener = listen(address, 0)?;
    let mut fillers = Vec::new();
    while let Ok(filler) = timeout(NO_ROOM_AFTER, TcpStream::connect(address)).await {
        fillers.push(filler?);
    }
    Ok((listener, fillers))
}

struct Connection {
    target: SocketAddr,
    modes: watch::Receiver<Mode>,
    generations: watch::Receiver<u64>,
    born: u64,
}

impl Connection {
    async fn serve(self, client: TcpStream) {
        let Self { target, modes, mut generations, born } = self;
        let pass = async {
            let server = TcpStream::connect(target).await?;
            let (client_reads, client_writes) = client.into_split();
            let (server_reads, server_writes) = server.into_split();
            let requests = pump(client_reads, server_writes, modes.clone(), Mode::Hold);
            let answers = pump(server_reads, client_writes, modes, Mode::LoseAnswers);
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

/// Copies, except while everything is held. In the mode `lost` what comes is thrown away; for requests, which are never
/// lost, that is the mode in which they are held anyway.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut modes: watch::Receiver<Mode>,
    lost: Mode,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        let mode = match modes.wait_for(|mode| *mode != Mode::Hold).await {
            Ok(mode) => *mode,
            Err(_) => return Ok(()),
        };
        if length == 0 {
            return to.shutdown().await;
        }
        if mode != lost {
            to.write_all(&buffer[..length]).await?;
        }
    }
}
