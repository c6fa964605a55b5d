//! The allocator's figures, as `torch.cuda.memory_stats()` counts them.

use crate::bytes::Bytes;

/// Figures of one moment, and peaks since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// `memory_allocated()`: sizes of the blocks in use, with what was not worth splitting off.
    pub allocated: Bytes,
    /// `requested_bytes.all.current`: what was asked for, of blocks in use or waiting for another stream.
    pub requested: Bytes,
    /// `memory_reserved()`: what the device has handed out.
    pub reserved: Bytes,
    /// `max_memory_allocated()`.
    pub peak_allocated: Bytes,
    /// `max_memory_reserved()`.
    pub peak_reserved: Bytes,
    /// How often everything cached was released because the device had too little left.
    pub num_alloc_retries: u64,
    /// How many allocations failed.
    pub num_ooms: u64,
    /// How often the device handed out memory: segments, or pages mapped at one go.
    pub num_device_alloc: u64,
    /// How often memory went back to the device.
    pub num_device_free: u64,
}

impl Stats {
    pub(super) fn allocate(&mut self, size: u64, requested: u64) {
        self.allocated += Bytes(size);
        self.requested += Bytes(requested);
        self.peak_allocated = self.peak_allocated.max(self.allocated);
    }

    pub(super) fn reserve(&mut self, size: u64) {
        self.reserved += Bytes(size);
        self.peak_reserved = self.peak_reserved.max(self.reserved);
        self.num_device_alloc += 1;
    }

    pub(super) fn release(&mut self, size: u64) {
        self.reserved -= Bytes(size);
        self.num_device_free += 1;
    }

    pub(super) fn reset_peaks(&mut self) {
        self.peak_allocated = self.allocated;
        self.peak_reserved = self.reserved;
    }
}
