//! PyTorch's caching allocator itself: what happens in an allocation and in a free, in order.

use thiserror::Error;

use super::block::{Block, BlockId, Blocks, State};
use super::device::Device;
use super::free_list::Entry;
use super::options::AllocatorOptions;
use super::pool::{PoolId, PoolKind, Pools, PrivatePool, StreamId};
use super::release::Retry;
use super::rounding::{BLOCK, DRIVER_PAGE, SMALL, block_size, segment_size};
use super::stats::Stats;
use super::streams::Events;
use super::ties::{Addresses, Ties};
use crate::bytes::Bytes;

/// The caching allocator of one GPU.
#[derive(Clone, Debug)]
pub struct CachingAllocator {
    pub(super) options: AllocatorOptions,
    pub(super) blocks: Blocks,
    pub(super) pools: Pools,
    /// Private pools that nobody fills any more: what they cache may go.
    pub(super) given_up: Vec<PrivatePool>,
    pub(super) device: Device,
    pub(super) stats: Stats,
    pub(super) retries: Vec<Retry>,
    /// What all retries released.
    pub(super) given_back: Bytes,
    /// What `set_per_process_memory_fraction` allows to be reserved.
    pub(super) allowed: Option<u64>,
    /// Searches in large pools, counted while garbage is collected: the clock of a free block's age.
    pub(super) searches: u64,
    /// Freed blocks whose other streams are not done.
    pub(super) waiting: Vec<BlockId>,
    pub(super) events: Events,
    /// Allocations so far, the failed ones included.
    pub(super) allocations: u64,
    /// What was asked of the driver.
    pub(super) calls: Vec<DriverCall>,
}

/// What the driver is asked for a segment. Ranges of expandable segments are none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverCall {
    /// `cudaMalloc`, with the address that the model gives it.
    Malloc {
        /// The first address.
        address: u64,
        /// How much is asked for.
        bytes: Bytes,
    },
    /// `cudaFree`.
    Free {
        /// The first address.
        address: u64,
    },
}

/// One allocation on its way: what is looked for.
#[derive(Clone, Copy)]
pub(super) struct Search {
    pub pool: PoolId,
    pub kind: PoolKind,
    /// Whether it is for a private pool.
    pub private: bool,
    /// Rounded, in bytes.
    pub size: u64,
    /// What the device would be asked for, in bytes.
    pub segment: u64,
}

/// The GPU has too little memory left, even with nothing cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "out of memory: {requested} asked for, {allocated} allocated, {reserved} reserved{}",
    .capacity.map(|capacity| format!(" of {capacity}")).unwrap_or_default()
)]
pub struct OutOfMemory {
    /// What the caller asked for.
    pub requested: Bytes,
    /// What the device was asked for ("Tried to allocate" in PyTorch's message).
    pub segment: Bytes,
    /// In use at that moment.
    pub allocated: Bytes,
    /// Reserved at that moment, after everything that could be released was.
    pub reserved: Bytes,
    /// What the device, or the memory fraction, allows in all.
    pub capacity: Option<Bytes>,
}

impl CachingAllocator {
    /// An allocator that holds nothing yet, on a device that hands out `capacity` bytes in all (`None`: without limit).
    /// The capacity is the GPU's memory less what lies outside of the allocator, such as the CUDA context.
    pub fn new(options: AllocatorOptions, capacity: Option<Bytes>) -> CachingAllocator {
        let falling = options.ties == Ties::LowestAddress(Addresses::Falling);
        let mut allocator = CachingAllocator {
            options,
            blocks: Blocks::default(),
            pools: Pools::default(),
            given_up: Vec::new(),
            device: Device::new(capacity, falling),
            stats: Stats::default(),
            retries: Vec::new(),
            given_back: Bytes(0),
            allowed: None,
            searches: 0,
            waiting: Vec::new(),
            events: Events::default(),
            allocations: 0,
            calls: Vec::new(),
        };
        allocator.set_memory_fraction(allocator.options.memory_fraction);
        allocator
    }

