//! The planner's tests but for those of recorded cases, which are in `records`.

#[path = "../support/mod.rs"]
mod support;

mod adapters;
mod allocator;
mod allocator_cases;
mod allocator_options;
mod allocator_random;
mod arrows;
mod attention;
mod capacity;
mod combinations;
mod cutpoints;
mod diffusers;
mod estimates;
mod exports;
mod exports_hostile;
mod fuzzed;
mod gpus;
mod imports;
mod kernels;
mod optimizers;
mod parallel;
mod pools;
mod public;
mod read;
mod recorded;
mod renamed;
mod selective;
mod specs_hostile;
mod stored;
mod threads;
mod vision;
mod written;
