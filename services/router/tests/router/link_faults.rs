//! Links when what tells of them cannot be trusted: no gRPC at an adapter's address, a wall clock that jumps.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use posmesh_kit::{
    ambient::{self, Connecting, Wire, World},
    cause, time,
};
use posmesh_proto::router::v1::{LinkEvent, LinkState, RegisterAdapterRequest};
use posmesh_router::storage::MemoryStorage;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    adapter::{Adapter, offline, well},
    links::{events, is, link, quick, storages},
    support::{Router, connection, until},
};

#[tokio::test]
async fn an_adapters_address_at_which_something_else_answers_never_makes_a_link_online_nor_holds_up_others() {
    let router = Router::on(&quick(), Arc::new(MemoryStorage::default())).await;
    let (living, odd) = (Adapter::start("living"), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let endpoint = format!("http://{}", odd.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = odd.accept().await {
            tokio::spawn(async move {
                let mut heard = [0; 64];
                let _ = stream.read(&mut heard).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
            });
        }
    });
    let of = |adapter: &Adapter, id: &str| RegisterAdapterRequest {
        connection_ids: vec![id.to_owned()],
        ..adapter.registration()
    };
    let odd = RegisterAdapterRequest { instance_id: uuid::Uuid::now_v7().to_string(), endpoint, ..of(&living, "odd") };
    for registration in [odd, of(&living, "living")] {
        router.router.clone().register_adapter(registration).await.unwrap();
    }
    for id in ["odd", "living"] {
        router.put(connection(id, id)).await.unwrap();
    }
    is(&router, "odd", LinkState::Offline).await;
    is(&router, "living", LinkState::Online).await;
    let told = link(&router, "odd").await;
    assert_eq!((told.failing_hop.as_str(), told.cause.as_str()), ("adapter", cause::ADAPTER_DOWN), "{told:?}");
    assert!(events(&router, "odd").await.unwrap().iter().all(|event| event.state() == LinkState::Offline));
}

/// The machine's, but for a wall clock that can be set.
struct Settable {
    ahead_ms: Rc<Cell<i64>>,
}

impl World for Settable {
    fn unix_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        i64::try_from(since).unwrap() + self.ahead_ms.get()
    }

    fn random(&self) -> u64 {
        // The upper half of a random UUID is random but for six bits.
        u64::from_be_bytes(uuid::Uuid::new_v4().as_bytes()[8..].try_into().unwrap()) << 2
    }

    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        std::net::ToSocketAddrs::to_socket_addrs(&(host, port)).map(Iterator::collect)
    }

    fn connect(&self, address: SocketAddr) -> Connecting {
        Box::pin(async move { Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Wire>) })
    }
}

#[test]
fn a_wall_clock_that_is_set_forth_and_back_makes_no_link_offline_and_holds_up_no_probe() {
    let ahead_ms = Rc::new(Cell::new(0));
    let world = Rc::new(Settable { ahead_ms: Rc::clone(&ahead_ms) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    ambient::within(world, || runtime.block_on(clock_jumps(&ahead_ms)));
}

async fn clock_jumps(ahead_ms: &Cell<i64>) {
    const DAY_MS: i64 = 86_400_000;
    let folder = tempfile::tempdir().unwrap();
    for (name, storage) in storages(&folder).await {
        ahead_ms.set(0);
        let router = Router::on(&quick(), storage).await;
        let adapter = Adapter::start("one");
        router.register(&adapter).await;
        router.put(connection("c", "s")).await.unwrap();
        until("it is settled", async || link(&router, "c").await.probes_passed == 5).await;
        for jump_ms in [DAY_MS, -2 * DAY_MS, DAY_MS] {
            ahead_ms.set(ahead_ms.get() + jump_ms);
            let (probes, jumped) = (adapter.probes(), Instant::now());
            until("it is probed on", async || adapter.probes() >= probes + 3).await;
            // Intervals of a second at most, and some for a busy machine.
            assert!(jumped.elapsed() < Duration::from_secs(6), "{name}: {:?} after {jump_ms}", jumped.elapsed());
            assert_eq!(link(&router, "c").await.state(), LinkState::Online, "{name}: after {jump_ms}");
        }
        assert_eq!(events(&router, "c").await.unwrap().len(), 1, "{name}: it never was anything but ONLINE");

        // It still notices what really happens, and dates it by the clock as it is.
        ahead_ms.set(-DAY_MS);
        adapter.answer_probes(offline(cause::NETWORK_DOWN));
        let died = Instant::now();
        is(&router, "c", LinkState::Offline).await;
        assert!(died.elapsed() < Duration::from_secs(4), "{name}: {:?}", died.elapsed());
        let since_ms = time::to_unix_ms(link(&router, "c").await.since.as_ref().unwrap());
        assert!((time::now_unix_ms() - since_ms).abs() < 10_000, "{name}");
        ahead_ms.set(DAY_MS);
        adapter.answer_probes(well());
        is(&router, "c", LinkState::Online).await;
        let told: Vec<LinkState> = events(&router, "c").await.unwrap().iter().map(LinkEvent::state).collect();
        assert_eq!(told, [LinkState::Online, LinkState::Offline, LinkState::Online], "{name}");
    }
}
