//! Lines as products send them, checked against the catalog and priced.

use std::collections::HashMap;

use posmesh_proto::{
    catalog::v1::{Item, TaxClass},
    common::v1::{LocalizedText, Money, ServiceMode},
    order::v1::{LineModifier, ModifierInput, OrderLine, OrderLineInput},
};

use crate::{
    CatalogIndex, MAX_DEPTH, MAX_NOTE_CHARS, MAX_QUANTITY, MAX_TOTAL, Problem, Reason, Shortage, Terms, check_text,
    index, is_choice_available, is_sold_in, is_sold_while, localized, money, sold::sold_again, text::shown,
};

/// All lines priced, or all that is wrong with them (up to the limit).
pub(crate) fn resolve(
    index: &CatalogIndex,
    lines: &[OrderLineInput],
    terms: Terms<'_>,
) -> Result<Vec<OrderLine>, Vec<Problem>> {
    let mut resolver = Resolver { index, terms, problems: Vec::new(), wanted: HashMap::new() };
    let mut resolved = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        resolved.extend(resolver.line(&format!("lines[{at}]"), line));
        if resolver.problems.len() >= Problem::MAX_REPORTED {
            break;
        }
    }
    if resolver.problems.is_empty() { Ok(resolved) } else { Err(resolver.problems) }
}

struct Resolver<'a> {
    index: &'a CatalogIndex,
    terms: Terms<'a>,
    problems: Vec<Problem>,
    /// How many of each item that the POS counts are wanted so far.
    wanted: HashMap<&'a str, i64>,
}

/// What asks the questions that a list of choices answers.
struct Asker<'a> {
    /// For messages: `item "ramen"`.
    name: String,
    group_ids: &'a [String],
    /// How many of it there are per unit of the line.
    count: i64,
    /// Units of the line.
    units: i64,
    /// 1 for the choices on the line itself.
    depth: usize,
}

impl<'a> Resolver<'a> {
    /// `None`: it has problems, and they are noted.
    fn line(&mut self, path: &str, line: &OrderLineInput) -> Option<OrderLine> {
        let before = self.problems.len();
        if !(1..=MAX_QUANTITY).contains(&line.quantity) {
            let message = format!("is {}; must be 1 to {MAX_QUANTITY}", line.quantity);
            self.problem(Reason::QuantityOutOfRange, format!("{path}.quantity"), message);
        }
        if let Err(problem) = check_text(&format!("{path}.note"), &line.note, MAX_NOTE_CHARS) {
            self.note(problem);
        }
        let index = self.index;
        let Some((item, class)) = index.item_with_tax(&line.item_id) else {
            let message = format!("the menu has no item {}; read the menu again", shown(&line.item_id));
            self.problem(Reason::ItemNotFound, format!("{path}.item_id"), message);
            return None;
        };
        if !item.available {
            let message = format!("{} is sold out; take it off the order", self.named(item.name.as_ref(), &item.id));
            self.problem(Reason::ItemUnavailable, format!("{path}.item_id"), message);
        }
        self.want(path, item, line.quantity.into());
        if !is_sold_while(item, |id| self.terms.closed.contains_key(id)) {
            let again = match sold_again(item, self.terms.closed) {
                Some(begin) => format!("it is sold again from {begin}"),
                None => "take it off the order".to_owned(),
            };
            let message = format!("{} is not sold at that time; {again}", self.named(item.name.as_ref(), &item.id));
            self.problem(Reason::ItemNotSoldNow, format!("{path}.item_id"), message);
        }
        let asker = Asker {
            name: format!("item {}", shown(&item.id)),
            group_ids: &item.modifier_group_ids,
            count: 1,
            units: line.quantity.into(),
            depth: 1,
        };
        let modifiers = self.modifiers(path, &line.modifiers, &asker);
        let (mode, tax_rate_ppm) = self.service_mode(path, line.service_mode, class)?;
        if !is_sold_in(item, mode) {
            let message = format!("item {} is not sold as {}", shown(&item.id), mode.as_str_name());
            self.problem(Reason::ServiceModeNotOffered, format!("{path}.service_mode"), message);
        }
        if self.problems.len() > before {
            return None;
        }

        let unit = i128::from(money::amount(item.price.as_ref())) + modifiers_price(&modifiers);
        Some(OrderLine {
            line_id: String::new(),
            item_id: item.id.clone(),
            name: localized(item.name.as_ref(), self.terms.locales).to_owned(),
            quantity: line.quantity,
            service_mode: mode.into(),
            unit_price: Some(self.catalog_price(item.price.as_ref())),
            modifiers,
            note: line.note.clone(),
            line_price: Some(self.line_price(path, unit, line.quantity)?),
            tax_class_id: class.id.clone(),
            tax_rate_ppm,
            tax_included: class.included_in_price,
            quantity_voided: 0,
        })
    }

