#![allow(clippy::unwrap_used)]

use posmesh_proto::{
    catalog::v1::{
        Allergen, AllergenInfo, AllergenList, AllergenPresence, Image, Item, MenuPeriod, ServiceCharge,
        ServiceChargeBasis, TaxRate, TaxRounding, TaxRoundingDirection,
    },
    common::v1::ServiceMode,
    store::v1::OpeningHours,
};

use super::{report::MAX_PROBLEMS, *};
use crate::domain::fixture::{self, catalog, group, item, modifier, store, text, yen};

/// The fixture's menu, and ten plain items on which nothing hangs.
fn menu() -> Catalog {
    let mut catalog = catalog();
    catalog.items.extend((0..10).map(|i| item(&format!("x{i}"), "品", "x", 100, "food", &["food"], &[])));
    catalog
}

fn sieved(change: impl FnOnce(&mut Catalog)) -> Result<Sieved, Vec<CatalogProblem>> {
    let mut catalog = menu();
    change(&mut catalog);
    sieve(catalog, &store())
}

fn problems(change: impl FnOnce(&mut Catalog)) -> Vec<CatalogProblem> {
    sieved(change).map_or_else(|problems| problems, |sieved| sieved.problems)
}

/// The ids of the items that are left out because of the change, and of each problem with its reason and effect.
fn gone(change: impl FnOnce(&mut Catalog)) -> (Vec<String>, Vec<(String, String, ProblemEffect)>) {
    let sieved = sieved(change).unwrap();
    let kept: Vec<&String> = sieved.catalog.items.iter().map(|item| &item.id).collect();
    let gone: Vec<String> = menu().items.into_iter().map(|item| item.id).filter(|id| !kept.contains(&id)).collect();
    assert_eq!(gone.len(), sieved.left_out.items as usize);
    let problems = sieved.problems.into_iter().map(|p| (p.reason.clone(), p.entity_id.clone(), p.effect()));
    (gone, problems.collect())
}

/// The one problem that the change makes by itself: reason, entity, id and field.
fn one(change: impl FnOnce(&mut Catalog)) -> (String, String, String, String) {
    let mut found = problems(change);
    // What goes with it is told besides.
    found.retain(|problem| problem.reason != "REFERENCE_LEFT_OUT");
    assert_eq!(found.len(), 1, "{found:#?}");
    let problem = found.into_iter().next().unwrap();
    assert!(!problem.message.is_empty());
    (problem.reason, problem.entity, problem.entity_id, problem.field)
}

fn is(found: (String, String, String, String), expected: [&str; 4]) {
    let (reason, entity, id, field) = found;
    assert_eq!([reason, entity, id, field], expected.map(str::to_owned));
}

#[test]
fn right_data_has_no_problem() {
    assert_eq!(problems(|_| {}), []);
}

#[test]
fn a_problem_tells_the_thing_by_its_name_in_the_stores_language() {
    let found = problems(|c| c.items[1].price = yen(-380));
    assert_eq!(
        found,
        [CatalogProblem {
            reason: "NEGATIVE_PRICE".to_owned(),
            entity: "item".to_owned(),
            entity_id: "yakitori".to_owned(),
            entity_name: "焼き鳥".to_owned(),
            field: "price".to_owned(),
            message: "the price is -380; it must not be negative".to_owned(),
            effect: ProblemEffect::LeftOut.into(),
        }]
    );
}

#[test]
fn a_reference_to_what_the_pos_did_not_send_is_dangling() {
    is(one(|c| c.items[0].tax_class_id = "gone".into()), ["DANGLING_REFERENCE", "item", "beer", "tax_class_id"]);
    is(one(|c| c.items[0].tax_class_id.clear()), ["DANGLING_REFERENCE", "item", "beer", "tax_class_id"]);
    is(one(|c| c.items[0].category_ids.push("x".into())), ["DANGLING_REFERENCE", "item", "beer", "category_ids"]);
    is(
        one(|c| c.items[0].modifier_group_ids.push("x".into())),
        ["DANGLING_REFERENCE", "item", "beer", "modifier_group_ids"],
    );
    is(
        one(|c| c.modifier_groups[2].modifiers[0].modifier_group_ids.push("x".into())),
        ["DANGLING_REFERENCE", "modifier", "salt", "modifier_group_ids"],
    );
    is(
        one(|c| c.categories[0].parent_category_id = "x".into()),
        ["DANGLING_REFERENCE", "category", "drinks", "parent_category_id"],
    );
    is(one(|c| c.tables[0].area_id = "x".into()), ["DANGLING_REFERENCE", "table", "t1", "area_id"]);
}

