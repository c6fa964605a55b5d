//! Blocks: the parts that tile segments, in one flat table.
//!
//! Neighbours in a segment are linked, so that a freed block finds what it can merge with:
//!
//! ```text
//! NONE <- block 7 <-> block 2 <-> block 9 -> NONE
//! ```

use std::ops::{Index, IndexMut};

use super::pool::PoolId;

/// Names a block from its allocation until it is freed; then the number may name another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub(super) u32);

impl BlockId {
    /// What an allocation of zero bytes gives: no memory, no event. Freeing it does nothing.
    pub const EMPTY: BlockId = BlockId(u32::MAX);
    /// No neighbour.
    pub(super) const NONE: BlockId = BlockId(u32::MAX);

    /// A block of that number, for allocators that number their blocks themselves; `u32::MAX` is [`BlockId::EMPTY`].
    pub fn numbered(number: u32) -> BlockId {
        BlockId(number)
    }

    /// The number, for tables beside the allocator; small, because numbers are used again.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a block is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Handed out.
    Used,
    /// Freed by its owner, while another stream may still use it.
    Waiting,
    /// In its pool.
    Free,
    /// Addresses of an expandable range without memory behind them.
    Unmapped,
    /// No block: the table's slot waits for the next one.
    Vacant,
}

/// One block; sizes and addresses in bytes.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub address: u64,
    pub size: u64,
    /// What the owner asked for.
    pub requested: u64,
    /// The pool's count of lookups when the block went back to it.
    pub freed_at: u64,
    /// How many block objects PyTorch had made before this one's.
    pub born: u64,
    pub before: BlockId,
    pub after: BlockId,
    pub pool: PoolId,
    pub state: State,
    /// Part of an expandable range.
    pub expandable: bool,
    /// Used by another stream than its own (`record_stream`).
    pub shared: bool,
}

impl Block {
    /// A block without neighbours that nobody uses.
    pub fn whole(address: u64, size: u64, pool: PoolId, expandable: bool) -> Block {
        let (before, after, state) = (BlockId::NONE, BlockId::NONE, State::Free);
        Block {
            address,
            size,
            requested: 0,
            freed_at: 0,
            born: 0,
            before,
            after,
            pool,
            state,
            expandable,
            shared: false,
        }
    }

    /// Whether other blocks share the segment (or the range).
    pub fn is_split(&self) -> bool {
        self.before != BlockId::NONE || self.after != BlockId::NONE
    }

    /// The first address behind the block.
    pub fn end(&self) -> u64 {
        self.address + self.size
    }
}

/// All blocks; slots are used again.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    slots: Vec<Block>,
    vacant: Vec<BlockId>,
    made: u64,
}

impl Blocks {
    /// Takes a new block in.
    pub fn add(&mut self, mut block: Block) -> BlockId {
        block.born = self.made;
        self.made += 1;
        if let Some(id) = self.vacant.pop() {
            self[id] = block;
            return id;
        }
        let id = BlockId(self.slots.len() as u32);
        self.slots.push(block);
        id
    }

    /// Forgets a block; its neighbours' links are the caller's business.
    pub fn forget(&mut self, id: BlockId) {
        self[id].state = State::Vacant;
        self.vacant.push(id);
    }

    /// The block, if there is one of that number.
    pub fn get(&self, id: BlockId) -> Option<&Block> {
        self.slots.get(id.index()).filter(|block| block.state != State::Vacant)
    }

    /// All blocks with their numbers, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (BlockId, &Block)> {
        let all = self.slots.iter().enumerate().map(|(i, block)| (BlockId(i as u32), block));
        all.filter(|(_, block)| block.state != State::Vacant)
    }

    /// Cuts a block at `size` bytes: `id` keeps the front, the rest becomes a block of the same kind.
    pub fn cut(&mut self, id: BlockId, size: u64) -> BlockId {
        let front = &mut self[id];
        let mut rest = Block { address: front.address + size, size: front.size - size, before: id, ..front.clone() };
        rest.requested = 0;
        front.size = size;
        let after = rest.after;
        let rest = self.add(rest);
        self[id].after = rest;
        if after != BlockId::NONE {
            self[after].before = rest;
        }
        rest
    }

    /// Cuts a block as `cut` does, for what is handed out: PyTorch makes a new object for the front, and the rest stays the old one
    /// (CUDACachingAllocator.cpp, `alloc_found_block`).
    pub fn cut_front(&mut self, id: BlockId, size: u64) -> BlockId {
        let rest = self.cut(id, size);
        let (old, new) = (self[id].born, self[rest].born);
        (self[id].born, self[rest].born) = (new, old);
        rest
    }

    /// Makes one block of `id` and its neighbour `gone`, which is forgotten.
    pub fn absorb(&mut self, id: BlockId, gone: BlockId) {
        let (address, size, before, after) = {
            let gone = &self[gone];
            (gone.address, gone.size, gone.before, gone.after)
        };
        let kept = &mut self[id];
        kept.size += size;
        if kept.before == gone {
            (kept.address, kept.before) = (address, before);
            if before != BlockId::NONE {
                self[before].after = id;
            }
        } else {
            kept.after = after;
            if after != BlockId::NONE {
                self[after].before = id;
            }
        }
        self.forget(gone);
    }
}

impl Index<BlockId> for Blocks {
    type Output = Block;
    fn index(&self, id: BlockId) -> &Block {
        &self.slots[id.index()]
    }
}

impl IndexMut<BlockId> for Blocks {
    fn index_mut(&mut self, id: BlockId) -> &mut Block {
        &mut self.slots[id.index()]
    }
}
