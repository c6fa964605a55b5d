//! An independent checker of the allocator, much simpler than it: it knows nothing of pools, splitting or pages, only
//! what must be true of any allocator's segments and figures.
//!
//! ```text
//! segments are apart -> blocks tile each -> the used ones are those that the caller holds -> sums are the figures
//! ```

use std::collections::BTreeMap;

use planner::allocate::{BlockId, BlockState, BlockView, CachingAllocator};
use planner::bytes::Bytes;

/// Checks an allocator against what its caller holds: blocks with the bytes asked for.
///
/// # Errors
///
/// The first thing that is wrong, in words.
pub fn check(
    allocator: &CachingAllocator,
    held: &BTreeMap<BlockId, Bytes>,
    capacity: Option<Bytes>,
) -> Result<(), String> {
    let segments = allocator.snapshot();
    let mut end = 0;
    for segment in &segments {
        wrong(segment.address < end, || format!("the segment at {} lies in the one before", segment.address))?;
        end = segment.address;
        for block in &segment.blocks {
            wrong(block.address != end, || format!("a gap or overlap at {end}, before {block:?}"))?;
            wrong(block.size.0 == 0 || block.size.0 % 512 != 0, || format!("an odd size: {block:?}"))?;
            wrong(block.size < block.requested, || format!("too small: {block:?}"))?;
            end += block.size.0;
        }
        wrong(end - segment.address != segment.size.0, || {
            format!("blocks do not fill the segment at {}", segment.address)
        })?;
        let both_free = |pair: &[BlockView]| pair.iter().all(|block| block.state == BlockState::Free);
        wrong(segment.blocks.windows(2).any(both_free), || format!("free neighbours at {}", segment.address))?;
    }
    let blocks = || segments.iter().flat_map(|segment| &segment.blocks);
    let used = || blocks().filter(|block| block.state == BlockState::Used);
    let seen: BTreeMap<BlockId, Bytes> = used().map(|block| (block.id, block.requested)).collect();
    wrong(seen != *held, || format!("used are {seen:?}, held {held:?}"))?;
    let stats = allocator.stats();
    let sums = [
        ("allocated", stats.allocated, used().map(|block| block.size).sum()),
        ("requested", stats.requested, blocks().map(|block| block.requested).sum()),
        ("reserved", stats.reserved, segments.iter().map(|segment| segment.size).sum()),
    ];
    for (name, figure, sum) in sums {
        wrong(figure != sum, || format!("{name} is {} B, the sum {} B", figure.0, sum.0))?;
    }
    wrong(stats.peak_allocated < stats.allocated || stats.peak_reserved < stats.reserved, || {
        "a peak is too low".into()
    })?;
    wrong(capacity.is_some_and(|capacity| stats.reserved > capacity), || format!("{stats:?} exceeds {capacity:?}"))
}

fn wrong(is_wrong: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_wrong { Err(what()) } else { Ok(()) }
}
