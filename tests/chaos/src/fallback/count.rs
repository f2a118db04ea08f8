//! What became of the orders that went to the fallback.

use std::fmt;

use anyhow::Result;
use posmesh_proto::order::v1::{Order, PosEntry};

use crate::{callers::World, facts, is_to_be_entered};

/// How many orders that the fallback printed are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// The platform will enter them.
    pub due: usize,
    /// They are on the staff's list.
    pub on_list: usize,
    /// The platform entered them.
    pub entered: usize,
    /// The staff said that they entered them.
    pub by_staff: usize,
}

impl Count {
    /// Now, as a replica tells it.
    pub(super) async fn at(world: &World) -> Result<Self> {
        Ok(Self::of(&facts::orders(&world.replicas[0], &world.store_id, &[]).await?))
    }

    /// Among these.
    pub(super) fn of<'a>(orders: impl IntoIterator<Item = &'a Order>) -> Self {
        let mut count = Self::default();
        for order in orders {
            match order.pos_entry() {
                PosEntry::Due if is_to_be_entered(order) => count.due += 1,
                PosEntry::Due => count.on_list += 1,
                PosEntry::Entered => count.entered += 1,
                PosEntry::ByStaff => count.by_staff += 1,
                PosEntry::NotDue | PosEntry::Unspecified => {}
            }
        }
        count
    }

    /// Orders.
    pub fn in_all(self) -> usize {
        self.due + self.on_list + self.entered + self.by_staff
    }

    /// Whether the POS has been told of one.
    pub(super) fn is_begun(self) -> bool {
        self.entered + self.by_staff > 0
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { due, on_list, entered, by_staff } = self;
        write!(f, "{entered} entered, {by_staff} entered by staff, {on_list} on the staff's list, {due} to be entered")
    }
}