#[test]
fn a_price_that_is_missing_absurd_or_in_other_money_is_refused() {
    is(one(|c| c.items[0].price = None), ["PRICE_MISSING", "item", "beer", "price"]);
    is(one(|c| c.items[0].price = yen(i64::MIN)), ["NEGATIVE_PRICE", "item", "beer", "price"]);
    is(one(|c| c.items[0].price = yen(i64::MAX)), ["PRICE_OUT_OF_RANGE", "item", "beer", "price"]);
    is(
        one(|c| c.modifier_groups[2].modifiers[0].price = yen(i64::MIN)),
        ["PRICE_OUT_OF_RANGE", "modifier", "salt", "price"],
    );
    is(
        one(|c| c.items[0].price.as_mut().unwrap().currency_code = "USD".into()),
        ["CURRENCY_MISMATCH", "item", "beer", "price"],
    );
    is(one(|c| c.currency_code = "EUR".into()), ["CURRENCY_MISMATCH", "catalog", "", "currency_code"]);
}

#[test]
fn a_free_and_a_cheaper_choice_are_fine() {
    let found = problems(|c| {
        c.modifier_groups[2].modifiers[0].price = None;
        c.modifier_groups[2].modifiers[1].price = yen(-50);
    });
    assert_eq!(found, []);
}

#[test]
fn two_things_with_one_id_are_refused() {
    let refused = |change: fn(&mut Catalog), expected| {
        assert!(sieved(change).is_err(), "{expected:?}");
        is(one(change), expected);
    };
    refused(|c| c.items.push(Item { sort_order: 1, ..c.items[0].clone() }), ["DUPLICATE_ID", "item", "beer", "id"]);
    refused(
        |c| {
            let mut twice = c.tables[0].clone();
            twice.seats += 1;
            c.tables.push(twice);
        },
        ["DUPLICATE_ID", "table", "t1", "id"],
    );
    refused(
        |c| {
            let mut twice = c.tax_classes[0].clone();
            twice.included_in_price = !twice.included_in_price;
            c.tax_classes.push(twice);
        },
        ["DUPLICATE_ID", "tax_class", "drink", "id"],
    );
}

#[test]
fn what_was_sent_twice_alike_is_taken_once() {
    let again = |change: fn(&mut Catalog), expected| {
        let sieved = sieved(change).unwrap();
        assert_eq!(sieved.catalog, menu(), "{expected:?}");
        assert_eq!(sieved.left_out, CatalogCounts::default());
        assert_eq!(sieved.problems[0].effect(), ProblemEffect::Corrected);
        is(one(change), expected);
    };
    again(|c| c.items.push(c.items[0].clone()), ["DUPLICATE_ID", "item", "beer", "id"]);
    again(|c| c.tables.push(c.tables[0].clone()), ["DUPLICATE_ID", "table", "t1", "id"]);
    again(|c| c.tax_classes.push(c.tax_classes[0].clone()), ["DUPLICATE_ID", "tax_class", "drink", "id"]);
    again(
        |c| {
            let twice = c.modifier_groups[2].modifiers[0].clone();
            c.modifier_groups[2].modifiers.push(twice);
        },
        ["DUPLICATE_ID", "modifier_group", "sauce", "modifiers"],
    );
    again(
        |c| c.items[1].modifier_group_ids.push("sauce".into()),
        ["DUPLICATE_REFERENCE", "item", "yakitori", "modifier_group_ids"],
    );
}

#[test]
fn a_wrong_item_is_left_out_alone_and_the_rest_is_sold() {
    let (items, problems) = gone(|c| c.items[0].price = yen(-1));
    assert_eq!(items, ["beer"]);
    assert_eq!(problems, [("NEGATIVE_PRICE".to_owned(), "beer".to_owned(), ProblemEffect::LeftOut)]);
}

