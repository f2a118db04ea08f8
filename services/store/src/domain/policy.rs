//! How products behave in a store.

use std::{collections::HashSet, time::Duration};

use posmesh_kit::time;
use posmesh_proto::{
    common::v1::{EvidenceKind, Product},
    store::v1::ProductPolicy,
};

use super::Violations;

const MIN_DELIVER_WITHIN: Duration = Duration::from_secs(10);
const MAX_DELIVER_WITHIN: Duration = Duration::from_secs(3600);

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
        check_evidence(found, &field, &policy.success_evidence);
        check_deliver_within(found, &field, policy.deliver_within.as_ref());
    }
}

fn check_evidence(found: &mut Violations, policy: &str, kinds: &[i32]) {
    let mut seen = HashSet::new();
    for (i, &number) in kinds.iter().enumerate() {
        let field = format!("{policy}.success_evidence[{i}]");
        match EvidenceKind::try_from(number) {
            Ok(EvidenceKind::Unspecified) => {
                found.refuse("EVIDENCE_UNKNOWN", field, "name a kind, or leave the list empty for POS");
            }
            Err(_) => found.refuse("EVIDENCE_UNKNOWN", field, format!("{number} is no kind that is known here")),
            Ok(kind) if !seen.insert(kind) => {
                found.refuse("EVIDENCE_DUPLICATE", field, format!("{} stands here twice", kind.as_str_name()));
            }
            Ok(_) => {}
        }
    }
}

fn check_deliver_within(found: &mut Violations, policy: &str, deliver_within: Option<&prost_types::Duration>) {
    let Some(duration) = deliver_within else { return };
    let range = MIN_DELIVER_WITHIN..=MAX_DELIVER_WITHIN;
    found.refuse_unless(
        time::from_proto_duration(duration).is_some_and(|d| range.contains(&d)),
        "OUT_OF_RANGE",
        format!("{policy}.deliver_within"),
        "10 s to 1 h, or absent for the default",
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
}
