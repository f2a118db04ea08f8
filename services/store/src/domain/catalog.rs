//! How a store's master data is kept up to date.

use posmesh_proto::store::v1::CatalogPolicy;

use super::Violations;

const FIELD: &str = "store.catalog_policy";

pub(super) fn check(found: &mut Violations, policy: &CatalogPolicy) {
    for (name, number, most) in [
        ("max_items_gone_percent", policy.max_items_gone_percent, 100),
        ("max_price_change_percent", policy.max_price_change_percent, 10_000),
        ("max_items_sold_out_percent", policy.max_items_sold_out_percent, 100),
    ] {
        let words = format!("1 to {most}, or 0 for the default");
        found.refuse_unless((0..=most).contains(&number), "OUT_OF_RANGE", format!("{FIELD}.{name}"), &words);
    }
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
        };
        assert_eq!(wrong(&most), [""; 0]);
        let bad = CatalogPolicy {
            max_items_gone_percent: 101,
            max_price_change_percent: -1,
            max_items_sold_out_percent: i32::MAX,
        };
        let fields = ["max_items_gone_percent", "max_price_change_percent", "max_items_sold_out_percent"];
        assert_eq!(wrong(&bad), fields);
    }
}
