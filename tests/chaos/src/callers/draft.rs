//! An order before anybody has seen it.

use posmesh_proto::common::v1::Product;
use rand::{RngExt as _, rngs::StdRng};

use super::{Basket, World};
use crate::book::{Request, now_ms};

/// What a guest wants.
#[derive(Debug, Clone)]
pub struct Draft {
    /// As in [`Request`].
    pub key: String,
    /// What sells it.
    pub product: Product,
    /// Items and how many of each.
    pub lines: Vec<(String, i32)>,
    /// Minor units.
    pub total: i64,
    /// Whether it was paid elsewhere.
    pub is_paid: bool,
    /// When a ToGo guest comes for it, unix seconds; the same in every repetition.
    pub pickup_s: i64,
}

impl Draft {
    /// By chance, and noted in the book.
    pub fn new(world: &World, dice: &mut StdRng, product: Product, party: Option<&str>) -> Self {
        let Basket { lines, total } = world.baskets[dice.random_range(0..world.baskets.len())].clone();
        let is_paid = product != Product::Table && dice.random_bool(0.5);
        let pickup_s = now_ms() / 1000 + 3600;
        let draft = Self { key: world.new_key(), product, lines, total, is_paid, pickup_s };
        world.book.open(Request {
            key: draft.key.clone(),
            product,
            party: party.map(str::to_owned),
            total,
            is_paid,
            told: Vec::new(),
        });
        draft
    }
}
