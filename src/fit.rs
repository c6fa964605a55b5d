//! `memplan fit`: what fits where.

use std::path::Path;

use planner::Gpu;
use planner::fit::{Axis, by_capacity, fit};
use planner::report::fit as report;
use planner::run::RunOptions;
use planner::trace::file::{self, is_trace};

use crate::arguments::{FitArguments, Format};
use crate::failure::Failure;
use crate::output;
use crate::planning::{gpus, model, run_options_here};
use crate::program::{DOES_NOT_FIT, FITS};

/// Searches on each GPU, reports, and gives the code of the best of them.
pub fn run(arguments: &FitArguments) -> Result<u8, Failure> {
    let mut options = run_options_here(&arguments.run)?;
    options.prefill_as_engines();
    let gpus = gpus(&options)?;
    if let Some(trace) = options.model.as_deref().filter(|name| is_trace(name)) {
        return of_trace(trace, &options, &gpus, arguments.run.format);
    }
    let model = model(&mut options)?;
    let run = options.run();
    let bar = output::progress(gpus.len() * Axis::of(&model).len());
    let rows = fit(&model, &run, &gpus, &|ended| bar.inc(ended as u64));
    bar.finish_and_clear();
    let rows = rows?;
    output::report(arguments.run.format, || report::text(&model, &run, &rows), || report::json(&model, &run, &rows))?;
    let fits = rows.iter().any(|row| row.fits());
    Ok(if fits { FITS } else { DOES_NOT_FIT })
}

/// Where a trace from a file fits.
fn of_trace(path: &str, options: &RunOptions, gpus: &[Gpu], format: Format) -> Result<u8, Failure> {
    let (head, rooms) = by_capacity(file::read(Path::new(path))?, options, gpus)?;
    output::report(format, || report::rooms_text(&head, &rooms), || report::rooms_json(&head, &rooms))?;
    Ok(if rooms.iter().any(|room| room.given.fits) { FITS } else { DOES_NOT_FIT })
}
