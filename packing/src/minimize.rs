//! The packing of a part: heuristics first, then the search, from the lower bound up.
//!
//! Going up, every capacity that is exhausted raises the bound that is proved, and the first that is met is an optimum. Where
//! a capacity is neither met nor exhausted within a round's limits, larger ones are tried, so that the packing gets better too.

use std::time::Instant;

use crate::greedy::{self, Fit};
use crate::order;
use crate::problem::Part;
use crate::search::{Limits, Verdict, search};

/// Above this many items a part is packed by heuristics alone.
const SEARCHABLE: usize = 5_000;
/// Placements for each item in the first round of the search.
const FIRST_ROUND: u64 = 4;
/// By how much a round's limits grow.
const GROWTH: u64 = 4;

/// What is wanted of a part.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// A peak that is good enough, in units.
    pub enough: u64,
    /// Whether peaks above `enough` are of no use.
    pub only_enough: bool,
    /// When to stop.
    pub deadline: Instant,
    /// Whether the search may run.
    pub search: bool,
}

/// What became of a part.
#[derive(Clone, Debug)]
pub struct Solved {
    /// An offset in units for each item.
    pub offsets: Vec<u64>,
    /// Its highest top, in units.
    pub peak: u64,
    /// No packing has a peak below this, in units.
    pub bound: u64,
    /// Whether the time ended before all was tried.
    pub late: bool,
}

impl Solved {
    /// Whether nothing better is wanted.
    pub fn done(&self, wanted: &Wanted) -> bool {
        self.peak <= wanted.enough.max(self.bound) || wanted.only_enough && self.bound > wanted.enough
    }

    fn improve(&mut self, part: &Part, offsets: Vec<u64>) {
        let peak = greedy::peak(part, &offsets);
        if peak < self.peak {
            (self.offsets, self.peak) = (offsets, peak);
        }
    }
}

/// Packs a part.
pub fn solve(part: &Part, wanted: &Wanted) -> Solved {
    let offsets = greedy::stack(part);
    let peak = greedy::peak(part, &offsets);
    let mut solved = Solved { offsets, peak, bound: part.bound, late: false };
    heuristics(part, wanted, &mut solved);
    if wanted.search && part.items.len() <= SEARCHABLE {
        searches(part, wanted, &mut solved);
    }
    solved
}

fn heuristics(part: &Part, wanted: &Wanted, solved: &mut Solved) {
    let late = || Instant::now() >= wanted.deadline;
    for keys in &order::GREEDY {
        let order = order::order(part, keys);
        for fit in [Fit::First, Fit::Best] {
            match greedy::place(part, &order, fit, &late) {
                Some(offsets) => solved.improve(part, offsets),
                None => solved.late = true,
            }
            if solved.done(wanted) || solved.late {
                return;
            }
        }
    }
}

fn searches(part: &Part, wanted: &Wanted, solved: &mut Solved) {
    let orders = order::SEARCHED.map(|keys| order::order(part, &keys));
    let mut nodes = FIRST_ROUND * part.items.len() as u64;
    while !solved.done(wanted) && !solved.late {
        let lowest = wanted.enough.max(solved.bound);
        let mut step = 0;
        // At the lowest capacity first, then up to what is met already.
        while !solved.done(wanted) && !solved.late {
            let capacity = lowest.max(solved.bound) + step;
            if capacity >= solved.peak {
                break;
            }
            let met = attempt(part, &orders, capacity, nodes, wanted, solved);
            let proved = solved.bound > capacity;
            if met || wanted.only_enough && !proved {
                break;
            }
            if !proved {
                step = if step == 0 { ((solved.peak - lowest) / 8).max(1) } else { 2 * step };
            }
        }
        nodes = nodes.saturating_mul(GROWTH);
    }
}

/// Tries a capacity in every way; whether it was met.
fn attempt(part: &Part, orders: &[Vec<u32>], capacity: u64, nodes: u64, wanted: &Wanted, solved: &mut Solved) -> bool {
    for order in orders {
        for hurried in [false, true] {
            if Instant::now() >= wanted.deadline {
                solved.late = true;
                return false;
            }
            match search(part, order, capacity, Limits { nodes, deadline: wanted.deadline, hurried }) {
                Verdict::Found(offsets) => {
                    solved.improve(part, offsets);
                    return true;
                }
                Verdict::Exhausted { next } => {
                    solved.bound = solved.bound.max(next);
                    return false;
                }
                Verdict::Cut => {}
            }
        }
    }
    false
}
