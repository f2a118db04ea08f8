//! Checks: the visits of guests to tables. Opened by us or by the staff at the POS; the POS has the last word on
//! whether one is open and what stands on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use posmesh_kit::{Failure, ambient, call::Identity, cause, time};
use posmesh_proto::{
    adapter::v1::{
        CheckFailed, CheckOpening, GetCheckRequest as PosGetCheckRequest, ListChecksRequest as PosListChecksRequest,
        PosCheck, PosTarget, RequestBillRequest as PosRequestBillRequest, get_check_response, list_checks_response,
        request_bill_response,
    },
    order::v1::{Check, CheckBill, CheckBillLine, CheckState},
    store::v1::Store,
};
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::{
    dispatch::table_mode,
    domain::{accept::can_be_id, business_day::business_date},
    error::Error,
    peers::{Link, Reader},
    place::{check_closed, check_not_found},
    storage::{CheckChanged, CheckFilter, Storage, StorageError},
};

const POS_TIMEOUT: Duration = Duration::from_secs(8);
/// A check that the POS was asked about this short ago is not asked about again, whatever it answered.
const VERIFIED_FOR: Duration = Duration::from_secs(5);
const MAX_VERIFIED: usize = 10_000;
const MAX_CONFLICTS: usize = 8;

/// A check on which nothing was ordered for so long belongs to guests who have left.
const UNUSED_FOR: Duration = Duration::from_secs(30 * 60);

/// Why a check is closed.
const NEVER_USED: &str = "NEVER_USED";
const CLOSED_AT_POS: &str = "CLOSED_AT_POS";
const CLOSED_BY_CALLER: &str = "CLOSED_BY_CALLER";

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Checks {
    storage: Arc<dyn Storage>,
    reader: Reader,
    verified: Arc<Mutex<HashMap<String, Instant>>>,
}

/// What the POS says of a check.
enum AtPos {
    Open(Box<PosCheck>),
    Gone,
    /// It could not be asked.
    Unknown(CheckFailed),
}

impl Checks {
    pub(crate) fn new(storage: Arc<dyn Storage>, reader: Reader) -> Self {
        Self { storage, reader, verified: Arc::default() }
    }

    /// Opens a check on a table or joins the open one; the flag says that it was joined.
    pub(crate) async fn open(
        &self,
        who: &Identity,
        store: &Store,
        table_id: &str,
        party_size: i32,
    ) -> Result<(Check, bool), Error> {
        if !(0..=999).contains(&party_size) {
            return Err(Failure::field("OUT_OF_RANGE", "party_size", "must be 0 (unknown) to 999").into());
        }
        let catalog = self.reader.catalog(&store.store_id).await?;
        if catalog.table(table_id).is_none() {
            let message = format!("the store {:?} has no table {table_id:?}", store.store_id);
            return Err(Failure::new(Code::NotFound, "TABLE_NOT_FOUND", message)
                .meta("table_id", table_id)
                .violation("table_id", "names no table of the store's catalog")
                .into());
        }
        let (product, mode) = table_mode();
        let link = self.reader.link(&store.store_id, product, mode).await?;
        for _ in 0..MAX_CONFLICTS {
            if let Some(open) = self.ours(who, store, table_id).await? {
                return Ok((open, true));
            }
            let check = self.new_check(store, table_id, party_size, &link).await?;
            if self.storage.open_check(&who.tenant_id, &check).await?.is_none() {
                let joined = !check.pos_check_reference.is_empty();
                tracing::info!(check.id = %check.check_id, store.id = %store.store_id, joined, "check opened");
                return Ok((check, joined));
            }
            // Somebody else opened one at the same moment: join that.
        }
        Err(changes_all_the_time(&format!("of table {table_id}")))
    }

    /// The check that is open on the table here. Guests who have left may not have closed theirs: the POS knows, and one
    /// that was never used ends by itself.
    async fn ours(&self, who: &Identity, store: &Store, table_id: &str) -> Result<Option<Check>, Error> {
        let filter = CheckFilter {
            store_id: store.store_id.clone(),
            table_id: table_id.to_owned(),
            states: vec![CheckState::Open, CheckState::BillRequested],
            after: None,
            limit: 1,
        };
        let found = self.storage.checks(&who.tenant_id, &filter).await.map_err(Error::Read)?;
        let Some(open) = found.into_iter().next() else { return Ok(None) };
        let opened_ms = open.open_time.as_ref().map_or(0, time::to_unix_ms);
        let age_ms = u64::try_from(time::now_unix_ms().saturating_sub(opened_ms)).unwrap_or(0);
        let unused = open.rounds == 0 && open.pos_check_reference.is_empty();
        let open = if unused && Duration::from_millis(age_ms) > UNUSED_FOR {
            self.close(who, open, NEVER_USED).await?
        } else {
            self.verify(who, open, Duration::ZERO).await?
        };
        Ok((open.state() != CheckState::Closed).then_some(open))
    }

