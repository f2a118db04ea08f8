use std::time::Duration;

use posmesh_kit::{cause, failure, time};
use posmesh_proto::{
    adapter::v1::{
        CancelOrderRequest, DescribeAdapterRequest, FindOrderRequest, GetCheckRequest, ListChecksRequest,
        ListPosOrdersRequest, PollEventsRequest, PosContext, PosTarget, ProbeLinkRequest, PullCatalogRequest,
        RequestBillRequest, SplitCheckRequest, SubmitOrderRequest, VoidLinesRequest, change_outcome,
        pull_catalog_response::Piece, submit_outcome::Outcome,
    },
    common::v1::{Product, ServiceMode},
    router::v1::{Connection, ConnectionRole, ResolveConnectionRequest},
};
use tonic::{Code, Request};

use crate::{
    adapter::{Adapter, Mode, descriptor},
    support::{Router, SECRET, connection, submission, target},
};

async fn router_with(adapter: &Adapter) -> Router {
    let router = Router::start().await;
    router.register(adapter).await;
    router.put(connection("c", "s")).await.unwrap();
    router
}

#[tokio::test]
async fn every_method_reaches_the_adapter_with_the_connections_context() {
    let adapter = Adapter::start("one");
    let router = router_with(&adapter).await;
    let mut pos = router.pos.clone();
    let target = Some(target("c"));
    pos.describe_adapter(DescribeAdapterRequest { target: target.clone() }).await.unwrap();
    router.probe("c").await.unwrap();
    router.place("c").await;
    pos.find_order(FindOrderRequest { target: target.clone(), ..Default::default() }).await.unwrap();
    pos.pull_catalog(PullCatalogRequest { target: target.clone(), ..Default::default() }).await.unwrap();
    pos.list_checks(ListChecksRequest { target: target.clone(), ..Default::default() }).await.unwrap();
    pos.get_check(GetCheckRequest { target: target.clone(), ..Default::default() }).await.unwrap();
    pos.request_bill(RequestBillRequest { target: target.clone(), ..Default::default() }).await.unwrap();
    let not_after = submission("c").not_after;
    pos.cancel_order(CancelOrderRequest { target: target.clone(), not_after, ..Default::default() }).await.unwrap();
    pos.void_lines(VoidLinesRequest { target: target.clone(), not_after, ..Default::default() }).await.unwrap();
    pos.list_pos_orders(ListPosOrdersRequest { target: target.clone(), ..Default::default() }).await.unwrap();
    pos.poll_events(PollEventsRequest { target: target.clone(), ..Default::default() }).await.unwrap();
    pos.split_check(SplitCheckRequest { target, not_after, ..Default::default() }).await.unwrap();
    let calls = adapter.calls();
    assert_eq!(calls.len(), 13);
    for call in calls.iter().filter(|call| call.method != "describe_adapter") {
        let context = call.context.as_ref().unwrap();
        assert_eq!((context.connection_id.as_str(), context.store_id.as_str(), context.revision), ("c", "s", 1));
        assert_eq!(context.settings_json, r#"{"url":"http://pos"}"#);
        assert_eq!(context.credentials["api_key"], SECRET);
        assert_eq!(context.tenant_id, "default");
    }
}

#[tokio::test]
async fn a_caller_may_not_bring_a_context_of_its_own() {
    let adapter = Adapter::start("one");
    let router = router_with(&adapter).await;
    let mut pos = router.pos.clone();
    let (target, context) = (Some(target("c")), Some(PosContext::default()));
    let statuses = [
        pos.probe_link(ProbeLinkRequest { target: target.clone(), context: context.clone() }).await.unwrap_err(),
        pos.submit_order(SubmitOrderRequest { context: context.clone(), ..submission("c") }).await.unwrap_err(),
        pos.find_order(FindOrderRequest { target: target.clone(), context: context.clone(), ..Default::default() })
            .await
            .unwrap_err(),
        pos.pull_catalog(PullCatalogRequest { target: target.clone(), context: context.clone() }).await.err().unwrap(),
        pos.list_checks(ListChecksRequest { target: target.clone(), context: context.clone(), ..Default::default() })
            .await
            .unwrap_err(),
        pos.get_check(GetCheckRequest { target: target.clone(), context: context.clone(), ..Default::default() })
            .await
            .unwrap_err(),
        pos.request_bill(RequestBillRequest { target: target.clone(), context: context.clone(), ..Default::default() })
            .await
            .unwrap_err(),
        pos.cancel_order(CancelOrderRequest { context: context.clone(), ..cancellation("c") }).await.unwrap_err(),
        pos.void_lines(VoidLinesRequest {
            target: target.clone(),
            context: context.clone(),
            not_after: submission("c").not_after,
            ..Default::default()
        })
        .await
        .unwrap_err(),
        pos.list_pos_orders(ListPosOrdersRequest {
            target: target.clone(),
            context: context.clone(),
            ..Default::default()
        })
        .await
        .unwrap_err(),
        pos.poll_events(PollEventsRequest { target: target.clone(), context: context.clone(), ..Default::default() })
            .await
            .unwrap_err(),
        pos.split_check(SplitCheckRequest {
            target,
            context,
            not_after: submission("c").not_after,
            ..Default::default()
        })
        .await
        .unwrap_err(),
    ];
    for status in statuses {
        let seen = (status.code(), failure::reason(&status));
        assert_eq!(seen, (Code::InvalidArgument, "CONTEXT_NOT_ALLOWED".to_owned()));
    }
    assert_eq!(adapter.calls().len(), 0);
}

#[tokio::test]
async fn a_target_that_means_no_connection_is_refused_by_name() {
    let adapter = Adapter::start("one");
    let router = router_with(&adapter).await;
    let targets = [
        (None, "REQUIRED"),
        (Some(PosTarget::default()), "REQUIRED"),
        (Some(target("unknown")), "CONNECTION_NOT_FOUND"),
        (Some(PosTarget { store_id: "unknown".into(), ..PosTarget::default() }), "CONNECTION_NOT_FOUND"),
        // The connection is there, but in another store than the caller thinks.
        (Some(PosTarget { store_id: "other".into(), ..target("c") }), "CONNECTION_NOT_FOUND"),
    ];
    for (target, reason) in targets {
        let status =
            router.pos.clone().probe_link(ProbeLinkRequest { target, ..Default::default() }).await.unwrap_err();
        assert_eq!(failure::reason(&status), reason);
    }
    assert_eq!(adapter.calls().len(), 0);
}

#[tokio::test]
async fn a_store_product_and_mode_find_the_connection_that_serves_them() {
    let adapter = Adapter::start("one");
    let router = Router::start().await;
    router.register(&adapter).await;
    let (floor, counter) = (
        Connection { products: vec![Product::Table.into()], ..connection("floor", "s") },
        Connection {
            products: vec![Product::Kiosk.into()],
            service_modes: vec![ServiceMode::Takeaway.into()],
            ..connection("counter", "s")
        },
    );
    router.put(floor).await.unwrap();
    router.put(counter).await.unwrap();
    let resolve = async |product: Product, service_mode: ServiceMode| {
        let request = ResolveConnectionRequest {
            store_id: "s".into(),
            product: product.into(),
            service_mode: service_mode.into(),
            role: ConnectionRole::Unspecified.into(),
        };
        let resolved = router.router.clone().resolve_connection(request).await?.into_inner();
        assert_eq!(resolved.descriptor, Some(descriptor("acme")));
        // A probe by the same words goes to the same connection.
        let target = PosTarget {
            store_id: "s".into(),
            product: product.into(),
            service_mode: service_mode.into(),
            ..PosTarget::default()
        };
        router.pos.clone().probe_link(ProbeLinkRequest { target: Some(target), ..Default::default() }).await?;
        let resolved = resolved.connection.unwrap().connection_id;
        assert_eq!(adapter.calls().last().unwrap().context.as_ref().unwrap().connection_id, resolved);
        Ok::<String, tonic::Status>(resolved)
    };
    assert_eq!(resolve(Product::Table, ServiceMode::DineIn).await.unwrap(), "floor");
    assert_eq!(resolve(Product::Kiosk, ServiceMode::Takeaway).await.unwrap(), "counter");
    let status = resolve(Product::Kiosk, ServiceMode::DineIn).await.unwrap_err();
    assert_eq!((status.code(), failure::reason(&status)), (Code::NotFound, "CONNECTION_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn a_fallback_takes_nothing_by_product_and_mode_and_is_there_for_whoever_asks_for_it() {
    let adapter = Adapter::start("one");
    let router = Router::start().await;
    router.register(&adapter).await;
    router.put(connection("pos", "s")).await.unwrap();
    let fallback = |id: &str| Connection { role: ConnectionRole::Fallback.into(), ..connection(id, "s") };
    router.put(fallback("a-printer")).await.unwrap();
    assert_eq!(failure::reason(&router.put(fallback("b-printer")).await.unwrap_err()), "CONNECTION_OVERLAPS");
    let resolve = async |role: ConnectionRole| {
        let request = ResolveConnectionRequest {
            store_id: "s".into(),
            product: Product::Table.into(),
            service_mode: ServiceMode::DineIn.into(),
            role: role.into(),
        };
        let resolved = router.router.clone().resolve_connection(request).await.unwrap().into_inner();
        resolved.connection.unwrap().connection_id
    };
    assert_eq!(resolve(ConnectionRole::Unspecified).await, "pos");
    assert_eq!(resolve(ConnectionRole::Fallback).await, "a-printer");
    let target = PosTarget { store_id: "s".into(), ..PosTarget::default() };
    router.pos.clone().probe_link(ProbeLinkRequest { target: Some(target), ..Default::default() }).await.unwrap();
    assert_eq!(adapter.calls().last().unwrap().context.as_ref().unwrap().connection_id, "pos");
    let unknown = router.put(Connection { role: 9, ..connection("c", "other") }).await.unwrap_err();
    assert_eq!((unknown.code(), failure::reason(&unknown)), (Code::InvalidArgument, "ROLE_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_submit_says_what_it_ran_on_and_none_is_sent_past_its_time() {
    let adapter = Adapter::start("one");
    let router = router_with(&adapter).await;
    let answer = router.submit("c").await.unwrap();
    assert_eq!((answer.connection_id.as_str(), answer.connection_revision), ("c", 1));

    let late = SubmitOrderRequest { not_after: Some(time::from_unix_ms(time::now_unix_ms() - 1)), ..submission("c") };
    let answer = router.pos.clone().submit_order(late).await.unwrap().into_inner();
    let outcome = answer.outcome.unwrap().outcome.unwrap();
    assert!(matches!(outcome, Outcome::NotHandedOver(proof) if proof.cause == cause::NOT_AFTER_PASSED));
    let status =
        router.pos.clone().submit_order(SubmitOrderRequest { not_after: None, ..submission("c") }).await.unwrap_err();
    assert_eq!(failure::reason(&status), "REQUIRED");
    assert_eq!(adapter.calls().len(), 1);
}

fn cancellation(connection_id: &str) -> CancelOrderRequest {
    let not_after = submission(connection_id).not_after;
    CancelOrderRequest { target: Some(target(connection_id)), not_after, ..CancelOrderRequest::default() }
}

#[tokio::test]
async fn no_change_is_handed_on_past_its_time() {
    use change_outcome::Outcome;
    let adapter = Adapter::start("one");
    let router = router_with(&adapter).await;
    let mut pos = router.pos.clone();
    let past = Some(time::from_unix_ms(time::now_unix_ms() - 1));
    let cancelled = pos.cancel_order(CancelOrderRequest { not_after: past, ..cancellation("c") }).await.unwrap();
    let void = VoidLinesRequest { target: Some(target("c")), not_after: past, ..Default::default() };
    let voided = pos.void_lines(void).await.unwrap();
    for outcome in [cancelled.into_inner().outcome, voided.into_inner().outcome] {
        let outcome = outcome.unwrap().outcome.unwrap();
        assert!(matches!(outcome, Outcome::NotHandedOver(proof) if proof.cause == cause::NOT_AFTER_PASSED));
    }
    let split = SplitCheckRequest { target: Some(target("c")), not_after: past, ..Default::default() };
    let status = pos.split_check(split).await.unwrap_err();
    assert!(failure::is_not_handed_over(&status));
    let status = pos.cancel_order(CancelOrderRequest { not_after: None, ..cancellation("c") }).await.unwrap_err();
    assert_eq!(failure::reason(&status), "REQUIRED");
    assert_eq!(adapter.calls().len(), 0);
}

#[tokio::test]
async fn the_callers_deadline_goes_on_to_the_adapter() {
    let adapter = Adapter::start("one");
    let router = router_with(&adapter).await;
    let mut request = Request::new(ProbeLinkRequest { target: Some(target("c")), ..Default::default() });
    request.set_timeout(Duration::from_secs(7));
    router.pos.clone().probe_link(request).await.unwrap();
    let left = adapter.calls().last().unwrap().time_left.unwrap();
    assert!(left <= Duration::from_secs(7) && left > Duration::from_secs(1), "{left:?}");
}

#[tokio::test]
async fn a_catalog_comes_piece_by_piece_to_its_end() {
    let adapter = Adapter::start("one");
    let router = router_with(&adapter).await;
    let request = PullCatalogRequest { target: Some(target("c")), ..Default::default() };
    let mut stream = router.pos.clone().pull_catalog(request).await.unwrap().into_inner();
    let mut parts = 0;
    loop {
        match stream.message().await.unwrap().unwrap().piece.unwrap() {
            Piece::Part(_) => parts += 1,
            Piece::End(_) => break,
            Piece::Failed(failed) => panic!("{failed:?}"),
        }
    }
    assert_eq!(parts, 3);
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_caller_that_reads_slowly_slows_the_adapter_down() {
    let adapter = Adapter::start("one");
    let router = router_with(&adapter).await;
    adapter.set(Mode::Endless);
    let request = PullCatalogRequest { target: Some(target("c")), ..Default::default() };
    let mut stream = router.pos.clone().pull_catalog(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    // The windows of two hops hold a few MiB; then nothing moves until the caller reads.
    let mut before = adapter.pieces_sent();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = adapter.pieces_sent();
        assert!(now < 800, "50 MiB were pulled for a caller that read nothing");
        if now == before {
            break;
        }
        before = now;
    }
}
