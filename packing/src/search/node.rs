//! The nodes of a search: which items come next, in which order they are tried, what follows when one fails.

use std::ops::Range;
use std::time::Instant;

use super::Verdict;
use super::state::{Failed, NONE, State};
use crate::problem::Part;

/// What a subtree gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything is placed.
    Found,
    /// There is no packing.
    Fails,
    /// A limit was met.
    Cut,
}

/// How many failed states are remembered at most.
const REMEMBERED: usize = 1 << 21;
/// States of fewer items are not remembered: finding out again is as fast.
const WORTH_REMEMBERING: usize = 4;
/// Placements between two looks at the clock.
const CLOCK: u64 = 64;

impl State {
    /// Searches, and gives offsets by the part's own numbering.
    pub fn run(mut self, part: &Part, order: &[u32]) -> Verdict {
        let left = (0..self.items.len() as u32).filter(|rank| !self.placed[*rank as usize]);
        self.lists = left.collect();
        let outcome = match self.settle() {
            Ok(()) => self.descend(0..self.lists.len(), 1..part.totals.len(), 0),
            Err(Failed) => Outcome::Fails,
        };
        match outcome {
            Outcome::Found => {
                let mut offsets = vec![0; order.len()];
                for (rank, item) in order.iter().enumerate() {
                    offsets[*item as usize] = self.height[rank];
                }
                Verdict::Found(offsets)
            }
            Outcome::Fails if self.abandoned > 0 => Verdict::Cut,
            Outcome::Fails => Verdict::Exhausted { next: self.needed },
            Outcome::Cut => Verdict::Cut,
        }
    }

