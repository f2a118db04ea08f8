//! Checks, one at a time.

use std::time::Duration;

use posmesh_proto::order::v1::Check;

use super::{MemoryStorage, check_key, key};
use crate::domain::visit::is_open;
use crate::storage::{CheckChanged, CheckFilter, CheckStorage, DueCheck, Split, StorageError, rounds::CheckRow, rows};

impl CheckFilter {
    fn takes(&self, check: &Check) -> bool {
        check.store_id == self.store_id
            && (self.table_id.is_empty() || check.table_id == self.table_id)
            && (self.states.is_empty() || self.states.contains(&check.state()))
            && self.after.as_ref().is_none_or(|after| (opened_ms(check), &check.check_id) < (after.0, &after.1))
    }
}

fn opened_ms(check: &Check) -> i64 {
    rows::unix_ms(check.open_time.as_ref())
}

fn newest_first(checks: &mut [Check]) {
    checks.sort_by(|a, b| (opened_ms(b), &b.check_id).cmp(&(opened_ms(a), &a.check_id)));
}

/// Whether the POS tells two checks apart.
fn are_apart(a: &Check, b: &Check) -> bool {
    let (a, b) = (&a.pos_check_reference, &b.pos_check_reference);
    !a.is_empty() && !b.is_empty() && a != b
}

impl MemoryStorage {
    fn checks_where(&self, tenant_id: &str, takes: impl Fn(&Check) -> bool) -> Vec<Check> {
        let state = self.state();
        let of_tenant = state.checks.iter().filter(|(id, _)| *id.0 == *tenant_id).map(|(_, row)| &row.check);
        let mut checks: Vec<Check> = of_tenant.filter(|check| takes(check)).cloned().collect();
        newest_first(&mut checks);
        checks
    }
}

#[tonic::async_trait]
impl CheckStorage for MemoryStorage {
    async fn open_check(
        &self,
        tenant_id: &str,
        check: &Check,
        due_in: Duration,
    ) -> Result<Option<Check>, StorageError> {
        let mut state = self.state();
        let on_table = |(id, row): &(&(std::sync::Arc<str>, String), &CheckRow)| {
            *id.0 == *tenant_id
                && is_open(&row.check)
                && (&row.check.store_id, &row.check.table_id) == (&check.store_id, &check.table_id)
                && !are_apart(&row.check, check)
        };
        let newest = state.checks.iter().filter(on_table).map(|(_, row)| &row.check);
        if let Some(check) = newest.max_by_key(|check| (opened_ms(check), check.check_id.clone())) {
            return Ok(Some(check.clone()));
        }
        state.due_checks.insert(key(tenant_id, &check.check_id), self.clock.now() + due_in);
        let row = CheckRow { check: check.clone(), in_flight: None };
        state.checks.insert(check_key(tenant_id, &check.check_id), row);
        Ok(None)
    }

    async fn check(&self, tenant_id: &str, check_id: &str) -> Result<Option<Check>, StorageError> {
        Ok(self.state().checks.get(&check_key(tenant_id, check_id)).map(|row| row.check.clone()))
    }

    async fn checks(&self, tenant_id: &str, filter: &CheckFilter) -> Result<Vec<Check>, StorageError> {
        let mut checks = self.checks_where(tenant_id, |check| filter.takes(check));
        checks.truncate(filter.limit);
        Ok(checks)
    }

    async fn checks_by_reference(
        &self,
        tenant_id: &str,
        connection_id: &str,
        references: &[&str],
    ) -> Result<Vec<Check>, StorageError> {
        let stands_for = |check: &Check| {
            check.connection_id == connection_id && references.contains(&check.pos_check_reference.as_str())
        };
        Ok(self.checks_where(tenant_id, stands_for))
    }

    async fn change_check(
        &self,
        tenant_id: &str,
        check: &Check,
        due_in: Duration,
    ) -> Result<CheckChanged, StorageError> {
        let mut state = self.state();
        let Some(row) = state.checks.get_mut(&check_key(tenant_id, &check.check_id)) else {
            return Ok(CheckChanged::Missing);
        };
        if row.check.version != check.version - 1 {
            return Ok(CheckChanged::Conflict(Box::new(row.check.clone())));
        }
        row.check = Check { rounds: row.check.rounds, ..check.clone() };
        state.due_checks.insert(key(tenant_id, &check.check_id), self.clock.now() + due_in);
        Ok(CheckChanged::Done)
    }

