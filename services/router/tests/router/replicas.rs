use std::{collections::HashSet, sync::Arc, time::Duration};

use posmesh_kit::{cause, failure};
use posmesh_kit_db::DatabaseConfig;
use posmesh_proto::{
    adapter::v1::ProbeLinkRequest,
    router::v1::{DeleteConnectionRequest, DeregisterAdapterRequest, ListAdaptersRequest},
};
use posmesh_router::{
    Config,
    storage::{self, MemoryStorage},
};

use crate::{
    adapter::Adapter,
    support::{Router, config, connection, target, until},
};

async fn postgres() -> DatabaseConfig {
    let url =
        tokio::task::spawn_blocking(|| posmesh_counterparts::Postgres::shared().unwrap().create_database().unwrap());
    DatabaseConfig { url: url.await.unwrap(), max_connections: 4, acquire_timeout: Duration::from_secs(30) }
}

#[tokio::test]
async fn replicas_on_one_database_send_a_connection_to_the_same_instance() {
    let (database, config) = (postgres().await, config());
    let a = Router::on(&config, storage::open(&database).await.unwrap()).await;
    let b = Router::on(&config, storage::open(&database).await.unwrap()).await;
    let adapters: Vec<Adapter> = (0..3).map(|n| Adapter::start(&format!("adapter-{n}"))).collect();
    // What one replica is told, the other one learns.
    for (n, adapter) in adapters.iter().enumerate() {
        if n == 0 { a.register(adapter).await } else { b.register(adapter).await }
    }
    until("both know all instances", async || {
        let mut known = HashSet::new();
        for router in [&a, &b] {
            let listed = router.router.clone().list_adapters(ListAdaptersRequest::default()).await.unwrap();
            known.insert(listed.into_inner().instances.len());
        }
        known == HashSet::from([3])
    })
    .await;
    for n in 0..30 {
        a.put(connection(&format!("c-{n}"), &format!("s-{n}"))).await.unwrap();
    }
    // `b` reads each new connection when it is first asked for it. Both may still miss an instance for a moment.
    until("both agree on all connections and use all instances", async || {
        let mut used = HashSet::new();
        for n in 0..30 {
            let id = format!("c-{n}");
            let (by_a, by_b) = (a.probe(&id).await.unwrap(), b.probe(&id).await.unwrap());
            if by_a != by_b {
                return false;
            }
            used.insert(by_a);
        }
        used.len() == 3
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_another_replica_wrote_or_deleted_is_soon_known_everywhere() {
    let (storage, config) = (Arc::new(MemoryStorage::default()), config());
    let a = Router::on(&config, storage.clone()).await;
    let b = Router::on(&config, storage).await;
    let adapter = Adapter::start("one");
    a.register(&adapter).await;
    let written = a.put(connection("c", "s")).await.unwrap();
    // A miss is looked up at once: no waiting.
    assert_eq!(b.probe("c").await.unwrap(), "one");
    a.put(written).await.unwrap();
    until("the new revision is used", async || {
        b.probe("c").await.unwrap();
        adapter.calls().last().unwrap().context.as_ref().unwrap().revision == 2
    })
    .await;
    a.router.clone().delete_connection(DeleteConnectionRequest { connection_id: "c".into() }).await.unwrap();
    until("it is gone", async || {
        b.probe("c").await.is_err_and(|status| failure::reason(&status) == "CONNECTION_NOT_FOUND")
    })
    .await;
}

#[tokio::test]
async fn an_instance_whose_lease_ends_leaves_the_routing_and_one_that_deregisters_at_once() {
    let storage = Arc::new(MemoryStorage::default());
    let router = Router::on(&Config { lease: Duration::from_millis(500), ..config() }, storage).await;
    let silent = Adapter::start("silent");
    router.register(&silent).await;
    router.put(connection("c", "s")).await.unwrap();
    assert_eq!(router.probe("c").await.unwrap(), "silent");
    until("the lease ends", async || router.probe("c").await.is_err()).await;
    let status = router.probe("c").await.unwrap_err();
    assert!(failure::is_not_handed_over(&status));
    assert_eq!(failure::metadata(&status, "cause").as_deref(), Some(cause::ADAPTER_DOWN));

    router.register(&silent).await;
    assert_eq!(router.probe("c").await.unwrap(), "silent", "it is back with its registration");
    let gone = DeregisterAdapterRequest { instance_id: silent.instance_id.clone() };
    router.router.clone().deregister_adapter(gone.clone()).await.unwrap();
    assert!(router.probe("c").await.is_err());
    router.router.clone().deregister_adapter(gone).await.unwrap();
}

#[tokio::test]
async fn an_instance_that_names_connections_gets_no_others() {
    let router = Router::start().await;
    let (everywhere, in_store) = (Adapter::start("everywhere"), Adapter::start("in-store"));
    let mut registration = in_store.registration();
    registration.connection_ids = vec!["c-store".into()];
    router.router.clone().register_adapter(registration).await.unwrap();
    router.put(connection("c-other", "s-2")).await.unwrap();
    router.put(connection("c-store", "s-1")).await.unwrap();
    assert_eq!(router.probe("c-store").await.unwrap(), "in-store");
    assert!(failure::is_not_handed_over(&router.probe("c-other").await.unwrap_err()));
    router.register(&everywhere).await;
    assert_eq!(router.probe("c-other").await.unwrap(), "everywhere");
}

#[tokio::test]
async fn calls_go_on_while_the_database_is_away() {
    let server = tokio::task::spawn_blocking(|| posmesh_counterparts::Postgres::start().unwrap()).await.unwrap();
    let server = Arc::new(server);
    let url = server.create_database().unwrap();
    let database = DatabaseConfig { url, max_connections: 2, acquire_timeout: Duration::from_millis(300) };
    let router = Router::on(&config(), storage::open(&database).await.unwrap()).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    router.put(connection("c", "s")).await.unwrap();
    let stopping = Arc::clone(&server);
    tokio::task::spawn_blocking(move || stopping.stop().unwrap()).await.unwrap();

    let listed = router.router.clone().list_adapters(ListAdaptersRequest::default()).await.unwrap_err();
    assert_eq!(failure::reason(&listed), "DATABASE_UNAVAILABLE");
    assert_eq!(router.place("c").await, "one");
    // What is not in memory cannot be told apart from what does not exist: it is not called NOT_FOUND.
    let request = ProbeLinkRequest { target: Some(target("unknown")), ..ProbeLinkRequest::default() };
    let status = router.pos.clone().probe_link(request).await.unwrap_err();
    assert!(failure::is_not_handed_over(&status), "{status:?}");
}
