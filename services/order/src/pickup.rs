//! Pickup times: which ones are offered, and what is refused with the next one that is free.

use std::collections::HashMap;

use posmesh_kit::{Failure, call::Identity, time};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{ListPickupSlotsRequest, OrderPurpose, PickupSlot},
    store::v1::{ProductPolicy, Store},
};
use tonic::Code;

use crate::{
    domain::{
        accept::{self, MAX_PICKUP_AHEAD_MS},
        business_day::{business_date, end_of_day_ms},
        pickup::{Kitchen, NotThen, Ready},
    },
    error::Error,
    place::{Orders, time_zone_unknown},
    storage::SlotPlace,
};

/// Longer than any slot: places of a slot that began before the time asked for count as well.
const LONGEST_SLOT_MS: i64 = 4 * 3600 * 1000;
const DEFAULT_SLOTS: usize = 20;
const MAX_SLOTS: usize = 200;
/// As many as an order has lines.
const MAX_ITEMS: usize = 500;

/// What a pickup time means for an order.
#[derive(Debug)]
pub(crate) struct Pickup {
    pub(crate) kitchen: Kitchen,
    pub(crate) at_ms: i64,
    /// When it goes to the POS, if not at once.
    pub(crate) fire_ms: Option<i64>,
    /// The place that it needs, where places are counted.
    pub(crate) slot: Option<SlotPlace>,
}

/// The kitchen of a store, for these items.
pub(crate) fn kitchen<'a>(
    store: &Store,
    policy: &ProductPolicy,
    item_ids: impl IntoIterator<Item = &'a str>,
) -> Result<Kitchen, Failure> {
    Kitchen::new(store, policy, item_ids).ok_or_else(|| time_zone_unknown(store))
}

impl Orders {
    /// What a pickup time means for an order that comes now; refused where the kitchen cannot make it.
    pub(crate) async fn pickup(
        &self,
        who: &Identity,
        store: &Store,
        kitchen: Kitchen,
        at_ms: i64,
        now_ms: i64,
    ) -> Result<Pickup, Error> {
        if let Err(not_then) = kitchen.check(at_ms, now_ms) {
            let from_ms = if not_then == NotThen::Closed { at_ms } else { now_ms };
            let next_ms = self.next_free(who, store, &kitchen, now_ms, from_ms).await?;
            let (reason, why) = match not_then {
                NotThen::Closed => ("PICKUP_OUTSIDE_HOURS", "the store is closed then"),
                NotThen::TooEarly => ("PICKUP_TOO_EARLY", "the kitchen cannot make it by then"),
            };
            return Err(refused(reason, why, &kitchen, next_ms).into());
        }
        let slot = kitchen.capacity().and_then(|capacity| {
            let slot = kitchen.slot_at(at_ms)?;
            Some(SlotPlace { pickup_ms: at_ms, start_ms: slot.start_ms, end_ms: slot.end_ms, capacity })
        });
        let fire_ms = kitchen.fire_ms(at_ms).filter(|fire_ms| *fire_ms > now_ms);
        Ok(Pickup { kitchen, at_ms, fire_ms, slot })
    }

    /// The refusal of an order whose slot is full.
    pub(crate) async fn slot_full(&self, who: &Identity, store: &Store, pickup: &Pickup) -> Error {
        let now_ms = time::now_unix_ms();
        match self.next_free(who, store, &pickup.kitchen, now_ms, pickup.at_ms).await {
            Ok(next_ms) => {
                refused("PICKUP_SLOT_FULL", "that time is taken by other orders", &pickup.kitchen, next_ms).into()
            }
            Err(error) => error,
        }
    }

    /// The earliest pickup time from `from_ms` on that is free for an order that comes now.
    pub(crate) async fn next_free(
        &self,
        who: &Identity,
        store: &Store,
        kitchen: &Kitchen,
        now_ms: i64,
        from_ms: i64,
    ) -> Result<Option<i64>, Error> {
        let until_ms = now_ms.saturating_add(MAX_PICKUP_AHEAD_MS);
        let free = self.free(who, store, kitchen, now_ms, (from_ms, until_ms)).await?.next();
        Ok(free.map(|(ready, _)| ready.at_ms))
    }

