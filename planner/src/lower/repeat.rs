//! Iterations that happen again: the same steps, over what the iteration before has left, with sizes and integers that grow.
//!
//! ```text
//! all blocks        until an iteration is like the one before it but for bytes
//! one of each kind  from then on: what the others ask for follows from it (alike.rs)
//! nothing           where two iterations in a row have left the same (settled.rs)
//! ```

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use super::alike::Alike;
use super::autograd::Edge;
use super::context::Context;
use super::settled::can_settle;
use super::tensor::{Tensor, TensorData};
use super::timeline::Mark;
use super::{LowerError, run, take};
use crate::bytes::Bytes;
use crate::graph::{Graph, Growth, Op, OpId, Repeat, RepeatId, Step, TensorId, grown, tensors_of};
use crate::ops;
use crate::time::Cost;
use crate::trace::AllocationId;

/// Takes the steps of an iteration as often as it happens again.
pub(super) fn repeat(context: &mut Context, graph: &Graph, id: RepeatId) -> Result<(), LowerError> {
    let repeat = &graph.repeats[id.index()];
    let has_blocks_alone = context.parallel.is_empty() && !context.settings.training && !ends_phases(graph, repeat);
    let alike = if has_blocks_alone { Alike::of(graph, repeat) } else { None };
    let can_settle = !has_blocks_alone && can_settle(graph, repeat);
    let mut settling = None;
    let sizes: Vec<&(TensorId, Growth)> = repeat.sizes.iter().collect();
    let mut calls = Calls::of(&graph.ops, repeat);
    let mut iteration = 0;
    while iteration < repeat.times {
        iteration += 1;
        context.rename(&repeat.carried);
        context.grow(graph, &sizes, iteration);
        calls.grow(1);
        let before = Before::of(context);
        let (seen, is_like_before) = iterate(context, graph, repeat, &calls)?;
        if can_settle {
            let is_quiet = context.memory.host.events() == before.host_events;
            let left = context.left(before.allocations).filter(|_| is_quiet);
            if is_like_before && left.is_some() && left == settling {
                before.again(context, repeat.times - iteration);
                break;
            }
            settling = left;
        }
        if is_like_before
            && let Some(alike) = &alike
            && let Some(kinds) = Kinds::of(context, graph, repeat, (alike, &calls, &seen))
        {
            let marks = before.marks(context);
            let done = kinds.run(context, graph, repeat, iteration);
            marks.again(context, done);
            calls.grow(done as i64);
            iteration += done;
        }
    }
    context.rename(&repeat.left);
    Ok(())
}

fn ends_phases(graph: &Graph, repeat: &Repeat) -> bool {
    graph.ops[repeat.ops.clone()].iter().any(|op| op.operator.name == ops::MARK)
}

/// The most marks of a timeline: iterations that are kept once have none beyond.
const MARKS: usize = 1 << 20;

/// Where a lowering was before an iteration.
struct Before {
    events: usize,
    allocations: usize,
    host_events: usize,
    sequence: u64,
    marks: usize,
    computed: Cost,
    recomputed: Vec<Cost>,
}

impl Before {
    fn of(context: &Context) -> Before {
        let (events, allocations) = context.memory.log.written();
        let timeline = context.timeline.as_ref();
        Before {
            events,
            allocations,
            host_events: context.memory.host.events(),
            sequence: context.autograd.sequence,
            marks: timeline.map_or(0, |timeline| timeline.marks.len()),
            computed: timeline.map_or_else(Cost::default, |timeline| timeline.computed),
            recomputed: timeline.map_or_else(Vec::new, |timeline| timeline.recomputed.clone()),
        }
    }

    /// The marks since then.
    fn marks(&self, context: &Context) -> Marks {
        Marks {
            marks: context.timeline.as_ref().map_or_else(Vec::new, |timeline| timeline.marks[self.marks..].to_vec()),
            events: context.memory.log.events() - self.events,
            sequences: context.autograd.sequence - self.sequence,
        }
    }

    /// The iteration that began there happens so many times more, as it was.
    fn again(self, context: &mut Context, times: u64) {
        let marks = self.marks(context);
        context.memory.log.again_alike(times);
        context.autograd.sequence += times * marks.sequences;
        marks.again(context, times);
        let Some(timeline) = &mut context.timeline else { return };
        let again = |now: Cost, before: Cost| now.and(now.less(before).times(times));
        timeline.computed = again(timeline.computed, self.computed);
        for (now, before) in timeline.recomputed.iter_mut().zip(self.recomputed) {
            *now = again(*now, before);
        }
    }
}

/// The marks of an iteration.
struct Marks {
    marks: Vec<(usize, Mark)>,
    /// How many events it has, and by how much it numbers autograd's nodes on.
    events: usize,
    sequences: u64,
}

