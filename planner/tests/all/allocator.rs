//! The allocator against PyTorch: every recorded trace, to the byte, phase by phase and segment by segment.

#![allow(clippy::unwrap_used)] // Helpers of tests may.

use crate::support::{Event, Phase, Trace, TruthCase, truth_cases};
use planner::allocate::{AllocatorOptions, BlockId, CachingAllocator};
use planner::bytes::Bytes;

/// Replays a case; the first divergence from PyTorch, if there is one.
fn replay(case: &TruthCase) -> Result<(), String> {
    let trace = Trace::load(&case.id);
    let options: AllocatorOptions = case.allocator.parse().map_err(|error| format!("{error}"))?;
    let mut allocator = CachingAllocator::new(options, None);
    let mut taken: Vec<BlockId> = Vec::new();
    let (mut frees, mut reserved) = (0, Bytes(0));
    let mut phases = case.phases.iter();
    let mut phase = phases.next();
    for (at, event) in trace.events.iter().enumerate() {
        match *event {
            Event::Segment(size) => reserved += size,
            Event::SegmentFree(size) => reserved -= size,
            Event::Free(n) => {
                frees += 1;
                assert!(allocator.free(taken[n]), "{}: event {at} frees allocation {n} twice", case.id);
            }
            Event::Allocate { bytes, stream } => {
                taken.push(allocator.allocate(bytes, stream).map_err(|error| format!("event {at}: {error}"))?);
                let ours = allocator.stats().reserved;
                if case.allocator.is_empty() && ours != reserved {
                    return Err(format!("event {at}, {} B: reserved {} B, PyTorch {} B", bytes.0, ours.0, reserved.0));
                }
            }
        }
        while let Some(reached) = phase.filter(|phase| (phase.allocations, phase.frees) == (taken.len(), frees)) {
            compare(reached, &mut allocator, reached.phase == "load")
                .map_err(|error| format!("event {at}: {error}"))?;
            phase = phases.next();
        }
    }
    phase.map_or(Ok(()), |phase| Err(format!("the trace ends before phase {} of step {}", phase.phase, phase.step)))
}

/// Compares the figures at the end of a phase, then lets the next one begin.
fn compare(phase: &Phase, allocator: &mut CachingAllocator, first: bool) -> Result<(), String> {
    if first {
        allocator.reset_peaks();
    }
    let ours = allocator.stats();
    let figures = [
        ("allocated", ours.allocated, phase.allocated),
        ("peak_allocated", ours.peak_allocated, phase.peak_allocated),
        ("reserved", ours.reserved, phase.reserved),
        ("peak_reserved", ours.peak_reserved, phase.peak_reserved),
        ("requested", ours.requested, phase.requested),
    ];
    allocator.reset_peaks();
    match figures.iter().find(|(_, ours, theirs)| ours != theirs) {
        None => Ok(()),
        Some((name, ours, theirs)) => {
            let place = format!("end of {} of step {}", phase.phase, phase.step);
            Err(format!("{place}: {name} {} B, PyTorch {} B", ours.0, theirs.0))
        }
    }
}

#[test]
fn every_trace_replays_to_the_byte() {
    let cases = truth_cases();
    assert!(cases.len() >= 64, "only {} cases", cases.len());
    let differ = |case: &TruthCase| replay(case).err().map(|error| format!("{}: {error}", case.id));
    let diverged: Vec<String> = cases.iter().filter_map(differ).collect();
    assert!(diverged.is_empty(), "{} of {} cases diverge:\n{}", diverged.len(), cases.len(), diverged.join("\n"));
}

/// The peaks of the whole run, which the phases' peaks add up to.
#[test]
fn every_traces_peaks_are_the_recorded_ones() {
    for case in truth_cases() {
        let mut allocator = CachingAllocator::new(case.allocator.parse().unwrap(), Some(case.total_memory));
        let mut taken = Vec::new();
        for event in Trace::load(&case.id).events {
            match event {
                Event::Allocate { bytes, stream } => taken.push(allocator.allocate(bytes, stream).unwrap()),
                Event::Free(n) => assert!(allocator.free(taken[n])),
                Event::Segment(_) | Event::SegmentFree(_) => {}
            }
        }
        let stats = allocator.stats();
        assert_eq!(stats.num_alloc_retries, 0, "{}", case.id);
        assert_eq!(stats.peak_allocated, case.max_allocated, "{}: peak allocated", case.id);
        assert_eq!(stats.peak_reserved, case.max_reserved, "{}: peak reserved", case.id);
    }
}
