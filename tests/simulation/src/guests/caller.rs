//! One order as a product's backend places, watches and takes it back.

use std::time::Duration;

use posmesh_kit::{Channel, failure, time};
use posmesh_proto::{
    common::v1::{Money, Product},
    order::v1::{
        CancelOrderRequest, ExternalTender, GetOrderRequest, Order, OrderLineInput, OrderState, PlaceOrderRequest,
        QuoteOrderRequest, WatchOrderRequest, cancel_order_request, get_order_request,
        order_service_client::OrderServiceClient,
    },
};
use tonic::{Request, Status};

use super::{Guests, STORE};
use crate::{chance::Dice, told::Asked, trace::short};

/// How often a caller repeats what got no answer.
const TRIES: u64 = 10;
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// What somebody wants.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) who: String,
    pub(super) request_id: String,
    pub(super) product: Product,
    pub(super) check_id: String,
    pub(super) lines: Vec<(String, i32)>,
    pub(super) is_paid: bool,
    pub(super) pickup_time: Option<prost_types::Timestamp>,
}

/// What came of placing it.
pub(super) enum Placed {
    /// Taken; the order's id.
    Taken(String),
    /// Refused for good, or the caller has stopped asking.
    Gone,
}

fn client(guests: &Guests) -> OrderServiceClient<Channel> {
    OrderServiceClient::new(guests.any_replica.clone())
}

fn timed<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

impl Wish {
    fn asked(&self) -> Asked {
        Asked { request_id: self.request_id.clone(), lines: self.lines.clone() }
    }

    fn lines(&self) -> Vec<OrderLineInput> {
        let line = |(item_id, quantity): &(String, i32)| OrderLineInput {
            item_id: item_id.clone(),
            quantity: *quantity,
            ..OrderLineInput::default()
        };
        self.lines.iter().map(line).collect()
    }

    fn request(&self, total: i64, wait: Duration) -> PlaceOrderRequest {
        let money = Money { currency_code: "JPY".to_owned(), amount: total };
        let tender = ExternalTender {
            amount: Some(money.clone()),
            reference: format!("pay-{}", self.request_id),
            ..ExternalTender::default()
        };
        PlaceOrderRequest {
            request_id: self.request_id.clone(),
            store_id: STORE.to_owned(),
            product: self.product.into(),
            check_id: self.check_id.clone(),
            lines: self.lines(),
            expected_total: Some(money),
            tenders: if self.is_paid { vec![tender] } else { Vec::new() },
            pickup_time: self.pickup_time,
            wait: Some(time::to_proto_duration(wait)),
            ..PlaceOrderRequest::default()
        }
    }
}

/// Places an order, asking again as long as nobody knows; some lose patience.
pub(super) async fn place(guests: &Guests, dice: &mut Dice, wish: &Wish) -> Placed {
    let mut client = client(guests);
    let mut total = None;
    let tries = if dice.one_in(6) { 1 } else { TRIES };
    for attempt in 1..=tries {
        let expected = match total {
            Some(total) => total,
            None => match quote(&mut client, wish).await {
                Ok(quoted) => quoted,
                Err(status) => {
                    guests.told.refused(&wish.who, "quote", &status);
                    tokio::time::sleep(Duration::from_millis(dice.between(100, 1_000))).await;
                    continue;
                }
            },
        };
        let wait = Duration::from_millis(*dice.pick(&[0, 500, 3_000]));
        // Some callers hang up before anybody could answer.
        let timeout = if dice.one_in(8) { Duration::from_millis(dice.between(5, 60)) } else { wait + CALL_TIMEOUT };
        guests.trace.tell(&wish.who, || format!("places {} for {expected}, try {attempt}", wish.request_id));
        match client.place_order(timed(wish.request(expected, wait), timeout)).await {
            Ok(answer) => {
                let Some(order) = answer.into_inner().order else { return Placed::Gone };
                let order_id = order.order_id.clone();
                guests.told.order(&wish.who, Some(wish.asked()), order);
                return Placed::Taken(order_id);
            }
            Err(status) => {
                guests.told.refused(&wish.who, "place", &status);
                if is_final(&status) {
                    return Placed::Gone;
                }
                // The same body again, unless the price was refused: then nothing was taken under it.
                total = (failure::reason(&status) != "PRICE_CHANGED").then_some(expected);
                tokio::time::sleep(Duration::from_millis(dice.between(50, 1_500))).await;
            }
        }
    }
    Placed::Gone
}

fn is_final(status: &Status) -> bool {
    use tonic::Code;
    let reason = failure::reason(status);
    reason != "PRICE_CHANGED"
        && matches!(
            status.code(),
            Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists | Code::NotFound
        )
}

