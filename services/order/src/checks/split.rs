//! Splitting a check at the POS. Durable before the POS hears of it, and under one reference for ever, by which the POS
//! recognizes it: a repetition, or a replica that takes it up, splits nothing more.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{Failure, call::Identity, cause, time};
use posmesh_proto::{
    adapter::v1::CheckSplit,
    order::v1::{Check, CheckState, SplitCheckRequest, SplitCheckResponse},
};
use tonic::Code;
use uuid::Uuid;

use super::{
    Checks,
    bill::{nothing_ordered, to_bill},
    close::round_under_way,
    has_ended,
    pos::{SplitAnswer, unreachable},
};
use crate::{
    domain::{
        accept,
        pos::table_mode,
        splitting::{check_against, checked},
        visit::{Seen, is_open},
    },
    error::{Error, outcome_unknown},
    peers::Link,
    storage::Split,
};

/// A split that nobody asks for any more is taken up so long after it was begun; later the staff may have made their own.
const TAKE_UP_WITHIN: Duration = Duration::from_secs(120);
/// So long after it was begun another replica takes it up. Longer than the POS may take for it.
const LEASE: Duration = Duration::from_secs(15);

/// Which call for a split it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    /// The POS has not heard of it.
    First,
    /// It may have.
    Again,
}

impl Checks {
    /// Splits a check. Its caller's leaving does not end it.
    pub(crate) async fn split(&self, who: &Identity, request: SplitCheckRequest) -> Result<SplitCheckResponse, Error> {
        let (checks, who) = (self.clone(), who.clone());
        let split = self.tasks.spawn(async move { checks.split_once(&who, request).await });
        split.await.map_err(|error| Failure::internal("a split broke off", error))?
    }

    async fn split_once(&self, who: &Identity, request: SplitCheckRequest) -> Result<SplitCheckResponse, Error> {
        accept::check_request_id(&request.request_id)?;
        let capability = checked(&request)?;
        let known = self.storage().split(&who.tenant_id, &who.caller, &request.request_id).await;
        if let Some(known) = known.map_err(Error::Read)? {
            return self.split_again(who, &request, known).await;
        }
        let check = self.get(&who.tenant_id, &request.check_id).await?;
        self.check_split(who, &check, &request, capability).await?;
        let name = format!("{}/{}/{}", who.tenant_id, who.caller, request.request_id);
        let split = Split {
            split_id: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string(),
            request,
            answer: None,
            age: Duration::ZERO,
        };
        match self.storage().begin_split(&who.tenant_id, &who.caller, &split, LEASE).await? {
            None => self.carry_out(&who.tenant_id, check, split, Try::First).await,
            // At the same moment.
            Some(known) => self.split_again(who, &split.request, known).await,
        }
    }

    /// Whether it can be done, before anything is.
    async fn check_split(
        &self,
        who: &Identity,
        check: &Check,
        request: &SplitCheckRequest,
        capability: &str,
    ) -> Result<(), Error> {
        if !is_open(check) {
            return Err(has_ended(check).into());
        }
        let (product, mode) = table_mode();
        let link = self.reader.link(&check.store_id, product, mode).await?;
        if !link.can(capability) {
            return Err(not_supported(&link, capability).into());
        }
        if check.pos_check_reference.is_empty() {
            return Err(nothing_ordered().into());
        }
        if self.has_round_in_flight(&who.tenant_id, &check.check_id).await? {
            return Err(round_under_way().into());
        }
        match self.pos.look(&check.store_id, &check.connection_id, &check.pos_check_reference).await {
            Seen::Open(at_pos) => Ok(check_against(request, &at_pos.lines)?),
            Seen::Unknown(failed) => Err(unreachable(&failed).into()),
            ended => Err(has_ended(&self.follow(&who.tenant_id, check.clone(), &ended).await?).into()),
        }
    }

    /// The same request once more: what came of it, or another try under the same reference.
    async fn split_again(
        &self,
        who: &Identity,
        request: &SplitCheckRequest,
        known: Split,
    ) -> Result<SplitCheckResponse, Error> {
        if known.request != *request {
            let message = "this request_id was used for another split; choose a new one for a new split";
            return Err(Failure::new(Code::AlreadyExists, "REQUEST_ID_REUSED", message)
                .violation("request_id", "was used with another body")
                .into());
        }
        let Some(answer) = known.answer else {
            let check = self.find(&who.tenant_id, &request.check_id).await?;
            return self.carry_out(&who.tenant_id, check, known, Try::Again).await;
        };
        let mut checks = Vec::with_capacity(answer.checks.len());
        for check in answer.checks {
            checks.push(self.find(&who.tenant_id, &check.check_id).await?);
        }
        Ok(SplitCheckResponse { checks, ..answer })
    }