    async fn find(&self, who: &Identity, check_id: &str) -> Result<Check, Error> {
        if !can_be_id(check_id) {
            return Err(check_not_found().into());
        }
        let found = self.storage.check(&who.tenant_id, check_id).await.map_err(Error::Read)?;
        found.ok_or_else(|| check_not_found().into())
    }

    /// A check as it would be opened now: joined to the one that the staff opened, if there is one.
    async fn new_check(&self, store: &Store, table_id: &str, party_size: i32, link: &Link) -> Result<Check, Error> {
        let at_pos =
            if link.can("LIST_CHECKS") { self.checks_at_pos(store, table_id, link).await? } else { Vec::new() };
        if at_pos.len() > 1 {
            let message = format!("{} checks are open on the table at the POS; ask the staff which one", at_pos.len());
            return Err(Failure::new(Code::FailedPrecondition, "SEVERAL_CHECKS_OPEN", message).into());
        }
        let joined = at_pos.into_iter().next();
        let only_at_pos = link.descriptor.check_opening() == CheckOpening::AtPosOnly;
        if joined.is_none() && only_at_pos {
            let message = "this POS opens checks only at the till; ask the staff to open the table";
            return Err(Failure::new(Code::FailedPrecondition, "CHECK_NOT_OPENED_AT_POS", message).into());
        }
        let now_ms = time::now_unix_ms();
        let opened_by = if joined.is_some() { "POS" } else { "PLATFORM" };
        let party_at_pos = joined.as_ref().map_or(0, |c| c.party_size);
        Ok(Check {
            check_id: ambient::new_id().to_string(),
            store_id: store.store_id.clone(),
            table_id: table_id.to_owned(),
            state: CheckState::Open.into(),
            party_size: if party_size > 0 { party_size } else { party_at_pos },
            business_date: business_date(store, now_ms).unwrap_or_default(),
            pos_check_reference: joined.map(|c| c.pos_check_reference).unwrap_or_default(),
            connection_id: link.connection.connection_id.clone(),
            version: 1,
            open_time: Some(time::from_unix_ms(now_ms)),
            opened_by: opened_by.to_owned(),
            ..Check::default()
        })
    }

    async fn checks_at_pos(&self, store: &Store, table_id: &str, link: &Link) -> Result<Vec<PosCheck>, Failure> {
        let mut request = Request::new(PosListChecksRequest {
            target: Some(target(&store.store_id, &link.connection.connection_id)),
            context: None,
            table_id: table_id.to_owned(),
        });
        request.set_timeout(POS_TIMEOUT);
        let answer = self.reader.adapter.clone().list_checks(request).await;
        match answer.map(|a| a.into_inner().result) {
            Ok(Some(list_checks_response::Result::Checks(checks))) => Ok(checks.checks),
            Ok(Some(list_checks_response::Result::Failed(failed))) => Err(pos_unreachable(&failed)),
            Ok(None) => Err(pos_unreachable(&CheckFailed { cause: cause::UNKNOWN.into(), message: String::new() })),
            Err(status) => Err(pos_unreachable(&failed_call(&status))),
        }
    }

    /// A check, closed here if the POS closed it.
    pub(crate) async fn get(&self, who: &Identity, check_id: &str) -> Result<Check, Error> {
        let check = self.find(who, check_id).await?;
        self.verify(who, check, VERIFIED_FOR).await
    }

    /// A check with what stands on it at the POS, where the POS tells.
    pub(crate) async fn get_with_bill(
        &self,
        who: &Identity,
        check_id: &str,
    ) -> Result<(Check, Option<CheckBill>), Error> {
        let check = self.find(who, check_id).await?;
        if check.pos_check_reference.is_empty() || check.state() == CheckState::Closed {
            return Ok((check, None));
        }
        match self.ask(&check).await {
            AtPos::Open(at_pos) => Ok((check, Some(to_bill(*at_pos)))),
            AtPos::Gone => Ok((self.close(who, check, CLOSED_AT_POS).await?, None)),
            AtPos::Unknown(_) => Ok((check, None)),
        }
    }

