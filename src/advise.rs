//! `memplan advise`: what to change so that a run fits.

use planner::advise::advise;
use planner::report::advise as report;

use crate::arguments::AdviseArguments;
use crate::failure::Failure;
use crate::output;
use crate::planning::{coloured, gpu, model, run_options_here};
use crate::program::{DOES_NOT_FIT, FITS};

/// Plans each change and the combinations, reports, and gives the verdict's exit code.
pub fn run(arguments: &AdviseArguments) -> Result<u8, Failure> {
    let mut options = run_options_here(&arguments.run)?;
    let gpu = gpu(&options)?;
    let model = model(&mut options)?;
    let run = options.run();
    let bar = output::progress(0);
    let advice = advise(&model, &run, &gpu, &|more, ready| {
        bar.inc_length(more as u64);
        bar.inc(ready as u64);
    });
    bar.finish_and_clear();
    let advice = advice?;
    let advised = report::Advised { model: &model, gpu: &gpu, advice: &advice };
    output::report(arguments.run.format, || coloured(&report::text(&advised)), || report::json(&advised))?;
    Ok(if advice.combination.is_some() { FITS } else { DOES_NOT_FIT })
}
