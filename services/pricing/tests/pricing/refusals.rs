//! What is refused, with which reason and field.

use std::sync::Arc;

use crate::fixture::{catalog, choice, group, index, item, line, modifier, problems, quote, quote_while, yen};
use posmesh_pricing::{
    CatalogIndex, ClosedPeriods, MAX_TOTAL, MAX_UNIT_PRICE, Problem, Reason, Shortage, Terms, UnusableCatalog,
    price_lines,
};
use posmesh_proto::{
    catalog::v1::Item,
    common::v1::ServiceMode,
    order::v1::{ModifierInput, OrderLineInput},
};

/// A burger with these choices.
fn burger(modifiers: Vec<ModifierInput>) -> OrderLineInput {
    OrderLineInput { modifiers, ..line("burger", 1) }
}

fn one(order: OrderLineInput) -> (Reason, String) {
    let mut found = problems(&index(catalog()), &[order]);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn an_unknown_item_is_named_by_its_line() {
    let found = problems(&index(catalog()), &[line("gyoza", 1), line("pizza", 1)]);
    assert_eq!(found, [(Reason::ItemNotFound, "lines[1].item_id".to_owned())]);
}

#[test]
fn a_sold_out_item_or_choice_is_unavailable_and_nothing_else_is() {
    let (reason, field) = one(line("eel", 1));
    assert_eq!((reason, field.as_str()), (Reason::ItemUnavailable, "lines[0].item_id"));
    assert!(reason.is_unavailability() && !Reason::ItemNotFound.is_unavailability());

    let beef = ModifierInput { modifiers: vec![choice("cheese", "blue", 1)], ..choice("patty", "beef", 1) };
    let (reason, field) = one(burger(vec![beef]));
    assert_eq!(
        (reason, field.as_str()),
        (Reason::ModifierUnavailable, "lines[0].modifiers[0].modifiers[0].modifier_id")
    );
}

#[test]
fn what_is_sold_out_is_named_as_the_guest_knows_it() {
    let index = index(catalog());
    let locales = ["en".to_owned(), "ja".to_owned()];
    let said_to = |guest_locale: &str, locales: &[String], lines: &[OrderLineInput]| {
        let closed = &ClosedPeriods::new();
        let terms = Terms { default_mode: ServiceMode::DineIn, locales, guest_locale, closed };
        price_lines(&index, lines, terms).unwrap_err().remove(0).message
    };
    let said = |locales: &[String], lines: &[OrderLineInput]| said_to("", locales, lines);
    assert_eq!(said(&locales, &[line("eel", 1)]), "eel en is sold out; take it off the order");
    assert_eq!(said(&locales[1..], &[line("eel", 1)]), "eel 和 is sold out; take it off the order");
    assert_eq!(said_to("en-GB", &locales[1..], &[line("eel", 1)]), "eel en is sold out; take it off the order");
    assert_eq!(said_to("ko", &locales[1..], &[line("eel", 1)]), "eel 和 is sold out; take it off the order");
    let blue = ModifierInput { modifiers: vec![choice("cheese", "blue", 1)], ..choice("patty", "beef", 1) };
    assert_eq!(said(&locales, &[burger(vec![blue])]), "blue en is sold out; choose another");
}

#[test]
fn a_choice_is_sold_out_while_the_item_that_it_is_is_sold_out() {
    let mut catalog = catalog();
    catalog.modifier_groups[2].modifiers[0].item_id = "gyoza".into();
    let with_egg = burger(vec![choice("patty", "beef", 1), choice("extra", "egg", 1)]);
    assert!(quote(&index(catalog.clone()), std::slice::from_ref(&with_egg)).is_ok());
    catalog.items[3].available = false;
    let found = problems(&index(catalog), &[with_egg]);
    assert_eq!(found, [(Reason::ModifierUnavailable, "lines[0].modifiers[1].modifier_id".to_owned())]);
}

#[test]
fn an_item_outside_of_its_menu_periods_is_refused_by_name_and_told_when_it_is_sold_again() {
    let mut catalog = catalog();
    catalog.items[3].menu_period_ids = vec!["lunch".into(), "late".into()];
    let index = index(catalog);
    let closed = |ids: &[(&str, &str)]| ids.iter().map(|&(id, again)| (id.to_owned(), again.to_owned())).collect();
    let refused = |ids: &[(&str, &str)]| quote_while(&index, &[line("gyoza", 1)], &closed(ids)).unwrap_err().remove(0);

    let problem = refused(&[("lunch", "2026-11-24 11:00"), ("late", "2026-11-23 22:00")]);
    assert_eq!((problem.reason, problem.field.as_str()), (Reason::ItemNotSoldNow, "lines[0].item_id"));
    assert!(problem.reason.is_unavailability());
    assert_eq!(problem.message, "gyoza 和 is not sold at that time; it is sold again from 2026-11-23 22:00");
    let problem = refused(&[("lunch", ""), ("late", "")]);
    assert!(problem.message.ends_with("take it off the order"), "{}", problem.message);
    // One of its periods goes on, and what names none is sold always.
    assert!(quote_while(&index, &[line("gyoza", 1)], &closed(&[("lunch", "")])).is_ok());
    assert!(quote_while(&index, &[line("draft", 1)], &closed(&[("lunch", ""), ("late", "")])).is_ok());
}

#[test]
fn a_group_that_the_item_does_not_ask_is_not_found() {
    let found = one(OrderLineInput { modifiers: vec![choice("extra", "egg", 1)], ..line("gyoza", 1) });
    assert_eq!(found, (Reason::ModifierGroupNotFound, "lines[0].modifiers[0].group_id".to_owned()));
}

#[test]
fn a_choice_that_the_group_does_not_hold_is_not_found() {
    let found = one(burger(vec![choice("patty", "tofu", 1), choice("extra", "beef", 1)]));
    assert_eq!(found, (Reason::ModifierNotFound, "lines[0].modifiers[1].modifier_id".to_owned()));
}

#[test]
fn too_few_and_too_many_choices_are_refused() {
    assert_eq!(one(burger(vec![])), (Reason::TooFewModifiers, "lines[0].modifiers".to_owned()));
    // beef at most 2, the group at most 3
    assert_eq!(
        one(burger(vec![choice("patty", "beef", 3)])),
        (Reason::TooManyModifiers, "lines[0].modifiers[0].quantity".to_owned())
    );
    assert_eq!(
        one(burger(vec![choice("patty", "beef", 2), choice("patty", "tofu", 2)])),
        (Reason::TooManyModifiers, "lines[0].modifiers".to_owned())
    );
    // The same choice twice counts as two.
    assert_eq!(
        one(burger(vec![choice("patty", "beef", 1), choice("patty", "beef", 2)])),
        (Reason::TooManyModifiers, "lines[0].modifiers[1].quantity".to_owned())
    );
}

#[test]
fn a_nested_group_takes_its_maximum_once_per_parent() {
    let patties = |beef, cheddar| {
        burger(vec![ModifierInput {
            modifiers: vec![choice("cheese", "cheddar", cheddar)],
            ..choice("patty", "beef", beef)
        }])
    };
    assert!(quote(&index(catalog()), &[patties(2, 2)]).is_ok());
    assert_eq!(problems(&index(catalog()), &[patties(1, 2)])[0].0, Reason::TooManyModifiers);
}

#[test]
fn defaults_are_not_filled_in() {
    let mut catalog = catalog();
    catalog.modifier_groups[0].modifiers[0].selected_by_default = true;
    assert_eq!(problems(&index(catalog), &[burger(vec![])])[0].0, Reason::TooFewModifiers);
}

#[test]
fn a_quantity_that_is_zero_negative_or_absurd_is_refused() {
    for quantity in [0, -1, 1000, i32::MAX, i32::MIN] {
        assert_eq!(one(line("gyoza", quantity)), (Reason::QuantityOutOfRange, "lines[0].quantity".to_owned()));
    }
    for quantity in [-1, 1000, i32::MAX, i32::MIN] {
        let found = problems(&index(catalog()), &[burger(vec![choice("patty", "beef", quantity)])]);
        assert!(found.contains(&(Reason::QuantityOutOfRange, "lines[0].modifiers[0].quantity".to_owned())));
    }
    assert!(quote(&index(catalog()), &[line("gyoza", 999)]).is_ok());
}

#[test]
fn no_line_and_ten_thousand_lines_are_refused() {
    let index = index(catalog());
    assert_eq!(problems(&index, &[]), [(Reason::EmptyOrder, "lines".to_owned())]);
    assert_eq!(problems(&index, &vec![line("gyoza", 1); 10_000]), [(Reason::TooManyLines, "lines".to_owned())]);
    assert!(quote(&index, &vec![line("gyoza", 1); 500]).is_ok());
}

#[test]
fn all_problems_are_told_up_to_a_limit() {
    let index = index(catalog());
    let found = problems(&index, &[line("pizza", 0), line("eel", 1)]);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(problems(&index, &vec![line("pizza", 0); 500]).len(), Problem::MAX_REPORTED);
}

#[test]
fn a_note_with_nul_or_too_long_is_refused() {
    let note = |note: &str| OrderLineInput { note: note.to_owned(), ..line("gyoza", 1) };
    assert_eq!(one(note("no\0leek")), (Reason::TextInvalid, "lines[0].note".to_owned()));
    assert_eq!(one(note(&"葱".repeat(201))), (Reason::TextTooLong, "lines[0].note".to_owned()));
    assert!(quote(&index(catalog()), &[note(&"葱".repeat(200))]).is_ok());
}

#[test]
fn a_service_mode_from_the_future_is_refused_not_guessed() {
    let found = one(OrderLineInput { service_mode: 9, ..line("gyoza", 1) });
    assert_eq!(found, (Reason::ServiceModeUnknown, "lines[0].service_mode".to_owned()));
}

#[test]
fn a_service_mode_in_which_the_item_is_not_sold_is_refused_even_where_the_line_takes_the_default() {
    let mut catalog = catalog();
    let sashimi = Item { service_modes: vec![ServiceMode::DineIn.into()], ..item("sashimi", 880, "food", &[]) };
    let bento = Item { service_modes: vec![ServiceMode::Takeaway.into()], ..item("bento", 700, "food", &[]) };
    catalog.items.extend([sashimi, bento]);
    let index = index(catalog);
    let takeaway = |id| OrderLineInput { service_mode: ServiceMode::Takeaway.into(), ..line(id, 1) };
    assert_eq!(
        problems(&index, &[takeaway("gyoza"), takeaway("sashimi"), line("bento", 1)]),
        [1, 2].map(|at| (Reason::ServiceModeNotOffered, format!("lines[{at}].service_mode")))
    );
    // The menu says so, not the moment: asking again later does not help.
    assert!(!Reason::ServiceModeNotOffered.is_unavailability());
    assert!(quote(&index, &[line("sashimi", 1), takeaway("bento")]).is_ok());
}

#[test]
fn a_line_never_costs_less_than_zero() {
    let found = one(burger(vec![choice("patty", "beef", 1), choice("extra", "coupon", 1)]));
    assert_eq!(found, (Reason::LineBelowZero, "lines[0].modifiers".to_owned()));
    // 900 - 3 × 200 = 300 is fine.
    let cheap = quote(&index(catalog()), &[burger(vec![choice("patty", "tofu", 3)])]).unwrap();
    assert_eq!(cheap.lines[0].line_price, yen(300));
}

#[test]
fn a_total_beyond_the_range_is_an_error_and_no_overflow() {
    let mut catalog = catalog();
    catalog.items.push(item("yacht", MAX_UNIT_PRICE, "food", &[]));
    let index = index(catalog);
    // 10^10 × 999 × 101 > 10^15
    assert!(quote(&index, &vec![line("yacht", 999); 100]).is_ok());
    assert_eq!(problems(&index, &vec![line("yacht", 999); 101]), [(Reason::AmountOutOfRange, "lines".to_owned())]);
}

#[test]
fn a_line_beyond_the_range_is_an_error_at_the_line() {
    let mut catalog = catalog();
    catalog.items.push(item("fleet", 0, "food", &["yachts"]));
    catalog.modifier_groups.push(group("yachts", 0, 999, vec![modifier("yacht", MAX_UNIT_PRICE, 999, &[])]));
    let fleet = OrderLineInput { modifiers: vec![choice("yachts", "yacht", 999)], ..line("fleet", 999) };
    const { assert!(MAX_UNIT_PRICE * 999 * 999 > MAX_TOTAL) };
    assert_eq!(problems(&index(catalog), &[fleet]), [(Reason::AmountOutOfRange, "lines[0]".to_owned())]);
}

#[test]
fn choices_nine_deep_are_refused_even_where_the_catalog_has_a_cycle() {
    let mut catalog = catalog();
    catalog.items.push(item("russian doll", 100, "food", &["doll"]));
    catalog.modifier_groups.push(group("doll", 0, 1, vec![modifier("doll", 1, 1, &["doll"])]));
    let index = index(catalog);
    let nested = |depth: usize| {
        let mut modifiers = Vec::new();
        for _ in 0..depth {
            modifiers = vec![ModifierInput { modifiers, ..choice("doll", "doll", 1) }];
        }
        OrderLineInput { modifiers, ..line("russian doll", 1) }
    };
    assert_eq!(quote(&index, &[nested(8)]).unwrap().lines[0].line_price, yen(108));
    let found = problems(&index, &[nested(9)]);
    assert_eq!(found, [(Reason::NestingTooDeep, format!("lines[0]{}.modifiers", ".modifiers[0]".repeat(8)))]);
}

#[test]
fn a_catalog_that_cannot_be_priced_makes_no_index() {
    let refused = |change: fn(&mut posmesh_proto::catalog::v1::Catalog)| {
        let mut catalog = catalog();
        change(&mut catalog);
        CatalogIndex::new(Arc::new(catalog)).unwrap_err()
    };
    assert_eq!(refused(|c| c.tax_rounding = None), UnusableCatalog::NoTaxRounding);
    assert_eq!(refused(|c| c.tax_rounding.as_mut().unwrap().direction = 9), UnusableCatalog::NoTaxRounding);
    let negative = refused(|c| c.items[0].price = yen(-1));
    assert_eq!(negative, UnusableCatalog::PriceOutOfRange { what: "item", id: "onigiri".to_owned() });
    let absurd = refused(|c| c.modifier_groups[0].modifiers[0].price = yen(i64::MIN));
    assert_eq!(absurd, UnusableCatalog::PriceOutOfRange { what: "modifier", id: "beef".to_owned() });
    assert!(matches!(
        refused(|c| c.items[0].tax_class_id = "gone".to_owned()),
        UnusableCatalog::UnknownTaxClass { .. }
    ));
    assert!(matches!(refused(|c| c.tax_classes[0].rates[0].rate_ppm = -1), UnusableCatalog::NoTaxRate { .. }));
    assert!(matches!(refused(|c| c.tax_classes[0].rates.truncate(1)), UnusableCatalog::NoTaxRate { .. }));
}

#[test]
fn more_of_an_item_than_the_pos_has_left_is_refused_by_name_over_all_lines() {
    let mut counted = catalog();
    counted.items.iter_mut().find(|item| item.id == "gyoza").unwrap().remaining = Some(2);
    let index = index(counted);
    let locales = ["en".to_owned()];
    let closed = &ClosedPeriods::new();
    let terms = Terms { default_mode: ServiceMode::DineIn, locales: &locales, guest_locale: "", closed };
    assert!(price_lines(&index, &[line("gyoza", 1), line("gyoza", 1)], terms).is_ok());
    let found = price_lines(&index, &[line("gyoza", 2), line("gyoza", 1)], terms).unwrap_err().remove(0);
    assert_eq!((found.reason, found.field.as_str()), (Reason::NotEnoughLeft, "lines[1].quantity"));
    assert!(found.reason.is_unavailability());
    assert_eq!(found.message, "gyoza en: 3 are wanted, 2 left; order fewer");
    let shortage = Shortage { item_id: "gyoza".to_owned(), item_name: "gyoza en".to_owned(), remaining: 2 };
    assert_eq!(found.shortage, Some(shortage));
}
