//! What to change so that a run fits: each known change alone, and the smallest combination that fits.
//!
//! ```text
//! changes   the table: what each does to a run, when, at what cost, by which code     case: what it asks of the model
//! alone     each planned by itself: the bytes that it saves here
//! search    sets of changes, the cheapest class first, the smallest first; pruned by dominance
//! refine    of a set with checkpoints on all layers, the layers that are enough       checkpoint::choose
//! ```
//!
//! All figures are those of plans. What is ranked is cost, never a guess of what sets save together.

mod adviser;
mod case;
mod changes;
mod cost;
mod forms;
mod search;
#[cfg(test)]
mod tests;

pub use changes::Slot;
pub use cost::{Class, Cost};

use adviser::Adviser;
use case::Case;

use crate::bytes::Bytes;
use crate::model::{Model, open};
use crate::plan::effort::{Effort, measured_of};
use crate::plan::footprint::Peaks;
use crate::plan::{Emulation, PlanError, capacity, prepare};
use crate::read::gpus::Gpu;
use crate::read::spec::Shelf;
use crate::run::{Flags, Precision, Run};

/// Checkpoints on fewer than all layers: a name, the cost in words, the code, and where that is written down.
pub const CHOSEN: &str = "checkpoints on chosen layers";
/// Their cost in words.
pub const CHOSEN_COST: &str = "the forward of these layers runs again in the backward pass";
/// The code that makes them.
pub const CHOSEN_CODE: &str = "what `memplan checkpoint ... --granularity block --emit torch` writes";
/// The source: a file or a page that says so.
pub const CHOSEN_SOURCE: &str = "torch/utils/checkpoint.py, checkpoint";

/// A run of a model: the given one, or a changed one.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The model in place of the given one.
    pub model: Option<String>,
    /// The run.
    pub run: Run,
    /// The flags that make it of the given one.
    pub flags: Flags,
}

impl Variant {
    /// Works with its model.
    fn with_model<T>(&self, given: &Model, work: impl FnOnce(&Model) -> T) -> Result<T, String> {
        let Some(name) = &self.model else { return Ok(work(given)) };
        let shelf = Shelf { folder: self.run.specs.clone() };
        let other = open(name, None, &shelf).map_err(|error| error.to_string())?;
        Ok(work(&other))
    }
}

/// A change, planned alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The name that people use for it.
    pub name: &'static str,
    /// What of the run it touches.
    pub slot: Slot,
    /// What it costs.
    pub cost: Cost,
    /// The same in words.
    pub words: &'static str,
    /// The code that makes it.
    pub code: String,
    /// The source: a file or a page that says so.
    pub source: &'static str,
    /// The changed run.
    pub variant: Variant,
    /// Its peaks within the capacity, and the reserved one without a limit.
    pub peaks: Peaks,
    /// `max_memory_reserved` without a limit.
    pub unlimited: Bytes,
    /// The bytes that the run keeps in the memory of the host.
    pub host: Bytes,
    /// The operations and the time of a step.
    pub effort: Effort,
}

/// Changes together.
#[derive(Clone, Debug, PartialEq)]
pub struct Combination {
    /// The changes, by their places in the list, in the order of what they touch.
    pub changes: Vec<usize>,
    /// The changed run.
    pub variant: Variant,
    /// Its peaks.
    pub peaks: Peaks,
    /// What it keeps in the host's memory.
    pub host: Bytes,
    /// The operations and the time of a step.
    pub effort: Effort,
    /// How many modules are checkpointed where fewer than all layers are enough.
    pub chosen: Option<usize>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// The bytes that the allocator may take from the GPU.
    pub capacity: Bytes,
    /// The precision of the run as given.
    pub precision: Precision,
    /// Its peaks.
    pub given: Peaks,
    /// What a step costs as given.
    pub effort: Effort,
    /// Every change that applies, the cheapest first.
    pub changes: Vec<Change>,
    /// The smallest combination that fits: the empty one where the run fits as given.
    pub combination: Option<Combination>,
    /// Where nothing fits, what comes nearest.
    pub nearest: Option<Combination>,
    /// Combinations that were planned.
    pub tried: u64,
    /// Combinations that were not.
    pub untried: u64,
}

/// About how many runs an advice plans.
const PLANS: u64 = 100;

/// The most calls that the program of a run may have (measured: a GPT-2 of 1,000 layers, 135,089 calls, takes a minute of one core
/// and 0.6 GB).
const MOST_CALLS: u64 = 200_000;

/// Says what would make a run fit. `done` hears of plans that are to be made and that have been made.
///
/// # Errors
/// What keeps the run as given from being planned.
pub fn advise(model: &Model, run: &Run, gpu: &Gpu, done: &(dyn Fn(usize, usize) + Sync)) -> Result<Advice, PlanError> {
    let capacity = capacity(run, gpu)?;
    let prepared = prepare(model, run, gpu, Emulation::default())?;
    let calls = prepared.graph.ops.len() as u64;
    if calls > MOST_CALLS {
        return Err(PlanError::TooLargeForMany { plans: PLANS, calls, most: MOST_CALLS });
    }
    let (planned, effort) = measured_of(&prepared, run, gpu, &[capacity])?;
    let (given, precision) = (planned.within[0], planned.precision);
    let adviser = Adviser { model, run, gpu, capacity, done };
    let case = Case::new(model, run, gpu, precision)?;
    let changes = adviser.changes(&case, given.fits);
    let mut advice =
        Advice { capacity, precision, given, effort, changes, combination: None, nearest: None, tried: 0, untried: 0 };
    if given.fits {
        let variant = adviser.variant(run.clone(), None);
        let (changes, host) = (Vec::new(), planned.host);
        advice.combination = Some(Combination { changes, variant, peaks: given, host, effort, chosen: None });
        return Ok(advice);
    }
    let found = search::smallest(&advice.changes, &mut |sets| adviser.plan_sets(&advice.changes, sets));
    (advice.tried, advice.untried) = (found.tried, found.untried);
    let combine = |set: Option<Vec<usize>>| set.and_then(|set| adviser.combination(&advice.changes, set));
    (advice.combination, advice.nearest) = (combine(found.fits), combine(found.nearest));
    Ok(advice)
}
