//! The vendor's menu as the platform's catalog.

use std::collections::HashSet;

use posmesh_proto::{
    adapter::v1::{PullCatalogRequest, pull_catalog_response::Piece},
    catalog::v1::{
        AllergenList, AllergenPresence::MayContain, Catalog, ServiceChargeBasis, TaxRoundingDirection,
        TaxRoundingScope, TenderKind,
    },
    common::v1::ServiceMode,
};
use posmesh_simpos::api::{Period, PeriodHours, ServiceCharge, Texts};
use reqwest::Method;
use serde_json::json;

use crate::support::{Pair, yen};

/// The whole catalog, and the warnings.
async fn pull(pair: &Pair) -> Result<(Catalog, Vec<String>), String> {
    let request = PullCatalogRequest { context: Some(pair.context.clone()), ..PullCatalogRequest::default() };
    let mut stream = pair.client.clone().pull_catalog(request).await.unwrap().into_inner();
    let mut whole = Catalog::default();
    loop {
        match stream.message().await.unwrap().unwrap().piece.unwrap() {
            Piece::Part(part) => {
                if !part.currency_code.is_empty() {
                    whole.currency_code = part.currency_code;
                }
                whole.tax_rounding = whole.tax_rounding.or(part.tax_rounding);
                whole.tax_classes.extend(part.tax_classes);
                whole.categories.extend(part.categories);
                whole.items.extend(part.items);
                whole.modifier_groups.extend(part.modifier_groups);
                whole.areas.extend(part.areas);
                whole.tables.extend(part.tables);
                whole.tenders.extend(part.tenders);
                whole.menu_periods.extend(part.menu_periods);
                whole.stations.extend(part.stations);
                whole.courses.extend(part.courses);
                whole.service_charges.extend(part.service_charges);
            }
            Piece::End(end) => return Ok((whole, end.warnings)),
            Piece::Failed(failed) => return Err(failed.cause),
        }
    }
}

#[tokio::test]
async fn the_catalog_holds_everything_that_the_pos_sells_with_names_in_all_its_languages() {
    let pair = Pair::start().await;
    let (catalog, _) = pull(&pair).await.unwrap();
    let menu = posmesh_simpos::builtin_menu();
    let sold: Vec<_> = menu.categories.iter().flat_map(|c| c.items.iter().map(move |item| (c, item))).collect();
    assert!(sold.len() > 100);
    assert_eq!(catalog.items.len(), sold.len());
    for ((category, theirs), ours) in sold.into_iter().zip(&catalog.items) {
        assert_eq!((&ours.id, &ours.price), (&theirs.id, &yen(theirs.price)));
        assert_eq!(ours.category_ids, [category.id.as_str()]);
        assert_eq!((&ours.tax_class_id, ours.available), (&category.tax_class, theirs.available));
        assert_eq!(ours.modifier_group_ids, theirs.groups);
        let names = &ours.name.as_ref().unwrap().texts;
        assert!(["ja", "ko", "en"].iter().all(|locale| names[*locale] == theirs.name[*locale]));
    }
    assert_eq!(catalog.tables.len(), menu.areas.iter().map(|area| area.tables.len()).sum::<usize>());
    assert_eq!(catalog.categories.len(), menu.categories.len());
}

#[tokio::test]
async fn every_reference_in_the_catalog_leads_somewhere() {
    let pair = Pair::start().await;
    let (catalog, _) = pull(&pair).await.unwrap();
    let groups: HashSet<_> = catalog.modifier_groups.iter().map(|group| &group.id).collect();
    let asked = catalog.items.iter().flat_map(|item| &item.modifier_group_ids);
    let nested = catalog.modifier_groups.iter().flat_map(|group| &group.modifiers);
    let nested: Vec<_> = nested.flat_map(|modifier| &modifier.modifier_group_ids).collect();
    assert!(!nested.is_empty(), "the menu nests");
    assert!(asked.chain(nested).all(|id| groups.contains(id)));
    let areas: HashSet<_> = catalog.areas.iter().map(|area| &area.id).collect();
    assert!(catalog.tables.iter().all(|table| areas.contains(&table.area_id)));
}

#[tokio::test]
async fn tax_is_contained_in_the_price_by_service_mode_and_rounded_down_per_rate() {
    let pair = Pair::start().await;
    let (catalog, _) = pull(&pair).await.unwrap();
    let rounding = catalog.tax_rounding.unwrap();
    assert_eq!((rounding.scope(), rounding.direction()), (TaxRoundingScope::Rate, TaxRoundingDirection::Down));
    let rates = |id: &str| {
        let class = catalog.tax_classes.iter().find(|class| class.id == id).unwrap();
        assert!(class.included_in_price);
        class.rates.iter().map(|rate| (rate.service_mode(), rate.rate_ppm)).collect::<Vec<_>>()
    };
    assert_eq!(rates("food"), [(ServiceMode::DineIn, 100_000), (ServiceMode::Takeaway, 80_000)]);
    assert_eq!(rates("alcohol"), [(ServiceMode::DineIn, 100_000), (ServiceMode::Takeaway, 100_000)]);
}

#[tokio::test]
async fn tenders_tell_whether_the_money_was_taken_elsewhere() {
    let pair = Pair::start().await;
    let (catalog, _) = pull(&pair).await.unwrap();
    let kinds: Vec<_> = catalog.tenders.iter().map(|tender| (tender.id.as_str(), tender.kind())).collect();
    assert_eq!(
        kinds,
        [
            ("cash", TenderKind::Cash),
            ("card", TenderKind::Card),
            ("qr", TenderKind::Card),
            ("external", TenderKind::External)
        ]
    );
}

