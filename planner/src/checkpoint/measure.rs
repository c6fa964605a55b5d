//! The model of a run's choices, measured: one lowering without checkpoints, and one for each depth of nesting among the
//! candidates, with all candidates of that depth checkpointed.
//!
//! A second run fills a cache again that the model hands to its layers, and a checkpointed call keeps the whole cache: what
//! one choice holds then depends on all others. So savings and needs are measured without a cache, and what the cache adds
//! without checkpoints is added to them; what it adds beyond that is left out, which keeps bounds below.

use regex::Regex;
use rustc_hash::FxHashSet;

use super::evaluate::Evaluator;
use super::model::{Candidate, Model, Needs, Savings};
use super::profile::{Profile, Window, profile};
use super::{ChooseError, Granularity};
use crate::graph::{Checkpointing, Graph, ModuleId};
use crate::plan::PlanError;

/// A run's model, and what it computes in a step without second runs.
pub(super) struct Measured {
    pub model: Model,
    pub step_flops: u64,
    /// The paths of the outermost candidates, whether they save anything or not.
    pub outermost: Vec<String>,
}

/// The modules whose calls can be checkpointed: called once in each pass, they give tensors and nothing else.
fn modules(graph: &Graph, granularity: Granularity, only: Option<&Regex>) -> FxHashSet<ModuleId> {
    let passes = graph.modules.first().map_or(0, |model| model.calls);
    let listed = graph.modules.iter().enumerate();
    let fits = listed.filter(|(number, module)| {
        *number > 0
            && module.calls == passes
            && module.gives_tensors
            && (granularity == Granularity::Module || module.block)
            && only.is_none_or(|pattern| pattern.is_match(&module.path))
    });
    fits.map(|(number, _)| ModuleId(number as u32)).collect()
}

/// A candidate's cuts, and how many others it lies in.
struct Call {
    module: ModuleId,
    enter: usize,
    exit: usize,
    depth: usize,
}

fn calls(profile: &Profile) -> Vec<Call> {
    let (mut open, mut calls): (Vec<(ModuleId, usize)>, Vec<Call>) = Default::default();
    for (cut, (module, begins)) in profile.cuts.iter().enumerate() {
        if *begins {
            open.push((*module, cut));
        } else if let Some((module, enter)) = open.pop() {
            calls.push(Call { module, enter, exit: cut, depth: open.len() });
        }
    }
    calls
}

