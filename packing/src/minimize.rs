//! The packing of a part: greedy placements and dives first, then the search, from the lower bound up.
//!
//! A search of many items sees no end, so that large parts get more dives instead: as many as a few seconds hold, counted by what
//! they look at, so that the packing does not depend on the machine.
//!
//! Going up, every capacity that is exhausted raises the bound that is proved, and the first that is met is an optimum. Where
//! a capacity is neither met nor exhausted within a round's limits, larger ones are tried, so that the packing gets better too.

use std::borrow::Cow;
use std::time::Instant;

use crate::greedy::{self, Fit};
use crate::order;
use crate::problem::Part;
use crate::search::{Limits, Verdict, dive, search};

/// Above this many items a part is packed by heuristics alone.
const SEARCHABLE: usize = 5_000;
/// Pairs of items alive together that dives may look at in such a part.
const DIVED: usize = 150_000_000;
/// The thresholds of dives in turn, in 64ths: none is best for all.
const THRESHOLDS: [u64; 12] = [54, 45, 58, 32, 61, 51, 63, 20, 48, 60, 40, 0];
/// Dives before a search; the others come when it has not met the bound soon.
const DIVES_BEFORE: usize = 3;
/// Placements for each item in the first round of the search.
const FIRST_ROUND: u64 = 4;
/// Rounds that try the lowest capacity alone: where it can be met, that is mostly seen soon.
const ROUNDS_BELOW: usize = 2;
/// By how much the limits of these rounds grow, and how much after them.
const GROWTH: u64 = 4;
const GROWTH_AFTER: u64 = 2;
/// Shaken orders of each round after them.
const SHAKEN: usize = 6;

/// What is wanted of a part.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// A peak that is good enough, in units.
    pub enough: u64,
    /// Whether peaks above `enough` are of no use.
    pub only_enough: bool,
    /// When to stop.
    pub deadline: Instant,
}

impl Wanted {
    fn late(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// What is known of a part.
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
    /// The first packing of a part: the first heuristic's, or at least some one.
    pub fn first(part: &Part, wanted: &Wanted) -> Solved {
        let offsets = greedy::stack(part);
        let peak = greedy::peak(part, &offsets);
        let mut solved = Solved { offsets, peak, bound: part.bound, late: false };
        solved.place(part, &order::order(part, &order::GREEDY[0]), Fit::First, wanted);
        solved
    }

    /// Whether nothing better is wanted.
    pub fn done(&self, wanted: &Wanted) -> bool {
        self.peak <= wanted.enough.max(self.bound) || wanted.only_enough && self.bound > wanted.enough
    }

    /// Tries all that is fast, until nothing better is wanted.
    pub fn improve(&mut self, part: &Part, wanted: &Wanted) {
        if searchable(part) {
            self.heuristics(part, wanted);
            self.dives(part, &THRESHOLDS[..DIVES_BEFORE], wanted);
        } else {
            let dives = (DIVED / part.pairs().max(1)).clamp(1, THRESHOLDS.len());
            self.dives(part, &THRESHOLDS[..dives], wanted);
        }
    }

    fn take(&mut self, part: &Part, offsets: Vec<u64>) {
        let peak = greedy::peak(part, &offsets);
        if peak < self.peak {
            (self.offsets, self.peak) = (offsets, peak);
        }
    }

    fn place(&mut self, part: &Part, order: &[u32], fit: Fit, wanted: &Wanted) {
        match greedy::place(part, order, fit, &|| wanted.late()) {
            Some(offsets) => self.take(part, offsets),
            None => self.late = true,
        }
    }

    fn heuristics(&mut self, part: &Part, wanted: &Wanted) {
        for (number, keys) in order::GREEDY.iter().enumerate() {
            let order = order::order(part, keys);
            // The first is what `first` had.
            for fit in [Fit::First, Fit::Best].into_iter().skip(usize::from(number == 0)) {
                if self.done(wanted) || self.late {
                    return;
                }
                self.place(part, &order, fit, wanted);
            }
        }
    }

    /// Dives from the bound, each with another view of which sections are full.
    fn dives(&mut self, part: &Part, thresholds: &[u64], wanted: &Wanted) {
        let order = order::order(part, &order::SEARCHED[0]);
        for threshold in thresholds {
            if self.done(wanted) || self.late {
                return;
            }
            match dive(part, &order, wanted.enough.max(self.bound), *threshold, wanted.deadline) {
                Some(offsets) => self.take(part, offsets),
                None => self.late = true,
            }
        }
    }

    /// Searches until nothing better is wanted or the time ends; not in a part of too many items.
    pub fn search(&mut self, part: &Part, wanted: &Wanted) {
        if !searchable(part) {
            return;
        }
        let orders = order::SEARCHED.map(|keys| order::order(part, &keys));
        let mut nodes = FIRST_ROUND * part.items.len() as u64;
        for round in 0.. {
            if self.done(wanted) || self.late {
                return;
            }
            if round == ROUNDS_BELOW {
                self.dives(part, &THRESHOLDS[DIVES_BEFORE..], wanted);
            }
            let tries = tries(part, &orders, round);
            let lowest = wanted.enough.max(self.bound);
            let mut step = 0;
            // At the lowest capacity first, then up to what is met already.
            while !self.done(wanted) && !self.late {
                let capacity = lowest.max(self.bound) + step;
                if capacity >= self.peak {
                    break;
                }
                let met = self.attempt(part, &tries, capacity, nodes, wanted);
                let proved = self.bound > capacity;
                if met || !proved && (wanted.only_enough || round < ROUNDS_BELOW) {
                    break;
                }
                if !proved {
                    step = if step == 0 { ((self.peak - lowest) / 8).max(1) } else { 2 * step };
                }
            }
            let growth = if round + 1 < ROUNDS_BELOW { GROWTH } else { GROWTH_AFTER };
            nodes = nodes.saturating_mul(growth);
        }
    }

    /// Tries a capacity in every way; whether it was met.
    fn attempt(&mut self, part: &Part, tries: &[Try], capacity: u64, nodes: u64, wanted: &Wanted) -> bool {
        for Try { order, hurried } in tries {
            if wanted.late() {
                self.late = true;
                return false;
            }
            let limits = Limits { nodes, deadline: wanted.deadline, hurried: *hurried };
            match search(part, order, capacity, limits) {
                Verdict::Found(offsets) => {
                    self.take(part, offsets);
                    return true;
                }
                Verdict::Exhausted { next } => {
                    self.bound = self.bound.max(next);
                    return false;
                }
                Verdict::Cut => {}
            }
        }
        false
    }
}

/// One way to search.
struct Try<'a> {
    order: Cow<'a, [u32]>,
    hurried: bool,
}

/// The ways of a round: each order, in a hurry and not; in later rounds orders near them too, others in each round.
fn tries<'a>(part: &Part, orders: &'a [Vec<u32>], round: usize) -> Vec<Try<'a>> {
    let both = |order: &'a Vec<u32>| [false, true].map(|hurried| Try { order: order.into(), hurried });
    let shaken = if round < ROUNDS_BELOW { 0 } else { SHAKEN };
    let near = (0..shaken).map(|number| Try {
        order: order::shaken(part, &order::SEARCHED[number % order::SEARCHED.len()], (round * SHAKEN + number) as u64)
            .into(),
        hurried: number % 2 == 1,
    });
    orders.iter().flat_map(both).chain(near).collect()
}

fn searchable(part: &Part) -> bool {
    part.items.len() <= SEARCHABLE
}
