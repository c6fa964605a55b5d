//! What changes are made to: the run as given, and what of the model the table asks for.

use super::changes::Form;
use crate::graph::Graph;
use crate::model::{Model, open};
use crate::plan::{Emulation, PlanError, program};
use crate::read::gpus::Gpu;
use crate::read::spec::Shelf;
use crate::run::{Checkpointing, Mode, Precision, Run};

/// A run that is to be changed.
pub(super) struct Case<'a> {
    /// The model.
    pub model: &'a Model,
    /// The run as given.
    pub run: &'a Run,
    /// The GPU.
    pub gpu: &'a Gpu,
    /// The precision that the run is planned in.
    pub precision: Precision,
    /// Its program, for the names of its parameters.
    graph: Graph,
}

impl<'a> Case<'a> {
    /// Reads what the table needs.
    ///
    /// # Errors
    /// A run that cannot be planned.
    pub fn new(model: &'a Model, run: &'a Run, gpu: &'a Gpu, precision: Precision) -> Result<Case<'a>, PlanError> {
        let once = Run { steps: 1, accumulate: 1, new_tokens: 1, ..run.clone() };
        Ok(Case { model, run, gpu, precision, graph: program(model, &once, Emulation::default())? })
    }

    /// Whether the run trains.
    pub fn trains(&self) -> bool {
        self.run.mode == Mode::Train
    }

    /// The run with a change, where it applies and changes anything.
    pub fn form(&self, applies: bool, amount: u64, value: String, change: impl FnOnce(&mut Run)) -> Vec<Form> {
        let mut run = self.run.clone();
        if applies {
            change(&mut run);
        }
        let changed = run != *self.run;
        changed.then(|| Form { run, model: None, amount, value }).into_iter().collect()
    }

    /// The same for a change without choices.
    pub fn when(&self, applies: bool, change: impl FnOnce(&mut Run)) -> Vec<Form> {
        self.form(applies, 0, String::new(), change)
    }

    /// The family's published models of the same architecture with fewer parameters, the largest first. None where the run
    /// names modules, which another model may not have.
    pub fn smaller(&self) -> Vec<Form> {
        let names_modules = matches!(self.run.checkpoint, Checkpointing::Modules(_)) || self.run.trainable.is_some();
        if names_modules {
            return Vec::new();
        }
        let shelf = Shelf { folder: self.run.specs.clone() };
        let own = parameters(self.model);
        let mut variants: Vec<(u64, Model)> = Vec::new();
        for (name, configuration) in &self.model.family.configurations {
            if configuration.architecture == self.model.architecture
                && let Ok(variant) = open(name, None, &shelf)
                && let Some(count) = parameters(&variant).filter(|count| own.is_some_and(|own| *count < own))
            {
                variants.push((count, variant));
            }
        }
        variants.sort_by(|(one, first), (other, second)| other.cmp(one).then_with(|| first.name.cmp(&second.name)));
        let form = |(place, (_, variant)): (usize, (u64, Model))| {
            let mut run = self.run.clone();
            let own = variant.dtype.and_then(Precision::of).unwrap_or(Precision::Fp32);
            if run.precision.is_none() && own != self.precision {
                run.precision = Some(self.precision);
            }
            Form { run, model: Some(variant.name.clone()), amount: place as u64, value: variant.name }
        };
        variants.into_iter().enumerate().map(form).collect()
    }

    /// A regular expression over the parameters of the last half of the model's blocks and all that comes behind their first.
    pub fn last_half(&self) -> Option<String> {
        let Graph { modules, parameters, .. } = &self.graph;
        let block = |path: &str| {
            let around =
                |block: &str| path.strip_prefix(block).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            modules.iter().find(|module| module.block && around(&module.path)).map(|module| module.path.clone())
        };
        let mut owners: Vec<(String, bool)> = Vec::new();
        for parameter in parameters.iter().filter(|parameter| !parameter.buffer) {
            let path = &modules[parameter.module.index()].path;
            let (owner, is_block) = block(path).map_or_else(|| (path.clone(), false), |block| (block, true));
            if !owners.iter().any(|(known, _)| *known == owner) {
                owners.push((owner, is_block));
            }
        }
        let blocks: Vec<usize> = (0..owners.len()).filter(|place| owners[*place].1).collect();
        let first = *blocks.get(blocks.len() / 2).filter(|_| blocks.len() > 1)?;
        Some(pattern(owners[first..].iter().map(|(owner, _)| owner.as_str())))
    }
}

/// `h.6`, `h.7` and `ln_f` in one regular expression; dots stand in brackets, so that no shell takes backslashes away.
fn pattern<'a>(owners: impl Iterator<Item = &'a str>) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for owner in owners {
        let (before, last) = owner.rsplit_once('.').unwrap_or(("", owner));
        match groups.iter_mut().find(|(known, _)| known == before) {
            Some((_, lasts)) => lasts.push(last),
            None => groups.push((before.to_owned(), vec![last])),
        }
    }
    let group = |(before, lasts): &(String, Vec<&str>)| {
        let before =
            before.split('.').filter(|part| !part.is_empty()).map(|part| format!("{part}[.]")).collect::<String>();
        format!("{before}({})", lasts.join("|"))
    };
    format!("^({})[.]", groups.iter().map(group).collect::<Vec<_>>().join("|"))
}

/// How many parameters a model has.
fn parameters(model: &Model) -> Option<u64> {
    let run = Run { mode: Mode::Infer, steps: 1, seq: 1, ..Run::default() };
    let graph = program(model, &run, Emulation::default()).ok()?;
    let shapes = graph.parameters.iter().filter(|parameter| !parameter.buffer).map(|parameter| &parameter.shape);
    Some(shapes.map(|shape| shape.iter().product::<u64>()).sum())
}
