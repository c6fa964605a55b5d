//! The model of a run's choices, measured: one lowering without checkpoints, and one for each depth of nesting among the
//! candidates, with all candidates of that depth checkpointed.
//!
//! A second run fills a cache again that the model hands to its layers, and a checkpointed call keeps the whole cache: what
//! one choice holds then depends on all others. So savings and needs are measured without a cache, and what the cache adds
//! without checkpoints is added to them; what it adds beyond that is left out, which keeps bounds below.

use regex::Regex;
use rustc_hash::{FxHashMap, FxHashSet};

use super::evaluate::{Evaluator, Lowered, Peaks};
use super::model::{Candidate, Kind, Model, Needs, Savings};
use super::profile::{Profile, Window, profile};
use super::{ChooseError, Currency, Granularity};
use crate::graph::{Graph, ModuleId, Segment, segments};
use crate::lower::timeline::{FxIndexSet, Timeline};
use crate::plan::PlanError;
use crate::run::{Checkpointing, Region, SavedOperators};
use crate::time::Cost;

/// A run's model, and what was learned on the way.
pub(super) struct Measured {
    pub model: Model,
    /// Peaks without checkpoints.
    pub without: Peaks,
    /// The operations and the time of a step without recomputation.
    pub step: Cost,
    /// The paths of the outermost candidates, whether they save anything or not.
    pub outermost: Vec<String>,
    /// The paths of modules that PyTorch refuses to run again.
    pub refused: Vec<String>,
}

/// A model's blocks: what stands in its lists of modules; of a model without lists, what stands in its Sequentials and has
/// modules of its own.
fn blocks(graph: &Graph) -> FxHashSet<ModuleId> {
    let numbered = || graph.modules.iter().enumerate().map(|(number, module)| (ModuleId(number as u32), module));
    let listed: FxHashSet<ModuleId> = numbered().filter(|(_, module)| module.block).map(|(id, _)| id).collect();
    if !listed.is_empty() {
        return listed;
    }
    let around = |path: &str| path.rsplit_once('.').map_or("", |(outer, _)| outer).to_owned();
    let outer: FxHashSet<String> = numbered().map(|(_, module)| around(&module.path)).collect();
    let sequential = numbered().filter(|(_, module)| &*module.class == "Sequential");
    let sequential: FxHashSet<&str> = sequential.map(|(_, module)| &*module.path).collect();
    let is_block = |path: &str| outer.contains(path) && sequential.contains(&*around(path));
    numbered().filter(|(id, module)| id.0 > 0 && is_block(&module.path)).map(|(id, _)| id).collect()
}

/// What stands in the place of a model's parts.
struct Parts {
    /// The blocks; of a model without any what lies between two of its cut points.
    blocks: FxHashSet<ModuleId>,
    /// What can be checkpointed beside other modules: the same, and where there are no blocks longer runs of calls as well.
    wholes: FxHashSet<ModuleId>,
}

impl Parts {
    /// The blocks of a model; where it has none, its cut points are found and runs of calls between them marked.
    fn of(evaluator: &mut Evaluator) -> Result<Parts, PlanError> {
        let blocks = blocks(evaluator.graph());
        if !blocks.is_empty() {
            return Ok(Parts { wholes: blocks.clone(), blocks });
        }
        let segments = segments(evaluator.graph());
        let runs = segments.iter().filter(|segment| Region::new(&segment.path).span().is_some());
        evaluator.mark(runs.map(|segment| segment.path.clone()).collect())?;
        let listed = evaluator.graph().modules.iter().zip(0..);
        let numbers: FxHashMap<&str, ModuleId> = listed.map(|(module, id)| (&*module.path, ModuleId(id))).collect();
        let number = |segment: &Segment| numbers.get(&*segment.path).copied();
        let blocks = segments.iter().filter(|segment| segment.finest).filter_map(number).collect();
        Ok(Parts { blocks, wholes: segments.iter().filter_map(number).collect() })
    }
}

/// The modules whose calls can be checkpointed: called once in each pass, they give tensors and nothing else.
fn modules(
    graph: &Graph,
    wholes: &FxHashSet<ModuleId>,
    granularity: Granularity,
    only: Option<&Regex>,
) -> FxHashSet<ModuleId> {
    let passes = graph.modules.first().map_or(0, |model| model.calls);
    let listed = graph.modules.iter().enumerate();
    let fits = listed.filter(|(number, module)| {
        *number > 0
            && module.calls == passes
            && module.gives_tensors
            && (granularity == Granularity::Module || wholes.contains(&ModuleId(*number as u32)))
            && only.is_none_or(|pattern| pattern.is_match(&module.path))
    });
    fits.map(|(number, _)| ModuleId(number as u32)).collect()
}

