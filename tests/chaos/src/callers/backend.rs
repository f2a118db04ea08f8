//! Orders as product backends place them: by gRPC, at any replica.

use std::time::Duration;

use posmesh_e2e::refusal;
use posmesh_proto::{
    common::v1::{Money, Product},
    order::v1::{
        CancelOrderRequest, ExternalTender, GetOrderRequest, Order, PlaceOrderRequest, cancel_order_request,
        get_order_request, order_service_client::OrderServiceClient,
    },
};
use rand::{RngExt as _, rngs::StdRng};
use tokio::time::sleep;
use tonic::{Code, Request, Status, transport::Channel};

use super::{Manner, World, draft::Draft, proves_nothing, to_line};
use crate::book::{Seen, What, now_ms};

/// For reads and cancels.
const PATIENCE: Duration = Duration::from_secs(5);

/// A replica by chance.
pub fn any(world: &World, dice: &mut StdRng) -> OrderServiceClient<Channel> {
    world.replicas[dice.random_range(0..world.replicas.len())].clone()
}

/// Places a draft, each time at another replica, until the caller knows or has enough. `check_id` is that of a round.
pub async fn place(
    world: &World,
    dice: &mut StdRng,
    draft: &Draft,
    manner: Manner,
    check_id: Option<&str>,
) -> Option<Order> {
    let message =
        PlaceOrderRequest { check_id: check_id.unwrap_or_default().to_owned(), ..message(world, draft, manner) };
    for _ in 0..manner.tries {
        let mut request = Request::new(message.clone());
        request.set_timeout(manner.patience);
        let asked_ms = now_ms();
        let answer = any(world, dice).place_order(request).await;
        let answer = answer.map(|answer| answer.into_inner().order.unwrap_or_default());
        let (what, is_final) = understand(&answer);
        world.book.told(&draft.key, asked_ms, "order place", what);
        match answer {
            Ok(order) => return Some(order),
            Err(_) if is_final => return None,
            Err(_) => sleep(manner.rest).await,
        }
    }
    None
}

/// Reads an order by its key: any replica knows it by the request_id, too.
pub async fn read(world: &World, dice: &mut StdRng, key: &str) {
    let mut request = Request::new(GetOrderRequest { key: Some(get_order_request::Key::RequestId(key.to_owned())) });
    request.set_timeout(PATIENCE);
    let asked_ms = now_ms();
    let what = match any(world, dice).get_order(request).await {
        Ok(answer) => What::Seen(Seen::from_order(&answer.into_inner().order.unwrap_or_default())),
        Err(status) if refusal(&status).0 == "ORDER_NOT_FOUND" => What::NotFound,
        Err(status) => What::Said(words(&status)),
    };
    world.book.told(key, asked_ms, "order read", what);
}

/// Asks for an order to be taken back, whether or not it has been seen; true when it was.
pub async fn cancel(world: &World, dice: &mut StdRng, draft: &Draft) -> bool {
    let mut request = Request::new(CancelOrderRequest {
        key: Some(cancel_order_request::Key::RequestId(draft.key.clone())),
        store_id: world.store_id.clone(),
        product: draft.product.into(),
        ..CancelOrderRequest::default()
    });
    request.set_timeout(PATIENCE);
    let asked_ms = now_ms();
    let what = match any(world, dice).cancel_order(request).await {
        Ok(answer) => What::Seen(Seen::from_order(&answer.into_inner().order.unwrap_or_default())),
        Err(status) => What::Said(words(&status)),
    };
    let is_cancelled = matches!(&what, What::Seen(_));
    world.book.told(&draft.key, asked_ms, "order cancel", what);
    is_cancelled
}

fn message(world: &World, draft: &Draft, manner: Manner) -> PlaceOrderRequest {
    let total = Money { currency_code: world.currency.to_owned(), amount: draft.total };
    let tender = ExternalTender { tender_id: String::new(), amount: Some(total.clone()), reference: draft.key.clone() };
    let pickup_time = prost_types::Timestamp { seconds: draft.pickup_s, nanos: 0 };
    PlaceOrderRequest {
        request_id: draft.key.clone(),
        store_id: world.store_id.clone(),
        product: draft.product.into(),
        lines: draft.lines.iter().map(to_line).collect(),
        expected_total: Some(total),
        pickup_time: (draft.product == Product::ToGo).then_some(pickup_time),
        note: draft.key.clone(),
        tenders: draft.is_paid.then_some(tender).into_iter().collect(),
        wait: manner.wait.and_then(|wait| prost_types::Duration::try_from(wait).ok()),
        ..PlaceOrderRequest::default()
    }
}

fn understand(answer: &Result<Order, Status>) -> (What, bool) {
    let status = match answer {
        Ok(order) => return (What::Seen(Seen::from_order(order)), true),
        Err(status) => status,
    };
    if proves_nothing(&refusal(status).0) {
        return (What::Unknown(words(status)), false);
    }
    let is_final = !matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
    (What::Refused(words(status)), is_final)
}

pub(super) fn words(status: &Status) -> String {
    let reason = refusal(status).0;
    if reason.is_empty() { format!("{:?} {}", status.code(), status.message()) } else { reason }
}
