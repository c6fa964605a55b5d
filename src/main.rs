//! `memplan`: predicts the GPU memory of a PyTorch run, before anything runs.
//!
//! ```text
//! arguments ──> plan | checkpoint | fit | advise | buy | sweep | snapshot | report | inspect | pack | calibrate | ... ──> output
//!                                            └─ failure: one line on stderr, a hint, an exit code
//! ```

mod advise;
mod arguments;
mod buy;
mod calibrate;
mod catalogue;
mod checkpoint;
mod failure;
mod fit;
mod graph;
mod hub;
mod inspect;
mod output;
mod pack;
mod plan;
mod profiles;
mod replay;
mod report;
mod snapshot;
mod sweep;

use std::process::ExitCode;

use arguments::Command;

/// Plans are made of many small values; side by side they ask for memory from both threads.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The run fits; buffers do, or are packed rightly.
const FITS: u8 = 0;
/// The run does not fit; buffers do not, or are packed wrongly; a kept plan grew.
const DOES_NOT_FIT: u8 = 1;
/// Bad usage, or bad input.
const BAD: u8 = 2;
/// The machine lacks the GPU, the driver or a library.
const NO_GPU: u8 = 3;

fn main() -> ExitCode {
    let done = arguments::read().and_then(|command| match command {
        Command::Plan(arguments) => plan::run(*arguments),
        Command::Checkpoint(arguments) => checkpoint::run(*arguments),
        Command::Fit(arguments) => fit::run(&arguments),
        Command::Advise(arguments) => advise::run(&arguments),
        Command::Buy(arguments) => buy::run(&arguments),
        Command::Sweep(arguments) => sweep::run(*arguments),
        Command::Snapshot(arguments) => snapshot::keep(&arguments),
        Command::Check(arguments) => snapshot::check(&arguments),
        Command::Diff(arguments) => snapshot::diff(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Why(arguments) => replay::why(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Pack(arguments) => pack::run(&arguments),
        Command::Calibrate(arguments) => calibrate::run(*arguments),
        Command::Graph(arguments) => graph::run(&arguments),
        Command::Ops(arguments) => graph::operators(&arguments),
        Command::Gpus(arguments) => catalogue::gpus(&arguments),
        Command::Models(arguments) => catalogue::models(&arguments),
        Command::Versions(arguments) => catalogue::versions(&arguments),
        Command::Completions(arguments) => arguments::completions(&arguments),
        Command::Man(arguments) => arguments::man(&arguments),
    });
    done.unwrap_or_else(|failure| failure.report())
}
