//! Questions and their choices.

use std::collections::{HashMap, HashSet};

use posmesh_proto::catalog::v1::{CatalogChangeKind as Kind, Modifier, ModifierGroup};

use super::{Differ, What, details};

pub(super) fn compare(differ: &mut Differ<'_>) {
    let groups = &differ.before.modifier_groups;
    let known: HashMap<&str, &ModifierGroup> = groups.iter().map(|group| (group.id.as_str(), group)).collect();
    let is_there: HashSet<&str> = differ.after.modifier_groups.iter().map(|group| group.id.as_str()).collect();
    for group in &differ.after.modifier_groups {
        let what = what(differ, group);
        match known.get(group.id.as_str()) {
            None => {
                let text = format!("new question with {} choices", group.modifiers.len());
                differ.tell(what, Kind::Added, "", text);
            }
            Some(was) if *was != group => {
                let count = differ.count();
                changed(differ, what, was, group);
                differ.rest(what, count);
            }
            Some(_) => {}
        }
    }
    for group in differ.before.modifier_groups.iter().filter(|group| !is_there.contains(group.id.as_str())) {
        differ.tell(what(differ, group), Kind::Removed, "", "question gone".to_owned());
    }
}

fn what<'a>(differ: &Differ<'a>, group: &'a ModifierGroup) -> What<'a> {
    What { entity: "modifier_group", id: &group.id, name: differ.called(group.name.as_ref()), group_id: "" }
}

fn changed<'a>(differ: &mut Differ<'a>, what: What<'_>, was: &'a ModifierGroup, is: &'a ModifierGroup) {
    differ.names(what, was.name.as_ref(), is.name.as_ref());
    let limits = |group: &ModifierGroup| (group.min_choices, group.max_choices);
    if limits(was) != limits(is) {
        let words = |(min, max)| format!("{min} to {max}");
        let text = format!("choices {} → {}", words(limits(was)), words(limits(is)));
        differ.tell(what, Kind::Changed, "min_choices", text);
    }
    let known: HashMap<&str, &Modifier> = was.modifiers.iter().map(|choice| (choice.id.as_str(), choice)).collect();
    for choice in &is.modifiers {
        // A choice is told with its question: "Sauce, Salt".
        let name = format!("{}, {}", what.name, differ.called(choice.name.as_ref()));
        let of_choice = What { entity: "modifier", id: &choice.id, name: &name, group_id: &is.id };
        match known.get(choice.id.as_str()) {
            None => {
                let text = format!("new choice, {}", differ.shown(choice.price.as_ref()));
                differ.tell(of_choice, Kind::Added, "", text);
            }
            Some(before) if *before != choice => {
                let count = differ.count();
                choice_changed(differ, of_choice, before, choice);
                differ.rest(of_choice, count);
            }
            Some(_) => {}
        }
    }
    for choice in was.modifiers.iter().filter(|choice| is.modifiers.iter().all(|left| left.id != choice.id)) {
        let name = format!("{}, {}", what.name, differ.called(choice.name.as_ref()));
        let of_choice = What { entity: "modifier", id: &choice.id, name: &name, group_id: &is.id };
        differ.tell(of_choice, Kind::Removed, "", "choice gone".to_owned());
    }
}

fn choice_changed<'a>(differ: &mut Differ<'a>, what: What<'_>, was: &'a Modifier, is: &'a Modifier) {
    differ.names(what, was.name.as_ref(), is.name.as_ref());
    differ.prices(what, was.price.as_ref(), is.price.as_ref());
    differ.availability(what, was.available, is.available);
    if was.max_quantity != is.max_quantity {
        let text = format!("at most {} → {}", was.max_quantity, is.max_quantity);
        differ.tell(what, Kind::Changed, "max_quantity", text);
    }
    if was.selected_by_default != is.selected_by_default {
        let text = if is.selected_by_default { "chosen by default" } else { "no longer chosen by default" };
        differ.tell(what, Kind::Changed, "selected_by_default", text.to_owned());
    }
    if was.modifier_group_ids != is.modifier_group_ids {
        differ.tell(what, Kind::Changed, "modifier_group_ids", "asks other questions".to_owned());
    }
    details::allergens(differ, what, was.allergens.as_ref(), is.allergens.as_ref());
    if was.item_id != is.item_id {
        differ.tell(what, Kind::Changed, "item_id", "it is another item".to_owned());
    }
}
