//! Which of several free blocks of the same size is taken: what each release of PyTorch compares next.
//!
//! ```text
//! to 2.11      the address           the driver chooses it, so that nobody can know: both ways are tried
//! 2.12         the block's counter   the block object that was made first
//! from 2.13    the segment's counter, then the address
//! ```
//!
//! Each new segment of the model lies above all earlier ones, so that the last is the order of its addresses.

use super::options::AllocatorOptions;
use super::simulate::Outcome;
use crate::bytes::Bytes;
use crate::versions::{Change, Rules};

/// How equal free blocks are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// The lowest address, where the driver's addresses go this way.
    LowestAddress(Addresses),
    /// The block that was made first.
    OldestBlock,
    /// The block in the segment that was made first, then the lowest address.
    #[default]
    OldestSegment,
}

/// How the driver's addresses go from segment to segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Each segment lies above all earlier ones, as in the emulated device of the records.
    Rising,
    /// Each segment lies below all earlier ones.
    Falling,
    /// Nobody knows: runs are simulated both ways.
    Unknown,
}

impl Ties {
    /// How a release tells equal blocks apart.
    pub fn of(rules: Rules, addresses: Addresses) -> Ties {
        if rules.has(Change::OldestSegmentFirst) {
            Ties::OldestSegment
        } else if rules.has(Change::OldestBlockFirst) {
            Ties::OldestBlock
        } else {
            Ties::LowestAddress(addresses)
        }
    }
}

/// What peaks lie between, by the addresses that the driver chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The least and the most of the peak of allocated memory.
    pub allocated: (Bytes, Bytes),
    /// Of reserved memory.
    pub reserved: (Bytes, Bytes),
}

impl AllocatorOptions {
    /// The same options as a release acts on them, where the driver's addresses go this way.
    pub fn of_release(self, rules: Rules, addresses: Addresses) -> AllocatorOptions {
        let private_pools_retry = rules.has(Change::PrivatePoolsRetry);
        AllocatorOptions { private_pools_retry, ..self.with_ties(Ties::of(rules, addresses)) }
    }

    /// The same options with other ties.
    pub fn with_ties(mut self, ties: Ties) -> AllocatorOptions {
        self.ties = ties;
        self
    }

    /// How equal free blocks are told apart.
    pub fn ties(&self) -> Ties {
        self.ties
    }
}

/// The larger of two outcomes of the same run, with what lies between them.
pub(super) fn larger(rising: Outcome, falling: Outcome) -> Outcome {
    let size = |outcome: &Outcome| (outcome.out_of_memory.is_some(), outcome.peak_reserved, outcome.peak_allocated);
    let both = |figure: fn(&Outcome) -> Bytes| {
        let (one, other) = (figure(&rising), figure(&falling));
        (one.min(other), one.max(other))
    };
    let spread =
        Spread { allocated: both(|outcome| outcome.peak_allocated), reserved: both(|outcome| outcome.peak_reserved) };
    let ended = rising.out_of_memory.is_some() || falling.out_of_memory.is_some();
    let differs = spread.allocated.0 != spread.allocated.1 || spread.reserved.0 != spread.reserved.1;
    let mut outcome = if size(&falling) > size(&rising) { falling } else { rising };
    outcome.spread = (differs && !ended).then_some(spread);
    outcome
}
