//! The free blocks of one pool, ordered by (size, rank): of equal blocks, the one of the lowest rank is taken first (`ties.rs`).
//!
//! A best-fit search wants the first entry at or above a size. Entries lie in short sorted vectors, one per class of
//! sizes (eight classes to a power of two), with one bit per class that has any; so a search is two shifts, a look at a
//! word and a binary search among a handful:
//!
//! ```text
//! occupied  0 0 1 0 0 1 ...
//! classes       |     +-> [(1792, 0x800), (1792, 0x4000), (2048, 0x200)]
//!               +-> [(512, 0x0)]
//! ```

use super::block::BlockId;
use super::rounding::BLOCK;

/// One power of two is cut into `1 << FINE` classes.
const FINE: u32 = 3;
/// Classes that a 64-bit size of whole blocks can have: 55 bits of blocks.
const CLASSES: usize = 56 << FINE;

/// A free block: its size in bytes and its rank, by which entries are ordered, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub size: u64,
    pub rank: u64,
    pub block: BlockId,
}

/// An ordered set of [`Entry`].
#[derive(Clone, Debug)]
pub(super) struct FreeList {
    classes: Vec<Vec<Entry>>,
    occupied: [u64; CLASSES / 64],
}

impl Default for FreeList {
    fn default() -> FreeList {
        FreeList { classes: vec![Vec::new(); CLASSES], occupied: [0; CLASSES / 64] }
    }
}

impl FreeList {
    /// Adds an entry; its rank must not be in the list.
    pub fn insert(&mut self, entry: Entry) {
        let class = class_of(entry.size);
        let entries = &mut self.classes[class];
        let at = entries.partition_point(|e| *e < entry);
        entries.insert(at, entry);
        self.occupied[class / 64] |= 1 << (class % 64);
    }

    /// Takes the entry of that size and rank out, if it is there.
    pub fn remove(&mut self, size: u64, rank: u64) {
        let class = class_of(size);
        let entries = &mut self.classes[class];
        let at = entries.partition_point(|e| (e.size, e.rank) < (size, rank));
        if entries.get(at).is_some_and(|e| (e.size, e.rank) == (size, rank)) {
            entries.remove(at);
        }
        if entries.is_empty() {
            self.occupied[class / 64] &= !(1 << (class % 64));
        }
    }

    /// The first entry at or above (`size`, `rank`).
    pub fn first_from(&self, size: u64, rank: u64) -> Option<Entry> {
        let class = class_of(size);
        let entries = &self.classes[class];
        let at = entries.partition_point(|e| (e.size, e.rank) < (size, rank));
        let next = || self.classes[self.occupied_from(class + 1)?].first();
        entries.get(at).or_else(next).copied()
    }

    /// The first entry after `entry`.
    pub fn following(&self, entry: &Entry) -> Option<Entry> {
        self.first_from(entry.size, entry.rank + 1)
    }

    /// All entries in order; from the end, too.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Entry> {
        self.classes.iter().flatten().copied()
    }

    /// The first class at or above `class` that has entries.
    fn occupied_from(&self, class: usize) -> Option<usize> {
        let mut word = class / 64;
        let mut bits = self.occupied.get(word)? & (u64::MAX << (class % 64));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

/// The class of a size in bytes: the power of two of its blocks, and the next `FINE` bits.
fn class_of(size: u64) -> usize {
    let blocks = size / BLOCK;
    if blocks < 1 << FINE {
        return blocks as usize;
    }
    let power = blocks.ilog2();
    let fine = (blocks >> (power - FINE)) & ((1 << FINE) - 1);
    ((power - FINE + 1) << FINE) as usize + fine as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list gives what a sorted vector gives.
    #[test]
    fn orders_by_size_then_rank() {
        let mut list = FreeList::default();
        let mut plain = Vec::new();
        let mut seed = 1u64;
        for i in 0..2000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let size = ((seed >> 33) % (1 << ((seed >> 20) % 30)) + 1) * BLOCK;
            let entry = Entry { size, rank: i * BLOCK, block: BlockId(i as u32) };
            list.insert(entry);
            plain.push(entry);
            plain.sort();
            if i % 3 == 0 {
                let gone = plain.remove((seed >> 40) as usize % plain.len());
                list.remove(gone.size, gone.rank);
            }
            let wanted = (seed >> 35) % (1 << 28) * BLOCK;
            assert_eq!(list.first_from(wanted, 0), plain.iter().find(|e| e.size >= wanted).copied());
        }
        assert_eq!(list.iter().collect::<Vec<_>>(), plain);
        let mut walked = list.first_from(0, 0);
        for entry in &plain {
            assert_eq!(walked.as_ref(), Some(entry));
            walked = list.following(entry);
        }
        assert_eq!(walked, None);
        assert!(class_of(u64::MAX) < CLASSES);
    }
}
