//! Every combination of sizes and choices, on each of the GPUs.
//!
//! Combinations are planned side by side, each once for all GPUs that run the same kernels. Rows come in the order of the lists,
//! whatever thread planned them: GPUs go slowest, then precisions, checkpoints, sequence lengths (or images), and batches.

#[cfg(test)]
mod tests;

use std::str::FromStr;

use rayon::prelude::*;

use crate::bytes::Bytes;
use crate::checkpoint::{Choice, ChooseError, Wanted, choose};
use crate::fit::Axis;
use crate::model::Model;
use crate::plan::footprint::{Peaks, alike, footprint};
use crate::plan::{PlanError, capacity};
use crate::read::gpus::Gpu;
use crate::run::{Checkpointing, Precision, Run, UnknownOperator};

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
    pub checkpoint: Vec<Checkpoints>,
}

/// Which modules' calls are checkpointed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoints {
    /// These.
    Given(Checkpointing),
    /// On each GPU the cheapest that let the run fit: `checkpoint::choose`.
    Chosen,
}

impl FromStr for Checkpoints {
    type Err = UnknownOperator;

    /// `auto`, or as a run has it.
    fn from_str(words: &str) -> Result<Checkpoints, UnknownOperator> {
        if words.trim() == "auto" { Ok(Checkpoints::Chosen) } else { words.parse().map(Checkpoints::Given) }
    }
}

/// A combination.
#[derive(Clone, Debug, PartialEq)]
pub struct Combination {
    /// The run; without checkpoints where they are chosen.
    pub run: Run,
    /// Whether checkpoints are chosen on each GPU.
    pub chosen: bool,
}

/// A combination on a GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The GPU, by its place in the list.
    pub gpu: usize,
    /// The bytes of it that the allocator may take.
    pub capacity: Bytes,
    /// The combination, by its place in what `Lists::runs` gives.
    pub run: usize,
    /// The precision that it was planned in and its peaks, or why it is refused.
    pub found: Result<(Precision, Peaks), String>,
    /// The checkpoints that were chosen; all layers where none let it fit.
    pub chosen: Option<Checkpointing>,
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
    pub fn runs(&self, model: &Model, run: &Run) -> Vec<Combination> {
        let mut runs = vec![Combination { run: run.clone(), chosen: false }];
        runs = combined(runs, &self.precision, |made, precision| made.run.precision = Some(*precision));
        runs = combined(runs, &self.checkpoint, |made, checkpoints| match checkpoints {
            Checkpoints::Given(given) => made.run.checkpoint.clone_from(given),
            Checkpoints::Chosen => (made.run.checkpoint, made.chosen) = (Checkpointing::Off, true),
        });
        let [batch, size] = Axis::of(model);
        runs = combined(runs, &self.size, |made, value| made.run = size.with(&made.run, *value));
        combined(runs, &self.batch, |made, value| made.run = batch.with(&made.run, *value))
    }
}

/// Each run with each value.
fn combined<T>(runs: Vec<Combination>, values: &[T], set: impl Fn(&mut Combination, &T)) -> Vec<Combination> {
    if values.is_empty() {
        return runs;
    }
    let with = |run: &Combination, value: &T| {
        let mut run = run.clone();
        set(&mut run, value);
        run
    };
    runs.iter().flat_map(|run| values.iter().map(|value| with(run, value)).collect::<Vec<_>>()).collect()
}

/// Plans every run on every GPU. `done` hears of rows that are ready.
///
/// # Errors
/// A checkpoint whose quantised weights cannot be planned, or a wrong spec; a run that is refused is a row.
pub fn sweep(
    model: &Model,
    runs: &[Combination],
    gpus: &[Gpu],
    done: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Row>, PlanError> {
    let Some(first) = runs.first() else { return Ok(Vec::new()) };
    let capacities = gpus.iter().map(|gpu| capacity(&first.run, gpu)).collect::<Result<Vec<_>, _>>()?;
    let classes = alike(model, gpus)?;
    let tasks: Vec<(&Vec<usize>, usize)> =
        classes.iter().flat_map(|class| (0..runs.len()).map(move |run| (class, run))).collect();
    let plan = |(class, run): &(&Vec<usize>, usize)| {
        let within: Vec<Bytes> = class.iter().map(|place| capacities[*place]).collect();
        let members: Vec<&Gpu> = class.iter().map(|place| &gpus[*place]).collect();
        let found = on_each(model, &runs[*run], &members, &within);
        done(class.len());
        found
    };
    let planned = tasks.par_iter().with_max_len(1).map(plan).collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::with_capacity(gpus.len() * runs.len());
    for ((class, run), found) in tasks.iter().zip(planned) {
        rows.extend(class.iter().zip(found).map(|(gpu, (found, chosen))| {
            let capacity = capacities[*gpu];
            Row { gpu: *gpu, capacity, run: *run, found, chosen }
        }));
    }
    rows.sort_by_key(|row| (row.gpu, row.run));
    Ok(rows)
}

/// What is found on a GPU, and the checkpoints that were chosen.
type Found = (Result<(Precision, Peaks), String>, Option<Checkpointing>);

/// Plans a combination on GPUs that run the same kernels. What is wrong with the model is so in every combination.
fn on_each(model: &Model, made: &Combination, gpus: &[&Gpu], within: &[Bytes]) -> Result<Vec<Found>, PlanError> {
    let planned = match footprint(model, &made.run, gpus[0], within) {
        Ok(planned) => planned,
        Err(error @ PlanError::Model(_)) => return Err(error),
        Err(error) => return Ok(vec![(Err(error.to_string()), None); gpus.len()]),
    };
    let places = gpus.iter().zip(within).zip(&planned.within);
    let found = places.map(|((gpu, capacity), peaks)| match made.chosen {
        false => (Ok((planned.precision, *peaks)), None),
        true if peaks.fits => (Ok((planned.precision, *peaks)), Some(Checkpointing::Off)),
        true => chosen(model, &made.run, gpu, *capacity),
    });
    Ok(found.collect())
}

/// The cheapest checkpoints that let a run fit, or those on all layers.
fn chosen(model: &Model, run: &Run, gpu: &Gpu, capacity: Bytes) -> Found {
    let choice = match choose(model, run, gpu, &Wanted::within(capacity)) {
        Ok(answer) => answer.choice,
        Err(ChooseError::Plan(error)) => return (Err(error.to_string()), None),
        Err(_) => None,
    };
    let regions = |choice: Choice| choice.modules.into_iter().map(|chosen| chosen.region).collect();
    let checkpoint = choice.map_or(Checkpointing::Full, |choice| Checkpointing::Modules(regions(choice)));
    let run = Run { checkpoint: checkpoint.clone(), ..run.clone() };
    match footprint(model, &run, gpu, &[capacity]) {
        Ok(planned) => (Ok((planned.precision, planned.within[0])), Some(checkpoint)),
        Err(error) => (Err(error.to_string()), None),
    }
}
