//! Comparing our orders with those that a POS holds. The time is gone through in slices, so that memory and calls stay
//! bounded however long it is. Nothing is sent again; what a list does not show is asked for by itself before it counts
//! as missing.

mod listing;
mod lookup;
mod repair;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use posmesh_kit::{Failure, call, time};
use posmesh_proto::{
    adapter::v1::{FindKind, ListOrders, PosOrderRecord},
    order::v1::{Discrepancy, Order, ReconcileOrdersRequest, ReconcileOrdersResponse},
    store::v1::Store,
};
use tonic::Code;

use self::listing::Listed;
use crate::{
    config::Config,
    dispatch::Dispatcher,
    domain::{
        accept::can_be_id,
        lifecycle::{is_fallback, is_there},
        reconcile::{self as rules, Finding, Theirs},
    },
    error::Error,
    ledger::Ledger,
    peers::{Link, Reader},
    storage::OrderFilter,
};

pub(crate) use listing::cause_of;

/// What is compared at once.
const SLICE: Duration = Duration::from_secs(3600);
/// Where the POS lists whole business days.
const DAY_SLICE: Duration = Duration::from_secs(86_400);
const MAX_WINDOW: Duration = Duration::from_secs(7 * 86_400);
/// How far the POS's clock may be from ours, beyond what a write may take.
const CLOCK_MARGIN: Duration = Duration::from_secs(300);
/// No further slice is begun behind so many discrepancies: they have to fit an answer.
const ENOUGH: usize = 200;
/// Nor with less time left.
const LEAST_TIME: Duration = Duration::from_secs(10);
/// Of our orders, read at once.
const PAGE: usize = 500;

/// From and before, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from_ms: i64,
    pub(crate) before_ms: i64,
}

impl Window {
    fn contains(self, unix_ms: i64) -> bool {
        (self.from_ms..self.before_ms).contains(&unix_ms)
    }

    fn wider(self, margin: Duration) -> Self {
        let margin_ms = millis(margin);
        Self { from_ms: self.from_ms.saturating_sub(margin_ms), before_ms: self.before_ms.saturating_add(margin_ms) }
    }

    /// Its first part, at most so long.
    fn first(self, length: Duration) -> Self {
        Self { before_ms: self.before_ms.min(self.from_ms.saturating_add(millis(length))), ..self }
    }
}

/// The POS that is compared with.
#[derive(Debug)]
struct Pos {
    link: Link,
    store: Arc<Store>,
}

impl Pos {
    fn connection_id(&self) -> &str {
        &self.link.connection.connection_id
    }

    /// How it lists, if at all.
    fn listed(&self) -> ListOrders {
        match self.link.descriptor.list_orders() {
            ListOrders::Unspecified => ListOrders::None,
            known if self.link.can("LIST_ORDERS") => known,
            _ => ListOrders::None,
        }
    }

    fn slice(&self) -> Duration {
        if self.listed() == ListOrders::ByBusinessDate { DAY_SLICE } else { SLICE }
    }
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reconciler {
    ledger: Ledger,
    reader: Reader,
    dispatcher: Dispatcher,
    /// The longest time that a write of ours may take, and how far clocks may differ.
    longest_write: Duration,
}

impl Reconciler {
    pub(crate) fn new(ledger: Ledger, reader: Reader, dispatcher: Dispatcher, config: &Config) -> Self {
        Self { ledger, reader, dispatcher, longest_write: config.attempt_timeout + config.lease_margin }
    }

    /// The longest time that a write of ours may take, and how far clocks may differ.
    pub(crate) fn longest_write(&self) -> Duration {
        self.longest_write
    }

    /// Answers a caller: as much of the window as its time allows.
    pub(crate) async fn reconcile(
        &self,
        tenant_id: &Arc<str>,
        request: ReconcileOrdersRequest,
    ) -> Result<ReconcileOrdersResponse, Error> {
        let window = check(&request, time::now_unix_ms())?;
        let pos = self.pos(&request.connection_id).await?;
        let mut rest = window;
        let mut report = ReconcileOrdersResponse { listed: pos.listed().into(), ..ReconcileOrdersResponse::default() };
        let mut told = BTreeSet::new();
        while rest.from_ms < rest.before_ms {
            let slice = rest.first(pos.slice());
            self.compare(tenant_id, &pos, slice, request.repair, &mut told, &mut report).await?;
            rest.from_ms = slice.before_ms;
            let is_late = call::time_left().is_some_and(|left| left < LEAST_TIME);
            if is_late || report.discrepancies.len() >= ENOUGH {
                break;
            }
        }
        report.compared_before = Some(time::from_unix_ms(rest.from_ms));
        Ok(report)
    }

