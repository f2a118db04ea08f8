//! Choices about choices. The platform counts each per unit of the line, at every depth; this POS counts a nested one
//! per unit of what it modifies. Two patties with three slices of cheese in all are, here, a patty with two and a patty
//! with one. So choices are taken apart into single units, nested ones dealt out to them in turn, and equal units put
//! together again. Dealing in turn keeps each unit within the limits of a group whenever the whole is.

use posmesh_proto::adapter::v1::PosModifier;

use crate::wire::ModifierInput;

/// Most units of one choice; the POS's own limit.
const MAX_QUANTITY: i32 = 99;

/// The choices of a line, or of one unit. `Err` is what cannot be said to this POS.
pub(crate) fn to_wire(modifiers: &[PosModifier]) -> Result<Vec<ModifierInput>, String> {
    let mut units = Vec::new();
    for modifier in modifiers {
        units.extend(take_apart(modifier)?);
    }
    Ok(put_together(units))
}

/// One unit of a choice each, with what is chosen about it.
fn take_apart(modifier: &PosModifier) -> Result<Vec<ModifierInput>, String> {
    if !(1..=MAX_QUANTITY).contains(&modifier.quantity) {
        let PosModifier { modifier_id, group_id, quantity, .. } = modifier;
        let message = format!("{quantity} times {modifier_id:?} of {group_id:?}: the POS takes 1 to {MAX_QUANTITY}");
        return Err(message);
    }
    // In range, as just checked.
    let count = modifier.quantity as usize;
    let mut nested: Vec<Vec<ModifierInput>> = vec![Vec::new(); count];
    let mut dealt: Vec<(&str, usize)> = Vec::new();
    for choice in &modifier.modifiers {
        let position = dealt.iter().position(|(group_id, _)| *group_id == choice.group_id).unwrap_or_else(|| {
            dealt.push((&choice.group_id, 0));
            dealt.len() - 1
        });
        let (_, next) = &mut dealt[position];
        for unit in take_apart(choice)? {
            nested[*next % count].push(unit);
            *next += 1;
        }
    }
    let unit = |modifiers| ModifierInput {
        group_id: modifier.group_id.clone(),
        option_id: modifier.modifier_id.clone(),
        quantity: 1,
        modifiers: put_together(modifiers),
    };
    Ok(nested.into_iter().map(unit).collect())
}

fn put_together(units: Vec<ModifierInput>) -> Vec<ModifierInput> {
    let mut together: Vec<ModifierInput> = Vec::new();
    for unit in units {
        let same = |other: &&mut ModifierInput| {
            (&other.group_id, &other.option_id, &other.modifiers) == (&unit.group_id, &unit.option_id, &unit.modifiers)
        };
        match together.iter_mut().find(same) {
            Some(other) => other.quantity += unit.quantity,
            None => together.push(unit),
        }
    }
    together
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn choice(id: &str, quantity: i32, modifiers: Vec<PosModifier>) -> PosModifier {
        let (group_id, modifier_id) = id.split_once('/').unwrap();
        PosModifier {
            group_id: group_id.to_owned(),
            modifier_id: modifier_id.to_owned(),
            quantity,
            modifiers,
            ..PosModifier::default()
        }
    }

    /// `2 patty/beef (1 cheese/cheddar)`
    fn told(modifiers: &[ModifierInput]) -> String {
        let one = |m: &ModifierInput| match told(&m.modifiers) {
            nested if nested.is_empty() => format!("{} {}/{}", m.quantity, m.group_id, m.option_id),
            nested => format!("{} {}/{} ({nested})", m.quantity, m.group_id, m.option_id),
        };
        modifiers.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn sent(modifiers: Vec<PosModifier>) -> String {
        told(&to_wire(&modifiers).unwrap())
    }

    #[test]
    fn a_choice_about_each_unit_is_counted_once_per_unit() {
        let patties = choice("patty/beef", 2, vec![choice("cheese/cheddar", 2, vec![])]);
        assert_eq!(sent(vec![patties]), "2 patty/beef (1 cheese/cheddar)");
    }

    #[test]
    fn what_does_not_divide_evenly_makes_units_that_differ() {
        let patties = choice("patty/beef", 2, vec![choice("cheese/cheddar", 3, vec![])]);
        assert_eq!(sent(vec![patties]), "1 patty/beef (2 cheese/cheddar), 1 patty/beef (1 cheese/cheddar)");
    }

    #[test]
    fn two_choices_of_one_group_go_to_different_units() {
        let cheeses = vec![choice("cheese/cheddar", 1, vec![]), choice("cheese/brie", 1, vec![])];
        let patties = choice("patty/beef", 2, cheeses);
        assert_eq!(sent(vec![patties]), "1 patty/beef (1 cheese/cheddar), 1 patty/beef (1 cheese/brie)");
    }

    #[test]
    fn groups_are_dealt_out_each_by_itself_and_at_every_depth() {
        let sauce = choice("sauce/bbq", 2, vec![choice("heat/mild", 2, vec![])]);
        let patties = choice("patty/beef", 2, vec![choice("cheese/cheddar", 1, vec![]), sauce]);
        assert_eq!(
            sent(vec![choice("bun/rye", 1, vec![]), patties]),
            "1 bun/rye, 1 patty/beef (1 cheese/cheddar, 1 sauce/bbq (1 heat/mild)), \
             1 patty/beef (1 sauce/bbq (1 heat/mild))"
        );
    }

    #[test]
    fn a_quantity_that_the_pos_does_not_take_is_refused_before_it_is_taken_apart() {
        for quantity in [0, -1, 100, i32::MAX] {
            assert!(to_wire(&[choice("patty/beef", quantity, vec![])]).is_err(), "{quantity}");
        }
    }
}
