//! What every adapter owes by its own descriptor. Nothing here knows the vendor: it takes a client, a context, and a way
//! to make another order that the POS takes.

use std::time::Duration;

use posmesh_kit::{cause, failure, time};
use posmesh_proto::adapter::v1::{
    AdapterDescriptor, DescribeAdapterRequest, GetCheckRequest, IdempotencyKind, LinkHealth, Placed, PosOrder,
    ProbeLinkRequest, PullCatalogRequest, RequestBillRequest, SubmitOrderRequest, find_order_response,
    get_check_response, pull_catalog_response::Piece, request_bill_response, submit_outcome::Outcome,
};
use tonic::Code;

use crate::support::{Adapter, Client, Pair, order};

/// An adapter under test.
struct Subject<'a> {
    adapter: &'a Adapter,
    descriptor: AdapterDescriptor,
    next_order: fn() -> PosOrder,
}

impl<'a> Subject<'a> {
    async fn of(adapter: &'a Adapter, next_order: fn() -> PosOrder) -> Self {
        let answer = adapter.client.clone().describe_adapter(DescribeAdapterRequest::default()).await.unwrap();
        Self { adapter, descriptor: answer.into_inner().descriptor.unwrap(), next_order }
    }

    fn client(&self) -> Client {
        self.adapter.client.clone()
    }

    async fn place(&self, order: &PosOrder) -> Placed {
        match self.adapter.submit(order.clone()).await {
            Outcome::Placed(placed) => placed,
            other => panic!("{other:?}"),
        }
    }
}

/// Runs one clause on this adapter.
macro_rules! clauses {
    ($($clause:ident,)+) => {
        $(#[tokio::test]
        async fn $clause() {
            let pair = Pair::start().await;
            clause::$clause(&Subject::of(&pair.adapter, order).await).await;
        })+
    };
}

clauses! {
    the_descriptor_is_whole,
    a_call_without_a_context_is_refused_as_the_callers_fault,
    a_placed_order_brings_only_evidence_that_the_descriptor_names,
    a_repeated_submit_answers_the_same_order,
    a_placed_order_is_found_with_all_its_lines,
    an_order_of_which_a_line_is_missing_is_found_in_part,
    an_order_that_was_never_sent_is_not_found,
    nothing_is_sent_after_not_after,
    settings_that_do_not_work_leave_the_order_not_handed_over,
    a_healthy_pos_is_online_and_says_what_it_is,
    a_pull_ends_with_its_end_and_tells_currency_and_rounding_first,
    a_check_that_is_not_there_is_named_so,
}

mod clause {
    use super::*;

    pub(super) async fn the_descriptor_is_whole(subject: &Subject<'_>) {
        let descriptor = &subject.descriptor;
        assert!(!descriptor.vendor.is_empty() && !descriptor.adapter_version.is_empty());
        assert!(!descriptor.capabilities.is_empty() && !descriptor.evidence.is_empty());
        assert!(descriptor.idempotency.is_some() && descriptor.find.is_some() && descriptor.limits.is_some());
        assert!(descriptor.max_apply_delay.is_some());
        let schema: serde_json::Value = serde_json::from_str(&descriptor.settings_schema).unwrap();
        assert_eq!(schema["type"], "object");
    }

    pub(super) async fn a_call_without_a_context_is_refused_as_the_callers_fault(subject: &Subject<'_>) {
        let refused = subject.client().probe_link(ProbeLinkRequest::default()).await.unwrap_err();
        assert_eq!((refused.code(), failure::reason(&refused).as_str()), (Code::InvalidArgument, "CONTEXT_MISSING"));
    }

    pub(super) async fn a_placed_order_brings_only_evidence_that_the_descriptor_names(subject: &Subject<'_>) {
        let placed = subject.place(&(subject.next_order)()).await;
        assert!(!placed.evidence.is_empty() && !placed.pos_order_reference.is_empty());
        for evidence in placed.evidence {
            assert!(subject.descriptor.evidence.contains(&evidence.kind), "{evidence:?}");
            assert!(!evidence.reference.is_empty() && evidence.time.is_some(), "{evidence:?}");
        }
    }

    pub(super) async fn a_repeated_submit_answers_the_same_order(subject: &Subject<'_>) {
        if subject.descriptor.idempotency.as_ref().unwrap().kind() == IdempotencyKind::None {
            return;
        }
        let order = (subject.next_order)();
        let first = subject.place(&order).await;
        for _ in 0..10 {
            let again = subject.place(&order).await;
            assert_eq!(again.pos_order_reference, first.pos_order_reference);
            assert_eq!(again.pos_check_reference, first.pos_check_reference);
        }
    }

