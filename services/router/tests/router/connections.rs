use std::{collections::HashMap, sync::Arc, time::Duration};

use posmesh_kit::failure;
use posmesh_kit_db::DatabaseConfig;
use posmesh_proto::{
    common::v1::Product,
    router::v1::{
        Connection, DeleteConnectionRequest, GetConnectionRequest, ListAdaptersRequest, ListConnectionsRequest,
        PutConnectionRequest, RegisterAdapterRequest,
    },
};
use posmesh_router::{
    Config, Peers, SealingKeys, mount_on,
    storage::{self, MemoryStorage},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    adapter::{Adapter, descriptor},
    support::{Router, SECRET, config, connection},
};

fn none() -> HashMap<String, String> {
    HashMap::new()
}

fn credentials(name: &str) -> HashMap<String, String> {
    [(name.to_owned(), SECRET.to_owned())].into()
}

fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    details.bad_request().map(|b| b.field_violations.iter().map(|v| v.field.clone()).collect()).unwrap_or_default()
}

/// A router at which `acme` is registered.
async fn router() -> (Router, Adapter) {
    let (router, adapter) = (Router::start().await, Adapter::start("one"));
    router.register(&adapter).await;
    (router, adapter)
}

#[tokio::test]
async fn a_connection_is_created_replaced_read_and_deleted() {
    let (router, _adapter) = router().await;
    let created = router.put(Connection { connection_id: String::new(), ..connection("", "s") }).await.unwrap();
    assert_eq!((created.revision, created.credential_names.as_slice()), (1, ["api_key".to_owned()].as_slice()));
    assert!(created.update_time.is_some());
    let id = created.connection_id.clone();
    let get = async || router.router.clone().get_connection(GetConnectionRequest { connection_id: id.clone() }).await;
    assert_eq!(get().await.unwrap().into_inner().connection.unwrap(), created);

    let stale = router.put(Connection { revision: 7, ..created.clone() }).await.unwrap_err();
    assert_eq!((stale.code(), failure::reason(&stale)), (Code::Aborted, "REVISION_CONFLICT".to_owned()));
    assert_eq!(failure::metadata(&stale, "current_revision").as_deref(), Some("1"));
    let again = router.put(Connection { revision: 0, ..created.clone() }).await.unwrap_err();
    assert_eq!(failure::reason(&again), "REVISION_CONFLICT");
    assert_eq!(router.put(created.clone()).await.unwrap().revision, 2);
    assert_eq!(router.put(Connection { revision: -1, ..created }).await.unwrap().revision, 3);

    let delete = DeleteConnectionRequest { connection_id: id.clone() };
    router.router.clone().delete_connection(delete.clone()).await.unwrap();
    for status in [get().await.unwrap_err(), router.router.clone().delete_connection(delete).await.unwrap_err()] {
        assert_eq!((status.code(), failure::reason(&status)), (Code::NotFound, "CONNECTION_NOT_FOUND".to_owned()));
    }
}

