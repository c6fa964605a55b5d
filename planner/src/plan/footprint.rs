//! What a run takes on GPUs that run the same kernels: one event stream, and what allocators of several capacities make of it.

use std::cell::OnceCell;

use super::{Emulation, PlanError, UNLIMITED, device, named, prepare};
use crate::allocate::{AllocatorOptions, Outcome, simulate};
use crate::bytes::{Bytes, MIB};
use crate::lower::lower;
use crate::model::Model;
use crate::read::gpus::Gpu;
use crate::run::{Precision, Run};
use crate::trace::Trace;
use crate::versions::Versions;

/// What a plan says of a run within a capacity; peaks are those without a limit where it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peaks {
    /// Whether the run gets to its end.
    pub fits: bool,
    /// `max_memory_allocated` of the whole run.
    pub allocated: Bytes,
    /// `max_memory_reserved` of the whole run.
    pub reserved: Bytes,
    /// What the allocator gave back to the driver, so that the run fits.
    pub given_back: Bytes,
}

impl Peaks {
    /// What is left of a capacity at the peak of reserved memory; None where the run does not fit.
    pub fn headroom(self, capacity: Bytes) -> Option<Bytes> {
        self.fits.then(|| Bytes(capacity.0.saturating_sub(self.reserved.0)))
    }
}

/// The peaks of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// The precision that it was planned in.
    pub precision: Precision,
    /// `max_memory_reserved` without a limit.
    pub unlimited: Bytes,
    /// The peaks within each capacity.
    pub within: Vec<Peaks>,
    /// What the run keeps in the host's memory, at most.
    pub host: Bytes,
}

/// Plans a run once, for each of the capacities: the figures of `plan` on a GPU like that one that has so much.
///
/// # Errors
/// As `plan`.
pub fn footprint(model: &Model, run: &Run, gpu: &Gpu, capacities: &[Bytes]) -> Result<Footprint, PlanError> {
    let prepared = prepare(model, run, gpu, Emulation::default())?;
    let graph = prepared.graph;
    let stream = lower(&graph, &prepared.device, prepared.settings).map_err(|error| named(error, &graph))?;
    Ok(Footprint::of(&stream, &prepared.options, prepared.precision, capacities))
}

impl Footprint {
    /// What allocators of these capacities make of a run's events.
    pub(super) fn of(
        stream: &Trace,
        options: &AllocatorOptions,
        precision: Precision,
        capacities: &[Bytes],
    ) -> Footprint {
        let (whole, within) = whole_and_within(stream, options, capacities);
        Footprint { precision, unlimited: whole.peak_reserved, within, host: stream.host_bytes() }
    }
}

/// What allocators of these capacities make of a trace.
pub fn peaks_within(trace: &Trace, options: &AllocatorOptions, capacities: &[Bytes]) -> Vec<Peaks> {
    whole_and_within(trace, options, capacities).1
}

fn whole_and_within(stream: &Trace, options: &AllocatorOptions, capacities: &[Bytes]) -> (Outcome, Vec<Peaks>) {
    let whole = simulate(stream, options, Some(UNLIMITED));
    let least = OnceCell::new();
    let within = |capacity: &Bytes| {
        // No allocator is refused anything before all is taken, and none serves more than there is.
        if only_fills(options) && whole.peak_reserved <= *capacity {
            return peaks(&whole, true);
        }
        if *least.get_or_init(|| Bytes(stream.most_alive(|bytes| bytes.0))) > *capacity {
            return peaks(&whole, false);
        }
        let outcome = simulate(stream, options, Some(*capacity));
        if outcome.out_of_memory.is_none() { peaks(&outcome, true) } else { peaks(&whole, false) }
    };
    let within = capacities.iter().map(within).collect();
    (whole, within)
}

fn peaks(outcome: &Outcome, fits: bool) -> Peaks {
    let given_back = outcome.given_back.iter().map(|given| given.released).sum();
    Peaks { fits, allocated: outcome.peak_allocated, reserved: outcome.peak_reserved, given_back }
}

/// Whether the allocator behaves alike on all capacities until one is full: without a fraction of it as a limit, and with
/// segments in whole pages of the driver, so that what is reserved is what is taken.
fn only_fills(options: &AllocatorOptions) -> bool {
    options.memory_fraction() >= 1.0 && options.large_segment_size().0.is_multiple_of(2 * MIB)
}

/// GPUs for which every run has the same event stream, by their places in the list; in the order of their first.
///
/// GPUs whose profiles have other workspaces of cuDNN's are not alike.
/// Where a checkpoint stores its weights quantised, what loading does depends on the GPU's memory too.
///
/// # Errors
/// A checkpoint whose quantised weights cannot be planned.
pub fn alike(model: &Model, gpus: &[Gpu]) -> Result<Vec<Vec<usize>>, PlanError> {
    let apart = model.quantization()?.is_some();
    let mut classes: Vec<Vec<usize>> = Vec::new();
    for (place, gpu) in gpus.iter().enumerate() {
        let same = |class: &&mut Vec<usize>| {
            let first = &gpus[class[0]];
            let workspaces = |gpu: &Gpu| gpu.profile.as_ref().and_then(|profile| profile.workspaces.clone());
            device(first, Versions::default()) == device(gpu, Versions::default())
                && workspaces(first) == workspaces(gpu)
                && (!apart || first.memory.total == gpu.memory.total)
        };
        match classes.iter_mut().find(same) {
            Some(class) => class.push(place),
            None => classes.push(vec![place]),
        }
    }
    Ok(classes)
}
