//! The whole of a packing: parts that share no time are packed one by one, the highest first.

use std::cmp::Reverse;
use std::fmt;
use std::time::Instant;

use crate::buffer::{Buffer, BufferError, check};
use crate::minimize::{Solved, Wanted};
use crate::options::{Goal, Options};
use crate::problem::{Part, Problem};

/// What is known of a packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// No packing is smaller: the peak is the lower bound.
    OptimalBound,
    /// No packing is smaller: the search has seen to it.
    OptimalExhausted,
    /// It is within the capacity, and a smaller one may exist; of a minimum, that all was tried that there is for so many buffers.
    Feasible,
    /// There is no packing within the capacity.
    Infeasible,
    /// The time ended: a better packing, or one within the capacity, may exist.
    TimeLimit,
    /// All was tried that there is for so many buffers; a packing within the capacity may exist.
    NotFound,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 6] = [
        Status::OptimalBound,
        Status::OptimalExhausted,
        Status::Feasible,
        Status::Infeasible,
        Status::TimeLimit,
        Status::NotFound,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Status::OptimalBound => "optimal (= lower bound)",
            Status::OptimalExhausted => "optimal (search exhausted)",
            Status::Feasible => "feasible",
            Status::Infeasible => "infeasible (proved)",
            Status::TimeLimit => "time limit",
            Status::NotFound => "not found",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Places for buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packing {
    /// An offset in bytes for each buffer. Where a capacity is not met they are a packing too, of a higher peak.
    pub offsets: Vec<u64>,
    /// The end of the buffer that ends highest, in bytes.
    pub peak: u64,
    /// The largest total of buffers that are alive together, or the end of the highest fixed one, in bytes: no packing is below.
    pub lower_bound: u64,
    /// The highest bound that was proved, in bytes; at least `lower_bound`.
    pub proved: u64,
    /// What is known of it.
    pub status: Status,
}

/// Packs buffers.
///
/// Gives an error where buffers make no sense. The result is a packing in any case; the time limit is for what comes after the
/// first.
pub fn pack(buffers: &[Buffer], options: &Options) -> Result<Packing, BufferError> {
    let begin = Instant::now();
    check(buffers, options.alignment)?;
    let problem = Problem::new(buffers, options.alignment);
    let deadline =
        begin.checked_add(options.time_limit).unwrap_or(begin + std::time::Duration::from_secs(u32::MAX.into()));
    let lower_bound = problem.parts.iter().map(|part| part.bound).max().unwrap_or(0);
    let unit = problem.unit;
    let capacity = match options.goal {
        Goal::Capacity(bytes) => Some(bytes),
        Goal::Minimize => None,
    };
    let units = capacity.map(|bytes| bytes / unit);
    let wanted = |enough: u64| Wanted { enough, only_enough: capacity.is_some(), deadline };
    let parts = &problem.parts;
    let mut solved: Vec<Solved> = parts.iter().map(|part| Solved::first(part, &wanted(0))).collect();
    let mut proved = lower_bound;
    let stages: &[fn(&mut Solved, &Part, &Wanted)] =
        if options.search { &[Solved::improve, Solved::search] } else { &[Solved::improve] };
    for stage in stages {
        // The highest first: what it ends at is enough for the others.
        let mut enough = units.unwrap_or(proved);
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|number| Reverse(solved[*number].peak));
        for number in order {
            let hopeless = units.is_some_and(|units| proved > units);
            if solved[number].peak <= enough || hopeless {
                break;
            }
            stage(&mut solved[number], &parts[number], &wanted(enough));
            proved = proved.max(solved[number].bound);
            if units.is_none() {
                enough = enough.max(proved).max(solved[number].peak);
            }
        }
    }
    let mut offsets: Vec<u64> = buffers.iter().map(|buffer| buffer.offset.unwrap_or(0)).collect();
    for (part, solved) in parts.iter().zip(&solved) {
        for (item, offset) in part.items.iter().zip(&solved.offsets) {
            offsets[item.buffer] = offset * unit;
        }
    }
    let peak = solved.iter().map(|part| part.peak).max().unwrap_or(0);
    let late = solved.iter().any(|part| part.late && !part.done(&wanted(units.unwrap_or(proved))));
    // Buffers of no size may be fixed anywhere.
    let empty = buffers.iter().filter(|b| b.size == 0).filter_map(|b| b.offset).max().unwrap_or(0);
    let (peak, lower_bound, proved) =
        ((peak * unit).max(empty), (lower_bound * unit).max(empty), (proved * unit).max(empty));
    let status = status(peak, lower_bound, proved, capacity, late);
    Ok(Packing { offsets, peak, lower_bound, proved, status })
}

/// From figures in bytes.
fn status(peak: u64, lower_bound: u64, proved: u64, capacity: Option<u64>, late: bool) -> Status {
    match capacity {
        Some(capacity) if proved > capacity => Status::Infeasible,
        Some(capacity) if peak > capacity && late => Status::TimeLimit,
        Some(capacity) if peak > capacity => Status::NotFound,
        _ if peak == lower_bound => Status::OptimalBound,
        _ if peak == proved => Status::OptimalExhausted,
        Some(_) => Status::Feasible,
        None if late => Status::TimeLimit,
        None => Status::Feasible,
    }
}
