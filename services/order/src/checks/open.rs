//! Seating guests: a new check, or the one that is open on their table.
//!
//! Nobody joins a check on the platform's word alone. Where the POS lists its checks it is asked each time, and where it
//! cannot be asked just then the guests are told to try again: an order could not reach it now either, and the check may
//! be that of guests who have paid and left meanwhile.

use std::sync::Arc;

use posmesh_kit::{Failure, ambient, time};
use posmesh_proto::{
    adapter::v1::{CheckOpening, PosCheck},
    common::v1::Product,
    order::v1::{Check, CheckState},
    store::v1::Store,
};
use tonic::Code;

use super::{Checks, FINISH_LEASE, MAX_CONFLICTS, changes_all_the_time, clock_not_steady, pos::unreachable};
use crate::{
    domain::{
        business_day::business_date,
        pos::table_mode,
        visit::{self, Seat, Seen, is_open},
    },
    error::Error,
    peers::Link,
    storage::CheckFilter,
};

/// Checks that may be open on one table here.
const MAX_ON_TABLE: usize = 100;
const MAX_PARTY: i32 = 999;

/// Who sits down where.
struct Party<'a> {
    tenant_id: &'a Arc<str>,
    store: &'a Store,
    table_id: &'a str,
    /// 0: unknown.
    size: i32,
    link: &'a Link,
    today: String,
}

impl Checks {
    /// Opens a check on a table or joins the one that is open there; the flag says that it was joined.
    pub(crate) async fn open(
        &self,
        tenant_id: &Arc<str>,
        store: &Store,
        table_id: &str,
        party_size: i32,
    ) -> Result<(Check, bool), Error> {
        if !(0..=MAX_PARTY).contains(&party_size) {
            return Err(Failure::field("OUT_OF_RANGE", "party_size", "must be 0 (unknown) to 999").into());
        }
        self.known_table(store, table_id).await?;
        let (product, mode) = table_mode();
        let link = self.reader.link(&store.store_id, product, mode).await?;
        let today = business_date(store, time::now_unix_ms()).unwrap_or_default();
        let party = Party { tenant_id, store, table_id, size: party_size, link: &link, today };
        for _ in 0..MAX_CONFLICTS {
            if let Some(seated) = self.seat(&party).await? {
                return Ok(seated);
            }
        }
        Err(changes_all_the_time(&format!("of table {table_id}")))
    }

    /// Refuses a table that is not in the store's catalog.
    pub(super) async fn known_table(&self, store: &Store, table_id: &str) -> Result<(), Failure> {
        let catalog = self.reader.catalog(&store.store_id, Product::Table).await?;
        if catalog.table(table_id).is_some() {
            return Ok(());
        }
        let message = format!("the store {:?} has no table {table_id:?}", store.store_id);
        Err(Failure::new(Code::NotFound, "TABLE_NOT_FOUND", message)
            .meta("table_id", table_id)
            .violation("table_id", "names no table of the store's catalog"))
    }

    /// `None`: somebody else changed something at the same moment.
    async fn seat(&self, party: &Party<'_>) -> Result<Option<(Check, bool)>, Error> {
        let connection_id = &party.link.connection.connection_id;
        let at_pos = if party.link.can("LIST_CHECKS") {
            let listed = self.pos.list(&party.store.store_id, connection_id, party.table_id).await;
            Some(listed.map_err(|failed| unreachable(&failed))?)
        } else {
            None
        };
        let ours = self.still_there(party, at_pos.as_deref()).await?;
        match visit::seat(&ours, at_pos.as_deref()) {
            Seat::Join(check) => Ok(Some((check.clone(), true))),
            Seat::JoinAtPos(at_pos, fresh) => self.join_at_pos(party, at_pos, fresh).await,
            Seat::Open if party.link.descriptor.check_opening() == CheckOpening::AtPosOnly => {
                let message = "this POS opens checks only at the till; ask the staff to open the table";
                Err(Failure::new(Code::FailedPrecondition, "CHECK_NOT_OPENED_AT_POS", message).into())
            }
            Seat::Open => self.open_new(party, None).await,
            Seat::Several(count) => {
                let message = format!("{count} checks are open on the table; ask the staff which one");
                Err(Failure::new(Code::FailedPrecondition, "SEVERAL_CHECKS_OPEN", message).into())
            }
        }
    }

    /// Our checks on the table that the POS, and the day, still know; newest first. The others are moved, joined or
    /// closed as they turn out to be.
    async fn still_there(&self, party: &Party<'_>, at_pos: Option<&[PosCheck]>) -> Result<Vec<Check>, Error> {
        let mut there = Vec::new();
        for check in self.open_on(party.tenant_id, &party.store.store_id, party.table_id).await? {
            if let Some(why) = self.has_outlived(party.tenant_id, &check, &party.today).await? {
                self.end(party.tenant_id, check, why).await?;
                continue;
            }
            let listed = at_pos.into_iter().flatten().any(|c| c.pos_check_reference == check.pos_check_reference);
            if check.pos_check_reference.is_empty() || listed {
                there.push(check);
                continue;
            }
            let Some(seen) = self.look_for(party.link, &check).await else {
                there.push(check);
                continue;
            };
            if let Seen::Unknown(failed) = &seen {
                return Err(unreachable(failed).into());
            }
            let check = self.follow(party.tenant_id, check, &seen).await?;
            if is_open(&check) && check.table_id == party.table_id {
                there.push(check);
            }
        }
        Ok(there)
    }

