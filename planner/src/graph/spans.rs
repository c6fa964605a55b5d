//! Runs of calls in one module's code, which are checkpointed as one function of one tensor: `pool..up1`.
//!
//! ```text
//! PATH        the call of that module               PATH@1  its second call in a forward pass
//! PATH%add    the call of that operator by the code of the module at PATH itself, `%add` by the model's; `%add@1` the second
//! FIRST..LAST all from one call to another of the same code
//! ```
//!
//! Here they are found in a program and laid into its steps. As a function's own, what is made within and not given back
//! goes when the function returns; what goes in is held by the call (torch/utils/checkpoint.py, `checkpoint`, `*args`).

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::lives::Lives;
use super::{Checkpoint, CheckpointId, Graph, GraphError, Module, ModuleId, OpId};
use super::{Step, TensorId};
use crate::ops;
use crate::run::{Region, SavedOperators};

/// A call in a module's code: of another module, or of an operator.
pub(super) struct Item {
    /// What it is called in a span.
    pub name: String,
    /// Its steps.
    pub steps: Range<usize>,
    /// The module that is called; None of an operator.
    pub module: Option<ModuleId>,
}

/// What one call of a module does, in order.
pub(super) struct Level {
    /// The forward pass that it is of.
    pub pass: usize,
    /// The calls.
    pub items: Vec<Item>,
    /// The step at which it has returned.
    pub end: usize,
    /// Whether it lies in a checkpointed call, or is one.
    is_checkpointed: bool,
}

/// The calls of modules in all forward passes, each with what it does.
pub(super) fn levels(graph: &Graph) -> Vec<Level> {
    let mut reader = Reader { graph, levels: Vec::new(), open: Vec::new(), counts: FxHashMap::default(), passes: 0 };
    let mut checkpoints = 0;
    for (at, step) in graph.steps.iter().enumerate() {
        match step {
            Step::EnterCheckpoint(_) => checkpoints += 1,
            Step::ExitCheckpoint(_) => checkpoints -= 1,
            Step::Enter(module) => reader.enter(*module, at, checkpoints > 0),
            Step::Exit(_) => reader.exit(at),
            Step::Op(id) if !reader.open.is_empty() => reader.operator(*id, at),
            _ => {}
        }
    }
    reader.levels
}

struct Reader<'a> {
    graph: &'a Graph,
    levels: Vec<Level>,
    open: Vec<(usize, ModuleId)>,
    /// How often what has a name was called in this pass.
    counts: FxHashMap<String, u32>,
    passes: usize,
}

impl Reader<'_> {
    /// A name with the number of its call: none at the first.
    fn counted(&mut self, name: String) -> String {
        let count = self.counts.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 { name } else { format!("{name}@{}", *count - 1) }
    }

    fn enter(&mut self, module: ModuleId, at: usize, is_checkpointed: bool) {
        if let Some((level, _)) = self.open.last().copied() {
            let name = self.counted(self.graph.modules[module.index()].path.clone());
            let around = |step: &&Step| matches!(step, Step::EnterCall(_) | Step::EnterCheckpoint(_));
            let before = self.graph.steps[..at].iter().rev().take_while(around).count();
            self.levels[level].items.push(Item { name, steps: at - before..at, module: Some(module) });
        } else {
            self.counts.clear();
            self.passes += 1;
        }
        self.open.push((self.levels.len(), module));
        self.levels.push(Level { pass: self.passes - 1, items: Vec::new(), end: at, is_checkpointed });
    }

    fn exit(&mut self, at: usize) {
        let Some((level, _)) = self.open.pop() else { return };
        self.levels[level].end = at;
        let Some((outer, _)) = self.open.last() else { return };
        let is_checkpoint = matches!(self.graph.steps.get(at + 1), Some(Step::ExitCheckpoint(_)));
        if let Some(item) = self.levels[*outer].items.last_mut() {
            item.steps.end = at + 1 + usize::from(is_checkpoint);
        }
    }

    fn operator(&mut self, id: OpId, at: usize) {
        let Some((level, module)) = self.open.last().copied() else { return };
        let path = &self.graph.modules[module.index()].path;
        let name = self.counted(format!("{path}%{}", self.graph.ops[id.index()].operator.name));
        self.levels[level].items.push(Item { name, steps: at..at + 1, module: None });
    }
}

