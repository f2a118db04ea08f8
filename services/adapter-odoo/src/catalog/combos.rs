//! Combos ("burger menu: one burger, one drink") as modifier groups.
//!
//! Odoo's combo asks for `qty_free` pieces at the combo's own price, and sells further ones up to `qty_max` for the
//! combo's `base_price` each. That is two groups: the pieces within the price, and the ones beyond it.

use posmesh_proto::catalog::v1::{Modifier, ModifierGroup};

use super::{
    COMBO_EXTRA_GROUP, COMBO_GROUP,
    modifiers::Groups,
    names::Named,
    records::{Combo, ComboItem, Template},
    tax_classes::TaxClasses,
};

/// What a combo is to a menu.
pub(super) struct ComboMenu {
    pub(super) tax_class_id: String,
    pub(super) group_ids: Vec<String>,
}

impl Groups<'_> {
    /// The groups and the tax class of a combo product. `Err` says why it cannot be offered.
    pub(super) fn of_combo(
        &mut self,
        template: &Template,
        price: i64,
        per_line_rounding: bool,
        classes: &mut TaxClasses<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<ComboMenu, String> {
        let records = self.records;
        let combos: Vec<&Combo> = template.combo_ids.iter().filter_map(|id| records.combos.get(id)).collect();
        // The combo's price is split over its free pieces by what they cost alone.
        let carries_price = combos.iter().any(|combo| combo.qty_free > 0 && combo.base_price > 0.0);
        if price > 0 && !carries_price {
            return Err("no choice of the combo carries its price".to_owned());
        }
        let mut menu = ComboMenu { tax_class_id: String::new(), group_ids: Vec::new() };
        for combo in combos {
            let modifiers = self.choices(template, combo, &mut menu.tax_class_id, classes, warnings)?;
            if modifiers.is_empty() {
                return Err(format!("none of the choices of {:?} can be offered", combo.name));
            }
            self.add_combo(combo, modifiers, &mut menu.group_ids)?;
        }
        // The parts are lines of their own at the POS, where each would round its tax by itself.
        if per_line_rounding && classes.is_on_top(&menu.tax_class_id) {
            return Err("the company rounds tax per line, and a combo is several lines at the POS".to_owned());
        }
        if per_line_rounding && classes.bears_tax(&menu.tax_class_id) {
            warnings.push(format!(
                "combo {:?}: Odoo rounds the tax in each of its parts, so the tax shown with an order may differ by a \
                 minor unit; its total does not",
                template.name
            ));
        }
        Ok(menu)
    }

    fn choices(
        &mut self,
        template: &Template,
        combo: &Combo,
        tax_class_id: &mut String,
        classes: &mut TaxClasses<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Modifier>, String> {
        let records = self.records;
        let mut modifiers = Vec::new();
        for item in combo.combo_item_ids.iter().filter_map(|id| records.combo_items.get(id)) {
            let variant = records.variants.iter().find(|variant| variant.id == item.product_id() && variant.active);
            let Some((variant, part)) = variant.and_then(|v| Some((v, records.templates.get(&v.template_id())?)))
            else {
                warnings.push(format!(
                    "combo {:?}: a choice of {:?} is left out, its product is archived",
                    template.name, combo.name
                ));
                continue;
            };
            let left_out = match self.choice(item, part, &variant.product_template_variant_value_ids, warnings) {
                Ok(modifier) => {
                    let class = classes.class_of(&part.taxes_id).map_err(|why| format!("{:?}: {why}", part.name))?;
                    if tax_class_id.is_empty() {
                        *tax_class_id = class;
                    } else if *tax_class_id != class {
                        return Err("its choices bear different taxes, which one item cannot say".to_owned());
                    }
                    modifiers.push(modifier);
                    continue;
                }
                Err(why) => why,
            };
            warnings.push(format!("combo {:?}, choice {:?}: left out, {left_out}", template.name, part.name));
        }
        Ok(modifiers)
    }

    fn choice(
        &mut self,
        item: &ComboItem,
        part: &Template,
        variant_values: &[i64],
        warnings: &mut Vec<String>,
    ) -> Result<Modifier, String> {
        if part.to_weight {
            return Err("it is sold by weight".to_owned());
        }
        let price = self.till.to_minor(item.extra_price).ok_or_else(|| self.too_fine(item.extra_price))?;
        Ok(Modifier {
            id: item.id.to_string(),
            name: self.names.with_values(Named::Template, part.id, variant_values),
            price: Some(self.till.money(price)),
            available: part.self_order_available,
            selected_by_default: false,
            max_quantity: 1,
            modifier_group_ids: self.of_template(part, warnings)?,
            item_id: item.product_id().to_string(),
            ..Modifier::default()
        })
    }

    /// Adds the groups of one combo.
    fn add_combo(&mut self, combo: &Combo, modifiers: Vec<Modifier>, ids: &mut Vec<String>) -> Result<(), String> {
        if combo.qty_free > 0 {
            let id = format!("{COMBO_GROUP}{}", combo.id);
            let mut modifiers = modifiers.clone();
            modifiers.iter_mut().for_each(|modifier| modifier.max_quantity = combo.qty_free);
            if let [only] = modifiers.as_mut_slice() {
                only.selected_by_default = true;
            }
            let (min_choices, max_choices) = (combo.qty_free, combo.qty_free);
            let name = self.names.text(Named::Combo, combo.id);
            self.groups.insert(id.clone(), ModifierGroup { id: id.clone(), name, min_choices, max_choices, modifiers });
            ids.push(id);
        }
        let beyond = combo.qty_max - combo.qty_free;
        if beyond > 0 {
            let base = self.till.to_minor(combo.base_price).ok_or_else(|| self.too_fine(combo.base_price))?;
            let id = format!("{COMBO_EXTRA_GROUP}{}", combo.id);
            let mut modifiers = modifiers;
            for modifier in &mut modifiers {
                modifier.max_quantity = beyond;
                let extra = modifier.price.as_ref().map_or(0, |price| price.amount);
                modifier.price = Some(self.till.money(base + extra));
            }
            let name = self.names.map(Named::Combo, combo.id, |name| format!("{name} +"));
            let (min_choices, max_choices) = (0, beyond);
            self.groups.insert(id.clone(), ModifierGroup { id: id.clone(), name, min_choices, max_choices, modifiers });
            ids.push(id);
        }
        Ok(())
    }
}
