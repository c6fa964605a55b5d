//! `memplan buy`: how many of which GPU.

use std::process::ExitCode;

use planner::buy::{Wanted, buy};
use planner::report::buy as report;

use crate::arguments::{BuyArguments, Format};
use crate::failure::Failure;
use crate::plan::{gpus_or, run_options};
use crate::{DOES_NOT_FIT, FITS, output};

/// Plans on all GPUs, reports, and gives the code of the best of them.
pub fn run(arguments: &BuyArguments) -> Result<ExitCode, Failure> {
    let mut options = run_options(&arguments.run)?;
    if arguments.serve {
        options.serve(arguments.requests.unwrap_or(1), arguments.context)?;
    }
    if arguments.max_gpus == 0 {
        return Err(Failure::new("max-gpus is 0: it must be at least 1", None));
    }
    let gpus = gpus_or(&options, "all")?;
    let model = crate::plan::model(&mut options)?;
    let run = options.run();
    let wanted = Wanted { most: arguments.max_gpus, budget: arguments.budget };
    let bar = output::progress(gpus.len());
    let offers = buy(&model, &run, &gpus, &wanted, &|ready| bar.inc(ready as u64));
    bar.finish_and_clear();
    let bought = report::Bought { model: &model, run: &run, wanted: &wanted, offers: &offers? };
    match arguments.run.format {
        Format::Text => output::print(&report::text(&bought)),
        Format::Json => output::print_json(&report::json(&bought)),
    }?;
    Ok(ExitCode::from(if bought.offers.offers.is_empty() { DOES_NOT_FIT } else { FITS }))
}
