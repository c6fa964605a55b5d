//! Where a search stands, and how it goes back: everything that changes is written on a trail.
//!
//! Placing an item touches only what is alive with it, so that a node costs as much as there is there, however many items a part
//! has:
//!
//! - Items are numbered by their first section, so that those of a range of sections are a range of numbers. What is left of
//!   them is a linked list; [`Blocks`](super::blocks::Blocks) know what comes next of many at once.
//! - Whether a section can still be filled within the capacity needs no lowest bound of its items: one item that is low enough
//!   shows it, its *witness*, and only where that has risen too high another is looked for.

use std::ops::Range;

use rustc_hash::FxHashSet;

use super::Limits;
use super::blocks::{Blocks, Summary, spans};
use crate::order::scramble;
use crate::problem::{Item, Part};

/// No item.
pub const NONE: u32 = u32::MAX;

/// The capacity is passed, or nothing can be placed where something must be.
#[derive(Clone, Copy, Debug)]
pub struct Failed;

/// Items by the part's numbers, sections, and what has been placed.
pub struct State<'a> {
    pub capacity: u64,
    pub limits: Limits,
    /// The least need above the capacity that was met.
    pub needed: u64,
    pub nodes: u64,
    /// Subtrees that were left before they were exhausted.
    pub abandoned: u64,

    // Of items:
    pub items: &'a [Item],
    pub rank: Vec<u32>,
    /// Places of fixed items that are alive with it, by offset.
    blocked: Vec<Vec<Range<u64>>>,
    /// The item of its size, lifetime and alignment that comes before it in rank, and the one after it.
    twin: Vec<u32>,
    pub next_twin: Vec<u32>,
    pub placed: Vec<bool>,
    pub height: Vec<u64>,
    pub bound: Vec<u64>,
    pub blocks: Blocks,

    // Of sections:
    /// The first item that begins in it or later.
    pub begin: Vec<u32>,
    /// What is left to be placed.
    pub left: Vec<u64>,
    /// An item alive there whose bound was low enough when it was last looked at.
    witness: Vec<u32>,
    /// How many items left live on both sides of the boundary before a section.
    pub crossing: Vec<u32>,

    // Trails:
    raised: Vec<(u32, u64, u64)>,
    placements: Vec<u32>,

    /// Two numbers for each item that have nothing to do with each other.
    pub salt: Vec<(u64, u64)>,
    pub failed: FxHashSet<u128>,
}

/// A moment to go back to.
#[derive(Clone, Copy)]
pub struct Mark {
    raised: usize,
    placements: usize,
}