#[test]
fn what_needs_something_that_is_left_out_goes_with_it() {
    let because = |reason: &str, id: &str| (reason.to_owned(), id.to_owned(), ProblemEffect::LeftOut);
    // The only choice of the inner question has no name; so the set menu cannot be chosen; the yakitori stays.
    let (items, problems) = gone(|c| c.modifier_groups[1].modifiers.iter_mut().for_each(|m| m.name = None));
    assert_eq!(items, [""; 0]);
    let told = [
        because("NAME_MISSING", "large"),
        because("NAME_MISSING", "normal"),
        because("TOO_FEW_CHOICES", "rice"),
        because("REFERENCE_LEFT_OUT", "set"),
    ];
    assert_eq!(problems, told);
    // A question about the item itself is gone.
    let (items, problems) = gone(|c| (c.modifier_groups[2].min_choices, c.modifier_groups[2].max_choices) = (2, 1));
    assert_eq!(items, ["yakitori"]);
    assert_eq!(problems, [because("CHOICES_OUT_OF_RANGE", "sauce"), because("REFERENCE_LEFT_OUT", "yakitori")]);
}

#[test]
fn a_heading_or_an_area_that_is_gone_takes_nothing_with_it() {
    let sieved = sieved(|c| {
        c.categories.retain(|category| category.id != "food");
        c.areas[0].name = None;
    });
    let Sieved { catalog, problems, left_out } = sieved.unwrap();
    assert_eq!((catalog.items.len(), left_out.items, catalog.tables[0].area_id.as_str()), (12, 0, ""));
    let grill = catalog.categories.iter().find(|category| category.id == "grill").unwrap();
    assert_eq!(grill.parent_category_id, "");
    assert!(catalog.items.iter().all(|item| !item.category_ids.contains(&"food".to_owned())));
    let effects: Vec<_> = problems.iter().map(|p| (p.entity.as_str(), p.effect())).collect();
    assert_eq!(
        effects[..3],
        [("category", ProblemEffect::Corrected), ("area", ProblemEffect::LeftOut), ("table", ProblemEffect::Corrected),]
    );
}

#[test]
fn data_of_which_most_is_wrong_is_refused_as_a_whole() {
    let wrong = |count: usize| sieved(|c| c.items.iter_mut().take(count).for_each(|item| item.price = None));
    assert_eq!(wrong(6).unwrap().catalog.items.len(), 6);
    let refused = wrong(7).unwrap_err();
    assert_eq!((refused[0].reason.as_str(), refused.len()), ("MOSTLY_WRONG", 8));
    assert!(refused.iter().all(|problem| problem.effect() == ProblemEffect::Refused));
}

#[test]
fn text_of_another_charset_is_told_as_such() {
    let mojibake = one(|c| c.items[0].name = text(&[("ja", "\u{fffd}\u{fffd}ビール")]));
    is(mojibake, ["TEXT_INVALID", "item", "beer", "name"]);
    // UTF-8 that was read as Latin-1.
    let latin1: String = "生".bytes().map(char::from).collect();
    is(one(|c| c.items[0].name = text(&[("ja", &latin1)])), ["TEXT_INVALID", "item", "beer", "name"]);
}

#[test]
fn ten_times_the_items_are_sieved_in_about_ten_times_the_time() {
    // As many of everything; a chain of questions as long as the menu, of which the innermost is wrong.
    let took = |items: usize| {
        let started = std::time::Instant::now();
        let sieved = sieved(|c| {
            let many = (0..items).map(|i| item(&format!("i{i}"), "品", "x", 100, "food", &["food"], &["sauce"]));
            c.items = many.collect();
            c.modifier_groups.extend((0..items).map(|level| {
                let below = if level == 0 { "gone".to_owned() } else { format!("g{}", level - 1) };
                group(&format!("g{level}"), 1, 1, vec![modifier("m", "m", 0, &[&below])])
            }));
        });
        let sieved = sieved.unwrap();
        assert_eq!((sieved.catalog.items.len(), sieved.left_out.modifier_groups as usize), (items, items));
        assert_eq!(sieved.problems.len(), MAX_PROBLEMS + 1);
        started.elapsed()
    };
    let (few, many) = (took(MAX_ITEMS / 10), took(MAX_ITEMS));
    // A hundred times would be one look at each for each. The machine may do something else meanwhile.
    assert!(many < few * 40, "{few:?}, {many:?}");
}