    async fn has_round_in_flight(&self, tenant_id: &str, check_id: &str) -> Result<bool, StorageError> {
        Ok(self.state().checks.get(&check_key(tenant_id, check_id)).is_some_and(|row| row.in_flight.is_some()))
    }

    async fn claim_due_checks(&self, lease: Duration, limit: usize) -> Result<Vec<DueCheck>, StorageError> {
        let mut state = self.state();
        let now = self.clock.now();
        let mut due: Vec<_> =
            state.due_checks.iter().filter(|(_, at)| **at <= now).map(|(id, at)| (*at, id.clone())).collect();
        due.sort();
        due.truncate(limit);
        let mut claimed = Vec::with_capacity(due.len());
        for (_, id) in due {
            if let Some(row) = state.checks.get(&check_key(&id.0, &id.1)) {
                claimed.push(DueCheck { tenant_id: id.0.as_str().into(), check: row.check.clone() });
            }
            state.due_checks.insert(id, now + lease);
        }
        Ok(claimed)
    }

    async fn put_off_checks(
        &self,
        tenant_id: &str,
        checks: &[(&str, i64)],
        due_in: Option<Duration>,
    ) -> Result<(), StorageError> {
        let mut state = self.state();
        for (check_id, version) in checks {
            if state.checks.get(&check_key(tenant_id, check_id)).is_none_or(|row| row.check.version != *version) {
                continue;
            }
            match due_in {
                Some(due_in) => state.due_checks.insert(key(tenant_id, check_id), self.clock.now() + due_in),
                None => state.due_checks.remove(&key(tenant_id, check_id)),
            };
        }
        Ok(())
    }

    async fn begin_split(
        &self,
        tenant_id: &str,
        caller: &str,
        split: &Split,
        lease: Duration,
    ) -> Result<Option<Split>, StorageError> {
        let (mut state, now) = (self.state(), self.clock.now());
        let request = (tenant_id.to_owned(), caller.to_owned(), split.request.request_id.clone());
        if let Some(known) = state.splits.get(&request) {
            return Ok(Some(aged(known, now)));
        }
        state.splits.insert(request, (split.clone(), now));
        let due = state.due_checks.entry(key(tenant_id, &split.request.check_id)).or_insert(now + lease);
        *due = (*due).min(now + lease);
        Ok(None)
    }

    async fn split(&self, tenant_id: &str, caller: &str, request_id: &str) -> Result<Option<Split>, StorageError> {
        let request = (tenant_id.to_owned(), caller.to_owned(), request_id.to_owned());
        Ok(self.state().splits.get(&request).map(|known| aged(known, self.clock.now())))
    }

    async fn open_splits(&self, tenant_id: &str, check_id: &str) -> Result<Vec<Split>, StorageError> {
        let state = self.state();
        let of_check = state.splits.iter().filter(|(request, (split, _))| {
            request.0 == tenant_id && split.request.check_id == check_id && split.answer.is_none()
        });
        Ok(of_check.map(|(_, split)| aged(split, self.clock.now())).collect())
    }

    async fn end_split(
        &self,
        tenant_id: &str,
        split: &Split,
        new: &[Check],
        due_in: Duration,
    ) -> Result<(), StorageError> {
        let (mut state, now) = (self.state(), self.clock.now());
        let is_it = |request: &(String, String, String), known: &Split| {
            request.0 == tenant_id && known.split_id == split.split_id && known.answer.is_none()
        };
        match &split.answer {
            Some(answer) => {
                if let Some((_, (known, _))) =
                    state.splits.iter_mut().find(|(request, (known, _))| is_it(request, known))
                {
                    known.answer = Some(answer.clone());
                }
            }
            None => state.splits.retain(|request, (known, _)| !is_it(request, known)),
        }
        for check in new {
            let id = check_key(tenant_id, &check.check_id);
            if !state.checks.contains_key(&id) {
                state.due_checks.insert(key(tenant_id, &check.check_id), now + due_in);
                state.checks.insert(id, CheckRow { check: check.clone(), in_flight: None });
            }
        }
        Ok(())
    }
}

fn aged((split, begun): &(Split, Duration), now: Duration) -> Split {
    Split { age: now.saturating_sub(*begun), ..split.clone() }
}
