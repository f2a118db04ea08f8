//! What the POS adds to its bills.

use std::collections::HashSet;

use posmesh_pricing::MAX_CHARGE_RATE_BP;
use posmesh_proto::catalog::v1::{Catalog, ProblemEffect, ServiceCharge, ServiceChargeBasis, TaxRoundingDirection};

use super::{
    report::{Report, problem_about_catalog},
    things,
};

/// Every quote reckons all of them.
const MAX_SERVICE_CHARGES: usize = 20;

/// A charge that is wrong refuses the whole: left out, every total would be less than the bill.
pub(super) fn service_charges(catalog: &mut Catalog, report: &mut Report<'_>) {
    let count = catalog.service_charges.len();
    if count > MAX_SERVICE_CHARGES {
        let message = format!("the POS sent {count} service charges; at most {MAX_SERVICE_CHARGES} are taken");
        return report.refuse(problem_about_catalog("TOO_MANY_SERVICE_CHARGES", "service_charges", message));
    }
    let classes: HashSet<&str> = catalog.tax_classes.iter().map(|class| class.id.as_str()).collect();
    for charge in &mut catalog.service_charges {
        check(charge, &classes, report);
    }
}

fn check(charge: &mut ServiceCharge, classes: &HashSet<&str>, report: &mut Report<'_>) {
    let at = report.at("service_charge", &charge.id, charge.name.as_ref(), ProblemEffect::Refused);
    report.id(&at);
    report.name(&at, charge.name.as_ref());
    if !(1..=MAX_CHARGE_RATE_BP).contains(&charge.rate_bp) {
        let most = MAX_CHARGE_RATE_BP / 100;
        let message =
            format!("the rate is {} hundredths of a percent; it must be above 0 and at most {most} %", charge.rate_bp);
        report.add(&at, "CHARGE_RATE_OUT_OF_RANGE", "rate_bp", message);
    }
    if ServiceChargeBasis::try_from(charge.basis).unwrap_or_default() == ServiceChargeBasis::Unspecified {
        let message = "it is not known whether it is a share of prices with or without tax";
        report.add(&at, "CHARGE_BASIS_MISSING", "basis", message);
    }
    if TaxRoundingDirection::try_from(charge.rounding).unwrap_or_default() == TaxRoundingDirection::Unspecified {
        report.add(&at, "CHARGE_ROUNDING_MISSING", "rounding", "it is not known how the POS rounds it");
    }
    if !classes.contains(charge.tax_class_id.as_str()) {
        report.dangling(&at, "tax_class_id", "tax class", &charge.tax_class_id);
    }
    things::service_modes(&at, &mut charge.service_modes, report);
}
