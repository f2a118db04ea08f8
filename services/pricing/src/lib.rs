//! The rules of money and choice: which lines a store's catalog allows, and what they cost with tax.
//!
//! Pure: no I/O, no clock, no floats. The catalog service shows prices with it, the order service quotes with it, so
//! that what a guest sees and what an order costs come from the same arithmetic.
//!
//! Rules that are easy to get wrong, and how they are decided here:
//!
//! - **Defaults are not added.** A modifier that is `selected_by_default` counts only if the line names it. The product
//!   sends what the guest saw; a group with a minimum that the guest left empty is refused, never filled in.
//! - **Quantities of choices are per unit of the line**, at every depth. Two patties with one cheese each are quantity
//!   2 with a nested cheese of quantity 2. The limits of a nested group therefore count once per parent: with two
//!   patties, a group "cheese, at most 1" takes at most 2.
//! - **Tax is rounded once per rate and receipt**, or once per line, as the catalog's `tax_rounding` says. Inclusive
//!   prices keep their total and the tax is taken out of it; exclusive ones get the tax on top. Prices of both kinds at
//!   one rate are two groups, each rounded by itself, and so are taxes of one rate that the POS keeps apart (`tax_id`).
//! - **What the POS counts is counted over all lines**, choices that are such an item included.
//! - A line, with its modifiers, never costs less than zero.
//! - **A service charge is a share of the lines**, of those in one service mode together, never of another charge. It is
//!   rounded by its own rule, and taxed as one more amount of its tax class.

mod charge;
mod index;
mod line;
mod money;
mod problem;
mod sold;
mod tax;
mod text;

use posmesh_proto::{
    common::v1::{Money, Product, ServiceMode},
    order::v1::{OrderLineInput, Quote},
};

pub use charge::{MAX_CHARGE_RATE_BP, is_charged_in};
pub use index::{CatalogIndex, UnusableCatalog};
pub use money::{MAX_TOTAL, MAX_UNIT_PRICE, shown_amount};
pub use problem::{Problem, Reason, Shortage};
pub use sold::{ClosedPeriods, is_choice_available, is_sold_in, is_sold_while};
pub use text::{check_text, localized};

/// Most lines that one order may have.
pub const MAX_LINES: usize = 500;
/// Most units of one line, or of one choice on it.
pub const MAX_QUANTITY: i32 = 999;
/// Most characters of a line's note.
pub const MAX_NOTE_CHARS: usize = 200;
/// How deep choices about choices may go; a choice on the line itself is 1 deep.
pub const MAX_DEPTH: usize = 8;

/// What a quote depends on besides the catalog and the lines.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// For lines that do not say how they are served; see [`default_service_mode`].
    pub default_mode: ServiceMode,
    /// Languages of the names on the lines, the best first: the store's own.
    pub locales: &'a [String],
    /// The guest's language: problems name things in it where it can be, else in `locales`. May be empty.
    pub guest_locale: &'a str,
    /// The menu periods that do not go on at the order's time.
    pub closed: &'a ClosedPeriods,
}

/// How a product serves a line that does not say so: takeaway for ToGo, else dine-in.
pub fn default_service_mode(product: Product) -> ServiceMode {
    match product {
        Product::ToGo => ServiceMode::Takeaway,
        Product::Unspecified | Product::Table | Product::Kiosk => ServiceMode::DineIn,
    }
}

/// Checks the lines against the catalog and prices them. The lines of the quote stand in the order of the input, without
/// `line_id`; its price is an estimate until the POS confirms it.
///
/// # Errors
///
/// Everything that is wrong with the lines, at most [`Problem::MAX_REPORTED`] of them, each with its field.
pub fn price_lines(index: &CatalogIndex, lines: &[OrderLineInput], terms: Terms<'_>) -> Result<Quote, Vec<Problem>> {
    if lines.is_empty() {
        return Err(vec![Problem::new(Reason::EmptyOrder, "lines", "the order has no line; send at least one")]);
    }
    if lines.len() > MAX_LINES {
        let message = format!("the order has {} lines; at most {MAX_LINES} are taken", lines.len());
        return Err(vec![Problem::new(Reason::TooManyLines, "lines", message)]);
    }
    let lines = line::resolve(index, lines, terms)?;
    let price = tax::price(index, &lines, terms.locales).map_err(|problem| vec![problem])?;
    Ok(Quote { lines, price: Some(price), catalog_version: index.catalog().version, ..Quote::default() })
}

/// What one unit of an item costs without modifiers, tax included: the price on a menu.
///
/// `None` if the catalog has no such item or the mode is unspecified. Where tax is rounded per receipt, several units may cost less or more than
/// that many times this price.
pub fn display_price(index: &CatalogIndex, item_id: &str, mode: ServiceMode) -> Option<Money> {
    let (item, class) = index.item_with_tax(item_id)?;
    let amount = money::amount(item.price.as_ref());
    let tax = if class.included_in_price {
        0
    } else {
        tax::tax_of(amount.into(), index::rate_ppm(class, mode)?, false, index.rounding().direction)
    };
    // An index holds no price above MAX_UNIT_PRICE and no rate above 100 %, so this is always in range.
    money::money(&index.catalog().currency_code, i128::from(amount) + tax)
}

/// The tax rate of an item in a service mode, in millionths. `None` if the catalog has no such item, or the mode is
/// unspecified.
pub fn tax_rate_ppm(index: &CatalogIndex, item_id: &str, mode: ServiceMode) -> Option<i32> {
    index::rate_ppm(index.item_with_tax(item_id)?.1, mode)
}
