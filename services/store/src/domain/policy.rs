//! How products behave in a store.

use std::{collections::HashSet, ops::RangeInclusive, time::Duration};

use posmesh_kit::time;
use posmesh_proto::{
    common::v1::{EvidenceKind, Product},
    store::v1::ProductPolicy,
};

use super::{Violations, gate, text::check_text};

const MIN_DELIVER_WITHIN: Duration = Duration::from_secs(10);
const MAX_DELIVER_WITHIN: Duration = HOUR;
const MAX_PREPARATION: Duration = DAY;
const MAX_PREPARATION_ITEMS: usize = 1000;
const MAX_ITEM_ID_CHARS: usize = 128;
const MIN_PICKUP_SLOT: Duration = Duration::from_secs(60);
const MAX_PICKUP_SLOT: Duration = Duration::from_secs(4 * 3600);
const MAX_ORDERS_PER_SLOT: i32 = 10_000;
const MAX_ROUND_WAIT: Duration = HOUR;
const MIN_COMPLETE_AFTER: Duration = Duration::from_secs(60);
const MAX_COMPLETE_AFTER: Duration = DAY;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn check_all(found: &mut Violations, policies: &[ProductPolicy]) {
    // More than there are products is a duplicate, whatever else it is.
    let mut seen = HashSet::new();
    for (i, policy) in policies.iter().enumerate() {
        let field = format!("store.product_policies[{i}]");
        match Product::try_from(policy.product) {
            Ok(Product::Unspecified) => found.refuse("REQUIRED", format!("{field}.product"), "say which product"),
            Err(_) => {
                let message = format!("{} is no product that is known here", policy.product);
                found.refuse("PRODUCT_UNKNOWN", format!("{field}.product"), message);
            }
            Ok(product) if !seen.insert(product) => {
                let message = format!("{} has a policy already; one product, one policy", product.as_str_name());
                found.refuse("PRODUCT_POLICY_DUPLICATE", format!("{field}.product"), message);
            }
            Ok(_) => {}
        }
        check_evidence(found, &format!("{field}.success_evidence"), &policy.success_evidence);
        check_evidence(found, &format!("{field}.fallback_evidence"), &policy.fallback_evidence);
        let within = MIN_DELIVER_WITHIN..=MAX_DELIVER_WITHIN;
        check_duration(found, &field, "deliver_within", policy.deliver_within.as_ref(), within, "10 s to 1 h");
        check_pickup(found, &field, policy);
        let waits = Duration::ZERO..=MAX_ROUND_WAIT;
        check_duration(found, &field, "round_wait", policy.round_wait.as_ref(), waits, "0 to 1 h");
        if let Some(gate) = &policy.gate {
            gate::check(found, &format!("{field}.gate"), policy.product(), gate);
        }
    }
}

fn check_pickup(found: &mut Violations, field: &str, policy: &ProductPolicy) {
    let preparation = Duration::ZERO..=MAX_PREPARATION;
    let time = policy.preparation_time.as_ref();
    check_duration(found, field, "preparation_time", time, preparation.clone(), "0 to 24 h");
    if policy.item_preparation_times.len() > MAX_PREPARATION_ITEMS {
        let message = format!("at most {MAX_PREPARATION_ITEMS} items");
        found.refuse("TOO_MANY", format!("{field}.item_preparation_times"), message);
    } else {
        // In order: the same request gets the same answer.
        let mut times: Vec<_> = policy.item_preparation_times.iter().collect();
        times.sort_by_key(|(id, _)| *id);
        for (id, time) in times {
            let shown: String = id.chars().take(MAX_ITEM_ID_CHARS).collect();
            let name = format!("item_preparation_times[{shown:?}]");
            found.add(check_text(&format!("{field}.{name}"), id, MAX_ITEM_ID_CHARS));
            check_duration(found, field, &name, Some(time), preparation.clone(), "0 to 24 h");
        }
    }
    let slot = policy.pickup_slot.as_ref();
    check_duration(found, field, "pickup_slot", slot, MIN_PICKUP_SLOT..=MAX_PICKUP_SLOT, "1 min to 4 h");
    found.refuse_unless(
        slot.and_then(time::from_proto_duration)
            .is_none_or(|slot| slot.is_zero() || DAY.as_nanos().is_multiple_of(slot.as_nanos())),
        "SLOT_NOT_DIVISOR",
        format!("{field}.pickup_slot"),
        "a day must be a whole number of slots: 5, 10, 15, 20, 30 min, say",
    );
    found.refuse_unless(
        (0..=MAX_ORDERS_PER_SLOT).contains(&policy.orders_per_slot),
        "OUT_OF_RANGE",
        format!("{field}.orders_per_slot"),
        "1 to 10000, or 0 for no limit",
    );
    let after = MIN_COMPLETE_AFTER..=MAX_COMPLETE_AFTER;
    check_duration(found, field, "complete_after", policy.complete_after.as_ref(), after, "1 min to 24 h");
}

fn check_evidence(found: &mut Violations, path: &str, kinds: &[i32]) {
    let mut seen = HashSet::new();
    for (i, &number) in kinds.iter().enumerate() {
        let field = format!("{path}[{i}]");
        match EvidenceKind::try_from(number) {
            Ok(EvidenceKind::Unspecified) => {
                found.refuse("EVIDENCE_UNKNOWN", field, "name a kind, or leave the list empty for the default");
            }
            Err(_) => found.refuse("EVIDENCE_UNKNOWN", field, format!("{number} is no kind that is known here")),
            Ok(kind) if !seen.insert(kind) => {
                found.refuse("EVIDENCE_DUPLICATE", field, format!("{} stands here twice", kind.as_str_name()));
            }
            Ok(_) => {}
        }
    }
}

