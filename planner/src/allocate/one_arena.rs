//! One arena: every allocation has its place from the start, as ggml and compilers plan memory.

use std::collections::BTreeMap;

use super::block::BlockId;
use super::caching::OutOfMemory;
use super::pool::{PoolKind, StreamId};
use super::serve::{Allocator, Request};
use super::snapshot::{BlockState, BlockView, SegmentView};
use super::stats::Stats;
use crate::bytes::Bytes;
use crate::trace::AllocationId;

/// An arena of a fixed size with a place for each allocation of a trace. It is taken from the device with the first request, and no
/// request asks for more.
#[derive(Clone, Debug)]
pub struct OneArena {
    size: Bytes,
    /// Where each allocation begins, by its number.
    offsets: Vec<Bytes>,
    /// What the device hands out in all.
    capacity: Option<Bytes>,
    /// The bytes of what is in use, by the allocation's number.
    used: BTreeMap<AllocationId, Bytes>,
    stats: Stats,
}

impl OneArena {
    /// An arena of that size in which allocation `n` of a trace begins at `offsets[n]`. Whether places overlap is for whoever
    /// chose them to know.
    pub fn new(size: Bytes, offsets: Vec<Bytes>, capacity: Option<Bytes>) -> OneArena {
        OneArena { size, offsets, capacity, used: BTreeMap::new(), stats: Stats::default() }
    }
}

impl Allocator for OneArena {
    fn serve(&mut self, request: Request) -> Result<BlockId, OutOfMemory> {
        if self.stats.reserved.0 == 0 {
            if self.capacity.is_some_and(|capacity| self.size > capacity) {
                let (requested, segment, capacity) = (request.bytes, self.size, self.capacity);
                self.stats.num_ooms += 1;
                return Err(OutOfMemory { requested, segment, allocated: Bytes(0), reserved: Bytes(0), capacity });
            }
            self.stats.reserve(self.size.0);
        }
        self.stats.allocate(request.bytes.0, request.bytes.0);
        self.used.insert(request.allocation, request.bytes);
        Ok(BlockId::numbered(request.allocation.0))
    }

    fn take_back(&mut self, block: BlockId) {
        if let Some(bytes) = self.used.remove(&AllocationId(block.index() as u32)) {
            self.stats.allocated -= bytes;
            self.stats.requested -= bytes;
        }
    }

    fn figures(&self) -> Stats {
        self.stats
    }

    fn begin_phase(&mut self) {
        self.stats.reset_peaks();
    }

    fn segments(&self) -> Vec<SegmentView> {
        let block = |(id, size): (&AllocationId, &Bytes)| {
            let address = self.offsets.get(id.index()).map_or(0, |offset| offset.0);
            BlockView { id: BlockId::numbered(id.0), address, size: *size, requested: *size, state: BlockState::Used }
        };
        let mut blocks: Vec<BlockView> = self.used.iter().map(block).collect();
        blocks.sort_by_key(|block| block.address);
        let (stream, kind) = (StreamId(0), PoolKind::Large);
        vec![SegmentView { address: 0, size: self.size, private_pool: None, stream, kind, expandable: false, blocks }]
    }
}
