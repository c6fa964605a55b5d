//! Every combination of sizes and choices, on each of the GPUs.
//!
//! Combinations are planned side by side, each once for all GPUs that run the same kernels. Rows come in the order of the lists,
//! whatever thread planned them: GPUs go slowest, then precisions, checkpoints, sequence lengths (or images), and batches.

#[cfg(test)]
mod tests;

use crate::bytes::Bytes;
use crate::fit::Axis;
use crate::graph::Checkpointing;
use crate::plan::footprint::{Peaks, alike, footprint};
use crate::plan::{PlanError, capacity};
use crate::read::gpus::Gpu;
use crate::read::model::Model;
use crate::run::{Precision, Run};
use crate::threads::{Opener, each};

/// What is combined; where a list is empty, the run's own value stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lists {
    /// Sequences or images at once.
    pub batch: Vec<u64>,
    /// Tokens of each sequence, or rows and columns of each image.
    pub size: Vec<u64>,
    /// The weights' types.
    pub precision: Vec<Precision>,
    /// Which modules' calls are checkpointed.
    pub checkpoint: Vec<Checkpointing>,
}

/// A combination on a GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The GPU, by its place in the list.
    pub gpu: usize,
    /// What the allocator may take of it.
    pub capacity: Bytes,
    /// The combination, by its place in what `Lists::runs` gives.
    pub run: usize,
    /// The precision that it was planned in and its peaks, or why it is refused.
    pub found: Result<(Precision, Peaks), String>,
}

impl Row {
    /// Whether the combination fits.
    pub fn fits(&self) -> bool {
        self.found.as_ref().is_ok_and(|(_, peaks)| peaks.fits)
    }
}

impl Lists {
    /// How many combinations there are for each GPU.
    pub fn combinations(&self) -> usize {
        let lengths = [self.batch.len(), self.size.len(), self.precision.len(), self.checkpoint.len()];
        lengths.iter().fold(1, |product, length| product.saturating_mul((*length).max(1)))
    }

    /// Every combination, in order.
    pub fn runs(&self, model: &Model, run: &Run) -> Vec<Run> {
        let mut runs = vec![run.clone()];
        runs = combined(runs, &self.precision, |run, precision| run.precision = Some(*precision));
        runs = combined(runs, &self.checkpoint, |run, checkpoint| run.checkpoint = checkpoint.clone());
        let [batch, size] = Axis::of(model);
        runs = combined(runs, &self.size, |run, value| *run = size.with(run, *value));
        combined(runs, &self.batch, |run, value| *run = batch.with(run, *value))
    }
}

/// Each run with each value.
fn combined<T>(runs: Vec<Run>, values: &[T], set: impl Fn(&mut Run, &T)) -> Vec<Run> {
    if values.is_empty() {
        return runs;
    }
    let with = |run: &Run, value: &T| {
        let mut run = run.clone();
        set(&mut run, value);
        run
    };
    runs.iter().flat_map(|run| values.iter().map(|value| with(run, value)).collect::<Vec<_>>()).collect()
}

/// Plans every run on every GPU. `open` opens the model that `model` is; `done` hears of rows that are ready.
///
/// # Errors
/// A checkpoint whose quantised weights cannot be planned, or a wrong spec; a run that is refused is a row.
pub fn sweep(
    (model, open): (&Model, &Opener<'_>),
    runs: &[Run],
    gpus: &[Gpu],
    done: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Row>, PlanError> {
    let Some(first) = runs.first() else { return Ok(Vec::new()) };
    let capacities = gpus.iter().map(|gpu| capacity(first, gpu)).collect::<Result<Vec<_>, _>>()?;
    let classes = alike(model, gpus)?;
    let tasks: Vec<(&Vec<usize>, usize)> =
        classes.iter().flat_map(|class| (0..runs.len()).map(move |run| (class, run))).collect();
    let planned = each((model, open), &tasks, |model, (class, run)| {
        let within: Vec<Bytes> = class.iter().map(|place| capacities[*place]).collect();
        let planned = footprint(model, &runs[*run], &gpus[class[0]], &within);
        done(class.len());
        planned.map_err(|error| error.to_string())
    });
    let mut rows = Vec::with_capacity(gpus.len() * runs.len());
    for ((class, run), planned) in tasks.iter().zip(planned) {
        for (number, gpu) in class.iter().enumerate() {
            let found = planned.as_ref().map(|planned| (planned.precision, planned.within[number]));
            rows.push(Row { gpu: *gpu, capacity: capacities[*gpu], run: *run, found: found.map_err(String::clone) });
        }
    }
    rows.sort_by_key(|row| (row.gpu, row.run));
    Ok(rows)
}
