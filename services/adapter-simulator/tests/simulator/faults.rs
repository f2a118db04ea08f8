//! Each way in which the POS can fail, and the one outcome that is true then.

use std::time::{Duration, Instant};

use posmesh_kit::cause;
use posmesh_proto::{
    adapter::v1::{LinkHealth, PosOrder, ProbeLinkRequest, find_order_response, submit_outcome::Outcome},
    common::v1::EvidenceKind,
};
use posmesh_simpos::RunError;
use serde_json::json;

use crate::support::{Adapter, PATIENCE, Pair, context, order};

#[derive(Debug, PartialEq)]
enum Told {
    Placed(Vec<EvidenceKind>),
    Rejected(String),
    RefusedForNow(String, Option<Duration>),
    NotHandedOver(String),
    InDoubt(String),
}

fn told(outcome: Outcome) -> Told {
    match outcome {
        Outcome::Placed(placed) => Told::Placed(placed.evidence.iter().map(|evidence| evidence.kind()).collect()),
        Outcome::Rejected(rejected) => Told::Rejected(rejected.cause),
        Outcome::RefusedForNow(refused) => {
            let after = refused.retry_after.as_ref().and_then(posmesh_kit::time::from_proto_duration);
            Told::RefusedForNow(refused.cause, after)
        }
        Outcome::NotHandedOver(proof) => Told::NotHandedOver(proof.cause),
        Outcome::InDoubt(doubt) => Told::InDoubt(doubt.cause),
    }
}

fn for_now(cause: &str, ms: u64) -> Told {
    Told::RefusedForNow(cause.to_owned(), Some(Duration::from_millis(ms)))
}

