use std::time::Duration;

use posmesh_kit::{Channel, cause, failure};
use posmesh_proto::adapter::v1::{
    CancelOrderRequest, ProbeLinkRequest, PullCatalogRequest, SplitCheckRequest, SubmitOrderRequest, VoidLinesRequest,
    pos_adapter_service_client::PosAdapterServiceClient,
};
use tonic::{Code, Request, Status};

use crate::{
    adapter::{Adapter, Mode},
    support::{Router, connection, connection_of, submission, target, until},
};

type Client = PosAdapterServiceClient<Channel>;

#[tokio::test]
async fn a_dead_instance_gets_no_call_after_its_first_failed_one_and_its_orders_go_to_another() {
    let router = Router::start().await;
    let (mut dying, other) = (Adapter::start("dying"), Adapter::start("other"));
    router.register(&dying).await;
    router.register(&other).await;
    let id = connection_of(&router, &dying).await;
    dying.kill();
    // The connection is closed already or about to be: the order goes on to the other instance only with the proof that
    // the first one did not get it.
    match router.submit(&id).await {
        Ok(_) => assert_eq!(other.calls().last().unwrap().method, "submit_order"),
        Err(status) => assert_eq!(failure::reason(&status), "OUTCOME_UNKNOWN"),
    }
    // It listens again, but has not renewed its lease: nothing is sent there.
    let revived = Adapter::start_at("revived", dying.address);
    for _ in 0..20 {
        assert_eq!(router.place(&id).await, "other");
    }
    assert_eq!(revived.calls().len(), 0);
    // Its lease is renewed: the connection belongs to it as before. One renewal may have been on its way before the
    // failure, so the second one counts.
    until("its renewal brings it back", async || {
        router.register(&dying).await;
        router.place(&id).await == "revived"
    })
    .await;
}

#[tokio::test]
async fn an_order_that_finds_nobody_listening_goes_to_another_instance_at_once() {
    let router = Router::start().await;
    let (mut absent, other) = (Adapter::start("absent"), Adapter::start("other"));
    absent.kill();
    router.register(&absent).await;
    router.register(&other).await;
    for n in 0..10 {
        let id = format!("c-{n}");
        router.put(connection(&id, &format!("s-{n}"))).await.unwrap();
        assert_eq!(router.place(&id).await, "other");
    }
}

