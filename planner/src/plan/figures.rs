//! What is read off a planned program: its parameters, and operators that nobody knows.

use super::Plan;
use crate::bytes::Bytes;
use crate::ops::{Unknown, unknown};
use crate::run::{Mode, Run};

/// Parameters of the program; what is shared counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParameterTotals {
    /// How many numbers.
    pub count: u64,
    /// How many of them are trained.
    pub trainable: u64,
    /// Their bytes.
    pub bytes: Bytes,
    /// The bytes of buffers.
    pub buffers: Bytes,
}

impl Plan {
    /// The operators that the table lacks, in one forward of a run; inputs and outputs count with the type of the weights.
    pub fn unknown_operators(&self, run: &Run) -> Vec<Unknown> {
        let forwards = run.steps.saturating_mul(if run.mode == Mode::Train { run.accumulate } else { 1 });
        unknown(&self.graph, self.precision.dtype().size(), forwards)
    }

    /// Counts parameters and buffers: weights that lie packed by what they stand for, their bytes as they lie.
    pub fn parameters(&self) -> ParameterTotals {
        let mut totals = ParameterTotals::default();
        for parameter in &self.graph.parameters {
            let stored: u64 = parameter.shape.iter().product();
            let dtype = parameter.dtype.unwrap_or(self.precision.dtype());
            let bytes = Bytes(stored * dtype.size());
            let count = parameter.origin.unpacked(stored);
            if parameter.buffer {
                totals.buffers += bytes;
                continue;
            }
            totals.count += count;
            totals.bytes += bytes;
            let trained = parameter.needs_gradient(self.trainable.as_ref());
            totals.trainable += if trained && dtype.is_floating() { count } else { 0 };
        }
        totals
    }
}