impl<'a> State<'a> {
    /// Nothing is placed but what is fixed.
    pub fn new(part: &'a Part, order: &[u32], capacity: u64, limits: Limits) -> State<'a> {
        let items = &part.items[..];
        let sections = part.totals.len();
        let mut rank = vec![0; items.len()];
        for (place, item) in order.iter().enumerate() {
            rank[*item as usize] = place as u32;
        }
        let (twin, next_twin) = twins(part, order);
        let begin = |section| items.partition_point(|item| (item.first as usize) < section) as u32;
        let mut state = State {
            capacity,
            limits,
            needed: u64::MAX,
            nodes: 0,
            abandoned: 0,
            items,
            rank,
            blocked: blocked(items),
            twin,
            next_twin,
            placed: items.iter().map(|item| item.fixed.is_some()).collect(),
            height: vec![0; items.len()],
            bound: vec![0; items.len()],
            blocks: Blocks::new(items),
            begin: (0..=sections).map(begin).collect(),
            left: vec![0; sections],
            witness: vec![NONE; sections],
            crossing: vec![0; sections + 1],
            raised: Vec::new(),
            placements: Vec::new(),
            salt: (0..items.len() as u64).map(|number| (scramble(number), scramble(!number))).collect(),
            failed: FxHashSet::default(),
        };
        state.fill();
        state
    }

    fn fill(&mut self) {
        for (number, item) in self.items.iter().enumerate() {
            self.height[number] = item.fixed.unwrap_or_else(|| self.lowest(number, 0));
            self.bound[number] = self.height[number];
            if self.placed[number] {
                self.blocks.remove(number);
                continue;
            }
            let (first, end) = (item.first as usize, item.end as usize);
            self.left[first..end].iter_mut().for_each(|left| *left += item.size);
            self.crossing[first + 1..end].iter_mut().for_each(|count| *count += 1);
        }
    }

    /// Looks at all sections for the first time.
    pub fn settle(&mut self) -> Result<(), Failed> {
        self.see(0..self.left.len())
    }

    /// The lowest place at or above `at` that the item may have.
    fn lowest(&self, number: usize, at: u64) -> u64 {
        let item = &self.items[number];
        let mut at = item.aligned(at);
        for place in &self.blocked[number] {
            if place.start < at + item.size && at < place.end {
                at = item.aligned(place.end);
            }
        }
        at
    }

    /// Whether the item is the first of its twins that is left, and not held.
    pub fn eligible(&self, number: usize) -> bool {
        let twin = self.twin[number];
        self.bound[number] == self.height[number] && (twin == NONE || self.placed[twin as usize])
    }

    /// Calls `each` for what is left and alive with an item, itself among it if it is left.
    pub fn meeting(
        &mut self,
        number: usize,
        mut each: impl FnMut(&mut Self, usize) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let (first, end) = (self.items[number].first as usize, self.items[number].end as usize);
        let (from, to) = (self.begin[first] as usize, self.begin[end] as usize);
        for span in spans(0..from) {
            if self.blocks.reaches(&span, first) {
                let mut other = self.blocks.first(span.items.start);
                while other < span.items.end {
                    if self.items[other].end as usize > first {
                        each(self, other)?;
                    }
                    other = self.blocks.next(other);
                }
            }
        }
        let mut other = self.blocks.first(from);
        while other < to {
            each(self, other)?;
            other = self.blocks.next(other);
        }
        Ok(())
    }

    /// What comes next of the items left of a range, and their lowest top.
    pub fn summary(&mut self, range: Range<usize>) -> Summary {
        let mut summary = Summary::EMPTY;
        for span in spans(range) {
            let of_span = self.blocks.summary(&span).unwrap_or_else(|| {
                let of = |number| self.summary_of(number);
                self.blocks.left(span.items.clone()).map(of).fold(Summary::EMPTY, Summary::and)
            });
            self.blocks.remember(&span, of_span);
            summary = summary.and(of_span);
        }
        summary
    }

    fn summary_of(&self, number: usize) -> Summary {
        let height = self.height[number];
        let eligible = self.eligible(number);
        let next = if eligible { (height, self.rank[number], number as u32) } else { Summary::EMPTY.next };
        Summary { lowest_bound: self.bound[number], lowest_top: height + self.items[number].size, next }
    }

    /// Places an item at its height.
    pub fn place(&mut self, number: usize) -> Result<(), Failed> {
        let Item { first, end, size, .. } = self.items[number];
        let top = self.height[number] + size;
        self.placed[number] = true;
        self.placements.push(number as u32);
        self.blocks.remove(number);
        self.left[first as usize..end as usize].iter_mut().for_each(|left| *left -= size);
        self.crossing[first as usize + 1..end as usize].iter_mut().for_each(|count| *count -= 1);
        let mut touched = first as usize..end as usize;
        self.meeting(number, |state, other| {
            if state.height[other] >= top {
                return Ok(());
            }
            let item = &state.items[other];
            touched = touched.start.min(item.first as usize)..touched.end.max(item.end as usize);
            let height = state.lowest(other, top);
            state.raise(other, height, height)
        })?;
        self.see(touched)
    }

    fn raise(&mut self, number: usize, height: u64, bound: u64) -> Result<(), Failed> {
        self.raised.push((number as u32, self.height[number], self.bound[number]));
        self.blocks.touch(number);
        self.height[number] = height;
        self.bound[number] = self.bound[number].max(bound);
        self.within(self.bound[number] + self.items[number].size)
    }

    /// Raises the bound of an item alone: it is held.
    pub fn hold(&mut self, number: usize, bound: u64) -> Result<(), Failed> {
        let bound = self.lowest(number, bound);
        self.raise(number, self.height[number], bound)?;
        let item = &self.items[number];
        self.see(item.first as usize..item.end as usize)
    }

    /// Sees to it that what is left of each section has room above its lowest bound.
    fn see(&mut self, sections: Range<usize>) -> Result<(), Failed> {
        for section in sections {
            let left = self.left[section];
            let witness = self.witness[section];
            if left > 0 && (witness == NONE || !self.is_low(witness as usize, left)) {
                self.find_witness(section)?;
            }
        }
        Ok(())
    }

    /// Whether the item is left, and what is left of a section has room above its bound.
    fn is_low(&self, number: usize, left: u64) -> bool {
        !self.placed[number] && self.bound[number].saturating_add(left) <= self.capacity
    }

    /// Looks for an item of a section that is low enough.
    fn find_witness(&mut self, section: usize) -> Result<(), Failed> {
        let left = self.left[section];
        let mut floor = u64::MAX;
        for span in spans(0..self.begin[section + 1] as usize).rev() {
            let is_above = |summary: Summary| summary.lowest_bound >= floor;
            if !self.blocks.reaches(&span, section) || self.blocks.summary(&span).is_some_and(is_above) {
                continue;
            }
            for number in self.blocks.left(span.items) {
                if self.items[number].end as usize > section && self.bound[number] < floor {
                    floor = self.bound[number];
                    if self.is_low(number, left) {
                        self.witness[section] = number as u32;
                        return Ok(());
                    }
                }
            }
        }
        self.within(floor.saturating_add(left))
    }

    /// Refuses what needs more than the capacity.
    pub fn within(&mut self, need: u64) -> Result<(), Failed> {
        if need <= self.capacity {
            return Ok(());
        }
        self.needed = self.needed.min(need);
        Err(Failed)
    }

    pub fn mark(&self) -> Mark {
        Mark { raised: self.raised.len(), placements: self.placements.len() }
    }

    /// Leaves no moment to go back to.
    pub fn forget(&mut self) {
        self.raised.clear();
        self.placements.clear();
    }

    /// Goes back to a moment.
    pub fn undo(&mut self, mark: Mark) {
        for (number, height, bound) in self.raised.drain(mark.raised..).rev() {
            self.height[number as usize] = height;
            self.bound[number as usize] = bound;
            self.blocks.touch(number as usize);
        }
        for number in self.placements.drain(mark.placements..).rev() {
            let item = &self.items[number as usize];
            self.placed[number as usize] = false;
            self.blocks.put_back(number as usize);
            let (first, end) = (item.first as usize, item.end as usize);
            self.left[first..end].iter_mut().for_each(|left| *left += item.size);
            self.crossing[first + 1..end].iter_mut().for_each(|count| *count += 1);
        }
    }
}

/// For each item the one of its kind that comes before it in rank, and the one after it.
fn twins(part: &Part, order: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let (mut before, mut after) = (vec![NONE; order.len()], vec![NONE; order.len()]);
    let mut last_of_kind = vec![NONE; part.kinds];
    for &number in order {
        // Fixed ones are never chosen, so that theirs do not matter.
        let last = std::mem::replace(&mut last_of_kind[part.items[number as usize].kind as usize], number);
        if last != NONE {
            before[number as usize] = last;
            after[last as usize] = number;
        }
    }
    (before, after)
}

fn blocked(items: &[Item]) -> Vec<Vec<Range<u64>>> {
    let mut fixed: Vec<(u64, &Item)> = items.iter().filter_map(|item| Some((item.fixed?, item))).collect();
    fixed.sort_by_key(|(offset, _)| *offset);
    let of = |item: &Item| {
        let met = fixed.iter().filter(|(_, other)| item.fixed.is_none() && item.meets(other));
        met.map(|(offset, other)| *offset..*offset + other.size).collect()
    };
    items.iter().map(of).collect()
}

#[cfg(test)]
mod tests;