    pub(super) async fn a_placed_order_is_found_with_all_its_lines(subject: &Subject<'_>) {
        let order = (subject.next_order)();
        let placed = subject.place(&order).await;
        match subject.adapter.find(&order).await {
            find_order_response::Result::Found(found) => {
                assert_eq!(found.pos_order_reference, placed.pos_order_reference);
                assert_eq!(found.total, placed.total);
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn an_order_of_which_a_line_is_missing_is_found_in_part(subject: &Subject<'_>) {
        let mut order = (subject.next_order)();
        let placed = subject.place(&order).await;
        let (found, missing) = (order.lines[0].clone(), (subject.next_order)().lines.remove(0));
        order.lines = vec![found, missing];
        match subject.adapter.find(&order).await {
            find_order_response::Result::PartlyFound(part) => {
                assert_eq!(part.found_line_ids, [order.lines[0].line_id.as_str()]);
                assert_eq!(part.missing_line_ids, [order.lines[1].line_id.as_str()]);
                assert_eq!(part.placed.unwrap().pos_order_reference, placed.pos_order_reference);
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn an_order_that_was_never_sent_is_not_found(subject: &Subject<'_>) {
        let expected = subject.descriptor.find.as_ref().unwrap().authoritative;
        match subject.adapter.find(&(subject.next_order)()).await {
            find_order_response::Result::NotFound(not_found) => assert_eq!(not_found.authoritative, expected),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn nothing_is_sent_after_not_after(subject: &Subject<'_>) {
        let order = (subject.next_order)();
        let request = SubmitOrderRequest {
            context: Some(subject.adapter.context.clone()),
            order: Some(order.clone()),
            attempt: 1,
            not_after: Some(time::from_unix_ms(time::now_unix_ms() - 1)),
            ..SubmitOrderRequest::default()
        };
        let answer = subject.client().submit_order(request).await.unwrap().into_inner();
        match answer.outcome.unwrap().outcome.unwrap() {
            Outcome::NotHandedOver(proof) => assert_eq!(proof.cause, cause::NOT_AFTER_PASSED),
            other => panic!("{other:?}"),
        }
        assert!(!subject.adapter.has(&order).await);
    }

    pub(super) async fn settings_that_do_not_work_leave_the_order_not_handed_over(subject: &Subject<'_>) {
        let mut context = subject.adapter.context.clone();
        context.settings_json = "{}".to_owned();
        let request = SubmitOrderRequest {
            context: Some(context),
            order: Some((subject.next_order)()),
            attempt: 1,
            not_after: Some(time::from_unix_ms(time::now_unix_ms() + 5_000)),
            ..SubmitOrderRequest::default()
        };
        let answer = subject.client().submit_order(request).await.unwrap().into_inner();
        match answer.outcome.unwrap().outcome.unwrap() {
            Outcome::NotHandedOver(proof) => assert_eq!(proof.cause, cause::MISCONFIGURED),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn a_healthy_pos_is_online_and_says_what_it_is(subject: &Subject<'_>) {
        let request =
            ProbeLinkRequest { context: Some(subject.adapter.context.clone()), ..ProbeLinkRequest::default() };
        let link = subject.client().probe_link(request).await.unwrap().into_inner();
        assert_eq!(link.health(), LinkHealth::Online);
        assert!(link.cause.is_empty() && link.failing_hop.is_empty() && !link.pos_version.is_empty());
        assert!(time::from_proto_duration(&link.pos_latency.unwrap()).unwrap() > Duration::ZERO);
    }

    pub(super) async fn a_pull_ends_with_its_end_and_tells_currency_and_rounding_first(subject: &Subject<'_>) {
        let request =
            PullCatalogRequest { context: Some(subject.adapter.context.clone()), ..PullCatalogRequest::default() };
        let mut stream = subject.client().pull_catalog(request).await.unwrap().into_inner();
        let mut pieces = Vec::new();
        while let Some(piece) = stream.message().await.unwrap() {
            pieces.push(piece.piece.unwrap());
        }
        match &pieces[0] {
            Piece::Part(part) => assert!(!part.currency_code.is_empty() && part.tax_rounding.is_some()),
            other => panic!("{other:?}"),
        }
        assert!(matches!(pieces.last(), Some(Piece::End(_))));
    }

    pub(super) async fn a_check_that_is_not_there_is_named_so(subject: &Subject<'_>) {
        let context = Some(subject.adapter.context.clone());
        for reference in ["999999", "no such form"] {
            let request = GetCheckRequest {
                context: context.clone(),
                pos_check_reference: reference.to_owned(),
                ..GetCheckRequest::default()
            };
            match subject.client().get_check(request).await.unwrap().into_inner().result.unwrap() {
                get_check_response::Result::Failed(failed) => assert_eq!(failed.cause, cause::CHECK_NOT_FOUND),
                get_check_response::Result::Check(check) => panic!("{check:?}"),
            }
            let request = RequestBillRequest {
                context: context.clone(),
                pos_check_reference: reference.to_owned(),
                ..RequestBillRequest::default()
            };
            match subject.client().request_bill(request).await.unwrap().into_inner().result.unwrap() {
                request_bill_response::Result::Failed(failed) => assert_eq!(failed.cause, cause::CHECK_NOT_FOUND),
                request_bill_response::Result::Requested(bill) => panic!("{bill:?}"),
            }
        }
    }
}