    /// The pickup times of this business day that are free, earliest first.
    pub(crate) async fn pickup_slots(
        &self,
        who: &Identity,
        store: &Store,
        request: &ListPickupSlotsRequest,
    ) -> Result<Vec<PickupSlot>, Error> {
        let limit = match request.limit {
            0 => DEFAULT_SLOTS,
            limit => usize::try_from(limit).ok().filter(|limit| *limit <= MAX_SLOTS).ok_or_else(|| {
                Failure::field("OUT_OF_RANGE", "limit", format!("must be 1 to {MAX_SLOTS}, or 0 for {DEFAULT_SLOTS}"))
            })?,
        };
        if request.item_ids.len() > MAX_ITEMS {
            return Err(Failure::field("TOO_MANY", "item_ids", format!("at most {MAX_ITEMS} are looked at")).into());
        }
        // A rehearsal may ask as well.
        let policy = accept::policy(store, Product::ToGo, OrderPurpose::Test)?;
        let kitchen = kitchen(store, policy, request.item_ids.iter().map(String::as_str))?;
        let now_ms = time::now_unix_ms();
        let end_ms = business_date(store, now_ms).and_then(|date| end_of_day_ms(store, &date));
        let end_ms = end_ms.ok_or_else(|| time_zone_unknown(store))?;
        let free = self.free(who, store, &kitchen, now_ms, (now_ms, end_ms)).await?;
        let to_slot = |(ready, free): (Ready, i64)| PickupSlot {
            pickup_time: Some(time::from_unix_ms(ready.at_ms)),
            free: i32::try_from(free).unwrap_or(i32::MAX),
        };
        Ok(free.take(limit).map(to_slot).collect())
    }

    /// Slots with a place left, and how many; 0 where no limit is set.
    async fn free(
        &self,
        who: &Identity,
        store: &Store,
        kitchen: &Kitchen,
        now_ms: i64,
        (from_ms, until_ms): (i64, i64),
    ) -> Result<impl Iterator<Item = (Ready, i64)> + use<>, Error> {
        let mut taken: HashMap<i64, i64> = HashMap::new();
        let capacity = kitchen.capacity();
        if capacity.is_some() {
            let storage = &self.ledger.storage;
            let (first_ms, last_ms) = (from_ms - LONGEST_SLOT_MS, until_ms + LONGEST_SLOT_MS);
            let pickups = storage.pickups(&who.tenant_id, &store.store_id, first_ms, last_ms).await;
            for (at_ms, count) in pickups.map_err(Error::Read)? {
                if let Some(slot) = kitchen.slot_at(at_ms) {
                    *taken.entry(slot.start_ms).or_default() += count;
                }
            }
        }
        let with_free = move |ready: Ready| {
            let Some(capacity) = capacity else { return Some((ready, 0)) };
            let free = capacity - taken.get(&ready.slot.start_ms).copied().unwrap_or(0);
            (free > 0).then_some((ready, free))
        };
        Ok(kitchen.ready(now_ms, from_ms, until_ms).filter_map(with_free))
    }
}

fn refused(reason: &str, why: &str, kitchen: &Kitchen, next_ms: Option<i64>) -> Failure {
    let next = next_ms.and_then(|next_ms| kitchen.local_time(next_ms));
    let message = match &next {
        Some(next) => format!("{why}; the next pickup time that is free is {next}"),
        None => format!("{why}, and no other time of the next 7 days is free"),
    };
    let failure = Failure::new(Code::FailedPrecondition, reason, &message).violation("pickup_time", message);
    match next {
        Some(next) => failure.meta("next_pickup_time", next),
        None => failure,
    }
}
