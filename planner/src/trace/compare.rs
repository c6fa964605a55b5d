//! Compares a trace with a recorded trace: the first place where they differ.
//!
//! Between two allocations the order of frees means nothing (autocast's cache is a hash table), so what is compared is
//! the sequence of allocations with the set of frees before each.

use super::{Event, Trace};

/// The first place where a stream differs from a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How many allocations agree before it.
    pub allocation: usize,
    /// The bytes that the stream asks for there; None where it ends.
    pub ours: Option<u64>,
    /// The bytes that the trace asks for there; None where it ends.
    pub theirs: Option<u64>,
    /// Allocations that the stream frees before this place and the trace does not yet.
    pub freed_early: Vec<usize>,
    /// Allocations that the trace frees before this place and the stream does not yet.
    pub freed_late: Vec<usize>,
}

/// An allocation of so many bytes on a stream, None at the end, and the frees since the one before.
type Step = (Option<(u64, u32)>, Vec<usize>);

/// The steps of a stream.
fn steps(events: impl Iterator<Item = Result<(u64, u32), usize>>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut frees = Vec::new();
    for event in events {
        match event {
            Ok(allocation) => {
                frees.sort_unstable();
                steps.push((Some(allocation), std::mem::take(&mut frees)));
            }
            Err(freed) => frees.push(freed),
        }
    }
    frees.sort_unstable();
    steps.push((None, frees));
    steps
}

/// Compares the trace of a plan with a recorded one, given as `Ok((bytes, stream))` for an allocation and `Err(number)` for a free.
pub fn first_difference(ours: &Trace, trace: impl Iterator<Item = Result<(u64, u32), usize>>) -> Option<Difference> {
    let ours = steps(ours.events().filter_map(|event| match event {
        Event::Allocate(id) => {
            let allocation = ours.allocation(id);
            Some(Ok((allocation.bytes.0, allocation.cuda_stream)))
        }
        Event::Free(id, _) => Some(Err(id.index())),
        _ => None,
    }));
    let theirs = steps(trace);
    for (allocation, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        if a != b {
            let only = |from: &[usize], other: &[usize]| {
                from.iter().filter(|number| !other.contains(number)).copied().collect::<Vec<_>>()
            };
            return Some(Difference {
                allocation,
                ours: a.0.map(|(bytes, _)| bytes),
                theirs: b.0.map(|(bytes, _)| bytes),
                freed_early: only(&a.1, &b.1),
                freed_late: only(&b.1, &a.1),
            });
        }
    }
    None
}
