//! How many calls of operators a program will have: known from the first iteration of a loop, and refused there where it is too
//! many, before the work.

use std::cell::Cell;
use std::rc::Rc;

use super::GraphError;
use super::machine::{Machine, Outcome};
use crate::interpret::Semantics;

/// The most calls of operators that a program may have. A call of a training run takes about 0.6 kB and 5 µs until the plan is
/// made (measured: GPT-2 with 3,000 micro-batches, 1.7 million calls), so that this is about 2 GB and 15 seconds.
pub(super) const OPERATORS: usize = 3_000_000;

/// The most calls that a program may have with those of iterations that are written once. A call of a generation takes about
/// 0.1 µs until the plan is made (measured: Llama 3.2 1B, 20,000 tokens three times, 39 million calls, 3.3 s), so that this is less
/// than a minute; allocations stay far below the 2^32 that a trace can number.
pub(super) const ALL: u64 = 500_000_000;

/// What is known of a loop that runs.
#[derive(Default)]
pub struct Foreseen {
    /// Whether iterations that are alike are written once: it may have any number.
    pub folds: bool,
    /// The calls before its first iteration.
    first: usize,
    _within: Option<Within>,
}

/// While it lives, what runs runs so many times in all: once in each iteration of the loops around it.
struct Within {
    around: Rc<Cell<u64>>,
    before: u64,
}

impl Drop for Within {
    fn drop(&mut self) {
        self.around.set(self.before);
    }
}

impl Machine {
    /// A loop of so many iterations begins.
    pub(super) fn begin_loop(&self, length: usize, folds: bool) -> Foreseen {
        let (around, before) = (self.around.clone(), self.around.get());
        around.set(if folds { before } else { before.saturating_mul(length as u64) });
        Foreseen { folds, first: self.ops.len(), _within: Some(Within { around, before }) }
    }

    /// Comes after the first iteration of a loop.
    ///
    /// # Errors
    /// A program that will have far too many calls. (Iterations may differ; what comes to too many in the end is refused there.)
    pub(super) fn foresee(&self, foreseen: &Foreseen) -> Outcome<()> {
        let first = (self.ops.len() - foreseen.first) as u64;
        let total = first.saturating_mul(self.around.get());
        if total > 2 * OPERATORS as u64 { self.too_many(total) } else { Ok(()) }
    }

    /// An iteration of so many calls happens so often again.
    ///
    /// # Errors
    /// A program that has far too many calls with these.
    pub(super) fn call_again(&mut self, calls: u64, times: u64) -> Outcome<()> {
        self.calls_again = self.calls_again.saturating_add(calls.saturating_mul(times));
        let all = (self.ops.len() as u64).saturating_add(self.calls_again);
        if all > ALL { self.refuse(all, ALL) } else { Ok(()) }
    }

    /// Refuses a program of so many calls.
    pub(super) fn too_many<T>(&self, calls: u64) -> Outcome<T> {
        self.refuse(calls, OPERATORS as u64)
    }

    fn refuse<T>(&self, calls: u64, most: u64) -> Outcome<T> {
        let message = format!(
            "the run would have about {calls} calls of operators, and {most} are planned at most: fewer --steps, --accumulate \
             or --new-tokens, or fewer layers"
        );
        self.error(message).map_err(|error| Box::new(GraphError { is_of_run: true, ..*error }))
    }
}
