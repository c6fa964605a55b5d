//! Selective activation checkpointing (torch/utils/checkpoint.py, `create_selective_checkpoint_contexts`).
//!
//! ```text
//! forward      a saved operator's results join its list in the frame, detached: they live whatever the holders do
//! second run   the operator saves its inputs as ever, then takes the first of its list in place of running; where the
//!              region stops at one of those inputs, nothing is taken
//! frame gone   what was not taken goes
//! ```
//!
//! Lists are kept by operator, so the second run must call each as often and in the same order as the first. Both runs
//! are under a dispatch mode, which sees the operators below autograd: what those call in turn is theirs.

use std::collections::VecDeque;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use smallvec::{SmallVec, smallvec};

use crate::graph::CheckpointId;
use crate::lower::context::{Context, detach};
use crate::lower::tensor::Tensor;
use crate::ops::{Class, savable_named};
use crate::run::SavedOperators;
use crate::trace::Category;

/// What of an operator of the program was taken in place of computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spared {
    /// Whether it has products.
    product: bool,
    /// Whether all of those were taken; without any, whether the last of what computes was.
    pub all: bool,
}

/// What an operator gives.
pub(crate) type Outputs = SmallVec<[Tensor; 3]>;

/// What a frame keeps: each saved operator's results, in the order of its calls.
#[derive(Debug, Default)]
pub(super) struct Kept(IndexMap<&'static str, VecDeque<Outputs>, FxBuildHasher>);

impl Context {
    /// Whether a dispatch mode is on: composite operators then avoid working in place
    /// (aten/src/ATen/TensorSubclassLikeUtils.h, `isTensorSubclassLike`).
    pub(crate) fn dispatches(&self) -> bool {
        self.policy().is_some()
    }

    /// The operators whose results the region saves that runs now, for the first time or again.
    fn policy(&self) -> Option<&SavedOperators> {
        let again = || self.checkpointing.recomputation.as_ref().map(|again| &again.frame);
        let frame = self.checkpointing.frame.as_ref().or_else(again)?;
        self.graph.checkpoints[frame.id.index()].saves.as_deref()
    }

    /// Whether this operator's results are saved where it runs now.
    pub(crate) fn saves(&self, op: &str) -> bool {
        self.policy().is_some_and(|saved| saved.contains(op))
    }

    /// Runs one operator of ATen, which gives one tensor.
    pub(crate) fn aten(&mut self, op: &'static str, run: impl FnOnce(&mut Context) -> Tensor) -> Tensor {
        let mut outputs = self.aten_outputs(op, |context| smallvec![run(context)]);
        outputs.pop().unwrap_or_else(|| self.fail("an operator has no result"))
    }

    /// Runs one operator of ATen: in a checkpointed region as `_CachingTorchDispatchMode` does, in its second run as
    /// `_CachedTorchDispatchMode`.
    pub(crate) fn aten_outputs(&mut self, op: &'static str, run: impl FnOnce(&mut Context) -> Outputs) -> Outputs {
        if let Some(frame) = self.checkpointing.frame.clone() {
            let outputs = run(self);
            self.note_savable(frame.id, op);
            if self.saves(op) {
                frame.kept.borrow_mut().0.entry(op).or_default().push_back(outputs.iter().map(kept).collect());
            }
            return outputs;
        }
        let taken = self.saves(op);
        let outputs = if taken { self.take_saved(op, run) } else { run(self) };
        self.note_taken(op, taken);
        outputs
    }

    fn note_savable(&mut self, region: CheckpointId, op: &'static str) {
        let Some(timeline) = &mut self.timeline else { return };
        if savable_named(op).is_some() {
            timeline.savable.insert((self.graph.checkpoints[region.index()].module, op));
        }
    }

    /// Notes whether an operator was taken, for what the second run computes: an operator of the program computes nothing
    /// where its products were taken, or, where it has none, the last of what computes. An operator that cannot be
    /// saved counts as one that computes.
    fn note_taken(&mut self, op: &'static str, taken: bool) {
        let Some(again) = &mut self.checkpointing.recomputation else { return };
        let class = savable_named(op).map(|savable| savable.class);
        if class.is_some_and(Class::moves) {
            return;
        }
        let is_product = class.is_some_and(Class::multiplies);
        again.spared = match again.spared {
            Some(Spared { product: true, .. }) if !is_product => return,
            Some(Spared { product: true, all }) => Some(Spared { product: true, all: all && taken }),
            _ => Some(Spared { product: is_product, all: taken }),
        };
    }

    fn take_saved(&mut self, op: &'static str, run: impl FnOnce(&mut Context) -> Outputs) -> Outputs {
        let Some(again) = self.checkpointing.recomputation.as_mut().filter(|again| !again.stopped) else {
            return run(self);
        };
        let taken = again.frame.kept.borrow_mut().0.get_mut(op).and_then(VecDeque::pop_front);
        // what it would give, without memory
        again.stopped = true;
        let expected = run(self);
        if let Some(again) = &mut self.checkpointing.recomputation {
            again.stopped = false;
        }
        let Some(taken) = taken else {
            self.fail(&format!(
                "checkpoint-save {op}: the second run calls it more often than the first, which PyTorch refuses (a cast \
                 that autocast still had in the first run is one)"
            ));
            return expected;
        };
        let alike = |(a, b): (&Tensor, &Tensor)| a.sizes == b.sizes && a.dtype == b.dtype;
        if taken.len() != expected.len() || !taken.iter().zip(&expected).all(alike) {
            self.fail(&format!(
                "checkpoint-save {op}: the second run calls it in another order than the first, and would take another \
                 call's result"
            ));
            return expected;
        }
        taken
    }
}

/// `_maybe_detach`
fn kept(output: &Tensor) -> Tensor {
    if output.storage.category() == Category::Temporaries {
        output.storage.becomes(Category::SavedActivations);
    }
    detach(output)
}
