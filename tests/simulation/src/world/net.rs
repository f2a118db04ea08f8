//! The simulated network: TCP connections between hosts, in order within a connection, with delays that differ between
//! connections. A direction between two hosts can be held, as in a partition: what is sent waits, as TCP would send it
//! again, and arrives when it is let go, unless the connection was given up meanwhile.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf as _, Bytes};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use crate::chance;

/// Index of a host.
pub(crate) type HostId = usize;
type EndId = u64;

/// Delay of a segment, in milliseconds: at least, and how much more at most.
const DELAY_MS: (u64, u64) = (1, 8);

/// All connections between all hosts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Net(Arc<Mutex<State>>);

struct State {
    seed: u64,
    now_ms: u64,
    /// Names, and the hosts behind each.
    names: BTreeMap<String, Vec<HostId>>,
    machines: Vec<Machine>,
    listeners: BTreeMap<(HostId, u16), Backlog>,
    ends: BTreeMap<EndId, End>,
    last_end: EndId,
    /// What is under way, by time of arrival, then in the order of sending.
    under_way: BinaryHeap<Reverse<(u64, u64)>>,
    segments: BTreeMap<u64, Segment>,
    last_segment: u64,
    /// Directions that let nothing through, and what waits there.
    held: BTreeMap<(HostId, HostId), Vec<u64>>,
    /// Further delay of a direction, at most, in milliseconds.
    slow: BTreeMap<(HostId, HostId), u64>,
    /// Directions on which something happens to the next data segment.
    traps: BTreeMap<(HostId, HostId), Trap>,
}

/// What happens to the next data segment of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trap {
    /// Its connection breaks instead.
    Break,
    /// It arrives so many milliseconds later, and what its connection carries after it; other connections overtake it.
    Delay(u64),
}

#[derive(Default)]
struct Machine {
    /// Whether its kernel answers: false after a power cut, until the host starts again.
    on: bool,
    connections: u64,
}

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<EndId>,
    waker: Option<Waker>,
}

/// One end of a connection.
struct End {
    host: HostId,
    peer_host: HostId,
    /// Unknown until the connection is made.
    peer: Option<EndId>,
    /// Seeds the delays of what it sends.
    identity: u64,
    sent: u64,
    last_arrival_ms: u64,
    /// The number of the next segment that it may read, and those that came before their turn.
    expects: u64,
    early: BTreeMap<u64, Content>,
    inbox: VecDeque<Bytes>,
    eof: bool,
    reset: bool,
    refused: bool,
    waker: Option<Waker>,
}

struct Segment {
    from: HostId,
    to: HostId,
    /// `None` for the first of a connection.
    end: Option<EndId>,
    number: u64,
    content: Content,
}

enum Content {
    /// Asks for a connection: the asking end and the port.
    Syn(EndId, u16),
    /// Grants it: the granting end.
    Accepted(EndId),
    Refused,
    Data(Bytes),
    Fin,
    Reset,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            seed,
            now_ms: 0,
            names: BTreeMap::new(),
            machines: Vec::new(),
            listeners: BTreeMap::new(),
            ends: BTreeMap::new(),
            last_end: 0,
            under_way: BinaryHeap::new(),
            segments: BTreeMap::new(),
            last_segment: 0,
            held: BTreeMap::new(),
            slow: BTreeMap::new(),
            traps: BTreeMap::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a host that answers to its own name and to that of its kind.
    pub(crate) fn add(&self, names: &[&str]) -> HostId {
        let mut state = self.state();
        let id = state.machines.len();
        state.machines.push(Machine { on: true, connections: 0 });
        for name in names {
            state.names.entry((*name).to_owned()).or_default().push(id);
        }
        id
    }

    pub(crate) fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let state = self.state();
        let hosts = state.names.get(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(hosts.iter().map(|host| SocketAddr::new(address(*host), port)).collect())
    }

    /// Takes connections on a port until dropped.
    pub(crate) fn listen(&self, host: HostId, port: u16) -> Listener {
        self.state().listeners.insert((host, port), Backlog::default());
        Listener { net: self.clone(), host, port }
    }

    /// Connects. Waits as long as nothing answers.
    pub(crate) async fn connect(&self, from: HostId, address: SocketAddr) -> io::Result<Wire> {
        let to = host_at(address.ip()).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let wire = {
            let mut state = self.state();
            state.machines[from].connections += 1;
            let identity = chance::mix(&[state.seed, from as u64, to as u64, state.machines[from].connections]);
            let id = state.open(from, to, None, identity);
            state.send_first(from, to, Content::Syn(id, address.port()), identity);
            Wire { net: self.clone(), id }
        };
        std::future::poll_fn(|cx| wire.poll_connected(cx)).await?;
        Ok(wire)
    }

    /// Delivers what has arrived by now.
    pub(crate) fn advance(&self, now_ms: u64) {
        let mut state = self.state();
        state.now_ms = now_ms;
        while let Some(Reverse((at, number))) = state.under_way.peek().copied() {
            if at > now_ms {
                break;
            }
            state.under_way.pop();
            state.arrive(number);
        }
    }

