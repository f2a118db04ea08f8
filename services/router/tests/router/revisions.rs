//! What was sent to a POS is settled there, wherever the connection leads by now.

use std::sync::Arc;

use posmesh_kit::failure;
use posmesh_proto::{
    adapter::v1::{CancelOrderRequest, FindOrderRequest, PosTarget, SubmitOrderRequest},
    router::v1::{Connection, DeleteConnectionRequest, RegisterAdapterRequest},
};
use posmesh_router::storage::MemoryStorage;
use tonic::{Code, Status};

use crate::{
    adapter::{Adapter, Call, descriptor},
    support::{Router, config, connection, submission, target},
};

fn at(revision: i64) -> PosTarget {
    PosTarget { connection_revision: revision, ..target("c") }
}

async fn submit(router: &Router, revision: i64) -> Result<i64, Status> {
    let request = SubmitOrderRequest { target: Some(at(revision)), ..submission("c") };
    Ok(router.pos.clone().submit_order(request).await?.into_inner().connection_revision)
}

async fn find(router: &Router, revision: i64) -> Result<(), Status> {
    let request = FindOrderRequest { target: Some(at(revision)), ..FindOrderRequest::default() };
    router.pos.clone().find_order(request).await.map(drop)
}

fn leads_to(url: &str) -> Connection {
    Connection { revision: -1, settings_json: format!(r#"{{"url":"{url}"}}"#), ..connection("c", "s") }
}

fn seen(call: &Call) -> (String, String) {
    let context = call.context.as_ref().unwrap();
    (context.settings_json.clone(), context.credentials["api_key"].clone())
}

async fn put(router: &Router, url: &str, key: &str) -> Connection {
    router.put_with(leads_to(url), [("api_key".to_owned(), key.to_owned())].into()).await.unwrap()
}

#[tokio::test]
async fn no_order_goes_to_another_pos_than_it_was_meant_for() {
    let adapter = Adapter::start("one");
    let router = Router::start().await;
    router.register(&adapter).await;
    put(&router, "old", "k1").await;
    assert_eq!(submit(&router, 1).await.unwrap(), 1);
    let calls = adapter.calls().len();
    assert_eq!(put(&router, "new", "k2").await.pos_revision, 2);
    for revision in [1, 7] {
        let status = submit(&router, revision).await.unwrap_err();
        assert_eq!((status.code(), failure::reason(&status).as_str()), (Code::FailedPrecondition, "REVISION_CHANGED"));
        assert!(failure::is_not_handed_over(&status));
        assert_eq!(failure::metadata(&status, "current_revision").as_deref(), Some("2"));
    }
    assert_eq!(adapter.calls().len(), calls, "nothing was handed on");
    assert_eq!(submit(&router, 2).await.unwrap(), 2);
    assert_eq!(submit(&router, 0).await.unwrap(), 2, "whatever it is now");
}

#[tokio::test]
async fn an_order_is_looked_for_where_it_was_sent() {
    let adapter = Adapter::start("one");
    let router = Router::start().await;
    router.register(&adapter).await;
    put(&router, "old", "k1").await;
    put(&router, "old", "k2").await;
    find(&router, 1).await.unwrap();
    let at_old = |key: &str| (r#"{"url":"old"}"#.to_owned(), key.to_owned());
    assert_eq!(seen(adapter.calls().last().unwrap()), at_old("k2"), "the same POS, with the key of today");
    put(&router, "new", "k3").await;
    find(&router, 1).await.unwrap();
    assert_eq!(seen(adapter.calls().last().unwrap()), at_old("k2"), "the old POS, with the last key that it had");
    find(&router, 3).await.unwrap();
    assert_eq!(seen(adapter.calls().last().unwrap()), (r#"{"url":"new"}"#.to_owned(), "k3".to_owned()));

    let delete = DeleteConnectionRequest { connection_id: "c".into() };
    router.router.clone().delete_connection(delete).await.unwrap();
    find(&router, 3).await.unwrap();
    let not_after = submission("c").not_after;
    let cancel = CancelOrderRequest { target: Some(at(1)), not_after, ..CancelOrderRequest::default() };
    router.pos.clone().cancel_order(cancel).await.unwrap();
    assert_eq!(seen(adapter.calls().last().unwrap()), at_old("k2"));
    assert_eq!(failure::reason(&find(&router, 0).await.unwrap_err()), "CONNECTION_NOT_FOUND");
    assert_eq!(failure::reason(&find(&router, 4).await.unwrap_err()), "REVISION_CHANGED", "it never was there");
    let elsewhere = PosTarget { store_id: "other".into(), ..at(1) };
    let request = FindOrderRequest { target: Some(elsewhere), ..FindOrderRequest::default() };
    let status = router.pos.clone().find_order(request).await.unwrap_err();
    assert_eq!(failure::reason(&status), "REVISION_CHANGED", "not for another store");
}

#[tokio::test]
async fn a_replica_that_has_not_read_a_change_reads_it_before_it_refuses() {
    let adapter = Adapter::start("one");
    let storage = Arc::new(MemoryStorage::default());
    let slow = posmesh_router::Config { refresh_interval: std::time::Duration::from_secs(10), ..config() };
    let (writer, reader) = (Router::on(&slow, storage.clone()).await, Router::on(&slow, storage).await);
    writer.register(&adapter).await;
    put(&writer, "old", "k1").await;
    find(&reader, 1).await.unwrap();
    put(&writer, "new", "k2").await;
    assert_eq!(submit(&reader, 2).await.unwrap(), 2);
}

#[tokio::test]
async fn an_instance_is_told_with_how_many_it_shares_its_vendors_budget() {
    let router = Router::start().await;
    let register = async |vendor: &str, name: &str| {
        let adapter = Adapter::start(name);
        let registration = RegisterAdapterRequest { descriptor: Some(descriptor(vendor)), ..adapter.registration() };
        let answer = router.router.clone().register_adapter(registration.clone()).await.unwrap().into_inner();
        (answer.instances, registration)
    };
    let (alone, first) = register("acme", "one").await;
    assert_eq!(alone, 1);
    assert_eq!(register("acme", "two").await.0, 2);
    assert_eq!(register("other", "three").await.0, 1);
    let renewed = router.router.clone().register_adapter(first).await.unwrap().into_inner();
    assert_eq!(renewed.instances, 2);
}
