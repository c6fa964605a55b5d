//! `memplan`: predicts the GPU memory of a PyTorch run, before anything runs.
//!
//! ```text
//! arguments ──> plan | checkpoint | fit | sweep | inspect | graph | pack | catalogue ──> output
//!                                            └─ failure: one line on stderr, a hint, an exit code
//! ```

mod arguments;
mod catalogue;
mod checkpoint;
mod failure;
mod fit;
mod graph;
mod inspect;
mod output;
mod pack;
mod plan;
mod sweep;

use std::process::ExitCode;

use arguments::Command;

/// The run fits; buffers do, or are packed rightly.
const FITS: u8 = 0;
/// The run does not fit; buffers do not, or are packed wrongly.
const DOES_NOT_FIT: u8 = 1;
/// Bad usage, or bad input.
const BAD: u8 = 2;

fn main() -> ExitCode {
    let done = arguments::read().and_then(|command| match command {
        Command::Plan(arguments) => plan::run(*arguments),
        Command::Checkpoint(arguments) => checkpoint::run(*arguments),
        Command::Fit(arguments) => fit::run(&arguments),
        Command::Sweep(arguments) => sweep::run(*arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Pack(arguments) => pack::run(&arguments),
        Command::Graph(arguments) => graph::run(&arguments),
        Command::Ops(arguments) => graph::operators(&arguments),
        Command::Gpus(arguments) => catalogue::gpus(&arguments),
        Command::Models(arguments) => catalogue::models(&arguments),
    });
    done.unwrap_or_else(|failure| failure.report())
}
