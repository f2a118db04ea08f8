//! A peer that answers nothing at all, not even that it is not there: its machine is off, or a firewall drops what is sent
//! to it. A call must neither hang on it nor end in doubt.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use posmesh_kit::{
    Channel, failure,
    server::{Mounted, ServerConfig, serve},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, service::Routes};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// The channel's connect timeout of 2 s, and what a busy machine adds.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(4);
/// Set in the process that runs in the namespace.
const IN_NAMESPACE: &str = "POSMESH_TEST_BLACKHOLE";
/// Behind an interface that swallows whatever it is given.
const HOLE: &str = "10.254.7.2:9";
/// A cable whose other end takes no frame, since none is addressed to it.
const NAMESPACE: &str = "ip link set lo up && ip link add hole type veth peer name void && ip link set void up && \
     ip address add 10.254.7.1/30 dev hole && ip link set hole up && \
     ip neighbour replace 10.254.7.2 lladdr 02:00:00:00:00:01 dev hole nud permanent && exec \"$@\"";

#[tokio::test]
async fn a_call_to_a_peer_that_swallows_everything_is_proven_not_handed_over_within_the_connect_timeout() {
    if ran_in_a_namespace("a_call_to_a_peer_that_swallows_everything_is_proven_not_handed_over") {
        return;
    }
    let hole = Hole::dig().await;
    let began = Instant::now();
    let status = check(&client(&format!("http://{}", hole.address))).await.unwrap_err();
    assert!(failure::is_not_handed_over(&status), "{status:?}");
    assert!(began.elapsed() < GIVES_UP_WITHIN, "{:?}", began.elapsed());
}

#[tokio::test]
async fn calls_go_elsewhere_when_one_of_two_peers_swallows_everything() {
    if ran_in_a_namespace("calls_go_elsewhere_when_one_of_two_peers_swallows_everything") {
        return;
    }
    let hole = Hole::dig().await;
    let live = start().await;
    let client = client(&format!("http://{},http://{live}", hole.address));
    let mut waited = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        check(&client).await.unwrap();
        assert!(began.elapsed() < GIVES_UP_WITHIN, "{:?}", began.elapsed());
        waited.push(began.elapsed());
    }
    let at_once = waited.iter().filter(|time| **time < Duration::from_secs(1)).count();
    assert!(at_once >= 8, "the peer is set aside, not waited for again and again: {waited:?}");
}

/// Something that swallows connection attempts.
struct Hole {
    address: SocketAddr,
    /// Elsewhere than in the namespace: a listen queue that is full, and what fills it.
    _full: Option<(TcpListener, Vec<TcpStream>)>,
}

impl Hole {
    async fn dig() -> Self {
        if std::env::var_os(IN_NAMESPACE).is_some() {
            return Self { address: HOLE.parse().unwrap(), _full: None };
        }
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut fillers = Vec::new();
        while let Ok(filler) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            fillers.push(filler.unwrap());
        }
        Self { address, _full: Some((listener, fillers)) }
    }
}

/// Runs the test of this name in a network namespace of its own, where SYNs really vanish. False in there, and where the
/// system makes no namespace, as for anybody but root.
fn ran_in_a_namespace(test: &str) -> bool {
    if std::env::var_os(IN_NAMESPACE).is_some() {
        return false;
    }
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sh", "-c", NAMESPACE, "namespace"]);
        unshare
    };
    if !unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
        eprintln!("no network namespace can be made: a full listen queue takes its place");
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let ran = unshare().arg(this).args([test, "--nocapture"]).env(IN_NAMESPACE, "1").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.contains("1 passed"), "in the namespace: {said}");
    true
}

async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let nothing = Mounted::new("nothing", Routes::default(), vec![]);
    let serving =
        async move { serve(&ServerConfig::default(), listener, vec![nothing], CancellationToken::new()).await };
    tokio::spawn(serving);
    address
}

fn client(endpoints: &str) -> HealthClient<Channel> {
    HealthClient::new(Channel::remote("peer", endpoints).unwrap())
}

async fn check(client: &HealthClient<Channel>) -> Result<(), Status> {
    client.clone().check(HealthCheckRequest::default()).await.map(drop)
}