pub(super) fn measure(
    evaluator: &Evaluator,
    uncached: &Evaluator,
    granularity: Granularity,
    only: Option<&Regex>,
) -> Result<Measured, ChooseError> {
    let (graph, stream, timeline) = evaluator.lower(Checkpointing::Off)?;
    let candidates = modules(&graph, granularity, only);
    if candidates.is_empty() {
        return Err(ChooseError::NoCandidates);
    }
    let path = |module: ModuleId| graph.modules[module.index()].path.clone();
    let given = profile(&stream, &timeline, &candidates);
    let (_, stream, timeline_uncached) = uncached.lower(Checkpointing::Off)?;
    let plain = profile(&stream, &timeline_uncached, &candidates);
    let calls = calls(&plain);
    let steps = evaluator.run.steps.max(1);
    let step_flops = timeline.computed.forward.saturating_add(timeline.computed.backward) / steps;
    let (mut found, mut workspace) = (Vec::new(), 0);
    let mut refused: FxHashSet<String> = FxHashSet::default();
    let depths = calls.iter().map(|call| call.depth + 1).max().unwrap_or(0);
    for depth in 0..depths {
        let mut level: Vec<&Call> = calls.iter().filter(|call| call.depth == depth).collect();
        let (checkpointed, stream, timeline) = loop {
            let paths = level.iter().map(|call| path(call.module)).collect();
            match uncached.lower(Checkpointing::Modules(paths)) {
                Ok(lowered) => break lowered,
                // PyTorch refuses what saves other tensors in its second run: such a call is no candidate
                Err(PlanError::Lower { module, error }) => {
                    let left = level.len();
                    level.retain(|call| !lies_in(&module, &path(call.module)));
                    if level.len() == left {
                        return Err(PlanError::Lower { module, error }.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        };
        refused.extend(calls.iter().filter(|call| call.depth == depth).map(|call| path(call.module)));
        level.iter().for_each(|call| {
            refused.remove(&path(call.module));
        });
        let with = profile(&stream, &timeline, &candidates);
        let runs = checkpointed.checkpoints.iter().zip(&timeline.recomputed);
        workspace = workspace.max(with.outside as i64 - plain.outside as i64);
        let takes: FxHashSet<ModuleId> = checkpointed
            .checkpoints
            .iter()
            .zip(&timeline.uses_blas_lt)
            .filter(|(_, uses)| **uses)
            .map(|(run, _)| run.module)
            .collect();
        for call in level {
            let again: u64 = runs.clone().filter(|(run, _)| run.module == call.module).map(|(_, flops)| *flops).sum();
            let takes_workspace = takes.contains(&call.module);
            let found_here = candidate(call, path(call.module), again / steps, [&given, &plain, &with]);
            let is_block = graph.modules[call.module.index()].block;
            found.push(Candidate { takes_workspace, is_block, ..found_here });
        }
    }
    let outermost = calls.iter().filter(|call| call.depth == 0).map(|call| path(call.module));
    let outermost = outermost.filter(|path| !refused.contains(path)).collect();
    // what saves nothing helps nowhere
    found.retain(|candidate| candidate.saves.forward > 0 || candidate.saves.backward > 0);
    Ok(Measured { model: Model { workspace, ..model(found, &given) }, step_flops, outermost })
}

fn lies_in(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A candidate's figures, its place given by cuts.
fn candidate(call: &Call, path: String, cost: u64, [given, plain, with]: [&Profile; 3]) -> Candidate {
    let windows = || plain.windows.iter().zip(&with.windows);
    let saved = |side: fn(&Window) -> &Vec<u64>, cut: usize| {
        move |(plain, with): (&Window, &Window)| side(plain)[cut] as i64 - side(with)[cut] as i64
    };
    let most = |side: fn(&Window) -> &Vec<u64>| {
        let within = |pair| saved(side, call.exit)(pair) - saved(side, call.enter)(pair);
        windows().map(within).max().unwrap_or(0)
    };
    let need = |side: fn(&Window) -> &Vec<u64>, at: fn(&Window) -> &Vec<u64>| {
        let within = |((plain, with), given): ((&Window, &Window), &Window)| {
            let most = side(with)[call.enter + 1..=call.exit].iter().copied().max().unwrap_or(0);
            let cached = at(given)[call.enter] as i64 - at(plain)[call.enter] as i64;
            most as i64 + saved(at, call.enter)((plain, with)) + cached
        };
        windows().zip(&given.windows).map(within).max().unwrap_or(0)
    };
    let saves = Savings { forward: most(|window| &window.at_forward), backward: most(|window| &window.at_backward) };
    // what calls after it still hold, and let go while it runs backward: of other choices that may not be so
    let lagging = (saves.forward - saves.backward).max(0);
    Candidate {
        takes_workspace: false,
        is_block: false,
        path,
        from: call.enter,
        to: call.exit,
        cost,
        saves: Savings { backward: saves.backward + lagging, ..saves },
        needs: Needs {
            forward: need(|window| &window.forward, |window| &window.at_forward),
            backward: need(|window| &window.backward, |window| &window.at_backward) - lagging,
        },
    }
}

/// Merges segments between which no candidate begins or ends.
fn model(mut candidates: Vec<Candidate>, plain: &Profile) -> Model {
    let mut cuts: Vec<usize> = candidates.iter().flat_map(|candidate| [candidate.from, candidate.to]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let needs = |segment: usize| {
        let window = |window: &Window| Needs {
            forward: window.forward.get(segment).copied().unwrap_or(0) as i64,
            backward: window.backward.get(segment).copied().unwrap_or(0) as i64,
        };
        plain.windows.iter().map(window).fold(Needs::default(), Needs::or)
    };
    let mut segments = vec![Needs::default(); cuts.len() + 1];
    for segment in 0..=plain.cuts.len() {
        let merged = cuts.partition_point(|cut| *cut < segment);
        segments[merged] = segments[merged].or(needs(segment));
    }
    for candidate in &mut candidates {
        // segments before cut k have indices up to k: the boundary at that cut has one more merged segment before it
        candidate.from = cuts.partition_point(|cut| *cut < candidate.from) + 1;
        candidate.to = cuts.partition_point(|cut| *cut < candidate.to) + 1;
    }
    candidates.sort_by_key(|candidate| (candidate.to, candidate.from));
    Model { segments, candidates, outside: plain.outside as i64, workspace: 0 }
}
