//! One way down, for parts of which no search sees the end: nothing that was placed is moved again, and where nothing can be
//! placed within the capacity, the capacity yields by the least that is needed.
//!
//! Of what lies lowest, that comes first which fills the sections where most is left to be placed: what is wasted there is lost
//! for good. What would break the capacity is held, as in the search, until something is placed below it.

use std::cmp::Reverse;
use std::iter;
use std::time::Instant;

use super::CLOCK;
use super::blocks::spans;
use super::state::{Failed, State};

/// By which part of itself the capacity rises at least: needs that are nearly the same are not met one by one.
const STEPS: u64 = 4_096;

impl State<'_> {
    /// Places everything, and gives offsets by the part's own numbering; `None` where the deadline comes first. Sections count as
    /// full above `threshold` 64ths of the fullest.
    pub fn dive(mut self, threshold: u64) -> Option<Vec<u64>> {
        while self.settle().is_err() {
            self.give_way();
        }
        let all = 0..self.items.len();
        let mut lowest = Vec::new();
        while self.blocks.first(0) < self.items.len() {
            self.nodes += 1;
            if self.nodes.is_multiple_of(CLOCK) && Instant::now() >= self.limits.deadline {
                return None;
            }
            let summary = self.summary(all.clone());
            let waits = summary.next.0 >= summary.lowest_top;
            let urgent = if waits { None } else { self.most_urgent(summary.next.0, threshold, &mut lowest) };
            if !urgent.is_some_and(|number| self.placed_or_held(number as usize)) {
                self.give_way();
            }
        }
        Some(self.height)
    }

    /// The item to place of those of a height that may come next; `lowest` is room for them. It is alive in the fullest section,
    /// where most is left of all that they live in, and its own sections are fuller than those of others: what counts is how
    /// far they are above `threshold` 64ths of the fullest, in sum.
    fn most_urgent(&self, height: u64, threshold: u64, lowest: &mut Vec<u32>) -> Option<u32> {
        lowest.clear();
        for span in spans(0..self.items.len()) {
            if self.blocks.summary(&span).is_none_or(|summary| summary.next.0 == height) {
                let next = |number: &usize| self.height[*number] == height && self.eligible(*number);
                lowest.extend(self.blocks.left(span.items).filter(next).map(|number| number as u32));
            }
        }
        let (mut seen, mut most, mut fullest) = (0, 0, 0);
        for &number in &*lowest {
            let item = &self.items[number as usize];
            for section in item.first.max(seen)..item.end {
                if self.left[section as usize] > most {
                    (most, fullest) = (self.left[section as usize], section);
                }
            }
            seen = seen.max(item.end);
        }
        lowest.retain(|number| {
            let item = &self.items[*number as usize];
            item.first <= fullest && fullest < item.end
        });
        let first = lowest.iter().map(|number| self.items[*number as usize].first).min()?;
        let end = lowest.iter().map(|number| self.items[*number as usize].end).max()?;
        // How full the sections from `first` up to each are together.
        let (mut sum, level) = (0, most / 64 * threshold);
        let fullness = self.left[first as usize..end as usize].iter().map(|left| {
            sum += u128::from(left.saturating_sub(level));
            sum
        });
        let fullness: Vec<u128> = iter::once(0).chain(fullness).collect();
        let urgency = |number: &u32| {
            let item = &self.items[*number as usize];
            let own = fullness[(item.end - first) as usize] - fullness[(item.first - first) as usize];
            (own, Reverse(self.rank[*number as usize]))
        };
        lowest.iter().copied().max_by_key(urgency)
    }

    /// Whether the item could be placed, or else held.
    fn placed_or_held(&mut self, number: usize) -> bool {
        let mark = self.mark();
        let placed = self.place(number);
        let done = placed.or_else(|Failed| {
            self.undo(mark);
            self.exclude(number, 0).inspect_err(|Failed| self.undo(mark))
        });
        self.forget();
        done.is_ok()
    }

    /// Raises the capacity to the least need that was met, or a step if that is less; then nothing is held any more.
    fn give_way(&mut self) {
        self.capacity = self.needed.max(self.capacity + self.capacity / STEPS);
        self.needed = u64::MAX;
        let mut number = self.blocks.first(0);
        while number < self.items.len() {
            if self.bound[number] > self.height[number] {
                self.bound[number] = self.height[number];
                self.blocks.touch(number);
            }
            number = self.blocks.next(number);
        }
    }
}