    /// The same allocator on a GPU whose driver reports `total` bytes: what a memory fraction is a fraction of, and
    /// what the length of expandable ranges follows from. Otherwise the capacity is taken for it.
    pub fn with_device_total(mut self, total: Bytes) -> CachingAllocator {
        self.device.set_total(total);
        self.set_memory_fraction(self.options.memory_fraction);
        self
    }

    /// `torch.cuda.set_per_process_memory_fraction`: lets at most this part of the GPU's memory be reserved. 1 and more
    /// is no limit, nor is there one on a GPU of unknown memory.
    pub fn set_memory_fraction(&mut self, fraction: f64) {
        let total = self.device.total().filter(|_| fraction < 1.0);
        self.allowed = total.map(|total| (fraction * total.0 as f64) as u64);
    }

    /// Allocates on a stream. Zero bytes make no event in PyTorch: they give [`BlockId::EMPTY`] and change nothing.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] where the device has too little left after everything cached was released. The allocator stays
    /// usable. Requests of 1 EiB and more fail at once.
    pub fn allocate(&mut self, bytes: Bytes, stream: StreamId) -> Result<BlockId, OutOfMemory> {
        self.allocate_in(None, bytes, stream)
    }

    /// Allocates on a stream, in a private pool where one is named (see [`PrivatePool`]).
    ///
    /// # Errors
    ///
    /// As [`CachingAllocator::allocate`]; up to PyTorch 2.12 a private pool fails without anything released.
    pub fn allocate_in(
        &mut self,
        private_pool: Option<PrivatePool>,
        bytes: Bytes,
        stream: StreamId,
    ) -> Result<BlockId, OutOfMemory> {
        if bytes.0 == 0 {
            return Ok(BlockId::EMPTY);
        }
        self.allocations += 1;
        let Some(size) = block_size(bytes.0, &self.options) else { return Err(self.out_of_memory(bytes, bytes.0)) };
        if self.events == Events::DoneAtNextAllocation && private_pool.is_none() {
            self.synchronize();
        }
        let request = self.search(private_pool, size, stream);
        let found = self.take_cached(request).or_else(|| self.take_new(request));
        let Some(id) = found else {
            self.stats.num_ooms += 1;
            return Err(self.out_of_memory(bytes, request.segment));
        };
        self.hand_out(id, request, bytes);
        Ok(id)
    }

    /// Splits off what is not needed of a block that nobody has, and hands it out.
    fn hand_out(&mut self, id: BlockId, request: Search, bytes: Bytes) {
        if self.is_worth_splitting(id, request) {
            let rest = self.blocks.cut_front(id, request.size);
            self.put_free(rest);
        }
        let block = &mut self.blocks[id];
        (block.state, block.requested) = (State::Used, bytes.0);
        self.stats.allocate(block.size, bytes.0);
    }

    /// Allocates outside private pools what the large pool has cached; None, and nothing happens, where the device or the small
    /// pool would have to serve.
    pub(super) fn allocate_cached_large(&mut self, bytes: Bytes, stream: StreamId) -> Option<BlockId> {
        let size = block_size(bytes.0, &self.options).filter(|size| *size > SMALL)?;
        let request = self.search(None, size, stream);
        let id = self.take_cached(request)?;
        self.allocations += 1;
        self.hand_out(id, request, bytes);
        Some(id)
    }

    /// Frees a block. Its bytes stop counting as allocated at once; it can be used again at once too, unless another
    /// stream used it ([`CachingAllocator::record_stream`]). False, and nothing happens, where no such block is in use.
    pub fn free(&mut self, id: BlockId) -> bool {
        let used = self.blocks.get(id).is_some_and(|block| block.state == State::Used);
        if !used {
            return id == BlockId::EMPTY;
        }
        self.stats.allocated -= Bytes(self.blocks[id].size);
        if self.blocks[id].shared {
            self.wait_for_streams(id);
        } else {
            self.free_now(id);
        }
        true
    }

