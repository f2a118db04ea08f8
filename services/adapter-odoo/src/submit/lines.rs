//! An order's lines as Odoo's: pure.

use posmesh_adapter_kit::Unplaced;
use posmesh_kit::cause;
use posmesh_proto::{
    adapter::v1::{LineProblem, PosLine, PosModifier, PosOrder},
    common::v1::{Money, ServiceMode},
};
use uuid::Uuid;

use crate::{
    catalog::{ATTRIBUTE_GROUP, COMBO_EXTRA_GROUP, COMBO_GROUP},
    orders::check_text,
    tax::Rate,
    till::Till,
};

use super::{
    combo::{self, Piece},
    shelf::{Product, Shelf, record_id},
};

/// A line to create. Amounts are in minor units.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewLine {
    pub(super) uuid: String,
    pub(super) product_id: i64,
    pub(super) quantity: i64,
    /// With the prices of its choices.
    pub(super) unit_price: i64,
    /// What the choices add to it.
    pub(super) price_extra: i64,
    pub(super) rate: Rate,
    pub(super) attribute_value_ids: Vec<i64>,
    pub(super) name: String,
    pub(super) note: String,
    /// For a part of a combo: the combo's line, and which choice of it this is.
    pub(super) part_of: Option<(String, i64)>,
}

impl NewLine {
    pub(super) fn priced(&self) -> i64 {
        self.unit_price.saturating_mul(self.quantity)
    }
}

/// Why a line cannot go to Odoo: the cause and what to do.
type Refusal = (&'static str, String);

fn mismatch<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err((cause::MASTER_MISMATCH, message.into()))
}

/// All lines of the order, combos with their parts behind them.
pub(super) fn resolve(order: &PosOrder, till: &Till, shelf: &Shelf) -> Result<Vec<NewLine>, Unplaced> {
    let mut lines = Vec::new();
    let mut problems = Vec::new();
    for line in &order.lines {
        check_text("a line's note", &line.note)?;
        check_text("a line's name", &line.name)?;
        match (Resolver { till, shelf, line }).resolve() {
            Ok(resolved) => lines.extend(resolved),
            Err((cause, message)) => {
                problems.push(LineProblem { line_id: line.line_id.clone(), cause: cause.to_owned(), message });
            }
        }
    }
    match problems.first() {
        None => Ok(lines),
        Some(first) => {
            let message = format!("{} of {} lines: {}", problems.len(), order.lines.len(), first.message);
            Err(Unplaced::rejected_lines(&first.cause.clone(), message, problems))
        }
    }
}

struct Resolver<'a> {
    till: &'a Till,
    shelf: &'a Shelf,
    line: &'a PosLine,
}

