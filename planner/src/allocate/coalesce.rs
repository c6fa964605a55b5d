//! Into and out of the pools' lists; neighbours that are both free become one block.
//!
//! ```text
//! | used | free | freed now | free | used |  ->  | used |         free         | used |
//! ```

use super::block::{Block, BlockId, State};
use super::caching::CachingAllocator;
use super::free_list::Entry;
use super::ties::Ties;
use crate::bytes::Bytes;

impl CachingAllocator {
    /// Puts a block that nobody uses into its pool, made one with the free blocks beside it.
    pub(super) fn free_now(&mut self, id: BlockId) {
        self.stats.requested -= Bytes(self.blocks[id].requested);
        self.blocks[id].state = State::Free;
        self.merge(id);
        self.put_free(id);
    }

    /// Makes one block of `id`, which is in no list, and its neighbours of the same state.
    pub(super) fn merge(&mut self, id: BlockId) {
        for beside in [self.blocks[id].before, self.blocks[id].after] {
            if beside != BlockId::NONE && self.blocks[beside].state == self.blocks[id].state {
                self.take_out(beside);
                self.blocks.absorb(id, beside);
            }
        }
    }

    /// Puts a free block into its pool's list.
    pub(super) fn put_free(&mut self, id: BlockId) {
        let block = &mut self.blocks[id];
        (block.state, block.requested, block.freed_at) = (State::Free, 0, self.searches);
        let entry = Entry { size: block.size, rank: rank(self.options.ties, block), block: id };
        self.pools[block.pool].free.insert(entry);
    }

    /// Takes a free or unmapped block out of its pool's lists.
    pub(super) fn take_out(&mut self, id: BlockId) {
        let block = &self.blocks[id];
        let pool = &mut self.pools[block.pool];
        if block.state == State::Unmapped {
            pool.unmapped.remove(&(block.address, id));
        } else {
            pool.free.remove(block.size, rank(self.options.ties, block));
        }
    }
}

/// What tells a free block apart from others of its size.
fn rank(ties: Ties, block: &Block) -> u64 {
    match ties {
        Ties::LowestAddress(_) | Ties::OldestSegment => block.address,
        Ties::OldestBlock => block.born,
    }
}
