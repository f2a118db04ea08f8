//! How a store's master data is kept up to date.

use std::{ops::RangeInclusive, time::Duration};

use posmesh_kit::time;
use posmesh_proto::store::v1::{CatalogPolicy, ChangedItems};

use super::Violations;

const FIELD: &str = "store.catalog_policy";
const SYNC_INTERVAL: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 3600);

pub(super) fn check(found: &mut Violations, policy: &CatalogPolicy) {
    for (name, number, most) in [
        ("max_items_gone_percent", policy.max_items_gone_percent, 100),
        ("max_price_change_percent", policy.max_price_change_percent, 10_000),
        ("max_items_sold_out_percent", policy.max_items_sold_out_percent, 100),
    ] {
        let words = format!("1 to {most}, or 0 for the default");
        found.refuse_unless((0..=most).contains(&number), "OUT_OF_RANGE", format!("{FIELD}.{name}"), &words);
    }
    let may_be = |interval: Duration| interval.is_zero() || SYNC_INTERVAL.contains(&interval);
    found.refuse_unless(
        policy.sync_interval.as_ref().is_none_or(|interval| time::from_proto_duration(interval).is_some_and(may_be)),
        "OUT_OF_RANGE",
        format!("{FIELD}.sync_interval"),
        "1 min to 24 h, 0 for never, or absent for the default",
    );
    found.refuse_unless(
        ChangedItems::try_from(policy.changed_items).is_ok(),
        "CHANGED_ITEMS_UNKNOWN",
        format!("{FIELD}.changed_items"),
        &format!("{} is no policy that is known here", policy.changed_items),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(policy: &CatalogPolicy) -> Vec<String> {
        let mut found = Violations::default();
        check(&mut found, policy);
        found.0.into_iter().map(|v| v.field.replace("store.catalog_policy.", "")).collect()
    }

    #[test]
    fn bounds_are_percentages() {
        assert_eq!(wrong(&CatalogPolicy::default()), [""; 0]);
        let most = CatalogPolicy {
            max_items_gone_percent: 100,
            max_price_change_percent: 10_000,
            max_items_sold_out_percent: 1,
            ..Default::default()
        };
        assert_eq!(wrong(&most), [""; 0]);
        let bad = CatalogPolicy {
            max_items_gone_percent: 101,
            max_price_change_percent: -1,
            max_items_sold_out_percent: i32::MAX,
            ..Default::default()
        };
        let fields = ["max_items_gone_percent", "max_price_change_percent", "max_items_sold_out_percent"];
        assert_eq!(wrong(&bad), fields);
    }

    #[test]
    fn a_policy_for_changed_items_that_nobody_knows_is_refused() {
        let policy = |changed_items| CatalogPolicy { changed_items, ..Default::default() };
        assert_eq!(wrong(&policy(ChangedItems::HideUntilReviewed.into())), [""; 0]);
        assert_eq!(wrong(&policy(99)), ["changed_items"]);
    }

    #[test]
    fn a_menu_is_pulled_every_minute_to_every_day_or_never() {
        let every = |seconds| CatalogPolicy {
            sync_interval: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..Default::default()
        };
        for good in [0, 60, 86_400] {
            assert_eq!(wrong(&every(good)), [""; 0], "{good}");
        }
        for bad in [-1, 1, 59, 86_401] {
            assert_eq!(wrong(&every(bad)), ["sync_interval"], "{bad}");
        }
    }
}