/// A candidate's call: its cuts, and how many others it lies in.
struct Call {
    module: ModuleId,
    path: String,
    is_block: bool,
    enter: usize,
    exit: usize,
    depth: usize,
    /// Whether it lies in no other that is no longer run, and is none.
    is_outermost: bool,
}

fn calls(graph: &Graph, Parts { blocks, wholes }: &Parts, profile: &Profile) -> Vec<Call> {
    let is_longer = |module: ModuleId| wholes.contains(&module) && !blocks.contains(&module);
    let (mut open, mut calls): (Vec<(ModuleId, usize)>, Vec<Call>) = Default::default();
    for (exit, (module, begins)) in profile.cuts.iter().enumerate() {
        if *begins {
            open.push((*module, exit));
        } else if let Some((module, enter)) = open.pop() {
            let (path, is_block) = (graph.modules[module.index()].path.clone(), blocks.contains(&module));
            let is_outermost = !is_longer(module) && open.iter().all(|(outer, _)| is_longer(*outer));
            calls.push(Call { module, path, is_block, enter, exit, depth: open.len(), is_outermost });
        }
    }
    calls
}

/// The paths of the calls that lie in no other, in forward order.
fn outermost(levels: &[Vec<Call>]) -> Vec<String> {
    let mut outermost: Vec<&Call> = levels.iter().flatten().filter(|call| call.is_outermost).collect();
    outermost.sort_by_key(|call| call.enter);
    outermost.into_iter().map(|call| call.path.clone()).collect()
}

pub(super) fn measure(
    evaluator: &mut Evaluator,
    granularity: Granularity,
    currency: Currency,
    only: Option<&Regex>,
) -> Result<Measured, ChooseError> {
    let parts = Parts::of(evaluator)?;
    let lowered = evaluator.lower(Checkpointing::Off)?;
    let candidates = modules(&lowered.graph, &parts.wholes, granularity, only);
    if candidates.is_empty() {
        return Err(ChooseError::NoCandidates);
    }
    let without = match evaluator.has_functions() {
        true => evaluator.peaks(Checkpointing::Off)?.unwrap_or_else(|| evaluator.peaks_of(&lowered.stream)),
        false => evaluator.peaks_of(&lowered.stream),
    };
    let step = lowered.timeline.computed.shared(evaluator.steps());
    let given = profile(&lowered.stream, &lowered.timeline, &candidates);
    let without_cache = evaluator.without_cache()?;
    let uncached = without_cache.as_ref().unwrap_or(evaluator);
    let plain = match &without_cache {
        None => given.clone(),
        Some(uncached) => {
            let lowered = uncached.lower(Checkpointing::Off)?;
            profile(&lowered.stream, &lowered.timeline, &candidates)
        }
    };
    let mut levels: Vec<Vec<Call>> = Vec::new();
    for call in calls(&lowered.graph, &parts, &plain) {
        levels.resize_with(levels.len().max(call.depth + 1), Vec::new);
        levels[call.depth].push(call);
    }
    let (mut found, mut workspace, mut refused) = (Vec::new(), 0, Vec::new());
    let setting = Setting { evaluator: uncached, candidates: &candidates, given: &given, plain: &plain, currency };
    for level in &mut levels {
        if without_cache.is_some() {
            refused.extend(leave_out_refused(evaluator, level)?);
        }
        let (lowered, with, regions) = setting.with(level.iter().map(|call| Region::new(&call.path)).collect())?;
        level.retain(|call| regions.contains_key(&call.path));
        // it is there for all of a pass if there was a pass before
        if plain.windows.len() > 1 {
            workspace = workspace.max(with.outside as i64 - plain.outside as i64);
        }
        let again = second_runs(&lowered);
        let mut of_level: Vec<Candidate> = level.iter().map(|call| setting.candidate(call, &again, &with)).collect();
        if granularity == Granularity::Op {
            setting.kinds(level, &lowered.timeline.savable, &mut of_level)?;
        }
        found.extend(of_level);
    }
    if !refused.is_empty() {
        stand_alone(&mut levels);
    }
    let outermost = outermost(&levels);
    // what saves nothing helps nowhere
    found.retain(|candidate| candidate.saves.forward > 0 || candidate.saves.backward > 0);
    Ok(Measured { model: Model { workspace, currency, ..model(found, &given) }, without, step, outermost, refused })
}

/// Where calls were taken out, those within them lie in no other now.
fn stand_alone(levels: &mut [Vec<Call>]) {
    let left: Vec<String> = levels.iter().flatten().map(|call| call.path.clone()).collect();
    for call in levels.iter_mut().flatten() {
        call.is_outermost = !left.iter().any(|other| *other != call.path && lies_in(&call.path, other));
    }
}