impl Resolver<'_> {
    fn resolve(&self) -> Result<Vec<NewLine>, Refusal> {
        let line = self.line;
        let Ok(uuid) = Uuid::parse_str(&line.line_id) else {
            return Err((cause::NOT_SUPPORTED, format!("line id {:?} is no UUID, which Odoo needs", line.line_id)));
        };
        if line.quantity < 1 {
            return Err((cause::NOT_SUPPORTED, format!("the quantity is {}; it must be at least 1", line.quantity)));
        }
        let product = self.product(record_id(&line.item_id), &line.item_id)?;
        if !product.available_in_pos || !product.sale_ok {
            return Err((cause::ITEM_SOLD_OUT, format!("{:?} is switched off at the till", line.name)));
        }
        let unit_price = self.amount(line.unit_price.as_ref())?;
        if product.is_combo() { self.combo(uuid, product, unit_price) } else { self.plain(product, unit_price) }
    }

    fn plain(&self, product: &Product, unit_price: i64) -> Result<Vec<NewLine>, Refusal> {
        let line = self.line;
        let chosen = self.attributes(product, &line.modifiers)?;
        Ok(vec![NewLine {
            uuid: line.line_id.clone(),
            product_id: product.id,
            quantity: line.quantity.into(),
            unit_price: unit_price + chosen.price_extra,
            price_extra: chosen.price_extra,
            rate: self.rate(product)?,
            name: chosen.full_name(&line.name),
            attribute_value_ids: chosen.ids,
            note: line.note.clone(),
            part_of: None,
        }])
    }

    fn combo(&self, uuid: Uuid, product: &Product, price: i64) -> Result<Vec<NewLine>, Refusal> {
        let line = self.line;
        let mut pieces = Vec::new();
        for modifier in &line.modifiers {
            pieces.push(self.piece(modifier)?);
        }
        let Some(parts) = combo::split(price, pieces) else {
            return mismatch(format!("no choice of combo {:?} carries its price; sync the menu", line.name));
        };
        let mut lines = vec![NewLine {
            uuid: line.line_id.clone(),
            product_id: product.id,
            quantity: line.quantity.into(),
            unit_price: 0,
            price_extra: 0,
            rate: Rate::default(),
            attribute_value_ids: Vec::new(),
            name: line.name.clone(),
            note: line.note.clone(),
            part_of: None,
        }];
        for (at, part) in parts.into_iter().enumerate() {
            let (piece, share) = (part.piece, part.unit_price);
            lines.push(NewLine {
                // The same for every attempt.
                uuid: Uuid::new_v5(&uuid, format!("combo/{at}").as_bytes()).to_string(),
                product_id: piece.what.product_id,
                quantity: i64::from(line.quantity) * part.quantity,
                unit_price: share + piece.what.extra,
                price_extra: piece.what.attributes.price_extra,
                rate: piece.what.rate,
                name: piece.what.attributes.full_name(&piece.what.name),
                attribute_value_ids: piece.what.attributes.ids,
                note: String::new(),
                part_of: Some((line.line_id.clone(), piece.what.combo_item_id)),
            });
        }
        Ok(lines)
    }

    /// One choice of a combo.
    fn piece(&self, modifier: &PosModifier) -> Result<Piece<Choice>, Refusal> {
        if !modifier.group_id.starts_with(COMBO_GROUP) || modifier.quantity < 1 {
            return mismatch(format!("{:?} is no choice of combo {:?}; sync the menu", modifier.name, self.line.name));
        }
        let id = record_id(&modifier.modifier_id);
        let Some((id, item)) = id.and_then(|id| Some((id, self.shelf.combo_items.get(&id)?))) else {
            return mismatch(format!("Odoo has no combo choice {:?} any more; sync the menu", modifier.name));
        };
        let beyond = modifier.group_id.starts_with(COMBO_EXTRA_GROUP);
        let group = if beyond { COMBO_EXTRA_GROUP } else { COMBO_GROUP };
        if modifier.group_id != format!("{group}{}", item.combo_id()) {
            return mismatch(format!("{:?} is now a choice of another combo; sync the menu", modifier.name));
        }
        let product = self.product(Some(item.product_id()), &modifier.name)?;
        let attributes = self.attributes(product, &modifier.modifiers)?;
        let base_price = self.shelf.combos.get(&item.combo_id()).map_or(0.0, |combo| combo.base_price);
        Ok(Piece {
            // A piece beyond the free ones has its whole price in the choice.
            weight: if beyond { None } else { self.till.to_minor(base_price) },
            quantity: modifier.quantity.into(),
            what: Choice {
                product_id: product.id,
                combo_item_id: id,
                rate: self.rate(product)?,
                extra: self.amount(modifier.price.as_ref())? + attributes.price_extra,
                name: modifier.name.clone(),
                attributes,
            },
        })
    }

    fn product(&self, id: Option<i64>, shown: &str) -> Result<&Product, Refusal> {
        let product = id.and_then(|id| self.shelf.products.get(&id)).filter(|product| product.active);
        product
            .ok_or_else(|| (cause::MASTER_MISMATCH, format!("Odoo has no product {shown:?} any more; sync the menu")))
    }

    fn rate(&self, product: &Product) -> Result<Rate, Refusal> {
        let shelf = self.shelf;
        let position = match ServiceMode::try_from(self.line.service_mode) {
            Ok(ServiceMode::Takeaway) => &shelf.away,
            _ => &shelf.here,
        };
        let taxes = position.map(&shelf.taxes.of_company(&product.taxes_id));
        let why = |why: String| (cause::MASTER_MISMATCH, format!("{:?} cannot be taxed: {why}", self.line.name));
        shelf.taxes.rate(&taxes).map_err(why)
    }

    fn attributes(&self, product: &Product, modifiers: &[PosModifier]) -> Result<Attributes, Refusal> {
        let mut chosen = Attributes::default();
        for modifier in modifiers {
            let value = record_id(&modifier.modifier_id).and_then(|id| Some((id, self.shelf.values.get(&id)?)));
            let fits = value.filter(|(_, value)| {
                value.ptav_active
                    && value.template_id() == product.template_id()
                    && modifier.group_id == format!("{ATTRIBUTE_GROUP}{}", value.attribute_line_id())
                    && modifier.modifiers.is_empty()
            });
            let Some((id, _)) = fits else {
                return mismatch(format!(
                    "{:?} has no choice {:?} any more; sync the menu",
                    self.line.name, modifier.name
                ));
            };
            if modifier.quantity != 1 || chosen.ids.contains(&id) {
                return mismatch(format!("choice {:?} can be taken once only", modifier.name));
            }
            chosen.ids.push(id);
            chosen.price_extra += self.amount(modifier.price.as_ref())?;
            chosen.names.push(modifier.name.clone());
        }
        Ok(chosen)
    }

    /// An absent price is none.
    fn amount(&self, money: Option<&Money>) -> Result<i64, Refusal> {
        match money {
            None => Ok(0),
            Some(money) if money.currency_code == self.till.currency_code => Ok(money.amount),
            Some(money) => mismatch(format!(
                "the price is in {}, the till sells in {}",
                money.currency_code, self.till.currency_code
            )),
        }
    }
}

/// Chosen attribute values.
#[derive(Debug, Clone, Default)]
struct Attributes {
    ids: Vec<i64>,
    price_extra: i64,
    names: Vec<String>,
}

impl Attributes {
    /// As the till writes it on slips: `Bacon Burger (Belgian fries)`.
    fn full_name(&self, name: &str) -> String {
        if self.names.is_empty() { name.to_owned() } else { format!("{name} ({})", self.names.join(", ")) }
    }
}

