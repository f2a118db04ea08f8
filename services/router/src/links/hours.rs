//! Which stores are open, or about to open.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use posmesh_kit::{
    hours::{Hours, Opening},
    store_cache::StoreCache,
};
use posmesh_proto::store::v1::Store;

/// So long before a store opens its link is looked at again: time to mend what is broken.
const CHECK_BEFORE_MS: i64 = 30 * 60_000;
/// What has no end in sight is looked at again after this.
const LOOK_AGAIN_MS: i64 = 3_600_000;

/// What was found of one store.
#[derive(Debug)]
struct Found {
    store: Arc<Store>,
    awake: bool,
    /// It holds within these times.
    from_ms: i64,
    until_ms: i64,
}

/// The opening hours of the stores, as far as they are known.
#[derive(Debug)]
pub(super) struct OpeningTimes {
    /// `None`: nobody can be asked; every store counts as open.
    stores: Option<StoreCache>,
    found: Mutex<BTreeMap<String, Found>>,
}

impl OpeningTimes {
    pub(super) fn new(stores: Option<StoreCache>) -> Self {
        Self { stores, found: Mutex::default() }
    }

    /// Whether the links of a store are of interest now. `None`: the store is not known yet.
    pub(super) fn is_awake(&self, store_id: &str, now_ms: i64) -> Option<bool> {
        let Some(stores) = &self.stores else { return Some(true) };
        let store = stores.cached(store_id)?;
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = found.get(store_id)
            && Arc::ptr_eq(&known.store, &store)
            && (known.from_ms..known.until_ms).contains(&now_ms)
        {
            return Some(known.awake);
        }
        let (awake, until_ms) = awake(&store, now_ms);
        found.insert(store_id.to_owned(), Found { store, awake, from_ms: now_ms, until_ms });
        Some(awake)
    }
}

/// Whether a store's links are of interest at a moment, and until when that is so.
fn awake(store: &Store, now_ms: i64) -> (bool, i64) {
    let later = now_ms.saturating_add(LOOK_AGAIN_MS);
    let ignores_hours = |policy: &posmesh_proto::store::v1::ProductPolicy| {
        policy.gate.as_ref().is_some_and(|gate| gate.ignores_opening_hours)
    };
    if store.product_policies.iter().any(ignores_hours) {
        return (true, later);
    }
    // Where the time zone is unknown here, nobody knows when it is closed.
    let Some(hours) = Hours::of(store) else { return (true, later) };
    match hours.at(now_ms) {
        Opening::Open { until_ms } => (true, until_ms.unwrap_or(later)),
        Opening::Closed { until_ms: None, .. } => (false, later),
        Opening::Closed { until_ms: Some(opens_ms), .. } => {
            let check_ms = opens_ms.saturating_sub(CHECK_BEFORE_MS);
            if check_ms <= now_ms { (true, opens_ms) } else { (false, check_ms) }
        }
    }
}

#[cfg(test)]
mod tests {
    use posmesh_proto::store::v1::{GatePolicy, OpeningHours, ProductPolicy, SpecialDay};

    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).unwrap_or_default()
    }

    /// Open every evening from 18:00 to 02:00, but not on New Year's Eve.
    fn bar() -> Store {
        let evening = |weekday| OpeningHours { weekday, open_minutes: 18 * 60, close_minutes: 26 * 60 };
        Store {
            time_zone: "Asia/Tokyo".into(),
            opening_hours: (1..=7).map(evening).collect(),
            special_days: vec![SpecialDay { date: "2026-12-31".into(), opening_hours: Vec::new() }],
            ..Store::default()
        }
    }

    #[test]
    fn a_store_is_of_interest_from_half_an_hour_before_it_opens_until_it_closes_after_midnight() {
        let when = |text| awake(&bar(), at(text));
        assert_eq!(when("2026-11-23T17:00:00+09:00"), (false, at("2026-11-23T17:30:00+09:00")));
        assert_eq!(when("2026-11-23T17:30:00+09:00"), (true, at("2026-11-23T18:00:00+09:00")));
        assert_eq!(when("2026-11-24T01:59:00+09:00"), (true, at("2026-11-24T02:00:00+09:00")));
        assert_eq!(when("2026-11-24T02:00:00+09:00"), (false, at("2026-11-24T17:30:00+09:00")));
        assert_eq!(when("2026-12-31T19:00:00+09:00"), (false, at("2027-01-01T17:30:00+09:00")));
    }

    #[test]
    fn a_store_that_takes_orders_at_any_time_is_always_of_interest() {
        let gate = Some(GatePolicy { ignores_opening_hours: true, ..GatePolicy::default() });
        let store = Store { product_policies: vec![ProductPolicy { gate, ..ProductPolicy::default() }], ..bar() };
        assert!(awake(&store, at("2026-11-23T05:00:00+09:00")).0);
        let nowhere = Store { time_zone: "Mars/Olympus".into(), ..bar() };
        assert!(awake(&nowhere, at("2026-11-23T05:00:00+09:00")).0);
    }
}