/// Takes out the calls that PyTorch refuses to checkpoint in the run as it is given: their second run appends to the cache once
/// more, and masks no longer go with the keys. Gives their paths.
fn leave_out_refused(evaluator: &Evaluator, level: &mut Vec<Call>) -> Result<Vec<String>, PlanError> {
    let mut refused = Vec::new();
    while !level.is_empty() {
        let regions = level.iter().map(|call| Region::new(&call.path)).collect();
        let Err(error) = evaluator.lower(Checkpointing::Modules(regions)) else { break };
        let at_fault = |call: &Call| error.module().is_some_and(|module| lies_in(module, &call.path));
        let Some(place) = level.iter().position(at_fault) else { return Err(error) };
        refused.push(level.remove(place).path);
    }
    Ok(refused)
}

/// What candidates are measured against.
struct Setting<'a> {
    evaluator: &'a Evaluator<'a>,
    candidates: &'a FxHashSet<ModuleId>,
    /// Without checkpoints, as the run is given.
    given: &'a Profile,
    /// The same without a cache.
    plain: &'a Profile,
    currency: Currency,
}

impl Setting<'_> {
    /// Lowers with these regions. Of what PyTorch refuses, because the second run saves or calls other than the first, the
    /// set of what is saved goes; where that is refused as well, the region. Gives those that are left, by path, with
    /// whether they save anything.
    fn with(&self, mut regions: Vec<Region>) -> Result<(Lowered, Profile, FxHashMap<String, bool>), PlanError> {
        let lowered = loop {
            match self.evaluator.lower(Checkpointing::Modules(regions.clone())) {
                Err(PlanError::Lower { module, error }) => {
                    let Some(place) = regions.iter().position(|region| lies_in(&module, &region.path)) else {
                        return Err(PlanError::Lower { module, error });
                    };
                    if regions[place].save.take().is_none() {
                        regions.remove(place);
                    }
                }
                lowered => break lowered?,
            }
        };
        let with = profile(&lowered.stream, &lowered.timeline, self.candidates);
        let left = regions.into_iter().map(|region| (region.path, region.save.is_some())).collect();
        Ok((lowered, with, left))
    }

    /// A call's figures where it is checkpointed.
    fn candidate(&self, call: &Call, again: &SecondRuns, with: &Profile) -> Candidate {
        let (cost, takes_workspace) = again.get(&call.module).copied().unwrap_or_default();
        candidate(call, cost.shared(self.evaluator.steps()), takes_workspace, [self.given, self.plain, with])
    }

    /// Adds to each candidate of a level the kinds of operators whose results it can save.
    fn kinds(
        &self,
        level: &[Call],
        savable: &FxIndexSet<(ModuleId, &'static str)>,
        candidates: &mut [Candidate],
    ) -> Result<(), PlanError> {
        for op in savable.iter().map(|(_, op)| *op).collect::<FxIndexSet<_>>() {
            let region = |call: &Call| Region {
                save: SavedOperators::of([op]).ok().flatten().filter(|_| savable.contains(&(call.module, op))),
                ..Region::new(&call.path)
            };
            let (lowered, with, regions) = self.with(level.iter().map(region).collect())?;
            let again = second_runs(&lowered);
            for (call, candidate) in level.iter().zip(candidates.iter_mut()) {
                if regions.get(&call.path) == Some(&true) {
                    candidate.can_save(op, &self.candidate(call, &again, &with), self.currency);
                }
            }
        }
        Ok(())
    }
}

/// What the second runs of each module cost, and whether they ask for the workspace that stays.
type SecondRuns = FxHashMap<ModuleId, (Cost, bool)>;

fn second_runs(lowered: &Lowered) -> SecondRuns {
    let Timeline { recomputed, uses_blas_lt, .. } = &lowered.timeline;
    let mut runs = SecondRuns::default();
    for ((run, cost), uses) in lowered.graph.checkpoints.iter().zip(recomputed).zip(uses_blas_lt) {
        let (all, takes) = runs.entry(run.module).or_default();
        *all = all.and(*cost);
        *takes |= uses;
    }
    runs
}

fn lies_in(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A candidate's figures, its place given by cuts.
fn candidate(call: &Call, cost: Cost, takes_workspace: bool, [given, plain, with]: [&Profile; 3]) -> Candidate {
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
        takes_workspace,
        is_block: call.is_block,
        kinds: Vec::new(),
        path: call.path.clone(),
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

impl Candidate {
    /// Adds a kind of operator whose results it can save, by its figures where all candidates save that kind alone. What
    /// costs nothing is no kind: holding it spares nothing.
    fn can_save(&mut self, op: &'static str, saving: &Candidate, currency: Currency) {
        let spares = self.cost.less(saving.cost);
        if currency.of(spares) > 0 {
            self.kinds.push(Kind { op, spares, holds: self.saves.less(saving.saves) });
            self.needs = self.needs.at_most(saving.needs);
            self.takes_workspace &= saving.takes_workspace;
        }
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
    Model { segments, candidates, outside: plain.outside as i64, ..Model::default() }
}
