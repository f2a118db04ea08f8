//! What a POS adds to an order by itself.

use posmesh_proto::{
    catalog::v1::{ServiceCharge, ServiceChargeBasis},
    common::v1::ServiceMode,
    order::v1::{ChargeAmount, OrderLine},
};

use crate::{
    CatalogIndex, Problem, index, localized,
    tax::{self, Sums},
};

/// Greatest rate of a service charge, in basis points: half of the sum.
pub const MAX_CHARGE_RATE_BP: i32 = 5_000;
const WHOLE_BP: i128 = 10_000;
/// The service modes that a line may have.
pub(crate) const MODES: [ServiceMode; 2] = [ServiceMode::DineIn, ServiceMode::Takeaway];

/// Whether a charge is asked on lines in a service mode.
pub fn is_charged_in(charge: &ServiceCharge, mode: ServiceMode) -> bool {
    charge.service_modes.is_empty() || charge.service_modes.contains(&mode.into())
}

/// What is charged on the lines, which must be priced: in the order of the catalog, without charges that come to nothing.
///
/// # Errors
///
/// [`crate::Reason::AmountOutOfRange`].
pub(crate) fn charges(
    index: &CatalogIndex,
    lines: &[OrderLine],
    locales: &[String],
) -> Result<Vec<ChargeAmount>, Problem> {
    let mut charges = Vec::new();
    if index.catalog().service_charges.is_empty() {
        return Ok(charges);
    }
    let sums = MODES.map(|mode| (mode, tax::sums_in(index, lines, mode)));
    for charge in &index.catalog().service_charges {
        for (mode, sums) in sums.iter().filter(|(mode, _)| is_charged_in(charge, *mode)) {
            charges.extend(charged(index, charge, *mode, sums, locales)?);
        }
    }
    Ok(charges)
}

/// `None`: it comes to nothing.
fn charged(
    index: &CatalogIndex,
    charge: &ServiceCharge,
    mode: ServiceMode,
    sums: &Sums,
    locales: &[String],
) -> Result<Option<ChargeAmount>, Problem> {
    let basis = match charge.basis() {
        // The index refuses a charge without a basis.
        ServiceChargeBasis::Unspecified | ServiceChargeBasis::WithoutTax => sums.net,
        ServiceChargeBasis::WithTax => sums.net + sums.tax,
    };
    let amount = tax::rounded(basis * i128::from(charge.rate_bp), WHOLE_BP, charge.rounding());
    // Likewise one whose class is not known.
    let Some(class) = index.tax_class(&charge.tax_class_id).filter(|_| amount > 0) else { return Ok(None) };
    Ok(Some(ChargeAmount {
        charge_id: charge.id.clone(),
        name: localized(charge.name.as_ref(), locales).to_owned(),
        service_mode: mode.into(),
        amount: Some(tax::in_range(index, amount)?),
        tax_class_id: class.id.clone(),
        tax_rate_ppm: index::rate_ppm(class, mode).unwrap_or_default(),
        tax_included: class.included_in_price,
    }))
}
