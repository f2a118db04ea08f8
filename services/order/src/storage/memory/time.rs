//! Pickup slots, ends by time, and turns of rounds.

use std::{sync::Arc, time::Duration};

use posmesh_proto::order::v1::{Order, OrderState};
use prost_types::Timestamp;

use super::{MemoryStorage, State, check_key, key};
use crate::storage::{
    NewOrder, StorageError, TimeStorage, Turn, TurnTaken,
    gates::awaited,
    time::{self, Decided, Slots, slot_key},
};

#[tonic::async_trait]
impl TimeStorage for MemoryStorage {
    async fn now_ms(&self) -> Result<Option<i64>, StorageError> {
        Ok(None)
    }

    async fn pickups(
        &self,
        tenant_id: &str,
        store_id: &str,
        from_ms: i64,
        until_ms: i64,
    ) -> Result<Vec<(i64, i64)>, StorageError> {
        let state = self.state();
        let mut pickups: Vec<(i64, i64)> = Vec::new();
        for pickup_ms in state.pickups(tenant_id, store_id).filter(|at_ms| (from_ms..until_ms).contains(at_ms)) {
            match pickups.iter_mut().find(|(at_ms, _)| *at_ms == pickup_ms) {
                Some((_, count)) => *count += 1,
                None => pickups.push((pickup_ms, 1)),
            }
        }
        Ok(pickups)
    }

    async fn forget_pickups(&self, before_ms: i64) -> Result<u64, StorageError> {
        let mut forgotten = 0;
        for row in self.state().orders.values_mut() {
            forgotten += u64::from(row.pickup_ms.take_if(|pickup_ms| *pickup_ms < before_ms).is_some());
        }
        Ok(forgotten)
    }

    async fn complete_due(&self, limit: usize, now: Timestamp) -> Result<Vec<(Arc<str>, Order)>, StorageError> {
        let at = self.clock.now();
        let mut state = self.state();
        let has_it =
            |order: &Order| matches!(order.state(), OrderState::Placed | OrderState::InPreparation | OrderState::Ready);
        let mut over: Vec<_> = state
            .orders
            .iter_mut()
            .filter(|(_, row)| {
                has_it(&row.order) && (row.due.is_none() || !row.is_leased && awaited(&row.order).is_some())
            })
            .filter_map(|(id, row)| Some((row.complete.filter(|over| *over <= at)?, id, row)))
            .collect();
        over.sort_by_key(|(over, ..)| *over);
        let complete = |(_, (tenant_id, _), row): (Duration, &super::Key, &mut super::OrderRow)| {
            row.order = time::complete(row.order.clone(), now)?;
            row.due = time::due_after_end(&row.order).map(|due_in| at + due_in);
            Some((tenant_id.as_str().into(), row.order.clone()))
        };
        Ok(over.into_iter().take(limit).filter_map(complete).collect())
    }

    async fn take_turn(&self, turn: Turn) -> Result<TurnTaken, StorageError> {
        self.state().take_turn(self.clock.now(), &turn)
    }
}

impl State {
    /// When the store's orders are picked up that hold a place.
    fn pickups(&self, tenant_id: &str, store_id: &str) -> impl Iterator<Item = i64> {
        let counts = |order: &Order| {
            !matches!(order.state(), OrderState::Rejected | OrderState::Expired | OrderState::Cancelled)
        };
        let of_store = self.orders.iter().filter(move |(id, row)| id.0 == tenant_id && row.order.store_id == store_id);
        of_store.filter(move |(_, row)| counts(&row.order)).filter_map(|(_, row)| row.pickup_ms)
    }

    pub(super) fn count_slot(&self, new: &NewOrder) -> Slots {
        let count = |(key, place): (time::SlotKey, time::SlotPlace)| {
            let taken = self.pickups(&key.0, &key.1).filter(|at_ms| (place.start_ms..place.end_ms).contains(at_ms));
            let taken = i64::try_from(taken.count()).unwrap_or(i64::MAX);
            (key, taken)
        };
        slot_key(new).map(count).into_iter().collect()
    }

    fn take_turn(&mut self, now: Duration, turn: &Turn) -> Result<TurnTaken, StorageError> {
        let (tenant_id, order) = (&turn.tenant_id, &turn.order);
        let id = key(tenant_id, &order.order_id);
        let Some(current) = self.orders.get(&id).map(|row| &row.order) else { return Ok(TurnTaken::Missing) };
        if current.version != order.version {
            return Ok(TurnTaken::Conflict(Box::new(current.clone())));
        }
        let Some(row) = self.checks.get_mut(&check_key(tenant_id, &order.check_id)) else {
            return Ok(TurnTaken::Missing);
        };
        let holder = row.in_flight.as_ref().and_then(|holder| self.orders.get(&key(tenant_id, holder)));
        let is_first = !self.orders.iter().any(|((tenant, _), other)| {
            let other = &other.order;
            **tenant == **tenant_id
                && other.check_id == order.check_id
                && matches!(other.state(), OrderState::Pending | OrderState::Held)
                && other.round < order.round
        });
        let Decided { order, due_in, begun } = time::decide(turn, row, holder.map(|row| &row.order), is_first)?;
        let check = row.check.clone();
        if let Some(row) = self.orders.get_mut(&id) {
            row.order = order.clone();
            row.due = Some(now + due_in);
        }
        Ok(if begun { TurnTaken::Begun(Box::new((order, check))) } else { TurnTaken::Waits(Box::new(order)) })
    }
}