#[derive(Debug, Clone)]
struct Choice {
    product_id: i64,
    combo_item_id: i64,
    rate: Rate,
    /// The choice's own price and that of its attributes.
    extra: i64,
    name: String,
    attributes: Attributes,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::till::tests::till;

    const LINE_ID: &str = "0198c9a4-0000-7000-8000-000000000001";

    fn shelf() -> Shelf {
        let product = |id: i64, kind: &str| {
            json!({"id": id, "active": true, "available_in_pos": true, "sale_ok": true, "type": kind,
                   "taxes_id": [], "product_tmpl_id": [id, "x"]})
        };
        let value =
            json!({"id": 79, "ptav_active": true, "product_tmpl_id": [161, "x"], "attribute_line_id": [18, "Sides"]});
        Shelf {
            products: [161, 185]
                .map(|id| {
                    let kind = if id == 185 { "combo" } else { "consu" };
                    (id, serde_json::from_value(product(id, kind)).unwrap())
                })
                .into(),
            values: [(79, serde_json::from_value(value).unwrap())].into(),
            combo_items: [(
                14,
                serde_json::from_value(json!({"id": 14, "combo_id": [6, "x"], "product_id": [161, "x"]})).unwrap(),
            )]
            .into(),
            combos: [(6, serde_json::from_value(json!({"id": 6, "base_price": 13.0})).unwrap())].into(),
            ..Shelf::default()
        }
    }

    fn line(item_id: &str, modifiers: Vec<PosModifier>) -> PosLine {
        PosLine {
            line_id: LINE_ID.to_owned(),
            item_id: item_id.to_owned(),
            name: "Burger".to_owned(),
            quantity: 2,
            unit_price: Some(Money { currency_code: "USD".to_owned(), amount: 1000 }),
            modifiers,
            ..PosLine::default()
        }
    }

    fn modifier(group_id: &str, modifier_id: &str, price: i64, modifiers: Vec<PosModifier>) -> PosModifier {
        let price = Some(Money { currency_code: "USD".to_owned(), amount: price });
        let (group_id, modifier_id) = (group_id.to_owned(), modifier_id.to_owned());
        PosModifier { group_id, modifier_id, name: "Fries".to_owned(), quantity: 1, price, modifiers }
    }

    fn resolve(line: PosLine) -> Result<Vec<NewLine>, Unplaced> {
        super::resolve(&PosOrder { lines: vec![line], ..PosOrder::default() }, &till(), &shelf())
    }

    #[test]
    fn a_choice_is_in_the_unit_price_and_in_the_name_on_the_slip() {
        let lines = resolve(line("161", vec![modifier("attribute-18", "79", 50, vec![])])).unwrap();
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((line.unit_price, line.price_extra, line.quantity), (1050, 50, 2));
        assert_eq!((line.name.as_str(), line.attribute_value_ids.as_slice()), ("Burger (Fries)", &[79][..]));
        assert_eq!(line.uuid, LINE_ID);
    }

    #[test]
    fn a_combos_parts_have_the_same_ids_at_every_attempt() {
        let combo =
            || line("185", vec![modifier("combo-6", "14", 0, vec![modifier("attribute-18", "79", 50, vec![])])]);
        let (first, again) = (resolve(combo()).unwrap(), resolve(combo()).unwrap());
        assert_eq!(first, again);
        let [parent, part] = first.as_slice() else { panic!("{first:?}") };
        assert_eq!((parent.unit_price, part.unit_price, part.quantity), (0, 1050, 2));
        assert_eq!(part.part_of, Some((LINE_ID.to_owned(), 14)));
        assert_ne!(part.uuid, parent.uuid);
    }

    #[test]
    fn what_the_till_does_not_have_is_a_problem_of_that_line() {
        let yen = Some(Money { currency_code: "JPY".to_owned(), amount: 1000 });
        let twice = modifier("attribute-18", "79", 0, vec![]);
        for (line, cause) in [
            (line("burger", vec![]), cause::MASTER_MISMATCH),
            (line("-161", vec![]), cause::MASTER_MISMATCH),
            (line("161", vec![modifier("attribute-19", "79", 0, vec![])]), cause::MASTER_MISMATCH),
            (line("161", vec![twice.clone(), twice]), cause::MASTER_MISMATCH),
            (line("185", vec![]), cause::MASTER_MISMATCH),
            (line("185", vec![modifier("combo-8", "14", 0, vec![])]), cause::MASTER_MISMATCH),
            (PosLine { unit_price: yen, ..line("161", vec![]) }, cause::MASTER_MISMATCH),
            (PosLine { quantity: 0, ..line("161", vec![]) }, cause::NOT_SUPPORTED),
            (PosLine { line_id: "l1".to_owned(), ..line("161", vec![]) }, cause::NOT_SUPPORTED),
        ] {
            let Err(Unplaced::Rejected(rejected)) = resolve(line.clone()) else { panic!("{line:?}") };
            assert_eq!((rejected.cause.as_str(), rejected.lines.len()), (cause, 1), "{}", rejected.message);
        }
    }
}
