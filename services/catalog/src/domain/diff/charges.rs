//! What the POS adds to its bills.

use posmesh_proto::catalog::v1::{
    Catalog, CatalogChangeKind as Kind, ServiceCharge, ServiceChargeBasis as Basis, TaxRoundingDirection as Rounding,
};

use super::{Differ, What, mode_words, percent};

pub(super) fn service_charge<'a>(
    differ: &mut Differ<'a>,
    what: What<'_>,
    before: &'a ServiceCharge,
    after: &'a ServiceCharge,
) {
    differ.names(what, before.name.as_ref(), after.name.as_ref());
    if before.rate_bp != after.rate_bp {
        tell(differ, what, "rate_bp", "service charge", (rate(before), rate(after)));
    }
    if before.basis != after.basis {
        tell(differ, what, "basis", "share of", (basis(before.basis()), basis(after.basis())));
    }
    if before.rounding != after.rounding {
        tell(differ, what, "rounding", "rounded", (rounding(before.rounding()), rounding(after.rounding())));
    }
    if before.tax_class_id != after.tax_class_id {
        let name = |catalog: &'a Catalog, id: &'a str| {
            let class = catalog.tax_classes.iter().find(|class| class.id == id);
            class.map_or(id, |class| differ.called(class.name.as_ref()))
        };
        let names = (name(differ.before, &before.tax_class_id), name(differ.after, &after.tax_class_id));
        tell(differ, what, "tax_class_id", "tax class", names);
    }
    if before.service_modes != after.service_modes {
        tell(differ, what, "service_modes", "asked for", (modes(before), modes(after)));
    }
}

fn tell<S: AsRef<str>>(differ: &mut Differ<'_>, what: What<'_>, field: &str, word: &str, (was, is): (S, S)) {
    differ.tell(what, Kind::Changed, field, format!("{word} {} → {}", was.as_ref(), is.as_ref()));
}

fn rate(charge: &ServiceCharge) -> String {
    percent(charge.rate_bp.saturating_mul(100))
}

fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Unspecified => "an unknown sum",
        Basis::WithoutTax => "prices without tax",
        Basis::WithTax => "prices with tax",
    }
}

fn rounding(rounding: Rounding) -> &'static str {
    match rounding {
        Rounding::Unspecified => "in an unknown way",
        Rounding::Down => "down",
        Rounding::HalfUp => "half up",
        Rounding::Up => "up",
    }
}

fn modes(charge: &ServiceCharge) -> String {
    let modes: Vec<String> = charge.service_modes().map(mode_words).collect();
    if modes.is_empty() { "everything".to_owned() } else { modes.join(", ") }
}
