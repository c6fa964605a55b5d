//! Pools: the free blocks of one stream, small and large apart; those of a private pool are pools of their own.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use super::block::BlockId;
use super::free_list::FreeList;

/// Names a CUDA stream; 0 is the default one. Memory freed on a stream serves that stream only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// Names a private pool: `torch.cuda.MemPool`, or what the graphs of one `pool=` share. Its segments serve nobody else, and are
/// kept until the pool is given up (c10/cuda/CUDACachingAllocator.cpp, `PrivatePool`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrivatePool(pub u16);

/// Whether segments serve requests up to 1 MiB or larger ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolKind {
    /// Up to 1 MiB.
    Small,
    /// Above 1 MiB.
    Large,
}

/// Names a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolId(u32);

/// The free blocks of one stream and kind.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub private_pool: Option<PrivatePool>,
    pub stream: StreamId,
    pub kind: PoolKind,
    pub free: FreeList,
    /// Unmapped parts of expandable ranges, by address.
    pub unmapped: BTreeSet<(u64, BlockId)>,
}

/// All pools, two for each stream seen outside private pools and in each of them: the small one, then the large one.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    pools: Vec<Pool>,
}

impl Pools {
    /// The pool of a stream, or of a stream in a private pool, made at its first use.
    pub fn of(&mut self, private_pool: Option<PrivatePool>, stream: StreamId, kind: PoolKind) -> PoolId {
        let found = self
            .pools
            .chunks_exact(2)
            .position(|pair| (pair[0].private_pool, pair[0].stream) == (private_pool, stream));
        let pair = found.unwrap_or_else(|| {
            let pool = |kind| Pool { private_pool, stream, kind, free: FreeList::default(), unmapped: BTreeSet::new() };
            self.pools.extend([pool(PoolKind::Small), pool(PoolKind::Large)]);
            self.pools.len() / 2 - 1
        });
        PoolId(pair as u32 * 2 + kind as u32)
    }

    /// The names of all pools of a kind, of a private pool or outside them.
    pub fn ids(&self, private_pool: Option<PrivatePool>, kind: PoolKind) -> Vec<PoolId> {
        let pairs = (0..).zip(self.pools.chunks_exact(2)).filter(|(_, pair)| pair[0].private_pool == private_pool);
        pairs.map(|(pair, _)| PoolId(pair * 2 + kind as u32)).collect()
    }
}

impl Index<PoolId> for Pools {
    type Output = Pool;
    fn index(&self, id: PoolId) -> &Pool {
        &self.pools[id.0 as usize]
    }
}

impl IndexMut<PoolId> for Pools {
    fn index_mut(&mut self, id: PoolId) -> &mut Pool {
        &mut self.pools[id.0 as usize]
    }
}
