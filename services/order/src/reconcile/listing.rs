//! What a POS lists, page by page.

use std::{collections::BTreeMap, time::Duration};

use jiff::{ToSpan as _, civil::Date};
use posmesh_kit::{Failure, backoff, cause, failure, time};
use posmesh_proto::adapter::v1::{
    ListOrders, ListPosOrdersRequest, PosOrderRecord, PosOrders, PosTarget, list_pos_orders_response::Result as Listing,
};
use tonic::{Code, Request, Status};

use super::{Pos, Reconciler, Window, is_within};
use crate::{domain::business_day::business_date, error::Error};

const PAGE_SIZE: i32 = 500;
const PAGE_TIMEOUT: Duration = Duration::from_secs(20);
/// Orders of ours in one slice that a POS may list.
const MAX_RECORDS: usize = 20_000;
const MAX_PAGES: usize = 1000;
/// How often a page is asked for that the connection's limits did not let through.
const MAX_TRIES: u32 = 6;
const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(3);

/// What a POS lists of a slice and its margins.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Those that came from us.
    pub(super) by_reference: BTreeMap<String, Vec<PosOrderRecord>>,
    /// How many others it took within the slice.
    pub(super) others: i32,
}

impl Reconciler {
    /// Lists what the POS took within `wide`, and counts the others of `slice`.
    pub(super) async fn list(&self, pos: &Pos, wide: Window, slice: Window) -> Result<Listed, Error> {
        let mut listed = Listed::default();
        let mut records = 0;
        for asked in questions(pos, wide)? {
            let mut page_token = String::new();
            for _ in 0..MAX_PAGES {
                let page = self.page(pos, ListPosOrdersRequest { page_token, ..asked.clone() }).await?;
                records += page.orders.len();
                listed.take(page.orders, slice);
                if records > MAX_RECORDS {
                    return Err(too_many(pos).into());
                }
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            if !page_token.is_empty() {
                return Err(too_many(pos).into());
            }
        }
        Ok(listed)
    }

    async fn page(&self, pos: &Pos, asked: ListPosOrdersRequest) -> Result<PosOrders, Failure> {
        let mut tries = 0;
        loop {
            let mut request = Request::new(asked.clone());
            request.set_timeout(PAGE_TIMEOUT);
            let answer = self.reader.adapter.clone().list_pos_orders(request).await;
            let (why, message) = match answer.map(|answer| answer.into_inner().result) {
                Ok(Some(Listing::Orders(orders))) => return Ok(orders),
                Ok(Some(Listing::Failed(failed))) => (failed.cause, failed.message),
                Ok(None) => {
                    (cause::UNKNOWN.to_owned(), "the adapter's answer says nothing that is known here".to_owned())
                }
                Err(status) => cause_of(&status),
            };
            tries += 1;
            if why != cause::RATE_LIMITED || tries == MAX_TRIES {
                return Err(unreachable(pos.connection_id(), &why, &message));
            }
            tokio::time::sleep(backoff::delay_after(RETRY_BASE, RETRY_CAP, tries)).await;
        }
    }
}

impl Listed {
    fn take(&mut self, records: Vec<PosOrderRecord>, slice: Window) {
        for record in records {
            if record.reference.is_empty() {
                self.others = self.others.saturating_add(i32::from(is_within(&record, slice)));
            } else {
                let known = self.by_reference.entry(record.reference.clone()).or_default();
                // Lists that are read page by page may show one twice.
                if !known.iter().any(|other| other.pos_order_reference == record.pos_order_reference) {
                    known.push(record);
                }
            }
        }
    }
}

/// What to ask a POS: one span of time, or each business day that it touches.
fn questions(pos: &Pos, wide: Window) -> Result<Vec<ListPosOrdersRequest>, Failure> {
    let target = PosTarget { connection_id: pos.connection_id().to_owned(), ..PosTarget::default() };
    let asked = ListPosOrdersRequest { target: Some(target), page_size: PAGE_SIZE, ..ListPosOrdersRequest::default() };
    if pos.listed() == ListOrders::ByTime {
        let (from, before) = (time::from_unix_ms(wide.from_ms), time::from_unix_ms(wide.before_ms));
        return Ok(vec![ListPosOrdersRequest { from: Some(from), before: Some(before), ..asked }]);
    }
    let date = |unix_ms| business_date(&pos.store, unix_ms).and_then(|date| date.parse::<Date>().ok());
    let (Some(mut day), Some(last)) = (date(wide.from_ms), date(wide.before_ms)) else {
        return Err(Failure::internal("a store's time zone is unknown here", &pos.store.time_zone));
    };
    let mut days = Vec::new();
    while day <= last {
        days.push(ListPosOrdersRequest { business_date: day.to_string(), ..asked.clone() });
        let Ok(next) = day.checked_add(1.day()) else { break };
        day = next;
    }
    Ok(days)
}

/// A cause of the shared vocabulary for a call that failed.
pub(crate) fn cause_of(status: &Status) -> (String, String) {
    let known = failure::metadata(status, "cause");
    let by_code = match status.code() {
        Code::DeadlineExceeded => cause::TIMED_OUT,
        Code::ResourceExhausted => cause::RATE_LIMITED,
        Code::Unavailable | Code::Cancelled | Code::Unknown => cause::NETWORK_DOWN,
        _ => cause::UNKNOWN,
    };
    (known.unwrap_or_else(|| by_code.to_owned()), status.message().to_owned())
}

/// The POS could not be asked.
pub(super) fn unreachable(connection_id: &str, cause: &str, message: &str) -> Failure {
    let words = format!("the POS behind the connection {connection_id:?} could not be asked ({cause}): {message}");
    Failure::new(Code::Unavailable, "POS_UNREACHABLE", words)
        .meta("cause", cause)
        .meta("connection_id", connection_id)
        .retry_after(Duration::from_secs(5))
}

fn too_many(pos: &Pos) -> Failure {
    let message =
        format!("the POS lists more than {MAX_RECORDS} orders, or {MAX_PAGES} pages; ask for less time at once");
    Failure::new(Code::ResourceExhausted, "TOO_MANY_ORDERS", message).meta("connection_id", pos.connection_id())
}
