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

mod case;
mod changes;
mod cost;
mod search;
#[cfg(test)]
mod tests;

pub use changes::Slot;
pub use cost::{Class, Cost};

use case::Case;
use changes::{Form, ROWS, Row};

use crate::bytes::Bytes;
use crate::checkpoint::{Granularity, Wanted, choose};
use crate::graph::Checkpointing;
use crate::plan::effort::{Effort, effort};
use crate::plan::footprint::{Footprint, Peaks, footprint};
use crate::plan::{PlanError, capacity};
use crate::read::gpus::Gpu;
use crate::read::model::{Model, open};
use crate::read::spec::Shelf;
use crate::run::{Flags, Precision, Run};
use crate::threads::{Opener, each};

/// Checkpoints on fewer than all layers: a name, the cost in words, the code, and where that is written down.
pub const CHOSEN: &str = "checkpoints on chosen layers";
/// Their cost in words.
pub const CHOSEN_COST: &str = "the forward of these layers runs again in the backward pass";
/// The code that makes them.
pub const CHOSEN_CODE: &str = "what `memplan checkpoint ... --granularity block --emit torch` writes";
/// Where that is written down.
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
    /// What people call it.
    pub name: &'static str,
    /// What of the run it touches.
    pub slot: Slot,
    /// What it costs.
    pub cost: Cost,
    /// The same in words.
    pub words: &'static str,
    /// The code that makes it.
    pub code: String,
    /// Where that is written down.
    pub source: &'static str,
    /// The changed run.
    pub variant: Variant,
    /// Its peaks within the capacity, and the reserved one without a limit.
    pub peaks: Peaks,
    /// `max_memory_reserved` without a limit.
    pub unlimited: Bytes,
    /// What the run keeps in the host's memory.
    pub host: Bytes,
    /// What a step costs.
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
    /// What a step costs.
    pub effort: Effort,
    /// How many modules are checkpointed where fewer than all layers are enough.
    pub chosen: Option<usize>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// What the allocator may take.
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

/// The run, where it is planned, and who hears of it.
struct Adviser<'a> {
    model: &'a Model,
    open: &'a Opener<'a>,
    run: &'a Run,
    gpu: &'a Gpu,
    capacity: Bytes,
    done: &'a (dyn Fn(usize, usize) + Sync),
}

