//! A trace from a file, through an allocator again: with other options, on another GPU, of another release.

use super::{PlanError, capacity};
use crate::allocate::{Addresses, AllocatorOptions};
use crate::bytes::Bytes;
use crate::read::gpus::Gpu;
use crate::replay::{Replay, UNLIMITED};
use crate::run::{Run, RunOptions};
use crate::trace::Trace;
use crate::trace::file::{Head, Recorded};
use crate::versions::{Release, Rules, Versions};

/// Replays a trace as its file says, or as `capacity`, `allocator` and `torch` of the options and the GPU do where they are given.
/// The head says what was replayed.
///
/// # Errors
/// Options that the allocator does not know, or that only a plan can obey; a wrong spec.
pub fn replay(recorded: Recorded, options: &RunOptions, gpu: Option<&Gpu>) -> Result<(Head, Replay), PlanError> {
    let Settled { head, trace, allocator, capacity } = settle(recorded, options, gpu)?;
    Ok((head, Replay::of(trace, allocator, capacity)))
}

/// A trace, with all that its replay is to be.
pub(crate) struct Settled {
    /// What is to be replayed.
    pub head: Head,
    pub trace: Trace,
    pub allocator: AllocatorOptions,
    /// The bytes that the allocator may take.
    pub capacity: Bytes,
}

/// Settles how a trace is replayed, as `replay` does.
///
/// # Errors
/// As `replay`.
pub(crate) fn settle(recorded: Recorded, options: &RunOptions, gpu: Option<&Gpu>) -> Result<Settled, PlanError> {
    only_of_replays(options)?;
    let Recorded { mut head, trace } = recorded;
    if let Some(allocator) = &options.allocator {
        head.allocator.clone_from(allocator);
    }
    let allocator: AllocatorOptions = head.allocator.parse()?;
    let mut room = options.capacity.or(head.capacity).unwrap_or(UNLIMITED);
    if let Some(gpu) = gpu {
        room = capacity(&Run { capacity: options.capacity, ..Run::default() }, gpu)?;
        if head.device != gpu.name {
            // no trace says what other kernels would take
            head.device = format!("{}, with the kernels of {}", gpu.name, head.device);
        }
    }
    let written: Option<Release> = head.torch.parse().ok();
    let torch = options.torch.or(written).unwrap_or(Versions::default().torch);
    let versions = Versions { torch, ..Versions::default() };
    head.torch = versions.torch.to_string();
    let allocator = allocator.of_release(Rules::of(versions), Addresses::Unknown);
    Ok(Settled { head, trace, allocator, capacity: room })
}

/// The keys of options that a replay obeys, or that say where something lies.
const OBEYED: [&str; 8] = ["model", "gpu", "capacity", "allocator", "torch", "transformers", "profile", "specs"];

/// Refuses options that only a plan can obey: a trace is as it was written.
///
/// # Errors
/// The first of them.
fn only_of_replays(options: &RunOptions) -> Result<(), PlanError> {
    match options.entries().into_iter().find(|(key, _)| !OBEYED.contains(&key.as_str())) {
        Some((key, _)) => Err(PlanError::OfPlans { key }),
        None => Ok(()),
    }
}