/// Waits until the POS has the order.
async fn arrives(adapter: &Adapter, order: &PosOrder) {
    let begun = Instant::now();
    while !adapter.has(order).await {
        assert!(begun.elapsed() < PATIENCE, "the order never arrived");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_the_pos_refuses_is_told_as_refused_and_is_not_there() {
    let pair = Pair::start().await;
    let cases = [
        (json!({"kind": "refuse", "cause": "TABLE_LOCKED"}), Told::Rejected(cause::TABLE_LOCKED.into())),
        (
            json!({"kind": "refuse", "cause": "TABLE_LOCKED", "retry_after_ms": 1500}),
            for_now(cause::TABLE_LOCKED, 1500),
        ),
        (json!({"kind": "rate_limit", "per_second": 0}), for_now(cause::RATE_LIMITED, 1000)),
        (json!({"kind": "business_day_closed"}), for_now(cause::BUSINESS_DAY_NOT_OPEN, 5000)),
        (json!({"kind": "master_updating"}), for_now(cause::MASTER_UPDATING, 5000)),
        (json!({"kind": "sold_out", "item_id": "hiyayakko"}), Told::Rejected(cause::ITEM_SOLD_OUT.into())),
    ];
    for (fault, expected) in cases {
        pair.fault(fault.clone()).await;
        let order = order();
        assert_eq!(told(pair.submit(order.clone()).await), expected, "{fault}");
        pair.mend().await;
        assert_eq!(pair.made(&order.reference).await, (0, 0), "{fault}");
    }
}

#[tokio::test]
async fn a_price_that_moved_is_rejected_and_nothing_is_made() {
    let pair = Pair::start().await;
    pair.fault(json!({"kind": "change_price", "item_id": "hiyayakko", "price": 390})).await;
    let order = order();
    assert_eq!(told(pair.submit(order.clone()).await), Told::Rejected(cause::MASTER_MISMATCH.into()));
    assert_eq!(pair.made(&order.reference).await, (0, 0));
}

#[tokio::test]
async fn a_line_that_is_refused_is_named() {
    let pair = Pair::start().await;
    let mut order = order();
    order.lines.push(crate::support::line("no-such-item", 1));
    match pair.submit(order.clone()).await {
        Outcome::Rejected(rejected) => {
            assert_eq!(rejected.lines.len(), 1);
            assert_eq!(rejected.lines[0].line_id, order.lines[1].line_id);
            assert_eq!(rejected.lines[0].cause, cause::MASTER_MISMATCH);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_order_in_doubt_and_found() {
    let pair = Pair::start().await;
    pair.fault(json!({"kind": "drop_answer_after_record", "times": 1})).await;
    let order = order();
    assert_eq!(told(pair.submit(order.clone()).await), Told::InDoubt(cause::NETWORK_DOWN.into()));
    assert!(pair.has(&order).await);
    assert_eq!(told(pair.submit(order.clone()).await), Told::Placed(vec![EvidenceKind::Pos, EvidenceKind::Printed]));
    assert_eq!(pair.made(&order.reference).await, (1, 1));
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_record_leaves_the_order_in_doubt_and_not_found() {
    let pair = Pair::start().await;
    pair.fault(json!({"kind": "drop_before_record", "times": 1})).await;
    let order = order();
    assert_eq!(told(pair.submit(order.clone()).await), Told::InDoubt(cause::NETWORK_DOWN.into()));
    assert!(!pair.has(&order).await);
}

#[tokio::test]
async fn an_order_that_is_recorded_late_is_in_doubt_until_it_is_found() {
    let pair = Pair::start().await;
    pair.fault(json!({"kind": "record_late", "delay_ms": 100, "times": 1})).await;
    let order = order();
    assert_eq!(told(pair.submit(order.clone()).await), Told::InDoubt(cause::NETWORK_DOWN.into()));
    arrives(&pair, &order).await;
    assert_eq!(pair.made(&order.reference).await, (1, 1));
}

#[tokio::test]
async fn a_slow_pos_is_waited_for_until_not_after_and_records_nothing_after_it() {
    let pair = Pair::start().await;
    pair.fault(json!({"kind": "delay", "delay_ms": 600, "times": 1})).await;
    let (slow, begun) = (order(), Instant::now());
    let outcome = pair.submit_within(slow.clone(), Duration::from_millis(300)).await;
    assert_eq!(told(outcome), Told::InDoubt(cause::TIMED_OUT.into()));
    assert!(begun.elapsed() < Duration::from_millis(550), "{:?}", begun.elapsed());
    // This one waits as long and was sent later: once it is there, the POS has decided about the slow one.
    pair.fault(json!({"kind": "delay", "delay_ms": 600, "times": 1})).await;
    let next = order();
    assert!(matches!(pair.submit(next).await, Outcome::Placed(_)));
    assert!(!pair.has(&slow).await);
}

#[tokio::test]
async fn a_pos_that_crashes_leaves_the_order_in_doubt_and_the_next_not_handed_over() {
    for fault in ["crash_before_record", "crash_after_record"] {
        let mut pair = Pair::start().await;
        pair.fault(json!({"kind": fault})).await;
        assert_eq!(told(pair.submit(order()).await), Told::InDoubt(cause::NETWORK_DOWN.into()), "{fault}");
        let ended = tokio::time::timeout(PATIENCE, &mut pair.ended).await.unwrap().unwrap();
        assert!(matches!(ended, Err(RunError::Crashed)));
        assert_eq!(told(pair.submit(order()).await), Told::NotHandedOver(cause::NETWORK_DOWN.into()), "{fault}");
        match pair.find(&order()).await {
            find_order_response::Result::Failed(failed) => assert_eq!(failed.cause, cause::NETWORK_DOWN),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_order_whose_slip_waits_for_paper_is_at_the_pos_and_printed_once_there_is_some() {
    for (fault, printer) in [
        ("out_of_paper", cause::PRINTER_OUT_OF_PAPER),
        ("cover_open", cause::PRINTER_COVER_OPEN),
        ("printer_offline", cause::PRINTER_OFFLINE),
    ] {
        let pair = Pair::start().await;
        pair.fault(json!({"kind": fault})).await;
        let order = order();
        assert_eq!(told(pair.submit(order.clone()).await), Told::Placed(vec![EvidenceKind::Pos]), "{fault}");
        assert_eq!(probed(&pair).await, (LinkHealth::Degraded, "printer".into(), printer.into()));
        pair.mend().await;
        assert_eq!(
            told(pair.submit(order.clone()).await),
            Told::Placed(vec![EvidenceKind::Pos, EvidenceKind::Printed]),
            "{fault}"
        );
        assert_eq!(pair.made(&order.reference).await, (1, 1), "{fault}");
    }
}

#[tokio::test]
async fn a_probe_tells_what_keeps_the_pos_from_taking_orders() {
    let pair = Pair::start().await;
    for (fault, expected) in
        [("business_day_closed", cause::BUSINESS_DAY_NOT_OPEN), ("master_updating", cause::MASTER_UPDATING)]
    {
        pair.fault(json!({"kind": fault})).await;
        assert_eq!(probed(&pair).await, (LinkHealth::Offline, "pos".into(), expected.into()));
        pair.mend().await;
    }
    assert_eq!(probed(&pair).await, (LinkHealth::Online, String::new(), String::new()));
}

#[tokio::test]
async fn every_cause_that_a_link_may_have_can_be_had_on_demand() {
    let pair = Pair::start().await;
    for shared in [
        cause::VENDOR_SERVICE_DOWN,
        cause::CREDENTIALS_REJECTED,
        cause::RATE_LIMITED,
        cause::POS_APP_NOT_RUNNING,
        cause::BUSINESS_DAY_NOT_OPEN,
        cause::TRAINING_MODE,
        cause::MASTER_UPDATING,
        cause::PRINTER_OFFLINE,
        cause::PRINTER_OUT_OF_PAPER,
        cause::PRINTER_COVER_OPEN,
        cause::PRINTER_NOT_ASSIGNED,
        cause::MISCONFIGURED,
        cause::UNKNOWN,
    ] {
        pair.fault(json!({"kind": "refuse", "cause": shared, "on": "status"})).await;
        assert_eq!(probed(&pair).await, (LinkHealth::Offline, "pos".into(), shared.into()));
        pair.mend().await;
    }
    pair.fault(json!({"kind": "drop_before_record", "on": "status"})).await;
    assert_eq!(probed(&pair).await.2, cause::NETWORK_DOWN);
    pair.mend().await;
    assert_eq!(probed(&pair).await.0, LinkHealth::Online);
}

#[tokio::test]
async fn a_key_that_the_pos_does_not_accept_is_its_outcome_and_not_the_callers_error() {
    let mut pair = Pair::start().await;
    let url: serde_json::Value = serde_json::from_str(&pair.context.settings_json).unwrap();
    pair.adapter.context = context(&url, "another-key");
    assert_eq!(told(pair.submit(order()).await), Told::Rejected(cause::CREDENTIALS_REJECTED.into()));
    assert_eq!(probed(&pair).await, (LinkHealth::Offline, "pos".into(), cause::CREDENTIALS_REJECTED.into()));
}

async fn probed(adapter: &Adapter) -> (LinkHealth, String, String) {
    let request = ProbeLinkRequest { context: Some(adapter.context.clone()), ..ProbeLinkRequest::default() };
    let link = adapter.client.clone().probe_link(request).await.unwrap().into_inner();
    (link.health(), link.failing_hop, link.cause)
}
