//! The allocator under pressure against PyTorch 2.11: random requests on three streams of small devices, with every
//! option, recorded by `support/record_allocator.py`. Every figure is compared after every step.

#![allow(clippy::unwrap_used)] // Helpers of tests may.

use crate::support::lines;
use planner::allocate::{AllocatorOptions, BlockId, CachingAllocator, StreamId};
use planner::bytes::Bytes;
use serde_json::Value;

/// The figures in the order in which the script writes them.
fn figures(allocator: &CachingAllocator) -> [u64; 9] {
    let stats = allocator.stats();
    [
        stats.allocated.0,
        stats.peak_allocated.0,
        stats.reserved.0,
        stats.peak_reserved.0,
        stats.requested.0,
        stats.num_alloc_retries,
        stats.num_ooms,
        stats.num_device_alloc,
        stats.num_device_free,
    ]
}

/// Takes one step. Allocations are numbered by `taken`; failed ones have no number.
fn take(allocator: &mut CachingAllocator, taken: &mut Vec<BlockId>, step: &[Value]) -> Result<(), String> {
    let number = |at: usize| step[at].as_u64().unwrap();
    match step[0].as_str().unwrap() {
        "empty" => allocator.release_cached(),
        "reset" => allocator.reset_peaks(),
        "free" => assert!(allocator.free(taken[number(1) as usize])),
        "use" => allocator.record_stream(taken[number(1) as usize], StreamId(number(2) as u32)),
        kind => match allocator.allocate(Bytes(number(1)), StreamId(number(2) as u32)) {
            Ok(block) if kind == "alloc" => taken.push(block),
            Err(_) if kind == "fail" => {}
            outcome => return Err(format!("{outcome:?}")),
        },
    }
    Ok(())
}

/// Replays one recorded run up to the first difference.
fn replay(run: &Value) -> Result<(), String> {
    let options: AllocatorOptions = run["options"].as_str().unwrap().parse().unwrap();
    let mut allocator = CachingAllocator::new(options, run["capacity"].as_u64().map(Bytes));
    let mut taken = Vec::new();
    for (at, step) in run["steps"].as_array().unwrap().iter().enumerate() {
        let step = step.as_array().unwrap();
        take(&mut allocator, &mut taken, step).map_err(|error| format!("step {at}, {step:?}: {error}"))?;
        let theirs: Vec<u64> = step.last().unwrap().as_array().unwrap().iter().flat_map(Value::as_u64).collect();
        if figures(&allocator) != theirs[..] {
            return Err(format!("step {at}, {step:?}: ours {:?}", figures(&allocator)));
        }
    }
    Ok(())
}

#[test]
fn random_requests_give_pytorchs_figures_at_every_step() {
    let runs = lines("planner/tests/support/recorded.jsonl.gz");
    assert!(runs.len() >= 19);
    let differ =
        |run: &Value| replay(run).err().map(|error| format!("seed {} {}: {error}", run["seed"], run["options"]));
    let diverged: Vec<String> = runs.iter().filter_map(differ).collect();
    assert!(diverged.is_empty(), "{} of {} runs diverge:\n{}", diverged.len(), runs.len(), diverged.join("\n"));
}