    /// Compares the first part of a window and carries the safe repairs out. Returns what was found, and where to go on.
    pub(crate) async fn repair_first(
        &self,
        tenant_id: &Arc<str>,
        connection_id: &str,
        window: Window,
    ) -> Result<(ReconcileOrdersResponse, i64), Error> {
        let pos = self.pos(connection_id).await?;
        let slice = window.first(pos.slice());
        let mut report = ReconcileOrdersResponse { listed: pos.listed().into(), ..ReconcileOrdersResponse::default() };
        self.compare(tenant_id, &pos, slice, true, &mut BTreeSet::new(), &mut report).await?;
        Ok((report, slice.before_ms))
    }

    async fn pos(&self, connection_id: &str) -> Result<Pos, Error> {
        let link = self.reader.link_to(connection_id, 0).await?;
        let store = self.reader.stores.get(&link.connection.store_id).await?;
        let pos = Pos { link, store };
        let can_find = pos.link.descriptor.find.as_ref().is_some_and(|find| find.kind() != FindKind::None);
        if pos.listed() == ListOrders::None && !can_find {
            let message = "this POS can neither list its orders nor be asked for one: nothing can be compared";
            let failure = Failure::new(Code::FailedPrecondition, "RECONCILE_NOT_SUPPORTED", message);
            return Err(failure.meta("connection_id", connection_id).into());
        }
        Ok(pos)
    }

    /// Compares one slice. `told`: the orders that the report tells of already.
    async fn compare(
        &self,
        tenant_id: &Arc<str>,
        pos: &Pos,
        slice: Window,
        repair: bool,
        told: &mut BTreeSet<String>,
        report: &mut ReconcileOrdersResponse,
    ) -> Result<(), Error> {
        let mut theirs = match pos.listed() {
            ListOrders::None => Listed::default(),
            _ => self.list(pos, slice.wider(self.margin(pos)), slice).await?,
        };
        report.others = report.others.saturating_add(theirs.others);
        let (mut findings, compared) = self.compare_ours(tenant_id, pos, slice, &mut theirs).await?;
        report.compared = report.compared.saturating_add(compared);
        let (more, unknown) = self.compare_rest(tenant_id, pos, slice, theirs).await?;
        findings.extend(more);
        for finding in findings {
            let order_id = finding.discrepancy.order.as_ref().map(|order| order.order_id.clone()).unwrap_or_default();
            if told.insert(order_id) {
                let discrepancy =
                    if repair { self.carry_out(tenant_id, pos, finding).await? } else { finding.discrepancy };
                report.discrepancies.push(discrepancy);
            }
        }
        report.discrepancies.extend(unknown);
        Ok(())
    }

    /// Our orders of the slice, with what the POS shows of them, which is taken out of `theirs`. Returns what was found,
    /// and how many were compared.
    async fn compare_ours(
        &self,
        tenant_id: &Arc<str>,
        pos: &Pos,
        slice: Window,
        theirs: &mut Listed,
    ) -> Result<(Vec<Finding>, i32), Error> {
        let (mut findings, mut compared, mut after) = (Vec::new(), 0_i32, None);
        loop {
            let ours = self.ours(tenant_id, pos, slice, after.take()).await?;
            let is_last = ours.len() < PAGE;
            let created_ms = |order: &Order| order.create_time.as_ref().map_or(0, time::to_unix_ms);
            after = ours.last().map(|order| (created_ms(order), order.order_id.clone()));
            let mut shown = |order: Order| {
                let records = theirs.by_reference.remove(&order.order_id);
                (order, records.map_or(Theirs::Unproven, Theirs::Shown))
            };
            let ours = ours.into_iter().filter(|order| is_compared(order, pos.connection_id()));
            let paired: Vec<(Order, Theirs)> = ours.map(&mut shown).collect();
            for (order, theirs) in self.look_up(tenant_id, pos, paired).await? {
                compared = compared.saturating_add(i32::from(theirs != Theirs::Unproven));
                findings.extend(rules::compare(&order, &theirs, time::now_unix_ms()));
            }
            if is_last {
                return Ok((findings, compared));
            }
        }
    }

    /// What the POS took within the slice that is none of our orders of the slice: ordered ahead or late, or unknown.
    async fn compare_rest(
        &self,
        tenant_id: &Arc<str>,
        pos: &Pos,
        slice: Window,
        theirs: Listed,
    ) -> Result<(Vec<Finding>, Vec<Discrepancy>), Error> {
        let (mut findings, mut unknown) = (Vec::new(), Vec::new());
        for (reference, records) in theirs.by_reference {
            let records: Vec<PosOrderRecord> = records.into_iter().filter(|record| is_within(record, slice)).collect();
            let Some(first) = records.first().cloned() else { continue };
            let order = match can_be_id(&reference) {
                true => self.ledger.storage.order(tenant_id, &reference).await.map_err(Error::Read)?,
                false => None,
            };
            match order {
                None => unknown.push(rules::unknown(first)),
                Some(order) if is_compared(&order, pos.connection_id()) => {
                    findings.extend(rules::compare(&order, &Theirs::Shown(records), time::now_unix_ms()));
                }
                // Another connection to the same POS compares it.
                Some(_) => {}
            }
        }
        Ok((findings, unknown))
    }