    /// Takes up the splits of a check that nobody brought to an end.
    pub(super) async fn resume_splits(&self, tenant_id: &Arc<str>, check: &Check) -> Result<(), Error> {
        for split in self.storage().open_splits(tenant_id, &check.check_id).await.map_err(Error::Read)? {
            if split.age > TAKE_UP_WITHIN {
                continue;
            }
            tracing::info!(check.id = %check.check_id, split.id = %split.split_id, "a split is taken up");
            if let Err(error) = self.carry_out(tenant_id, check.clone(), split, Try::Again).await {
                tracing::warn!(%error, check.id = %check.check_id, "a split came to no end");
            }
        }
        Ok(())
    }

    async fn carry_out(
        &self,
        tenant_id: &Arc<str>,
        check: Check,
        split: Split,
        which: Try,
    ) -> Result<SplitCheckResponse, Error> {
        match (self.pos.split(&check, &split).await, which) {
            (SplitAnswer::Done(done), _) => self.record(tenant_id, check, split, done).await,
            (SplitAnswer::Refused(failed), _) | (SplitAnswer::NotAsked(failed), Try::First) => {
                self.storage().end_split(tenant_id, &split, &[], self.interval).await?;
                match failed.cause.as_str() {
                    cause::CHECK_NOT_FOUND => {
                        let check = self.verify(tenant_id, check).await?;
                        if is_open(&check) { Err(unreachable(&failed).into()) } else { Err(has_ended(&check).into()) }
                    }
                    cause::NOT_SUPPORTED => Err(cannot_split(&failed.message).into()),
                    _ => Err(unreachable(&failed).into()),
                }
            }
            // That this call did not reach the POS tells nothing of those before it.
            (SplitAnswer::Unknown(failed) | SplitAnswer::NotAsked(failed), _) => {
                tracing::warn!(check.id = %check.check_id, cause = %failed.cause, "nobody knows whether a check was split");
                Err(outcome_unknown().into())
            }
        }
    }

    async fn record(
        &self,
        tenant_id: &Arc<str>,
        check: Check,
        split: Split,
        done: CheckSplit,
    ) -> Result<SplitCheckResponse, Error> {
        let now = time::now();
        // A part whose bill alone is its own stays on the check that was split.
        let is_new = |reference: &str| !reference.is_empty() && reference != check.pos_check_reference;
        let parts = done.checks.iter().filter(|part| is_new(&part.pos_check_reference));
        let namespace = Uuid::parse_str(&split.split_id).unwrap_or(Uuid::NAMESPACE_OID);
        let new: Vec<Check> = parts
            .map(|part| Check {
                check_id: Uuid::new_v5(&namespace, part.pos_check_reference.as_bytes()).to_string(),
                store_id: check.store_id.clone(),
                table_id: part.table_ids.first().unwrap_or(&check.table_id).clone(),
                state: CheckState::Open.into(),
                business_date: check.business_date.clone(),
                pos_check_reference: part.pos_check_reference.clone(),
                connection_id: check.connection_id.clone(),
                version: 1,
                open_time: Some(now),
                opened_by: "PLATFORM".to_owned(),
                split_from: check.check_id.clone(),
                ..Check::default()
            })
            .collect();
        let answer = SplitCheckResponse {
            checks: std::iter::once(check).chain(new.iter().cloned()).collect(),
            bills: done.checks.into_iter().map(to_bill).collect(),
        };
        let split = Split { answer: Some(answer.clone()), ..split };
        self.storage().end_split(tenant_id, &split, &new, self.interval).await?;
        tracing::info!(check.id = %split.request.check_id, parts = answer.bills.len(), "check split");
        Ok(answer)
    }
}

/// With the step of the staff, where the vendor names one.
fn not_supported(link: &Link, capability: &str) -> Failure {
    let note = link.descriptor.capabilities.iter().find(|c| c.name == capability).map(|c| c.note.as_str());
    cannot_split(note.unwrap_or_default())
}

fn cannot_split(step: &str) -> Failure {
    let step = if step.is_empty() { "ask the staff to split the check at the till" } else { step };
    let message = format!("this POS cannot be told to split a check so: {step}");
    Failure::new(Code::FailedPrecondition, "SPLIT_NOT_SUPPORTED", message).meta("step", step)
}