fn check_duration(
    found: &mut Violations,
    policy: &str,
    name: &str,
    duration: Option<&prost_types::Duration>,
    range: RangeInclusive<Duration>,
    words: &str,
) {
    let Some(duration) = duration else { return };
    found.refuse_unless(
        time::from_proto_duration(duration).is_some_and(|d| range.contains(&d)),
        "OUT_OF_RANGE",
        format!("{policy}.{name}"),
        &format!("{words}, or absent for the default"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(policies: &[ProductPolicy]) -> Vec<(&'static str, String)> {
        let mut found = Violations::default();
        check_all(&mut found, policies);
        found.0.into_iter().map(|v| (v.reason, v.field.replace("store.product_policies", ""))).collect()
    }

    fn policy(product: Product) -> ProductPolicy {
        ProductPolicy { product: product.into(), ..Default::default() }
    }

    #[test]
    fn a_product_has_at_most_one_policy() {
        let twice = [policy(Product::Table), policy(Product::Kiosk), policy(Product::Table)];
        assert_eq!(wrong(&twice[..2]), []);
        assert_eq!(wrong(&twice), [("PRODUCT_POLICY_DUPLICATE", "[2].product".to_owned())]);
    }

    #[test]
    fn a_policy_names_a_product_that_is_known() {
        let unknown = ProductPolicy { product: 99, ..Default::default() };
        let expected = [("REQUIRED", "[0].product".to_owned()), ("PRODUCT_UNKNOWN", "[1].product".to_owned())];
        assert_eq!(wrong(&[policy(Product::Unspecified), unknown]), expected);
    }

    #[test]
    fn evidence_that_nobody_could_give_is_refused() {
        let kinds = [EvidenceKind::Pos.into(), EvidenceKind::Printed.into(), 0, 99, EvidenceKind::Pos.into()];
        let with = |kinds: &[i32]| ProductPolicy { success_evidence: kinds.to_vec(), ..policy(Product::ToGo) };
        assert_eq!(wrong(&[with(&kinds[..2])]), []);
        let reasons: Vec<_> = wrong(&[with(&kinds)]).into_iter().map(|(reason, _)| reason).collect();
        assert_eq!(reasons, ["EVIDENCE_UNKNOWN", "EVIDENCE_UNKNOWN", "EVIDENCE_DUPLICATE"]);
    }

    #[test]
    fn delivery_may_take_10_seconds_to_an_hour() {
        let with = |seconds, nanos| {
            let deliver_within = Some(prost_types::Duration { seconds, nanos });
            wrong(&[ProductPolicy { deliver_within, ..policy(Product::ToGo) }]).is_empty()
        };
        assert!(with(10, 0) && with(3600, 0));
        assert!(!with(9, 999_999_999) && !with(3600, 1) && !with(-10, 0) && !with(60, -1) && !with(i64::MAX, 0));
    }

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    #[test]
    fn each_time_of_a_policy_has_its_range() {
        let togo = || policy(Product::ToGo);
        let good = ProductPolicy {
            preparation_time: seconds(0),
            item_preparation_times: [("roast".to_owned(), seconds(86_400).unwrap_or_default())].into(),
            pickup_slot: seconds(600),
            orders_per_slot: 10_000,
            round_wait: seconds(3600),
            complete_after: seconds(60),
            ..togo()
        };
        assert_eq!(wrong(&[good]), []);
        let too_long = || seconds(86_401);
        for (bad, field) in [
            (ProductPolicy { preparation_time: too_long(), ..togo() }, "preparation_time"),
            (ProductPolicy { pickup_slot: seconds(59), ..togo() }, "pickup_slot"),
            (ProductPolicy { pickup_slot: seconds(14_401), ..togo() }, "pickup_slot"),
            (ProductPolicy { orders_per_slot: -1, ..togo() }, "orders_per_slot"),
            (ProductPolicy { orders_per_slot: 10_001, ..togo() }, "orders_per_slot"),
            (ProductPolicy { round_wait: seconds(3601), ..togo() }, "round_wait"),
            (ProductPolicy { complete_after: seconds(59), ..togo() }, "complete_after"),
            (ProductPolicy { complete_after: too_long(), ..togo() }, "complete_after"),
        ] {
            assert_eq!(wrong(&[bad])[0], ("OUT_OF_RANGE", format!("[0].{field}")));
        }
    }

    #[test]
    fn a_day_is_a_whole_number_of_pickup_slots() {
        let with = |slot| wrong(&[ProductPolicy { pickup_slot: seconds(slot), ..policy(Product::ToGo) }]);
        assert_eq!(with(900), []);
        assert_eq!(with(7 * 60), [("SLOT_NOT_DIVISOR", "[0].pickup_slot".to_owned())]);
    }

    #[test]
    fn an_item_that_needs_longer_is_named_in_what_is_wrong_with_it() {
        let time = seconds(-1).unwrap_or_default();
        let bad =
            ProductPolicy { item_preparation_times: [("roast".to_owned(), time)].into(), ..policy(Product::ToGo) };
        assert_eq!(wrong(&[bad]), [("OUT_OF_RANGE", "[0].item_preparation_times[\"roast\"]".to_owned())]);
    }
}