    /// Asks the POS whether the check is still open, unless it said so less than `fresh` ago. A POS that does not answer
    /// changes nothing.
    async fn verify(&self, who: &Identity, check: Check, fresh: Duration) -> Result<Check, Error> {
        let at_pos = check.state() != CheckState::Closed && !check.pos_check_reference.is_empty();
        let recently = self.verified().get(&check.check_id).is_some_and(|at| at.elapsed() < fresh);
        if !at_pos || recently {
            return Ok(check);
        }
        {
            // Before it is asked: of many guests at the table one asks, and a POS that hangs is not asked by all.
            let mut verified = self.verified();
            if verified.len() >= MAX_VERIFIED {
                verified.clear();
            }
            verified.insert(check.check_id.clone(), Instant::now());
        }
        match self.ask(&check).await {
            AtPos::Open(_) => Ok(check),
            AtPos::Gone => self.close(who, check, CLOSED_AT_POS).await,
            AtPos::Unknown(failed) => {
                tracing::debug!(check.id = %check.check_id, cause = %failed.cause, "the POS could not be asked");
                Ok(check)
            }
        }
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, check: &Check) -> AtPos {
        let mut request = Request::new(PosGetCheckRequest {
            target: Some(target(&check.store_id, &check.connection_id)),
            context: None,
            pos_check_reference: check.pos_check_reference.clone(),
        });
        request.set_timeout(POS_TIMEOUT);
        match self.reader.adapter.clone().get_check(request).await.map(|a| a.into_inner().result) {
            Ok(Some(get_check_response::Result::Check(at_pos))) if at_pos.open => AtPos::Open(Box::new(at_pos)),
            Ok(Some(get_check_response::Result::Check(_))) => AtPos::Gone,
            Ok(Some(get_check_response::Result::Failed(f))) if f.cause == cause::CHECK_NOT_FOUND => AtPos::Gone,
            Ok(Some(get_check_response::Result::Failed(failed))) => AtPos::Unknown(failed),
            Ok(None) => AtPos::Unknown(CheckFailed { cause: cause::UNKNOWN.into(), message: String::new() }),
            Err(status) => AtPos::Unknown(failed_call(&status)),
        }
    }

    /// Tells the staff that the guests want to pay.
    pub(crate) async fn request_bill(
        &self,
        who: &Identity,
        check_id: &str,
    ) -> Result<(Check, Option<CheckBill>), Error> {
        let check = self.find(who, check_id).await?;
        if check.state() == CheckState::Closed {
            return Err(check_closed(check_id).into());
        }
        if check.pos_check_reference.is_empty() {
            let message = "nothing of this check is at the POS yet, so there is nothing to pay";
            return Err(Failure::new(Code::FailedPrecondition, "NOTHING_ORDERED", message).into());
        }
        let mut request = Request::new(PosRequestBillRequest {
            target: Some(target(&check.store_id, &check.connection_id)),
            context: None,
            pos_check_reference: check.pos_check_reference.clone(),
        });
        request.set_timeout(POS_TIMEOUT);
        let answer = self.reader.adapter.clone().request_bill(request).await;
        match answer.map(|a| a.into_inner().result) {
            Ok(Some(request_bill_response::Result::Requested(requested))) => {
                let check = self.set_state(who, check, CheckState::BillRequested, "").await?;
                Ok((check, requested.check.map(to_bill)))
            }
            Ok(Some(request_bill_response::Result::Failed(f))) if f.cause == cause::CHECK_NOT_FOUND => {
                self.close(who, check, CLOSED_AT_POS).await?;
                Err(check_closed(check_id).into())
            }
            Ok(Some(request_bill_response::Result::Failed(f))) if f.cause == cause::NOT_SUPPORTED => {
                let message = format!("this POS cannot be told; ask the staff for the bill ({})", f.message);
                Err(Failure::new(Code::FailedPrecondition, "BILL_NOT_SUPPORTED", message).into())
            }
            Ok(Some(request_bill_response::Result::Failed(failed))) => Err(pos_unreachable(&failed).into()),
            Ok(None) => {
                let failed = CheckFailed { cause: cause::UNKNOWN.into(), message: String::new() };
                Err(pos_unreachable(&failed).into())
            }
            Err(status) => Err(pos_unreachable(&failed_call(&status)).into()),
        }
    }

