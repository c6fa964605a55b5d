//! `memplan replay` and `memplan why`: a trace from a file, or a plan's, through the allocator.

use std::path::Path;

use planner::plan::{plan, recorded};
use planner::replay::Replay;
use planner::report::{replay as json, text, why};
use planner::run::RunOptions;
use planner::trace::file::{self, Head, is_trace};

use crate::arguments::{ReplayArguments, WhyArguments};
use crate::failure::Failure;
use crate::output;
use crate::planning::{coloured, gpu, opened, run_options};
use crate::program::{DOES_NOT_FIT, FITS};

/// Replays a trace, and reports.
pub fn run(arguments: &ReplayArguments) -> Result<u8, Failure> {
    let options = RunOptions {
        gpu: arguments.gpu.clone(),
        capacity: arguments.capacity,
        allocator: arguments.allocator.clone(),
        torch: arguments.torch,
        ..RunOptions::default()
    };
    let (head, replay) = of(&arguments.trace, &options)?;
    output::report(arguments.format, || coloured(&text::replayed(&head, &replay)), || json::report(&head, &replay))?;
    Ok(if replay.fits() { FITS } else { DOES_NOT_FIT })
}

/// A trace from a file, replayed as the options say.
pub fn of(path: &str, options: &RunOptions) -> Result<(Head, Replay), Failure> {
    let gpu = options.gpu.is_some().then(|| gpu(options)).transpose()?;
    Ok(recorded::replay(file::read(Path::new(path))?, options, gpu.as_ref())?)
}

/// Says who made a tensor, who held it and what let go of it.
pub fn why(arguments: &WhyArguments) -> Result<u8, Failure> {
    let wished = run_options(&arguments.run)?;
    let told = match wished.model.as_deref().filter(|name| is_trace(name)) {
        Some(trace) => why::text(&of(trace, &wished)?.1, &arguments.tensor),
        None => {
            let (model, run, gpu) = opened(wished)?;
            why::text(&plan(&model, &run, &gpu)?.replay, &arguments.tensor)
        }
    };
    let text = told.map_err(|error| Failure::new(error, None))?;
    output::print(&text)?;
    Ok(FITS)
}