    /// Whether anything is on its way or held.
    pub(crate) fn is_quiet(&self) -> bool {
        self.state().segments.is_empty()
    }

    /// Lets nothing through from one host to another.
    pub(crate) fn hold(&self, from: HostId, to: HostId) {
        self.state().held.entry((from, to)).or_default();
    }

    /// Ends all holds between two hosts; what waited goes on.
    pub(crate) fn release(&self, from: HostId, to: HostId) {
        let mut state = self.state();
        let now_ms = state.now_ms;
        for number in state.held.remove(&(from, to)).unwrap_or_default() {
            state.under_way.push(Reverse((now_ms + 1, number)));
        }
    }

    /// Further delay of up to so much between two hosts, one way; 0 ends it.
    pub(crate) fn slow_down(&self, from: HostId, to: HostId, most_ms: u64) {
        self.state().slow.insert((from, to), most_ms);
    }

    /// Something happens to the next data from one host to another.
    pub(crate) fn trap(&self, from: HostId, to: HostId, trap: Trap) {
        self.state().traps.insert((from, to), trap);
    }

    /// Takes away traps that did not spring.
    pub(crate) fn disarm(&self) {
        self.state().traps.clear();
    }

    /// Breaks all connections between two hosts. What was under way is lost.
    pub(crate) fn cut(&self, a: HostId, b: HostId) {
        let mut state = self.state();
        let between = |end: &End| (end.host, end.peer_host) == (a, b) || (end.host, end.peer_host) == (b, a);
        let ends: Vec<EndId> = state.ends.iter().filter(|(_, end)| between(end)).map(|(id, _)| *id).collect();
        for id in ends {
            state.break_end(id);
        }
    }

    /// The host's process is gone: its connections are closed by its kernel, or, after a power cut, nobody tells its
    /// peers.
    pub(crate) fn crash(&self, host: HostId, power_cut: bool) {
        let mut state = self.state();
        state.machines[host].on = !power_cut;
        state.listeners.retain(|(of, _), _| *of != host);
        let ends: Vec<EndId> = state.ends.iter().filter(|(_, end)| end.host == host).map(|(id, _)| *id).collect();
        for id in ends {
            state.close(id);
        }
    }

    /// The machine is on again.
    pub(crate) fn start(&self, host: HostId) {
        self.state().machines[host].on = true;
    }
}

fn address(host: HostId) -> IpAddr {
    // Few hosts: the index fits.
    Ipv4Addr::new(10, 0, 0, host as u8 + 1).into()
}

fn host_at(address: IpAddr) -> Option<HostId> {
    match address {
        IpAddr::V4(address) => usize::from(address.octets()[3]).checked_sub(1),
        IpAddr::V6(_) => None,
    }
}

impl State {
    fn open(&mut self, host: HostId, peer_host: HostId, peer: Option<EndId>, identity: u64) -> EndId {
        self.last_end += 1;
        let end = End {
            host,
            peer_host,
            peer,
            identity,
            sent: 0,
            last_arrival_ms: 0,
            expects: 0,
            early: BTreeMap::new(),
            inbox: VecDeque::new(),
            eof: false,
            reset: false,
            refused: false,
            waker: None,
        };
        self.ends.insert(self.last_end, end);
        self.last_end
    }

    fn delay_ms(&self, from: HostId, to: HostId, identity: u64, number: u64) -> u64 {
        let dice = chance::mix(&[identity, number]);
        let slow = self.slow.get(&(from, to)).copied().unwrap_or(0);
        DELAY_MS.0 + dice % DELAY_MS.1 + (dice >> 32) % (slow + 1)
    }

    fn send_first(&mut self, from: HostId, to: HostId, content: Content, identity: u64) {
        let at = self.now_ms + self.delay_ms(from, to, identity, u64::MAX);
        self.put_under_way(at, Segment { from, to, end: None, number: 0, content });
    }

    /// Sends to the other end; what is sent later arrives later.
    fn send(&mut self, id: EndId, content: Content) {
        let Some(end) = self.ends.get(&id) else { return };
        let Some(peer) = end.peer else { return };
        let (from, to, number) = (end.host, end.peer_host, end.sent);
        if !self.machines[from].on {
            return;
        }
        let at = (self.now_ms + self.delay_ms(from, to, end.identity, number)).max(end.last_arrival_ms);
        if let Some(end) = self.ends.get_mut(&id) {
            end.sent += 1;
            end.last_arrival_ms = at;
        }
        self.put_under_way(at, Segment { from, to, end: Some(peer), number, content });
    }

    fn put_under_way(&mut self, at: u64, segment: Segment) {
        self.last_segment += 1;
        self.segments.insert(self.last_segment, segment);
        self.under_way.push(Reverse((at, self.last_segment)));
    }

