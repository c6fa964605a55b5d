//! Giving cached memory back to the device: because the caller wants it, or because too little is left.
//!
//! Only what is wholly free can go: segments of one free block, and whole pages of expandable ranges. Three ways, in the
//! order in which an allocation tries them:
//!
//! - *garbage*: above the threshold, segments of the large pools that have not been used for longest;
//! - *oversize*: with `max_split_size`, just enough blocks at or above it;
//! - *everything*: a retry, which is slow, because the device waits for all streams.

use super::block::BlockId;
use super::caching::{CachingAllocator, DriverCall, Search};
use super::free_list::Entry;
use super::pool::{PoolKind, PrivatePool};
use crate::bytes::Bytes;

/// One time that everything cached was released because the device had too little left (`num_alloc_retries`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Which allocation of this allocator, counted from 0, failed ones included, those of zero bytes not.
    pub allocation: u64,
    /// What the device was asked for.
    pub segment: Bytes,
    /// What was released.
    pub released: Bytes,
    /// Whether that was enough.
    pub succeeded: bool,
}

impl CachingAllocator {
    /// `torch.cuda.empty_cache`: waits for all streams, then releases all cached memory that can be released.
    pub fn release_cached(&mut self) {
        self.synchronize();
        self.release_cached_of(None, [PoolKind::Large, PoolKind::Small]);
        for private_pool in self.given_up.clone() {
            self.release_cached_of(Some(private_pool), [PoolKind::Small, PoolKind::Large]);
        }
    }

    /// A private pool is given up, as that of a graph that is gone: what it caches may go with the next release.
    pub fn give_up(&mut self, private_pool: PrivatePool) {
        if !self.given_up.contains(&private_pool) {
            self.given_up.push(private_pool);
        }
    }

    /// A `torch.cuda.MemPool` is gone: what it caches goes at once (c10/core/CachingDeviceAllocator.cpp, `MemPool::~MemPool`).
    pub fn delete_pool(&mut self, private_pool: PrivatePool) {
        self.give_up(private_pool);
        self.release_cached_of(Some(private_pool), [PoolKind::Small, PoolKind::Large]);
    }

    fn release_cached_of(&mut self, private_pool: Option<PrivatePool>, kinds: [PoolKind; 2]) {
        for kind in kinds {
            for pool in self.pools.ids(private_pool, kind) {
                let entries: Vec<Entry> = self.pools[pool].free.iter().collect();
                for Entry { block, .. } in entries {
                    if self.blocks[block].expandable {
                        self.unmap(block, kind);
                    } else if !self.blocks[block].is_split() {
                        self.release(block);
                    }
                }
            }
        }
    }

    /// The retries so far, in order.
    pub fn retries(&self) -> &[Retry] {
        &self.retries
    }

    /// Releases everything cached and asks the device once more.
    pub(super) fn retry(&mut self, request: Search) -> Option<BlockId> {
        let before = self.stats.reserved;
        self.release_cached();
        let released = before - self.stats.reserved;
        self.given_back += released;
        let found = self.ask_device(request);
        self.stats.num_alloc_retries += 1;
        let (allocation, segment) = (self.allocations - 1, Bytes(request.segment));
        self.retries.push(Retry { allocation, segment, released, succeeded: found.is_some() });
        found
    }

    /// With `max_split_size`: releases the smallest block that alone makes room for the request; if there is none, the
    /// largest ones at or above `max_split_size` until they do together. Whether they do.
    pub(super) fn release_oversize(&mut self, request: Search) -> bool {
        let Some(limit) = self.options.max_split_size else { return false };
        let wanted = request.size.max(limit.0);
        let free = &self.pools[request.pool].free;
        if let Some(entry) = free.first_from(wanted, 0)
            && !self.blocks[entry.block].expandable
        {
            self.release(entry.block);
            return true;
        }
        let oversize = free.iter().rev().skip_while(|e| e.size >= wanted).take_while(|e| e.size >= limit.0);
        let mut released = 0;
        for entry in oversize.filter(|e| !self.blocks[e.block].expandable).collect::<Vec<_>>() {
            if released >= wanted {
                break;
            }
            released += entry.size;
            self.release(entry.block);
        }
        released >= wanted
    }

    /// Garbage is collected only with a threshold and a memory fraction.
    pub(super) fn collects_garbage(&self) -> bool {
        self.allowed.is_some() && self.options.garbage_collection_threshold.is_some()
    }

    /// While more is reserved than the threshold allows: releases all free segments of the large pools, private ones left out, that are at
    /// least as old as the average.
    pub(super) fn collect_garbage(&mut self) {
        let (Some(allowed), Some(part)) = (self.allowed, self.options.garbage_collection_threshold) else { return };
        let threshold = (part * allowed as f64) as u64;
        let Some(excess) = self.stats.reserved.0.checked_sub(threshold).filter(|excess| *excess > 0) else { return };
        let pools = self.pools.ids(None, PoolKind::Large).into_iter();
        let free = pools.flat_map(|pool| self.pools[pool].free.iter().map(|entry| entry.block));
        let whole = free.filter(|id| !self.blocks[*id].is_split() && !self.blocks[*id].expandable);
        let mut left: Vec<(BlockId, u64)> = whole.map(|id| (id, self.searches - self.blocks[id].freed_at)).collect();
        let mut reclaimed = 0;
        while reclaimed < excess && !left.is_empty() {
            let age: u64 = left.iter().map(|(_, age)| age).sum();
            let average = age as f64 / left.len() as f64;
            let (old, young): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, age)| *age as f64 >= average);
            if old.is_empty() {
                break;
            }
            for (id, _) in old {
                reclaimed += self.blocks[id].size;
                self.release(id);
            }
            left = young;
        }
    }

    /// Gives a free segment back to the device.
    fn release(&mut self, id: BlockId) {
        debug_assert!(!self.blocks[id].is_split(), "only whole segments can be released");
        let (address, size) = (self.blocks[id].address, self.blocks[id].size);
        self.take_out(id);
        self.blocks.forget(id);
        self.device.return_segment(size);
        self.calls.push(DriverCall::Free { address });
        self.stats.release(size);
    }
}
