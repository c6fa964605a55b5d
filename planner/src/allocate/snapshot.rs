//! What the allocator holds at one moment, segment by segment: where memory is lost to fragmentation and rounding.

use super::block::{BlockId, State};
use super::caching::CachingAllocator;
use super::pool::{PoolKind, PrivatePool, StreamId};
use crate::bytes::Bytes;

/// A segment, or a stretch of mapped pages of an expandable range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentView {
    /// The first address. Addresses are the model's own: each segment lies above all that were made before it.
    pub address: u64,
    /// The segment's bytes, all of which count as reserved.
    pub size: Bytes,
    /// The private pool that it belongs to.
    pub private_pool: Option<PrivatePool>,
    /// The stream that it serves.
    pub stream: StreamId,
    /// The requests that it serves.
    pub kind: PoolKind,
    /// Part of an expandable range.
    pub expandable: bool,
    /// The blocks that tile it, by address.
    pub blocks: Vec<BlockView>,
}

/// A block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockView {
    /// Its number; only a block in use has one that the caller knows.
    pub id: BlockId,
    /// The first address.
    pub address: u64,
    /// The block's bytes.
    pub size: Bytes,
    /// What its owner asked for; the rest of `size` is the allocator's slack. 0 where it is free.
    pub requested: Bytes,
    /// What it is at the moment.
    pub state: BlockState,
}

/// What a block is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// Handed out; counts as allocated.
    Used,
    /// Freed, but another stream may still use it.
    Waiting,
    /// Cached.
    Free,
}

impl CachingAllocator {
    /// All segments, by address.
    pub fn snapshot(&self) -> Vec<SegmentView> {
        let is_unmapped = |id| self.blocks.get(id).is_none_or(|block| block.state == State::Unmapped);
        let mapped = self.blocks.iter().filter(|(_, block)| block.state != State::Unmapped);
        let heads = mapped.filter(|(_, block)| is_unmapped(block.before));
        let mut segments: Vec<SegmentView> = heads.map(|(id, _)| self.segment(id)).collect();
        segments.sort_by_key(|segment| segment.address);
        segments
    }

    /// The segment that begins with a block.
    fn segment(&self, head: BlockId) -> SegmentView {
        let first = &self.blocks[head];
        let mut blocks = Vec::new();
        let mut id = head;
        while let Some(block) = self.blocks.get(id) {
            let state = match block.state {
                State::Used => BlockState::Used,
                State::Waiting => BlockState::Waiting,
                State::Free => BlockState::Free,
                State::Unmapped | State::Vacant => break,
            };
            let (size, requested) = (Bytes(block.size), Bytes(block.requested));
            blocks.push(BlockView { id, address: block.address, size, requested, state });
            id = block.after;
        }
        SegmentView {
            address: first.address,
            size: blocks.iter().map(|block| block.size).sum(),
            private_pool: self.pools[first.pool].private_pool,
            stream: self.pools[first.pool].stream,
            kind: self.pools[first.pool].kind,
            expandable: first.expandable,
            blocks,
        }
    }
}
