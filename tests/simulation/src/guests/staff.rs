//! The staff: look at orders that need a person, look at the POS, and say what they see there.

use std::time::Duration;

use posmesh_kit::time::{from_proto_duration, to_unix_ms};
use posmesh_proto::order::v1::{
    ListOrdersRequest, Order, OrderState, ResolutionKind, ResolveOrderRequest, order_service_client::OrderServiceClient,
};
use tonic::Request;

use super::{Guests, STORE};
use crate::{chance::Dice, trace::short};

const CALL_TIMEOUT: Duration = Duration::from_secs(4);
/// The staff wait so long longer than an attempt may take before they trust what they see.
const PATIENCE_MS: i64 = 2_000;

/// Looks after orders, until everything is looked through.
pub(super) async fn look_after_orders(guests: Guests) {
    let mut dice = guests.dice("staff", 0);
    while !guests.is_audited() {
        tokio::time::sleep(Duration::from_millis(dice.between(500, 4_000))).await;
        let wanted =
            ListOrdersRequest { store_id: STORE.to_owned(), needs_person: true, ..ListOrdersRequest::default() };
        let mut request = Request::new(wanted);
        request.set_timeout(CALL_TIMEOUT);
        let listed = OrderServiceClient::new(guests.any_replica.clone()).list_orders(request).await;
        for order in listed.map(|listed| listed.into_inner().orders).unwrap_or_default() {
            // They are busy with other things, too.
            if !dice.one_in(3) && !guests.is_audited() {
                look_at(&guests, &mut dice, order).await;
            }
        }
    }
}

async fn look_at(guests: &Guests, dice: &mut Dice, order: Order) {
    let (is_there, was_there) = {
        let book = guests.pos.book();
        let mut entries = book.entries.iter().filter(|entry| entry.reference() == order.order_id).peekable();
        let was_there = entries.peek().is_some();
        (entries.any(|entry| entry.gone.is_none()), was_there)
    };
    use OrderState as S;
    use ResolutionKind as R;
    let kind = match order.state() {
        S::InDoubt | S::Placed | S::InPreparation | S::Ready | S::Completed if is_there => R::AtPos,
        // It may still come.
        _ if ends_ms(&order) > guests.now.unix_ms() => return,
        // What somebody took out shall not be made once more.
        S::InDoubt if !was_there && dice.one_in(2) => R::SendAgain,
        S::InDoubt | S::Placed | S::InPreparation | S::Ready | S::Completed => R::NotAtPos,
        _ => R::Seen,
    };
    guests
        .trace
        .tell("staff", || format!("say of {} v{}: {}", short(&order.order_id), order.version, kind.as_str_name()));
    let mut request = Request::new(ResolveOrderRequest {
        order_id: order.order_id,
        kind: kind.into(),
        resolved_by: "kim".to_owned(),
        ..ResolveOrderRequest::default()
    });
    request.set_timeout(CALL_TIMEOUT);
    match OrderServiceClient::new(guests.any_replica.clone()).resolve_order(request).await {
        Ok(answer) => answer.into_inner().order.into_iter().for_each(|order| guests.told.order("staff", None, order)),
        Err(status) => guests.told.refused("staff", "resolve", &status),
    }
}

/// From when on nothing comes of what was sent.
fn ends_ms(order: &Order) -> i64 {
    let ends = order.attempts.iter().map(|attempt| {
        let delay = attempt.max_apply_delay.as_ref().and_then(from_proto_duration).unwrap_or_default();
        attempt.not_after.as_ref().map_or(0, to_unix_ms) + delay.as_millis() as i64 + PATIENCE_MS
    });
    ends.max().unwrap_or_default()
}
