//! What a step of a run costs, second runs of checkpointed calls apart.

use super::footprint::Footprint;
use super::{Emulation, PlanError, Prepared, named, prepare};
use crate::bytes::Bytes;
use crate::lower::lower_with_timeline;
use crate::lower::timeline::Timeline;
use crate::model::Model;
use crate::read::gpus::Gpu;
use crate::run::Run;
use crate::time::{Cost, Speeds};
use crate::trace::Trace;

/// What a step costs: operations, and time where something is known of the GPU's speeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// All but second runs.
    pub computed: Cost,
    /// Second runs.
    pub recomputed: Cost,
}

impl Effort {
    fn of(timeline: &Timeline, run: &Run) -> Effort {
        let recomputed = timeline.recomputed.iter().fold(Cost::default(), |sum, cost| sum.and(*cost));
        Effort { computed: timeline.computed.shared(run.steps), recomputed: recomputed.shared(run.steps) }
    }

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
    Ok(Effort::of(&lowered(&prepared, gpu)?.1, run))
}

/// Plans a run as `footprint` does, and counts what a step of it costs.
///
/// # Errors
/// As `plan`.
pub fn measured(model: &Model, run: &Run, gpu: &Gpu, capacities: &[Bytes]) -> Result<(Footprint, Effort), PlanError> {
    measured_of(&prepare(model, run, gpu, Emulation::default())?, run, gpu, capacities)
}

/// The same of a run that is prepared.
///
/// # Errors
/// An operator that PyTorch would refuse.
pub(crate) fn measured_of(
    prepared: &Prepared,
    run: &Run,
    gpu: &Gpu,
    capacities: &[Bytes],
) -> Result<(Footprint, Effort), PlanError> {
    let (stream, timeline) = lowered(prepared, gpu)?;
    let footprint = Footprint::of(&stream, &prepared.options, prepared.precision, capacities);
    Ok((footprint, Effort::of(&timeline, run)))
}

fn lowered(prepared: &Prepared, gpu: &Gpu) -> Result<(Trace, Timeline), PlanError> {
    let Prepared { graph, device, settings, .. } = prepared;
    let lowered = lower_with_timeline(graph, device, settings.clone(), Speeds::of(gpu));
    lowered.map_err(|error| named(error, graph))
}
