//! What is asked of a packing.

use std::time::Duration;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The smallest arena.
    Minimize,
    /// An arena of at most this many bytes; the search stops at the first.
    Capacity(u64),
}

/// How to pack.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is wanted.
    pub goal: Goal,
    /// The alignment in bytes of buffers that name none.
    pub alignment: u64,
    /// How long to look for better packings and proofs; the best one found by then is given.
    pub time_limit: Duration,
    /// Whether the exact search runs; without it, only fast heuristics do.
    pub search: bool,
}

impl Default for Options {
    /// The smallest arena, offsets of any bytes, ten seconds.
    fn default() -> Options {
        Options { goal: Goal::Minimize, alignment: 1, time_limit: Duration::from_secs(10), search: true }
    }
}