    /// What became of a check that the POS does not list for its table; `None` where the POS tells nothing of checks. One
    /// of a connection that the store has no more is asked for as well: only the router knows whether it is still there.
    async fn look_for(&self, link: &Link, check: &Check) -> Option<Seen> {
        let (store_id, connection_id, reference) = (&check.store_id, &check.connection_id, &check.pos_check_reference);
        if link.connection.connection_id != *connection_id || link.can("GET_CHECK") {
            return Some(self.pos.look(store_id, connection_id, reference).await);
        }
        if !link.can("LIST_CHECKS") {
            return None;
        }
        Some(match self.pos.list(store_id, connection_id, "").await {
            Ok(all) => match all.into_iter().find(|at_pos| at_pos.pos_check_reference == *reference) {
                Some(elsewhere) => Seen::Open(Box::new(elsewhere)),
                None => Seen::Closed,
            },
            Err(failed) => Seen::Unknown(failed),
        })
    }

    /// The checks that are open here on a table, newest first.
    pub(super) async fn open_on(&self, tenant_id: &str, store_id: &str, table_id: &str) -> Result<Vec<Check>, Error> {
        let filter = CheckFilter {
            store_id: store_id.to_owned(),
            table_id: table_id.to_owned(),
            states: vec![CheckState::Open, CheckState::BillRequested],
            after: None,
            limit: MAX_ON_TABLE,
        };
        self.storage().checks(tenant_id, &filter).await.map_err(Error::Read)
    }

    /// Why an open check is none that anybody may join any more.
    pub(super) async fn has_outlived(
        &self,
        tenant_id: &str,
        check: &Check,
        today: &str,
    ) -> Result<Option<&'static str>, Error> {
        // Some vendors have no checks: that nothing stands on one is told by its rounds alone.
        let may_be_used = check.rounds > 0 && check.pos_check_reference.is_empty();
        let quiet = !may_be_used || !self.has_unfinished_round(tenant_id, check).await?;
        let outlived = visit::outlived(check, today, quiet, time::now_unix_ms());
        // Theirs or the last guests': only a clock that is trusted can tell.
        if outlived.is_some() && !self.clock.is_steady() {
            return Err(clock_not_steady().into());
        }
        Ok(outlived)
    }

    /// Joins a check that stands at the POS, unless it is that of the guests before.
    async fn join_at_pos(
        &self,
        party: &Party<'_>,
        at_pos: &PosCheck,
        fresh: Option<&Check>,
    ) -> Result<Option<(Check, bool)>, Error> {
        let (tenant_id, connection_id) = (party.tenant_id, &party.link.connection.connection_id);
        let reference = at_pos.pos_check_reference.as_str();
        if let Some(ours) = self.ours_of(tenant_id, connection_id, reference).await? {
            // Its guests were moved to this table, or sit at one that was put together with it.
            let ours = self.follow(tenant_id, ours, &Seen::Open(Box::new(at_pos.clone()))).await?;
            return Ok(is_open(&ours).then_some((ours, true)));
        }
        let known = self.storage().checks_by_reference(tenant_id, connection_id, &[reference]).await;
        let was_closed = known.map_err(Error::Read)?.iter().any(|check| check.state() == CheckState::Closed);
        let opened_ms = at_pos.open_time.as_ref().map(time::to_unix_ms);
        let day = opened_ms.and_then(|opened_ms| business_date(party.store, opened_ms)).unwrap_or_default();
        if was_closed || (!day.is_empty() && day < party.today) {
            return Err(table_not_free(reference).into());
        }
        let Some(fresh) = fresh else { return self.open_new(party, Some(at_pos)).await };
        let adopted = self.adopt(tenant_id, fresh, at_pos, connection_id).await?;
        Ok(adopted.ok().map(|adopted| (adopted, true)))
    }

    async fn open_new(&self, party: &Party<'_>, at_pos: Option<&PosCheck>) -> Result<Option<(Check, bool)>, Error> {
        let now_ms = time::now_unix_ms();
        let check = Check {
            check_id: ambient::new_id().to_string(),
            store_id: party.store.store_id.clone(),
            table_id: party.table_id.to_owned(),
            state: CheckState::Open.into(),
            party_size: if party.size > 0 { party.size } else { at_pos.map_or(0, |c| c.party_size) },
            business_date: party.today.clone(),
            pos_check_reference: at_pos.map(|c| c.pos_check_reference.clone()).unwrap_or_default(),
            connection_id: party.link.connection.connection_id.clone(),
            version: 1,
            open_time: Some(time::from_unix_ms(now_ms)),
            opened_by: if at_pos.is_some() { "POS" } else { "PLATFORM" }.to_owned(),
            ..Check::default()
        };
        if self.storage().open_check(party.tenant_id, &check, self.interval).await?.is_some() {
            // Somebody else opened one at the same moment: look again, and join that.
            return Ok(None);
        }
        let joined = at_pos.is_some();
        tracing::info!(check.id = %check.check_id, store.id = %check.store_id, joined, "check opened");
        Ok(Some((check, joined)))
    }

    /// Ends a check that is open, for a reason of ours, and its rounds with it.
    pub(super) async fn end(&self, tenant_id: &Arc<str>, check: Check, why: &str) -> Result<Check, Error> {
        let mut check = check;
        for _ in 0..MAX_CONFLICTS {
            if !is_open(&check) {
                return Ok(check);
            }
            match self.change(tenant_id, visit::closed(&check, why, time::now()), FINISH_LEASE).await? {
                Ok(closed) => {
                    self.finish_soon(tenant_id, &closed);
                    return Ok(closed);
                }
                Err(current) => check = *current,
            }
        }
        Err(changes_all_the_time(&check.check_id))
    }
}

fn table_not_free(reference: &str) -> Failure {
    let message = format!(
        "the check {reference} of earlier guests is still open on the table at the POS; ask the staff to close it there"
    );
    Failure::new(Code::FailedPrecondition, "TABLE_NOT_FREE", message).meta("pos_check_reference", reference)
}
