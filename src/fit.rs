//! `memplan fit`: what fits where.

use std::process::ExitCode;

use planner::fit::{Axis, fit};
use planner::report::fit as report;

use crate::arguments::{FitArguments, Format};
use crate::failure::Failure;
use crate::plan::{gpus, run_options};
use crate::{DOES_NOT_FIT, FITS, output};

/// Searches on each GPU, reports, and gives the code of the best of them.
pub fn run(arguments: &FitArguments) -> Result<ExitCode, Failure> {
    let mut options = run_options(&arguments.run)?;
    let gpus = gpus(&options)?;
    let model = options.model()?;
    let run = options.run();
    let bar = output::progress(gpus.len() * Axis::of(&model).len());
    let rows = fit(&model, &run, &gpus, &|ended| bar.inc(ended as u64));
    bar.finish_and_clear();
    let rows = rows?;
    match arguments.run.format {
        Format::Text => output::print(&report::text(&model, &run, &rows)),
        Format::Json => output::print_json(&report::json(&model, &run, &rows)),
    }?;
    let fits = rows.iter().any(|row| row.fits());
    Ok(ExitCode::from(if fits { FITS } else { DOES_NOT_FIT }))
}
