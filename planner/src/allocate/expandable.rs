//! Expandable segments: one range of addresses for each pool, into which memory is mapped page by page.
//!
//! ```text
//! range (a little longer than the GPU's memory)   | used | free | used | free || unmapped ............. |
//!                                                 |<------- mapped pages ----->|
//! ```
//!
//! A request that no free block holds takes the lowest addresses where a free block, if there is one, and the unmapped
//! part behind it are long enough together; only what is missing is mapped, in whole pages. Pages go back to the device
//! only when cached memory is released. From the note on expandable segments in `CUDACachingAllocator.cpp`.

use super::block::{Block, BlockId, State};
use super::caching::{CachingAllocator, Search};
use super::free_list::Entry;
use super::pool::{PoolId, PoolKind};
use super::rounding::SMALL_SEGMENT;

impl CachingAllocator {
    /// Best fit goes by the size that a block can expand to: from the first block that fits, goes on to larger ones for
    /// as long as each can expand to less than the one before.
    pub(super) fn least_expandable(&self, pool: PoolId, first: Entry) -> Entry {
        let expanded = |entry: &Entry| {
            let after = self.blocks[entry.block].after;
            let unmapped = after != BlockId::NONE && self.blocks[after].state == State::Unmapped;
            entry.size + if unmapped { self.blocks[after].size } else { 0 }
        };
        let mut best = first;
        while let Some(next) = self.pools[pool].free.following(&best)
            && expanded(&next) < expanded(&best)
        {
            best = next;
        }
        best
    }

    /// A block for the request at the lowest addresses that fit, with memory mapped where it lacks. Out of its pool.
    pub(super) fn expand(&mut self, request: Search) -> Option<BlockId> {
        let mut id = self.lowest_fit(request)?;
        if self.blocks[id].state == State::Unmapped {
            self.map(id, request.size.min(self.blocks[id].size), request.kind)?;
        }
        while self.blocks[id].size < request.size {
            let missing = request.size - self.blocks[id].size;
            let next = self.blocks[id].after;
            let unmapped = self.blocks.get(next).filter(|next| next.state == State::Unmapped)?.size;
            self.map(next, missing.min(unmapped), request.kind)?;
            id = next;
        }
        self.take_out(id);
        Some(id)
    }

    /// The first of the free and unmapped blocks, lowest addresses first, that fit the request together; in a new range
    /// where there are none.
    fn lowest_fit(&mut self, request: Search) -> Option<BlockId> {
        let is_open = |id: BlockId| {
            let block = self.blocks.get(id).filter(|block| matches!(block.state, State::Free | State::Unmapped));
            block.map(|block| (block.size, block.after))
        };
        for &(_, unmapped) in &self.pools[request.pool].unmapped {
            let before = self.blocks[unmapped].before;
            let start = if is_open(before).is_some() { before } else { unmapped };
            let (mut room, mut at) = (0, start);
            while room < request.size
                && let Some((size, after)) = is_open(at)
            {
                (room, at) = (room + size, after);
            }
            if room >= request.size {
                return Some(start);
            }
        }
        let page = self.page(request.kind);
        let length = self.device.expandable_range(page).filter(|length| *length >= request.size)?;
        let address = self.device.reserve_addresses(length, page)?;
        let mut range = Block::whole(address, length, request.pool, true);
        range.state = State::Unmapped;
        let id = self.blocks.add(range);
        self.pools[request.pool].unmapped.insert((address, id));
        Some(id)
    }

    /// Maps at least `size` bytes at the front of an unmapped block, which becomes free, made one with the free blocks
    /// beside it. `None`, and nothing happens, where the device has too little left.
    fn map(&mut self, id: BlockId, size: u64, kind: PoolKind) -> Option<()> {
        let mapped = size.checked_next_multiple_of(self.page(kind))?;
        if !self.device.take_pages(mapped) {
            return None;
        }
        self.take_out(id);
        if mapped < self.blocks[id].size {
            let rest = self.blocks.cut(id, mapped);
            self.put_unmapped(rest);
        }
        self.blocks[id].state = State::Free;
        self.merge(id);
        self.put_free(id);
        self.stats.reserve(mapped);
        Some(())
    }

    /// Gives the whole pages within a free block back to the device; their addresses become unmapped. What is left of
    /// the block at either side stays free. A range without any memory is given up.
    pub(super) fn unmap(&mut self, id: BlockId, kind: PoolKind) {
        let page = self.page(kind);
        let block = &self.blocks[id];
        let (start, end) = (block.address.next_multiple_of(page), block.end() / page * page);
        if start >= end {
            return;
        }
        self.take_out(id);
        let mut id = id;
        if start > self.blocks[id].address {
            let front = id;
            id = self.blocks.cut(front, start - self.blocks[front].address);
            self.put_free(front);
        }
        if self.blocks[id].end() > end {
            let rest = self.blocks.cut(id, end - start);
            self.put_free(rest);
        }
        self.device.return_pages(end - start);
        self.stats.release(end - start);
        self.blocks[id].state = State::Unmapped;
        self.merge(id);
        if self.blocks[id].is_split() {
            self.put_unmapped(id);
        } else {
            self.blocks.forget(id);
        }
    }

    fn put_unmapped(&mut self, id: BlockId) {
        let block = &mut self.blocks[id];
        block.state = State::Unmapped;
        self.pools[block.pool].unmapped.insert((block.address, id));
    }

    /// The bytes in a page of a range.
    fn page(&self, kind: PoolKind) -> u64 {
        match kind {
            PoolKind::Small => SMALL_SEGMENT,
            PoolKind::Large => self.options.large_segment_size.0,
        }
    }
}