    /// A page of our orders of the store that were placed in the window, newest first.
    async fn ours(
        &self,
        tenant_id: &str,
        pos: &Pos,
        window: Window,
        after: Option<(i64, String)>,
    ) -> Result<Vec<Order>, Error> {
        let filter = OrderFilter {
            store_id: pos.store.store_id.clone(),
            created_from_ms: Some(window.from_ms),
            created_before_ms: Some(window.before_ms),
            after,
            limit: PAGE,
            ..OrderFilter::default()
        };
        self.ledger.storage.orders(tenant_id, &filter).await.map_err(Error::Read)
    }

    /// How far from our time of an order the POS's may be.
    fn margin(&self, pos: &Pos) -> Duration {
        let apply_delay = pos.link.descriptor.max_apply_delay.as_ref().and_then(time::from_proto_duration);
        CLOCK_MARGIN + self.longest_write + apply_delay.unwrap_or_default()
    }
}

/// An order that was never sent may have been sent anywhere, as far as the POS's word goes. Of what is there already, the
/// fallback's word is none of the POS's.
fn is_compared(order: &Order, connection_id: &str) -> bool {
    if is_fallback(order, connection_id) && is_there(order.state()) {
        return false;
    }
    order.attempts.is_empty() || order.attempts.iter().any(|attempt| attempt.connection_id == connection_id)
}

/// Whether it belongs to this slice and to no other one.
fn is_within(record: &PosOrderRecord, slice: Window) -> bool {
    record.take_time.as_ref().is_none_or(|time| slice.contains(time::to_unix_ms(time)))
}

fn check(request: &ReconcileOrdersRequest, now_ms: i64) -> Result<Window, Failure> {
    if request.connection_id.is_empty() {
        return Err(Failure::field("REQUIRED", "connection_id", "say which connection"));
    }
    let Some(from) = &request.from else {
        return Err(Failure::field("REQUIRED", "from", "say from when on"));
    };
    let before_ms = request.before.as_ref().map_or(now_ms, time::to_unix_ms).min(now_ms);
    let window = Window { from_ms: time::to_unix_ms(from), before_ms };
    if window.from_ms >= window.before_ms {
        return Err(Failure::field("OUT_OF_RANGE", "from", "must be in the past, and earlier than `before`"));
    }
    if window.before_ms.saturating_sub(window.from_ms) > millis(MAX_WINDOW) {
        return Err(Failure::field("OUT_OF_RANGE", "from", "must be at most 7 days before `before`"));
    }
    Ok(window)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW_MS: i64 = 1_795_348_800_000;

    fn request(from_ms: i64, before_ms: Option<i64>) -> ReconcileOrdersRequest {
        ReconcileOrdersRequest {
            connection_id: "till".into(),
            from: Some(time::from_unix_ms(from_ms)),
            before: before_ms.map(time::from_unix_ms),
            repair: false,
        }
    }

    #[test]
    fn a_window_ends_now_at_the_latest_and_is_at_most_a_week() {
        let week_ms = millis(MAX_WINDOW);
        let window = check(&request(NOW_MS - week_ms, None), NOW_MS).unwrap();
        assert_eq!(window, Window { from_ms: NOW_MS - week_ms, before_ms: NOW_MS });
        assert_eq!(check(&request(NOW_MS - 5, Some(NOW_MS + 9)), NOW_MS).unwrap().before_ms, NOW_MS);
        for (from_ms, before_ms) in [(NOW_MS - week_ms - 1, None), (NOW_MS, None), (NOW_MS - 5, Some(NOW_MS - 5))] {
            assert_eq!(check(&request(from_ms, before_ms), NOW_MS).unwrap_err().reason(), "OUT_OF_RANGE");
        }
        let nothing = ReconcileOrdersRequest { connection_id: "till".into(), ..ReconcileOrdersRequest::default() };
        assert_eq!(check(&nothing, NOW_MS).unwrap_err().reason(), "REQUIRED");
    }

    #[test]
    fn slices_cover_a_window_without_gap_or_overlap() {
        let mut rest = Window { from_ms: 0, before_ms: 2 * millis(SLICE) + 7 };
        let mut slices = Vec::new();
        while rest.from_ms < rest.before_ms {
            let slice = rest.first(SLICE);
            slices.push((slice.from_ms, slice.before_ms));
            rest.from_ms = slice.before_ms;
        }
        let hour = millis(SLICE);
        assert_eq!(slices, [(0, hour), (hour, 2 * hour), (2 * hour, 2 * hour + 7)]);
    }

    #[test]
    fn a_record_belongs_to_the_slice_in_which_the_pos_took_it() {
        let slice = Window { from_ms: 1000, before_ms: 2000 };
        let taken = |unix_ms| PosOrderRecord { take_time: Some(time::from_unix_ms(unix_ms)), ..Default::default() };
        assert!(is_within(&taken(1000), slice) && !is_within(&taken(2000), slice));
        assert!(is_within(&PosOrderRecord::default(), slice));
    }
}