impl Marks {
    /// Marks as many iterations behind it.
    fn again(&self, context: &mut Context, times: u64) {
        let Some(timeline) = &mut context.timeline else { return };
        for iteration in 1..=times {
            if timeline.marks.len() + self.marks.len() > MARKS {
                break;
            }
            let later = |(event, mark): &(usize, Mark)| {
                (event + iteration as usize * self.events, mark.later(iteration * self.sequences))
            };
            timeline.marks.extend(self.marks.iter().map(later));
        }
    }
}

/// What was seen of a step.
#[derive(Clone, Copy, PartialEq)]
struct Taken {
    /// How many allocations it made.
    made: usize,
    /// Over what a call ran; 0 for all else.
    over: u64,
    /// What a call wrote into the trace; 0 for all else.
    wrote: u64,
}

/// Takes all steps of an iteration: what was seen of each, and whether the trace has it as one with the iteration before.
fn iterate(
    context: &mut Context,
    graph: &Graph,
    repeat: &Repeat,
    calls: &Calls<'_>,
) -> Result<(Vec<Taken>, bool), LowerError> {
    let mut seen = Vec::with_capacity(repeat.steps.len());
    let marks = context.timeline.as_ref().map_or(0, |timeline| timeline.marks.len());
    context.memory.log.begin_iteration();
    context.checkpointing.gone_frames.borrow_mut().begin_again();
    for step in &graph.steps[repeat.steps.clone()] {
        let (events, allocations) = context.memory.log.written();
        let op = if let Step::Op(id) = step { Some(calls.get(graph, *id)) } else { None };
        let over = op.map_or(0, |op| context.operands_of(op));
        take(context, graph, step, op)?;
        let wrote = op.map_or(0, |_| context.memory.log.signature((events, allocations)));
        let made = context.memory.log.written().1 - allocations;
        seen.push(Taken { made, over, wrote });
    }
    let is_like_before = context.memory.log.end_iteration();
    if let Some(timeline) = context.timeline.as_mut().filter(|timeline| is_like_before && timeline.marks.len() > MARKS)
    {
        timeline.marks.truncate(marks);
    }
    Ok((seen, is_like_before))
}

/// The calls of an iteration, with integers that have grown.
struct Calls<'a> {
    first: usize,
    grown: Vec<Option<(Op, &'a [i64])>>,
}

impl<'a> Calls<'a> {
    fn of(ops: &[Op], repeat: &'a Repeat) -> Calls<'a> {
        let mut grown = vec![None; repeat.ops.len()];
        for (id, by) in &repeat.integers {
            grown[id.index() - repeat.ops.start] = Some((ops[id.index()].clone(), &by[..]));
        }
        Calls { first: repeat.ops.start, grown }
    }

    fn grow(&mut self, iterations: i64) {
        self.grown.iter_mut().flatten().for_each(|(op, by)| Repeat::grow(op, by, iterations));
    }

    fn get<'b>(&'b self, graph: &'b Graph, id: OpId) -> &'b Op {
        self.grown[id.index() - self.first].as_ref().map_or(&graph.ops[id.index()], |(op, _)| op)
    }

    fn growth(&self, id: OpId) -> &'a [i64] {
        self.grown[id.index() - self.first].as_ref().map_or(&[], |(_, by)| by)
    }
}

/// A call that stands for others.
struct Turn<'a> {
    op: Op,
    by: &'a [i64],
    /// For how many calls it stands, itself among them.
    weight: u64,
    /// What it writes into the trace.
    wrote: u64,
    /// Its allocations among those of the turns.
    made: Range<usize>,
    /// Whether it is the same call over the same sizes in every iteration, and nothing that it makes is handed to the next: it runs
    /// in the first alone, and what it made stays for the others.
    is_constant: bool,
}

/// An iteration in which each kind of block runs once.
struct Kinds<'a> {
    turns: Vec<Turn<'a>>,
    /// By allocation of the whole iteration: the one of the turns that tells its bytes.
    tells: Vec<usize>,
    /// The bytes of the turns' allocations, as they were the last time.
    bytes: Vec<Bytes>,
    /// What the constant turns cost in an iteration.
    constant: Cost,
    /// What the turns make and nothing after the iteration needs.
    passes: Vec<TensorId>,
    /// What constant turns make.
    stays: Vec<TensorId>,
    /// What an iteration hands to the next, of blocks that run.
    carried: Vec<(TensorId, TensorId)>,
    /// Sizes of what the turns make and find.
    sizes: Vec<&'a (TensorId, Growth)>,
    /// What each tensor that is handed over is like: the one of a block that runs.
    names: Vec<(TensorId, TensorId)>,
}

