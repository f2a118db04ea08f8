//! When a ToGo order can be picked up, and when the kitchen must have it: by the time that it needs, the store's hours
//! and the slots of the day.

use std::time::Duration;

use jiff::{Timestamp, civil::Date};
use posmesh_kit::{hours::Hours, time::from_proto_duration};
use posmesh_proto::store::v1::{ProductPolicy, Store};

const DEFAULT_SLOT: Duration = Duration::from_secs(600);
/// What a guest takes from the quote to the order: so much later than quoted an order still counts as in time.
const CHECKOUT: Duration = Duration::from_secs(300);
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// How a store makes what is picked up. All moments are milliseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub(crate) struct Kitchen {
    hours: Hours,
    /// `None`: orders go to the POS at once, whatever their pickup time.
    preparation_ms: Option<i64>,
    slot_ms: i64,
    /// 0: no limit.
    per_slot: i64,
}

/// A stretch of time in which so many orders are picked up. Its start is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) start_ms: i64,
    /// Exclusive.
    pub(crate) end_ms: i64,
}

/// A slot with the first moment of it at which an order can be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) slot: Slot,
    pub(crate) at_ms: i64,
}

/// Why an order cannot be picked up then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotThen {
    /// The store is closed.
    Closed,
    /// The kitchen cannot make it by then.
    TooEarly,
}

impl Kitchen {
    /// For an order of these items. `None` when the store's time zone is unknown here.
    pub(crate) fn new<'a>(
        store: &Store,
        policy: &ProductPolicy,
        item_ids: impl IntoIterator<Item = &'a str>,
    ) -> Option<Self> {
        let of_items = item_ids.into_iter().filter_map(|id| policy.item_preparation_times.get(id));
        let times = of_items.chain(&policy.preparation_time).filter_map(from_proto_duration);
        let slot = policy.pickup_slot.as_ref().and_then(from_proto_duration).filter(|slot| !slot.is_zero());
        Some(Self {
            hours: Hours::of(store)?,
            preparation_ms: times.max().map(millis),
            slot_ms: millis(slot.unwrap_or(DEFAULT_SLOT)).max(MINUTE_MS),
            per_slot: i64::from(policy.orders_per_slot.max(0)),
        })
    }

    /// Orders that a slot takes. `None`: no limit is set.
    pub(crate) fn capacity(&self) -> Option<i64> {
        (self.per_slot > 0).then_some(self.per_slot)
    }

    /// When an order goes to the POS to be ready at `pickup_ms`. `None`: at once.
    pub(crate) fn fire_ms(&self, pickup_ms: i64) -> Option<i64> {
        self.preparation_ms.map(|preparation_ms| pickup_ms.saturating_sub(preparation_ms))
    }

    /// Whether an order that comes now can be picked up then, but for the slots' capacity.
    pub(crate) fn check(&self, pickup_ms: i64, now_ms: i64) -> Result<(), NotThen> {
        let open = self.hours.open(pickup_ms, pickup_ms.saturating_add(1));
        let (opened_ms, _) =
            *open.iter().find(|(from, until)| (*from..*until).contains(&pickup_ms)).ok_or(NotThen::Closed)?;
        let preparation_ms = self.preparation_ms.unwrap_or(0);
        let grace_ms = self.slot_ms.min(millis(CHECKOUT));
        let is_late = pickup_ms.saturating_add(grace_ms) < now_ms.saturating_add(preparation_ms);
        if is_late || pickup_ms < opened_ms.saturating_add(preparation_ms) {
            return Err(NotThen::TooEarly);
        }
        Ok(())
    }

    /// The slot that a moment belongs to. Slots begin at the local midnight and go on by elapsed time, so that each
    /// moment is in one, also on the days on which the clocks are set; the last one of a day may be shorter.
    pub(crate) fn slot_at(&self, unix_ms: i64) -> Option<Slot> {
        let date = Timestamp::from_millisecond(unix_ms).ok()?.to_zoned(self.hours.zone().clone()).date();
        let (day_ms, next_day_ms) = (self.midnight(date)?, self.midnight(date.tomorrow().ok()?)?);
        let start_ms = day_ms + (unix_ms - day_ms).div_euclid(self.slot_ms) * self.slot_ms;
        Some(Slot { start_ms, end_ms: (start_ms + self.slot_ms).min(next_day_ms) })
    }

    /// The slots in which an order that comes at `now_ms` can be ready, from that of `from_ms` on, until `until_ms`.
    pub(crate) fn ready(&self, now_ms: i64, from_ms: i64, until_ms: i64) -> impl Iterator<Item = Ready> + use<> {
        let preparation_ms = self.preparation_ms.unwrap_or(0);
        let earliest_ms = now_ms.saturating_add(preparation_ms);
        let from_ms = from_ms.max(earliest_ms);
        let windows = self.hours.open(from_ms - DAY_MS, until_ms);
        let windows: Vec<(i64, i64)> =
            windows.into_iter().map(|(open, close)| (open.saturating_add(preparation_ms), close)).collect();
        let kitchen = self.clone();
        let first = self.slot_at(from_ms);
        let slots = std::iter::successors(first, move |slot| kitchen.slot_at(slot.end_ms));
        slots.take_while(move |slot| slot.start_ms < until_ms).filter_map(move |slot| {
            let at_ms = windows.iter().find_map(|(from, until)| {
                let at_ms = whole_minute(slot.start_ms.max(earliest_ms).max(*from));
                (at_ms < slot.end_ms.min(*until)).then_some(at_ms)
            })?;
            Some(Ready { slot, at_ms })
        })
    }

    /// As the store's guests read it: RFC 3339 with the store's offset.
    pub(crate) fn local_time(&self, unix_ms: i64) -> Option<String> {
        let local = Timestamp::from_millisecond(unix_ms).ok()?.to_zoned(self.hours.zone().clone());
        Some(local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
    }

    fn midnight(&self, date: Date) -> Option<i64> {
        Some(date.to_zoned(self.hours.zone().clone()).ok()?.timestamp().as_millisecond())
    }
}

fn whole_minute(unix_ms: i64) -> i64 {
    unix_ms.saturating_add(MINUTE_MS - 1).div_euclid(MINUTE_MS) * MINUTE_MS
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