#[test]
fn an_id_that_is_empty_too_long_or_holds_nul_is_refused() {
    for bad in [String::new(), "x".repeat(129), "b\0".to_owned()] {
        let found = one(|c| c.items[0].id.clone_from(&bad));
        is(found, ["ID_INVALID", "item", &bad.chars().take(128).collect::<String>(), "id"]);
    }
    let found = one(|c| c.modifier_groups[2].modifiers[0].id.clear());
    is(found, ["ID_INVALID", "modifier", "", "id"]);
}

#[test]
fn choices_that_cannot_be_made_are_refused() {
    let sauce =
        |min, max| one(move |c| (c.modifier_groups[2].min_choices, c.modifier_groups[2].max_choices) = (min, max));
    is(sauce(2, 1), ["CHOICES_OUT_OF_RANGE", "modifier_group", "sauce", "min_choices"]);
    is(sauce(-1, 1), ["CHOICES_OUT_OF_RANGE", "modifier_group", "sauce", "min_choices"]);
    is(sauce(0, 1_000), ["CHOICES_OUT_OF_RANGE", "modifier_group", "sauce", "min_choices"]);
    is(sauce(3, 3), ["TOO_FEW_CHOICES", "modifier_group", "sauce", "modifiers"]);
    is(
        one(|c| c.modifier_groups[2].modifiers[0].max_quantity = 0),
        ["CHOICES_OUT_OF_RANGE", "modifier", "salt", "max_quantity"],
    );
    // Sold out is no fault of the data.
    assert_eq!(problems(|c| c.modifier_groups[2].modifiers.iter_mut().for_each(|m| m.available = false)), []);
}

#[test]
fn groups_that_lead_back_to_themselves_are_refused() {
    let found = problems(|c| c.modifier_groups[1].modifiers[0].modifier_group_ids.push("extra".into()));
    let ids: Vec<_> = found.iter().map(|p| (p.reason.as_str(), p.entity_id.as_str())).collect();
    let circular = "CIRCULAR_REFERENCE";
    assert_eq!(ids, [(circular, "extra"), (circular, "rice"), ("REFERENCE_LEFT_OUT", "yakitori")]);
    is(
        one(|c| c.categories[1].parent_category_id = "food".into()),
        ["CIRCULAR_REFERENCE", "category", "food", "parent_category_id"],
    );
}

#[test]
fn groups_may_nest_eight_deep_and_no_deeper() {
    let chain = |length: usize| {
        problems(|c| {
            for level in 1..=length {
                let below = format!("level {}", level + 1);
                let groups: &[&str] = if level == length { &[] } else { &[&below] };
                c.modifier_groups.push(group(&format!("level {level}"), 0, 1, vec![modifier("m", "m", 0, groups)]));
            }
        })
    };
    assert_eq!(chain(8), []);
    let found = chain(9);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].reason.as_str(), found[0].entity_id.as_str()), ("NESTING_TOO_DEEP", "level 1"));
}

#[test]
fn tax_that_cannot_be_told_for_every_service_mode_is_refused() {
    let rate = |service_mode: ServiceMode, rate_ppm| TaxRate {
        service_mode: service_mode.into(),
        rate_ppm,
        ..TaxRate::default()
    };
    is(one(|c| c.tax_rounding = None), ["TAX_ROUNDING_MISSING", "catalog", "", "tax_rounding"]);
    is(
        one(|c| c.tax_rounding = Some(TaxRounding { scope: 1, direction: 9 })),
        ["TAX_ROUNDING_MISSING", "catalog", "", "tax_rounding"],
    );
    is(one(|c| c.tax_classes[0].rates.truncate(1)), ["TAX_RATE_MISSING", "tax_class", "drink", "rates"]);
    for wrong in [-1, 1_000_001] {
        let found = one(|c| c.tax_classes[0].rates[0].rate_ppm = wrong);
        is(found, ["TAX_RATE_OUT_OF_RANGE", "tax_class", "drink", "rates"]);
    }
    is(
        one(|c| c.tax_classes[0].rates.push(rate(ServiceMode::DineIn, 50_000))),
        ["DUPLICATE_TAX_RATE", "tax_class", "drink", "rates"],
    );
    assert_eq!(problems(|c| c.tax_classes[0].rates = vec![rate(ServiceMode::Unspecified, 0)]), []);
}

