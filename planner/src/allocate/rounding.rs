//! Sizes: what a request is rounded up to, and how much the device is asked for where no cached block fits.
//!
//! ```text
//! request 1 B .. 1 MiB     -> multiple of 512 B, from segments of 2 MiB
//!         1 MiB .. 10 MiB  -> multiple of 512 B, from segments of 20 MiB (large_segment_size_mb)
//!         10 MiB and more  -> multiple of 512 B, a segment of its own, a multiple of 2 MiB
//! ```

use super::options::AllocatorOptions;
use crate::bytes::MIB;

/// Every block's size and address is a multiple of this many bytes.
pub(super) const BLOCK: u64 = 512;
/// The largest request, in bytes, that comes from the small pool.
pub(super) const SMALL: u64 = MIB;
/// The size in bytes of a segment for small requests, and of a page of an expandable small range.
pub(super) const SMALL_SEGMENT: u64 = 2 * MIB;
/// Requests below this many bytes share segments of `large_segment_size_mb`.
const OWN_SEGMENT: u64 = 10 * MIB;
/// Larger segments, and the driver's pages, are multiples of this many bytes.
pub(super) const DRIVER_PAGE: u64 = 2 * MIB;
/// PyTorch refuses requests of 1 EiB and more before it looks for memory.
const TOO_LARGE: u64 = 1 << 60;

/// What a request of `bytes` is rounded up to, or `None` for more than PyTorch accepts (1 EiB).
pub(super) fn block_size(bytes: u64, options: &AllocatorOptions) -> Option<u64> {
    if bytes < BLOCK {
        return Some(BLOCK);
    }
    if bytes >= TOO_LARGE {
        return None;
    }
    let divisions = options.roundup_power2_divisions(bytes);
    if divisions > 1 && bytes > BLOCK.saturating_mul(divisions) {
        // `divisions` is a power of two below the request's, so the step is at least one block.
        let step = (1 << bytes.ilog2()) / divisions;
        return Some(bytes.next_multiple_of(step));
    }
    Some(bytes.next_multiple_of(BLOCK))
}

/// The bytes asked of the device for a block of `size` bytes (already rounded).
pub(super) fn segment_size(size: u64, options: &AllocatorOptions) -> u64 {
    match size {
        0..=SMALL => SMALL_SEGMENT,
        _ if size < OWN_SEGMENT => options.large_segment_size.0,
        _ => size.next_multiple_of(DRIVER_PAGE),
    }
}
