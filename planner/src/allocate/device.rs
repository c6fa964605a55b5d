//! The device as the allocator sees it: a number of bytes to hand out, and addresses that only grow, or only fall.
//!
//! The driver chooses addresses as it likes. To PyTorch 2.11 they decide which of several free blocks of equal size is taken
//! (`ties.rs`); here each new range lies above all earlier ones, or below them.

use super::rounding::DRIVER_PAGE;
use crate::bytes::{Bytes, GIB};

/// More than any device has, so that sums of sizes stay within 64 bits.
const UNLIMITED: u64 = 1 << 62;
/// Where addresses that fall begin.
const HIGHEST_ADDRESS: u64 = 1 << 63;
/// The length of an expandable range on a device without a limit.
const UNLIMITED_RANGE: u64 = GIB << 20;

/// Memory still to be had, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Device {
    capacity: Option<Bytes>,
    total: Option<Bytes>,
    used: u64,
    next_address: u64,
    falling: bool,
}

impl Device {
    /// A device that hands out `capacity` bytes in all, at addresses that rise or fall from range to range.
    pub fn new(capacity: Option<Bytes>, falling: bool) -> Device {
        let next_address = if falling { HIGHEST_ADDRESS } else { DRIVER_PAGE };
        Device { capacity, total: capacity, used: 0, next_address, falling }
    }

    /// What it hands out in all, if that is limited.
    pub fn capacity(&self) -> Option<Bytes> {
        self.capacity
    }

    /// What the driver reports as the GPU's memory, if that is known.
    pub fn total(&self) -> Option<Bytes> {
        self.total
    }

    /// Says what the driver reports as the GPU's memory; more than it hands out, since contexts take some.
    pub fn set_total(&mut self, total: Bytes) {
        self.total = Some(total);
    }

    /// Takes memory for a segment, which the driver rounds up to its pages; false where there is too little left.
    pub fn take_segment(&mut self, bytes: u64) -> bool {
        bytes.checked_next_multiple_of(DRIVER_PAGE).is_some_and(|bytes| self.take_pages(bytes))
    }

    /// Takes a segment's memory back.
    pub fn return_segment(&mut self, bytes: u64) {
        self.return_pages(bytes.next_multiple_of(DRIVER_PAGE));
    }

    /// Takes memory of exactly that many bytes; false where there is too little left.
    pub fn take_pages(&mut self, bytes: u64) -> bool {
        let limit = self.capacity.map_or(UNLIMITED, |capacity| capacity.0.min(UNLIMITED));
        let used = self.used.checked_add(bytes).filter(|used| *used <= limit);
        self.used = used.unwrap_or(self.used);
        used.is_some()
    }

    /// Takes memory of exactly that many bytes back.
    pub fn return_pages(&mut self, bytes: u64) {
        self.used -= bytes;
    }

    /// Addresses for that many bytes, from a multiple of `alignment`, with a gap before the next range; `None` when 64
    /// bits run out.
    pub fn reserve_addresses(&mut self, bytes: u64, alignment: u64) -> Option<u64> {
        if self.falling {
            let highest = self.next_address.checked_sub(bytes)?.checked_sub(DRIVER_PAGE)?;
            self.next_address = highest / alignment * alignment;
            return Some(self.next_address);
        }
        let address = self.next_address.checked_next_multiple_of(alignment)?;
        self.next_address = address.checked_add(bytes)?.checked_add(DRIVER_PAGE)?;
        Some(address)
    }

    /// The length in bytes of an expandable range: an eighth more than the GPU has, in whole pages.
    pub fn expandable_range(&self, page: u64) -> Option<u64> {
        let Some(total) = self.total else { return UNLIMITED_RANGE.checked_next_multiple_of(page) };
        total.0.checked_add(total.0 / 8)?.checked_next_multiple_of(page)
    }
}