    fn arrive(&mut self, number: u64) {
        let Some(segment) = self.segments.get(&number) else { return };
        let way = (segment.from, segment.to);
        if let Some(held) = self.held.get_mut(&way) {
            held.push(number);
            return;
        }
        let trap = if matches!(segment.content, Content::Data(_)) { self.traps.remove(&way) } else { None };
        if let Some(Trap::Delay(ms)) = trap {
            self.under_way.push(Reverse((self.now_ms + ms, number)));
            return;
        }
        let Some(segment) = self.segments.remove(&number) else { return };
        if trap == Some(Trap::Break) {
            if let Some(id) = segment.end {
                let peer = self.ends.get(&id).and_then(|end| end.peer);
                self.break_end(id);
                peer.into_iter().for_each(|peer| self.break_end(peer));
            }
            return;
        }
        match (segment.content, segment.end) {
            (Content::Syn(asking, port), _) => self.accept(segment.to, segment.from, asking, port),
            (content, Some(id)) => self.receive(id, segment.from, segment.number, content),
            (_, None) => {}
        }
    }

    fn accept(&mut self, host: HostId, from: HostId, asking: EndId, port: u16) {
        if !self.machines[host].on {
            return;
        }
        let Some(identity) = self.ends.get(&asking).map(|end| end.identity) else { return };
        let granting = self.open(host, from, Some(asking), chance::mix(&[identity, 1]));
        if !self.listeners.contains_key(&(host, port)) {
            self.send(granting, Content::Refused);
            self.ends.remove(&granting);
            return;
        }
        self.send(granting, Content::Accepted(granting));
        if let Some(backlog) = self.listeners.get_mut(&(host, port)) {
            backlog.waiting.push_back(granting);
            backlog.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    fn receive(&mut self, id: EndId, from: HostId, number: u64, content: Content) {
        let Some(end) = self.ends.get_mut(&id) else {
            // Nobody there any more: a kernel that is on says so.
            if matches!(content, Content::Data(_) | Content::Accepted(_)) {
                self.reset_sender(id, from);
            }
            return;
        };
        end.early.insert(number, content);
        while let Some(content) = end.early.remove(&end.expects) {
            end.expects += 1;
            match content {
                Content::Accepted(peer) => end.peer = Some(peer),
                Content::Refused => end.refused = true,
                Content::Data(bytes) => end.inbox.push_back(bytes),
                Content::Fin => end.eof = true,
                Content::Reset => end.reset = true,
                Content::Syn(..) => {}
            }
        }
        end.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Tells the end that sent to a closed one that it is closed.
    fn reset_sender(&mut self, gone: EndId, sender_host: HostId) {
        let sender = self.ends.iter().find(|(_, end)| end.peer == Some(gone) && end.host == sender_host);
        let Some((id, end)) = sender.map(|(id, end)| (*id, end)) else { return };
        if !self.machines[end.peer_host].on {
            return;
        }
        let (from, to, identity) = (end.peer_host, end.host, end.identity);
        let at = self.now_ms + self.delay_ms(from, to, identity, u64::MAX - 1);
        // Whatever comes first of it and what is still under way.
        let number = self.ends.get(&id).map_or(0, |end| end.expects);
        self.put_under_way(at, Segment { from, to, end: Some(id), number, content: Content::Reset });
    }

    fn break_end(&mut self, id: EndId) {
        if let Some(end) = self.ends.get_mut(&id) {
            end.reset = true;
            end.inbox.clear();
            end.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    /// The owner has let go of its end.
    fn close(&mut self, id: EndId) {
        self.send(id, Content::Fin);
        self.ends.remove(&id);
    }
}

/// A port that takes connections.
pub(crate) struct Listener {
    net: Net,
    host: HostId,
    port: u16,
}

impl Stream for Listener {
    type Item = io::Result<Wire>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Wire>>> {
        let mut state = self.net.state();
        let Some(backlog) = state.listeners.get_mut(&(self.host, self.port)) else { return Poll::Ready(None) };
        match backlog.waiting.pop_front() {
            Some(id) => Poll::Ready(Some(Ok(Wire { net: self.net.clone(), id }))),
            None => {
                backlog.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// One end of a connection, as a program holds it.
pub(crate) struct Wire {
    net: Net,
    id: EndId,
}

impl Wire {
    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.net.state();
        let Some(end) = state.ends.get_mut(&self.id) else { return Poll::Ready(Err(broken())) };
        if end.refused {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        if end.reset {
            return Poll::Ready(Err(broken()));
        }
        if end.peer.is_some() {
            return Poll::Ready(Ok(()));
        }
        end.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.net.state();
        let Some(end) = state.ends.get_mut(&self.id) else { return Poll::Ready(Err(broken())) };
        if let Some(bytes) = end.inbox.front_mut() {
            let count = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..count]);
            bytes.advance(count);
            if bytes.is_empty() {
                end.inbox.pop_front();
            }
            return Poll::Ready(Ok(()));
        }
        if end.reset {
            return Poll::Ready(Err(broken()));
        }
        if end.eof {
            return Poll::Ready(Ok(()));
        }
        end.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.net.state();
        if state.ends.get(&self.id).is_none_or(|end| end.reset) {
            return Poll::Ready(Err(broken()));
        }
        state.send(self.id, Content::Data(Bytes::copy_from_slice(bytes)));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.net.state().send(self.id, Content::Fin);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.net.state().close(self.id);
    }
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
