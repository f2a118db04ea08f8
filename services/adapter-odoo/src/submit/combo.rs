//! How a combo's price falls on its parts.

/// Some pieces of one choice.
#[derive(Debug, Clone)]
pub(super) struct Piece<T> {
    /// What one costs alone, by which it carries the combo's price. `None`: it carries none.
    pub(super) weight: Option<i64>,
    pub(super) quantity: i64,
    pub(super) what: T,
}

/// A part with its share of the price of one combo.
#[derive(Debug, Clone)]
pub(super) struct Part<T> {
    pub(super) piece: Piece<T>,
    pub(super) quantity: i64,
    /// For one piece.
    pub(super) unit_price: i64,
}

/// Splits the price of one combo as Odoo's till does: in proportion to the weights, each share rounded, the rest on the
/// last piece. Where the last choice has several pieces, its last one becomes a part of its own, so that the shares sum
/// up to the price exactly (the till is off by the rest times the pieces there). `None`: nothing can carry the price.
pub(super) fn split<T: Clone>(price: i64, pieces: Vec<Piece<T>>) -> Option<Vec<Part<T>>> {
    let whole: i128 = pieces.iter().filter_map(|p| Some(i128::from(p.weight?) * i128::from(p.quantity))).sum();
    let last = pieces.iter().rposition(|piece| piece.weight.is_some());
    if whole <= 0 && price != 0 {
        return None;
    }
    let mut rest = price;
    let mut parts = Vec::with_capacity(pieces.len() + 1);
    for (at, piece) in pieces.into_iter().enumerate() {
        let share = match piece.weight {
            Some(weight) if whole > 0 => rounded(i128::from(weight) * i128::from(price), whole)?,
            _ => 0,
        };
        let quantity = piece.quantity;
        if Some(at) != last {
            rest -= share * quantity;
            parts.push(Part { piece, quantity, unit_price: share });
            continue;
        }
        if quantity > 1 {
            rest -= share * (quantity - 1);
            parts.push(Part { piece: piece.clone(), quantity: quantity - 1, unit_price: share });
        }
        parts.push(Part { piece, quantity: 1, unit_price: rest });
    }
    Some(parts)
}

/// Halves away from zero; neither is negative.
fn rounded(dividend: i128, divisor: i128) -> Option<i64> {
    i64::try_from((2 * dividend + divisor) / (2 * divisor)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shares(price: i64, pieces: &[(Option<i64>, i64)]) -> Vec<(i64, i64)> {
        let pieces = pieces.iter().map(|&(weight, quantity)| Piece { weight, quantity, what: () }).collect();
        split(price, pieces).unwrap().into_iter().map(|part| (part.quantity, part.unit_price)).collect()
    }

    #[test]
    fn the_burger_menu_is_split_as_odoos_till_was_seen_to_do() {
        assert_eq!(shares(1000, &[(Some(1300), 1), (Some(220), 1)]), [(1, 855), (1, 145)]);
    }

    #[test]
    fn shares_always_sum_up_to_the_price() {
        for (price, pieces) in [
            (2000, vec![(Some(925), 2), (Some(220), 1)]),
            (1000, vec![(Some(333), 3)]),
            (1001, vec![(Some(100), 2), (None, 2), (Some(100), 2)]),
            (1, vec![(Some(1), 1), (Some(1), 1), (Some(1), 1)]),
            (0, vec![(Some(0), 1)]),
        ] {
            let sum: i64 = shares(price, &pieces).iter().map(|(quantity, unit)| quantity * unit).sum();
            assert_eq!(sum, price, "{pieces:?}");
        }
    }

    #[test]
    fn pieces_beyond_the_free_ones_carry_nothing_and_cannot_carry_all() {
        assert_eq!(shares(500, &[(Some(100), 1), (None, 3)]), [(1, 500), (3, 0)]);
        assert!(split(500, vec![Piece { weight: None, quantity: 1, what: () }]).is_none());
    }
}
