//! `memplan buy`: how many of which GPU.

use planner::buy::{Wanted, buy};
use planner::report::buy as report;

use crate::arguments::BuyArguments;
use crate::failure::Failure;
use crate::output;
use crate::planning::{gpus_or, model, run_options};
use crate::program::{DOES_NOT_FIT, FITS};

/// Plans on all GPUs, reports, and gives the code of the best of them.
pub fn run(arguments: &BuyArguments) -> Result<u8, Failure> {
    let mut options = run_options(&arguments.run)?;
    if arguments.max_gpus == 0 {
        return Err(Failure::new("max-gpus is 0: it must be at least 1", None));
    }
    let gpus = gpus_or(&options, "all")?;
    let model = model(&mut options)?;
    if arguments.serve {
        options.serve(&model, arguments.requests.unwrap_or(1), arguments.context)?;
    }
    let run = options.run();
    let wanted = Wanted { most: arguments.max_gpus, budget: arguments.budget };
    let bar = output::progress(gpus.len());
    let offers = buy(&model, &run, &gpus, &wanted, &|ready| bar.inc(ready as u64));
    bar.finish_and_clear();
    let bought = report::Bought { model: &model, run: &run, wanted: &wanted, offers: &offers? };
    output::report(arguments.run.format, || report::text(&bought), || report::json(&bought))?;
    Ok(if bought.offers.offers.is_empty() { DOES_NOT_FIT } else { FITS })
}
