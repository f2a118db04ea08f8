//! Gates.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use posmesh_proto::order::v1::{OrderState, Pause};

use super::{MemoryStorage, State, key};
use crate::storage::{
    GateFacts, GateStorage, HeldOrders, LetThrough, Offline, Pace, Probation, ProbationClaim, StorageError, Troubled,
    gates::{OPENED_SHOWN, awaited, decide, holder_state, troubled_since_ms},
};

/// A probation, with when its order was let through and when it ended.
#[derive(Debug)]
pub(super) struct ProbationRow {
    probation: Probation,
    claimed: Duration,
    opened: Option<Duration>,
}

#[tonic::async_trait]
impl GateStorage for MemoryStorage {
    async fn gate_facts(&self) -> Result<GateFacts, StorageError> {
        let now = self.clock.now();
        let state = self.state();
        let mut troubled: BTreeMap<(&str, &str, i32), i64> = BTreeMap::new();
        let mut held: BTreeMap<(&str, &str, &str), (i64, i64)> = BTreeMap::new();
        for ((tenant_id, _), row) in &state.orders {
            let order = &row.order;
            let is_recent = super::created_ms(order) >= troubled_since_ms();
            if is_recent && matches!(order.state(), OrderState::Pending | OrderState::InDoubt) {
                *troubled.entry((tenant_id, &order.store_id, order.state)).or_default() += 1;
            }
            if let Some(connection_id) = awaited(order) {
                let (held, entries) = held.entry((tenant_id, &order.store_id, connection_id)).or_default();
                *(if order.state() == OrderState::Held { held } else { entries }) += 1;
            }
        }
        let troubled = troubled.into_iter().map(|((tenant_id, store_id, state), count)| Troubled {
            tenant_id: tenant_id.into(),
            store_id: store_id.to_owned(),
            state: OrderState::try_from(state).unwrap_or_default(),
            count,
        });
        let held = held.into_iter().map(|((tenant_id, store_id, connection_id), (count, entries))| HeldOrders {
            tenant_id: tenant_id.into(),
            store_id: store_id.to_owned(),
            connection_id: connection_id.to_owned(),
            count,
            entries,
        });
        let pauses = state.pauses.iter().map(|((tenant_id, _), pause)| (Arc::from(tenant_id.as_str()), pause.clone()));
        let is_shown = |row: &&ProbationRow| {
            let is_open = row.probation.opened_version >= row.probation.offline.version;
            !is_open || row.opened.is_some_and(|opened| now.saturating_sub(opened) < OPENED_SHOWN)
        };
        let probations = state.probations.values().filter(is_shown).map(|row| state.with_holder(row, now));
        Ok(GateFacts {
            troubled: troubled.collect(),
            held: held.collect(),
            pauses: pauses.collect(),
            probations: probations.collect(),
        })
    }

    async fn release_held(&self, tenant_id: &str, connection_id: &str, pace: Pace) -> Result<(), StorageError> {
        let now = self.clock.now();
        let mut state = self.state();
        let waits = |(tenant, _): &super::Key, row: &super::OrderRow| {
            tenant == tenant_id && awaited(&row.order) == Some(connection_id)
        };
        let mut waiting: Vec<_> = state.orders.iter_mut().filter(|(key, row)| waits(key, row)).collect();
        waiting.sort_by_key(|((_, order_id), row)| (super::created_ms(&row.order), order_id.clone()));
        let mut due = now + pace.first_in;
        for (_, row) in waiting.into_iter().take(pace.limit) {
            if !row.is_leased {
                row.due = Some(row.due.map_or(due, |before| before.min(due)));
            }
            due += pace.gap;
        }
        Ok(())
    }

    async fn note_offline(&self, offline: &[Offline]) -> Result<(), StorageError> {
        let mut state = self.state();
        offline.iter().for_each(|offline| state.note_offline(offline));
        Ok(())
    }

    async fn claim_probation(&self, claim: &ProbationClaim) -> Result<LetThrough, StorageError> {
        let now = self.clock.now();
        let mut state = self.state();
        state.note_offline(&claim.offline);
        let id = key(&claim.offline.tenant_id, &claim.offline.connection_id);
        let Some(row) = state.probations.get(&id) else {
            return Err(StorageError::Refused("a connection's probation is gone".to_owned()));
        };
        let mut probation = state.with_holder(row, now);
        let decided = decide(&mut probation, claim);
        if let Some(row) = state.probations.get_mut(&id) {
            if probation.opened_version != row.probation.opened_version {
                row.opened = Some(now);
            }
            if decided == LetThrough::Alone {
                row.claimed = now;
            }
            row.probation = probation;
        }
        Ok(decided)
    }

    async fn give_back_probation(&self, claim: &ProbationClaim) -> Result<(), StorageError> {
        let id = key(&claim.offline.tenant_id, &claim.offline.connection_id);
        if let Some(row) = self.state().probations.get_mut(&id) {
            row.probation.holder = row.probation.holder.take().filter(|holder| holder.order_id != claim.order_id);
        }
        Ok(())
    }

    async fn open_probation(&self, offline: &Offline) -> Result<(), StorageError> {
        let now = self.clock.now();
        let id = key(&offline.tenant_id, &offline.connection_id);
        if let Some(row) = self.state().probations.get_mut(&id)
            && row.probation.opened_version < offline.version
        {
            row.probation.opened_version = offline.version;
            row.opened = Some(now);
        }
        Ok(())
    }

    async fn put_pause(&self, tenant_id: &str, pause: &Pause) -> Result<(), StorageError> {
        self.state().pauses.insert(key(tenant_id, &pause.store_id), pause.clone());
        Ok(())
    }

    async fn end_pause(&self, tenant_id: &str, store_id: &str) -> Result<(), StorageError> {
        self.state().pauses.remove(&key(tenant_id, store_id));
        Ok(())
    }

    async fn forget_pause(&self, tenant_id: &str, pause: &Pause) -> Result<(), StorageError> {
        let id = key(tenant_id, &pause.store_id);
        let mut state = self.state();
        if state.pauses.get(&id) == Some(pause) {
            state.pauses.remove(&id);
        }
        Ok(())
    }
}

impl State {
    fn note_offline(&mut self, offline: &Offline) {
        let new = || ProbationRow {
            probation: Probation { offline: offline.clone(), opened_version: 0, holder: None },
            claimed: Duration::ZERO,
            opened: None,
        };
        let id = key(&offline.tenant_id, &offline.connection_id);
        let row = self.probations.entry(id).or_insert_with(new);
        row.probation.offline.version = row.probation.offline.version.max(offline.version);
    }

    /// With the state that its order has now.
    fn with_holder(&self, row: &ProbationRow, now: Duration) -> Probation {
        let mut probation = row.probation.clone();
        if let Some(holder) = &mut probation.holder {
            let order = self.orders.get(&key(&probation.offline.tenant_id, &holder.order_id));
            holder.state = order.map(|row| holder_state(row.order.state(), row.due.is_some()));
            holder.age = now.saturating_sub(row.claimed);
        }
        probation
    }
}
