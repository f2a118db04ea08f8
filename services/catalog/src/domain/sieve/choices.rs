//! Questions and their choices, which nest: judged from the innermost outwards, each once.

use std::collections::{HashMap, HashSet};

use posmesh_pricing::MAX_DEPTH;
use posmesh_proto::catalog::v1::{Catalog, Modifier, ModifierGroup, ProblemEffect};

use super::{
    details,
    report::{At, Report, quoted},
    things::price,
};
use crate::domain::nesting;

/// Most choices that a group may take, and most times that one may be taken; the same as an order line's.
const MAX_CHOICES: i32 = 999;

/// What became of each group that the POS sent.
pub(super) struct Groups(HashMap<String, Fate>);

#[derive(Clone, Copy)]
enum Fate {
    Kept { depth: usize },
    LeftOut,
}

/// Leaves out the groups and choices that are wrong.
pub(super) fn groups(groups: &mut Vec<ModifierGroup>, report: &mut Report<'_>) -> Groups {
    let mut contains = contained(groups);
    let circular: HashSet<usize> = nesting::circular(&contains).into_iter().collect();
    // Without what is circular, depth is defined for all.
    circular.iter().for_each(|&place| contains[place].clear());
    let depths = nesting::depths(&contains);
    let mut inner_first: Vec<usize> = (0..groups.len()).collect();
    inner_first.sort_by_key(|&place| depths[place]);

    let mut fates = Groups(HashMap::with_capacity(groups.len()));
    for place in inner_first {
        let group = &mut groups[place];
        let fate = match judge(group, circular.contains(&place), &fates, report) {
            Some(depth) => Fate::Kept { depth },
            None => Fate::LeftOut,
        };
        fates.0.insert(group.id.clone(), fate);
    }
    groups.retain(|group| matches!(fates.0.get(&group.id), Some(Fate::Kept { .. })));
    fates
}

/// By place, the places of the groups that a group's choices ask.
fn contained(groups: &[ModifierGroup]) -> Vec<Vec<usize>> {
    let places: HashMap<&str, usize> = groups.iter().enumerate().map(|(place, g)| (g.id.as_str(), place)).collect();
    let below = |group: &ModifierGroup| {
        let ids = group.modifiers.iter().flat_map(|modifier| &modifier.modifier_group_ids);
        ids.filter_map(|id| places.get(id.as_str()).copied()).collect()
    };
    groups.iter().map(below).collect()
}

/// How deep a group nests that is right once its wrong choices are out.
fn judge(group: &mut ModifierGroup, is_circular: bool, fates: &Groups, report: &mut Report<'_>) -> Option<usize> {
    let ModifierGroup { id, name, min_choices, max_choices, modifiers } = group;
    let at = report.at("modifier_group", id, name.as_ref(), ProblemEffect::LeftOut);
    let mut depth = 1;
    let is_fine = report.is_fine(|report| {
        report.id(&at);
        report.name(&at, name.as_ref());
        let (min, max) = (*min_choices, *max_choices);
        if min < 0 || min > max || max > MAX_CHOICES {
            let message = format!("{min} to {max} choices are asked for; 0 <= min <= max <= {MAX_CHOICES} must hold");
            report.add(&at, "CHOICES_OUT_OF_RANGE", "min_choices", message);
        }
        if is_circular {
            return report.add(&at, "CIRCULAR_REFERENCE", "modifiers", "its choices lead back to itself");
        }
        each_choice_once(&at, modifiers, report);
        // What is wrong with a choice leaves that choice out, not the group.
        modifiers.retain_mut(|modifier| report.is_fine(|report| choice(modifier, fates, report)));
        let offered: i64 = modifiers.iter().map(|modifier| i64::from(modifier.max_quantity)).sum();
        if min > 0 && offered < i64::from(min) {
            let message = format!("at least {min} choices are asked for, but only {offered} are there to choose");
            report.add(&at, "TOO_FEW_CHOICES", "modifiers", message);
        }
        depth += modifiers.iter().map(|modifier| fates.depth(&modifier.modifier_group_ids)).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            let message = format!("its choices go {depth} deep; at most {MAX_DEPTH} are taken");
            report.add(&at, "NESTING_TOO_DEEP", "modifiers", message);
        }
    });
    is_fine.then_some(depth)
}

