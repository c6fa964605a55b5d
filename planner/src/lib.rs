//! Predicts the event stream that PyTorch's caching allocator would see, without PyTorch and without a GPU.
//!
//! The stages, in order; `planner/tests/all/arrows.rs` keeps the floors:
//!
//! ```text
//! read -> graph -> lower -> trace -> allocate (replay) -> report
//! ```

pub mod advise;
pub mod allocate;
pub mod arena;
pub mod buy;
pub mod bytes;
pub mod checkpoint;
pub mod choices;
pub mod dtype;
pub mod estimate;
pub mod files;
pub mod fit;
mod front;
pub mod graph;
pub mod history;
pub mod ids;
mod interpret;
pub mod lower;
pub mod model;
pub mod ops;
pub mod plan;
pub mod read;
pub mod replay;
pub mod report;
pub mod run;
pub mod snapshot;
pub mod sweep;
pub mod time;
pub mod trace;
pub mod versions;
pub mod words;

pub use bytes::Bytes;
pub use front::{Error, plan};
pub use model::Model;
pub use model::opened::Opened;
pub use plan::Plan;
pub use read::gpus::Gpu;
pub use replay::Replay;
pub use run::{Run, RunOptions};
pub use trace::Trace;
