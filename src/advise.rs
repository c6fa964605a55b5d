//! `memplan advise`: what to change so that a run fits.

use std::process::ExitCode;

use planner::advise::advise;
use planner::report::advise as report;

use crate::arguments::{AdviseArguments, Format};
use crate::failure::Failure;
use crate::plan::{coloured, gpu, run_options};
use crate::{DOES_NOT_FIT, FITS, output};

/// Plans each change and the combinations, reports, and gives the verdict's exit code.
pub fn run(arguments: &AdviseArguments) -> Result<ExitCode, Failure> {
    let mut options = run_options(&arguments.run)?;
    let gpu = gpu(&options)?;
    let model = crate::plan::model(&mut options)?;
    let run = options.run();
    let bar = output::progress(0);
    let advice = advise(&model, &run, &gpu, &|more, ready| {
        bar.inc_length(more as u64);
        bar.inc(ready as u64);
    });
    bar.finish_and_clear();
    let advice = advice?;
    let advised = report::Advised { model: &model, gpu: &gpu, advice: &advice };
    match arguments.run.format {
        Format::Text => output::print(&coloured(&report::text(&advised))),
        Format::Json => output::print_json(&report::json(&advised)),
    }?;
    Ok(ExitCode::from(if advice.combination.is_some() { FITS } else { DOES_NOT_FIT }))
}
