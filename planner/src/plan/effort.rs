//! What a step of a run costs, second runs of checkpointed calls apart.

use super::{Emulation, PlanError, device, named, prepare};
use crate::lower::lower_with_timeline;
use crate::read::gpus::Gpu;
use crate::read::model::Model;
use crate::run::Run;
use crate::time::{Cost, Speeds};

/// What a step costs: operations, and time where something is known of the GPU's speeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// All but second runs.
    pub computed: Cost,
    /// Second runs.
    pub recomputed: Cost,
}

impl Effort {
    /// The time of a step in seconds, an estimate on a GPU whose speeds were measured, else the least that the work can take;
    /// None where nothing is known of its speeds.
    pub fn seconds(&self, gpu: &Gpu) -> Option<f64> {
        Speeds::of(gpu).map(|_| self.computed.and(self.recomputed).seconds())
    }
}

/// What a step of a run costs.
///
/// # Errors
/// As `plan`.
pub fn effort(model: &Model, run: &Run, gpu: &Gpu) -> Result<Effort, PlanError> {
    let prepared = prepare(model, run, gpu, Emulation::default())?;
    let graph = prepared.graph;
    let lowered = lower_with_timeline(&graph, &device(gpu), prepared.settings, Speeds::of(gpu));
    let (_, timeline) = lowered.map_err(|error| named(error, &graph))?;
    let recomputed = timeline.recomputed.iter().fold(Cost::default(), |sum, cost| sum.and(*cost));
    Ok(Effort { computed: timeline.computed.shared(run.steps), recomputed: recomputed.shared(run.steps) })
}