/// A span's run of steps in one pass, and where its code's call has returned.
struct Found {
    steps: Range<usize>,
    end: usize,
    is_checkpointed: bool,
}

/// Where calls are by their names: of each the pass, the level and the place in it.
struct Names<'a> {
    levels: &'a [Level],
    places: FxHashMap<(usize, &'a str), (usize, usize)>,
}

impl<'a> Names<'a> {
    fn of(levels: &'a [Level]) -> Names<'a> {
        let mut places = FxHashMap::default();
        for (number, level) in levels.iter().enumerate() {
            for (place, item) in level.items.iter().enumerate() {
                places.insert((level.pass, item.name.as_str()), (number, place));
            }
        }
        Names { levels, places }
    }

    fn place(&self, pass: usize, name: &str) -> Result<(usize, usize), String> {
        self.places.get(&(pass, name)).copied().ok_or_else(|| {
            format!(
                "there is no call `{name}`: a call is named by its module's path, a second one `PATH@1`, \
                 an operator's in the code of a module itself `PATH%add`"
            )
        })
    }

    /// The runs of a span, a pass each.
    fn find(&self, span: &str) -> Result<Vec<Found>, String> {
        let (first, last) = span.split_once("..").unwrap_or((span, span));
        let passes = self.levels.last().map_or(0, |level| level.pass + 1);
        let find = |pass: usize| {
            let ((one, from), (other, to)) = (self.place(pass, first)?, self.place(pass, last)?);
            if one != other || from > to {
                return Err(format!("`{first}` and `{last}` are no calls of one module's code in this order"));
            }
            let Level { items, end, is_checkpointed, .. } = &self.levels[one];
            let steps = items[from].steps.start..items[to].steps.end;
            Ok(Found { steps, end: *end, is_checkpointed: *is_checkpointed })
        };
        (0..passes).map(find).collect()
    }
}

/// A run of steps that is laid into the program.
struct Laid {
    module: ModuleId,
    steps: Range<usize>,
    /// What it is as a function.
    flow: Option<OneToOne>,
    is_region: bool,
}

/// A run of steps as a function of one tensor that gives one.
struct OneToOne {
    takes: TensorId,
    gives: TensorId,
    saves: Option<Arc<SavedOperators>>,
}

/// Lays spans into a program: each is entered and left as a function's call is, and those among the regions are checkpointed.
/// Regions that are modules are left to the program itself.
///
/// # Errors
/// A span that the program does not have; one that more or fewer tensors go into or out of than one, or that lies in another
/// region or around one; reentrant checkpoints.
pub fn lay(
    graph: &mut Graph,
    marked: &[String],
    regions: &[Region],
    saved: Option<&SavedOperators>,
    reentrant: bool,
) -> Result<(), GraphError> {
    let checkpointed: Vec<&Region> = regions.iter().filter(|region| region.span().is_some()).collect();
    if marked.is_empty() && checkpointed.is_empty() {
        return Ok(());
    }
    if let (true, Some(region)) = (reentrant, checkpointed.first()) {
        return refuse(&region.path, "runs of calls are not planned as reentrant checkpoints");
    }
    let lives = Lives::of(graph);
    let mut laid = places(graph, &lives, marked, &checkpointed, saved)?;
    // those that begin first, and of these the longest, come first: they are entered in this order
    laid.sort_by_key(|span| (span.steps.start, std::cmp::Reverse(span.steps.end), span.module));
    let chosen: Vec<&Laid> = laid.iter().filter(|span| span.is_region).collect();
    let in_part = |pair: &&[&Laid]| pair[1].steps.start < pair[0].steps.end;
    if let Some([one, next]) = chosen.windows(2).find(in_part) {
        let path = |span: &Laid| graph.modules[span.module.index()].path.clone();
        return refuse(&path(next), &format!("a part of it lies in `{}`", path(one)));
    }
    Layer { graph, lives: &lives }.lay(&laid);
    if !checkpointed.is_empty() {
        number(graph);
    }
    Ok(())
}

fn refuse<T>(span: &str, message: &str) -> Result<T, GraphError> {
    let message = format!("checkpoint: `{span}`: {message}");
    Err(GraphError { at: Vec::new(), module: String::new(), message, is_of_run: false })
}

/// Where spans lie, those that are marked first; each is entered among the modules.
fn places(
    graph: &mut Graph,
    lives: &Lives,
    marked: &[String],
    checkpointed: &[&Region],
    saved: Option<&SavedOperators>,
) -> Result<Vec<Laid>, GraphError> {
    let levels = levels(graph);
    let names = Names::of(&levels);
    let mut laid = Vec::new();
    let others = checkpointed.iter().map(|region| &region.path).filter(|path| !marked.contains(path));
    for span in marked.iter().chain(others) {
        let found = names.find(span).or_else(|message| refuse(span, &message))?;
        let (module, calls) = (ModuleId(graph.modules.len() as u32), found.len() as u32);
        let region = checkpointed.iter().find(|region| region.path == *span);
        for found in found {
            let flow = flow(graph, lives, &found, region.and_then(|region| region.save.as_ref()).or(saved));
            let flow = match region {
                Some(_) if overlaps(graph, &found) => {
                    return refuse(span, "it lies in another region, or another lies in it");
                }
                Some(_) => Some(flow.or_else(|message| refuse(span, &message))?),
                None => flow.ok(),
            };
            laid.push(Laid { module, steps: found.steps, flow, is_region: region.is_some() });
        }
        let (path, class) = (span.clone(), "span".into());
        graph.modules.push(Module { path, class, block: false, calls, gives_tensors: true });
    }
    Ok(laid)
}

/// Whether a run of steps lies in a checkpointed module's call, or one in it.
fn overlaps(graph: &Graph, found: &Found) -> bool {
    let mut steps = graph.steps[found.steps.clone()].iter();
    found.is_checkpointed || steps.any(|step| matches!(step, Step::EnterCheckpoint(_)))
}

/// What a run of steps is as a function.
fn flow(graph: &Graph, lives: &Lives, found: &Found, saved: Option<&SavedOperators>) -> Result<OneToOne, String> {
    let (takes, gives) = lives.one_to_one(graph, &found.steps, found.end)?;
    Ok(OneToOne { takes, gives, saves: saved.cloned().map(Arc::new) })
}

/// A run of steps that has begun: what goes as its function returns, and what after that.
struct Open<'a> {
    span: &'a Laid,
    late: Vec<Step>,
    after: Vec<Step>,
    id: Option<CheckpointId>,
}

