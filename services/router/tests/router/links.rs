//! Links, through the real server stack and real adapters.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use posmesh_kit::{cause, failure, time};
use posmesh_kit_db::DatabaseConfig;
use posmesh_proto::{
    adapter::v1::{AdapterDescriptor, InDoubt, Limits, ProbeLinkResponse, Rejected, submit_outcome::Outcome},
    common::v1::{Product, ServiceMode},
    router::v1::{
        Connection, ConnectionRole, DeleteConnectionRequest, DeregisterAdapterRequest, Link, LinkEvent,
        LinkEvidenceKind, LinkReport, LinkState, ListLinkEventsRequest, ListLinksRequest, ProbeConnectionRequest,
        RegisterAdapterRequest, ReportLinksRequest, WatchLinksRequest, WatchLinksResponse,
    },
    store::v1::{OpeningHours, Store},
};
use posmesh_router::{
    Config, Peers,
    storage::{self, MemoryStorage, Storage},
};
use tonic::{Code, Status, Streaming};

use crate::{
    adapter::{Adapter, Mode, descriptor, offline, well},
    stores::stores,
    support::{Router, config, connection, connection_of, until},
};

/// Ten times as fast as in production.
pub(crate) fn quick() -> Config {
    Config {
        probe_interval: Duration::from_secs(1),
        probe_timeout: Duration::from_millis(300),
        refresh_interval: Duration::from_millis(50),
        ..config()
    }
}

/// Calls and `ProbeConnection` alone.
fn by_hand() -> Config {
    Config { refresh_interval: Duration::from_millis(50), ..config() }
}

async fn links(router: &Router) -> Vec<Link> {
    let request = ListLinksRequest { page_size: 500, ..ListLinksRequest::default() };
    router.router.clone().list_links(request).await.unwrap().into_inner().links
}

pub(crate) async fn link(router: &Router, id: &str) -> Link {
    links(router).await.into_iter().find(|link| link.connection_id == id).unwrap()
}

pub(crate) async fn is(router: &Router, id: &str, state: LinkState) {
    let is_so = |link: &Link| link.connection_id == id && link.state() == state;
    until(&format!("{id} is {state:?}"), async || links(router).await.iter().any(is_so)).await;
}

pub(crate) async fn events(router: &Router, id: &str) -> Result<Vec<LinkEvent>, Status> {
    let request = ListLinkEventsRequest { connection_id: id.into(), ..ListLinkEventsRequest::default() };
    Ok(router.router.clone().list_link_events(request).await?.into_inner().events)
}

async fn probe(router: &Router, id: &str) -> Result<Link, Status> {
    let request = ProbeConnectionRequest { connection_id: id.into() };
    Ok(router.router.clone().probe_connection(request).await?.into_inner().link.unwrap())
}

async fn watch(router: &Router, resume_token: &str) -> Result<Streaming<WatchLinksResponse>, Status> {
    let request = WatchLinksRequest { resume_token: resume_token.into() };
    Ok(router.router.clone().watch_links(request).await?.into_inner())
}

async fn next(stream: &mut Streaming<WatchLinksResponse>) -> WatchLinksResponse {
    tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap().unwrap().unwrap()
}

pub(crate) async fn storages(folder: &tempfile::TempDir) -> Vec<(&'static str, Arc<dyn Storage>)> {
    let postgres =
        tokio::task::spawn_blocking(|| posmesh_counterparts::Postgres::shared().unwrap().create_database().unwrap());
    let config = |url| DatabaseConfig { url, max_connections: 4, acquire_timeout: Duration::from_secs(30) };
    let sqlite = config(format!("sqlite:{}", folder.path().display()));
    vec![
        ("postgres", storage::open(&config(postgres.await.unwrap())).await.unwrap()),
        ("sqlite", storage::open(&sqlite).await.unwrap()),
    ]
}

