//! What calls cost, counted where a timeline is asked for.

use std::rc::Rc;

use super::Context;
use crate::graph::TensorId;
use crate::ops::Known;
use crate::time::{Cost, Unit, Work};

impl Context {
    /// Counts what an operator's call costs, and what its backward will.
    pub(in crate::lower) fn count(&mut self, op: &crate::graph::Op) {
        let Some(timeline) = &self.timeline else { return };
        let shapes = self.program.shapes.as_ref().unwrap_or(&self.graph.shapes);
        let works = crate::ops::works(op, shapes, |id| self.known(id));
        let (forward, backward) = (timeline.cost(&works.forward), timeline.cost(&works.backward));
        // a reentrant region's first run is without grad mode, so that its second run alone leads to a backward
        let first_time =
            self.checkpointing.runs_again.is_none_or(|id| self.graph.checkpoints[id.index()].reentrant.is_some());
        if self.computes(op) {
            self.spend(forward);
        }
        if let Some(timeline) = self.timeline.as_mut().filter(|_| first_time && self.autograd.enabled) {
            timeline.computed = timeline.computed.and(backward.times(self.weight));
        }
    }

    /// Counts a kernel that no operator of the program asks for: how many bytes it reads and writes.
    pub(in crate::lower) fn count_moved(&mut self, bytes: u64) {
        let Some(timeline) = &self.timeline else { return };
        let cost = timeline.cost(&[Work { flops: 0, bytes, unit: Unit::Arithmetic }]);
        self.spend(cost);
    }

    fn spend(&mut self, cost: Cost) {
        let Some(timeline) = &mut self.timeline else { return };
        let spent = match self.checkpointing.runs_again {
            Some(id) => &mut timeline.recomputed[id.index()],
            None => &mut timeline.computed,
        };
        *spent = spent.and(cost.times(self.weight));
    }

    fn known(&self, id: TensorId) -> Option<Known> {
        let tensor = self.program.values[id.index()].as_ref()?;
        let spread = tensor.sizes.iter().zip(&tensor.strides);
        let elements: u64 = spread.filter(|(_, stride)| **stride > 0).map(|(size, _)| size).product();
        Some(Known {
            bytes: elements * tensor.dtype.size(),
            dtype: tensor.dtype,
            needs_gradient: tensor.requires_grad(),
            storage: Rc::as_ptr(&tensor.storage) as usize,
        })
    }

    /// Whether an operator of a second run computes: its result may have been saved, or nothing may be asked of it any more.
    fn computes(&mut self, op: &crate::graph::Op) -> bool {
        if self.checkpointing.runs_again.is_none() {
            return true;
        }
        let stopped = self.is_stopped();
        // an operator that the second run stops at before it computes has no memory for its result
        let result = op.outputs.first().and_then(|id| self.program.values[id.index()].as_ref());
        let has_result = result.is_some_and(|tensor| !tensor.storage.is_nothing());
        let spared = self.checkpointing.recomputation.as_mut().and_then(|again| again.spared.take());
        !spared.is_some_and(|spared| spared.all) && (!stopped || has_result)
    }
}