/// Says what would make a run fit. `open` opens the model that `model` is; `done` hears of plans that are to be made and that
/// have been made.
///
/// # Errors
/// What keeps the run as given from being planned.
pub fn advise(
    (model, open): (&Model, &Opener<'_>),
    run: &Run,
    gpu: &Gpu,
    done: &(dyn Fn(usize, usize) + Sync),
) -> Result<Advice, PlanError> {
    let capacity = capacity(run, gpu)?;
    let planned = footprint(model, run, gpu, &[capacity])?;
    let (given, precision) = (planned.within[0], planned.precision);
    let effort = effort(model, run, gpu)?;
    let adviser = Adviser { model, open, run, gpu, capacity, done };
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

/// A plan of a variant, and what a step of it costs.
type Measured = (Footprint, Effort);

impl Adviser<'_> {
    /// Every change that applies and can be planned, the cheapest first; equal ones in the order of the table.
    fn changes(&self, case: &Case, fits: bool) -> Vec<Change> {
        let rows = ROWS.iter().flat_map(|row| (row.forms)(case).into_iter().map(move |form| (row, form)));
        let (rows, variants): (Vec<(&Row, Form)>, Vec<Variant>) = rows
            .map(|(row, form)| {
                let variant = self.variant(form.run.clone(), form.model.clone());
                ((row, form), variant)
            })
            .unzip();
        let measured = self.side_by_side(&variants, measure);
        let alone = rows.into_iter().zip(variants).zip(measured);
        let mut changes: Vec<Change> = alone
            .filter_map(|(((row, form), variant), measured)| {
                let told = Told { name: row.name, words: row.cost, source: row.source };
                let code = row.code.replace("{}", &form.value);
                let cost = Cost { class: row.class, amount: form.amount };
                Some(change(row.slot, cost, told, code, variant, measured.ok()?))
            })
            .collect();
        changes.extend(self.chosen_layers(case).filter(|_| !fits));
        changes.sort_by_key(|change| change.cost);
        changes
    }

    /// The layers that are enough, where checkpoints alone are.
    fn chosen_layers(&self, case: &Case) -> Option<Change> {
        let off = case.trains() && self.run.checkpoint == Checkpointing::Off;
        let (run, _) = self.chosen(self.model, self.run).filter(|_| off)?;
        let variant = self.variant(run, None);
        let measured = measure(self.model, &variant.run, self.gpu, self.capacity).ok()?;
        let cost = Cost { class: Class::Recomputation, amount: 0 };
        let told = Told { name: CHOSEN, words: CHOSEN_COST, source: CHOSEN_SOURCE };
        Some(change(Slot::Checkpoints, cost, told, CHOSEN_CODE.to_owned(), variant, measured))
    }

    /// A run with the cheapest checkpoints that let it fit, and how many they are.
    fn chosen(&self, model: &Model, run: &Run) -> Option<(Run, usize)> {
        let plain = Run { checkpoint: Checkpointing::Off, ..run.clone() };
        let wanted = Wanted { granularity: Granularity::Block, ..Wanted::within(self.capacity) };
        let choice = choose(model, &plain, self.gpu, &wanted).ok()?.choice?;
        let regions: Vec<_> = choice.modules.into_iter().map(|chosen| chosen.region).collect();
        let count = regions.len();
        let run = Run { checkpoint: Checkpointing::Modules(regions), ..plain };
        (count > 0).then_some((run, count))
    }

    fn variant(&self, run: Run, model: Option<String>) -> Variant {
        let mut flags = run.flags_from(self.run);
        if let Some(name) = &model {
            flags.0.insert(0, ("model", name.clone()));
        }
        Variant { model, run, flags }
    }

    /// The run with all the changes of a set.
    fn together(&self, changes: &[Change], set: &[usize]) -> Variant {
        let (mut run, mut model) = (self.run.clone(), None);
        for change in set.iter().map(|place| &changes[*place]) {
            change.slot.copy(&mut run, &change.variant.run);
            model = model.or(change.variant.model.clone());
        }
        self.variant(run, model)
    }

    fn plan_sets(&self, changes: &[Change], sets: &[Vec<usize>]) -> Vec<Result<Footprint, String>> {
        let variants: Vec<Variant> = sets.iter().map(|set| self.together(changes, set)).collect();
        self.side_by_side(&variants, |model, run, gpu, capacity| footprint(model, run, gpu, &[capacity]))
    }

    /// Works on variants side by side.
    fn side_by_side<T: Send>(
        &self,
        variants: &[Variant],
        work: impl Fn(&Model, &Run, &Gpu, Bytes) -> Result<T, PlanError> + Sync,
    ) -> Vec<Result<T, String>> {
        let Adviser { gpu, capacity, done, .. } = *self;
        done(variants.len(), 0);
        each((self.model, self.open), variants, |model, variant| {
            let result = variant
                .with_model(model, |model| work(model, &variant.run, gpu, capacity).map_err(|error| error.to_string()));
            done(0, 1);
            result?
        })
    }

    /// A set with its figures; checkpoints on all layers give way to those that are enough.
    fn combination(&self, changes: &[Change], set: Vec<usize>) -> Option<Combination> {
        let mut variant = self.together(changes, &set);
        let given = self.run.checkpoint == variant.run.checkpoint;
        let refined = |model: &Model| {
            let chosen = if given { None } else { self.chosen(model, &variant.run) };
            let run = chosen.as_ref().map_or(&variant.run, |(run, _)| run);
            let measured = measure(model, run, self.gpu, self.capacity).ok()?;
            Some((chosen, measured))
        };
        let (chosen, (planned, effort)) = variant.with_model(self.model, refined).ok()??;
        let count = chosen.as_ref().map(|(_, count)| *count);
        if let Some((run, _)) = chosen {
            variant = self.variant(run, variant.model);
        }
        let (peaks, host) = (planned.within[0], planned.host);
        Some(Combination { changes: set, variant, peaks, host, effort, chosen: count })
    }
}

/// Plans a run, and counts what a step of it costs.
fn measure(model: &Model, run: &Run, gpu: &Gpu, capacity: Bytes) -> Result<Measured, PlanError> {
    Ok((footprint(model, run, gpu, &[capacity])?, effort(model, run, gpu)?))
}

/// What is told of a change.
struct Told {
    name: &'static str,
    words: &'static str,
    source: &'static str,
}

/// A change with its figures; checkpoints cost the operations of their second runs.
fn change(
    slot: Slot,
    cost: Cost,
    Told { name, words, source }: Told,
    code: String,
    variant: Variant,
    (planned, effort): Measured,
) -> Change {
    let amount = if cost.class == Class::Recomputation { effort.recomputed.flops } else { cost.amount };
    let (peaks, unlimited, host) = (planned.within[0], planned.unlimited, planned.host);
    Change { name, slot, cost: Cost { amount, ..cost }, words, code, source, variant, peaks, unlimited, host, effort }
}