    /// Ends a check on the platform.
    pub(crate) async fn close_by_caller(&self, who: &Identity, check_id: &str) -> Result<Check, Error> {
        let mut check = self.find(who, check_id).await?;
        for _ in 0..MAX_CONFLICTS {
            if check.state() == CheckState::Closed {
                return Ok(check);
            }
            if self.storage.has_round_in_flight(&who.tenant_id, check_id).await.map_err(Error::Read)? {
                let message = "a round of the check is still on its way to the POS; close it when that has ended";
                return Err(Failure::new(Code::FailedPrecondition, "ROUND_UNDER_WAY", message)
                    .retry_after(Duration::from_secs(2))
                    .into());
            }
            // A round that comes in between counts the version up: then the question stands again.
            match self.try_state(who, &check, CheckState::Closed, CLOSED_BY_CALLER).await? {
                Ok(closed) => return Ok(closed),
                Err(current) => check = *current,
            }
        }
        Err(changes_all_the_time(check_id))
    }

    async fn close(&self, who: &Identity, check: Check, why: &str) -> Result<Check, Error> {
        self.verified().remove(&check.check_id);
        self.set_state(who, check, CheckState::Closed, why).await
    }

    async fn set_state(&self, who: &Identity, check: Check, state: CheckState, why: &str) -> Result<Check, Error> {
        let mut check = check;
        for _ in 0..MAX_CONFLICTS {
            // Closed is for ever, and asking twice is asking once.
            if check.state() == state || check.state() == CheckState::Closed {
                return Ok(check);
            }
            match self.try_state(who, &check, state, why).await? {
                Ok(changed) => return Ok(changed),
                Err(current) => check = *current,
            }
        }
        Err(changes_all_the_time(&check.check_id))
    }

    /// Changes the state of a check that is as given; else returns it as it is.
    async fn try_state(
        &self,
        who: &Identity,
        check: &Check,
        state: CheckState,
        why: &str,
    ) -> Result<Result<Check, Box<Check>>, Error> {
        let mut next = Check { version: check.version + 1, ..check.clone() };
        next.set_state(state);
        if state == CheckState::Closed {
            next.close_time = Some(time::now());
            next.cause = why.to_owned();
        }
        match self.storage.change_check(&who.tenant_id, &next).await? {
            CheckChanged::Done => {
                tracing::info!(check.id = %next.check_id, state = ?state, cause = why, "check changed");
                Ok(Ok(next))
            }
            CheckChanged::Conflict(current) => Ok(Err(current)),
            CheckChanged::Missing => Err(check_not_found().into()),
        }
    }
}

fn changes_all_the_time(check_id: &str) -> Error {
    StorageError::Refused(format!("the check {check_id} changes all the time")).into()
}

fn target(store_id: &str, connection_id: &str) -> PosTarget {
    let (product, mode) = table_mode();
    PosTarget {
        store_id: store_id.to_owned(),
        product: product.into(),
        service_mode: mode.into(),
        connection_id: connection_id.to_owned(),
        ..PosTarget::default()
    }
}

fn failed_call(status: &tonic::Status) -> CheckFailed {
    let cause = posmesh_kit::failure::metadata(status, "cause").unwrap_or_else(|| cause::NETWORK_DOWN.to_owned());
    CheckFailed { cause, message: status.message().to_owned() }
}

fn pos_unreachable(failed: &CheckFailed) -> Failure {
    let message = format!("the store's POS could not be asked ({}): {}", failed.cause, failed.message);
    Failure::new(Code::Unavailable, "POS_UNREACHABLE", message)
        .meta("cause", &failed.cause)
        .retry_after(Duration::from_secs(2))
}

fn to_bill(check: PosCheck) -> CheckBill {
    CheckBill {
        lines: check
            .lines
            .into_iter()
            .map(|l| CheckBillLine {
                line_id: l.line_id,
                name: l.name,
                quantity_milli: l.quantity_milli,
                total: l.total,
                pos_line_reference: l.pos_line_reference,
            })
            .collect(),
        total: check.total,
        tax: check.tax_total,
        read_time: Some(time::now()),
    }
}
