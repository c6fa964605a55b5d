//! What a run computes: the operations of a step, and those of them that second runs of checkpointed calls compute again.

use super::{Emulation, PlanError, device, named, prepare};
use crate::lower::lower_with_timeline;
use crate::read::gpus::Gpu;
use crate::read::model::Model;
use crate::run::Run;

/// Floating-point operations of a step, counted as `ops::flops` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Forward and backward, without second runs.
    pub computed: u64,
    /// Of second runs.
    pub recomputed: u64,
}

/// Counts the operations of a run, in one of its steps.
///
/// # Errors
/// As `plan`.
pub fn work(model: &Model, run: &Run, gpu: &Gpu) -> Result<Work, PlanError> {
    let prepared = prepare(model, run, gpu, Emulation::default())?;
    let graph = prepared.graph;
    let lowered = lower_with_timeline(&graph, &device(gpu), prepared.settings);
    let (_, timeline) = lowered.map_err(|error| named(error, &graph))?;
    let steps = run.steps.max(1);
    let computed = timeline.computed.forward.saturating_add(timeline.computed.backward);
    let recomputed = timeline.recomputed.iter().fold(0, |sum: u64, flops| sum.saturating_add(*flops));
    Ok(Work { computed: computed / steps, recomputed: recomputed / steps })
}
