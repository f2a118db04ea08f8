//! When a product's orders are taken.

use std::{ops::RangeInclusive, time::Duration};

use posmesh_kit::time;
use posmesh_proto::{
    common::v1::Product,
    store::v1::{GateAction, GatePolicy},
};

use super::Violations;

const HOLD_FOR: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 3600);
const MAX_HELD: i32 = 10_000;
const MAX_IN_DOUBT: i32 = 1000;
const MAX_WAITING: i32 = 10_000;
const CONTRADICTION: &str = "GATE_CONTRADICTION";

/// `field` is the path of the policy.
pub(super) fn check(found: &mut Violations, field: &str, product: Product, gate: &GatePolicy) {
    let actions = [
        ("when_offline", gate.when_offline),
        ("when_unknown", gate.when_unknown),
        ("when_printer_fails", gate.when_printer_fails),
    ];
    for (name, number) in actions {
        let field = format!("{field}.{name}");
        match GateAction::try_from(number) {
            Err(_) => found.refuse("GATE_ACTION_UNKNOWN", field, format!("{number} is no action that is known here")),
            Ok(GateAction::Take) if name == "when_offline" => {
                let message =
                    "what is taken while the POS is away cannot be sent: say HOLD to keep it, DIVERT or CLOSE";
                found.refuse(CONTRADICTION, field, message);
            }
            Ok(GateAction::Hold) if product == Product::Table => {
                let message =
                    "a table's guests wait for their meal, and its rounds keep their order: say CLOSE or TAKE";
                found.refuse(CONTRADICTION, field, message);
            }
            Ok(GateAction::Divert) if name != "when_offline" => {
                let message = "orders are diverted while the POS is away: say DIVERT in when_offline alone";
                found.refuse(CONTRADICTION, field, message);
            }
            Ok(_) => {}
        }
    }
    found.refuse_unless(
        gate.hold_for.as_ref().is_none_or(|d| time::from_proto_duration(d).is_some_and(|d| HOLD_FOR.contains(&d))),
        "OUT_OF_RANGE",
        format!("{field}.hold_for"),
        "1 min to 24 h, or absent for the default",
    );
    for (name, number, most) in [
        ("max_held", gate.max_held, MAX_HELD),
        ("max_in_doubt", gate.max_in_doubt, MAX_IN_DOUBT),
        ("max_waiting", gate.max_waiting, MAX_WAITING),
    ] {
        let words = format!("1 to {most}, or 0 for the default");
        found.refuse_unless((0..=most).contains(&number), "OUT_OF_RANGE", format!("{field}.{name}"), &words);
    }
    let holds = actions.iter().any(|(_, number)| *number == i32::from(GateAction::Hold));
    // What cannot be diverted, the fallback being away as well, is held as by default.
    let by_default = matches!(gate.when_offline(), GateAction::Unspecified | GateAction::Divert);
    let may_hold = holds || product == Product::ToGo && by_default;
    for (name, is_set) in [("hold_for", gate.hold_for.is_some()), ("max_held", gate.max_held != 0)] {
        let message = "nothing is ever held: leave it out, or say HOLD in when_offline";
        found.refuse_unless(may_hold || !is_set, CONTRADICTION, format!("{field}.{name}"), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(product: Product, gate: &GatePolicy) -> Vec<(&'static str, String)> {
        let mut found = Violations::default();
        check(&mut found, "gate", product, gate);
        found.0.into_iter().map(|v| (v.reason, v.field)).collect()
    }

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    fn hold() -> GatePolicy {
        GatePolicy { when_offline: GateAction::Hold.into(), ..GatePolicy::default() }
    }

    #[test]
    fn the_defaults_and_what_lies_within_the_bounds_are_taken() {
        for product in [Product::Table, Product::ToGo, Product::Kiosk] {
            assert_eq!(wrong(product, &GatePolicy::default()), []);
        }
        let held = |seconds_, max| GatePolicy { hold_for: seconds(seconds_), max_held: max, ..hold() };
        let divert = GatePolicy { when_offline: GateAction::Divert.into(), ..held(60, 1) };
        for gate in [held(60, 1), held(86_400, 10_000), divert] {
            assert_eq!(wrong(Product::ToGo, &gate), []);
        }
    }

    #[test]
    fn each_bound_of_a_gate_is_named_with_its_field() {
        for (bad, field) in [
            (GatePolicy { hold_for: seconds(59), ..hold() }, "hold_for"),
            (GatePolicy { hold_for: seconds(86_401), ..hold() }, "hold_for"),
            (GatePolicy { max_held: 10_001, ..hold() }, "max_held"),
            (GatePolicy { max_in_doubt: 1001, ..hold() }, "max_in_doubt"),
            (GatePolicy { max_waiting: -1, ..hold() }, "max_waiting"),
        ] {
            assert_eq!(wrong(Product::ToGo, &bad), [("OUT_OF_RANGE", format!("gate.{field}"))]);
        }
        let unknown = GatePolicy { when_unknown: 99, ..GatePolicy::default() };
        assert_eq!(wrong(Product::ToGo, &unknown), [("GATE_ACTION_UNKNOWN", "gate.when_unknown".to_owned())]);
    }

    #[test]
    fn a_policy_that_contradicts_itself_is_refused() {
        let refused = |product, gate: &GatePolicy, field: &str| {
            assert_eq!(wrong(product, gate), [(CONTRADICTION, format!("gate.{field}"))]);
        };
        let take = GatePolicy { when_offline: GateAction::Take.into(), ..GatePolicy::default() };
        refused(Product::ToGo, &take, "when_offline");
        refused(Product::Table, &hold(), "when_offline");
        let close = GatePolicy { when_offline: GateAction::Close.into(), ..GatePolicy::default() };
        refused(Product::ToGo, &GatePolicy { hold_for: seconds(60), ..close }, "hold_for");
        let divert = GatePolicy { when_printer_fails: GateAction::Divert.into(), ..GatePolicy::default() };
        refused(Product::Kiosk, &divert, "when_printer_fails");
        refused(Product::Kiosk, &GatePolicy { max_held: 5, ..GatePolicy::default() }, "max_held");
    }
}
