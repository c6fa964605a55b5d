//! What is left of the items: a linked list by number, cut into blocks of which each remembers what comes next in it.

use std::ops::Range;

use crate::problem::Item;

/// Items of a block.
const BLOCK: usize = 64;
/// The link that leads nowhere.
const END: u32 = u32::MAX;

/// Of some items that are left: the lowest top and bound, and which comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The lowest bound of one of them.
    pub lowest_bound: u64,
    /// The lowest top that one of them can have.
    pub lowest_top: u64,
    /// Height, rank and number of the one that comes first of those that may come next.
    pub next: (u64, u32, u32),
}

impl Summary {
    /// Of no items.
    pub const EMPTY: Summary =
        Summary { lowest_bound: u64::MAX, lowest_top: u64::MAX, next: (u64::MAX, u32::MAX, u32::MAX) };

    /// Of both.
    pub fn and(self, other: Summary) -> Summary {
        Summary {
            lowest_bound: self.lowest_bound.min(other.lowest_bound),
            lowest_top: self.lowest_top.min(other.lowest_top),
            next: self.next.min(other.next),
        }
    }
}

/// Items of one block.
#[derive(Clone, Debug)]
pub struct Span {
    pub items: Range<usize>,
    /// The block, where they are all of it.
    whole: Option<usize>,
}

/// The items that are left, with a sentinel before each block of them; summaries of blocks until something there changes.
pub struct Blocks {
    items: usize,
    /// Links of items, then of sentinels.
    next: Vec<u32>,
    before: Vec<u32>,
    left: Vec<u32>,
    /// The section after the last that items of a block live in.
    end: Vec<u32>,
    summaries: Vec<Option<Summary>>,
}

impl Blocks {
    /// All items are left.
    pub fn new(items: &[Item]) -> Blocks {
        let end = items.chunks(BLOCK).map(|items| items.iter().map(|item| item.end).max().unwrap_or(0)).collect();
        let items = items.len();
        let blocks = items / BLOCK + 1;
        let (mut next, mut before) = (vec![END; items + blocks], vec![END; items + blocks]);
        let in_order = (0..blocks).flat_map(|block| {
            let first = block * BLOCK;
            std::iter::once(items + block).chain(first..items.min(first + BLOCK))
        });
        let mut last = END;
        for at in in_order {
            if last != END {
                next[last as usize] = at as u32;
                before[at] = last;
            }
            last = at as u32;
        }
        let left = (0..blocks).map(|block| (items - block * BLOCK).min(BLOCK) as u32).collect();
        Blocks { items, next, before, left, end, summaries: vec![None; blocks] }
    }

    /// The first item left of a number or above; the number of all items where there is none.
    pub fn first(&self, number: usize) -> usize {
        let mut at = self.next(self.items + number / BLOCK);
        while at < number {
            at = self.next(at);
        }
        at
    }

    /// The item left after an item or a sentinel; the number of all items where there is none.
    pub fn next(&self, at: usize) -> usize {
        let mut at = self.next[at];
        while at != END && at as usize >= self.items {
            at = self.next[at as usize];
        }
        if at == END { self.items } else { at as usize }
    }

    /// The items left of a range.
    pub fn left(&self, range: Range<usize>) -> impl Iterator<Item = usize> {
        let first = if range.is_empty() { range.end } else { self.first(range.start) };
        std::iter::successors(Some(first), |at| Some(self.next(*at))).take_while(move |at| *at < range.end)
    }

    /// How many items of a range are left.
    pub fn count(&self, range: Range<usize>) -> usize {
        let of = |span: Span| match span.whole {
            Some(block) => self.left[block] as usize,
            None => self.left(span.items).count(),
        };
        spans(range).map(of).sum()
    }

    /// An item is left no more.
    pub fn remove(&mut self, number: usize) {
        let (before, next) = (self.before[number], self.next[number]);
        self.next[before as usize] = next;
        if next != END {
            self.before[next as usize] = before;
        }
        self.left[number / BLOCK] -= 1;
        self.touch(number);
    }

    /// The item that was removed last of those that are not left is left again.
    pub fn put_back(&mut self, number: usize) {
        let (before, next) = (self.before[number], self.next[number]);
        self.next[before as usize] = number as u32;
        if next != END {
            self.before[next as usize] = number as u32;
        }
        self.left[number / BLOCK] += 1;
        self.touch(number);
    }

    /// Something has changed of an item.
    pub fn touch(&mut self, number: usize) {
        self.summaries[number / BLOCK] = None;
    }

    /// Whether items of a span may live in a section, or behind it.
    pub fn reaches(&self, span: &Span, section: usize) -> bool {
        self.end[span.items.start / BLOCK] as usize > section
    }

    /// What is remembered of a span.
    pub fn summary(&self, span: &Span) -> Option<Summary> {
        span.whole.and_then(|block| self.summaries[block])
    }

    /// Remembers what was seen of a span.
    pub fn remember(&mut self, span: &Span, summary: Summary) {
        if let Some(block) = span.whole {
            self.summaries[block] = Some(summary);
        }
    }
}

/// A range of items, cut at the ends of blocks.
pub fn spans(range: Range<usize>) -> impl DoubleEndedIterator<Item = Span> {
    let blocks = if range.is_empty() { 0..0 } else { range.start / BLOCK..(range.end - 1) / BLOCK + 1 };
    blocks.map(move |block| {
        let all = block * BLOCK..(block + 1) * BLOCK;
        let items = all.start.max(range.start)..all.end.min(range.end);
        Span { whole: (items == all).then_some(block), items }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_can_be_put_back() {
        for items in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 200] {
            let item =
                Item { buffer: 0, first: 0, end: 1, time: 1, most: 1, size: 1, alignment: 1, fixed: None, kind: 0 };
            let mut blocks = Blocks::new(&vec![item; items]);
            let all: Vec<usize> = (0..items).collect();
            assert_eq!(blocks.left(0..items).collect::<Vec<_>>(), all);
            let removed: Vec<usize> = (0..items).filter(|number| number % 3 != 1).collect();
            removed.iter().for_each(|number| blocks.remove(*number));
            for (from, to) in [(0, items), (items / 3, items / 2), (items / 2, items), (items, items)] {
                let expected: Vec<usize> = (from..to).filter(|number| number % 3 == 1).collect();
                assert_eq!(blocks.left(from..to).collect::<Vec<_>>(), expected);
                assert_eq!(blocks.count(from..to), expected.len());
            }
            removed.iter().rev().for_each(|number| blocks.put_back(*number));
            assert_eq!(blocks.left(0..items).collect::<Vec<_>>(), all);
            assert_eq!(blocks.count(0..items), items);
        }
    }
}