impl<'a> Kinds<'a> {
    /// None where the last iteration shows that blocks do not do alike.
    fn of(
        context: &Context,
        graph: &Graph,
        repeat: &'a Repeat,
        (alike, calls, seen): (&Alike, &Calls<'a>, &[Taken]),
    ) -> Option<Kinds<'a>> {
        let stands = &alike.stands;
        let all: usize = seen.iter().map(|taken| taken.made).sum();
        let first = context.memory.log.written().1 - all;
        let allocation = |number: usize| context.memory.log.allocation(AllocationId((first + number) as u32));
        let begins: Vec<usize> =
            seen.iter().scan(0, |sum, taken| Some(std::mem::replace(sum, *sum + taken.made))).collect();
        let mut weights = vec![0_u64; stands.len()];
        for (step, stand) in stands.iter().enumerate() {
            weights[*stand] += 1;
            let same = |at: usize| allocation(begins[step] + at).bytes == allocation(begins[*stand] + at).bytes;
            if seen[step] != seen[*stand] || !(0..seen[step].made).all(same) {
                return None;
            }
        }
        let mut kinds = Kinds {
            turns: Vec::new(),
            tells: vec![0; all],
            bytes: Vec::new(),
            constant: Cost::default(),
            passes: Vec::new(),
            stays: Vec::new(),
            carried: Vec::new(),
            sizes: Vec::new(),
            names: repeat.carried.iter().map(|(from, _)| (*from, *alike.names.get(from).unwrap_or(from))).collect(),
        };
        let (mut turn_begins, mut asked) = (vec![0; stands.len()], 0);
        for (step, what) in graph.steps[repeat.steps.clone()].iter().enumerate() {
            let Step::Op(id) = what else {
                // nothing but calls asks for memory here
                if seen[step].made > 0 {
                    return None;
                }
                continue;
            };
            if stands[step] != step {
                continue;
            }
            turn_begins[step] = asked;
            asked += seen[step].made;
            let mut op = calls.get(graph, *id).clone();
            op.rename(&alike.names);
            let (by, weight, wrote) = (calls.growth(*id), weights[step], seen[step].wrote);
            let made = turn_begins[step]..asked;
            kinds.turns.push(Turn { op, by, weight, wrote, made, is_constant: false });
        }
        kinds.bytes = vec![Bytes(0); asked];
        for (step, stand) in stands.iter().enumerate() {
            (0..seen[step].made).for_each(|at| kinds.tells[begins[step] + at] = turn_begins[*stand] + at);
        }
        let handed: FxHashSet<TensorId> = repeat.carried.iter().map(|(from, _)| *from).collect();
        kinds.carried = repeat.carried.iter().filter(|(from, _)| !alike.names.contains_key(from)).copied().collect();
        let met: FxHashSet<TensorId> = kinds.turns.iter().flat_map(|turn| tensors_met(&turn.op)).collect();
        kinds.sizes = repeat.sizes.iter().filter(|(tensor, _)| met.contains(tensor)).collect();
        let growing: FxHashSet<TensorId> = kinds.sizes.iter().map(|(tensor, _)| *tensor).collect();
        for turn in &mut kinds.turns {
            turn.is_constant = turn.by.is_empty()
                && !turn.op.outputs.iter().any(|output| handed.contains(output))
                && !tensors_met(&turn.op).iter().any(|tensor| growing.contains(tensor));
            let made = turn.op.outputs.iter().filter(|tensor| !handed.contains(tensor));
            if turn.is_constant { &mut kinds.stays } else { &mut kinds.passes }.extend(made);
        }
        Some(kinds)
    }

    /// Runs iterations behind one, as far as they go on like it; gives how many. What they leave is as if all blocks had run.
    fn run(mut self, context: &mut Context, graph: &Graph, repeat: &Repeat, behind: u64) -> u64 {
        let Some(handed) = self.handed(context) else { return 0 };
        let log = context.memory.log.clone();
        log.divert();
        let mut done = 0;
        while behind + done < repeat.times {
            let computed = context.timeline.as_ref().map(|timeline| timeline.computed);
            context.rename(&self.carried);
            context.grow(graph, &self.sizes, behind + done + 1);
            let goes_on = self.iterate(context, done == 0);
            if !goes_on {
                context.failure = None;
                if let (Some(timeline), Some(computed)) = (&mut context.timeline, computed) {
                    timeline.computed = computed;
                }
                let back: Vec<_> = self.carried.iter().map(|(from, to)| (*to, *from)).collect();
                context.rename(&back);
                break;
            }
            log.again(self.tells.iter().map(|at| self.bytes[*at]));
            done += 1;
        }
        let made = self.passes.iter().chain(&self.stays);
        made.for_each(|tensor| context.program.values[tensor.index()] = None);
        log.restore();
        self.hand_over(context, &handed, done);
        done
    }

