//! Things that the POS numbers one after the other, of which the oldest are forgotten.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// A sequence of things numbered from 1 without gaps, the oldest of which may be gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Numbered<T> {
    /// How many are gone.
    forgotten: u64,
    kept: VecDeque<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered { forgotten: 0, kept: VecDeque::new() }
    }
}

impl<T> Numbered<T> {
    /// All up to a number are gone.
    pub(crate) fn after_all(forgotten: u64) -> Self {
        Numbered { forgotten, kept: VecDeque::new() }
    }

    /// The number that the next one gets.
    pub(crate) fn next(&self) -> u64 {
        self.forgotten + self.kept.len() as u64 + 1
    }

    /// The number of the last one; 0 if there never was any.
    pub(crate) fn last(&self) -> u64 {
        self.next() - 1
    }

    pub(crate) fn push(&mut self, thing: T) {
        self.kept.push_back(thing);
    }

    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        self.kept.get(self.index(number)?)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let index = self.index(number)?;
        self.kept.get_mut(index)
    }

    /// Those kept after a number, by number.
    pub(crate) fn after(&self, number: u64) -> impl DoubleEndedIterator<Item = &T> {
        let skipped = number.saturating_sub(self.forgotten);
        self.kept.range(usize::try_from(skipped).unwrap_or(usize::MAX).min(self.kept.len())..)
    }

    /// Whether nothing after a number is gone, and the number was given.
    pub(crate) fn continues_after(&self, number: u64) -> bool {
        (self.forgotten..=self.last()).contains(&number)
    }

    pub(crate) fn oldest(&self) -> Option<&T> {
        self.kept.front()
    }

    /// Forgets the oldest.
    pub(crate) fn forget(&mut self) -> Option<T> {
        let oldest = self.kept.pop_front()?;
        self.forgotten += 1;
        Some(oldest)
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.forgotten + 1)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_when_the_oldest_are_forgotten() {
        let mut things = Numbered::default();
        (1..=5).for_each(|thing| things.push(thing));
        assert_eq!((things.forget(), things.forget()), (Some(1), Some(2)));
        assert_eq!((things.get(2), things.get(3), things.get(5), things.get(6)), (None, Some(&3), Some(&5), None));
        assert_eq!((things.next(), things.last()), (6, 5));
        assert_eq!(things.after(0).copied().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(things.after(4).copied().collect::<Vec<_>>(), [5]);
        assert_eq!(things.after(9).count(), 0);
        let continues = |number| things.continues_after(number);
        assert_eq!([1, 2, 5, 6].map(continues), [false, true, true, false]);
    }
}