#[test]
fn service_modes_of_an_item_are_known_and_named_once() {
    let modes = |modes: &[i32]| problems(|c| c.items[0].service_modes = modes.to_vec());
    for unknown in [0, 9, -1] {
        let found = one(|c| c.items[0].service_modes = vec![ServiceMode::DineIn.into(), unknown]);
        is(found, ["SERVICE_MODE_UNKNOWN", "item", "beer", "service_modes"]);
    }
    is(
        one(|c| c.items[0].service_modes = vec![ServiceMode::DineIn.into(); 2]),
        ["DUPLICATE_SERVICE_MODE", "item", "beer", "service_modes"],
    );
    assert_eq!(modes(&[ServiceMode::Takeaway.into(), ServiceMode::DineIn.into()]), []);
}

fn lunch() -> MenuPeriod {
    let hours = (1..=5).map(|weekday| OpeningHours { weekday, open_minutes: 660, close_minutes: 840 }).collect();
    MenuPeriod { id: "lunch".into(), name: text(&[("ja", "ランチ")]), hours }
}

#[test]
fn what_is_sold_at_a_time_that_nobody_knows_is_not_sold_at_all() {
    let at_lunch = |c: &mut Catalog, period: MenuPeriod| {
        c.menu_periods.push(period);
        c.items[0].menu_period_ids.push("lunch".into());
    };
    assert_eq!(problems(|c| at_lunch(c, lunch())), []);
    let wrong = [(0, 660, 840), (8, 660, 840), (1, 840, 840), (1, -1, 60), (1, 1440, 1500), (1, 660, 2881)];
    for (weekday, open_minutes, close_minutes) in wrong {
        let hours = vec![OpeningHours { weekday, open_minutes, close_minutes }];
        let period = MenuPeriod { hours, ..lunch() };
        let (left_out, found) = gone(|c| at_lunch(c, period));
        assert_eq!(left_out, ["beer"], "{weekday} {open_minutes} {close_minutes}");
        assert_eq!((found[0].0.as_str(), found[1].0.as_str()), ("HOURS_INVALID", "REFERENCE_LEFT_OUT"));
    }
    is(
        one(|c| at_lunch(c, MenuPeriod { hours: vec![], ..lunch() })),
        ["HOURS_INVALID", "menu_period", "lunch", "hours"],
    );
    let (left_out, _) = gone(|c| c.items[0].menu_period_ids.push("brunch".into()));
    assert_eq!(left_out, ["beer"]);
    // Past midnight is fine.
    assert_eq!(
        problems(|c| {
            let late = OpeningHours { weekday: 7, open_minutes: 1320, close_minutes: 1560 };
            at_lunch(c, MenuPeriod { hours: vec![late], ..lunch() });
        }),
        []
    );
}