    /// Counts what is wanted of an item against what is left of it, where the POS says how many there are.
    fn want(&mut self, path: &str, item: &'a Item, quantity: i64) {
        // What is sold out is refused as that.
        let Some(remaining) = item.remaining.filter(|_| item.available) else { return };
        let wanted = self.wanted.entry(&item.id).or_default();
        *wanted += quantity;
        let wanted = *wanted;
        if wanted <= i64::from(remaining) {
            return;
        }
        let item_name = self.named(item.name.as_ref(), &item.id);
        let message = format!("{item_name}: {wanted} are wanted, {remaining} left; order fewer");
        let shortage = Some(Shortage { item_id: item.id.clone(), item_name, remaining });
        self.note(Problem { shortage, ..Problem::new(Reason::NotEnoughLeft, format!("{path}.quantity"), message) });
    }

    /// The mode of a line with the tax rate that goes with it.
    fn service_mode(&mut self, path: &str, mode: i32, class: &TaxClass) -> Option<(ServiceMode, i32)> {
        let known = match ServiceMode::try_from(mode) {
            Ok(ServiceMode::Unspecified) => Some(self.terms.default_mode),
            Ok(mode) => Some(mode),
            Err(_) => None,
        };
        let known = known.filter(|&mode| mode != ServiceMode::Unspecified);
        let with_rate = known.and_then(|mode| Some((mode, index::rate_ppm(class, mode)?)));
        if with_rate.is_none() {
            let message = format!("{mode} is no service mode that is known here");
            self.problem(Reason::ServiceModeUnknown, format!("{path}.service_mode"), message);
        }
        with_rate
    }

    fn line_price(&mut self, path: &str, unit: i128, quantity: i32) -> Option<Money> {
        if unit < 0 {
            let message = format!("modifiers take the price of one unit to {unit}; a line cannot cost less than zero");
            self.problem(Reason::LineBelowZero, format!("{path}.modifiers"), message);
            return None;
        }
        let price = money::money(&self.index.catalog().currency_code, unit * i128::from(quantity));
        if price.is_none() {
            let message = format!("the line costs more than {MAX_TOTAL} minor units; split it");
            self.problem(Reason::AmountOutOfRange, path.to_owned(), message);
        }
        price
    }

    fn modifiers(&mut self, path: &str, inputs: &[ModifierInput], asker: &Asker<'a>) -> Vec<LineModifier> {
        if asker.depth > MAX_DEPTH && !inputs.is_empty() {
            let message = format!("choices about choices may go {MAX_DEPTH} deep");
            self.problem(Reason::NestingTooDeep, format!("{path}.modifiers"), message);
            return Vec::new();
        }
        let mut resolved = Vec::with_capacity(inputs.len());
        let mut chosen = Chosen::default();
        for (at, input) in inputs.iter().enumerate() {
            if self.problems.len() >= Problem::MAX_REPORTED {
                return Vec::new();
            }
            let path = format!("{path}.modifiers[{at}]");
            resolved.extend(self.modifier(&path, input, asker, &mut chosen));
        }
        self.check_groups(path, asker, &chosen);
        resolved
    }

