//! Static offsets: buffers that have a size and a lifetime get fixed places in one arena, so that buffers which are alive
//! together do not overlap and the arena is small.
//!
//! ```text
//! csv ──> Buffer, ... ──> problem (units, sections) ──> greedy ──> dives ──> search ──> Packing ──> csv
//!                                                                                         └─ validate: shares no code with the rest
//! ```
//!
//! The problem (dynamic storage allocation) is NP-hard; the largest total alive at a time is a lower bound. [`pack`] meets it,
//! proves that it cannot be met, or says what it did not find out: a [`Status`] is never better than what was shown.

mod buffer;
pub mod csv;
mod greedy;
mod minimize;
mod options;
mod order;
mod pack;
mod problem;
mod search;
mod validate;

pub use buffer::{Buffer, BufferError, LARGEST};
pub use options::{Goal, Options};
pub use pack::{Packing, Status, pack};
pub use validate::{Fault, validate};
