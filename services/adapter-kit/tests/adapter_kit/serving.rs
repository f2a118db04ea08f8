use std::{sync::atomic::Ordering, time::Duration};

use posmesh_kit::{cause, failure};
use posmesh_proto::adapter::v1::{
    AdapterDescriptor, FindOrderRequest, GetCheckRequest, Limits, LinkHealth, ListChecksRequest, ProbeLinkRequest,
    PullCatalogRequest, RequestBillRequest, SubmitOrderRequest, find_order_response, get_check_response,
    list_checks_response, request_bill_response, submit_outcome::Outcome,
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

#[tokio::test]
async fn a_caller_in_a_hurry_still_learns_that_its_order_is_in_doubt() {
    let mut served = serve(Acme::default()).await;
    let mut request = Request::new(submit("hang", PATIENCE));
    request.set_timeout(Duration::from_millis(1500));
    let answer = served.client.submit_order(request).await.unwrap();
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

#[tokio::test]
async fn what_an_adapter_cannot_do_it_says() {
    let served = serve(Acme::default()).await;
    let mut client = served.client.clone();
    let find = FindOrderRequest { context: context("up"), ..FindOrderRequest::default() };
    let found = client.find_order(find).await.unwrap().into_inner().result.unwrap();
    assert!(matches!(found, find_order_response::Result::Failed(f) if f.cause == cause::NOT_SUPPORTED));
    let list = ListChecksRequest { context: context("up"), ..ListChecksRequest::default() };
    let listed = client.list_checks(list).await.unwrap().into_inner().result.unwrap();
    assert!(matches!(listed, list_checks_response::Result::Failed(f) if f.cause == cause::NOT_SUPPORTED));
    let get = GetCheckRequest { context: context("up"), ..GetCheckRequest::default() };
    let got = client.get_check(get).await.unwrap().into_inner().result.unwrap();
    assert!(matches!(got, get_check_response::Result::Failed(f) if f.cause == cause::NOT_SUPPORTED));
    let bill = RequestBillRequest { context: context("up"), ..RequestBillRequest::default() };
    let asked = client.request_bill(bill).await.unwrap().into_inner().result.unwrap();
    assert!(matches!(asked, request_bill_response::Result::Failed(f) if f.cause == cause::NOT_SUPPORTED));
}