    fn modifier<'i>(
        &mut self,
        path: &str,
        input: &'i ModifierInput,
        asker: &Asker<'a>,
        chosen: &mut Chosen<'i>,
    ) -> Option<LineModifier> {
        if !asker.group_ids.contains(&input.group_id) {
            let message = format!("{} has no modifier group {}", asker.name, shown(&input.group_id));
            self.problem(Reason::ModifierGroupNotFound, format!("{path}.group_id"), message);
            return None;
        }
        let index = self.index;
        let Some(modifier) = index.modifier(&input.group_id, &input.modifier_id) else {
            let message = format!("group {} has no modifier {}", shown(&input.group_id), shown(&input.modifier_id));
            self.problem(Reason::ModifierNotFound, format!("{path}.modifier_id"), message);
            return None;
        };
        if !is_choice_available(index, modifier) {
            let message = format!("{} is sold out; choose another", self.named(modifier.name.as_ref(), &modifier.id));
            self.problem(Reason::ModifierUnavailable, format!("{path}.modifier_id"), message);
        }
        let quantity = if input.quantity == 0 { 1 } else { input.quantity };
        if !(1..=MAX_QUANTITY).contains(&quantity) {
            let message = format!("is {quantity}; must be 1 to {MAX_QUANTITY}");
            self.problem(Reason::QuantityOutOfRange, format!("{path}.quantity"), message);
            return None;
        }
        if let Some(item) = index.item(&modifier.item_id) {
            self.want(path, item, i64::from(quantity) * asker.units);
        }
        let times = chosen.add(&input.group_id, &input.modifier_id, quantity.into());
        let most = i64::from(modifier.max_quantity.max(1)) * asker.count;
        if times > most {
            let message = format!("modifier {} is chosen {times} times; at most {most}", shown(&modifier.id));
            self.problem(Reason::TooManyModifiers, format!("{path}.quantity"), message);
        }
        let nested = Asker {
            name: format!("modifier {}", shown(&modifier.id)),
            group_ids: &modifier.modifier_group_ids,
            count: quantity.into(),
            units: asker.units,
            depth: asker.depth + 1,
        };
        Some(LineModifier {
            group_id: input.group_id.clone(),
            modifier_id: modifier.id.clone(),
            name: localized(modifier.name.as_ref(), self.terms.locales).to_owned(),
            quantity,
            price: Some(self.catalog_price(modifier.price.as_ref())),
            modifiers: self.modifiers(path, &input.modifiers, &nested),
        })
    }

    /// How many choices each group got, against its minimum and maximum.
    fn check_groups(&mut self, path: &str, asker: &Asker<'a>, chosen: &Chosen<'_>) {
        for group in asker.group_ids.iter().filter_map(|id| self.index.modifier_group(id)) {
            let count = chosen.in_group(&group.id);
            let least = i64::from(group.min_choices) * asker.count;
            let most = i64::from(group.max_choices) * asker.count;
            let (reason, bound) = match count {
                _ if count < least => (Reason::TooFewModifiers, format!("at least {least}")),
                _ if count > most => (Reason::TooManyModifiers, format!("at most {most}")),
                _ => continue,
            };
            let message = format!("{}: group {} has {count} choices; {bound}", asker.name, shown(&group.id));
            self.problem(reason, format!("{path}.modifiers"), message);
        }
    }

    fn catalog_price(&self, price: Option<&Money>) -> Money {
        Money { currency_code: self.index.catalog().currency_code.clone(), amount: money::amount(price) }
    }

    /// As a guest knows it.
    fn named(&self, name: Option<&LocalizedText>, id: &str) -> String {
        let of_store = self.terms.locales.iter().map(String::as_str);
        let locales: Vec<&str> = std::iter::once(self.terms.guest_locale).chain(of_store).collect();
        match localized(name, &locales) {
            "" => shown(id),
            name => name.to_owned(),
        }
    }

    fn problem(&mut self, reason: Reason, field: String, message: String) {
        self.note(Problem::new(reason, field, message));
    }

    fn note(&mut self, problem: Problem) {
        if self.problems.len() < Problem::MAX_REPORTED {
            self.problems.push(problem);
        }
    }
}

/// What was chosen in answer to one asker, counted.
#[derive(Default)]
struct Chosen<'i> {
    groups: HashMap<&'i str, i64>,
    modifiers: HashMap<(&'i str, &'i str), i64>,
}

impl<'i> Chosen<'i> {
    /// How often this modifier is chosen by now.
    fn add(&mut self, group_id: &'i str, modifier_id: &'i str, quantity: i64) -> i64 {
        *self.groups.entry(group_id).or_default() += quantity;
        let times = self.modifiers.entry((group_id, modifier_id)).or_default();
        *times += quantity;
        *times
    }

    fn in_group(&self, group_id: &str) -> i64 {
        self.groups.get(group_id).copied().unwrap_or(0)
    }
}

/// What the choices add to one unit of the line, at all depths.
fn modifiers_price(modifiers: &[LineModifier]) -> i128 {
    modifiers
        .iter()
        .map(|m| i128::from(money::amount(m.price.as_ref())) * i128::from(m.quantity) + modifiers_price(&m.modifiers))
        .sum()
}