#[tokio::test]
async fn each_wrong_connection_is_refused_with_its_reason_and_field_and_nothing_is_written() {
    let (router, _adapter) = router().await;
    let good = || connection("c", "s");
    type Wrong = (Connection, HashMap<String, String>, Code, &'static str, &'static [&'static str]);
    let wrong: [Wrong; 9] = [
        (
            Connection { connection_id: "Ü".into(), ..good() },
            credentials("api_key"),
            Code::InvalidArgument,
            "ID_INVALID",
            &["connection.connection_id"],
        ),
        (
            Connection { store_id: String::new(), ..good() },
            credentials("api_key"),
            Code::InvalidArgument,
            "REQUIRED",
            &["connection.store_id"],
        ),
        (
            Connection { products: vec![Product::Table.into(), 99], ..good() },
            credentials("api_key"),
            Code::InvalidArgument,
            "PRODUCT_UNKNOWN",
            &["connection.products[1]"],
        ),
        (
            Connection { settings_json: "{".into(), ..good() },
            credentials("api_key"),
            Code::InvalidArgument,
            "SETTINGS_INVALID",
            &["connection.settings_json"],
        ),
        (
            Connection { settings_json: r#"{"url":7}"#.into(), ..good() },
            credentials("api_key"),
            Code::InvalidArgument,
            "SETTINGS_INVALID",
            &["connection.settings_json/url"],
        ),
        (good(), none(), Code::InvalidArgument, "SETTINGS_INVALID", &["credentials.api_key"]),
        (good(), credentials("apikey"), Code::InvalidArgument, "SETTINGS_INVALID", &["credentials.api_key"]),
        (
            Connection { vendor: "nobody".into(), ..good() },
            credentials("api_key"),
            Code::FailedPrecondition,
            "ADAPTER_NOT_REGISTERED",
            &[],
        ),
        (
            Connection { revision: -2, ..good() },
            credentials("api_key"),
            Code::InvalidArgument,
            "REVISION_INVALID",
            &["connection.revision"],
        ),
    ];
    for (connection, credentials, code, reason, expected) in wrong {
        let status = router.put_with(connection, credentials).await.unwrap_err();
        assert_eq!((status.code(), failure::reason(&status).as_str()), (code, reason), "{status:?}");
        assert_eq!(fields(&status), expected);
        assert!(!format!("{status:?}").contains(SECRET));
    }
    let status = router.router.clone().put_connection(PutConnectionRequest::default()).await.unwrap_err();
    assert_eq!(failure::reason(&status), "REQUIRED");
    let all = router.router.clone().list_connections(ListConnectionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.connections, []);
}

#[tokio::test]
async fn a_second_connection_for_the_same_product_and_mode_is_refused_and_names_the_first() {
    let (router, _adapter) = router().await;
    router.put(Connection { products: vec![Product::Table.into()], ..connection("floor", "s") }).await.unwrap();
    let status = router.put(connection("everything", "s")).await.unwrap_err();
    assert_eq!((status.code(), failure::reason(&status)), (Code::AlreadyExists, "CONNECTION_OVERLAPS".to_owned()));
    assert_eq!(failure::metadata(&status, "connection_id").as_deref(), Some("floor"));
    router.put(Connection { products: vec![Product::ToGo.into()], ..connection("web", "s") }).await.unwrap();
}

#[tokio::test]
async fn a_connection_keeps_its_credentials_until_others_are_given_or_they_would_go_elsewhere() {
    let (router, adapter) = router().await;
    let created = router.put(connection("c", "s")).await.unwrap();
    let narrower = Connection {
        products: vec![Product::Table.into()],
        settings_json: r#" { "url" : "http://pos" } "#.into(),
        ..created
    };
    let kept = router.put_with(narrower, none()).await.unwrap();
    assert_eq!(kept.credential_names, ["api_key"]);
    let last_context = || adapter.calls().last().unwrap().context.clone().unwrap();
    router.probe("c").await.unwrap();
    assert_eq!(last_context().credentials["api_key"], SECRET);

    let moved = Connection { settings_json: r#"{"url":"http://elsewhere"}"#.into(), ..kept.clone() };
    let status = router.put_with(moved, none()).await.unwrap_err();
    assert_eq!(fields(&status), ["credentials.api_key"], "secrets do not follow to another address");

    let rotated: HashMap<String, String> =
        [("api_key".to_owned(), "new".to_owned()), ("shop".to_owned(), "7".to_owned())].into();
    let replaced = router.put_with(kept, rotated).await.unwrap();
    assert_eq!(replaced.credential_names, ["api_key", "shop"]);
    router.probe("c").await.unwrap();
    assert_eq!(last_context().credentials["api_key"], "new");

    let other_vendor =
        RegisterAdapterRequest { descriptor: Some(descriptor("other")), ..Adapter::start("x").registration() };
    router.router.clone().register_adapter(other_vendor).await.unwrap();
    let status = router.put_with(Connection { vendor: "other".into(), ..replaced }, none()).await.unwrap_err();
    assert_eq!(fields(&status), ["credentials.api_key"], "a vendor's secrets are not shown to another one");
}

#[tokio::test]
async fn credentials_never_stand_in_the_database_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().display());
    let database = DatabaseConfig { url, max_connections: 2, acquire_timeout: Duration::from_secs(5) };
    let router = Router::on(&config(), storage::open(&database).await.unwrap()).await;
    let adapter = Adapter::start("one");
    router.register(&adapter).await;
    router
        .put(Connection { settings_json: r#"{"url":"http://in-clear"}"#.into(), ..connection("c", "s") })
        .await
        .unwrap();
    router.probe("c").await.unwrap();
    assert_eq!(adapter.calls()[0].context.as_ref().unwrap().credentials["api_key"], SECRET);

    let mut stored = Vec::new();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        stored.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("http://in-clear"), "the row is there");
    assert!(!holds(SECRET));
}

#[tokio::test]
async fn a_replica_without_the_sealing_key_hands_nothing_over() {
    let storage = Arc::new(MemoryStorage::default());
    let adapter = Adapter::start("one");
    let holder = Router::on(&config(), storage.clone()).await;
    holder.register(&adapter).await;
    holder.put(connection("c", "s")).await.unwrap();
    let without = Router::on(&Config { sealing_keys: SealingKeys::generate("k2"), ..config() }, storage).await;
    let status = without.submit("c").await.unwrap_err();
    assert!(failure::is_not_handed_over(&status));
    assert!(status.message().contains("k1"), "{}", status.message());
    assert_eq!(adapter.calls().len(), 0);
}

#[tokio::test]
async fn connections_are_listed_by_page_and_store() {
    let (router, _adapter) = router().await;
    for n in 0..5 {
        router.put(connection(&format!("c-{n}"), &format!("s-{n}"))).await.unwrap();
    }
    let list = async |request: ListConnectionsRequest| {
        let listed = router.router.clone().list_connections(request).await?.into_inner();
        let ids: Vec<String> = listed.connections.into_iter().map(|c| c.connection_id).collect();
        Ok::<_, Status>((ids, listed.next_page_token))
    };
    let mut request = ListConnectionsRequest { page_size: 2, ..ListConnectionsRequest::default() };
    let mut seen = Vec::new();
    for pages in 1.. {
        let (ids, next) = list(request.clone()).await.unwrap();
        seen.extend(ids);
        if next.is_empty() {
            assert_eq!(pages, 3);
            break;
        }
        request.page_token = next;
    }
    assert_eq!(seen, ["c-0", "c-1", "c-2", "c-3", "c-4"]);
    let of_store = ListConnectionsRequest { store_id: "s-3".into(), ..ListConnectionsRequest::default() };
    assert_eq!(list(of_store).await.unwrap().0, ["c-3"]);
    for (request, reason) in [
        (ListConnectionsRequest { page_size: -1, ..Default::default() }, "PAGE_SIZE_INVALID"),
        (ListConnectionsRequest { page_token: "?".into(), ..Default::default() }, "PAGE_TOKEN_INVALID"),
    ] {
        assert_eq!(failure::reason(&list(request).await.unwrap_err()), reason);
    }
}

#[tokio::test]
async fn a_wrong_registration_is_refused_with_its_field() {
    let router = Router::start().await;
    let good = Adapter::start("one").registration();
    let register = async |request: RegisterAdapterRequest| router.router.clone().register_adapter(request).await;
    for endpoint in ["", "10.0.0.7:50061", "http://10.0.0.7", "ftp://a:1", "http://a:1,http://b:2"] {
        let status = register(RegisterAdapterRequest { endpoint: endpoint.into(), ..good.clone() }).await.unwrap_err();
        assert_eq!((failure::reason(&status).as_str(), fields(&status)), ("ENDPOINT_INVALID", vec!["endpoint".into()]));
    }
    let status = register(RegisterAdapterRequest { descriptor: None, ..good.clone() }).await.unwrap_err();
    assert_eq!(fields(&status), ["descriptor"]);
    let mut without_delay = good.clone();
    without_delay.descriptor.as_mut().unwrap().max_apply_delay = None;
    assert_eq!(fields(&register(without_delay).await.unwrap_err()), ["descriptor.max_apply_delay"]);
    let lists = async || router.router.clone().list_adapters(ListAdaptersRequest::default()).await.unwrap();
    assert_eq!(lists().await.into_inner().instances, []);

    let lease = register(good.clone()).await.unwrap().into_inner().lease.unwrap();
    assert_eq!(lease.seconds, 60);
    let listed = lists().await.into_inner().instances;
    assert_eq!((listed.len(), &listed[0].instance_id, &listed[0].endpoint), (1, &good.instance_id, &good.endpoint));
}

#[tokio::test]
async fn a_router_without_a_usable_key_or_lease_does_not_start() {
    let start = async |config: Config| {
        mount_on(&config, Arc::new(MemoryStorage::default()), Peers::default()).await.err().unwrap()
    };
    let no_key = start(Config { sealing_keys: SealingKeys::new(""), ..config() }).await;
    assert!(no_key.to_string().contains("router.sealing_keys"), "{no_key}");
    let no_lease = start(Config { lease: Duration::ZERO, ..config() }).await;
    assert!(no_lease.to_string().contains("router.lease"), "{no_lease}");
}
