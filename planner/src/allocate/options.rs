//! The allocator's options, as users give them in `PYTORCH_CUDA_ALLOC_CONF` (or `PYTORCH_ALLOC_CONF`).
//!
//! ```text
//! expandable_segments:True,max_split_size_mb:128,roundup_power2_divisions:[256:1,512:2,>:4]
//! ```
//!
//! Limits are PyTorch 2.11's (`AllocatorConfig.cpp`, and tried out). Stricter than PyTorch only where it silently reads
//! something else than what is written: it takes `20.5` for 20, and any separator for any other.

use std::str::FromStr;

use thiserror::Error;

use super::config;
use super::ties::Ties;
use crate::bytes::{Bytes, MIB};
use crate::words::quote;

/// Intervals of `roundup_power2_divisions`: below 2 MiB, then one for each power of two, from 32 GiB on the last.
pub(super) const INTERVALS: usize = 16;

/// How the allocator behaves. `"...".parse()` reads the environment variable's text, the only way to make other options
/// than PyTorch's defaults, so that they are always valid together. How equal blocks are told apart is the release's (`with_ties`).
#[derive(Clone, Debug, PartialEq)]
pub struct AllocatorOptions {
    pub(super) expandable_segments: bool,
    pub(super) max_split_size: Option<Bytes>,
    pub(super) max_non_split_rounding: Bytes,
    pub(super) large_segment_size: Bytes,
    pub(super) garbage_collection_threshold: Option<f64>,
    pub(super) memory_fraction: f64,
    pub(super) divisions: [u64; INTERVALS],
    pub(super) ties: Ties,
    /// Whether what is cached is released for a private pool that finds too little memory.
    pub(super) private_pools_retry: bool,
}

impl AllocatorOptions {
    /// `expandable_segments`: segments grow page by page.
    pub fn expandable_segments(&self) -> bool {
        self.expandable_segments
    }

    /// These with `expandable_segments:True`.
    pub fn with_expandable_segments(self) -> AllocatorOptions {
        AllocatorOptions { expandable_segments: true, ..self }
    }

    /// `max_split_size_mb`: blocks of this size and more are neither split nor given to smaller requests.
    pub fn max_split_size(&self) -> Option<Bytes> {
        self.max_split_size
    }

    /// `max_non_split_rounding_mb`: how much larger than a request a block at or above `max_split_size` may be.
    pub fn max_non_split_rounding(&self) -> Bytes {
        self.max_non_split_rounding
    }

    /// `large_segment_size_mb`: the segment for a request between 1 and 10 MiB; a page of an expandable large range.
    pub fn large_segment_size(&self) -> Bytes {
        self.large_segment_size
    }

    /// `garbage_collection_threshold`: the part of the allowed memory above which old cached segments are released.
    /// Without effect unless a memory fraction is set.
    pub fn garbage_collection_threshold(&self) -> Option<f64> {
        self.garbage_collection_threshold
    }

    /// `per_process_memory_fraction`: the part of the GPU's memory that may be reserved; 1 is no limit.
    pub fn memory_fraction(&self) -> f64 {
        self.memory_fraction
    }

    /// `roundup_power2_divisions`: the number of steps between powers of two for a request of `bytes`; 0 and 1 mean
    /// multiples of 512 B.
    pub fn roundup_power2_divisions(&self, bytes: u64) -> u64 {
        let interval = bytes.max(MIB).ilog2() - MIB.ilog2();
        self.divisions[(interval as usize).min(INTERVALS - 1)]
    }

    /// `max_split_size` in bytes, where none is the largest number.
    pub(super) fn split_limit(&self) -> u64 {
        self.max_split_size.map_or(u64::MAX, |size| size.0)
    }
}

impl Default for AllocatorOptions {
    fn default() -> AllocatorOptions {
        AllocatorOptions {
            expandable_segments: false,
            max_split_size: None,
            max_non_split_rounding: Bytes(20 * MIB),
            large_segment_size: Bytes(20 * MIB),
            garbage_collection_threshold: None,
            memory_fraction: 1.0,
            divisions: [0; INTERVALS],
            ties: Ties::default(),
            private_pools_retry: true,
        }
    }
}

impl FromStr for AllocatorOptions {
    type Err = OptionsError;
    fn from_str(text: &str) -> Result<AllocatorOptions, OptionsError> {
        config::read(text)
    }
}

/// Why the text of `PYTORCH_CUDA_ALLOC_CONF` was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// PyTorch knows no such key.
    #[error("unknown key '{}': the nearest are {}", quote::cut(.key), nearest.join(", "))]
    UnknownKey {
        /// What was written.
        key: String,
        /// The nearest keys.
        nearest: Vec<String>,
    },
    /// A key without its value.
    #[error("'{}' has no value: write {}:VALUE", quote::cut(.key), quote::cut(.key))]
    NoValue {
        /// The key.
        key: String,
    },
    /// A value that the key cannot have.
    #[error("'{}' cannot be '{}': valid is {valid}", quote::cut(.key), quote::cut(.value))]
    BadValue {
        /// The key.
        key: String,
        /// What was written.
        value: String,
        /// What could have been written.
        valid: String,
    },
    /// A list that does not end.
    #[error("'{}' has a '[' without its ']'", quote::cut(.key))]
    OpenList {
        /// The key.
        key: String,
    },
    /// PyTorch would use an allocator that is not modelled.
    #[error("'backend:cudaMallocAsync' is the driver's allocator, which is not modelled: valid is backend:native")]
    OtherBackend,
}