#[tokio::test]
async fn what_the_pos_tells_of_an_item_besides_comes_along_and_what_nobody_looked_up_is_not_known() {
    let pair = Pair::start().await;
    let mut menu = posmesh_simpos::builtin_menu();
    let lunch = PeriodHours { weekdays: vec![1, 5], from_minutes: 660, until_minutes: 840 };
    let name: Texts = [("en".to_owned(), "Lunch".to_owned())].into();
    menu.periods = vec![Period { id: "lunch".into(), name, hours: vec![lunch] }];
    let edamame = &mut menu.categories[0].items[0];
    edamame.periods = vec!["lunch".into()];
    let name: Texts = [("ja".to_owned(), "サービス料".to_owned())].into();
    edamame.photo = Some("https://img.example/edamame.jpg".into());
    menu.service_charge = Some(ServiceCharge { id: "service".into(), name, percent: 10, tax_class: "food".into() });
    pair.pos(Method::POST, "/control/master", serde_json::to_value(&menu).unwrap()).await;

    let (catalog, _) = pull(&pair).await.unwrap();
    let charge = &catalog.service_charges[0];
    assert_eq!((charge.id.as_str(), charge.rate_bp, charge.tax_class_id.as_str()), ("service", 1_000, "food"));
    assert_eq!((charge.basis(), charge.rounding()), (ServiceChargeBasis::WithTax, TaxRoundingDirection::Down));
    assert_eq!(
        charge.service_modes().collect::<Vec<_>>(),
        [ServiceMode::DineIn],
        "nothing is added to what is taken away"
    );
    let item = |id: &str| catalog.items.iter().find(|item| item.id == id).unwrap();
    let edamame = item("edamame");
    assert_eq!((edamame.code.as_str(), edamame.kana.as_str()), ("101", "エダマメ"));
    assert_eq!(edamame.images[0].url, "https://img.example/edamame.jpg");
    assert_eq!((edamame.station_ids.as_slice(), edamame.course_id.as_str()), (["cold".to_owned()].as_slice(), "first"));
    assert_eq!(edamame.menu_period_ids, ["lunch"]);
    let hours: Vec<i32> = catalog.menu_periods[0].hours.iter().map(|hours| hours.weekday).collect();
    assert_eq!((hours, catalog.menu_periods[0].hours[0].close_minutes), (vec![1, 5], 840));
    assert_eq!(catalog.categories[0].kana, "スグデルイッピン");
    let courses: Vec<&str> = catalog.courses.iter().map(|course| course.id.as_str()).collect();
    assert_eq!((courses, catalog.stations.len()), (vec!["drinks", "first", "main", "last"], 4));

    let told = item("ebi_tempura").allergens.clone().unwrap();
    assert_eq!(told.checked_lists().collect::<Vec<_>>(), [AllergenList::JpMandatory]);
    let traces: Vec<&str> = told.allergens.iter().filter(|a| a.presence() == MayContain).map(|a| &*a.code).collect();
    assert_eq!((traces, told.allergens.len()), (vec!["crab"], 4));
    assert!(item("gohan").allergens.as_ref().is_some_and(|info| info.allergens.is_empty()), "looked up, and none");
    assert_eq!(item("takowasa").allergens, None, "nobody looked");
    let drinks = catalog.modifier_groups.iter().find(|group| group.id == "set_drink").unwrap();
    assert_eq!(drinks.modifiers[1].item_id, "cola");
}

#[tokio::test]
async fn an_item_that_is_sold_out_is_not_available() {
    let pair = Pair::start().await;
    pair.pos(Method::PUT, "/api/items/edamame/availability", json!({"available": false})).await;
    let (catalog, _) = pull(&pair).await.unwrap();
    let away: Vec<_> = catalog.items.iter().filter(|item| !item.available).map(|item| item.id.as_str()).collect();
    assert_eq!(away, ["edamame"]);
}

#[tokio::test]
async fn an_item_that_cannot_leave_the_house_is_sold_for_dine_in_alone() {
    let pair = Pair::start().await;
    let (catalog, warnings) = pull(&pair).await.unwrap();
    let menu = posmesh_simpos::builtin_menu();
    let theirs = menu.categories.iter().flat_map(|category| &category.items);
    let stays: HashSet<_> = theirs.filter(|item| !item.takeaway).map(|item| item.id.as_str()).collect();
    assert!(!stays.is_empty() && stays.len() < catalog.items.len());
    for item in &catalog.items {
        let expected: &[ServiceMode] = if stays.contains(item.id.as_str()) { &[ServiceMode::DineIn] } else { &[] };
        assert_eq!(item.service_modes().collect::<Vec<_>>(), expected, "{}", item.id);
    }
    assert_eq!(warnings, [""; 0], "the catalog can say everything");
}

#[tokio::test]
async fn broken_master_data_is_handed_on_as_it_is_for_the_platform_to_judge() {
    let pair = Pair::start().await;
    let mut menu = posmesh_simpos::builtin_menu();
    menu.categories[0].items[0].price = -5;
    menu.categories[0].items[1].groups = vec!["nowhere".to_owned()];
    pair.pos(Method::POST, "/control/master", serde_json::to_value(menu).unwrap()).await;
    let (catalog, _) = pull(&pair).await.unwrap();
    assert_eq!(catalog.items[0].price, yen(-5));
    assert_eq!(catalog.items[1].modifier_group_ids, ["nowhere"]);
}

#[tokio::test]
async fn a_pull_that_the_pos_refuses_ends_as_failed_and_not_as_complete() {
    let pair = Pair::start().await;
    pair.fault(json!({"kind": "refuse", "cause": "MASTER_UPDATING", "retry_after_ms": 1, "on": "menu"})).await;
    assert_eq!(pull(&pair).await.unwrap_err(), "MASTER_UPDATING");
}
