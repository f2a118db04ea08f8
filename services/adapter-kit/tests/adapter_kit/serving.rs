use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use posmesh_adapter_kit::mount;
use posmesh_kit::{cause, failure, server::ServerConfig};
use posmesh_proto::adapter::v1::{
    AdapterDescriptor, CancelOrderRequest, FindOrderRequest, GetCheckRequest, Limits, LinkHealth, ListChecksRequest,
    ListPosOrdersRequest, PollEventsRequest, ProbeLinkRequest, PullCatalogRequest, RequestBillRequest,
    SplitCheckRequest, SubmitOrderRequest, VoidLinesRequest, pos_adapter_service_client::PosAdapterServiceClient,
    submit_outcome::Outcome,
};
use tokio::{sync::Semaphore, time::Instant};
use tonic::{Code, Request};

use crate::support::{Acme, PATIENCE, context, outcome, serve, submit, until};

fn one_at_a_time() -> AdapterDescriptor {
    AdapterDescriptor {
        limits: Some(Limits { max_concurrent_calls: 1, ..Limits::default() }),
        ..AdapterDescriptor::default()
    }
}

#[tokio::test]
async fn a_call_that_did_not_come_through_the_router_is_refused() {
    let served = serve(Acme::default()).await;
    let mut client = served.client.clone();
    let statuses = [
        client.probe_link(ProbeLinkRequest::default()).await.unwrap_err(),
        client.submit_order(SubmitOrderRequest::default()).await.unwrap_err(),
        client.find_order(FindOrderRequest::default()).await.unwrap_err(),
        client.pull_catalog(PullCatalogRequest::default()).await.err().unwrap(),
        client.list_checks(ListChecksRequest::default()).await.unwrap_err(),
        client.get_check(GetCheckRequest::default()).await.unwrap_err(),
        client.request_bill(RequestBillRequest::default()).await.unwrap_err(),
        client.cancel_order(CancelOrderRequest::default()).await.unwrap_err(),
        client.void_lines(VoidLinesRequest::default()).await.unwrap_err(),
        client.list_pos_orders(ListPosOrdersRequest::default()).await.unwrap_err(),
        client.poll_events(PollEventsRequest::default()).await.unwrap_err(),
        client.split_check(SplitCheckRequest::default()).await.unwrap_err(),
    ];
    for status in statuses {
        assert_eq!((status.code(), failure::reason(&status).as_str()), (Code::InvalidArgument, "CONTEXT_MISSING"));
    }
}

#[tokio::test]
async fn an_order_is_placed_with_the_time_that_the_pos_took() {
    let mut served = serve(Acme::default()).await;
    let answer = served.client.submit_order(submit("", PATIENCE)).await.unwrap();
    assert!(answer.get_ref().pos_latency.is_some());
    assert!(matches!(outcome(answer), Outcome::Placed(placed) if placed.pos_order_reference == "o-1"));
}

#[tokio::test]
async fn a_refusal_tells_the_time_of_the_pos_only_if_the_pos_was_heard_of() {
    let mut served = serve(Acme::default()).await;
    for (note, is_heard) in [("refuse", false), ("ask and refuse", true)] {
        let answer = served.client.submit_order(submit(note, PATIENCE)).await.unwrap();
        assert_eq!(answer.get_ref().pos_latency.is_some(), is_heard, "{note}");
        assert!(matches!(outcome(answer), Outcome::Rejected(_)));
    }
}

