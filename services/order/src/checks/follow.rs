//! Doing to our check what the staff did to theirs: moving it to another table, joining it into another one, ending it.

use std::sync::Arc;

use posmesh_kit::{ambient, time};
use posmesh_proto::{
    adapter::v1::PosCheck,
    order::v1::{Check, CheckState},
};

use super::{Checks, FINISH_LEASE, MAX_CONFLICTS, changes_all_the_time, pos::unreachable};
use crate::{
    domain::{
        business_day::business_date,
        visit::{self, Seen, Step, ended, is_open},
    },
    error::Error,
};

/// How many checks a check may have been joined into, one after the other.
const MAX_MERGES: usize = 8;

impl Checks {
    /// Asks the POS about a check that is there, and follows what it says.
    pub(super) async fn verify(&self, tenant_id: &Arc<str>, check: Check) -> Result<Check, Error> {
        if !is_open(&check) || check.pos_check_reference.is_empty() {
            return Ok(check);
        }
        let seen = self.pos.look(&check.store_id, &check.connection_id, &check.pos_check_reference).await;
        self.follow(tenant_id, check, &seen).await
    }

    /// A round was refused because the POS has no such check: finds out what became of it before the next one goes.
    pub(crate) async fn is_gone(&self, tenant_id: &Arc<str>, check_id: &str) {
        let check = match self.find(tenant_id, check_id).await {
            Ok(check) => check,
            Err(error) => return tracing::warn!(%error, check.id = check_id, "a check that is gone could not be read"),
        };
        if let Err(error) = self.verify(tenant_id, check).await {
            tracing::warn!(%error, check.id = check_id, "what became of a check could not be stored");
        }
    }

    /// Does what the POS says to a check that is open here.
    pub(super) async fn follow(&self, tenant_id: &Arc<str>, check: Check, seen: &Seen) -> Result<Check, Error> {
        if let Seen::Unknown(failed) = seen {
            tracing::debug!(check.id = %check.check_id, cause = %failed.cause, "the POS could not be asked");
        }
        let mut check = check;
        for _ in 0..MAX_CONFLICTS {
            if !is_open(&check) {
                return Ok(check);
            }
            let (next, due_in) = match visit::step(&check, seen) {
                Step::Stay => return Ok(check),
                Step::Move(table_id) => (visit::moved(&check, &table_id), self.interval),
                Step::Close => (visit::closed(&check, ended::CLOSED_AT_POS, time::now()), FINISH_LEASE),
                Step::Merge(reference) => match self.target_of(tenant_id, &check, reference).await? {
                    Some(target) => (visit::merged(&check, &target.check_id, time::now()), FINISH_LEASE),
                    None => (visit::closed(&check, ended::CLOSED_AT_POS, time::now()), FINISH_LEASE),
                },
            };
            match self.change(tenant_id, next, due_in).await? {
                Ok(next) => {
                    self.finish_soon(tenant_id, &next);
                    return Ok(next);
                }
                Err(current) => check = *current,
            }
        }
        Err(changes_all_the_time(&check.check_id))
    }

    /// Our check of the one that `check` was joined into at the POS; opened here if guests of the other table have not
    /// done so. `None`: that one is over as well.
    async fn target_of(&self, tenant_id: &Arc<str>, check: &Check, reference: String) -> Result<Option<Check>, Error> {
        let mut reference = reference;
        for _ in 0..MAX_MERGES {
            if let Some(ours) = self.ours_of(tenant_id, &check.connection_id, &reference).await? {
                return Ok(Some(ours));
            }
            match self.pos.look(&check.store_id, &check.connection_id, &reference).await {
                Seen::Open(at_pos) => return self.join(tenant_id, check, &at_pos).await.map(Some),
                Seen::MergedInto(next) => reference = next,
                Seen::Closed => return Ok(None),
                Seen::Unknown(failed) => return Err(unreachable(&failed).into()),
            }
        }
        Ok(None)
    }

    /// The check that is open here for one at the POS.
    pub(super) async fn ours_of(
        &self,
        tenant_id: &str,
        connection_id: &str,
        reference: &str,
    ) -> Result<Option<Check>, Error> {
        let known = self.storage().checks_by_reference(tenant_id, connection_id, &[reference]).await;
        // The oldest one: should two replicas have opened one each, all of them choose the same.
        Ok(known.map_err(Error::Read)?.into_iter().rev().find(is_open))
    }

    /// Opens our check for one that stands at the same POS as `other`.
    async fn join(&self, tenant_id: &Arc<str>, other: &Check, at_pos: &PosCheck) -> Result<Check, Error> {
        let store = self.reader.stores.get(&other.store_id).await?;
        let table_id = at_pos.table_ids.first().unwrap_or(&other.table_id).clone();
        let now_ms = time::now_unix_ms();
        let check = Check {
            check_id: ambient::new_id().to_string(),
            store_id: other.store_id.clone(),
            table_id,
            state: CheckState::Open.into(),
            party_size: at_pos.party_size,
            business_date: business_date(&store, now_ms).unwrap_or_default(),
            pos_check_reference: at_pos.pos_check_reference.clone(),
            connection_id: other.connection_id.clone(),
            version: 1,
            open_time: Some(time::from_unix_ms(now_ms)),
            opened_by: "POS".to_owned(),
            ..Check::default()
        };
        for _ in 0..MAX_CONFLICTS {
            let Some(on_table) = self.storage().open_check(tenant_id, &check, self.interval).await? else {
                return Ok(check);
            };
            if on_table.pos_check_reference == check.pos_check_reference {
                return Ok(on_table);
            }
            // Guests sat down there and have not ordered yet.
            match self.adopt(tenant_id, &on_table, at_pos, &other.connection_id).await? {
                Ok(adopted) => return Ok(adopted),
                Err(current) if current.pos_check_reference == check.pos_check_reference => return Ok(*current),
                Err(_) => {}
            }
        }
        Err(changes_all_the_time(&format!("on table {}", check.table_id)))
    }

    /// Notes what the POS calls a check of which nothing was there until now. The check is not lost if that fails: its next
    /// round, or the sweep, learns it again.
    pub(crate) async fn note_reference(&self, tenant_id: &str, check_id: &str, reference: &str, connection_id: &str) {
        let noted = async {
            let mut check = self.find(tenant_id, check_id).await?;
            for _ in 0..MAX_CONFLICTS {
                if !check.pos_check_reference.is_empty() {
                    return Ok(());
                }
                let next = Check {
                    version: check.version + 1,
                    pos_check_reference: reference.to_owned(),
                    connection_id: connection_id.to_owned(),
                    ..check
                };
                match self.change(tenant_id, next, self.interval).await? {
                    Ok(_) => return Ok(()),
                    Err(current) => check = *current,
                }
            }
            Err(changes_all_the_time(check_id))
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, check.id = check_id, "what the POS calls a check could not be stored");
        }
    }

    /// Makes a check of which nothing is at the POS yet that of one which the staff opened.
    pub(super) async fn adopt(
        &self,
        tenant_id: &str,
        check: &Check,
        at_pos: &PosCheck,
        connection_id: &str,
    ) -> Result<Result<Check, Box<Check>>, Error> {
        let next = Check {
            version: check.version + 1,
            pos_check_reference: at_pos.pos_check_reference.clone(),
            connection_id: connection_id.to_owned(),
            party_size: if check.party_size > 0 { check.party_size } else { at_pos.party_size },
            ..check.clone()
        };
        self.change(tenant_id, next, self.interval).await
    }
}
