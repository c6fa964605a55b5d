//! Plans of changed runs: changes alone, sets of them, and what checkpoints are enough.

use super::case::Case;
use super::changes::{Form, ROWS, Row, Slot};
use super::cost::{Class, Cost};
use super::{CHOSEN, CHOSEN_CODE, CHOSEN_COST, CHOSEN_SOURCE, Change, Combination, Variant};
use rayon::prelude::*;

use crate::bytes::Bytes;
use crate::checkpoint::{Granularity, Wanted, choose};
use crate::model::Model;
use crate::plan::PlanError;
use crate::plan::effort::{Effort, measured};
use crate::plan::footprint::{Footprint, footprint};
use crate::read::gpus::Gpu;
use crate::run::{Checkpointing, Run};

/// The run, where it is planned, and who hears of it.
pub(super) struct Adviser<'a> {
    pub model: &'a Model,
    pub run: &'a Run,
    pub gpu: &'a Gpu,
    pub capacity: Bytes,
    pub done: &'a (dyn Fn(usize, usize) + Sync),
}

/// A plan of a variant, and what a step of it costs.
type Measured = (Footprint, Effort);

impl Adviser<'_> {
    /// Every change that applies and can be planned, the cheapest first; equal ones in the order of the table.
    pub fn changes(&self, case: &Case, fits: bool) -> Vec<Change> {
        let rows = ROWS.iter().flat_map(|row| (row.forms)(case).into_iter().map(move |form| (row, form)));
        let (rows, variants): (Vec<(&Row, Form)>, Vec<Variant>) = rows
            .map(|(row, form)| {
                let variant = self.variant(form.run.clone(), form.model.clone());
                ((row, form), variant)
            })
            .unzip();
        let measured = self.side_by_side(&variants, |model, run, gpu, capacity| measured(model, run, gpu, &[capacity]));
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
        let measured = measured(self.model, &variant.run, self.gpu, &[self.capacity]).ok()?;
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

    pub fn variant(&self, run: Run, model: Option<String>) -> Variant {
        let mut flags = run.flags_from(self.run);
        if let Some(name) = &model {
            flags.0.insert(0, ("model", name.clone()));
        }
        Variant { model, run, flags }
    }

    /// The run with all the changes of a set.
    pub fn together(&self, changes: &[Change], set: &[usize]) -> Variant {
        let (mut run, mut model) = (self.run.clone(), None);
        for change in set.iter().map(|place| &changes[*place]) {
            change.slot.copy(&mut run, &change.variant.run);
            model = model.or(change.variant.model.clone());
        }
        self.variant(run, model)
    }

    pub fn plan_sets(&self, changes: &[Change], sets: &[Vec<usize>]) -> Vec<Result<Footprint, String>> {
        let variants: Vec<Variant> = sets.iter().map(|set| self.together(changes, set)).collect();
        self.side_by_side(&variants, |model, run, gpu, capacity| footprint(model, run, gpu, &[capacity]))
    }

    /// Works on variants side by side.
    fn side_by_side<T: Send>(
        &self,
        variants: &[Variant],
        work: impl Fn(&Model, &Run, &Gpu, Bytes) -> Result<T, PlanError> + Sync,
    ) -> Vec<Result<T, String>> {
        let Adviser { model, gpu, capacity, done, .. } = *self;
        done(variants.len(), 0);
        let worked = |variant: &Variant| {
            let work = |model: &Model| work(model, &variant.run, gpu, capacity).map_err(|error| error.to_string());
            let result = variant.with_model(model, work);
            done(0, 1);
            result?
        };
        variants.par_iter().with_max_len(1).map(worked).collect()
    }

    /// A set with its figures; checkpoints on all layers give way to those that are enough.
    pub fn combination(&self, changes: &[Change], set: Vec<usize>) -> Option<Combination> {
        let mut variant = self.together(changes, &set);
        let given = self.run.checkpoint == variant.run.checkpoint;
        let refined = |model: &Model| {
            let chosen = if given { None } else { self.chosen(model, &variant.run) };
            let run = chosen.as_ref().map_or(&variant.run, |(run, _)| run);
            let measured = measured(model, run, self.gpu, &[self.capacity]).ok()?;
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
