//! The program `memplan`: what its arguments ask for, in this process.
//!
//! ```text
//! arguments ──> plan | checkpoint | fit | advise | buy | sweep | snapshot | report | inspect | pack | calibrate | ... ──> output
//!                                            └─ failure: one line on stderr, a hint, an exit code
//! ```

use std::ffi::OsString;

use crate::arguments::{self, Command};
use crate::{
    advise, buy, calibrate, catalogue, checkpoint, fit, graph, import, inspect, output, pack, planning, replay, report,
    snapshot, sweep,
};

pub use crate::output::Kept;

/// The run fits; buffers do, or are packed rightly.
pub const FITS: u8 = 0;
/// The run does not fit; buffers do not, or are packed wrongly; a kept plan grew.
pub const DOES_NOT_FIT: u8 = 1;
/// Bad usage, or bad input.
pub const BAD: u8 = 2;
/// The machine lacks the GPU, the driver or a library.
pub const NO_GPU: u8 = 3;
/// There is an estimate and no plan, and what is free lies between its bounds.
pub const MAY_FIT: u8 = 4;

/// How the program was called.
#[derive(Clone, Debug)]
pub struct Call {
    /// The arguments; the first is the program's name.
    pub arguments: Vec<OsString>,
    /// What starts the program in a process of its own; arguments follow.
    pub itself: Vec<OsString>,
}

/// A flag of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without dashes before it.
    pub name: String,
    /// Whether a value follows.
    pub takes_value: bool,
    /// Whether it may be given several times.
    pub repeats: bool,
}

/// The flags of a command; none of one that is not known.
pub fn flags(command: &str) -> Vec<Flag> {
    arguments::flags(command)
}

/// Does what a call asks for, writes to the process's streams, and gives the exit code.
pub fn run(call: &Call) -> u8 {
    output::follow_terminal();
    let done = arguments::read(&call.arguments).and_then(|command| match command {
        Command::Plan(arguments) => planning::run(*arguments),
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
        Command::Calibrate(arguments) => calibrate::run(*arguments, call),
        Command::Graph(arguments) => graph::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Ops(arguments) => graph::operators(&arguments),
        Command::Gpus(arguments) => catalogue::gpus(&arguments),
        Command::Models(arguments) => catalogue::models(&arguments),
        Command::Versions(arguments) => catalogue::versions(&arguments),
        Command::Completions(arguments) => arguments::completions(&arguments),
        Command::Man(arguments) => arguments::man(&arguments),
    });
    done.unwrap_or_else(|failure| failure.report())
}

/// Does the same, keeps what would be written to the streams, and gives it with the exit code.
///
/// ```
/// use memplan::program::{self, Call};
///
/// let call = Call { arguments: ["memplan", "plan", "gpt2"].map(Into::into).to_vec(), itself: Vec::new() };
/// let (code, kept) = program::keep(&call);
/// assert_eq!((code, kept.error), (program::FITS, None));
/// assert!(kept.text.starts_with("fits"));
/// ```
pub fn keep(call: &Call) -> (u8, Kept) {
    output::keep(|| run(call))
}
