//! What serves a trace's requests: a trait, and its first implementations. [`CachingAllocator`] is a model of the caching allocator
//! that PyTorch puts between its tensors and the GPU; [`OneArena`] has a place for each allocation from the start.
//!
//! Feeding it the allocations and frees of a run gives `memory_allocated`, `memory_reserved` and both peaks to the byte.
//! Facts were read from `c10/cuda/CUDACachingAllocator.cpp`, `c10/core/AllocatorConfig.{h,cpp}` and
//! `c10/cuda/CUDAAllocatorConfig.{h,cpp}` of PyTorch, and checked against recordings of PyTorch 2.11.0. What later releases do otherwise stands in `ties.rs`.
//!
//! # Definitions
//!
//! - *segment*: a range that the device handed out (`cudaMalloc`), or the pages mapped in an expandable range. Counts as
//!   reserved.
//! - *block*: a part of a segment: in use, free, or waiting for another stream. Blocks tile their segment.
//! - *pool*: the free blocks of one stream, of segments for small requests (up to 1 MiB) or for large ones.
//!
//! ```text
//! segment, 2 MiB           +-------+------+-----------+---------------+
//!                          | in use| free | in use    | free          |
//!                          +-------+------+-----------+---------------+
//! pool, by (size, rank)            (512)                 (1 MiB)
//! ```
//!
//! # Stages of one allocation
//!
//! ```text
//! round up -> blocks of other streams whose events are done are freed -> smallest free block that fits
//!          -> else: collect garbage -> ask the device -> release oversize blocks, ask again
//!                                   -> release all that is cached, ask again (a retry) -> out of memory
//!          -> split off the rest
//! ```
//!
//! # What is not modelled
//!
//! `MemPool(use_on_oom=True)`, `backend:cudaMallocAsync`, several GPUs (use one `CachingAllocator` each),
//! when an event of another stream completes (see [`Events`]), and the driver's choice of addresses, which to PyTorch 2.11 decides
//! between free blocks of equal size: where nobody knows them, runs are simulated with rising and with falling ones. A real driver may
//! mix both, and give a new segment the addresses of a released one.

mod block;
mod caching;
mod coalesce;
mod config;
mod device;
mod expandable;
mod free_list;
mod heights;
mod one_arena;
mod options;
mod pool;
mod release;
mod rounding;
mod serve;
mod settling;
mod simulate;
mod snapshot;
mod stats;
mod steady;
mod streams;
mod ties;

pub use block::BlockId;
pub use caching::{CachingAllocator, DriverCall, OutOfMemory};
pub use heights::Height;
pub use one_arena::OneArena;
pub use options::{AllocatorOptions, OptionsError};
pub use pool::{PoolKind, PrivatePool, StreamId};
pub use release::Retry;
pub use serve::{Allocator, Request};
pub use simulate::{GivenBack, Outcome, PhaseFigures, drive, observe, simulate, simulate_with};
pub use snapshot::{BlockState, BlockView, SegmentView};
pub use stats::Stats;
pub use streams::Events;
pub use ties::{Addresses, Spread, Ties};