#[test]
fn allergens_that_are_told_wrong_are_not_known_rather_than_half_told() {
    let told = |allergens: &[(&str, AllergenPresence)], lists: &[i32]| {
        let allergen = |&(code, presence): &(&str, AllergenPresence)| Allergen {
            code: code.to_owned(),
            presence: presence.into(),
        };
        let info = AllergenInfo { allergens: allergens.iter().map(allergen).collect(), checked_lists: lists.to_vec() };
        let sieved = sieved(|c| c.items[0].allergens = Some(info.clone())).unwrap();
        let reasons: Vec<String> = sieved.problems.into_iter().map(|problem| problem.reason).collect();
        assert_eq!(sieved.left_out.items, 0);
        (sieved.catalog.items[0].allergens.clone(), reasons)
    };
    use AllergenPresence::{Contains, MayContain, Unspecified};
    let (kept, problems) = told(&[("egg", Contains), ("star_fruit", MayContain)], &[AllergenList::Eu.into()]);
    assert_eq!((kept.unwrap().allergens.len(), problems.len()), (2, 0), "codes of other lists are taken as they are");
    assert_eq!(told(&[], &[1]).1.len(), 0, "none of a list");
    for wrong in
        [told(&[("egg", Contains), ("Egg!", Contains)], &[]), told(&[("egg", Unspecified)], &[]), told(&[], &[9])]
    {
        assert_eq!(wrong, (None, vec!["ALLERGENS_INVALID".to_owned()]));
    }
    let (kept, problems) = told(&[("egg", MayContain), ("egg", Contains)], &[]);
    assert_eq!(problems, ["DUPLICATE_REFERENCE"]);
    let kept = kept.unwrap().allergens;
    assert_eq!((kept.len(), kept[0].presence()), (1, Contains), "the worse counts");
}

#[test]
fn what_an_item_can_stand_without_is_struck_out_and_told() {
    let corrected = |change: &dyn Fn(&mut Catalog), expected: [&str; 2]| {
        let sieved = sieved(change).unwrap();
        let [problem] = sieved.problems.as_slice() else { panic!("{:#?}", sieved.problems) };
        assert_eq!([problem.reason.as_str(), problem.field.as_str()], expected);
        assert_eq!((problem.effect(), sieved.catalog), (ProblemEffect::Corrected, menu()));
    };
    corrected(&|c| c.items[0].code = "a\0".into(), ["CODE_INVALID", "code"]);
    corrected(&|c| c.items[0].code = "1".repeat(129), ["CODE_INVALID", "code"]);
    corrected(&|c| c.items[0].kana = "\u{fffd}".into(), ["TEXT_INVALID", "kana"]);
    corrected(&|c| c.categories[0].kana = "カ".repeat(501), ["TEXT_TOO_LONG", "kana"]);
    corrected(&|c| c.items[0].station_ids.push("x".into()), ["DANGLING_REFERENCE", "station_ids"]);
    corrected(&|c| c.items[0].course_id = "x".into(), ["DANGLING_REFERENCE", "course_id"]);
    corrected(&|c| c.modifier_groups[2].modifiers[0].item_id = "x".into(), ["DANGLING_REFERENCE", "item_id"]);
    for url in
        ["http://x.example/a.jpg", "javascript:alert(1)", "https://", "https://a@x.example/", "https://x/\"onload="]
    {
        let image = Image { url: url.into(), alt_text: None };
        corrected(&|c| c.items[0].images.push(image.clone()), ["IMAGE_INVALID", "images"]);
    }
    let right = sieved(|c| {
        c.items[0]
            .images
            .push(Image { url: "https://x.example/麦酒.jpg?w=1".into(), alt_text: text(&[("ja", "麦酒")]) });
        c.items[0].code = "101".into();
        c.items[0].kana = "ﾅﾏﾋﾞｰﾙ".into();
        c.modifier_groups[2].modifiers[0].item_id = "yakitori".into();
    });
    assert_eq!(right.unwrap().problems, []);
}

#[test]
fn a_name_that_is_missing_or_no_text_is_refused() {
    is(one(|c| c.items[0].name = None), ["NAME_MISSING", "item", "beer", "name"]);
    is(one(|c| c.items[0].name = text(&[("ja", " ")])), ["NAME_MISSING", "item", "beer", "name"]);
    is(one(|c| c.items[0].name = text(&[("ja", "ビ\0ル")])), ["TEXT_INVALID", "item", "beer", "name"]);
    is(one(|c| c.items[0].name = text(&[("ja", &"酒".repeat(501))])), ["TEXT_TOO_LONG", "item", "beer", "name"]);
    is(one(|c| c.items[0].name = text(&[("日本", "酒")])), ["LOCALE_INVALID", "item", "beer", "name"]);
    is(
        one(|c| c.items[0].description = text(&[("ja", "冷\u{7}たい")])),
        ["TEXT_INVALID", "item", "beer", "description"],
    );
    is(one(|c| c.tables[0].name.clear()), ["NAME_MISSING", "table", "t1", "name"]);
    is(one(|c| c.tables[0].seats = -1), ["SEATS_OUT_OF_RANGE", "table", "t1", "seats"]);
    assert_eq!(problems(|c| c.items[0].description = text(&[("ja", "冷たい\n生ビール")])), []);
}

