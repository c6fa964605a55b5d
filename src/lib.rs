//! Predicts the GPU memory of a PyTorch run to the byte, without PyTorch and without a GPU.
//!
//! ```
//! let plan = memplan::plan("gpt2")?;
//! println!("fits: {}, {} reserved at the peak", plan.fits(), plan.peak_reserved());
//! # assert!(plan.fits() && plan.peak_reserved() >= plan.peak_allocated());
//! # Ok::<(), memplan::Error>(())
//! ```
//!
//! A run is said in the words of the command line and of run files:
//!
//! ```
//! use memplan::RunOptions;
//!
//! let run = RunOptions::of("gpt2").with("batch", "8")?.with("precision", "amp-bf16")?.with("gpu", "rtx4090")?;
//! let plan = run.plan()?;
//! for live in plan.at_peak.iter().take(3) {
//!     println!("{}", plan.trace.tensor(&plan.trace.allocation(live.id)));
//! }
//! # assert!(!plan.at_peak.is_empty());
//! # Ok::<(), memplan::Error>(())
//! ```
//!
//! | name | what it is |
//! | --- | --- |
//! | [`plan`] | the plan of a model's default run |
//! | [`RunOptions`] | what is said of a run; [`RunOptions::plan`], [`RunOptions::fit`] and [`RunOptions::advise`] answer |
//! | [`Opened`] | the [`Model`], the [`Run`] with every default and the [`Gpu`] that options open |
//! | [`Plan`] | a run's [`Replay`], with its graph, its optimizer and what is known of its time |
//! | [`Replay`] | a [`Trace`] and what PyTorch's allocator makes of it: the verdict, peaks, what is alive at them |
//! | [`Trace`] | what is allocated and freed, by whom, when and why; can be written to a file and read again |
//! | [`Bytes`] | an amount of memory |
//! | [`Error`] | why there is no answer |
//!
//! All of them can be sent to and shared between threads. What they are made of is [`planner`]. The program is the feature
//! `program`, on by default; a library is built without it: `default-features = false`.

#[cfg(feature = "program")]
mod advise;
#[cfg(feature = "program")]
mod arguments;
#[cfg(feature = "program")]
mod buy;
#[cfg(feature = "program")]
mod calibrate;
#[cfg(feature = "program")]
mod catalogue;
#[cfg(feature = "program")]
mod checkpoint;
#[cfg(feature = "program")]
mod failure;
#[cfg(feature = "program")]
mod fit;
#[cfg(feature = "program")]
mod graph;
#[cfg(feature = "program")]
mod hub;
#[cfg(feature = "program")]
mod import;
#[cfg(feature = "program")]
mod inspect;
#[cfg(feature = "program")]
mod local;
#[cfg(feature = "program")]
mod output;
#[cfg(feature = "program")]
mod pack;
/// `memplan plan`; the name `plan` is the front door's.
#[cfg(feature = "program")]
#[path = "plan.rs"]
mod planning;
#[cfg(feature = "program")]
mod profiles;
#[cfg(feature = "program")]
pub mod program;
#[cfg(feature = "program")]
mod replay;
#[cfg(feature = "program")]
mod report;
#[cfg(feature = "program")]
mod snapshot;
#[cfg(feature = "program")]
mod sweep;

pub use planner;
pub use planner::{Bytes, Error, Gpu, Model, Opened, Plan, Replay, Run, RunOptions, Trace, plan};