struct Layer<'a> {
    graph: &'a mut Graph,
    lives: &'a Lives,
}

impl Layer<'_> {
    fn lay(&mut self, laid: &[Laid]) {
        let old = std::mem::take(&mut self.graph.steps);
        let mut moved = vec![false; old.len()];
        let mut late = self.going_late(laid, &mut moved, &old);
        let mut steps = Vec::with_capacity(old.len() + 4 * laid.len());
        let mut next = 0;
        let mut open: Vec<Open<'_>> = Vec::new();
        for at in 0..=old.len() {
            while let Some(Open { span, late, after, id }) = open.pop_if(|open| open.span.steps.end == at) {
                steps.extend(late);
                steps.push(Step::Exit(span.module));
                steps.extend(id.map(Step::ExitCheckpoint));
                steps.extend(after);
            }
            while let Some(span) = laid.get(next).filter(|span| span.steps.start == at) {
                let (mut after, mut id) = (Vec::new(), None);
                if let Some(flow) = span.flow.as_ref().filter(|_| span.is_region) {
                    after = self.going_after(&span.steps, &mut moved, &old);
                    id = Some(self.region(span, flow, &old));
                    steps.extend(id.map(Step::EnterCheckpoint));
                }
                steps.push(Step::Enter(span.module));
                open.push(Open { span, late: std::mem::take(&mut late[next]), after, id });
                next += 1;
            }
            steps.extend(old.get(at).filter(|_| !moved[at]));
        }
        self.graph.steps = steps;
    }

    /// The steps at which Python lets go of what was made in a run and is not given back, after it.
    fn late(&self, span: &Laid, old: &[Step]) -> Vec<usize> {
        let Some(flow) = &span.flow else { return Vec::new() };
        let made = old[span.steps.clone()].iter().flat_map(|step| match step {
            Step::Op(id) => &self.graph.ops[id.index()].outputs[..],
            _ => &[],
        });
        let late = made.filter(|tensor| **tensor != flow.gives).filter_map(|tensor| self.lives.dropped(*tensor));
        let mut late: Vec<usize> = late.filter(|at| *at >= span.steps.end).collect();
        late.sort_unstable();
        late
    }

    /// What goes late goes as the function returns, the innermost that made it.
    fn going_late(&self, laid: &[Laid], moved: &mut [bool], old: &[Step]) -> Vec<Vec<Step>> {
        let mut going = vec![Vec::new(); laid.len()];
        let mut order: Vec<usize> = (0..laid.len()).collect();
        order.sort_by_key(|number| laid[*number].steps.len());
        for number in order {
            for at in self.late(&laid[number], old) {
                if !std::mem::replace(&mut moved[at], true) {
                    going[number].push(old[at]);
                }
            }
        }
        going
    }

    /// What was there before is held until the call has returned: what goes in by the call, the rest by names of the code
    /// around it, which a function's own do not take over.
    fn going_after(&self, steps: &Range<usize>, moved: &mut [bool], old: &[Step]) -> Vec<Step> {
        let is_older = |step: &Step| matches!(step, Step::Drop(tensor, _) if !self.lives.is_made_in(*tensor, steps));
        let older: Vec<usize> = steps.clone().filter(|at| !moved[*at] && is_older(&old[*at])).collect();
        older.iter().for_each(|at| moved[*at] = true);
        older.into_iter().map(|at| old[at]).collect()
    }

    /// A region with its second run: the same operators over tensors of their own.
    fn region(&mut self, span: &Laid, flow: &OneToOne, old: &[Step]) -> CheckpointId {
        let late = self.late(span, old);
        let mut again: FxHashMap<TensorId, TensorId> = FxHashMap::default();
        let mut recompute = Vec::new();
        let mut place = None;
        for step in span.steps.clone().chain(late).map(|at| &old[at]) {
            match step {
                Step::Op(id) => {
                    let op = self.again(*id, &mut again);
                    place = Some(self.graph.ops[op.index()].place);
                    recompute.push(Step::Op(op));
                }
                Step::Drop(tensor, place) => {
                    recompute.extend(again.get(tensor).map(|tensor| Step::Drop(*tensor, *place)))
                }
                _ => {}
            }
        }
        recompute.extend(again.get(&flow.gives).zip(place).map(|(result, place)| Step::Drop(*result, place)));
        let id = CheckpointId(self.graph.checkpoints.len() as u32);
        let (arguments, saves) = (vec![flow.takes], flow.saves.clone());
        let module = span.module;
        self.graph.checkpoints.push(Checkpoint { module, arguments, saves, recompute, ..Checkpoint::default() });
        id
    }

    fn again(&mut self, id: OpId, known: &mut FxHashMap<TensorId, TensorId>) -> OpId {
        let mut op = self.graph.ops[id.index()].clone();
        op.rename(known);
        for output in &mut op.outputs {
            let new = TensorId(self.graph.shapes.len() as u32);
            self.graph.shapes.push(self.graph.shapes[output.index()].clone());
            known.insert(*output, new);
            *output = new;
        }
        self.graph.ops.push(op);
        OpId(self.graph.ops.len() as u32 - 1)
    }
}

/// Numbers the checkpointed calls as they run, and says of each which is the last of the same backward.
fn number(graph: &mut Graph) {
    let mut known = std::mem::take(&mut graph.checkpoints);
    let mut first = 0;
    let mut numbers: FxHashMap<CheckpointId, CheckpointId> = FxHashMap::default();
    for step in &mut graph.steps {
        match step {
            Step::EnterCheckpoint(id) => {
                let new = CheckpointId(graph.checkpoints.len() as u32);
                numbers.insert(*id, new);
                graph.checkpoints.push(std::mem::take(&mut known[id.index()]));
                *id = new;
            }
            Step::ExitCheckpoint(id) => *id = numbers.get(id).copied().unwrap_or(*id),
            Step::Op(op) if graph.ops[op.index()].operator.name == ops::BACKWARD => {
                let last = graph.checkpoints.len().checked_sub(1).map(|last| CheckpointId(last as u32));
                graph.checkpoints[first..].iter_mut().for_each(|call| call.last = last);
                first = graph.checkpoints.len();
            }
            _ => {}
        }
    }
}
