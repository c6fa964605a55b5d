//! Random requests under all options and small capacities: whatever happens, the allocator's books are in order.

#![allow(clippy::unwrap_used)] // Helpers of tests may.

use std::collections::BTreeMap;

use crate::support::check::check;
use planner::allocate::{BlockId, BlockState, CachingAllocator, Events, OutOfMemory, StreamId};
use planner::bytes::{Bytes, KIB, MIB};
use proptest::prelude::*;

const OPTIONS: [&str; 12] = [
    "",
    "expandable_segments:True",
    "max_split_size_mb:20",
    "max_split_size_mb:21,max_non_split_rounding_mb:24",
    "roundup_power2_divisions:4",
    "roundup_power2_divisions:[2:8,8:2,32:4,>:1],expandable_segments:True",
    "garbage_collection_threshold:0.3,per_process_memory_fraction:0.7",
    "garbage_collection_threshold:0.3,per_process_memory_fraction:0.7,expandable_segments:True,max_split_size_mb:20",
    "large_segment_size_mb:11",
    "large_segment_size_mb:33,expandable_segments:True",
    "large_segment_size_mb:33,max_split_size_mb:40",
    "per_process_memory_fraction:0.5,max_split_size_mb:20",
];

#[derive(Clone, Copy, Debug)]
enum Step {
    Allocate(u64, u32),
    Free(usize),
    Use(usize, u32),
    Synchronize,
    ReleaseCached,
    ResetPeaks,
    SetFraction(f64),
}

/// Sizes of all magnitudes, and around every threshold.
fn size() -> impl Strategy<Value = u64> {
    let thresholds =
        prop::sample::select(vec![512, KIB, MIB, 2 * MIB, 10 * MIB, 20 * MIB, 21 * MIB, 22 * MIB, 40 * MIB]);
    prop_oneof![
        1..4 * KIB,
        1..2 * MIB,
        MIB..64 * MIB,
        (thresholds, 0u64..1026).prop_map(|(threshold, off)| threshold + off - 512),
        Just(0),
        any::<u64>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (size(), 0u32..3).prop_map(|(bytes, stream)| Step::Allocate(bytes, stream)),
        9 => any::<usize>().prop_map(Step::Free),
        2 => (any::<usize>(), 0u32..3).prop_map(|(which, stream)| Step::Use(which, stream)),
        1 => Just(Step::Synchronize),
        1 => Just(Step::ReleaseCached),
        1 => Just(Step::ResetPeaks),
        1 => (0.0..1.2).prop_map(Step::SetFraction),
    ]
}

/// What the caller holds, in the order of allocation.
type Held = Vec<(BlockId, Bytes)>;

/// Takes a step and keeps the caller's own list of what it holds.
fn take(gpu: &mut CachingAllocator, held: &mut Held, step: Step) -> Result<(), String> {
    match step {
        Step::Allocate(bytes, stream) => {
            let before = gpu.stats();
            match gpu.allocate(Bytes(bytes), StreamId(stream)) {
                Ok(BlockId::EMPTY) if bytes == 0 && gpu.stats() == before => {}
                Ok(id) if bytes > 0 => held.push((id, Bytes(bytes))),
                Err(OutOfMemory { requested, allocated, .. })
                    if (requested, allocated) == (Bytes(bytes), before.allocated) => {}
                outcome => return Err(format!("{outcome:?}")),
            }
        }
        Step::Free(_) | Step::Use(..) if held.is_empty() => {}
        Step::Free(which) => {
            let (id, _) = held.swap_remove(which % held.len());
            if !gpu.free(id) {
                return Err(format!("{id:?} is not to be freed"));
            }
        }
        Step::Use(which, stream) => gpu.record_stream(held[which % held.len()].0, StreamId(stream)),
        Step::Synchronize => gpu.synchronize(),
        Step::ReleaseCached => gpu.release_cached(),
        Step::ResetPeaks => gpu.reset_peaks(),
        Step::SetFraction(fraction) => gpu.set_memory_fraction(fraction),
    }
    Ok(())
}

/// Frees everything; nothing may stay reserved.
fn finish(gpu: &mut CachingAllocator, held: Held) -> Result<(), String> {
    held.into_iter().for_each(|(id, _)| assert!(gpu.free(id)));
    gpu.release_cached();
    match (gpu.stats().reserved, gpu.snapshot().len()) {
        (Bytes(0), 0) => Ok(()),
        lost => Err(format!("lost: {lost:?}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_in_order(
        options in prop::sample::select(OPTIONS.to_vec()),
        capacity in prop::option::of(1..300 * MIB),
        lags in any::<bool>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let capacity = capacity.map(Bytes);
        let events = if lags { Events::DoneWhenWaitedFor } else { Events::DoneAtNextAllocation };
        let mut gpu = CachingAllocator::new(options.parse().unwrap(), capacity).with_events(events);
        let mut held = Held::new();
        for step in steps {
            let taken = take(&mut gpu, &mut held, step);
            let owned: BTreeMap<BlockId, Bytes> = held.iter().copied().collect();
            prop_assert_eq!(owned.len(), held.len(), "two allocations have one number");
            let checked = taken.and_then(|()| check(&gpu, &owned, capacity));
            prop_assert!(checked.is_ok(), "{:?} with {:?}: {:?}", step, options, checked);
        }
        let finished = finish(&mut gpu, held);
        prop_assert!(finished.is_ok(), "{:?}: {:?}", options, finished);
    }

    /// The device is asked only where no free block of the stream and pool is large enough.
    #[test]
    fn what_is_cached_is_used_first(steps in prop::collection::vec(step(), 1..150)) {
        let mut gpu = CachingAllocator::new("".parse().unwrap(), None);
        let mut held = Held::new();
        for step in steps {
            let (segments, before) = (gpu.snapshot(), gpu.stats().reserved);
            let asks = matches!(step, Step::Allocate(..)) && segments.iter().flat_map(|s| &s.blocks).all(|b| b.state != BlockState::Waiting);
            let taken = take(&mut gpu, &mut held, step);
            prop_assert!(taken.is_ok(), "{:?}", taken);
            if let (Step::Allocate(bytes, stream), true) = (step, asks && gpu.stats().reserved > before) {
                let rounded = bytes.next_multiple_of(512);
                let fits = segments.iter().filter(|s| s.stream == StreamId(stream) && (s.size.0 == 2 * MIB) == (rounded <= MIB));
                let free = fits.flat_map(|s| &s.blocks).find(|b| b.state == BlockState::Free && b.size.0 >= rounded);
                prop_assert!(free.is_none(), "{} B did not take {:?}", bytes, free);
            }
        }
    }
}