#[tokio::test]
async fn when_nobody_can_be_reached_nothing_is_handed_over() {
    let router = Router::start().await;
    let mut absent = Adapter::start("absent");
    absent.kill();
    router.register(&absent).await;
    router.put(connection("c", "s")).await.unwrap();
    // The first call finds out, the second one knows.
    for _ in 0..2 {
        let status = router.submit("c").await.unwrap_err();
        assert!(failure::is_not_handed_over(&status), "{status:?}");
        assert_eq!(failure::metadata(&status, "cause").as_deref(), Some(cause::ADAPTER_DOWN));
    }
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_in_doubt_and_is_not_sent_again() {
    for method in ["submit_order", "cancel_order", "void_lines", "split_check"] {
        let router = Router::start().await;
        let (mut dying, other) = (Adapter::start("dying"), Adapter::start("other"));
        router.register(&dying).await;
        router.register(&other).await;
        let id = connection_of(&router, &dying).await;
        dying.set(Mode::Hang);
        let others_calls = other.calls().len();
        let client = router.pos.clone();
        let request = submission(&id);
        let write = tokio::spawn(async move { write(client, method, request).await });
        until("the write is there", async || dying.calls().iter().any(|call| call.method == method)).await;
        dying.kill();
        let status = write.await.unwrap().unwrap_err();
        assert_eq!(failure::reason(&status), "OUTCOME_UNKNOWN", "{status:?}");
        assert!(!failure::is_not_handed_over(&status));
        assert_eq!(other.calls().len(), others_calls);
        assert_eq!(router.place(&id).await, "other", "the next one goes elsewhere");
    }
}

async fn write(mut client: Client, method: &str, like: SubmitOrderRequest) -> Result<(), Status> {
    let SubmitOrderRequest { target, not_after, .. } = like.clone();
    match method {
        "submit_order" => client.submit_order(like).await.map(drop),
        "cancel_order" => {
            client.cancel_order(CancelOrderRequest { target, not_after, ..Default::default() }).await.map(drop)
        }
        "void_lines" => client.void_lines(VoidLinesRequest { target, not_after, ..Default::default() }).await.map(drop),
        _ => client.split_check(SplitCheckRequest { target, not_after, ..Default::default() }).await.map(drop),
    }
}

#[tokio::test]
async fn a_read_whose_connection_breaks_is_answered_by_another_instance() {
    let router = Router::start().await;
    let (mut dying, other) = (Adapter::start("dying"), Adapter::start("other"));
    router.register(&dying).await;
    router.register(&other).await;
    let id = connection_of(&router, &dying).await;
    dying.set(Mode::Hang);
    let before = dying.calls().len();
    let mut client = router.pos.clone();
    let request = ProbeLinkRequest { target: Some(target(&id)), ..ProbeLinkRequest::default() };
    let probe = tokio::spawn(async move { client.probe_link(request).await });
    until("the probe is there", async || dying.calls().len() > before).await;
    dying.kill();
    assert_eq!(probe.await.unwrap().unwrap().into_inner().pos_version, "other");
}

#[tokio::test]
async fn an_instance_that_hangs_is_left_out_only_if_another_can_stand_in() {
    let router = Router::start().await;
    let hanging = Adapter::start("hanging");
    router.register(&hanging).await;
    router.put(connection("c-alone", "s-alone")).await.unwrap();
    hanging.set(Mode::Hang);
    let hurried = |id: &str| {
        let mut request = Request::new(ProbeLinkRequest { target: Some(target(id)), ..ProbeLinkRequest::default() });
        request.set_timeout(Duration::from_millis(300));
        request
    };
    let status = router.pos.clone().probe_link(hurried("c-alone")).await.unwrap_err();
    // Whose clock ends the call, the caller's transport's or ours, is a matter of microseconds.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    hanging.set(Mode::Answer);
    assert_eq!(router.probe("c-alone").await.unwrap(), "hanging");

    let other = Adapter::start("other");
    router.register(&other).await;
    let id = connection_of(&router, &hanging).await;
    hanging.set(Mode::Hang);
    // The caller's own clock may end the call before the router has judged it: then the next one is hurried too.
    until("the hanging one is left out", async || {
        router.pos.clone().probe_link(hurried(&id)).await.is_ok_and(|a| a.into_inner().pos_version == "other")
    })
    .await;
}

#[tokio::test]
async fn limits_of_an_adapter_are_its_answer_and_no_failure_of_it() {
    let router = Router::start().await;
    let (limited, other) = (Adapter::start("limited"), Adapter::start("other"));
    router.register(&limited).await;
    router.register(&other).await;
    let id = connection_of(&router, &limited).await;
    limited.set(Mode::RateLimited);
    let status = router.submit(&id).await.unwrap_err();
    assert!(failure::is_not_handed_over(&status));
    assert_eq!(failure::metadata(&status, "cause").as_deref(), Some(cause::RATE_LIMITED));
    limited.set(Mode::Answer);
    assert_eq!(router.place(&id).await, "limited");
}

#[tokio::test]
async fn a_pull_whose_adapter_dies_breaks_off_with_an_error() {
    let router = Router::start().await;
    let mut dying = Adapter::start("dying");
    router.register(&dying).await;
    router.put(connection("c", "s")).await.unwrap();
    dying.set(Mode::Endless);
    let request = PullCatalogRequest { target: Some(target("c")), ..PullCatalogRequest::default() };
    let mut pieces = router.pos.clone().pull_catalog(request).await.unwrap().into_inner();
    pieces.message().await.unwrap().unwrap();
    dying.kill();
    let error = loop {
        match pieces.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the pull ended as if it were whole"),
            Err(status) => break status,
        }
    };
    assert_eq!(failure::reason(&error), "ADAPTER_CONNECTION_LOST");
}