    /// One iteration; whether each call wrote what it had written, but for bytes.
    fn iterate(&mut self, context: &mut Context, is_first: bool) -> bool {
        for turn in self.turns.iter_mut().filter(|turn| is_first || !turn.is_constant) {
            Repeat::grow(&mut turn.op, turn.by, 1);
            let before = context.memory.log.written();
            let spent = context.timeline.as_ref().map(|timeline| timeline.computed);
            context.weight = turn.weight;
            run(context, &turn.op);
            context.weight = 1;
            if context.failure.is_some() || context.memory.log.signature(before) != turn.wrote {
                return false;
            }
            if let (Some(timeline), Some(spent), true) = (&context.timeline, spent, turn.is_constant) {
                self.constant = self.constant.and(timeline.computed.less(spent));
            }
        }
        if let Some(timeline) = context.timeline.as_mut().filter(|_| !is_first) {
            timeline.computed = timeline.computed.and(self.constant);
        }
        self.passes.iter().for_each(|tensor| context.program.values[tensor.index()] = None);
        let mut bytes = context.memory.log.diverted().into_iter();
        for turn in self.turns.iter().filter(|turn| is_first || !turn.is_constant) {
            for (at, bytes) in turn.made.clone().zip(bytes.by_ref()) {
                self.bytes[at] = bytes;
            }
        }
        true
    }

    /// The tensors that an iteration hands to the next, with their allocations; None where one is more than a tensor with
    /// memory of its own.
    fn handed(&self, context: &Context) -> Option<FxHashMap<TensorId, AllocationId>> {
        let own = |(from, _): &(TensorId, TensorId)| {
            let tensor = context.program.values[from.index()].as_ref()?;
            let is_plain = tensor.base.is_none()
                && matches!(*tensor.gradient.borrow(), Edge::None)
                && Rc::strong_count(tensor) == 1
                && Rc::strong_count(&tensor.storage) == 1;
            Some((*from, tensor.storage.allocation().filter(|_| is_plain)?))
        };
        self.names.iter().map(own).collect()
    }

    /// Gives every tensor that is handed over the sizes and the allocation that it has after so many iterations.
    fn hand_over(&self, context: &mut Context, handed: &FxHashMap<TensorId, AllocationId>, iterations: u64) {
        let by = iterations as u32 * self.tells.len() as u32;
        for (tensor, like) in &self.names {
            let Some(model) = context.program.values[like.index()].clone() else { continue };
            let Some(own) = &mut context.program.values[tensor.index()] else { continue };
            own.storage.renumber(AllocationId(handed[tensor].0 + by));
            if tensor != like {
                *own = resized(own, &model);
            }
        }
    }
}

/// A tensor with the sizes of another, over its own memory.
fn resized(tensor: &Tensor, like: &Tensor) -> Tensor {
    TensorData::new(tensor.storage.clone(), like.dtype, like.sizes.clone(), like.strides.clone())
}

fn tensors_met(op: &Op) -> Vec<TensorId> {
    let mut tensors: Vec<TensorId> = op.arguments.iter().flat_map(tensors_of).collect();
    tensors.extend(&op.outputs);
    tensors
}

impl Context {
    /// Gives tensors other names, all at once.
    fn rename(&mut self, names: &[(TensorId, TensorId)]) {
        let taken: Vec<_> = names
            .iter()
            .map(|(from, _)| (self.program.values[from.index()].take(), self.program.dtypes[from.index()]))
            .collect();
        for ((_, to), (value, dtype)) in names.iter().zip(taken) {
            self.program.values[to.index()] = value;
            self.program.dtypes[to.index()] = dtype;
        }
    }

    /// Lets known shapes grow to those of an iteration; where nothing asks for them, they stay.
    fn grow(&mut self, graph: &Graph, sizes: &[&(TensorId, Growth)], iteration: u64) {
        if self.timeline.is_none() {
            return;
        }
        let shapes = self.program.shapes.get_or_insert_with(|| graph.shapes.clone());
        for (tensor, by) in sizes {
            if let Some(sizes) = grown(&graph.shapes[tensor.index()], by, iteration) {
                shapes[tensor.index()] = sizes;
            }
        }
    }

    /// A number for what a call runs over: types, sizes and strides of the tensors among its arguments.
    fn operands_of(&self, op: &Op) -> u64 {
        let mut hasher = FxHasher::default();
        for tensor in op.arguments.iter().flat_map(tensors_of) {
            if let Some(tensor) = &self.program.values[tensor.index()] {
                (tensor.dtype, &tensor.sizes, &tensor.strides).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}
