//! When a program's tensors are made, used last and let go, and what goes into a run of its steps and comes out.

use std::ops::Range;

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::{Graph, Op, Step, TensorId, tensors_of};
use crate::ops::{Class, SET_GRAD_ENABLED};

/// Operators that change how the code runs which comes after them.
const MODES: [&str; 3] = ["enter_autocast", "exit_autocast", SET_GRAD_ENABLED];

/// A step that a tensor does not have.
const NEVER: u32 = u32::MAX;

/// The steps at which tensors are made, used last and let go; parameters are never made.
pub(super) struct Lives {
    made: Vec<u32>,
    used: Vec<u32>,
    dropped: Vec<u32>,
    /// The tensor whose memory it is, where it is a view or the result of work in place.
    root: Vec<TensorId>,
}

impl Lives {
    pub fn of(graph: &Graph) -> Lives {
        let never = || vec![NEVER; graph.shapes.len()];
        let root = (0..graph.shapes.len() as u32).map(TensorId).collect();
        let mut lives = Lives { made: never(), used: never(), dropped: never(), root };
        for (at, step) in graph.steps.iter().enumerate() {
            match step {
                Step::Op(id) => {
                    let op = &graph.ops[id.index()];
                    let taken: SmallVec<[TensorId; 4]> = op.arguments.iter().flat_map(tensors_of).collect();
                    taken.iter().for_each(|tensor| lives.used[tensor.index()] = at as u32);
                    // what moves one tensor may be a view of it
                    let shares =
                        op.operator.class == Class::InPlace || op.operator.class == Class::Moves && taken.len() == 1;
                    let root = taken.first().filter(|_| shares).map(|tensor| lives.root[tensor.index()]);
                    for output in &op.outputs {
                        lives.made[output.index()] = at as u32;
                        lives.root[output.index()] = root.unwrap_or(*output);
                    }
                }
                Step::Drop(tensor, _) => lives.dropped[tensor.index()] = at as u32,
                _ => {}
            }
        }
        lives
    }

    /// The step at which Python lets go of it.
    pub fn dropped(&self, tensor: TensorId) -> Option<usize> {
        Some(self.dropped[tensor.index()]).filter(|at| *at != NEVER).map(|at| at as usize)
    }

    /// Whether a step of these makes it.
    pub fn is_made_in(&self, tensor: TensorId, steps: &Range<usize>) -> bool {
        steps.contains(&(self.made[tensor.index()] as usize))
    }

    /// The tensors that a run of steps takes from before it, but for parameters and buffers; in order.
    pub fn taken(&self, graph: &Graph, steps: &Range<usize>) -> Vec<TensorId> {
        let mut known = FxHashSet::default();
        let used = ops_of(graph, steps).flat_map(|op| op.arguments.iter().flat_map(tensors_of));
        let outside = |tensor: &TensorId| {
            let made = self.made[tensor.index()];
            made != NEVER && (made as usize) < steps.start
        };
        used.filter(outside).filter(|tensor| known.insert(*tensor)).collect()
    }

    /// The tensors that a run of steps makes for what comes after it: used later, or held beyond `end`, where its code's call
    /// returns.
    pub fn given(&self, graph: &Graph, steps: &Range<usize>, end: usize) -> Vec<TensorId> {
        let made = ops_of(graph, steps).flat_map(|op| op.outputs.iter().copied());
        let later = |at: u32, than: usize| at != NEVER && at as usize >= than;
        made.filter(|tensor| {
            later(self.used[tensor.index()], steps.end) || later(self.dropped[tensor.index()], end.max(steps.end))
        })
        .collect()
    }

    /// Whether a run of steps works in place on that tensor, or on what may be a view of it.
    pub fn works_on(&self, graph: &Graph, steps: &Range<usize>, tensor: TensorId) -> bool {
        let root = |tensor: &TensorId| self.root[tensor.index()];
        let mut in_place = ops_of(graph, steps).filter(|op| op.operator.class == Class::InPlace);
        in_place
            .any(|op| op.arguments.first().map(tensors_of).iter().flatten().any(|first| root(first) == root(&tensor)))
    }

    /// The one tensor that a run of steps takes and the one that it gives.
    ///
    /// # Errors
    /// Several, or none; work in place on what it takes.
    pub fn one_to_one(&self, graph: &Graph, steps: &Range<usize>, end: usize) -> Result<(TensorId, TensorId), String> {
        let (taken, given) = (self.taken(graph, steps), self.given(graph, steps, end));
        match (&taken[..], &given[..]) {
            ([_], [_]) if ops_of(graph, steps).any(|op| MODES.contains(&op.operator.name)) => {
                Err("it changes grad mode or autocast".to_owned())
            }
            ([taken], [_]) if self.works_on(graph, steps, *taken) => {
                Err("it works in place on the tensor that it takes, which a second run would not find as it was"
                    .to_owned())
            }
            ([taken], [given]) => Ok((*taken, *given)),
            _ => Err(format!(
                "it takes {} tensors and gives {}: a run of calls is checkpointed where one goes in and one comes out",
                taken.len(),
                given.len()
            )),
        }
    }
}

/// The operators of a run of steps.
fn ops_of<'a>(graph: &'a Graph, steps: &Range<usize>) -> impl Iterator<Item = &'a Op> {
    graph.steps[steps.clone()].iter().filter_map(|step| match step {
        Step::Op(id) => Some(&graph.ops[id.index()]),
        _ => None,
    })
}