#[tokio::test]
async fn a_pos_that_dies_is_told_offline_with_its_cause_and_online_again_on_both_databases() {
    let folder = tempfile::tempdir().unwrap();
    for (name, storage) in storages(&folder).await {
        let router = Router::on(&quick(), storage).await;
        let adapter = Adapter::start("one");
        router.register(&adapter).await;
        router.put(connection("c", "s")).await.unwrap();
        is(&router, "c", LinkState::Online).await;
        until("its probes are counted", async || link(&router, "c").await.probes_passed == 5).await;
        adapter.answer_probes(offline(cause::CREDENTIALS_REJECTED));
        let died = Instant::now();
        is(&router, "c", LinkState::Offline).await;
        // 1.5 intervals, and some for a busy machine.
        assert!(died.elapsed() < Duration::from_secs(4), "{name}: {:?}", died.elapsed());
        let dead = link(&router, "c").await;
        assert_eq!((dead.cause.as_str(), dead.failing_hop.as_str()), (cause::CREDENTIALS_REJECTED, "pos"));
        assert_eq!((dead.store_id.as_str(), dead.vendor.as_str(), dead.healthy_since), ("s", "acme", None));
        adapter.answer_probes(well());
        is(&router, "c", LinkState::Online).await;
        let told: Vec<LinkState> = events(&router, "c").await.unwrap().iter().map(LinkEvent::state).collect();
        assert_eq!(told, [LinkState::Online, LinkState::Offline, LinkState::Online], "{name}");
    }
}

