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
    pub home: Option<PrivatePool>,
    pub stream: StreamId,
    pub kind: PoolKind,
    pub free: FreeList,
    /// Unmapped parts of expandable ranges, by address.
    pub unmapped: BTreeSet<(u64, BlockId)>,
}

/// All pools, two for each stream seen in each home: the small one, then the large one.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    pools: Vec<Pool>,
}

impl Pools {
    /// The pool of a stream, or of a stream in a private pool, made at its first use.
    pub fn of(&mut self, home: Option<PrivatePool>, stream: StreamId, kind: PoolKind) -> PoolId {
        let found = self.pools.chunks_exact(2).position(|pair| (pair[0].home, pair[0].stream) == (home, stream));
        let pair = found.unwrap_or_else(|| {
            let pool = |kind| Pool { home, stream, kind, free: FreeList::default(), unmapped: BTreeSet::new() };
            self.pools.extend([pool(PoolKind::Small), pool(PoolKind::Large)]);
            self.pools.len() / 2 - 1
        });
        PoolId(pair as u32 * 2 + kind as u32)
    }

    /// The names of all pools of a home and kind.
    pub fn ids(&self, home: Option<PrivatePool>, kind: PoolKind) -> Vec<PoolId> {
        let pairs = (0..).zip(self.pools.chunks_exact(2)).filter(|(_, pair)| pair[0].home == home);
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