    /// Searches the pieces of a list that no item left holds together any more; boundaries elsewhere are all crossed.
    fn descend(&mut self, list: Range<usize>, boundaries: Range<usize>, last: u64) -> Outcome {
        let cuts: Vec<u32> =
            boundaries.filter(|boundary| self.crossing[*boundary] == 0).map(|boundary| boundary as u32).collect();
        if cuts.is_empty() {
            return self.node(list, last);
        }
        let mut pieces: Vec<Vec<u32>> = vec![Vec::new(); cuts.len() + 1];
        for position in list {
            let rank = self.lists[position];
            let first = self.items[rank as usize].first;
            pieces[cuts.partition_point(|cut| *cut <= first)].push(rank);
        }
        pieces.sort_by_key(Vec::len);
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let from = self.lists.len();
            self.lists.extend(piece);
            let outcome = self.node(from..self.lists.len(), last);
            if outcome != Outcome::Found {
                return outcome;
            }
        }
        Outcome::Found
    }

    /// Tries what may come next of a list; nothing is placed below `last` any more.
    fn node(&mut self, list: Range<usize>, last: u64) -> Outcome {
        if list.is_empty() {
            return Outcome::Found;
        }
        let from = self.candidates.len();
        let mark = self.mark();
        let outcome = match self.collect(list.clone(), last) {
            Ok(()) => self.attempt(list, last, from),
            Err(Failed) => Outcome::Fails,
        };
        if outcome == Outcome::Fails {
            self.undo(mark);
        }
        self.candidates.truncate(from);
        outcome
    }

    fn attempt(&mut self, list: Range<usize>, last: u64, from: usize) -> Outcome {
        let key = (list.len() >= WORTH_REMEMBERING).then(|| self.key(list.clone(), last));
        if key.is_some_and(|key| self.failed.contains(&key)) {
            return Outcome::Fails;
        }
        let (began, abandoned) = (self.nodes, self.abandoned);
        let budget = self.budget(list.len());
        let mut outcome = Outcome::Fails;
        for position in from..self.candidates.len() {
            let (height, rank) = self.candidates[position];
            outcome = self.try_one(rank, height, list.clone());
            if outcome != Outcome::Fails || self.exclude(rank, list.clone(), last).is_err() {
                break;
            }
            if self.nodes - began > budget {
                self.abandoned += 1;
                break;
            }
        }
        let known = outcome == Outcome::Fails && self.abandoned == abandoned && self.failed.len() < REMEMBERED;
        self.failed.extend(key.filter(|_| known));
        outcome
    }

    /// Puts the items that may come next behind all candidates, in the order in which they are tried.
    fn collect(&mut self, list: Range<usize>, last: u64) -> Result<(), Failed> {
        let from = self.candidates.len();
        let (mut lowest_top, mut most_left) = (u64::MAX, 0);
        let (mut first, mut end) = (u32::MAX, 0);
        for &rank in &self.lists[list.clone()] {
            let item = &self.items[rank as usize];
            lowest_top = lowest_top.min(self.height[rank as usize] + item.size);
            first = first.min(item.first);
            end = end.max(item.end);
        }
        // A held item could fall to its height, where all packings have failed.
        if lowest_top <= last {
            return Err(Failed);
        }
        for &left in &self.left[first as usize..end as usize] {
            most_left = most_left.max(left);
        }
        self.within(last + most_left)?;
        for &rank in &self.lists[list] {
            let number = rank as usize;
            let height = self.height[number];
            let twin = self.twin[number];
            if height < lowest_top && self.bound[number] == height && (twin == NONE || self.placed[twin as usize]) {
                self.candidates.push((height, rank));
            }
        }
        self.candidates[from..].sort_unstable();
        Ok(())
    }

    fn try_one(&mut self, rank: u32, height: u64, list: Range<usize>) -> Outcome {
        self.nodes += 1;
        if self.nodes > self.limits.nodes || self.nodes.is_multiple_of(CLOCK) && Instant::now() >= self.limits.deadline
        {
            return Outcome::Cut;
        }
        let mark = self.mark();
        let from = self.lists.len();
        let outcome = match self.place(rank, list) {
            Ok(()) => {
                let item = &self.items[rank as usize];
                let boundaries = item.first as usize + 1..item.end as usize;
                self.descend(from..self.lists.len(), boundaries, height)
            }
            Err(Failed) => Outcome::Fails,
        };
        if outcome == Outcome::Fails {
            self.undo(mark);
        }
        outcome
    }

    /// After how many placements below a node with so many items left it is given up, unless another comes first.
    fn budget(&self, left: usize) -> u64 {
        if !self.limits.hurried {
            return u64::MAX;
        }
        let share = left as f64 / self.items.len() as f64;
        (share.powi(3) * self.limits.nodes as f64) as u64
    }

    /// Holds an item and its twins: all packings with it at its height have failed.
    fn exclude(&mut self, rank: u32, list: Range<usize>, last: u64) -> Result<(), Failed> {
        let class = self.class[rank as usize];
        let (first, end) = (self.items[rank as usize].first, self.items[rank as usize].end);
        let mut bound = u64::MAX;
        for &other in &self.lists[list.clone()] {
            let item = &self.items[other as usize];
            if item.first < end && first < item.end && self.class[other as usize] != class {
                bound = bound.min(self.bound[other as usize].max(last) + item.size);
            }
        }
        if bound == u64::MAX {
            return Err(Failed);
        }
        for position in list {
            let other = self.lists[position];
            if self.class[other as usize] == class {
                self.hold(other, bound)?;
            }
        }
        Ok(())
    }

    /// What decides whether a list can be placed: its items, their bounds, and which are held.
    fn key(&self, list: Range<usize>, last: u64) -> u128 {
        let mut key = 0_u128;
        for &rank in &self.lists[list] {
            let number = rank as usize;
            let held = u64::from(self.bound[number] > self.height[number]);
            let state = self.bound[number].max(last) << 1 | held;
            let one = state ^ scramble(u64::from(rank));
            let other = state.rotate_left(32) ^ scramble(!u64::from(rank));
            let product = u128::from(one) * u128::from(other);
            key = key.wrapping_add(product);
        }
        key
    }
}

/// Bits that have nothing to do with each other for numbers that do.
fn scramble(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 32
}