    /// The figures of this moment.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// What was asked of the driver so far, in order.
    pub fn driver_calls(&self) -> &[DriverCall] {
        &self.calls
    }

    /// Where a block lies: its first address and its bytes.
    pub fn place(&self, id: BlockId) -> Option<(u64, Bytes)> {
        self.blocks.get(id).map(|block| (block.address, Bytes(block.size)))
    }

    /// `torch.cuda.reset_peak_memory_stats`: peaks begin anew at the present figures.
    pub fn reset_peaks(&mut self) {
        self.stats.reset_peaks();
    }

    /// What is looked for, for a request that was rounded to that size.
    fn search(&mut self, private_pool: Option<PrivatePool>, size: u64, stream: StreamId) -> Search {
        let kind = if size <= SMALL { PoolKind::Small } else { PoolKind::Large };
        let (pool, segment) = (self.pools.of(private_pool, stream, kind), segment_size(size, &self.options));
        Search { pool, kind, private: private_pool.is_some(), size, segment }
    }

    /// The best cached block for a request, out of its pool.
    fn take_cached(&mut self, request: Search) -> Option<BlockId> {
        if request.kind == PoolKind::Large && self.collects_garbage() {
            self.searches += 1;
        }
        let best = self.find_cached(request)?;
        self.pools[request.pool].free.remove(best.size, best.rank);
        Some(best.block)
    }

    /// The best cached block for a request.
    fn find_cached(&self, request: Search) -> Option<Entry> {
        let mut best = self.pools[request.pool].free.first_from(request.size, 0)?;
        if self.options.expandable_segments {
            best = self.least_expandable(request.pool, best);
        }
        // Blocks from `max_split_size` on serve only requests from there on, and only those of nearly their size.
        let limit = self.options.split_limit();
        let fits = match request.size < limit {
            true => best.size < limit,
            false => best.size < request.size.saturating_add(self.options.max_non_split_rounding.0),
        };
        fits.then_some(best)
    }

    /// A block from the device, after releasing what is cached if need be.
    fn take_new(&mut self, request: Search) -> Option<BlockId> {
        if self.collects_garbage() {
            self.collect_garbage();
        }
        if let Some(id) = self.ask_device(request) {
            return Some(id);
        }
        if self.release_oversize(request)
            && let Some(id) = self.ask_device(request)
        {
            return Some(id);
        }
        if request.private && !self.options.private_pools_retry { None } else { self.retry(request) }
    }

    /// A block from the device, if it has enough left.
    pub(super) fn ask_device(&mut self, request: Search) -> Option<BlockId> {
        if self.allowed.is_some_and(|allowed| self.stats.reserved.0.saturating_add(request.segment) > allowed) {
            return None;
        }
        if self.options.expandable_segments {
            return self.expand(request);
        }
        if !self.device.take_segment(request.segment) {
            return None;
        }
        let Some(address) = self.device.reserve_addresses(request.segment, DRIVER_PAGE) else {
            self.device.return_segment(request.segment);
            return None;
        };
        self.stats.reserve(request.segment);
        self.calls.push(DriverCall::Malloc { address, bytes: Bytes(request.segment) });
        Some(self.blocks.add(Block::whole(address, request.segment, request.pool, false)))
    }

    fn is_worth_splitting(&self, id: BlockId, request: Search) -> bool {
        let rest = self.blocks[id].size - request.size;
        if request.kind == PoolKind::Small || self.options.expandable_segments {
            return rest >= BLOCK;
        }
        request.size < self.options.split_limit() && rest > SMALL
    }

    fn out_of_memory(&self, requested: Bytes, segment: u64) -> OutOfMemory {
        let limits = [self.device.capacity(), self.allowed.map(Bytes)];
        OutOfMemory {
            requested,
            segment: Bytes(segment),
            allocated: self.stats.allocated,
            reserved: self.stats.reserved,
            capacity: limits.into_iter().flatten().min(),
        }
    }
}