async fn quote(client: &mut OrderServiceClient<Channel>, wish: &Wish) -> Result<i64, Status> {
    let request = QuoteOrderRequest {
        store_id: STORE.to_owned(),
        product: wish.product.into(),
        lines: wish.lines(),
        ..QuoteOrderRequest::default()
    };
    let quote = client.quote_order(timed(request, CALL_TIMEOUT)).await?.into_inner().quote.unwrap_or_default();
    Ok(quote.price.and_then(|price| price.total).map_or(0, |total| total.amount))
}

/// Places the same once more, from the beginning: the product's backend restarted.
pub(super) async fn repeat(guests: &Guests, wish: &Wish, total: i64) {
    let request = timed(wish.request(total, Duration::ZERO), CALL_TIMEOUT);
    match client(guests).place_order(request).await {
        Ok(answer) => {
            answer.into_inner().order.into_iter().for_each(|o| guests.told.order(&wish.who, Some(wish.asked()), o));
        }
        Err(status) => guests.told.refused(&wish.who, "place again", &status),
    }
}

/// What a wish costs at the moment, if that can be found out.
pub(super) async fn price(guests: &Guests, wish: &Wish) -> Option<i64> {
    quote(&mut client(guests), wish).await.ok()
}

/// Takes an order back by its id, or by the request's, which may not have arrived yet.
pub(super) async fn cancel(guests: &Guests, dice: &mut Dice, wish: &Wish, order_id: Option<&str>) {
    use cancel_order_request::Key;
    let key = match order_id {
        Some(id) if dice.one_in(2) => Key::OrderId(id.to_owned()),
        _ => Key::RequestId(wish.request_id.clone()),
    };
    for _ in 0..TRIES {
        let request = CancelOrderRequest {
            key: Some(key.clone()),
            store_id: STORE.to_owned(),
            product: wish.product.into(),
            ..CancelOrderRequest::default()
        };
        guests.trace.tell(&wish.who, || format!("takes {} back", wish.request_id));
        match client(guests).cancel_order(timed(request, CALL_TIMEOUT)).await {
            Ok(answer) => {
                answer.into_inner().order.into_iter().for_each(|order| guests.told.order(&wish.who, None, order));
                return;
            }
            Err(status) => {
                guests.told.refused(&wish.who, "cancel", &status);
                if is_final(&status) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(dice.between(50, 1_000))).await;
            }
        }
    }
}

/// Asks any replica how an order is.
pub(super) async fn ask(guests: &Guests, who: &str, key: get_order_request::Key) {
    match client(guests).get_order(timed(GetOrderRequest { key: Some(key) }, CALL_TIMEOUT)).await {
        Ok(answer) => answer.into_inner().order.into_iter().for_each(|order| guests.told.order(who, None, order)),
        Err(status) => guests.told.refused(who, "get", &status),
    }
}

/// Watches an order for a while, coming back to another replica when a stream breaks.
pub(super) async fn watch(guests: &Guests, dice: &mut Dice, who: &str, order_id: &str) {
    let until = tokio::time::Instant::now() + Duration::from_millis(dice.between(5_000, 25_000));
    let mut resume_token = String::new();
    let mut replica = dice.next() as usize % guests.replicas.len();
    while tokio::time::Instant::now() < until {
        let follow = follow(guests, who, order_id, replica, &mut resume_token);
        match tokio::time::timeout_at(until, follow).await {
            Ok(Ok(true)) | Err(_) => return,
            Ok(Ok(false)) => {}
            Ok(Err(status)) => guests.told.refused(who, &format!("watch of {}", short(order_id)), &status),
        }
        replica = (replica + 1) % guests.replicas.len();
        tokio::time::sleep(Duration::from_millis(dice.between(100, 1_000))).await;
    }
}

/// Follows one stream to its end; true when the order has ended.
async fn follow(
    guests: &Guests,
    who: &str,
    order_id: &str,
    replica: usize,
    resume_token: &mut String,
) -> Result<bool, Status> {
    let request = WatchOrderRequest { order_id: order_id.to_owned(), resume_token: resume_token.clone() };
    let replica = guests.replicas[replica].clone();
    let mut changes = OrderServiceClient::new(replica).watch_order(request).await?.into_inner();
    let mut ended = false;
    while let Some(change) = changes.message().await? {
        *resume_token = change.resume_token;
        if let Some(order) = change.order {
            ended = has_ended(&order);
            guests.told.order(who, None, order);
        }
    }
    Ok(ended)
}

fn has_ended(order: &Order) -> bool {
    use OrderState as S;
    matches!(order.state(), S::Completed | S::Rejected | S::Expired | S::Cancelled)
}
