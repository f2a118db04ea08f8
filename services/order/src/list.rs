//! Pages of orders and checks.

use posmesh_kit::{Failure, time};
use posmesh_proto::order::v1::{
    Check, CheckState, ListChecksRequest, ListChecksResponse, ListOrdersRequest, ListOrdersResponse, Order, OrderState,
};
use prost_types::Timestamp;

use crate::{
    domain::accept::can_be_id,
    storage::{CheckFilter, OrderFilter},
};

const DEFAULT_PAGE: i32 = 50;
const MAX_PAGE: i32 = 500;

/// One more than the page is read, to know whether there is a next one.
pub(crate) fn order_filter(request: ListOrdersRequest) -> Result<OrderFilter, Failure> {
    let states: Result<Vec<OrderState>, _> = request.states.iter().map(|s| OrderState::try_from(*s)).collect();
    Ok(OrderFilter {
        store_id: request.store_id,
        states: states.map_err(|_| Failure::field("UNKNOWN_VALUE", "states", "holds an unknown state"))?,
        created_from_ms: request.created_from.as_ref().map(time::to_unix_ms),
        created_before_ms: request.created_before.as_ref().map(time::to_unix_ms),
        check_id: request.check_id,
        needs_person: request.needs_person,
        after: parse_token(&request.page_token)?,
        limit: limit(request.page_size)?,
    })
}

pub(crate) fn check_filter(request: ListChecksRequest) -> Result<CheckFilter, Failure> {
    let states: Result<Vec<CheckState>, _> = request.states.iter().map(|s| CheckState::try_from(*s)).collect();
    Ok(CheckFilter {
        store_id: request.store_id,
        table_id: request.table_id,
        states: states.map_err(|_| Failure::field("UNKNOWN_VALUE", "states", "holds an unknown state"))?,
        after: parse_token(&request.page_token)?,
        limit: limit(request.page_size)?,
    })
}

pub(crate) fn orders_page(mut orders: Vec<Order>, limit: usize) -> ListOrdersResponse {
    let more = orders.len() >= limit;
    orders.truncate(limit - 1);
    let last = orders.last().filter(|_| more).map(|o| token(o.create_time.as_ref(), &o.order_id));
    ListOrdersResponse { next_page_token: last.unwrap_or_default(), orders }
}

pub(crate) fn checks_page(mut checks: Vec<Check>, limit: usize) -> ListChecksResponse {
    let more = checks.len() >= limit;
    checks.truncate(limit - 1);
    let last = checks.last().filter(|_| more).map(|c| token(c.open_time.as_ref(), &c.check_id));
    ListChecksResponse { next_page_token: last.unwrap_or_default(), checks }
}

fn limit(page_size: i32) -> Result<usize, Failure> {
    let size = match page_size {
        0 => DEFAULT_PAGE,
        1.. => page_size.min(MAX_PAGE),
        _ => return Err(Failure::field("OUT_OF_RANGE", "page_size", "must not be negative")),
    };
    Ok(usize::try_from(size).unwrap_or(1) + 1)
}

fn token(time: Option<&Timestamp>, id: &str) -> String {
    format!("{}.{id}", time.map_or(0, time::to_unix_ms))
}

fn parse_token(token: &str) -> Result<Option<(i64, String)>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    token
        .split_once('.')
        .and_then(|(ms, id)| Some((ms.parse().ok()?, id.to_owned())))
        .filter(|(_, id)| can_be_id(id))
        .map(Some)
        .ok_or_else(|| Failure::field("PAGE_TOKEN_INVALID", "page_token", "is not from an earlier answer"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_token_leads_to_the_last_order_of_the_page() {
        let order =
            |id: &str| Order { order_id: id.into(), create_time: Some(time::from_unix_ms(1_234)), ..Order::default() };
        let page = orders_page(vec![order("a"), order("b"), order("c")], 3);
        assert_eq!(page.orders.len(), 2);
        assert_eq!(parse_token(&page.next_page_token).unwrap(), Some((1_234, "b".to_owned())));
        assert_eq!(orders_page(vec![order("a")], 3).next_page_token, "");
    }

    #[test]
    fn a_forged_page_token_is_refused_by_name() {
        for forged in ["x", "1", ".b", "one.b", "9999999999999999999999.b"] {
            assert_eq!(parse_token(forged).unwrap_err().reason(), "PAGE_TOKEN_INVALID", "{forged}");
        }
    }
}
