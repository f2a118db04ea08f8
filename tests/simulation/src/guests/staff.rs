//! The staff: look at orders that need a person, look at the POS, and say what they see there.

use std::time::Duration;

use posmesh_kit::time::{from_proto_duration, to_unix_ms};
use posmesh_proto::order::v1::{
    ListOrdersRequest, Order, OrderState, PosEntry, ResolutionKind, ResolveOrderRequest,
    order_service_client::OrderServiceClient,
};
use tonic::Request;

use super::{Guests, STORE};
use crate::{chance::Dice, pos::Pos, trace::short};

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
    let Some(kind) = what_they_say(guests, dice, &order) else { return };
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

/// What they say of an order when they have looked at the till and at the printer; nothing as long as it may still come.
fn what_they_say(guests: &Guests, dice: &mut Dice, order: &Order) -> Option<ResolutionKind> {
    use OrderState as S;
    use ResolutionKind as R;
    let at_pos = seen(&guests.pos, order);
    let at_printer = guests.printer.as_ref().map_or(Seen::default(), |printer| seen(printer, order));
    let may_come = ends_ms(order) > guests.now.unix_ms();
    let has = |mark: &str| order.attention.iter().any(|known| known == mark);
    if order.pos_entry() == PosEntry::Due {
        return match () {
            () if at_pos.is_there => Some(R::AtPos),
            () if may_come => None,
            // Nobody enters it before it is known whether the printer took it back.
            () if has("CHANGE_IN_DOUBT") && at_printer.is_there => Some(R::AtPos),
            () if has("CHANGE_IN_DOUBT") => Some(R::NotAtPos),
            () if has("POS_ENTRY_IN_DOUBT") => Some(R::NotAtPos),
            () if has("POS_ENTRY_DUE") || has("POS_ENTRY_REFUSED") => Some(R::EnteredByStaff),
            // Something else of it; the platform enters it.
            () => Some(R::Seen),
        };
    }
    let is_there = at_pos.is_there || at_printer.is_there;
    let was_there = at_pos.was_there || at_printer.was_there;
    match order.state() {
        S::InDoubt | S::Placed | S::InPreparation | S::Ready | S::Completed if is_there => Some(R::AtPos),
        _ if may_come => None,
        // What somebody took out shall not be made once more.
        S::InDoubt if !was_there && dice.one_in(2) => Some(R::SendAgain),
        S::InDoubt | S::Placed | S::InPreparation | S::Ready | S::Completed => Some(R::NotAtPos),
        _ => Some(R::Seen),
    }
}

/// What a device's book shows of an order.
#[derive(Clone, Copy, Default)]
struct Seen {
    is_there: bool,
    was_there: bool,
}

fn seen(device: &Pos, order: &Order) -> Seen {
    let book = device.book();
    let mut entries = book.entries.iter().filter(|entry| entry.reference() == order.order_id).peekable();
    let was_there = entries.peek().is_some();
    Seen { is_there: entries.any(|entry| entry.gone.is_none()), was_there }
}

/// From when on nothing comes of what was sent.
fn ends_ms(order: &Order) -> i64 {
    let ends = order.attempts.iter().map(|attempt| {
        let delay = attempt.max_apply_delay.as_ref().and_then(from_proto_duration).unwrap_or_default();
        attempt.not_after.as_ref().map_or(0, to_unix_ms) + delay.as_millis() as i64 + PATIENCE_MS
    });
    ends.max().unwrap_or_default()
}