#[tokio::test]
async fn an_order_that_fails_and_a_probe_that_confirms_it_make_the_link_offline_within_a_second() {
    let router = Router::on(&quick(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    router.put(connection("c", "s")).await.unwrap();
    is(&router, "c", LinkState::Online).await;
    let mut stream = watch(&router, "").await.unwrap();
    while !next(&mut stream).await.links.iter().any(|link| link.probes_passed == 5) {}
    adapter.answer_orders(Some(Outcome::InDoubt(InDoubt { cause: cause::TIMED_OUT.into(), ..InDoubt::default() })));
    adapter.answer_probes(offline(cause::NETWORK_DOWN));
    router.submit("c").await.unwrap();
    let failed = Instant::now();
    let told = next(&mut stream).await;
    assert_eq!(told.links[0].state(), LinkState::Offline);
    assert!(failed.elapsed() < Duration::from_secs(1), "{:?}", failed.elapsed());
    // An order that is placed proves the contrary at once.
    adapter.answer_orders(None);
    router.place("c").await;
    let told = next(&mut stream).await;
    assert_eq!(told.links[0].state(), LinkState::Online);
    assert_eq!(told.links[0].evidence.as_ref().unwrap().kind(), LinkEvidenceKind::Call);
}

#[tokio::test]
async fn a_failed_order_alone_and_refusals_about_the_order_itself_leave_the_link_online() {
    let router = Router::on(&quick(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    router.put(connection("c", "s")).await.unwrap();
    is(&router, "c", LinkState::Online).await;
    adapter.answer_orders(Some(Outcome::InDoubt(InDoubt { cause: cause::TIMED_OUT.into(), ..InDoubt::default() })));
    for _ in 0..5 {
        let probes = adapter.probes();
        router.submit("c").await.unwrap();
        until("it was confirmed to live", async || adapter.probes() > probes).await;
    }
    let rejected = Rejected { cause: cause::ITEM_SOLD_OUT.into(), ..Rejected::default() };
    adapter.answer_orders(Some(Outcome::Rejected(rejected)));
    for _ in 0..5 {
        router.submit("c").await.unwrap();
    }
    assert_eq!(events(&router, "c").await.unwrap().len(), 1, "it never was anything but ONLINE");
}

#[tokio::test]
async fn a_probe_that_hangs_answers_nonsense_or_for_another_store_never_makes_a_link_online() {
    let router = Router::on(&quick(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    adapter.set(Mode::Hang);
    router.put(connection("c-1", "s-1")).await.unwrap();
    is(&router, "c-1", LinkState::Offline).await;
    assert_eq!(link(&router, "c-1").await.cause, cause::TIMED_OUT);
    adapter.set(Mode::Answer);
    let other = ProbeLinkResponse { connection_id: "c-9".into(), ..well() };
    for (n, answer, told) in [
        (2, ProbeLinkResponse { health: 99, ..ProbeLinkResponse::default() }, cause::UNKNOWN),
        (3, other, cause::MISCONFIGURED),
        (4, offline("; DROP TABLE links"), cause::UNKNOWN),
    ] {
        adapter.answer_probes(answer);
        let id = format!("c-{n}");
        router.put(connection(&id, &format!("s-{n}"))).await.unwrap();
        is(&router, &id, LinkState::Offline).await;
        assert_eq!(link(&router, &id).await.cause, told, "{id}");
        assert!(events(&router, &id).await.unwrap().iter().all(|event| event.state() == LinkState::Offline));
    }
}

#[tokio::test]
async fn a_vendor_without_a_live_adapter_is_offline_at_that_hop_and_back_when_one_registers() {
    let router = Router::on(&quick(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    router.put(connection("c", "s")).await.unwrap();
    is(&router, "c", LinkState::Online).await;
    let gone = DeregisterAdapterRequest { instance_id: adapter.instance_id.clone() };
    router.router.clone().deregister_adapter(gone).await.unwrap();
    is(&router, "c", LinkState::Offline).await;
    let link = link(&router, "c").await;
    assert_eq!((link.cause.as_str(), link.failing_hop.as_str()), (cause::ADAPTER_DOWN, "adapter"));
    assert_eq!(link.evidence.unwrap().kind(), LinkEvidenceKind::Registration);
    router.register(&adapter).await;
    is(&router, "c", LinkState::Online).await;
}

#[tokio::test]
async fn an_instance_that_is_too_slow_for_probes_still_gets_the_orders_of_its_stores() {
    let router = Router::on(&quick(), Arc::new(MemoryStorage::default())).await;
    let (slow, other) = (Adapter::start("slow"), Adapter::start("other"));
    router.register(&slow).await;
    router.register(&other).await;
    let id = connection_of(&router, &slow).await;
    slow.set(Mode::Hang);
    let probes = slow.probes();
    until("two probes are not answered", async || slow.probes() >= probes + 3).await;
    slow.set(Mode::Answer);
    assert_eq!(router.place(&id).await, "slow");
}

#[tokio::test]
async fn a_vendor_that_turns_confirming_probes_away_is_not_asked_without_a_pause() {
    let router = Router::on(&quick(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    router.put(connection("c", "s")).await.unwrap();
    is(&router, "c", LinkState::Online).await;
    adapter.answer_probes(offline(cause::RATE_LIMITED));
    adapter.answer_orders(Some(Outcome::InDoubt(InDoubt { cause: cause::TIMED_OUT.into(), ..InDoubt::default() })));
    let (failed, probes) = (Instant::now(), adapter.probes());
    router.submit("c").await.unwrap();
    until("it is asked three times", async || adapter.probes() >= probes + 3).await;
    assert!(failed.elapsed() >= Duration::from_secs(2), "{:?}", failed.elapsed());
}

#[tokio::test]
async fn a_hop_that_may_not_be_probed_is_unknown_and_not_online() {
    let router = Router::on(&by_hand(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    adapter.answer_probes(offline(cause::NOT_SUPPORTED));
    router.register(&adapter).await;
    router.put(connection("c", "s")).await.unwrap();
    assert_eq!(probe(&router, "c").await.unwrap().state(), LinkState::Unknown);
    let listed = links(&router).await;
    assert_eq!((listed.len(), listed[0].state(), listed[0].store_id.as_str()), (1, LinkState::Unknown, "s"));
}

#[tokio::test]
async fn a_probe_by_hand_answers_with_the_link_and_is_refused_when_the_vendor_forbids_it() {
    let router = Router::on(&by_hand(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    let least = Some(time::to_proto_duration(Duration::from_secs(30)));
    adapter.describe(AdapterDescriptor { min_probe_interval: least, ..descriptor("acme") });
    router.register(&adapter).await;
    router.put(connection("c", "s")).await.unwrap();
    let link = probe(&router, "c").await.unwrap();
    assert_eq!((link.state(), link.pos_version.as_str(), link.probes_passed), (LinkState::Online, "one", 1));
    assert!(link.pos_latency.is_some());
    let status = probe(&router, "c").await.unwrap_err();
    assert_eq!((status.code(), failure::reason(&status).as_str()), (Code::ResourceExhausted, "PROBED_TOO_OFTEN"));
    let status = probe(&router, "nobody").await.unwrap_err();
    assert_eq!(failure::reason(&status), "CONNECTION_NOT_FOUND");
    assert_eq!(failure::reason(&events(&router, "nobody").await.unwrap_err()), "CONNECTION_NOT_FOUND");
}

#[tokio::test]
async fn probes_of_all_stores_take_no_more_than_a_quarter_of_what_the_vendor_allows() {
    let router = Router::on(&quick(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    // 5 a second for probes.
    let limits = Limits { max_calls_per_second_in_all: 20.0, ..Limits::default() };
    adapter.describe(AdapterDescriptor { limits: Some(limits), ..descriptor("acme") });
    router.register(&adapter).await;
    adapter.answer_probes(offline(cause::NETWORK_DOWN));
    let begun = Instant::now();
    for n in 0..20 {
        router.put(connection(&format!("c-{n}"), &format!("s-{n}"))).await.unwrap();
    }
    until("a dozen probes were made", async || adapter.probes() >= 12).await;
    let most = begun.elapsed().as_secs_f64() * 5.0 + 1.0;
    assert!(adapter.probes() as f64 <= most.ceil(), "{} probes, {most} allowed", adapter.probes());
}

#[tokio::test]
async fn a_thousand_dead_stores_do_not_delay_the_probes_of_a_living_one() {
    let router = Router::on(&quick(), Arc::new(MemoryStorage::default())).await;
    let (dead, living) = (Adapter::start("dead"), Adapter::start("living"));
    dead.set(Mode::Hang);
    let ids: Vec<String> = (0..1000).map(|n| format!("c-{n}")).collect();
    for (adapter, connection_ids) in [(&dead, ids.clone()), (&living, vec!["living".to_owned()])] {
        let registration = RegisterAdapterRequest { connection_ids, ..adapter.registration() };
        router.router.clone().register_adapter(registration).await.unwrap();
    }
    for id in &ids {
        router.put(connection(id, id)).await.unwrap();
    }
    router.put(connection("living", "living")).await.unwrap();
    until("it is probed", async || living.probes() > 0).await;
    let (begun, probes) = (Instant::now(), living.probes());
    until("it was probed five times", async || living.probes() >= probes + 5).await;
    // An interval is a second.
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    assert!(dead.probes() > 1000);
}

#[tokio::test]
async fn a_stream_brings_everything_then_each_change_and_goes_on_at_another_replica() {
    let (storage, config) = (Arc::new(MemoryStorage::default()), by_hand());
    let a = Router::on(&config, storage.clone()).await;
    let b = Router::on(&config, storage).await;
    let adapter = Adapter::start("one");
    a.register(&adapter).await;
    for n in 0..150 {
        a.put(connection(&format!("c-{n:03}"), &format!("s-{n}"))).await.unwrap();
    }
    until("all are known", async || links(&a).await.len() == 150 && links(&b).await.len() == 150).await;
    let mut stream = watch(&a, "").await.unwrap();
    let (first, second) = (next(&mut stream).await, next(&mut stream).await);
    assert_eq!((first.links.len(), first.current), (100, false));
    assert_eq!((second.links.len(), second.current), (50, true));
    assert!(first.links.iter().all(|link| link.state() == LinkState::Unknown));

    // Whatever replica sees it.
    until("b has the adapter", async || probe(&b, "c-007").await.is_ok_and(|l| l.state() == LinkState::Online)).await;
    let change = next(&mut stream).await;
    assert_eq!(change.links.iter().map(|link| link.connection_id.as_str()).collect::<Vec<_>>(), ["c-007"]);
    assert_eq!((change.links[0].state(), change.current), (LinkState::Online, true));
    drop(stream);

    probe(&a, "c-008").await.unwrap();
    let gone = DeleteConnectionRequest { connection_id: "c-009".into() };
    a.router.clone().delete_connection(gone).await.unwrap();
    let mut stream = watch(&b, &change.resume_token).await.unwrap();
    let (mut told, mut deleted) = (Vec::new(), Vec::new());
    while told.is_empty() || deleted.is_empty() {
        let message = next(&mut stream).await;
        told.extend(message.links.into_iter().map(|link| link.connection_id));
        deleted.extend(message.deleted_connection_ids);
    }
    // What was told before may come again; nothing else does.
    assert!(told.contains(&"c-008".to_owned()) && told.iter().all(|id| id == "c-007" || id == "c-008"), "{told:?}");
    assert_eq!(deleted, ["c-009"]);

    let status = watch(&a, "nonsense").await.unwrap_err();
    assert_eq!(failure::reason(&status), "RESUME_TOKEN_INVALID");
}

#[tokio::test]
async fn a_token_goes_on_at_a_replica_that_starts_after_the_newest_link_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    for (name, storage) in storages(&folder).await {
        let a = Router::on(&by_hand(), Arc::clone(&storage)).await;
        let adapter = Adapter::start("one");
        a.register(&adapter).await;
        a.put(connection("c", "s")).await.unwrap();
        probe(&a, "c").await.unwrap();
        is(&a, "c", LinkState::Online).await;
        let token = next(&mut watch(&a, "").await.unwrap()).await.resume_token;
        a.router.clone().delete_connection(DeleteConnectionRequest { connection_id: "c".into() }).await.unwrap();
        let b = Router::on(&by_hand(), storage).await;
        let told = next(&mut watch(&b, &token).await.unwrap()).await;
        assert_eq!((told.deleted_connection_ids, told.links.len()), (vec!["c".to_owned()], 0), "{name}");
    }
}

#[tokio::test]
async fn there_are_so_many_watchers_and_no_more() {
    let router = Router::on(&Config { max_watchers: 1, ..by_hand() }, Arc::new(MemoryStorage::default())).await;
    let mut first = watch(&router, "").await.unwrap();
    assert!(next(&mut first).await.current);
    let status = watch(&router, "").await.unwrap_err();
    assert_eq!((status.code(), failure::reason(&status).as_str()), (Code::ResourceExhausted, "TOO_MANY_WATCHERS"));
    drop(first);
    until("the place of one that left is free", async || watch(&router, "").await.is_ok()).await;
}

#[tokio::test]
async fn a_link_goes_with_its_connection_and_that_of_another_pos_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    for (name, storage) in storages(&folder).await {
        let router = Router::on(&by_hand(), storage).await;
        let adapter = Adapter::start("one");
        router.register(&adapter).await;
        let written = router.put(connection("c", "s")).await.unwrap();
        assert_eq!(probe(&router, "c").await.unwrap().state(), LinkState::Online);
        is(&router, "c", LinkState::Online).await;
        let elsewhere = Connection { settings_json: r#"{"url":"http://b"}"#.into(), ..written };
        router.put(elsewhere).await.unwrap();
        until("it is unknown again", async || link(&router, "c").await.state() == LinkState::Unknown).await;
        adapter.answer_probes(offline(cause::NETWORK_DOWN));
        until("its own state is written", async || {
            let _ = probe(&router, "c").await;
            link(&router, "c").await.state() == LinkState::Offline
        })
        .await;
        let gone = DeleteConnectionRequest { connection_id: "c".into() };
        router.router.clone().delete_connection(gone).await.unwrap();
        until("it is gone", async || links(&router).await.is_empty()).await;
        assert_eq!(failure::reason(&events(&router, "c").await.unwrap_err()), "CONNECTION_NOT_FOUND", "{name}");
    }
}

#[tokio::test]
async fn a_connection_that_moves_to_another_store_takes_its_link_along_and_watchers_hear_what_it_serves() {
    let router = Router::on(&by_hand(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    let written = router.put(connection("c", "s")).await.unwrap();
    probe(&router, "c").await.unwrap();
    is(&router, "c", LinkState::Online).await;
    let mut stream = watch(&router, "").await.unwrap();
    while !next(&mut stream).await.current {}
    let moved = Connection {
        store_id: "t".into(),
        products: vec![Product::Kiosk.into()],
        service_modes: vec![ServiceMode::Takeaway.into()],
        ..written
    };
    router.put(moved.clone()).await.unwrap();
    let told = loop {
        match next(&mut stream).await.links.pop() {
            Some(link) if link.store_id == "t" => break link,
            _ => {}
        }
    };
    assert_eq!((told.state(), told.role()), (LinkState::Online, ConnectionRole::Primary));
    assert_eq!((&told.products, &told.service_modes), (&moved.products, &moved.service_modes));
    assert_eq!(probe(&router, "c").await.unwrap().store_id, "t");
    let of = |store_id: &str| ListLinksRequest { store_id: store_id.into(), ..ListLinksRequest::default() };
    let listed = router.router.clone().list_links(of("t")).await.unwrap().into_inner().links;
    assert_eq!(listed.iter().map(|link| link.store_id.as_str()).collect::<Vec<_>>(), ["t"]);
    assert!(router.router.clone().list_links(of("s")).await.unwrap().into_inner().links.is_empty());
}

#[tokio::test]
async fn the_links_of_a_replica_that_dies_are_probed_by_the_others() {
    let (storage, config) = (Arc::new(MemoryStorage::default()), quick());
    let a = Router::on(&config, storage.clone()).await;
    let b = Router::on(&config, storage).await;
    let adapter = Adapter::start("one");
    a.register(&adapter).await;
    for n in 0..20 {
        a.put(connection(&format!("c-{n}"), &format!("s-{n}"))).await.unwrap();
    }
    let all = async |router: &Router, state| links(router).await.iter().filter(|link| link.state() == state).count();
    until("all are online", async || all(&a, LinkState::Online).await == 20).await;
    drop(a);
    adapter.answer_probes(offline(cause::POS_APP_NOT_RUNNING));
    until("the other one has probed all", async || all(&b, LinkState::Offline).await == 20).await;
}

#[tokio::test]
async fn two_replicas_that_disagree_come_to_one_state() {
    let (storage, config) = (Arc::new(MemoryStorage::default()), quick());
    let a = Router::on(&config, storage.clone()).await;
    let b = Router::on(&config, storage).await;
    let adapter = Adapter::start("one");
    a.register(&adapter).await;
    a.put(connection("c", "s")).await.unwrap();
    is(&b, "c", LinkState::Online).await;
    // Orders fail through both, while probes go well: each doubts, none is confirmed.
    adapter.answer_orders(Some(Outcome::InDoubt(InDoubt { cause: cause::TIMED_OUT.into(), ..InDoubt::default() })));
    let probes = adapter.probes();
    for router in [&a, &b] {
        router.submit("c").await.unwrap();
    }
    until("each has confirmed it", async || adapter.probes() >= probes + 2).await;
    // Orders are placed through one and fail through the other: the newest proof counts, on both.
    adapter.answer_probes(offline(cause::NETWORK_DOWN));
    a.submit("c").await.unwrap();
    is(&b, "c", LinkState::Offline).await;
    adapter.answer_orders(None);
    b.place("c").await;
    let (of_a, of_b) = (link(&a, "c").await.version, link(&b, "c").await.version);
    assert!(of_a <= of_b + 1);
    adapter.answer_probes(well());
    is(&a, "c", LinkState::Online).await;
    until("both tell the same", async || link(&a, "c").await.version == link(&b, "c").await.version).await;
}

#[tokio::test]
async fn a_store_that_is_closed_has_a_dormant_link_and_one_that_opens_is_looked_at() {
    // Open for an hour, half a week from now.
    let today = i32::from(jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).weekday().to_monday_one_offset());
    let far = OpeningHours { weekday: (today + 2) % 7 + 1, open_minutes: 720, close_minutes: 780 };
    let closed = Store {
        store_id: "s".into(),
        time_zone: "UTC".into(),
        opening_hours: vec![far],
        revision: 1,
        ..Store::default()
    };
    let (store, channel) = stores(closed.clone());
    let peers = Peers { store: Some(channel) };
    let router = Router::beside(peers, &quick(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    router.put(connection("c", "s")).await.unwrap();
    is(&router, "c", LinkState::Dormant).await;
    router.place("c").await;
    assert_eq!(probe(&router, "c").await.unwrap().state(), LinkState::Dormant, "it works, and is closed");
    let probes = adapter.probes();
    tokio::time::sleep(quick().probe_interval * 2).await;
    assert_eq!(adapter.probes(), probes, "nobody looks at a POS that may be switched off");
    store.send(Store { opening_hours: Vec::new(), revision: 2, ..closed }).unwrap();
    is(&router, "c", LinkState::Online).await;
    until("it is probed again", async || adapter.probes() > probes).await;
}

fn report(id: &str, state: LinkState, ahead_ms: i64) -> LinkReport {
    LinkReport {
        tenant_id: "default".into(),
        connection_id: id.into(),
        time: Some(time::from_unix_ms(time::now_unix_ms() + ahead_ms)),
        state: state.into(),
        failing_hop: "relay".into(),
        cause: cause::POS_APP_NOT_RUNNING.into(),
        message: "the tablet is off".into(),
    }
}

#[tokio::test]
async fn a_vendors_heartbeat_is_taken_in_unless_it_is_old_from_the_future_or_about_nothing() {
    let router = Router::on(&by_hand(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    for id in ["c", "d"] {
        router.put(connection(id, id)).await.unwrap();
    }
    let tell = async |instance_id: &str, reports: Vec<LinkReport>| {
        let request = ReportLinksRequest { instance_id: instance_id.into(), reports };
        router.router.clone().report_links(request).await.map_err(|status| failure::reason(&status))
    };
    let own = adapter.instance_id.as_str();
    until("both are known", async || links(&router).await.len() == 2).await;
    tell(own, vec![report("c", LinkState::Online, 0)]).await.unwrap();
    is(&router, "c", LinkState::Online).await;
    assert_eq!(link(&router, "c").await.evidence.unwrap().kind(), LinkEvidenceKind::Heartbeat);

    let future = vec![report("d", LinkState::Online, 0), report("d", LinkState::Offline, 61_000)];
    assert_eq!(tell(own, future).await.unwrap_err(), "IN_THE_FUTURE");
    assert_eq!(tell(own, vec![report("nobody", LinkState::Online, 0)]).await.unwrap_err(), "CONNECTION_NOT_FOUND");
    assert_eq!(tell(own, vec![report("c", LinkState::Dormant, 0)]).await.unwrap_err(), "UNKNOWN_VALUE");
    assert_eq!(tell("someone", vec![report("c", LinkState::Offline, 0)]).await.unwrap_err(), "INSTANCE_UNKNOWN");
    let many = (0..501).map(|_| report("c", LinkState::Offline, 0)).collect();
    assert_eq!(tell(own, many).await.unwrap_err(), "TOO_MANY");
    assert_eq!(link(&router, "d").await.state(), LinkState::Unknown, "all of a call or nothing");

    for _ in 0..3 {
        tell(own, vec![report("c", LinkState::Offline, -5_000)]).await.unwrap();
    }
    assert_eq!(probe(&router, "c").await.unwrap().state(), LinkState::Online, "what is old changes nothing");
    for _ in 0..2 {
        tell(own, vec![report("c", LinkState::Offline, 10)]).await.unwrap();
    }
    is(&router, "c", LinkState::Offline).await;
    let told = link(&router, "c").await;
    assert_eq!((told.failing_hop.as_str(), told.cause.as_str()), ("relay", cause::POS_APP_NOT_RUNNING));
}

#[tokio::test]
async fn links_are_listed_by_store_and_state_and_paged() {
    let router = Router::on(&by_hand(), Arc::new(MemoryStorage::default())).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    for n in 0..5 {
        router.put(connection(&format!("c-{n}"), &format!("s-{n}"))).await.unwrap();
    }
    probe(&router, "c-3").await.unwrap();
    is(&router, "c-3", LinkState::Online).await;
    let list = async |request: ListLinksRequest| {
        let listed = router.router.clone().list_links(request).await.unwrap().into_inner();
        (listed.links.into_iter().map(|link| link.connection_id).collect::<Vec<_>>(), listed.next_page_token)
    };
    let online = ListLinksRequest { states: vec![LinkState::Online.into()], ..ListLinksRequest::default() };
    assert_eq!(list(online).await.0, ["c-3"]);
    assert_eq!(list(ListLinksRequest { store_id: "s-2".into(), ..ListLinksRequest::default() }).await.0, ["c-2"]);
    let (first, token) = list(ListLinksRequest { page_size: 3, ..ListLinksRequest::default() }).await;
    let (second, end) = list(ListLinksRequest { page_size: 3, page_token: token, ..ListLinksRequest::default() }).await;
    assert_eq!((first.len(), second, end.as_str()), (3, vec!["c-3".to_owned(), "c-4".to_owned()], ""));
    let bad = ListLinksRequest { page_token: "?".into(), ..ListLinksRequest::default() };
    let status = router.router.clone().list_links(bad).await.unwrap_err();
    assert_eq!(failure::reason(&status), "PAGE_TOKEN_INVALID");
}
