//! Faults on the wire: a TCP proxy that forwards, slows down, holds back, cuts, or loses one direction.

mod pump;
mod trap;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::timeout,
};

use pump::{Connection, Mode};
use trap::{Catch, Traps};

const LISTEN_QUEUE: u32 = 1024;
/// A connection over loopback that is not there after this finds no room in the listen queue.
const NO_ROOM_AFTER: Duration = Duration::from_millis(100);

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
    traps: Arc<Traps>,
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
        let (mode, _) = watch::channel(Mode::Forward);
        let (generation, generations) = watch::channel(0);
        let (doors, orders) = mpsc::channel(1);
        let traps = Arc::new(Traps::default());
        let worker = Worker { address, target, mode: mode.clone(), generations, traps: Arc::clone(&traps) };
        let task = tokio::spawn(async move { worker.run(listener, orders).await }).abort_handle();
        Ok(Self { address, mode, generation, traps, doors, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and the address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Passes everything on from now on, what it held back first. No trap waits any more.
    pub async fn forward(&self) {
        self.traps.clear();
        self.mode.send_replace(Mode::Forward);
        self.door(Door::Open).await;
    }

    /// Takes connections and bytes, and passes nothing on.
    pub fn hold(&self) {
        self.mode.send_replace(Mode::Hold);
    }

    /// Passes every piece on so much later.
    pub fn slow_down(&self, delay: Duration) {
        self.mode.send_replace(Mode::Delay(delay));
    }

    /// Passes requests on; no byte of an answer comes back. What is lost stays lost: [`Proxy::cut`] before forwarding
    /// again.
    pub fn lose_answers(&self) {
        self.mode.send_replace(Mode::LoseAnswers);
    }

    /// Passes answers on; no byte of a request arrives. As [`Proxy::lose_answers`].
    pub fn lose_requests(&self) {
        self.mode.send_replace(Mode::LoseRequests);
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

    /// Sets a trap: with the next piece of a request that holds `word`, [`Proxy::hold`] begins.
    pub fn hold_at(&self, word: &str) {
        self.traps.set(word, Catch::Hold);
    }

    /// Sets a trap: the answer to the next request that holds `word` is lost with its connection, when the server has
    /// begun to answer.
    pub fn lose_answer_to(&self, word: &str) {
        self.traps.set(word, Catch::LoseAnswer);
    }

    /// Waits until the trap that was set last has caught a request.
    pub async fn caught(&self) {
        self.traps.caught().await;
    }

    /// How many requests traps have caught so far.
    pub fn caught_in_all(&self) -> usize {
        self.traps.caught_in_all()
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
    mode: watch::Sender<Mode>,
    generations: watch::Receiver<u64>,
    traps: Arc<Traps>,
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
        Connection { target: self.target, mode: self.mode.clone(), generations, born, traps: Arc::clone(&self.traps) }
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
