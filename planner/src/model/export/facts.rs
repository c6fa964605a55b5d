//! What the whole of an export says: the type of its weights, whether it trains, what is tied, which output is the loss.

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::arguments::dtype;
use super::error::Problem;
use super::flatten::{Given, Kind, Program};
use super::modules::split;
use super::tree::Calls;
use super::wire::{ExportedProgram, WeightsTable};
use crate::dtype::Dtype;

/// The facts of an export.
#[derive(Debug)]
pub struct Facts {
    /// The class of the model.
    pub class: String,
    /// The type of most of its parameters.
    pub weights: Dtype,
    /// Whether it was exported in training mode, as its dropouts and batch norms say.
    pub training: bool,
    /// Whether they say either.
    pub has_mode: bool,
    /// The output that is the model's own loss.
    pub loss: Option<usize>,
    /// The output that a loss is made of where there is none: the first of floating-point numbers.
    pub scores: Option<usize>,
    /// The states that are one tensor under several names, the first first.
    pub tied: Vec<Vec<usize>>,
    /// The group in `tied` of each state that is in one.
    group: FxHashMap<usize, usize>,
}

impl Facts {
    /// Reads them.
    pub(super) fn of(
        export: &ExportedProgram<'_>,
        program: &Program<'_>,
        calls: &Calls<'_>,
        table: &WeightsTable<'_>,
    ) -> Result<Facts, Problem> {
        let class = calls.classes.get("").and_then(|class| class.rsplit('.').next()).unwrap_or("Exported");
        let (training, has_mode) = mode(program);
        let (loss, scores) = outputs(export, program);
        let tied = tied(program, table);
        let each = tied.iter().enumerate();
        let group = each.flat_map(|(group, states)| states.iter().map(move |state| (*state, group))).collect();
        Ok(Facts { class: class.to_owned(), weights: weights(program)?, training, has_mode, loss, scores, tied, group })
    }

    /// The name by which the module at `path` holds a state, where it is tied; else its own.
    pub(super) fn held<'a>(&self, number: usize, path: &str, program: &Program<'a>) -> &'a str {
        let own = program.states[number].name;
        let group = self.group.get(&number).map(|group| &self.tied[*group]);
        let mut names = group.into_iter().flatten().map(|other| program.states[*other].name);
        names.find(|name| split(name).0 == path).unwrap_or(own)
    }
}

/// The floating-point type that most elements of the parameters have.
fn weights(program: &Program<'_>) -> Result<Dtype, Problem> {
    let mut elements: Vec<(Dtype, u64)> = Vec::new();
    for state in &program.states {
        let Some(meta) = program.values[state.value.index()].meta else { continue };
        let Some(dtype) = dtype(meta.dtype) else {
            return Err(Problem::new(format!("{} has a type that is not known: {}", state.name, meta.dtype)));
        };
        let count = meta.sizes.iter().map(super::sizes::fixed).try_fold(1u64, |all, size| all.checked_mul(size?));
        if !state.parameter || !matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64) {
            continue;
        }
        let count = count.unwrap_or(0);
        match elements.iter_mut().find(|(known, _)| *known == dtype) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => elements.push((dtype, count)),
        }
    }
    elements.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(elements.first().map_or(Dtype::F32, |(dtype, _)| *dtype))
}

/// Whether a dropout or a batch norm was exported in training mode, and whether there is any.
fn mode(program: &Program<'_>) -> (bool, bool) {
    let flags = program.steps.iter().filter_map(|step| match &step.kind {
        Kind::Call { target, arguments, .. } => {
            let flag = arguments.iter().find(|(name, _)| matches!(*name, "train" | "training"))?;
            let rate = arguments.iter().find(|(name, _)| *name == "p");
            let idle = matches!(rate, Some((_, Given::Float(rate))) if *rate == 0.0);
            match flag.1 {
                Given::Bool(flag) if target.starts_with("aten.") && !idle => Some(flag),
                _ => None,
            }
        }
        _ => None,
    });
    let flags: Vec<bool> = flags.collect();
    (flags.contains(&true), !flags.is_empty())
}

/// The output that is a loss: marked as one, or called so by the model's output class; and the first of scores.
fn outputs(export: &ExportedProgram<'_>, program: &Program<'_>) -> (Option<usize>, Option<usize>) {
    let meta = |number: &usize| program.outputs[*number].and_then(|value| program.values[value.index()].meta);
    let floating = |number: &usize| {
        meta(number).is_some_and(|meta| dtype(meta.dtype).is_some_and(Dtype::is_floating) && meta.requires_grad)
    };
    let any_floating =
        |number: &usize| meta(number).is_some_and(|meta| dtype(meta.dtype).is_some_and(Dtype::is_floating));
    let all = 0..program.outputs.len();
    let scalar = |number: &usize| meta(number).is_some_and(|meta| meta.sizes.is_empty());
    let marked = program.loss.or_else(|| {
        let root = export.graph_module.module_call_graph.iter().find(|call| call.fqn.0.is_empty())?;
        let spec = root.signature.as_ref()?.out_spec.as_ref()?;
        let named = spec.0.contains("[\\\"loss\\\"") || all.len() == 1;
        (named && scalar(&0) && any_floating(&0)).then_some(0)
    });
    let scores = all.clone().find(|number| Some(*number) != marked && floating(number));
    let scores = scores.or_else(|| all.clone().find(|number| Some(*number) != marked && any_floating(number)));
    (marked, scores)
}

/// A path of the archive's table, with a shape.
type Place<'a> = (&'a str, Vec<Option<u64>>);

/// States that the archive's table gives one path.
fn tied(program: &Program<'_>, table: &WeightsTable<'_>) -> Vec<Vec<usize>> {
    let mut groups: IndexMap<Place<'_>, Vec<usize>, FxBuildHasher> = IndexMap::default();
    for (number, state) in program.states.iter().enumerate() {
        let (Some(payload), Some(meta)) = (table.config.get(state.name), program.values[state.value.index()].meta)
        else {
            continue;
        };
        let sizes = meta.sizes.iter().map(super::sizes::fixed).collect();
        groups.entry((&payload.path_name.0, sizes)).or_default().push(number);
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}