fn each_choice_once(at: &At<'_>, modifiers: &mut Vec<Modifier>, report: &mut Report<'_>) {
    let mut kept: Vec<Modifier> = Vec::with_capacity(modifiers.len());
    let mut places: HashMap<String, usize> = HashMap::with_capacity(modifiers.len());
    for modifier in modifiers.drain(..) {
        match places.get(&modifier.id) {
            Some(&place) => {
                let id = quoted(&modifier.id);
                if kept[place] == modifier {
                    report.add(&at.corrected(), "DUPLICATE_ID", "modifiers", format!("the choice {id} was sent twice"));
                } else {
                    report.add(at, "DUPLICATE_ID", "modifiers", format!("two choices have the id {id}"));
                }
            }
            None => {
                places.insert(modifier.id.clone(), kept.len());
                kept.push(modifier);
            }
        }
    }
    *modifiers = kept;
}

fn choice(modifier: &mut Modifier, fates: &Groups, report: &mut Report<'_>) {
    let Modifier { id, name, price: amount, max_quantity, modifier_group_ids, allergens, .. } = modifier;
    let at = report.at("modifier", id, name.as_ref(), ProblemEffect::LeftOut);
    report.id(&at);
    report.name(&at, name.as_ref());
    // An absent price is none: the choice is free.
    if let Some(amount) = amount {
        price(&at, amount, report);
    }
    if !(1..=MAX_CHOICES).contains(max_quantity) {
        let message = format!("it may be chosen {max_quantity} times; must be 1 to {MAX_CHOICES}");
        report.add(&at, "CHOICES_OUT_OF_RANGE", "max_quantity", message);
    }
    details::allergens(&at, allergens, report);
    fates.check(&at, modifier_group_ids, report);
}

/// Strikes out the items that choices are said to be and that are not there. Items are judged before.
pub(super) fn items_of_choices(catalog: &mut Catalog, report: &mut Report<'_>) {
    let items: HashSet<&str> = catalog.items.iter().map(|item| item.id.as_str()).collect();
    for modifier in catalog.modifier_groups.iter_mut().flat_map(|group| &mut group.modifiers) {
        let Modifier { id, name, item_id, .. } = modifier;
        if !item_id.is_empty() && !items.contains(item_id.as_str()) {
            let at = report.at("modifier", id, name.as_ref(), ProblemEffect::Corrected);
            let message = format!("the item {} that it is said to be is not there; it stands alone", quoted(item_id));
            report.add(&at, "DANGLING_REFERENCE", "item_id", message);
            item_id.clear();
        }
    }
}

impl Groups {
    /// The questions about an item or a choice: each there, each once.
    pub(super) fn check(&self, at: &At<'_>, ids: &mut Vec<String>, report: &mut Report<'_>) {
        let mut seen = HashSet::with_capacity(ids.len());
        ids.retain(|id| {
            match self.0.get(id) {
                Some(Fate::Kept { .. }) => {}
                Some(Fate::LeftOut) => report.needs_left_out(at, "modifier_group_ids", "modifier group", id),
                None => report.dangling(at, "modifier_group_ids", "modifier group", id),
            }
            let is_first = seen.insert(id.clone());
            if !is_first {
                let message = format!("it asks the modifier group {} twice", quoted(id));
                report.add(&at.corrected(), "DUPLICATE_REFERENCE", "modifier_group_ids", message);
            }
            is_first
        });
    }

    /// Of the deepest of them.
    fn depth(&self, ids: &[String]) -> usize {
        let depth = |id: &String| match self.0.get(id) {
            Some(Fate::Kept { depth }) => *depth,
            Some(Fate::LeftOut) | None => 0,
        };
        ids.iter().map(depth).max().unwrap_or(0)
    }
}
