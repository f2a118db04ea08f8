//! Orders that are taken back and checks that are split: held to the same promises as a submit. And what a vendor cannot.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use posmesh_kit::{cause, failure, time};
use posmesh_proto::adapter::v1::{
    CancelOrderRequest, FindOrderRequest, GetCheckRequest, ListChecksRequest, ListPosOrdersRequest, PollEventsRequest,
    PosLineVoid, PosOrderFacts, RequestBillRequest, SplitCheckRequest, VoidLinesRequest, change_outcome::Outcome,
    find_order_response, get_check_response, list_checks_response, list_pos_orders_response, poll_events_response,
    request_bill_response, split_check_request::How, split_check_response,
};
use tokio::{sync::Semaphore, time::Instant};
use tonic::{Code, Status};

use crate::support::{Acme, PATIENCE, Poor, Served, context, serve, serve_adapter, until};

fn in_time(left: Duration) -> Option<prost_types::Timestamp> {
    Some(time::from_unix_ms(time::now_unix_ms() + i64::try_from(left.as_millis()).unwrap()))
}

fn cancel(reason: &str, left: Duration) -> CancelOrderRequest {
    CancelOrderRequest {
        context: context("up"),
        order: Some(PosOrderFacts { reference: "o-1".into(), ..PosOrderFacts::default() }),
        change_reference: "x-1".into(),
        attempt: 1,
        not_after: in_time(left),
        reason: reason.into(),
        ..CancelOrderRequest::default()
    }
}

fn void(reason: &str, left: Duration) -> VoidLinesRequest {
    let CancelOrderRequest { context, order, change_reference, attempt, not_after, reason, .. } = cancel(reason, left);
    let lines = vec![PosLineVoid { line_id: "l-1".into(), quantity_voided: 1 }];
    VoidLinesRequest { target: None, context, order, change_reference, attempt, not_after, reason, lines }
}

fn split(check: &str, left: Duration) -> SplitCheckRequest {
    SplitCheckRequest {
        context: context("up"),
        pos_check_reference: check.into(),
        change_reference: "x-1".into(),
        not_after: in_time(left),
        how: Some(How::Parts(2)),
        ..SplitCheckRequest::default()
    }
}

async fn cancelled(served: &Served, reason: &str, left: Duration) -> Outcome {
    let answer = served.client.clone().cancel_order(cancel(reason, left)).await.unwrap();
    answer.into_inner().outcome.unwrap().outcome.unwrap()
}

async fn voided(served: &Served, reason: &str, left: Duration) -> Outcome {
    let answer = served.client.clone().void_lines(void(reason, left)).await.unwrap();
    answer.into_inner().outcome.unwrap().outcome.unwrap()
}

async fn was_split(served: &Served, check: &str, left: Duration) -> Result<split_check_response::Result, Status> {
    Ok(served.client.clone().split_check(split(check, left)).await?.into_inner().result.unwrap())
}

#[tokio::test]
async fn what_the_pos_says_of_a_change_is_told_as_it_is() {
    let served = serve(Acme::default()).await;
    for outcome in ["yes", "no", "not now", "no line", "no answer", "never seen"] {
        for told in [cancelled(&served, outcome, PATIENCE).await, voided(&served, outcome, PATIENCE).await] {
            let fits = match outcome {
                "yes" => matches!(told, Outcome::Changed(_)),
                "no" => matches!(&told, Outcome::Rejected(r) if r.cause == cause::TOO_LATE),
                "not now" => matches!(&told, Outcome::RefusedForNow(r) if r.cause == cause::TABLE_LOCKED),
                "no line" => matches!(&told, Outcome::NotHandedOver(p) if p.cause == cause::NETWORK_DOWN),
                "no answer" => matches!(&told, Outcome::InDoubt(d) if d.cause == cause::NETWORK_DOWN),
                _ => matches!(&told, Outcome::NotFound(n) if n.authoritative),
            };
            assert!(fits, "{outcome}: {told:?}");
        }
    }
}

