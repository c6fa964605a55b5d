//! How fast the allocator replays: the largest recorded trace (about 140,000 events), and small steady loops.

#![allow(missing_docs)] // criterion's macros make public items.

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use planner::allocate::{AllocatorOptions, BlockId, CachingAllocator, StreamId};
use planner::bytes::{Bytes, KIB, MIB};
use support::{Event, Trace, truth_cases};

/// Replays a whole trace; gives the peak so that nothing is optimized away.
fn replay(events: &[Event], options: &AllocatorOptions, taken: &mut Vec<BlockId>) -> Bytes {
    let mut allocator = CachingAllocator::new(options.clone(), None);
    taken.clear();
    for event in events {
        match *event {
            Event::Allocate { bytes, stream } => {
                taken.push(allocator.allocate(bytes, stream).expect("no limit is set"))
            }
            Event::Free(n) => {
                allocator.free(taken[n]);
            }
            Event::Segment(_) | Event::SegmentFree(_) => {}
        }
    }
    allocator.stats().peak_reserved
}

fn traces(criterion: &mut Criterion) {
    let traces = truth_cases().into_iter().map(|case| Trace::load(&case.id));
    let largest = traces.max_by_key(|trace| trace.events.len()).expect("there are traces");
    let mut taken = Vec::with_capacity(largest.events.len());
    let mut group = criterion.benchmark_group("trace");
    group.throughput(Throughput::Elements(largest.events.len() as u64)).sample_size(50);
    for options in ["", "expandable_segments:True"] {
        let name = format!("{} {options}", largest.id);
        let options = options.parse().expect("the options are valid");
        group.bench_function(name, |bencher| bencher.iter(|| replay(&largest.events, &options, &mut taken)));
    }
    group.finish();
}

/// One allocation and its free, in an allocator that holds a thousand blocks, every second of which is free.
fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("allocate and free");
    for (name, bytes) in [("small", 3 * KIB), ("large", 3 * MIB)] {
        let mut allocator = CachingAllocator::new(AllocatorOptions::default(), None);
        let sizes = (0..1000).map(|i| Bytes((bytes / 2 + i * bytes / 500).max(1)));
        let held: Vec<BlockId> = sizes.map(|size| allocator.allocate(size, StreamId(0)).expect("no limit")).collect();
        held.iter().step_by(2).for_each(|id| assert!(allocator.free(*id)));
        let pair = |mut allocator: CachingAllocator| {
            for _ in 0..1000 {
                let id = allocator.allocate(Bytes(bytes), StreamId(0)).expect("no limit is set");
                allocator.free(id);
            }
            allocator
        };
        group.throughput(Throughput::Elements(1000));
        group.bench_function(name, |bencher| bencher.iter_batched(|| allocator.clone(), pair, BatchSize::SmallInput));
    }
    group.finish();
}

criterion_group!(benches, traces, pairs);
criterion_main!(benches);
