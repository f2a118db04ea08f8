//! Attributes that are chosen on the line, as modifier groups.

use std::collections::BTreeMap;

use posmesh_proto::catalog::v1::{Modifier, ModifierGroup};

use crate::till::Till;

use super::{
    ATTRIBUTE_GROUP,
    names::{Named, Names},
    records::{AttributeLine, AttributeValue, Records, Template},
};

/// The groups that the items so far need, each once.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    pub(super) till: &'a Till,
    pub(super) records: &'a Records,
    pub(super) names: &'a Names,
    pub(super) groups: BTreeMap<String, ModifierGroup>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(till: &'a Till, records: &'a Records, names: &'a Names) -> Self {
        Self { till, records, names, groups: BTreeMap::new() }
    }

    /// The ids of a product's groups in the till's order. `Err` says why the product cannot be offered at all.
    pub(super) fn of_template(
        &mut self,
        template: &Template,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<String>, String> {
        if self.records.exclusions.contains(&template.id) {
            return Err("some of its choices exclude each other, which a menu cannot say".to_owned());
        }
        let records = self.records;
        let mut ids = Vec::new();
        for line in records.choices_of(template.id) {
            let id = format!("{ATTRIBUTE_GROUP}{}", line.id);
            if !self.groups.contains_key(&id) {
                let group = self.group(&id, line, template, warnings)?;
                self.groups.insert(id.clone(), group);
            }
            ids.push(id);
        }
        Ok(ids)
    }

    fn group(
        &self,
        id: &str,
        line: &AttributeLine,
        template: &Template,
        warnings: &mut Vec<String>,
    ) -> Result<ModifierGroup, String> {
        let kind = self.records.attributes.get(&line.attribute_id()).map_or("", |a| a.display_type.as_str());
        let any_number = kind == "multi";
        let values = line.product_template_value_ids.iter().filter_map(|id| self.records.values.get(id));
        let mut modifiers = Vec::new();
        for value in values.filter(|value| value.ptav_active) {
            match self.modifier(value) {
                Ok(modifier) => modifiers.push(modifier),
                Err(why) => {
                    warnings.push(format!("product {:?}, choice {:?}: left out, {why}", template.name, value.name));
                }
            }
        }
        let first = modifiers.first_mut();
        let (min_choices, max_choices) = match first {
            None => return Err("one of its questions has no choice that can be offered".to_owned()),
            Some(_) if any_number => (0, i32::try_from(modifiers.len()).unwrap_or(i32::MAX)),
            Some(first) => {
                // The till shows it selected.
                first.selected_by_default = true;
                (1, 1)
            }
        };
        let name = self.names.text(Named::Attribute, line.attribute_id());
        Ok(ModifierGroup { id: id.to_owned(), name, min_choices, max_choices, modifiers })
    }

    fn modifier(&self, value: &AttributeValue) -> Result<Modifier, String> {
        if value.is_custom {
            return Err("it asks for a text of the guest's own".to_owned());
        }
        let price = self.till.to_minor(value.price_extra).ok_or_else(|| self.too_fine(value.price_extra))?;
        Ok(Modifier {
            id: value.id.to_string(),
            name: self.names.text(Named::Value, value.id),
            price: Some(self.till.money(price)),
            available: true,
            selected_by_default: false,
            max_quantity: 1,
            ..Modifier::default()
        })
    }

    pub(super) fn too_fine(&self, price: f64) -> String {
        format!("its price of {price} has more decimals than {}", self.till.currency_code)
    }
}