#[test]
fn more_items_than_a_catalog_takes_are_refused_without_looking_at_them() {
    is(
        one(|c| c.items = vec![fixture::item("same", "x", "x", -1, "", &[], &[]); MAX_ITEMS + 1]),
        ["TOO_MANY_ITEMS", "catalog", "", "items"],
    );
}

#[test]
fn a_report_of_very_many_problems_is_cut_and_says_so() {
    let found = problems(|c| {
        c.items = (0..1_000).map(|i| fixture::item(&format!("i{i}"), "x", "x", -1, "food", &[], &[])).collect();
        c.items.extend((0..1_000).map(|i| fixture::item(&format!("j{i}"), "x", "x", 1, "food", &[], &[])));
    });
    assert_eq!(found.len(), MAX_PROBLEMS + 1);
    let last = found.last().unwrap();
    assert_eq!((last.reason.as_str(), last.message.starts_with("800 more")), ("MORE_PROBLEMS", true));
}

/// 10 % of prices with tax, eaten in the store.
fn charge() -> ServiceCharge {
    ServiceCharge {
        id: "service".into(),
        name: text(&[("ja", "サービス料")]),
        rate_bp: 1_000,
        basis: ServiceChargeBasis::WithTax.into(),
        rounding: TaxRoundingDirection::Down.into(),
        tax_class_id: "food".into(),
        service_modes: vec![ServiceMode::DineIn.into()],
    }
}

#[test]
fn a_service_charge_that_nobody_can_reckon_quarantines_the_whole_and_is_named() {
    let with = |change: fn(&mut ServiceCharge)| {
        let mut charge = charge();
        change(&mut charge);
        let problems = sieved(|c| c.service_charges.push(charge)).unwrap_err();
        assert_eq!((problems.len(), problems[0].entity.as_str()), (1, "service_charge"), "{problems:#?}");
        let problem = problems.into_iter().next().unwrap();
        (problem.reason, problem.entity_name, problem.field)
    };
    let of = |reason: &str, field: &str| (reason.to_owned(), "サービス料".to_owned(), field.to_owned());
    assert_eq!(problems(|c| c.service_charges.push(charge())), []);
    for rate_bp in [0, -1, 5_001, i32::MAX] {
        let problems = sieved(|c| c.service_charges.push(ServiceCharge { rate_bp, ..charge() })).unwrap_err();
        assert_eq!(problems[0].reason, "CHARGE_RATE_OUT_OF_RANGE", "{rate_bp}");
    }
    assert_eq!(with(|c| c.rate_bp = 10_000), of("CHARGE_RATE_OUT_OF_RANGE", "rate_bp"));
    assert_eq!(with(|c| c.basis = 0), of("CHARGE_BASIS_MISSING", "basis"));
    assert_eq!(with(|c| c.rounding = 9), of("CHARGE_ROUNDING_MISSING", "rounding"));
    assert_eq!(with(|c| c.tax_class_id = "gone".into()), of("DANGLING_REFERENCE", "tax_class_id"));
    assert_eq!(with(|c| c.service_modes = vec![7]), of("SERVICE_MODE_UNKNOWN", "service_modes"));
    let twice = |c: &mut Catalog| c.service_charges = vec![charge(), ServiceCharge { rate_bp: 1_200, ..charge() }];
    assert_eq!(sieved(twice).unwrap_err()[0].reason, "DUPLICATE_ID");
    let many = |c: &mut Catalog| {
        c.service_charges = (0..21).map(|i| ServiceCharge { id: i.to_string(), ..charge() }).collect();
    };
    assert_eq!(sieved(many).unwrap_err()[0].reason, "TOO_MANY_SERVICE_CHARGES");
}
