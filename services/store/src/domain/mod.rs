//! The rules: what a brand and a store may say. Pure.

mod catalog;
mod gate;
mod hours;
mod policy;
mod store;
mod text;

pub(crate) use posmesh_kit::Violation;
pub(crate) use posmesh_kit::failure::check_id;
use posmesh_proto::store::v1::Brand;

pub(crate) use store::check_store;

/// Gathers what is wrong, up to [`Violations::MOST`].
#[derive(Debug, Default)]
struct Violations(Vec<Violation>);

impl Violations {
    /// Enough to repair a request, too few to make its answer a burden.
    const MOST: usize = 50;

    fn add(&mut self, violation: Option<Violation>) {
        if self.0.len() < Self::MOST {
            self.0.extend(violation);
        }
    }

    fn refuse(&mut self, reason: &'static str, field: impl Into<String>, message: impl Into<String>) {
        self.add(Some(Violation::new(reason, field, message)));
    }

    fn refuse_unless(&mut self, right: bool, reason: &'static str, field: impl Into<String>, message: &str) {
        if !right {
            self.refuse(reason, field, message);
        }
    }

    fn into_result(self) -> Result<(), Vec<Violation>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

/// Everything that is wrong with a brand to be written.
pub(crate) fn check_brand(brand: &Brand) -> Result<(), Vec<Violation>> {
    let mut found = Violations::default();
    found.add(check_id("brand.brand_id", &brand.brand_id));
    text::check_name(&mut found, "brand.name", brand.name.as_ref());
    found.add(check_revision("brand.revision", brand.revision));
    found.into_result()
}

fn check_revision(field: &str, revision: i64) -> Option<Violation> {
    let message = "a revision is that which is replaced, 0 to create, or -1 to replace whatever is there";
    (revision < -1).then(|| Violation::new("REVISION_INVALID", field, message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::common::v1::LocalizedText;

    use super::*;

    fn brand() -> Brand {
        let name = LocalizedText { texts: [("ja".to_owned(), "居酒屋".to_owned())].into() };
        Brand { brand_id: "izakaya-7".to_owned(), name: Some(name), revision: 0 }
    }

    #[test]
    fn a_good_brand_is_taken() {
        for revision in [-1, 0, 7] {
            assert_eq!(check_brand(&Brand { revision, ..brand() }), Ok(()));
        }
    }

    #[test]
    fn each_thing_that_is_wrong_with_a_brand_is_named_with_its_field() {
        let wrong = Brand { brand_id: "Izakaya".to_owned(), name: None, revision: -2 };
        let found = check_brand(&wrong).unwrap_err();
        let named: Vec<_> = found.iter().map(|v| (v.reason, v.field.as_str())).collect();
        assert_eq!(
            named,
            [("ID_INVALID", "brand.brand_id"), ("REQUIRED", "brand.name"), ("REVISION_INVALID", "brand.revision")]
        );
    }

    #[test]
    fn an_id_is_1_to_64_of_a_small_alphabet() {
        for good in ["a", "0-9", &"x".repeat(64)] {
            assert_eq!(check_id("id", good), None, "{good}");
        }
        for bad in ["", "A", "a b", "a_b", "é", "a\0", "a/b", &"x".repeat(65)] {
            assert!(check_id("id", bad).is_some(), "{bad:?}");
        }
    }
}
