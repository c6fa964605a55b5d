//! Private pools against PyTorch: recorded allocations and frees in MemPools, in graphs' pools and outside them, to the byte.

use flate2::read::GzDecoder;
use planner::allocate::{Addresses, BlockId, CachingAllocator, PrivatePool, StreamId};
use planner::bytes::Bytes;
use planner::versions::{Rules, Versions};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recording {
    torch: String,
    capacity: u64,
    steps: Vec<Step>,
}

/// One step: an allocation with its size, stream and pool, or what goes; then allocated, reserved and the peak of reserved.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    allocate: Option<usize>,
    fails: Option<usize>,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    stream: u32,
    #[serde(default)]
    pool: u16,
    free: Option<usize>,
    #[serde(default)]
    empty_cache: bool,
    delete: Option<u16>,
    give_up: Option<u16>,
    stats: [u64; 3],
}

/// The first step after which the figures differ.
fn replay(recording: &Recording) -> Result<(), String> {
    let versions = Versions { torch: recording.torch.parse().expect("a release"), ..Versions::default() };
    let options: planner::allocate::AllocatorOptions = String::new().parse().expect("options");
    let options = options.of_release(Rules::of(versions), Addresses::Rising);
    let mut allocator = CachingAllocator::new(options, Some(Bytes(recording.capacity)));
    let mut blocks: Vec<BlockId> = Vec::new();
    for (number, step) in recording.steps.iter().enumerate() {
        let differs = |what: String| format!("torch {}, step {number}, {step:?}: {what}", recording.torch);
        if step.allocate.or(step.fails).is_some() {
            let private_pool = Some(step.pool).filter(|pool| *pool > 0).map(PrivatePool);
            let served = allocator.allocate_in(private_pool, Bytes(step.bytes), StreamId(step.stream));
            if served.is_ok() != step.allocate.is_some() {
                return Err(differs(format!("{served:?}")));
            }
            blocks.push(served.unwrap_or(BlockId::EMPTY));
        }
        if let Some(gone) = step.free {
            assert!(allocator.free(blocks[gone]), "{step:?}");
        }
        if step.empty_cache {
            allocator.release_cached();
        }
        step.delete.into_iter().for_each(|pool| allocator.delete_pool(PrivatePool(pool)));
        step.give_up.into_iter().for_each(|pool| allocator.give_up(PrivatePool(pool)));
        let stats = allocator.stats();
        let ours = [stats.allocated.0, stats.reserved.0, stats.peak_reserved.0];
        if ours != step.stats {
            return Err(differs(format!("{ours:?}")));
        }
    }
    Ok(())
}

#[test]
fn private_pools_are_pytorchs_to_the_byte() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/truth/pools");
    let mut recordings = 0;
    for entry in std::fs::read_dir(folder).expect("recordings") {
        let file = std::fs::File::open(entry.expect("an entry").path()).expect("a recording");
        let recording: Recording = serde_json::from_reader(GzDecoder::new(file)).expect("a recording");
        assert!(recording.steps.len() > 500 && recording.steps.iter().any(|step| step.pool > 2));
        if let Err(difference) = replay(&recording) {
            panic!("{difference}");
        }
        recordings += 1;
    }
    assert_eq!(recordings, 4);
}

/// An arena that is planned as a whole serves the same run, in less than PyTorch's allocator takes.
#[test]
fn one_arena_serves_a_run() {
    let plan = planner::RunOptions::of("distilgpt2").with("steps", "2").expect("an option").plan().expect("a plan");
    let mut arena = planner::arena::one_arena(&plan.trace, &planner::arena::ArenaOptions::default()).expect("an arena");
    let outcome = planner::allocate::drive(&plan.trace, &mut arena, |_, _, _| {});
    assert!(outcome.out_of_memory.is_none());
    assert_eq!(outcome.phases.len(), plan.outcome.phases.len());
    let asked = outcome.peak_allocated;
    assert!(asked <= plan.peak_allocated() && asked <= outcome.peak_reserved);
    assert!(outcome.peak_reserved < plan.peak_reserved(), "{} against {}", outcome.peak_reserved, plan.peak_reserved());
    let mut short = planner::allocate::OneArena::new(outcome.peak_reserved, Vec::new(), Some(asked - Bytes(1)));
    assert!(planner::allocate::drive(&plan.trace, &mut short, |_, _, _| {}).out_of_memory.is_some());
}
