//! Iterations that happen again: the same steps, over what the iteration before has left, with sizes and integers that grow.

use super::context::Context;
use super::{LowerError, take};
use crate::graph::{Graph, Op, OpId, Repeat, RepeatId, Step, TensorId, grown};

/// Takes the steps of an iteration as often as it happens again.
pub(super) fn repeat(context: &mut Context, graph: &Graph, id: RepeatId) -> Result<(), LowerError> {
    let repeat = &graph.repeats[id.index()];
    let mut calls = Calls::of(&graph.ops, repeat);
    for iteration in 1..=repeat.times {
        context.rename(&repeat.carried);
        context.grow(repeat, iteration);
        calls.grow();
        context.memory.log.begin_iteration();
        let marks = context.timeline.as_ref().map_or(0, |timeline| timeline.marks.len());
        for step in &graph.steps[repeat.steps.clone()] {
            match step {
                Step::Op(id) => take(context, graph, step, calls.get(*id))?,
                _ => take(context, graph, step, None)?,
            }
        }
        // of iterations that are kept once, the marks of the first are
        if context.memory.log.end_iteration()
            && let Some(timeline) = &mut context.timeline
        {
            timeline.marks.truncate(marks);
        }
    }
    context.rename(&repeat.left);
    Ok(())
}

/// The calls of an iteration among whose arguments integers grow.
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

    fn grow(&mut self) {
        self.grown.iter_mut().flatten().for_each(|(op, by)| Repeat::grow(op, by));
    }

    fn get(&self, id: OpId) -> Option<&Op> {
        self.grown[id.index() - self.first].as_ref().map(|(op, _)| op)
    }
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

    /// Lets the known shapes grow to those of an iteration; where nothing asks for them, they stay.
    fn grow(&mut self, repeat: &Repeat, iteration: u64) {
        if self.timeline.is_none() {
            return;
        }
        let graph = &self.graph;
        let shapes = self.program.shapes.get_or_insert_with(|| graph.shapes.clone());
        for (tensor, by) in &repeat.sizes {
            if let Some(sizes) = grown(&graph.shapes[tensor.index()], by, iteration) {
                shapes[tensor.index()] = sizes;
            }
        }
    }
}
