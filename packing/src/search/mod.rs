//! Whether a part can be packed within a capacity: a depth-first search that is complete, where it is not cut short.
//!
//! Look at the packing whose offsets have the smallest sum: every buffer in it lies on the floor or on another one. Taken in the
//! order of offset, then of a fixed rank, each buffer's offset is the highest top of those before it that it is alive with: its
//! *height*. The search places buffers in that order, each at its height, and never turns away from that packing:
//!
//! - A buffer whose height is at or above the lowest top that another could have is no next one: the other could fall below it.
//! - Once all packings with a buffer at its height have failed, it is *held*: it must rise above the lowest top of what is yet
//!   to be placed and meets it. So every buffer has a *bound*, which is at least its height; held ones have it above.
//! - What is left of a section lies above the lowest bound in it. That bound and what is left to be placed there must be within the capacity.
//! - Buffers of one size and lifetime are placed by rank, and held together.
//! - Where nothing that is left crosses a boundary of sections, both sides are searched apart, the smaller first.
//! - States that have failed (what is left, with its bounds, and what is held) are remembered.
//!
//! A [`dive`] goes the same way once and never turns back, for packings of many items.
//!
//! Every cut compares some need with the capacity, or none at all; a search that is exhausted gives the least need above the
//! capacity: no capacity below it does better.

mod blocks;
mod dive;
mod node;
mod state;

use std::time::Instant;

use crate::problem::Part;
use state::State;

/// How far a search may go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Placements that are tried.
    pub nodes: u64,
    /// When to stop.
    pub deadline: Instant,
    /// Whether subtrees have budgets that shrink with the cube of what is left in them: a bad choice near the root is then left
    /// before its subtree is exhausted. What was left so proves nothing.
    pub hurried: bool,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An offset in units for each item.
    Found(Vec<u64>),
    /// There is no packing within the capacity, nor within any below `next`.
    Exhausted {
        /// Units.
        next: u64,
    },
    /// The limits were met first.
    Cut,
}

/// Placements between two looks at the clock.
const CLOCK: u64 = 64;
/// Stack that the search may need for each buffer, in bytes.
const STACK: usize = 4 << 10;
/// Stack that every thread has left for a search, in bytes.
const STACK_AT_HAND: usize = 256 << 10;

/// Looks for a packing of `part` within `capacity` units, with the items ranked by `order`.
pub fn search(part: &Part, order: &[u32], capacity: u64, limits: Limits) -> Verdict {
    if part.bound > capacity {
        return Verdict::Exhausted { next: part.bound };
    }
    let run = || State::new(part, order, capacity, limits).run();
    // Placements nest as deep as there are buffers.
    let stack = STACK * part.items.len();
    if stack <= STACK_AT_HAND {
        return run();
    }
    std::thread::scope(|scope| {
        match std::thread::Builder::new().stack_size((1 << 20) + stack).spawn_scoped(scope, run) {
            Ok(thread) => thread.join().unwrap_or(Verdict::Cut),
            Err(_) => Verdict::Cut,
        }
    })
}

/// A packing of `part` by one dive from `capacity`, with the items ranked by `order`; `None` where the deadline comes first.
/// Sections count as full above `threshold` 64ths of the fullest.
pub fn dive(part: &Part, order: &[u32], capacity: u64, threshold: u64, deadline: Instant) -> Option<Vec<u64>> {
    State::new(part, order, capacity, Limits { nodes: u64::MAX, deadline, hurried: false }).dive(threshold)
}