#[tokio::test]
async fn an_order_whose_time_is_over_never_reaches_the_adapter() {
    let mut served = serve(Acme::default()).await;
    let answer = served.client.submit_order(submit("", Duration::ZERO)).await.unwrap();
    assert!(matches!(outcome(answer), Outcome::NotHandedOver(proof) if proof.cause == cause::NOT_AFTER_PASSED));
    assert_eq!(served.acme.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_pos_that_hangs_leaves_the_order_in_doubt_when_the_attempt_ends() {
    let mut served = serve(Acme::default()).await;
    let begun = Instant::now();
    let answer = served.client.submit_order(submit("hang", Duration::from_millis(300))).await.unwrap();
    assert!(matches!(outcome(answer), Outcome::InDoubt(doubt) if doubt.cause == cause::TIMED_OUT));
    assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
}

// In process, where time passes only while nobody has anything to do: the machine's load plays no part.
#[tokio::test(start_paused = true)]
async fn a_caller_in_a_hurry_still_learns_that_its_order_is_in_doubt() {
    let mounted = mount(Arc::new(Acme::default()));
    let mut client = PosAdapterServiceClient::new(mounted.channel(&ServerConfig::default()));
    let mut request = Request::new(submit("hang", PATIENCE));
    request.set_timeout(Duration::from_millis(1500));
    let answer = client.submit_order(request).await.unwrap();
    assert!(matches!(outcome(answer), Outcome::InDoubt(doubt) if doubt.cause == cause::TIMED_OUT));
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_tear_a_write_apart() {
    let served = serve(Acme { gate: Some(Semaphore::new(0)), ..Acme::default() }).await;
    let mut client = served.client.clone();
    let call = tokio::spawn(async move { client.submit_order(submit("", PATIENCE)).await });
    until("the write begins", || served.acme.begun.load(Ordering::SeqCst) == 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    served.acme.gate.as_ref().unwrap().add_permits(1);
    until("the write ends", || served.acme.ended.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn no_more_orders_run_at_once_on_a_connection_than_its_vendor_takes() {
    let limits = Some(Limits { max_concurrent_calls: 2, ..Limits::default() });
    let descriptor = AdapterDescriptor { limits, ..AdapterDescriptor::default() };
    let served = serve(Acme { descriptor, gate: Some(Semaphore::new(0)), ..Acme::default() }).await;
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let mut client = served.client.clone();
            tokio::spawn(async move { outcome(client.submit_order(submit("", PATIENCE)).await.unwrap()) })
        })
        .collect();
    until("two run", || served.acme.running.load(Ordering::SeqCst) == 2).await;
    served.acme.gate.as_ref().unwrap().add_permits(6);
    for call in calls {
        assert!(matches!(call.await.unwrap(), Outcome::Placed(_)));
    }
    assert_eq!(served.acme.most_running.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_store_that_keeps_its_pos_busy_is_refused_at_once_and_does_not_hold_up_another() {
    let limits = Some(Limits { max_concurrent_calls: 1, max_calls_per_second_in_all: 50.0, ..Limits::default() });
    let descriptor = AdapterDescriptor { limits, ..AdapterDescriptor::default() };
    let served = serve(Acme { descriptor, ..Acme::default() }).await;
    let calls: Vec<_> = (0..70)
        .map(|_| {
            let mut client = served.client.clone();
            tokio::spawn(async move { outcome(client.submit_order(submit("hang", PATIENCE)).await.unwrap()) })
        })
        .collect();
    until("the queue is full", || calls.iter().any(tokio::task::JoinHandle::is_finished)).await;
    let mut other = submit("", PATIENCE);
    other.context.as_mut().unwrap().connection_id = "c-2".into();
    let asked = Instant::now();
    assert!(matches!(outcome(served.client.clone().submit_order(other).await.unwrap()), Outcome::Placed(_)));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let mut refused = 0;
    for call in calls.into_iter().filter(tokio::task::JoinHandle::is_finished) {
        let Outcome::NotHandedOver(proof) = call.await.unwrap() else { panic!("it hangs") };
        assert_eq!(proof.cause, cause::RATE_LIMITED);
        assert!(proof.retry_after.is_some(), "it tells when to come back");
        refused += 1;
    }
    // One runs and 64 wait.
    assert_eq!(refused, 70 - 65);
}

#[tokio::test]
async fn all_connections_together_keep_the_vendors_budget() {
    let limits = Some(Limits { max_calls_per_second_in_all: 2.0, ..Limits::default() });
    let descriptor = AdapterDescriptor { limits, ..AdapterDescriptor::default() };
    let mut served = serve(Acme { descriptor, ..Acme::default() }).await;
    let begun = Instant::now();
    for connection in ["c-1", "c-2", "c-3"] {
        let mut request = submit("", PATIENCE);
        request.context.as_mut().unwrap().connection_id = connection.into();
        assert!(matches!(outcome(served.client.submit_order(request).await.unwrap()), Outcome::Placed(_)));
    }
    assert!(begun.elapsed() >= Duration::from_millis(990), "three calls at 2/s took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_call_that_gets_no_turn_in_time_is_not_handed_over_because_of_the_limits() {
    let served = serve(Acme { descriptor: one_at_a_time(), ..Acme::default() }).await;
    let mut client = served.client.clone();
    let mut first = client.clone();
    let _running = tokio::spawn(async move { first.submit_order(submit("hang", PATIENCE)).await });
    until("the first runs", || served.acme.begun.load(Ordering::SeqCst) == 1).await;

    let answer = client.submit_order(submit("", Duration::from_millis(200))).await.unwrap();
    assert!(matches!(outcome(answer), Outcome::NotHandedOver(proof) if proof.cause == cause::RATE_LIMITED));
    let mut probe = Request::new(ProbeLinkRequest { context: context("up"), ..ProbeLinkRequest::default() });
    probe.set_timeout(Duration::from_millis(200));
    let status = client.probe_link(probe).await.unwrap_err();
    assert!(failure::is_not_handed_over(&status));
    assert_eq!(failure::metadata(&status, "cause").as_deref(), Some(cause::RATE_LIMITED));
    assert_eq!(served.acme.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn calls_beyond_the_rate_wait_or_are_refused_before_anything_is_sent() {
    let limits = Some(Limits { max_calls_per_second: 2.0, ..Limits::default() });
    let descriptor = AdapterDescriptor { limits, ..AdapterDescriptor::default() };
    let mut served = serve(Acme { descriptor, ..Acme::default() }).await;
    let begun = Instant::now();
    for _ in 0..3 {
        let answer = served.client.submit_order(submit("", PATIENCE)).await.unwrap();
        assert!(matches!(outcome(answer), Outcome::Placed(_)));
    }
    assert!(begun.elapsed() >= Duration::from_millis(990), "three calls at 2/s took {:?}", begun.elapsed());
    let full = served.client.submit_order(submit("", PATIENCE)).await.unwrap();
    assert!(matches!(outcome(full), Outcome::Placed(_)));
    // Calls three and four fill this second.
    let asked = Instant::now();
    let answer = served.client.submit_order(submit("", Duration::from_millis(300))).await.unwrap();
    assert!(matches!(outcome(answer), Outcome::NotHandedOver(proof) if proof.cause == cause::RATE_LIMITED));
    assert!(asked.elapsed() < Duration::from_millis(250), "it is refused at once, not at its deadline");
}

#[tokio::test]
async fn a_fault_of_the_adapter_is_no_proof_and_frees_its_turn() {
    let mut served = serve(Acme { descriptor: one_at_a_time(), ..Acme::default() }).await;
    let status = served.client.submit_order(submit("panic", PATIENCE)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!failure::is_not_handed_over(&status));
    let answer = served.client.submit_order(submit("", PATIENCE)).await.unwrap();
    assert!(matches!(outcome(answer), Outcome::Placed(_)));
}

#[tokio::test]
async fn settings_that_do_not_fit_stop_an_order_before_it_is_sent_and_fail_a_probe_by_name() {
    let mut served = serve(Acme::default()).await;
    let mut request = submit("", PATIENCE);
    request.context.as_mut().unwrap().settings_json = "{}".into();
    let answer = served.client.submit_order(request).await.unwrap();
    assert!(matches!(outcome(answer), Outcome::NotHandedOver(proof) if proof.cause == cause::MISCONFIGURED));

    let mut probe = ProbeLinkRequest { context: context("up"), ..ProbeLinkRequest::default() };
    probe.context.as_mut().unwrap().credentials.clear();
    let status = served.client.probe_link(probe).await.unwrap_err();
    assert_eq!(failure::reason(&status), "SETTINGS_INVALID");
    assert!(status.message().contains("credentials.api_key"), "{}", status.message());
}

#[tokio::test]
async fn a_pos_that_is_down_is_offline_with_its_cause() {
    let mut served = serve(Acme::default()).await;
    let probe = |url| ProbeLinkRequest { context: context(url), ..ProbeLinkRequest::default() };
    let up = served.client.probe_link(probe("up")).await.unwrap().into_inner();
    assert_eq!(up.health(), LinkHealth::Online);
    assert!(up.pos_latency.is_some());
    let down = served.client.probe_link(probe("down")).await.unwrap().into_inner();
    assert_eq!((down.health(), down.cause.as_str()), (LinkHealth::Offline, cause::POS_APP_NOT_RUNNING));
    assert_eq!(down.failing_hop, "pos");
}