#[tokio::test]
async fn what_the_pos_did_not_say_of_a_split_is_an_error_that_tells_whether_it_was_handed_over() {
    use split_check_response::Result as Split;
    let served = serve(Acme::default()).await;
    let failed = async |check: &str| match was_split(&served, check, PATIENCE).await {
        Ok(Split::Failed(failed)) => failed.cause,
        other => panic!("{other:?}"),
    };
    assert!(matches!(was_split(&served, "yes", PATIENCE).await, Ok(Split::Split(s)) if s.checks.len() == 2));
    assert_eq!(failed("no").await, cause::TOO_LATE);
    assert_eq!(failed("not now").await, cause::TABLE_LOCKED);
    assert_eq!(failed("never seen").await, cause::CHECK_NOT_FOUND);
    let status = was_split(&served, "no line", PATIENCE).await.unwrap_err();
    assert!(failure::is_not_handed_over(&status));
    let status = was_split(&served, "no answer", PATIENCE).await.unwrap_err();
    assert_eq!((status.code(), failure::reason(&status).as_str()), (Code::Unknown, "OUTCOME_UNKNOWN"));
    let status = was_split(&served, "hang", Duration::from_millis(200)).await.unwrap_err();
    assert!(!failure::is_not_handed_over(&status));
}

#[tokio::test]
async fn no_change_begins_after_its_time() {
    let served = serve(Acme::default()).await;
    let late = |told: &Outcome| matches!(told, Outcome::NotHandedOver(p) if p.cause == cause::NOT_AFTER_PASSED);
    assert!(late(&cancelled(&served, "", Duration::ZERO).await));
    assert!(late(&voided(&served, "", Duration::ZERO).await));
    let status = was_split(&served, "c", Duration::ZERO).await.unwrap_err();
    assert_eq!(failure::metadata(&status, "cause").as_deref(), Some(cause::NOT_AFTER_PASSED));
    assert_eq!(served.acme.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_pos_that_hangs_leaves_a_change_in_doubt_when_its_time_ends() {
    let served = serve(Acme::default()).await;
    let begun = Instant::now();
    let told = cancelled(&served, "hang", Duration::from_millis(300)).await;
    assert!(matches!(told, Outcome::InDoubt(doubt) if doubt.cause == cause::TIMED_OUT));
    assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
    let told = voided(&served, "hang", Duration::from_millis(100)).await;
    assert!(matches!(told, Outcome::InDoubt(doubt) if doubt.cause == cause::TIMED_OUT));
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_tear_a_change_apart() {
    let served = serve(Acme { gate: Some(Semaphore::new(0)), ..Acme::default() }).await;
    let mut client = served.client.clone();
    let call = tokio::spawn(async move { client.cancel_order(cancel("", PATIENCE)).await });
    until("the change begins", || served.acme.begun.load(Ordering::SeqCst) == 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    served.acme.gate.as_ref().unwrap().add_permits(1);
    until("the change ends", || served.acme.ended.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_fault_of_the_adapter_is_no_proof_that_nothing_changed() {
    let served = serve(Acme::default()).await;
    let status = served.client.clone().cancel_order(cancel("panic", PATIENCE)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!failure::is_not_handed_over(&status));
}

#[tokio::test]
async fn a_change_without_a_reference_or_a_time_is_refused() {
    let served = serve(Acme::default()).await;
    let mut client = served.client.clone();
    let statuses = [
        client
            .cancel_order(CancelOrderRequest { change_reference: String::new(), ..cancel("", PATIENCE) })
            .await
            .unwrap_err(),
        client.cancel_order(CancelOrderRequest { order: None, ..cancel("", PATIENCE) }).await.unwrap_err(),
        client.cancel_order(CancelOrderRequest { not_after: None, ..cancel("", PATIENCE) }).await.unwrap_err(),
        client.void_lines(VoidLinesRequest { lines: Vec::new(), ..void("", PATIENCE) }).await.unwrap_err(),
        client.split_check(SplitCheckRequest { how: None, ..split("c", PATIENCE) }).await.unwrap_err(),
    ];
    assert!(statuses.iter().all(|status| failure::reason(status) == "REQUIRED"), "{statuses:?}");
    assert_eq!(served.acme.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn pages_are_bounded_and_an_old_cursor_is_told_as_such() {
    use poll_events_response::Result as Polled;
    let served = serve(Acme::default()).await;
    let mut client = served.client.clone();
    for (asked, page) in [(0, "100"), (7, "7"), (9999, "500")] {
        let list = ListPosOrdersRequest { context: context("up"), page_size: asked, ..ListPosOrdersRequest::default() };
        match client.list_pos_orders(list).await.unwrap().into_inner().result.unwrap() {
            list_pos_orders_response::Result::Orders(orders) => assert_eq!(orders.next_page_token, page),
            list_pos_orders_response::Result::Failed(failed) => panic!("{failed:?}"),
        }
        let poll = PollEventsRequest { context: context("up"), max_events: asked, ..PollEventsRequest::default() };
        let polled = client.poll_events(poll).await.unwrap().into_inner().result.unwrap();
        assert!(matches!(polled, Polled::Events(events) if events.cursor == page));
    }
    let list = ListPosOrdersRequest { context: context("up"), page_size: -1, ..ListPosOrdersRequest::default() };
    assert_eq!(failure::reason(&client.list_pos_orders(list).await.unwrap_err()), "PAGE_SIZE_INVALID");
    let poll = PollEventsRequest { context: context("up"), cursor: "old".into(), ..PollEventsRequest::default() };
    let polled = client.poll_events(poll).await.unwrap().into_inner().result.unwrap();
    assert!(matches!(polled, Polled::Failed(failed) if failed.cause == cause::CURSOR_TOO_OLD));
}

#[tokio::test]
async fn what_an_adapter_cannot_do_it_says() {
    let (mut client, _stop) = serve_adapter(Arc::new(Poor)).await;
    let context = context("up");
    let mut causes = Vec::new();
    for outcome in [
        client.cancel_order(cancel("", PATIENCE)).await.unwrap().into_inner().outcome,
        client.void_lines(void("", PATIENCE)).await.unwrap().into_inner().outcome,
    ] {
        match outcome.unwrap().outcome.unwrap() {
            Outcome::Rejected(rejected) => causes.push(rejected.cause),
            other => panic!("{other:?}"),
        }
    }
    let find = FindOrderRequest { context: context.clone(), ..FindOrderRequest::default() };
    match client.find_order(find).await.unwrap().into_inner().result.unwrap() {
        find_order_response::Result::Failed(failed) => causes.push(failed.cause),
        other => panic!("{other:?}"),
    }
    let list = ListChecksRequest { context: context.clone(), ..ListChecksRequest::default() };
    match client.list_checks(list).await.unwrap().into_inner().result.unwrap() {
        list_checks_response::Result::Failed(failed) => causes.push(failed.cause),
        other => panic!("{other:?}"),
    }
    let get = GetCheckRequest { context: context.clone(), ..GetCheckRequest::default() };
    match client.get_check(get).await.unwrap().into_inner().result.unwrap() {
        get_check_response::Result::Failed(failed) => causes.push(failed.cause),
        other => panic!("{other:?}"),
    }
    let bill = RequestBillRequest { context: context.clone(), ..RequestBillRequest::default() };
    match client.request_bill(bill).await.unwrap().into_inner().result.unwrap() {
        request_bill_response::Result::Failed(failed) => causes.push(failed.cause),
        other => panic!("{other:?}"),
    }
    let list = ListPosOrdersRequest { context: context.clone(), ..ListPosOrdersRequest::default() };
    match client.list_pos_orders(list).await.unwrap().into_inner().result.unwrap() {
        list_pos_orders_response::Result::Failed(failed) => causes.push(failed.cause),
        other => panic!("{other:?}"),
    }
    let poll = PollEventsRequest { context, ..PollEventsRequest::default() };
    match client.poll_events(poll).await.unwrap().into_inner().result.unwrap() {
        poll_events_response::Result::Failed(failed) => causes.push(failed.cause),
        other => panic!("{other:?}"),
    }
    match client.split_check(split("c", PATIENCE)).await.unwrap().into_inner().result.unwrap() {
        split_check_response::Result::Failed(failed) => causes.push(failed.cause),
        other => panic!("{other:?}"),
    }
    assert_eq!(causes, [cause::NOT_SUPPORTED; 9]);
}
